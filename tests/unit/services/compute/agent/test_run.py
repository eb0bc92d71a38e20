"""A QEMU process and its monitor."""

import asyncio
from pathlib import Path

import pytest

from objstore.cli.world import system_world
from objstore.runtime import commands
from objstore.services.compute.agent.run import GuestBroken, Run, StillPlugged, find_again
from objstore.services.compute.agent_api import Spawn
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import spec


@pytest.mark.parametrize(("shutdown", "told", "why"), [
    (None, False, "gone"), (None, True, "host"), ({"guest": True}, False, "guest"), ({"guest": True}, True, "host"), ({"guest": False}, False, "host"),
])  # fmt: skip
def test_why_a_guest_is_off(shutdown: dict[str, bool] | None, told: bool, why: str, tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(system_world().clock, str(tmp_path), commands.Running(1, 1), lambda: None)
        if shutdown is not None:
            run.on_event("SHUTDOWN", shutdown)
        assert run.why(told=told) == why

    asyncio.run(main())


def test_events_change_what_is_known_of_a_guest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        told: list[int] = []
        run = Run(system_world().clock, str(tmp_path), commands.Running(1, 1), lambda: told.append(1))
        run.on_event("STOP", {})
        assert run.state == "paused"
        run.on_event("RESUME", {})
        assert run.state == "running"
        run.on_event("GUEST_PANICKED", {})
        assert run.crashed
        assert len(told) == 3
        run.on_event("SOMETHING_NEW", {})
        run.on_event("DEVICE_DELETED", {"path": "/machine/x"})
        run.on_event("DEVICE_DELETED", {"device": "x"})
        assert run._deleted == {}  # nobody waits for it
        run.on_event("BLOCK_IO_ERROR", {"device": "x" * 100_000})
        assert len(caplog.text) < 1000

    asyncio.run(main())


def test_a_device_that_the_guest_keeps_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await rig.agent.carry_out(Spawn(spec()))
        run = rig.agent.find(spec().id).running()
        await run.monitor.ask("device_add", {"id": "x", "serial": "stuck"})
        with pytest.raises(StillPlugged, match=r"0\.05 s"):
            await run.unplug("x", timeout_s=0.05)
        await run.monitor.ask("device_add", {"id": "x"})
        await run.unplug("x", timeout_s=5.0)
        assert not await run.has("x")
        await run.unplug("x", timeout_s=5.0)

    with_rig(tmp_path, monkeypatch, test)


def test_a_process_that_has_ended_is_not_found_again(tmp_path: Path) -> None:
    world = system_world()
    with pytest.raises(GuestBroken, match="it said nothing"):
        asyncio.run(find_again(world.net, world.clock, str(tmp_path), commands.Running(2**22, 1), lambda: None))


def test_disks_that_fail_at_each_turn_are_told_of_now_and_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        run = Run(system_world().clock, str(tmp_path), commands.Running(1, 1), lambda: None)
        for _ in range(1000):
            run.on_event("BLOCK_IO_ERROR", {"device": "d"})
        assert caplog.text.count("disk fails") == 1
        run._quiet_until_s = 0.0
        run.on_event("BLOCK_IO_ERROR", {"device": "d"})
        assert "(1000 times)" in caplog.text

    asyncio.run(main())
