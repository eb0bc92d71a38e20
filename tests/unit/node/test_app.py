import asyncio

import pytest

from objstore.errors import InvalidArgument, NodeUnreachable, NoSuchDevice
from objstore.node.app import REOPEN_S, NodeApp
from objstore.wire import messages as m
from ring import builder, codec
from tests.support.nodes import Nodes, ballot, config, key, row
from tests.support.wires import Site, run


def test_a_row_is_kept_and_found_again() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        answer = await nodes.ask(m.Accept, 0, b"payload", partition=0, key=key(), ballot=ballot(), row=row(1, b"payload"), has_payload=True)
        assert (answer.verdict, answer.voting) == ("yes", True)
        found, payload = await nodes.ask_both(m.Query, 0, partition=0, key=key(), inline=True)
        assert (found.register.accepted, found.register.row, payload) == (ballot(), row(1, b"payload"), b"payload")
        await nodes.stop()

    run(main)


def test_rows_and_ring_outlive_the_process() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await nodes.ask(m.Accept, 1, partition=0, key=key(), ballot=ballot(), row=row())
        before = await nodes.device(1)
        await nodes.apps[1].stop()
        with pytest.raises(NodeUnreachable):
            await nodes.ask(m.Query, 1, partition=0, key=key())
        nodes.apps[1] = await NodeApp.start(site.world, config(1))
        assert await nodes.device(1) == before
        assert (await nodes.ask(m.Query, 1, partition=0, key=key())).register.row == row()
        await nodes.stop()

    run(main)


def test_a_node_without_a_ring_answers_for_itself_and_for_no_device() -> None:
    async def main(site: Site) -> None:
        app = await NodeApp.start(site.world, config(0))
        report = await app.report()
        assert (report.epoch, [(d.device, d.state) for d in report.devices]) == (0, [(-1, "new")])
        channel = await site.dial(address="tcp:host:7000")
        assert (await channel.call(m.GetRing(), timeout_s=1))[0] == m.RingAnswer(0, has_payload=False)
        assert isinstance((await channel.call(m.NodeStatus(), timeout_s=1))[0], m.NodeReport)
        await app.stop()

    run(main)


def test_the_newer_of_the_own_and_the_bootstrap_ring_is_used() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        newer = builder.change(nodes.ring, [builder.Weigh(0, 2.0)], now_s=1e6)
        disk = site.world.open_disk("/etc")
        file = disk.open("ring", create=True, write=True)
        file.pwrite([codec.encode(newer)], 0)
        file.datasync()
        disk.sync_directory(".")
        for app in nodes.apps:
            await app.stop()
        again = await NodeApp.start(site.world, config(0, bootstrap_ring_path="/etc/ring"))
        assert again.state.epoch == newer.epoch
        await again.stop()
        without = await NodeApp.start(site.world, config(0))
        assert without.state.epoch == newer.epoch, "the node keeps its own copy"
        await without.stop()

    run(main)


def test_a_wiped_device_comes_back_as_a_stranger() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await nodes.apps[0].stop()
        nodes.apps[0] = await NodeApp.start(site.world, config(0, device_directories=("/disks/new",)))
        with pytest.raises(NoSuchDevice):
            await nodes.ask(m.Query, 0, partition=0, key=key())
        report = await nodes.apps[0].report()
        assert report.devices[0].state == "new"
        assert report.devices[0].incarnation not in {d.incarnation for d in nodes.ring.devices.values()}
        await nodes.stop()

    run(main)


def test_a_device_that_does_not_open_stops_nothing_else_and_is_tried_again() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 2, directories=2)
        await nodes.apps[0].stop()
        broken = site.world.open_disk("/disks/0a")
        good = broken.open("identity").pread(100, 0)
        file = broken.open("identity", write=True)
        file.pwrite([b"X"], 0)
        nodes.apps[0] = await NodeApp.start(site.world, config(0, 2))
        states = [(d.device, d.state, bool(d.detail)) for d in (await nodes.apps[0].report()).devices]
        assert states == [(-1, "offline", True), (1, "up", False)]
        assert (await nodes.ask(m.Digests, 1, partitions=[0])).rows == [0]
        file.pwrite([good], 0)
        await asyncio.sleep(REOPEN_S + 5)
        assert [d.state for d in (await nodes.apps[0].report()).devices] == ["up", "up"]
        assert (await nodes.ask(m.Digests, 0, partitions=[0])).rows == [0]
        await nodes.stop()

    run(main)


def test_a_node_that_cannot_be_right_does_not_start() -> None:
    async def main(site: Site) -> None:
        for wrong in (
            config(0, cluster_key=b""),
            config(0, addresses=()),
            config(0, device_directories=()),
            config(0, device_directories=("/a", "/a")),
        ):
            with pytest.raises(InvalidArgument):
                await NodeApp.start(site.world, wrong)

    run(main)


def test_a_damaged_ring_file_stops_the_node_since_it_may_have_been_the_newest() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await nodes.stop()
        for name in ("ring", "ring.copy"):
            site.world.open_disk("/nodes/0").open(name, write=True).pwrite([b"damage"], 100)
        with pytest.raises(InvalidArgument, match="remove it"):
            await NodeApp.start(site.world, config(0))

    run(main)


def test_an_address_in_use_is_an_error_and_leaves_nothing_open() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        with pytest.raises(OSError, match="use"):
            await NodeApp.start(site.world, config(1, addresses=("tcp:host:7000",)))
        again = await NodeApp.start(site.world, config(1))
        await again.stop()
        await nodes.stop()

    run(main)


def test_a_report_counts_requests_and_names_every_device() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1, directories=3)
        await nodes.ask(m.Query, 0, partition=0, key=key())
        report = await nodes.apps[0].report()
        assert report.name == "node0"
        assert report.counters["Query"] == 1
        assert [d.device for d in report.devices] == [0, 1, 2]
        assert all(d.free_bytes > 0 and d.state == "up" for d in report.devices)
        await nodes.stop()

    run(main)


def test_the_key_is_not_in_what_a_configuration_prints() -> None:
    assert "cluster's key" not in repr(config(0))
