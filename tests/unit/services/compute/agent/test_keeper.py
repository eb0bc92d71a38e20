"""Logs are kept within their limit without being asked."""

import asyncio
from pathlib import Path

import pytest

from objstore.services.compute.agent import keeper
from objstore.services.compute.agent.keeper import Keeper
from objstore.services.compute.agent_api import Spawn
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
