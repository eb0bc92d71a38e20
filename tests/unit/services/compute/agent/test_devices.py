"""Disks and network cards come and go while a guest runs."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.errors import InvalidArgument, QuorumLost, Refused
from objstore.services.compute.agent import guest as guest_module
from objstore.services.compute.agent.agent import NotHere
from objstore.services.compute.agent.layout import disk_name
from objstore.services.compute.agent.qmp import QmpClosed
from objstore.services.compute.agent.run import StillPlugged
from objstore.services.compute.agent_api import (
    AttachDisk,
    AttachNic,
    DetachDisk,
    DetachNic,
    Disk,
    Pause,
    Power,
    ResizeVolume,
    SnapshotVolume,
    Spawn,
    Stop,
)
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import DISK, ID, NIC, spec

MORE = Disk("b" * 32, "vdb", serial="more")


def test_a_disk_is_plugged_in_and_taken_out_as_often_as_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        guest = rig.agent.find(ID)
        for _ in range(2):
            await rig.agent.carry_out(AttachDisk(ID, MORE))
        assert await guest.running().has(disk_name(MORE.volume))
        assert guest.spec.disks == (DISK, MORE)
        assert MORE.volume in rig.disks.attached
        for _ in range(2):
            await rig.agent.carry_out(DetachDisk(ID, MORE.volume))
        assert not await guest.running().has(disk_name(MORE.volume))
        assert list(await guest.running().nodes()) == [disk_name(DISK.volume)]
        assert guest.spec.disks == (DISK,)
        assert list(rig.disks.attached) == [DISK.volume]
        with pytest.raises(Refused, match="has a disk vda"):
            await rig.agent.carry_out(AttachDisk(ID, msgspec.structs.replace(MORE, device="vda")))
        with pytest.raises(InvalidArgument):
            await rig.agent.carry_out(AttachDisk(ID, msgspec.structs.replace(MORE, bus="ide")))
        with pytest.raises(InvalidArgument):
            await rig.agent.carry_out(AttachDisk(ID, msgspec.structs.replace(MORE, serial="a,b")))

    with_rig(tmp_path, monkeypatch, test)


def test_what_is_plugged_into_a_guest_that_is_off_is_there_when_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        await rig.agent.carry_out(Stop(ID, 1.0))
        await rig.agent.carry_out(AttachDisk(ID, MORE))
        await rig.agent.carry_out(AttachNic(ID, NIC))
        assert rig.disks.attached == {}
        guest = rig.agent.find(ID)
        await rig.agent.carry_out(Spawn(guest.spec))
        assert await guest.running().has(disk_name(MORE.volume))
        assert rig.networks.plugged == {NIC.port}
        await rig.agent.carry_out(Stop(ID, 1.0))
        await rig.agent.carry_out(DetachDisk(ID, MORE.volume))
        await rig.agent.carry_out(DetachNic(ID, NIC.port))
        assert (guest.spec.disks, guest.spec.nics) == ((DISK,), ())

    with_rig(tmp_path, monkeypatch, test)


def test_a_disk_that_the_guest_keeps_stays_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        stuck = msgspec.structs.replace(MORE, serial="stuck")
        await rig.agent.carry_out(AttachDisk(ID, stuck))
        with pytest.raises(StillPlugged):
            await rig.agent.carry_out(DetachDisk(ID, stuck.volume))
        assert stuck.volume in rig.disks.attached
        assert stuck in rig.agent.find(ID).spec.disks

    with_rig(tmp_path, monkeypatch, test)


def test_what_cannot_be_attached_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        real, calls = rig.disks.attach, []

        async def attach(volume: str, *, force: bool = False) -> None:
            calls.append(volume)
            raise QuorumLost("for this test")

        rig.disks.attach = attach  # type: ignore[method-assign]
        with pytest.raises(QuorumLost):
            await rig.agent.carry_out(AttachDisk(ID, MORE))
        assert rig.agent.find(ID).spec.disks == (DISK,)
        rig.disks.attach = real  # type: ignore[method-assign]
        await rig.agent.carry_out(AttachDisk(ID, MORE))

    with_rig(tmp_path, monkeypatch, test)


def test_a_network_card_is_plugged_in_and_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec(nics=())))
        guest = rig.agent.find(ID)
        for _ in range(2):
            await rig.agent.carry_out(AttachNic(ID, NIC))
        assert rig.networks.told == 1  # the driver had not heard of the port
        assert await guest.running().has(f"n-{NIC.port}")
        for _ in range(2):
            await rig.agent.carry_out(DetachNic(ID, NIC.port))
        assert not await guest.running().has(f"n-{NIC.port}")
        assert rig.networks.plugged == set()

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_stands_still_for_a_snapshot_and_sees_a_longer_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        run = rig.agent.find(ID).running()
        events: list[str] = []
        real = run.on_event
        run.monitor._on_event = lambda name, data: (events.append(name), real(name, data))[1]
        await rig.agent.carry_out(SnapshotVolume(DISK.volume, "c" * 32))
        assert events == ["STOP", "RESUME"]
        assert rig.disks.done[-1] == ("snapshot", DISK.volume, "c" * 32)
        for number in (1, 2):
            await rig.agent.carry_out(ResizeVolume(DISK.volume, number * 8192))
            assert rig.disks.attached[DISK.volume] == number * 8192
            assert len([name for name in await run.nodes() if name.startswith("c")]) == 1
        with pytest.raises(NotHere):
            await rig.agent.carry_out(ResizeVolume("d" * 32, 8192))
        with pytest.raises(NotHere):
            await rig.agent.carry_out(SnapshotVolume("d" * 32, "c" * 32))

    with_rig(tmp_path, monkeypatch, test)


def test_a_volume_that_another_guest_uses_too_is_not_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        other = msgspec.structs.replace(spec(nics=()), id=ID.replace("1", "9"), disks=(MORE,))
        await rig.agent.carry_out(Spawn(spec()))
        await rig.agent.carry_out(Spawn(other))
        await rig.agent.carry_out(AttachDisk(ID, MORE))
        await rig.agent.carry_out(DetachDisk(ID, MORE.volume))
        assert MORE.volume in rig.disks.attached
        await rig.agent.carry_out(Stop(other.id, 1.0))
        assert list(rig.disks.attached) == [DISK.volume]

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_stood_still_for_a_snapshot_when_its_agent_died_goes_on_and_who_was_paused_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        record = rig.directory / "servers" / ID / "record.json"
        kept: list[bytes] = []
        real = rig.disks.snapshot

        async def snapshot(volume: str, snapshot: str) -> None:
            assert rig.agent.power() == (Power(ID, "paused"),)
            kept.append(record.read_bytes())
            await real(volume, snapshot)

        rig.disks.snapshot = snapshot  # type: ignore[method-assign]
        await rig.agent.carry_out(SnapshotVolume(DISK.volume, "c" * 32))
        assert rig.agent.power() == (Power(ID, "running"),)
        after = record.read_bytes()
        await rig.agent.find(ID).running().ask("stop")
        record.write_bytes(kept[0])  # the agent is killed before it lets the guest go on
        await rig.again()
        assert rig.agent.power() == (Power(ID, "running"),)
        assert record.read_bytes() == after
        record.write_bytes(kept[0])  # and right after
        await rig.again()
        await rig.agent.carry_out(Pause(ID))
        await rig.again()
        assert rig.agent.power() == (Power(ID, "paused"),)
        await rig.agent.carry_out(SnapshotVolume(DISK.volume, "d" * 32))  # a guest that stands still needs no halt, and stays so
        await rig.again()
        assert rig.agent.power() == (Power(ID, "paused"),)

    with_rig(tmp_path, monkeypatch, test)


def test_a_guest_that_cannot_be_let_go_on_after_a_snapshot_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        monkeypatch.setattr(guest_module, "SETTLE_AGAIN_S", 0.01)
        await rig.agent.carry_out(Spawn(spec()))
        run = rig.agent.find(ID).running()
        real, refused = run.monitor.execute, []

        async def execute(command: str, **more: Any) -> Any:
            if command == "cont" and len(refused) < 2:
                refused.append(command)
                raise QmpClosed("for this test")
            return await real(command, **more)

        monkeypatch.setattr(run.monitor, "execute", execute)
        with pytest.raises(QmpClosed):
            await rig.agent.carry_out(SnapshotVolume(DISK.volume, "c" * 32))
        async with asyncio.timeout(10):
            while rig.agent.power() != (Power(ID, "running"),):
                await asyncio.sleep(0.01)

    with_rig(tmp_path, monkeypatch, test)
