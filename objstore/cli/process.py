"""One supervised process: how it is started, how it says that it is ready, how it ends, when it is started again.

A child inherits two pipes.  On the *ready* pipe it writes one line of JSON with its own pid, which differs from the pid
that was spawned when a tracer or a wrapper stands in front of it.  The *lifeline* it only watches: the other end is held
by the supervisor alone, so it closes when the supervisor ends in whatever way, and the child then ends too.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from objstore.errors import ObjstoreError
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner

log = logging.getLogger(__name__)

READY_FD = "OBJSTORE_READY_FD"
LIFELINE_FD = "OBJSTORE_LIFELINE_FD"
SUPERVISOR_PID = "OBJSTORE_SUPERVISOR_PID"
RUN_AS = "OBJSTORE_RUN_AS"

BACK_OFF_FIRST_S = 0.1
BACK_OFF_LIMIT_S = 2.0  # with the time to start, still under the promised 3 s
STEADY_S = 10.0  # a process that ran this long did not die of its start
POLL_S = 0.02
KILLED_S = 0.6  # a killed process is gone in milliseconds, unless the kernel itself waits for something
READY_LINE_LIMIT_BYTES = 65536


@dataclass(frozen=True)
class Plan:
    """What to run.  `user` is the id of the user that the process makes itself, None for the supervisor's own."""

    name: str
    role: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    directory: Path
    prefix: Sequence[str] = ()
    user: int | None = None


@dataclass
class Incarnation:
    """One run of a process: its pids, and the start times that make them unmistakable."""

    spawned: subprocess.Popen[bytes]
    spawned_since: int
    lifeline: int
    pid: int = 0  # the process itself, once it said so
    since: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Process:
    """Keeps one process running from `start` until `stop`."""

    def __init__(
        self, plan: Callable[[], Awaitable[Plan]], *, name: str, role: str, clock: Clock, owner: TaskOwner, changed: Callable[[], None]
    ) -> None:
        self.name = name
        self.role = role
        self.wanted = False
        self.ready = asyncio.Event()
        self.deaths = 0  # in a row, without a steady run between them
        self.last_exit: int | None = None
        self.run: Incarnation | None = None
        self._plan = plan
        self._clock = clock
        self._owner = owner
        self._changed = changed  # called whenever pids change, to have them on disk
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process's own pid while it runs; the wrapper's before it has spoken."""
        if self.run is None or self.run.ended.is_set():
            return None
        return self.run.pid or self.run.spawned.pid

    def start(self) -> None:
        """Want it to run; nothing happens where it runs already."""
        self.wanted = True
        if self._keeper is None or self._keeper.done():
            self.deaths = 0
            self._keeper = self._owner.spawn(self._keep(), name=self.name)

    async def stop(self, number: signal.Signals, *, timeout_s: float) -> None:
        """Send a signal and wait until it has ended; after `timeout_s` it is killed.  It stays stopped."""
        self.wanted = False
        run = self.run
        if run is not None and not run.ended.is_set():
            _send(run, number)
            _send(run, signal.SIGCONT)  # a process that was stopped would not see it
            if not await _within(run.ended, timeout_s):
                log.warning("%s did not end within %g s of %s; killed", self.name, timeout_s, number.name)
                _send(run, signal.SIGKILL)
                if not await _within(run.ended, KILLED_S):
                    log.error("%s does not even end when killed: its disk hangs or it is frozen; it will, later", self.name)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal and change nothing else.  Raises ProcessLookupError when it does not run."""
        if self.run is None or self.run.ended.is_set():
            raise ProcessLookupError(f"{self.name} does not run")
        _send(self.run, number)

    async def _keep(self) -> None:
        pause_s = BACK_OFF_FIRST_S
        while self.wanted:
            began = self._clock.monotonic()
            try:
                plan = await self._plan()
                if not self.wanted:
                    return
                self.run = run = self._spawn(plan)
            except (OSError, ValueError, ObjstoreError) as failure:
                log.error("%s cannot be started: %s", self.name, failure)  # noqa: TRY400 the message says all there is
                self.deaths += 1
            else:
                self._changed()
                try:
                    await self._until_ended(run)
                finally:
                    self.ready.clear()
                self.last_exit = run.spawned.returncode
                self._changed()
                if not self.wanted:
                    return
                steady = self._clock.monotonic() - began > STEADY_S
                self.deaths = 1 if steady else self.deaths + 1
                pause_s = BACK_OFF_FIRST_S if steady else pause_s
                log.warning("%s died (%s); started again in %g s", self.name, _exit_text(self.last_exit), pause_s)
            await self._clock.sleep(pause_s)
            pause_s = min(BACK_OFF_LIMIT_S, pause_s * 2)

    def _spawn(self, plan: Plan) -> Incarnation:
        ready_read, ready_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        try:
            with plan.log_file.open("ab") as output:
                spawned = subprocess.Popen(
                    [*plan.prefix, *plan.command],
                    env={
                        **plan.environment,
                        READY_FD: str(ready_write),
                        LIFELINE_FD: str(lifeline_read),
                        SUPERVISOR_PID: str(os.getpid()),
                        **({} if plan.user is None else {RUN_AS: str(plan.user)}),
                    },
                    cwd=plan.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(ready_write, lifeline_read),
                    start_new_session=True,
                )
        except OSError:
            os.close(ready_read)
            os.close(lifeline_write)
            raise
        finally:
            os.close(ready_write)
            os.close(lifeline_read)
        run = Incarnation(spawned, start_time(spawned.pid), lifeline_write)
        _read_ready(ready_read, run, self._on_ready)
        return run

    def _on_ready(self, run: Incarnation) -> None:
        if run is self.run and not run.ended.is_set():
            self.ready.set()
            self._changed()

    async def _until_ended(self, run: Incarnation) -> None:
        """Wait for the spawned process, then make sure that nothing of it is left."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(run.spawned.pid)
        gone = asyncio.Event()
        loop.add_reader(pidfd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            if gone.is_set():
                run.spawned.wait()
                # A wrapper that was killed can leave the process itself behind; two of one name must never run.
                os.close(run.lifeline)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(run.spawned.pid, signal.SIGKILL)
                while run.pid and is_alive(run.pid, run.since):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(run.pid, signal.SIGKILL)
                    await self._clock.sleep(POLL_S)
                run.ended.set()


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with it a pid is unmistakable.  0 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = stat[stat.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, since: int) -> bool:
    """Whether this very process (pid and start time) still runs."""
    return since != 0 and start_time(pid) == since


def _send(run: Incarnation, number: signal.Signals) -> None:
    """To the process itself; a wrapper in front of it ends with it, except that it too must be killed."""
    targets = [run.pid] if run.pid and is_alive(run.pid, run.since) else [run.spawned.pid]
    if number is signal.SIGKILL and run.spawned.pid not in targets:
        targets.append(run.spawned.pid)
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _read_ready(fd: int, run: Incarnation, done: Callable[[Incarnation], None]) -> None:
    """Wait in the background for the child's ready line; close the pipe after it or at its end."""
    loop = asyncio.get_running_loop()
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    line = bytearray()

    def readable() -> None:
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return
        line.extend(data)
        if data and b"\n" not in line and len(line) < READY_LINE_LIMIT_BYTES:
            return
        loop.remove_reader(fd)
        os.close(fd)
        if b"\n" in line:
            run.pid = int(json.loads(line)["pid"])
            run.since = start_time(run.pid)
            done(run)

    loop.add_reader(fd, readable)


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit {code}"
