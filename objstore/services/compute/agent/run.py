"""One run of a guest: a QEMU process and its monitor, from its start (or from being found again) to its end."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from objstore.errors import NodeUnreachable, ObjstoreError, Refused, Unavailable
from objstore.runtime import commands
from objstore.runtime.clock import Clock
from objstore.runtime.commands import Running
from objstore.runtime.net import Net
from objstore.services.compute.agent import qmp
from objstore.services.compute.agent.doors import door
from objstore.services.compute.agent.layout import QEMU_LOG, QMP, RUN
from objstore.services.compute.agent.qmp import Qmp, QmpClosed, QmpRefused

log = logging.getLogger(__name__)

PROGRAM = "qemu-system-x86_64"
START_S = 60.0  # for QEMU's monitor to come; a second on a quiet machine
FOUND_S = 10.0  # for the monitor of a guest that runs already
QUIT_S = 5.0  # between asking QEMU to end and killing it
POLL_S = 0.02
LOG_TAIL_BYTES = 2000
UNPLUG_POLL_S = 0.5
LOGGED = 200  # characters of a value that QEMU tells
COMPLAIN_EVERY_S = 10.0  # of a disk that fails: a guest can ask for what fails as often as it likes
ODD = (
    ObjstoreError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)  # what comes of a monitor that answers as QEMU's does not


class GuestBroken(Unavailable):
    """QEMU does not start, or ended in the middle of something."""


class StillPlugged(Refused):
    """The guest does not let go of a device."""


class Run:
    """A process that runs, or ran."""

    def __init__(self, clock: Clock, directory: str, process: Running, changed: Callable[[], None]) -> None:
        self.process = process
        self.ended = asyncio.Event()
        self.state = "running"
        self.shutdown: dict[str, Any] | None = None  # what QEMU said at its end
        self.crashed = False
        self.monitor: Qmp = None  # type: ignore[assignment] # set by the functions below, before anybody sees this object
        self._clock = clock
        self._directory = directory
        self._changed = changed
        self._deleted: dict[str, asyncio.Event] = {}
        self._disk_errors = 0  # that were not logged
        self._quiet_until_s = 0.0

    def on_event(self, name: str, data: dict[str, Any]) -> None:
        """What QEMU's monitor tells by itself."""
        if name == "SHUTDOWN":
            self.shutdown = data
        elif name == "DEVICE_DELETED" and "device" in data:
            if (waited := self._deleted.get(str(data["device"]))) is not None:
                waited.set()
        elif name == "GUEST_PANICKED":
            self.crashed = True
            self._changed()
        elif name in ("STOP", "RESUME"):
            self.state = "paused" if name == "STOP" else "running"
            self._changed()
        elif name == "BLOCK_IO_ERROR":
            self._disk_errors += 1
            if (now := self._clock.monotonic()) >= self._quiet_until_s:
                facts = {key: str(data.get(key))[:LOGGED] for key in ("device", "operation", "reason")}
                log.error("a guest's disk fails in %s (%d times): %s", self._directory, self._disk_errors, facts)
                self._disk_errors, self._quiet_until_s = 0, now + COMPLAIN_EVERY_S

    def why(self, *, told: bool) -> str:
        """Why it is off, as reports say it: "guest", "host" or "gone"."""
        if told:
            return "host"
        if self.shutdown is None:
            return "gone"
        return "guest" if self.shutdown.get("guest") else "host"

    async def wait_for_end(self) -> None:
        """Until the process is gone.  One task of each run does this, all others wait for `ended`."""
        await self.monitor.closed.wait()
        while commands.is_running(self.process):
            await self._clock.sleep(POLL_S)
        self.ended.set()

    async def ask(self, command: str, **arguments: Any) -> Any:
        """A command to QEMU.  Raises QmpRefused, QmpClosed."""
        return await self.monitor.execute(command, **arguments)

    async def quit(self) -> None:
        """End it, politely and then by force."""
        with contextlib.suppress(QmpClosed, QmpRefused):
            await self.monitor.execute("quit", timeout_s=QUIT_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIT_S):
                await self.ended.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it by force."""
        commands.send_signal(self.process, signal.SIGKILL)
        await self.ended.wait()

    async def unplug(self, name: str, *, timeout_s: float) -> None:
        """Take a device out.  Raises StillPlugged, after `timeout_s`."""
        deleted = self._deleted[name] = asyncio.Event()
        try:
            await self._unplugged(name, deleted, timeout_s)
        finally:
            self._deleted.pop(name, None)

    async def _unplugged(self, name: str, deleted: asyncio.Event, timeout_s: float) -> None:
        try:
            await self.ask("device_del", id=name)
        except QmpRefused as refused:
            if getattr(refused, "kind", "") == "DeviceNotFound":
                return
            # Otherwise the guest was asked before and has not answered yet.
        deadline = self._clock.monotonic() + timeout_s
        while not deleted.is_set() and not self.ended.is_set():
            if self._clock.monotonic() >= deadline:
                raise StillPlugged(f"the guest does not let go of the device within {timeout_s:g} s; it will when it is started anew")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(UNPLUG_POLL_S, timeout_s)):
                    await deleted.wait()
            if not deleted.is_set() and not await self.has(name):
                return

    async def has(self, name: str) -> bool:
        """Whether a device is plugged in."""
        try:
            found = await self.ask("qom-list", path="/machine/peripheral")
        except QmpClosed:
            return False
        return any(entry.get("name") == name for entry in found)

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """The block nodes that have names, by them."""
        return {node["node-name"]: node for node in await self.ask("query-named-block-nodes", flat=True)}

    async def stay(self) -> bool:
        """Break off a move to another host; whether there was one, which whoever made it did not bring to its end."""
        status = str((await self.ask("query-migrate")).get("status", "none"))
        if status not in ("setup", "active", "pre-switchover", "device", "wait-unplug"):
            return False
        await self.ask("migrate_cancel")
        return True

    async def refresh(self) -> str:
        """QEMU's own word for the guest's state, of which `state` is made."""
        status = str((await self.ask("query-status"))["status"])
        self.state = "running" if status == "running" else "paused"
        self.crashed = status in ("guest-panicked", "internal-error")
        return status


async def launch(
    net: Net, clock: Clock, directory: str, arguments: Sequence[str], changed: Callable[[], None], *, descriptors: Sequence[int] = (), wrapper: Sequence[str] = ()
) -> Run:  # fmt: skip
    """Start QEMU.  `wrapper` is a program with arguments of its own that becomes it.  Raises GuestBroken, ProgramMissing, OSError."""
    words = [*(commands.find(word) if at == 0 else word for at, word in enumerate(wrapper)), commands.find(PROGRAM), *arguments]
    output = Path(directory, QEMU_LOG)
    output.unlink(missing_ok=True)
    process = commands.start(words[0], *words[1:], log=str(output), pass_fds=descriptors, directory=f"{directory}/{RUN}")
    run = Run(clock, directory, process, changed)
    try:
        run.monitor = await _connect(net, clock, directory, run, START_S)
    except BaseException:
        commands.send_signal(process, signal.SIGKILL)
        while commands.is_running(process):
            await clock.sleep(POLL_S)
        raise
    return run


async def find_again(net: Net, clock: Clock, directory: str, process: Running, changed: Callable[[], None]) -> Run:
    """A guest that runs already.  Raises GuestBroken: it does not, or does not answer as it should."""
    run = Run(clock, directory, process, changed)
    try:
        run.monitor = await _connect(net, clock, directory, run, FOUND_S)
        await run.refresh()
    except GuestBroken:
        raise
    except ODD as failure:
        raise GuestBroken(f"QEMU's monitor cannot be used: {failure!r:.200}") from failure
    return run


async def _connect(net: Net, clock: Clock, directory: str, run: Run, timeout_s: float) -> Qmp:
    deadline = clock.monotonic() + timeout_s
    while True:
        # Looked at before the attempt: whoever answers it then is this very process, and not one that has its socket after it.
        alive = commands.is_running(run.process)
        with contextlib.suppress(NodeUnreachable, QmpClosed):
            if alive:
                with door(directory, QMP) as path:
                    return await qmp.connect(net, path, run.on_event, timeout_s=max(0.1, deadline - clock.monotonic()))
        if not alive:
            raise GuestBroken(f"QEMU ended: {_said(directory) or 'it said nothing'}")
        if clock.monotonic() >= deadline:
            raise GuestBroken(f"QEMU's monitor did not come within {timeout_s:g} s: {_said(directory)}")
        await clock.sleep(POLL_S)


def _said(directory: str) -> str:
    """The end of what QEMU complained about."""
    try:
        with Path(directory, QEMU_LOG).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
