"""A cluster of real processes for system tests: runs `objstore ctl`, parses its JSON, stops everything at the end.

    with running_cluster(tmp_path) as cluster:
        client = cluster.s3()
        cluster.ctl("stop", "node1", "--signal", "KILL")

Each test process looks for its ports in ranges of its own, so that tests may run side by side.
"""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OBJSTORE = str(Path(sys.executable).with_name("objstore"))
FIRST_PORT = 30_000  # below the range from which the kernel gives ports to outgoing connections (32768 on)
PORTS = 1000
RANGES = 20


class CtlError(AssertionError):
    """`objstore ctl` exited with something else than 0; `answer` is what it printed."""

    def __init__(self, message: str, code: int, answer: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.answer = answer


class Cluster:
    """One cluster in one directory; `info` is what the last `up` printed."""

    def __init__(self, directory: Path, port_base: int) -> None:
        self.directory = directory
        self.port_base = port_base
        self.info: dict[str, Any] = {}

    def ctl(self, *arguments: str, timeout_s: float = 180.0) -> dict[str, Any]:
        """One call; its JSON.  Raises CtlError."""
        code, answer = self.try_ctl(*arguments, timeout_s=timeout_s)
        if code:
            raise CtlError(f"ctl {' '.join(arguments)}: exit {code}: {answer}\n{self.logs()}", code, answer)
        return answer

    def try_ctl(self, *arguments: str, timeout_s: float = 180.0) -> tuple[int, dict[str, Any]]:
        """One call; its exit code and JSON."""
        command = [OBJSTORE, "ctl", "--dir", str(self.directory), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        lines = done.stdout.splitlines()
        assert len(lines) == 1, f"ctl {arguments} must print one JSON object and nothing else: {done.stdout!r} {done.stderr[-2000:]}"
        return done.returncode, json.loads(lines[0])

    def up(self, *arguments: str) -> dict[str, Any]:
        """Start it (again); what `up` prints."""
        self.info = self.ctl("up", "--port-base", str(self.port_base), *arguments)
        return self.info

    def down(self) -> None:
        """Stop everything."""
        self.ctl("down")

    def pids(self) -> dict[str, int]:
        """Name to process id."""
        return self.ctl("pids")

    def status(self) -> dict[str, Any]:
        """The cluster's state now."""
        return self.ctl("status")

    def s3(self, proxy: int = 0, *, attempts: int = 3, **config: Any) -> Any:
        """A boto3 client with the administrator's keys."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.info["s3"][proxy],
            aws_access_key_id=self.info["access_key"],
            aws_secret_access_key=self.info["secret_key"],
            region_name=self.info["region"],
            verify=self.info["ca_cert"] or None,
            config=Config(
                retries={"total_max_attempts": attempts, "mode": "standard"},
                connect_timeout=5,
                read_timeout=30,
                s3={"addressing_style": "path"},
                **config,
            ),
        )

    def all_pids(self) -> list[int]:
        """Every process of the cluster, the supervisor first."""
        return [self.info["supervisor_pid"], *self.pids().values()]

    def logs(self, lines: int = 15) -> str:
        """The ends of all logs, for messages."""
        parts = []
        for path in sorted((self.directory / "log").glob("*.log")):
            text = path.read_text(errors="replace").splitlines()[-lines:]
            if text:
                parts.append(f"--- {path.name}\n" + "\n".join(line[:500] for line in text))
        return "\n".join(parts)


@contextlib.contextmanager
def running_cluster(directory: Path, *arguments: str) -> Iterator[Cluster]:
    """Bring a cluster up, and down at the end whatever happened."""
    cluster = Cluster(directory, free_port_base())
    try:
        cluster.up(*arguments)
        yield cluster
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            cluster.down()


def wait_until(holds: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


_attempts = itertools.count()


def free_port_base() -> int:
    """The start of a range of ports that nobody here uses: the processes of one test run look among ranges of their own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = range(worker % RANGES, RANGES, min(workers, RANGES))
    for _ in range(2 * RANGES):
        base = FIRST_PORT - (mine[next(_attempts) % len(mine)] + 1) * PORTS
        if all(_is_free(base + offset) for offset in (0, 1, 100, 101, 102, 200, 300, 400, 500, 501, 700)):
            return base
    raise AssertionError("no free range of ports was found")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
