"""All guests of a host: found by their ids, ended when nobody knows them, ended together."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from objstore.errors import InvalidArgument, Unavailable
from objstore.runtime import commands
from objstore.services.compute.agent import agent as agent_module
from objstore.services.compute.agent import layout
from objstore.services.compute.agent.agent import NotHere
from objstore.services.compute.agent.guest import Guest
from objstore.services.compute.agent.run import Run
from objstore.services.compute.agent_api import ConsoleLog, Destroy, Pause, Power, Receive, Spawn, Stop
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import DISK, ID, NIC, spec

OTHER = ID.replace("1", "9")


def test_a_server_that_is_not_here_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        for message in (Stop(ID), Pause(ID), ConsoleLog(ID)):
            with pytest.raises(NotHere):
                await rig.agent.carry_out(message)
        with pytest.raises(InvalidArgument):
            await rig.agent.carry_out(Stop("../.."))
        with pytest.raises(InvalidArgument):
            await rig.agent.carry_out(Spawn(spec(vcpus=0)))
        assert rig.agent.guests == {}

    with_rig(tmp_path, monkeypatch, test)


def test_guests_that_nobody_knows_are_ended_and_all_when_the_cluster_goes_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        await rig.agent.carry_out(Spawn(msgspec.structs.replace(spec(disks=(), nics=()), id=OTHER)))
        assert (await rig.agent.carry_out(ConsoleLog(ID, 1)))["output"] == "hello\n"
        found = await rig.agent.metadata(NIC.port, ID)
        assert found is not None
        assert found.server == ID
        assert await rig.agent.metadata(NIC.port, OTHER) is None
        assert await rig.agent.metadata("x", ID) is None
        await rig.agent.forget((OTHER, "nobody"))
        assert rig.agent.power() == (Power(ID, "running"),)
        await rig.agent.end_all()
        assert rig.agent.power() == (Power(ID, "off", "host"),)

    with_rig(tmp_path, monkeypatch, test)


def test_what_is_half_removed_is_removed_and_what_cannot_be_read_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        servers = rig.directory / "servers"
        for name in (ID, OTHER):
            (servers / name).mkdir(parents=True)
        (servers / ID / "console.log").write_text("x")
        (servers / OTHER / "record.json").write_text("nonsense")
        await rig.again()
        assert [entry.name for entry in servers.iterdir()] == [OTHER]
        assert rig.agent.guests == {}

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_whose_record_cannot_be_read_is_neither_started_twice_nor_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        process = rig.agent.find(ID).running().process
        record = rig.directory / "servers" / ID / "record.json"
        good = record.read_bytes()
        record.write_bytes(b"damaged")
        await rig.again()
        for message in (Spawn(spec()), Destroy(ID), Receive(spec())):
            with pytest.raises(Unavailable, match="cannot be read"):
                await rig.agent.carry_out(message)
        assert commands.is_running(process)
        assert record.read_bytes() == b"damaged"
        record.write_bytes(good)
        await asyncio.gather(*(rig.agent.carry_out(Spawn(spec())) for _ in range(2)))
        assert rig.agent.find(ID).running().process == process
        await rig.agent.carry_out(Destroy(ID))
        assert not commands.is_running(process)

    with_rig(tmp_path, monkeypatch, test)


def test_one_that_cannot_be_ended_does_not_keep_others_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        for server in (ID, OTHER):
            await rig.agent.carry_out(Spawn(msgspec.structs.replace(spec(disks=(), nics=()), id=server)))
        real = Guest.destroy

        async def destroy(guest: Guest) -> None:
            if guest.id == ID:
                raise OSError("for this test")
            await real(guest)

        monkeypatch.setattr(Guest, "destroy", destroy)
        await rig.agent.forget((ID, OTHER))
        assert rig.agent.power() == (Power(ID, "running"),)

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_whose_files_cannot_be_removed_is_gone_all_the_same_and_can_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        def remove(directory: str) -> None:
            raise OSError("busy, for this test")

        await rig.agent.carry_out(Spawn(spec()))
        monkeypatch.setattr(layout, "remove", remove)
        await rig.agent.carry_out(Destroy(ID))
        assert rig.agent.power() == ()
        await rig.agent.carry_out(Spawn(spec()))
        monkeypatch.undo()
        await rig.agent.leftovers.again()
        assert (rig.directory / "servers" / ID / "record.json").exists()
        assert rig.agent.power() == (Power(ID, "running"),)

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_does_not_answer_keeps_the_agent_from_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        for server in (ID, OTHER):
            await rig.agent.carry_out(Spawn(msgspec.structs.replace(spec(nics=()), id=server, disks=(DISK,) if server == ID else ())))
        process = rig.agent.find(ID).running().process
        real, answers = Run.refresh, asyncio.Event()

        async def refresh(run: Run) -> str:
            if ID in run._directory:
                await answers.wait()
            return await real(run)

        monkeypatch.setattr(Run, "refresh", refresh)
        monkeypatch.setattr(agent_module, "SEEK_S", 0.2)
        await rig.again()
        assert rig.agent.power() == (Power(ID, "running"), Power(OTHER, "running"))  # as far as anybody knows
        assert rig.agent.in_use(DISK.volume, OTHER)
        await rig.agent.carry_out(Pause(OTHER))
        pausing = asyncio.ensure_future(rig.agent.carry_out(Pause(ID)))
        changes = rig.changes
        answers.set()
        await pausing
        assert rig.agent.power() == (Power(ID, "paused"), Power(OTHER, "paused"))
        assert rig.agent.find(ID).running().process == process
        assert rig.changes > changes

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_came_and_is_still_sought_is_not_taken_for_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        await rig.agent.find(ID).save(coming=True)  # the agent died right before it took that back
        real, answers = Run.refresh, asyncio.Event()

        async def refresh(run: Run) -> str:
            await answers.wait()
            return await real(run)

        monkeypatch.setattr(Run, "refresh", refresh)
        monkeypatch.setattr(agent_module, "SEEK_S", 0.05)
        await rig.again()
        assert rig.agent.power() == ()
        giving_up = asyncio.ensure_future(rig.agent.give_up_lost())
        await asyncio.sleep(0.05)
        answers.set()
        await giving_up
        assert rig.agent.power() == (Power(ID, "running"),)

    with_rig(tmp_path, monkeypatch, test)
