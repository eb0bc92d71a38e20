"""The supervisor's process: one for each directory, refusing what cannot be, ending when told; no cluster is started here."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.cli.client import CallFailed, bring_down, call, call_up, ensure_supervisor, is_running


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "c"
    ensure_supervisor(directory)
    yield directory
    if is_running(directory):
        bring_down(directory, timeout_s=10)


def test_there_is_one_supervisor_for_a_directory(root: Path) -> None:
    second = subprocess.run([sys.executable, "-m", "objstore.cli", "supervise", str(root)], capture_output=True, check=False, timeout=20)
    assert second.returncode == 3
    assert call(root, "pids", timeout_s=10) == {}
    ensure_supervisor(root)


def test_it_ends_on_a_signal_and_lets_go_of_its_lock(root: Path) -> None:
    pid = _pid_of_supervisor(root)
    os.kill(pid, signal.SIGHUP)
    time.sleep(0.1)
    assert is_running(root), "a closed terminal is no reason to end"
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)
    assert not is_running(root)
    ensure_supervisor(root)
    assert _pid_of_supervisor(root) != pid


def test_an_up_that_fails_can_be_tried_again_at_once(tmp_path: Path) -> None:
    root = tmp_path / "c"
    for _ in range(3):
        with pytest.raises(CallFailed, match="--nodes"):
            call_up(root, {"new": {"nodes": 0}}, timeout_s=20)
        call(root, "down", timeout_s=10)  # returns before the supervisor has ended
    with contextlib.suppress(CallFailed):
        bring_down(root, timeout_s=10)


def test_only_the_owner_can_reach_the_socket(root: Path) -> None:
    assert (root / "run").stat().st_mode & 0o077 == 0


def _pid_of_supervisor(root: Path) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and str(root).encode() in (entry / "cmdline").read_bytes().split(b"\0"):
            return int(entry.name)
    raise AssertionError("no supervisor runs")
