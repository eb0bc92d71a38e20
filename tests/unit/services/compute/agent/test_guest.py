"""A guest's life: started, stopped, started anew, found again by another agent, ended by itself."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.errors import InvalidArgument, Unavailable
from objstore.runtime import commands
from objstore.services.compute.agent import guest as guest_module
from objstore.services.compute.agent import layout
from objstore.services.compute.agent.guest import Guest, prepare, slots_for
from objstore.services.compute.agent.qmp import QmpRefused
from objstore.services.compute.agent.run import GuestBroken, Run
from objstore.services.compute.agent_api import Destroy, Pause, Power, Reboot, Spawn, Stop
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import DISK, NIC, spec

SPEC = spec(nics=(NIC,))


async def until(guest: Guest, state: str) -> None:
    async with asyncio.timeout(10):
        while guest.power().state != state:
            await asyncio.sleep(0.01)


def test_a_guest_is_started_once_stopped_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await asyncio.gather(rig.agent.carry_out(Spawn(SPEC)), rig.agent.carry_out(Spawn(SPEC)))
        guest = rig.agent.find(SPEC.id)
        run = guest.running()
        assert rig.agent.power() == (Power(SPEC.id, "running"),)
        assert list(rig.disks.attached) == [DISK.volume]
        assert rig.networks.plugged == {NIC.port}
        await rig.agent.carry_out(Stop(SPEC.id, 5.0))
        await rig.agent.carry_out(Stop(SPEC.id, 5.0))
        assert run.ended.is_set()
        assert rig.agent.power() == (Power(SPEC.id, "off", "host"),)
        assert (rig.disks.attached, rig.networks.plugged) == ({}, set())
        await rig.agent.carry_out(Spawn(SPEC, force=True))
        assert rig.disks.done[-1] == ("attach", DISK.volume, True)
        assert guest.running().process != run.process
        await rig.agent.carry_out(Destroy(SPEC.id))
        await rig.agent.carry_out(Destroy(SPEC.id))
        assert rig.agent.power() == ()
        assert list((rig.directory / "servers").iterdir()) == []

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_is_deaf_to_its_power_button_is_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        deaf = msgspec.structs.replace(SPEC, memory_mb=13)
        await rig.agent.carry_out(Spawn(deaf))
        await rig.agent.carry_out(Stop(deaf.id, 0.1))
        assert rig.agent.power() == (Power(deaf.id, "off", "host"),)
        await rig.agent.carry_out(Spawn(deaf))
        stopping = asyncio.ensure_future(rig.agent.carry_out(Stop(deaf.id, 60.0)))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):  # who destroys it does not wait for that
            await rig.agent.carry_out(Destroy(deaf.id))
        await stopping

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_is_started_anew_in_order_or_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        guest = rig.agent.find(SPEC.id)
        process = guest.running().process
        await rig.agent.carry_out(Reboot(SPEC.id, hard=True))
        await rig.agent.carry_out(Reboot(SPEC.id, timeout_s=5.0))
        assert guest.running().process == process
        assert guest.power().state == "running"
        assert Path(guest.directory, "run", "console.log").read_text() == "hello\nagain\nagain\n"
        await rig.agent.carry_out(Pause(SPEC.id))
        assert guest.power().state == "paused"
        await rig.agent.carry_out(Reboot(SPEC.id, hard=True))
        assert guest.power().state == "running"
        await rig.agent.carry_out(Stop(SPEC.id, 1.0))
        await rig.agent.carry_out(Reboot(SPEC.id))
        assert guest.power().state == "running"

    with_rig(tmp_path, monkeypatch, test)


def test_who_powers_itself_off_is_seen_and_lets_go_of_its_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        guest = rig.agent.find(SPEC.id)
        rig.disks.down = True
        await guest.running().ask("system_powerdown")  # as if somebody inside had done it
        await until(guest, "off")
        assert guest.power().why == "guest"
        assert rig.disks.attached
        rig.disks.down = False
        async with asyncio.timeout(10):
            while rig.disks.attached:
                await asyncio.sleep(0.05)

    with_rig(tmp_path, monkeypatch, test)


def test_a_process_that_is_killed_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        guest = rig.agent.find(SPEC.id)
        before = rig.changes
        commands.send_signal(guest.running().process, signal.SIGKILL)
        await until(guest, "off")
        assert guest.power().why == "gone"
        async with asyncio.timeout(10):
            while rig.changes == before:
                await asyncio.sleep(0.01)

    with_rig(tmp_path, monkeypatch, test)


def test_an_agent_that_is_started_anew_finds_its_guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        process = rig.agent.find(SPEC.id).running().process
        await rig.agent.carry_out(Pause(SPEC.id))
        await rig.again()
        guest = rig.agent.find(SPEC.id)
        assert guest.running().process == process
        assert guest.power().state == "paused"
        await guest.save(pid=0, started=0)  # it was killed before it could write that down
        await rig.again()
        guest = rig.agent.find(SPEC.id)
        assert guest.running().process == process
        await rig.agent.aclose()
        commands.send_signal(process, signal.SIGKILL)
        while commands.is_running(process):
            await asyncio.sleep(0.01)
        await rig.again()
        assert rig.agent.power() == (Power(SPEC.id, "off", "gone"),)
        await asyncio.sleep(0.1)
        assert rig.disks.attached == {}

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_was_to_be_off_or_to_start_anew_when_the_agent_died_is_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        guest = rig.agent.find(SPEC.id)
        await guest.running().ask("set-action", shutdown="pause")
        await guest.running().ask("system_powerdown")
        await rig.again()
        assert rig.agent.power() == (Power(SPEC.id, "running"),)
        await rig.agent.find(SPEC.id).save(on=False, why="host")
        await rig.again()
        assert rig.agent.power() == (Power(SPEC.id, "off", "host"),)

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_answers_oddly_does_not_keep_the_agent_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        process = rig.agent.find(SPEC.id).running().process
        real = Run.stay
        odd: list[Exception] = [QmpRefused("no"), TypeError("no"), AttributeError("no")]

        async def stay(run: Run) -> bool:
            if odd:
                raise odd.pop()
            return await real(run)

        monkeypatch.setattr(Run, "stay", stay)
        monkeypatch.setattr(guest_module, "SETTLE_AGAIN_S", 0.01)
        await rig.again()
        guest = rig.agent.find(SPEC.id)
        async with asyncio.timeout(10):  # it is tried again, until it is in order
            while odd:
                await asyncio.sleep(0.01)
        assert guest.running().process == process

        async def refresh(run: Run) -> str:
            raise TypeError("'int' object is not subscriptable")

        monkeypatch.setattr(Run, "refresh", refresh)
        await rig.again()  # cannot even be told what it does: it is ended
        assert rig.agent.power() == (Power(SPEC.id, "off", "gone"),)
        assert not commands.is_running(process)

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_does_not_start_says_why_and_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        wrong = msgspec.structs.replace(SPEC, memory_mb=7)
        with pytest.raises(GuestBroken, match="something wrong with this guest"):
            await rig.agent.carry_out(Spawn(wrong))
        await asyncio.sleep(0.1)
        assert rig.disks.attached == {}
        assert rig.networks.plugged == set()
        assert rig.agent.power()[0].state == "off"
        rig.disks.down = True
        with pytest.raises(Unavailable):
            await rig.agent.carry_out(Spawn(SPEC))
        rig.disks.down = False
        await rig.agent.carry_out(Spawn(SPEC))
        assert rig.agent.power()[0].state == "running"

    with_rig(tmp_path, monkeypatch, test)


def test_uefi_needs_its_firmware_and_gets_variables_of_its_own(tmp_path: Path) -> None:
    uefi = spec(firmware="uefi")
    with pytest.raises(Unavailable, match="apt-get install ovmf"):
        prepare(uefi, str(tmp_path), "")
    code = tmp_path / "OVMF_CODE.fd"
    with pytest.raises(InvalidArgument, match="OVMF_VARS"):
        prepare(uefi, str(tmp_path), str(code))
    (tmp_path / "OVMF_VARS.fd").write_bytes(b"new")
    prepare(uefi, str(tmp_path), str(code))
    (tmp_path / "OVMF_VARS.fd").write_bytes(b"newer")
    prepare(uefi, str(tmp_path), str(code))
    assert (tmp_path / "run" / "firmware.fd").read_bytes() == b"new"


def test_an_ide_disk_needs_no_slot() -> None:
    assert len(slots_for(spec(disks=(DISK, msgspec.structs.replace(DISK, volume="b" * 32, device="hda", bus="ide"))), {})) == 2


def test_a_guest_that_is_found_again_keeps_its_cards_and_has_its_disks_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        await rig.agent.find(SPEC.id).save_spec(
            msgspec.structs.replace(SPEC, disks=(DISK, msgspec.structs.replace(DISK, volume="b" * 32, device="vdb")))
        )
        monkeypatch.setattr(guest_module, "SETTLE_AGAIN_S", 0.01)
        rig.disks.attached.clear()  # the agent died while the guest was about to move, and could not attach them again either
        rig.disks.down = True
        await rig.again()
        assert rig.agent.power() == (Power(SPEC.id, "running"),)
        assert rig.networks.held == {NIC.port}
        rig.disks.down = False
        async with asyncio.timeout(10):
            while not rig.disks.attached:
                await asyncio.sleep(0.01)
        assert list(rig.disks.attached) == [DISK.volume]  # and not the one that was not plugged in yet

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_is_found_again_ends_when_it_powers_itself_off_though_a_new_start_was_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        await rig.agent.find(SPEC.id).running().ask("set-action", shutdown="pause")  # and the agent dies before it presses the button
        await rig.again()
        guest = rig.agent.find(SPEC.id)
        await guest.running().ask("system_powerdown")
        await until(guest, "off")
        assert guest.power().why == "guest"

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_whose_start_cannot_be_written_down_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        real = Guest.save
        processes: list[commands.Running] = []

        async def save(guest: Guest, **changes: Any) -> None:
            if changes.get("pid"):
                processes.append(guest.running().process)
                raise OSError("the disk is full, for this test")
            await real(guest, **changes)

        monkeypatch.setattr(Guest, "save", save)
        with pytest.raises(OSError, match="full"):
            await rig.agent.carry_out(Spawn(SPEC))
        assert not commands.is_running(processes[0])
        assert rig.agent.power()[0].state == "off"

    with_rig(tmp_path, monkeypatch, test)


def test_a_disk_that_is_full_keeps_no_guest_from_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        def save(*_: object) -> None:
            raise OSError("the disk is full, for this test")

        real = layout.save
        await rig.agent.carry_out(Spawn(SPEC))
        guest = rig.agent.find(SPEC.id)
        monkeypatch.setattr(layout, "save", save)
        await guest.running().ask("system_powerdown")
        async with asyncio.timeout(10):
            while rig.disks.attached:
                await asyncio.sleep(0.01)
        assert guest.power() == Power(SPEC.id, "off", "guest")
        await rig.again()  # which reads that it should run
        async with asyncio.timeout(10):
            while rig.networks.plugged:
                await asyncio.sleep(0.01)
        assert rig.agent.power() == (Power(SPEC.id, "off", "gone"),)
        monkeypatch.setattr(layout, "save", real)
        await rig.agent.carry_out(Spawn(SPEC))
        monkeypatch.setattr(layout, "save", save)
        await rig.agent.carry_out(Destroy(SPEC.id))
        assert rig.agent.power() == ()
        assert list((rig.directory / "servers").iterdir()) == []

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_did_not_come_whole_and_is_started_here_is_this_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        await rig.agent.carry_out(Stop(SPEC.id, 1.0))
        guest = rig.agent.find(SPEC.id)
        await guest.save(coming=True)
        assert rig.agent.power() == ()
        await rig.agent.carry_out(Spawn(SPEC))
        await rig.agent.carry_out(Stop(SPEC.id, 1.0))
        await rig.agent.give_up_lost()
        assert rig.agent.power() == (Power(SPEC.id, "off", "host"),)

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_never_has_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(SPEC))
        guest = rig.agent.find(SPEC.id)
        lost, guest.run = guest.running(), None  # by whatever fault
        await rig.agent.carry_out(Spawn(SPEC))
        assert not commands.is_running(lost.process)
        assert guest.running().process != lost.process
        assert rig.agent.power() == (Power(SPEC.id, "running"),)

    with_rig(tmp_path, monkeypatch, test)
