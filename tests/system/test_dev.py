"""`objstore dev` as a newcomer meets it: what it prints works when it is pasted, Ctrl-C ends all, the next run has the same data."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.cluster import OBJSTORE, free_port_base, is_running, wait_until


class Session:
    """One `objstore dev` in the foreground."""

    def __init__(self, *arguments: str, cwd: Path | None = None) -> None:
        self.text = ""
        self.process = subprocess.Popen([OBJSTORE, "dev", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def wait_for(self, pattern: str, timeout_s: float = 60) -> re.Match[str]:
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.text)):
            ended = self.process.poll() is not None
            self.text += (self.process.stdout.read() or b"").decode()
            assert not ended, f"it ended: {self.text}"
            assert time.monotonic() < deadline, f"no {pattern!r} in: {self.text}"
            time.sleep(0.02)
        return found

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def _snippet(text: str) -> str:
    start = text.index("    import boto3")
    return "\n".join(line[4:] for line in text[start : text.index("  Shell (")].splitlines())


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_dev_prints_works_and_the_next_run_has_the_same_keys_and_data(tmp_path: Path) -> None:
    directory, base = tmp_path / "data", str(free_port_base())
    session = Session("--dir", str(directory), "--port-base", base)
    try:
        session.wait_for("Ctrl-C stops everything")
        secret = session.wait_for(r"secret +(\S+)").group(1)
        assert (directory / "secrets" / "admin.toml").stat().st_mode & 0o777 == 0o600
        assert secret in (directory / "secrets" / "admin.toml").read_text()
        assert _run(_snippet(session.text)) == "b'hello'\n"
        session.wait_for("healthy: 3 of 3 nodes up")
        for tool in ("boto3", "awscli", "rclone", "restic", "s3cmd"):
            shown = subprocess.run([OBJSTORE, "snippet", tool, "--dir", str(directory)], capture_output=True, text=True, check=True)
            assert secret in shown.stdout
        pid = int(
            re.findall(
                r"\d+",
                subprocess.run(
                    [OBJSTORE, "ctl", "pids", "node1", "--dir", str(directory)], capture_output=True, text=True, check=True
                ).stdout,
            )[1]
        )
        assert is_running(pid)
    finally:
        assert session.interrupt() == 0
    wait_until(lambda: not is_running(pid), 5, "the nodes to end with Ctrl-C")

    again = Session("--dir", str(directory), "--port-base", base)
    try:
        again.wait_for("Ctrl-C stops everything")
        assert again.wait_for(r"secret +(\S+)").group(1) == secret
        assert "as before" in again.text
        code = _snippet(again.text).replace('s3.create_bucket(Bucket="demo")', "").replace("s3.put_object", "dict")
        assert _run(code) == "b'hello'\n"
    finally:
        assert again.interrupt() == 0


def test_a_cluster_that_ctl_ends_ends_its_foreground_too_without_complaint(tmp_path: Path) -> None:
    base = str(free_port_base())
    session = Session("--dir", "objstore-data", "--nodes", "1", "--proxies", "1", "--port-base", base, cwd=tmp_path)
    try:
        session.wait_for("healthy: 1 of 1")
        done = subprocess.run([OBJSTORE, "ctl", "down"], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "proxy1" in done.stdout  # without --dir: the cluster that is here
        assert session.process.wait(20) == 0
        session.text += (session.process.stdout.read() or b"").decode() if session.process.stdout else ""
        assert "stopped by somebody else" in session.text
        assert "error" not in session.text
    finally:
        session.interrupt()


def test_an_ephemeral_cluster_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert tempfile.gettempdir()
    session = Session("--ephemeral", "--nodes", "1", "--proxies", "1", "--port-base", str(free_port_base()))
    try:
        session.wait_for("Ctrl-C stops everything")
        assert _run(_snippet(session.text)) == "b'hello'\n"
        assert [p.name[:9] for p in tmp_path.iterdir()] == ["objstore-"]
    finally:
        assert session.interrupt() == 0
    assert list(tmp_path.iterdir()) == []


def test_snippets_of_a_cluster_that_is_down_say_how_to_start_it(tmp_path: Path) -> None:
    done = subprocess.run([OBJSTORE, "snippet", "boto3", "--dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "objstore dev" in done.stderr
