"""Logs are kept within their limit without being asked."""

import asyncio
from pathlib import Path

import pytest

from objstore.services.compute.agent import keeper, layout
from objstore.services.compute.agent.keeper import Keeper
from objstore.services.compute.agent_api import Destroy, Spawn
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import ID, spec


def test_a_log_that_grew_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        directory = Path(rig.agent.find(ID).directory)
        logs = [directory / "run" / "console.log", directory / "qemu.log", rig.directory / "networks" / "space.dnsmasq.log"]
        logs[-1].parent.mkdir()
        for log in logs:
            log.write_bytes(bytes(rig.agent.host.settings.console_bytes + 1))
        monkeypatch.setattr(keeper, "EVERY_S", 0.01)
        task = asyncio.ensure_future(Keeper(rig.agent).run())
        async with asyncio.timeout(10):
            while any(log.stat().st_size for log in logs):
                await asyncio.sleep(0.01)
        task.cancel()

    with_rig(tmp_path, monkeypatch, test)


def test_a_disk_that_is_full_does_not_end_it_and_what_is_left_of_guests_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        directory = Path(rig.agent.find(ID).directory)
        (directory / "console.log.1").mkdir()  # so what is set aside cannot be written
        log = directory / "run" / "console.log"
        other = rig.directory / "networks" / "space.dnsmasq.log"
        other.parent.mkdir()
        big = bytes(rig.agent.host.settings.console_bytes + 1)
        log.write_bytes(big)
        monkeypatch.setattr(keeper, "EVERY_S", 0.01)
        task = asyncio.ensure_future(Keeper(rig.agent).run())
        for _ in range(2):
            other.write_bytes(big)
            log.write_bytes(big)
            async with asyncio.timeout(10):
                while other.stat().st_size:
                    await asyncio.sleep(0.01)
        assert caplog.text.count("cannot be kept small") == 1
        monkeypatch.setattr(layout, "remove", refuse)
        await rig.agent.carry_out(Destroy(ID))
        assert directory.exists()
        monkeypatch.undo()
        async with asyncio.timeout(10):
            while directory.exists():
                await asyncio.sleep(0.01)
        task.cancel()

    with_rig(tmp_path, monkeypatch, test)


def refuse(directory: str) -> None:
    raise OSError("busy, for this test")
