"""Guests that move between two hosts, over a QEMU that only plays it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from objstore.errors import InvalidArgument, QuorumLost, Refused, Unavailable
from objstore.runtime import commands
from objstore.runtime.streams import open_stream
from objstore.services.compute.agent import guest as guest_module
from objstore.services.compute.agent import layout, moving
from objstore.services.compute.agent.guest import Guest
from objstore.services.compute.agent.moving import MESSAGE_LIMIT_BYTES, Hello, MoveFailed, Word, put, take
from objstore.services.compute.agent.run import GuestBroken, Run
from objstore.services.compute.agent_api import Destroy, Disk, Migrate, Power, Receive, Spawn, Stop
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import DISK, ID, NIC, spec

SPEC = spec(nics=(NIC,))


def with_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: Callable[[Rig, Rig], Awaitable[None]]) -> None:
    async def both(first: Rig) -> None:
        second = Rig(tmp_path / "b")
        for rig in (first, second):
            rig.agent._secret = "secret"
        await second.agent.start()
        try:
            await first.agent.carry_out(Spawn(SPEC))
            await test(first, second)
        finally:
            for server in list(second.agent.guests):
                await second.agent.carry_out(Destroy(server))
            await second.aclose()

    with_rig(tmp_path, monkeypatch, both)


async def come(rig: Rig) -> None:
    async with asyncio.timeout(10):
        while rig.agent._awaited:
            await asyncio.sleep(0.01)


def test_a_guest_and_its_disks_change_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        (first.directory / "servers" / ID / "run" / "console.log").write_text("from before\n")
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        assert await second.agent.carry_out(Receive(SPEC)) == {"address": address}
        assert second.agent.power() == ()  # it is not this host's yet
        for _ in range(2):
            await first.agent.carry_out(Migrate(ID, address))
        await come(second)
        assert (first.agent.power(), second.agent.power()) == ((), (Power(ID, "running"),))
        assert (first.disks.attached, list(second.disks.attached)) == ({}, [DISK.volume])
        assert (first.networks.plugged, second.networks.plugged) == (set(), {NIC.port})
        guest = second.agent.find(ID)
        nodes = await guest.running().nodes()
        assert [name for name in nodes if name.startswith(("b-", "c"))] == [f"c1-{DISK.volume[:26]}"]
        assert "from before" in Path(guest.directory, "run", "console.log").read_text()
        assert list((first.directory / "servers").iterdir()) == []
        await second.again()
        assert second.agent.power() == (Power(ID, "running"),)
        second.agent._secret = "secret"

    with_two(tmp_path, monkeypatch, test)


def test_a_guest_stays_and_goes_on_when_the_other_host_cannot_have_its_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        second.disks.down = True
        with pytest.raises(MoveFailed, match="where it was"):
            await first.agent.carry_out(Migrate(ID, address))
        second.disks.down = False
        await come(second)
        assert first.agent.power() == (Power(ID, "running"),)
        assert list(first.disks.attached) == [DISK.volume]
        assert first.disks.done[-1] == ("attach", DISK.volume, True)
        assert second.agent.guests == {}
        assert list((second.directory / "servers").iterdir()) == []

    with_two(tmp_path, monkeypatch, test)


def test_a_guest_that_came_is_kept_by_an_agent_that_was_killed_before_it_was_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(first: Rig, second: Rig) -> None:
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        saved: list[bytes] = []
        record = second.directory / "servers" / ID / "record.json"

        async def until(guest: Guest, run: Run, wanted: str) -> None:
            await real(guest, run, wanted)
            if wanted == "completed":
                saved.append(record.read_bytes())

        real = moving._until
        monkeypatch.setattr(moving, "_until", until)
        await first.agent.carry_out(Migrate(ID, address))
        await come(second)
        record.write_bytes(saved[0])
        await second.again()
        assert second.agent.power() == (Power(ID, "running"),)

    with_two(tmp_path, monkeypatch, test)


def test_a_guest_stays_when_its_own_disks_cannot_be_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]

        async def detach(volume: str) -> None:
            raise QuorumLost("for this test")

        real, first.disks.detach = first.disks.detach, detach  # type: ignore[method-assign]
        with pytest.raises(MoveFailed):
            await first.agent.carry_out(Migrate(ID, address))
        first.disks.detach = real  # type: ignore[method-assign]
        await come(second)
        assert first.agent.power() == (Power(ID, "running"),)
        assert second.agent.guests == {}

    with_two(tmp_path, monkeypatch, test)


def test_strangers_and_other_guests_are_not_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        other = spec(nics=(), disks=(Disk("c" * 32, "vda", 0),))
        address = (await second.agent.carry_out(Receive(other)))["address"]
        with pytest.raises(MoveFailed, match="broke off"):
            await first.agent.carry_out(Migrate(ID, address, "wrong"))
        with pytest.raises(MoveFailed, match="other disks"):
            await first.agent.carry_out(Migrate(ID, address))
        await come(second)
        assert second.agent.guests == {}
        assert first.agent.power() == (Power(ID, "running"),)
        with pytest.raises(InvalidArgument):
            await first.agent.carry_out(Migrate(ID, "unix:/x"))
        with pytest.raises(Refused):
            await first.agent.carry_out(Receive(SPEC))

    with_two(tmp_path, monkeypatch, test)


def test_a_guest_that_nobody_sends_is_not_awaited_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        monkeypatch.setattr(moving, "SENDER_S", 0.05)
        await rig.agent.carry_out(Receive(SPEC))
        await come(rig)
        assert rig.agent.guests == {}

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_is_awaited_and_then_to_be_removed_is_awaited_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Receive(SPEC))
        async with asyncio.timeout(10):  # a sender has a minute to come
            await rig.agent.carry_out(Destroy(ID))
        assert (rig.agent.guests, rig.agent._awaited) == ({}, {})
        assert list((rig.directory / "servers").iterdir()) == []
        await rig.agent.carry_out(Spawn(SPEC))  # it may come again

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_was_coming_when_the_agent_died_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        async def nothing(receiver: moving.Receiver) -> None:
            """As if the agent were killed."""

        real_give_up, real_agreed = moving.Receiver._give_up, moving._agreed
        processes: list[commands.Running] = []
        agreed: list[moving.Stream] = []

        async def agree(words: moving.Stream) -> None:
            await real_agreed(words)
            agreed.append(words)
            if len(agreed) == 2:  # the other side has the disks already
                processes.append(second.agent.guests[ID].running().process)
                monkeypatch.setattr(moving.Receiver, "_give_up", nothing)
                second.disks.down = True
                await second.again()
                raise QuorumLost("for this test")

        monkeypatch.setattr(moving, "_agreed", agree)
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        with pytest.raises(MoveFailed, match="where it was"):
            await first.agent.carry_out(Migrate(ID, address))
        monkeypatch.setattr(moving.Receiver, "_give_up", real_give_up)
        assert first.agent.power() == (Power(ID, "running"),)
        assert not commands.is_running(processes[0])
        assert second.agent.power() == ()  # and nobody is told that it is off
        with pytest.raises(Unavailable, match="an earlier attempt"):  # its disks are not let go of yet
            await second.agent.carry_out(Receive(SPEC))
        second.disks.down = False
        await second.agent.give_up_lost()
        assert second.agent.guests == second.disks.attached == {}
        assert list((second.directory / "servers").iterdir()) == []
        second.agent._secret = "secret"
        await first.agent.carry_out(Migrate(ID, (await second.agent.carry_out(Receive(SPEC)))["address"]))
        await come(second)
        await second.again()
        assert (first.agent.power(), second.agent.power()) == ((), (Power(ID, "running"),))
        await second.agent.carry_out(Stop(ID, 1.0))
        assert second.agent.power() == (Power(ID, "off", "host"),)

    with_two(tmp_path, monkeypatch, test)


def test_only_so_many_may_be_at_the_door_and_nobody_is_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        strangers = [await open_stream(address, timeout_s=5.0) for _ in range(moving.STRANGERS_LIMIT + 1)]
        async with asyncio.timeout(10):
            done, waiting = await asyncio.wait(
                [asyncio.ensure_future(reader.read()) for reader, _ in strangers], return_when="FIRST_COMPLETED"
            )
            assert (len(done), len(waiting)) == (1, moving.STRANGERS_LIMIT)
            for _, writer in strangers:
                writer.close()
            await asyncio.wait(waiting)
            more = [await open_stream(address, timeout_s=5.0) for _ in range(2)]
            for stream in more:
                await put(stream, Hello("secret", "words", ID))
            for reader, writer in more:  # one is told that it has no guest to send, the other finds nobody any more
                await reader.read()
                writer.close()
        await come(second)

    with_two(tmp_path, monkeypatch, test)


def test_messages_are_whole_and_bounded() -> None:
    async def main() -> None:
        class Sink:
            data = b""

            def write(self, data: bytes) -> None:
                self.data += data

            async def drain(self) -> None:
                pass

        sink = Sink()
        hello = Hello("s", "words", ID, SPEC, {"a": 1})
        await put((None, sink), hello)  # type: ignore[arg-type] # only what is used
        for data, kind in (
            (sink.data, Hello),
            (sink.data[:-1], None),
            (b"\xff\xff\xff\xff", None),
            (b"\0\0\0\x01x", None),
            (b"\0\1\0\0" + b"[" * 65536, None),
            (b"", None),
        ):
            reader = asyncio.StreamReader()
            reader.feed_data(data)
            reader.feed_eof()
            if kind is not None:
                assert await take((reader, None), kind, timeout_s=1.0) == hello  # type: ignore[arg-type] # likewise
            else:
                with pytest.raises(MoveFailed):
                    await take((reader, None), Word, timeout_s=1.0)  # type: ignore[arg-type] # likewise
        assert MESSAGE_LIMIT_BYTES < 1 << 24

    asyncio.run(main())


def test_a_place_where_nobody_can_come_or_a_qemu_that_answers_oddly_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(first: Rig, second: Rig) -> None:
        second.agent._listen = "192.0.2.1"
        with pytest.raises(GuestBroken, match="cannot be awaited"):
            await second.agent.carry_out(Receive(SPEC))
        await come(second)
        assert second.agent.guests == {}
        second.agent._listen = "127.0.0.1"
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        real = Run.refresh

        async def refresh(run: Run) -> str:
            if run._directory.startswith(str(second.directory)):
                raise TypeError("'int' object is not subscriptable")
            return await real(run)

        monkeypatch.setattr(Run, "refresh", refresh)
        with pytest.raises(MoveFailed):
            await first.agent.carry_out(Migrate(ID, address))
        await come(second)
        assert second.agent.guests == {}
        assert list((second.directory / "servers").iterdir()) == []
        assert first.agent.power() == (Power(ID, "running"),)

    with_two(tmp_path, monkeypatch, test)


def test_a_guest_has_moved_though_its_files_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        real, path = moving._hand_over, first.directory / "servers" / ID / "run" / "migrate.sock"

        async def hand_over(guest: Guest, run: Run, words: moving.Stream) -> None:
            await real(guest, run, words)
            path.unlink()
            path.mkdir()  # by whoever broke out of the guest

        def remove(directory: str) -> None:
            raise OSError("busy, for this test")

        monkeypatch.setattr(moving, "_hand_over", hand_over)
        monkeypatch.setattr(layout, "remove", remove)
        for _ in range(2):
            assert await first.agent.carry_out(Migrate(ID, address)) == {}
        await come(second)
        assert (first.agent.guests, second.agent.power()) == ({}, (Power(ID, "running"),))
        monkeypatch.undo()
        await first.agent.leftovers.again()
        assert list((first.directory / "servers").iterdir()) == []

    with_two(tmp_path, monkeypatch, test)


def test_disks_that_cannot_be_attached_again_at_once_are_so_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(first: Rig, second: Rig) -> None:
        monkeypatch.setattr(guest_module, "SETTLE_AGAIN_S", 0.01)
        address = (await second.agent.carry_out(Receive(SPEC)))["address"]
        second.disks.down = True
        real, failed = first.disks.attach, []

        async def attach(volume: str, *, force: bool = False) -> None:
            if not failed:
                failed.append(volume)
                raise QuorumLost("for this test")
            await real(volume, force=force)

        first.disks.attach = attach  # type: ignore[method-assign]
        with pytest.raises(MoveFailed, match="where it was"):
            await first.agent.carry_out(Migrate(ID, address))
        second.disks.down = False
        await come(second)
        async with asyncio.timeout(10):
            while list(first.disks.attached) != [DISK.volume]:
                await asyncio.sleep(0.01)
        assert first.agent.power() == (Power(ID, "running"),)

    with_two(tmp_path, monkeypatch, test)
