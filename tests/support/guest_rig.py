"""An agent over a scripted QEMU, disks that are only noted, and networks that only count."""

import asyncio
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.cli.world import system_world
from objstore.errors import QuorumLost
from objstore.runtime import commands
from objstore.runtime.disk import RealDisk
from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent.command import HostFacts
from objstore.services.compute.agent.host import GuestSettings, Host
from objstore.services.network.driver.api import Carried, NotTold, Tap, UserMode
from objstore.services.network.wanted import WantedHost
from tests.support import scripted_qemu

TEST_S = 60.0  # none takes a second on a quiet machine


class NotedDisks:
    """Knows which volumes are attached."""

    def __init__(self) -> None:
        self.attached: dict[str, int] = {}
        self.done: list[tuple[Any, ...]] = []
        self.down = False

    async def attach(self, volume: str, *, force: bool = False) -> None:
        self._check()
        self.done.append(("attach", volume, force))
        self.attached.setdefault(volume, 1 << 20)

    async def detach(self, volume: str) -> None:
        self._check()
        self.attached.pop(volume, None)

    async def snapshot(self, volume: str, snapshot: str) -> None:
        self._check()
        self.done.append(("snapshot", volume, snapshot))

    async def resize(self, volume: str, size_bytes: int) -> None:
        self.attached[volume] = size_bytes

    async def sizes(self) -> dict[str, int]:
        return self.attached

    def _check(self) -> None:
        if self.down:
            raise QuorumLost("the disks are down, for this test")


class CountedNetworks:
    """A driver of QEMU's own network; knows a port only after it was told."""

    name = "user"

    def __init__(self) -> None:
        self.plugged: set[str] = set()
        self.held: set[str] = set()
        self.told = 0

    async def carry_out(self, wanted: WantedHost) -> Carried:
        self.told += 1
        return Carried(wanted.revision, tuple(port.id for port in wanted.ports))

    async def plug(self, port: str, server: str) -> Tap | UserMode:
        if not self.told:
            raise NotTold(port)
        self.plugged.add(port)
        return UserMode(port, "user")

    async def open_tap(self, tap: Tap) -> int:
        raise AssertionError("there are no taps")

    def hold(self, port: str) -> None:
        self.held.add(port)

    async def unplug(self, port: str) -> None:
        self.plugged.discard(port)

    async def aclose(self) -> None:
        pass

    async def clean_up(self) -> None:
        pass


class Rig:
    """One host; `again` is what it is after its agent was started anew."""

    def __init__(self, directory: Path, boot_id: str = "boot") -> None:
        self.directory = directory
        self.disks = NotedDisks()
        self.networks = CountedNetworks()
        self.changes = 0
        self.boot_id = boot_id
        self.agent = self._agent()

    def _agent(self) -> Agent:
        world = system_world()
        self.threads = world.new_threads("agent", 1)

        def changed() -> None:
            self.changes += 1

        def in_use(volume: str, server: str) -> bool:
            return self.agent.in_use(volume, server)

        async def ask() -> None:
            await self.networks.carry_out(WantedHost(1))

        host = Host(
            world, self.threads, RealDisk(str(self.directory)), str(self.directory), HostFacts("tcg", "q35", "nbd"), self.disks, self.networks, ask,
            GuestSettings(unplug_timeout_s=0.1), self.boot_id, changed, in_use,
        )  # fmt: skip
        return Agent(host)

    async def again(self) -> None:
        await self.aclose()
        self.agent = self._agent()
        await self.agent.start()

    async def aclose(self) -> None:
        await self.agent.aclose()
        self.threads.close()


def with_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: Callable[[Rig], Awaitable[None]], boot_id: str = "boot") -> None:
    """Run a test; every process that it started is ended after it."""
    program = tmp_path / "qemu"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {scripted_qemu.__file__} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    real = commands.find
    monkeypatch.setattr(commands, "find", lambda name: str(program) if name == "qemu-system-x86_64" else real(name))
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        rig = Rig(tmp_path / "a", boot_id)
        await rig.agent.start()
        try:
            async with asyncio.timeout(TEST_S):
                await test(rig)
        finally:
            for guest in list(rig.agent.guests.values()):
                if guest.run is not None:
                    await guest.run.kill()
            await asyncio.sleep(0.02)
            await rig.aclose()
            await asyncio.sleep(0.02)

    asyncio.run(main())
