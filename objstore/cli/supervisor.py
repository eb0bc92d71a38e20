"""Runs a cluster's processes on one machine: starts them in order, restarts what dies, stops them in order.

It decides nothing about data.  What it knows of the cluster's health it asks (`operator.py`).
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from objstore.cli.layout import Layout, Place, ports_of
from objstore.cli.process import Plan, Process, is_alive
from objstore.runtime.config import ConfigError
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

log = logging.getLogger(__name__)

GUESTS_DOWN_S = 20.0  # for agents that end their guests, before anything else is told to stop
DISKS_DOWN_S = 21.0  # then for what guests wrote last to reach the store; what does not waits in the journals
DOWN_S = 8.0  # for an orderly end of everything; then SIGKILL, so that `down` keeps its 10 s
LOG_LIMIT_BYTES = 16 << 20
LOGS_KEPT = 3
LOG_CHECK_S = 2.0
GIVEN_UP_DEATHS = 3  # so many deaths in a row while starting: `up` no longer waits for that process
POLL_S = 0.01
PORT_WAIT_S = 2.0
ROLES = ("node", "proxy", "daemon", "services", "disks", "agent")  # in the order of starting; they are stopped in the order of STOP_ORDER
STOP_ORDER = ("services", "proxy", "daemon", "node")  # after the agents and the disks
_NAMED = re.compile(r"^((?:node|proxy|daemon|services|disks|agent)\d+):(.*)$", re.DOTALL)


class RunOptions:
    """Wrappers and environment by process name; "" stands for all."""

    def __init__(self) -> None:
        self.prefixes: dict[str, list[str]] = {}
        self.environments: dict[str, dict[str, str]] = {}

    def set_prefixes(self, given: Sequence[str]) -> None:
        """From "CMD" or "NAME:CMD" texts, replacing all.  Raises ConfigError."""
        prefixes: dict[str, list[str]] = {}
        for text in given:
            named = _NAMED.match(text)
            name, command = named.groups() if named else ("", text)
            try:
                words = shlex.split(command)
            except ValueError as failure:
                raise ConfigError(f"--exec-prefix {text!r}: {failure}") from failure
            if words and shutil.which(words[0]) is None:
                raise ConfigError(f"--exec-prefix {text!r}: there is no command {words[0]!r} here")
            prefixes[name] = words
        self.prefixes = prefixes

    def set_environments(self, given: Sequence[str]) -> None:
        """From "NAME:K=V" or "K=V" texts, replacing all.  Raises ConfigError."""
        environments: dict[str, dict[str, str]] = {}
        for text in given:
            named = _NAMED.match(text)
            name, assignment = named.groups() if named else ("", text)
            key, equals, value = assignment.partition("=")
            if not equals or not key:
                raise ConfigError(f"--env {text!r} is not of the form NAME:K=V or K=V")
            environments.setdefault(name, {})[key] = value
        self.environments = environments

    def prefix(self, name: str) -> list[str]:
        """What stands before the process's own command."""
        return self.prefixes.get(name, self.prefixes.get("", []))

    def environment(self, name: str) -> dict[str, str]:
        """What is added to the supervisor's own environment."""
        return {**os.environ, **self.environments.get("", {}), **self.environments.get(name, {})}


class Supervisor:
    """All processes of one cluster directory."""

    def __init__(self, world: World, place: Place, options: RunOptions) -> None:
        self.processes: dict[str, Process] = {}
        self._world = world
        self._place = place
        self._options = options
        self._layout: Layout | None = None
        self._owner = TaskOwner("supervisor", limit=1000)
        self._owner.spawn(self._rotate_logs(), name="log rotation")

    def adopt(self, layout: Layout) -> None:
        """Know the processes of a layout; nothing is started or stopped."""
        self._layout = layout
        names = [(entry.name, "node") for entry in layout.node]
        names += [(f"proxy{number}", "proxy") for number in range(1, layout.proxies + 1)]
        names += [(f"daemon{number}", "daemon") for number in layout.daemon_numbers()]
        names += [(f"services{number}", "services") for number in range(1, layout.services + 1)]
        names += [(f"{role}{number}", role) for role in ("disks", "agent") for number in range(1, layout.agents + 1)]
        known = self.processes
        self.processes = {name: known.get(name) or self._new(name, role) for name, role in names}

    def _new(self, name: str, role: str) -> Process:
        return Process(
            lambda: self._plan(name, role), name=name, role=role, clock=self._world.clock, owner=self._owner, changed=self._save_pids
        )

    def find(self, name: str) -> Process:
        """The process of that name.  Raises ConfigError."""
        process = self.processes.get(name)
        if process is None:
            raise ConfigError(f"there is no process {name!r}; there are {', '.join(self.processes)}")
        return process

    def of_role(self, role: str) -> list[Process]:
        """Processes of one kind, in order."""
        return [process for process in self.processes.values() if process.role == role]

    def pids(self) -> dict[str, int]:
        """Name to pid of everything that runs."""
        return {name: process.pid for name, process in self.processes.items() if process.pid is not None}

    async def wait_for_ports(self, layout: Layout) -> None:
        """See that nobody else has the ports of what is to be started.  Raises ConfigError when somebody keeps one.

        A process that was just killed may have its ports for a moment longer.
        """
        deadline = self._world.clock.monotonic() + PORT_WAIT_S
        for name, process in self.processes.items():
            for port in ports_of(layout, name) if process.pid is None else ():
                while not _is_free(port):
                    if self._world.clock.monotonic() > deadline:
                        raise ConfigError(
                            f"{name} needs port {port} on 127.0.0.1, but somebody listens there (Address already in use); "
                            "end that, or lay the cluster with another --port-base"
                        )
                    await self._world.clock.sleep(POLL_S)

    async def start_all(self) -> None:
        """Start what does not run, storage nodes first."""
        for role in ROLES:
            for process in self.of_role(role):
                process.start()
            await asyncio.sleep(0)  # the keepers spawn now, so that nodes really are first

    async def wait_ready(self, names: Sequence[str], *, timeout_s: float) -> list[str]:
        """Wait for processes; returns those that die again and again instead.  Raises ConfigError after `timeout_s`."""
        deadline = self._world.clock.monotonic() + timeout_s
        waiting = list(names)
        hopeless: list[str] = []
        while waiting:
            waiting = [name for name in waiting if not self.processes[name].ready.is_set()]
            hopeless = [name for name in waiting if self.processes[name].deaths >= GIVEN_UP_DEATHS]
            if len(hopeless) == len(waiting):
                break
            if self._world.clock.monotonic() > deadline:
                raise ConfigError(f"{', '.join(waiting)} did not get ready within {timeout_s:g} s{self.last_words(waiting[0])}")
            await self._world.clock.sleep(POLL_S)
        return hopeless

    async def restart_in_turn(self, roles: Sequence[str], *, timeout_s: float) -> None:
        """Start processes that run anew, one after the other, so that the others go on serving.  Raises ConfigError as `wait_ready`."""
        for process in [process for role in roles for process in self.of_role(role) if process.pid is not None]:
            await process.stop(signal.SIGTERM, timeout_s=DOWN_S)
            process.start()
            await self.wait_ready([process.name], timeout_s=timeout_s)

    async def stop_all(self, *, timeout_s: float = DOWN_S) -> None:
        """Stop everything in order, guests first; what does not end in time is killed."""
        for process in self.processes.values():
            process.wanted = False
        # SIGTERM ends an agent alone, and its guests go on running; here nothing is left that they could run on.
        await asyncio.gather(*(process.stop(signal.SIGQUIT, timeout_s=GUESTS_DOWN_S) for process in self.of_role("agent")))
        await asyncio.gather(*(process.stop(signal.SIGTERM, timeout_s=DISKS_DOWN_S) for process in self.of_role("disks")))
        deadline = self._world.clock.monotonic() + timeout_s
        for role in STOP_ORDER:
            left_s = max(0.1, deadline - self._world.clock.monotonic())
            await asyncio.gather(*(process.stop(signal.SIGTERM, timeout_s=left_s) for process in self.of_role(role)))

    async def aclose(self) -> None:
        """End the supervisor's own tasks; call after `stop_all`."""
        await self._owner.aclose()

    def last_words(self, name: str) -> str:
        """The end of a process's log, for an error message; empty when it wrote nothing."""
        with contextlib.suppress(OSError):
            lines = (self._place.log / f"{name}.log").read_text(errors="replace").splitlines()[-12:]
            if lines:
                return f"; {name}.log ends with:\n" + "\n".join(lines)
        return ""

    # -- plans and pids ---------------------------------------------------------------------------------------------

    async def _plan(self, name: str, role: str) -> Plan:
        """What to run now; the process's config.toml is written anew from cluster.toml."""
        from objstore.cli.roles_config import write_role_config

        assert self._layout is not None
        config = write_role_config(self._place, self._layout, name, role)
        return Plan(
            name=name,
            role=role,
            command=(sys.executable, "-P", "-m", "objstore.cli", role, "--config", str(config)),
            environment=self._options.environment(name),
            log_file=self._place.log / f"{name}.log",
            directory=self._place.root,
            prefix=self._options.prefix(name),
            user=self._layout.user(name),
        )

    def _save_pids(self) -> None:
        runs = [process.run for process in self.processes.values() if process.run is not None and not process.run.ended.is_set()]
        pids = [[run.spawned.pid, run.spawned_since] for run in runs] + [[run.pid, run.since] for run in runs if run.pid]
        # Not flushed: after a power cut no process is left.  A dead disk must not stop supervision.
        with contextlib.suppress(OSError):
            temporary = self._place.pids_file.with_suffix(".new")
            temporary.write_text(json.dumps(pids))
            temporary.replace(self._place.pids_file)

    async def _rotate_logs(self) -> None:
        while True:
            await self._world.clock.sleep(LOG_CHECK_S)
            with contextlib.suppress(OSError):
                for path in sorted(self._place.log.glob("*.log")):
                    if path.stat().st_size > LOG_LIMIT_BYTES:
                        rotate(path)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def rotate(path: Path) -> None:
    """Move a log's text to NAME.log.1 (and .1 to .2...) and empty it in place: its writers append to the open file."""
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def end_stale(place: Place) -> list[tuple[int, int]]:
    """Kill what an earlier supervisor of this directory left running; pid and start time must both match."""
    try:
        recorded = json.loads(place.pids_file.read_text())
        pairs = [(int(pid), int(since)) for pid, since in recorded]
    except (OSError, ValueError, TypeError):
        return []
    alive = [(pid, since) for pid, since in pairs if is_alive(pid, since)]
    for pid, _ in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return alive
