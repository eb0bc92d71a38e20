import pytest

from objstore.core.rows import Kind
from objstore.errors import Damaged, DeviceOffline, InvalidArgument
from objstore.wire import messages as m
from tests.support.nodes import Nodes, ballot, key, row
from tests.support.wires import Site, run


def test_every_chore_is_done_and_an_unknown_one_refused() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        for what in ("checkpoint", "compact", "purge", "sweep_staged"):
            answer = await nodes.ask(m.Maintain, what=what)
            assert isinstance(answer, m.Maintained)
        with pytest.raises(InvalidArgument, match="none of"):
            await nodes.ask(m.Maintain, what="format")
        await nodes.stop()

    run(main)


def test_an_audit_reads_everything_and_names_what_is_damaged() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        body = b"payload" * 100
        for name in "ab":
            await nodes.ask(m.Accept, 0, body, partition=0, key=key(name), ballot=ballot(), row=row(1, body), has_payload=True)
        clean = await nodes.ask(m.Audit, cursor=b"", budget_bytes=1 << 20, timeout_s=60)
        assert (clean.cursor, clean.damaged) == (None, [])
        assert clean.rows >= 2
        where = await nodes.ask(m.Locate, key=key("a"))
        assert where.length == len(body)
        file = site.world.open_disk("/disks/0a").open(where.file, write=True)
        file.pwrite([b"X"], where.offset)
        found = await nodes.ask(m.Audit, cursor=b"", budget_bytes=1 << 20, timeout_s=60)
        assert [(item.key, item.partition) for item in found.damaged] == [(key("a"), 0)]
        with pytest.raises(Damaged):
            await nodes.ask(m.Query, partition=0, key=key("a"), inline=True)
        for budget in (0, 1 << 40):
            with pytest.raises(InvalidArgument):
                await nodes.ask(m.Audit, cursor=b"", budget_bytes=budget)
        await nodes.stop()

    run(main)


def test_a_register_without_bytes_is_nowhere() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row(1, kind=Kind.TOMBSTONE))
        where = await nodes.ask(m.Locate, key=key())
        assert (where.register.accepted, where.file) == (ballot(), "")
        await nodes.stop()

    run(main)


def test_a_device_whose_disk_fails_is_reported_offline_while_others_serve() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1, directories=2)
        engine = nodes.apps[0].state.devices[0].engine
        engine._committer.take_offline(OSError(5, "Input/output error"))  # type: ignore[union-attr]
        with pytest.raises(DeviceOffline):
            await nodes.ask(m.Accept, 0, partition=0, key=key(), ballot=ballot(), row=row())
        with pytest.raises(DeviceOffline):
            await nodes.ask(m.Maintain, 0, what="checkpoint")
        states = [(d.state, bool(d.detail)) for d in (await nodes.apps[0].report()).devices]
        assert states == [("offline", True), ("up", False)]
        assert (await nodes.ask(m.Accept, 1, partition=0, key=key(), ballot=ballot(), row=row())).verdict == "yes"
        await nodes.stop()

    run(main)


def test_a_device_with_little_room_is_reported_full() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        nodes.apps[0]._upkeep._full_below_bytes = 1 << 60
        [device] = (await nodes.apps[0].report()).devices
        assert device.state == "full"
        await nodes.stop()

    run(main)
