"""A store that is measured: processes that are started in a directory for this run and ended with it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

STOP_S = 20.0


class Unobtainable(Exception):
    """The store cannot be had or does not come up here; the text says why."""


class Store(ABC):
    """One store with an endpoint of S3 and a user of it.

    `processes` is an expression that the command lines of its server processes match, and none of another's.
    """

    name = ""
    durability = ""  # what is flushed where before a PUT is answered, in a line
    endpoint = ""
    access = ""
    secret = ""
    processes = ""

    def __init__(self, directory: Path, port_base: int) -> None:
        self.directory = directory
        self.port_base = port_base
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    @abstractmethod
    def version(self) -> str:
        """Which release this is."""

    @abstractmethod
    def up(self) -> None:
        """Start it and wait until it serves.  Raises Unobtainable."""

    def down(self) -> None:
        """End what was started, the last first."""
        for process in reversed(self._started):
            for pid in (*children(process.pid), process.pid):
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    continue
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started.clear()

    def start(self, command: Sequence[str | Path], log: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a process whose output goes to a file in the directory."""
        with (self.directory / log).open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=output, stderr=output, cwd=self.directory, env={**os.environ, **(environment or {})}
            )
        self._started.append(process)

    def run(self, command: Sequence[str | Path], timeout_s: float = 120) -> str:
        """Run a program to its end; what it printed.  Raises Unobtainable."""
        try:
            done = subprocess.run(
                [str(word) for word in command], capture_output=True, text=True, cwd=self.directory, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as failure:
            raise Unobtainable(f"{command[0]}: {failure}") from None
        if done.returncode:
            raise Unobtainable(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout)[-500:]}")
        return done.stdout

    def wait_for(self, port: int, timeout_s: float) -> None:
        """Wait until a port is served.  Raises Unobtainable."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for process in self._started:
                if process.poll() is not None:
                    raise Unobtainable(
                        f"{self.name}: {' '.join(map(str, process.args))} ended with {process.returncode}: {self.last_words()}"
                    )  # type: ignore[arg-type]
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise Unobtainable(f"{self.name}: nothing serves port {port} after {timeout_s:.0f} s: {self.last_words()}")

    def last_words(self) -> str:
        """The last lines of the logs, for the error."""
        return "; ".join(f"{path.name}: {path.read_text(errors='replace')[-300:]}" for path in sorted(self.directory.glob("*.log")))

    def remove(self) -> None:
        """Remove its directory."""
        shutil.rmtree(self.directory, ignore_errors=True)


def children(pid: int) -> Iterator[int]:
    """The direct children of a process."""
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    yield from map(int, done.stdout.split())
