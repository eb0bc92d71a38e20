"""The command line's side of the socket: deep directories, silence, hang-ups, locks."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from objstore.cli.client import CallFailed, bring_down, call, is_running


def _serve_once(root: Path, answer: bytes | None) -> tuple[socket.socket, threading.Thread]:
    (root / "run").mkdir(parents=True)
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(root)  # the full name may be too long to bind
    try:
        listening.bind("run/supervisor.sock")
    finally:
        os.chdir(here)
    listening.listen()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.makefile("rb").readline()
            if answer is None:
                threading.Event().wait(0.5)
            else:
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listening, thread


def test_a_directory_deeper_than_a_socket_name_can_be_is_no_obstacle(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 100) / ("e" * 100)
    listening, thread = _serve_once(root, b'{"result": {"x": 1}}\n')
    with listening:
        assert call(root, "status", timeout_s=5) == {"x": 1}
        thread.join(5)


def test_an_error_answer_is_raised_with_its_kind(tmp_path: Path) -> None:
    listening, thread = _serve_once(tmp_path, b'{"error": "QuorumLost", "message": "two are silent"}\n')
    with listening:
        with pytest.raises(CallFailed, match="two are silent") as caught:
            call(tmp_path, "status", timeout_s=5)
        assert caught.value.kind == "QuorumLost"
        thread.join(5)


def test_silence_ends_at_the_deadline_and_a_hang_up_at_once(tmp_path: Path) -> None:
    listening, thread = _serve_once(tmp_path / "a", None)
    with listening:
        with pytest.raises(CallFailed) as caught:
            call(tmp_path / "a", "status", timeout_s=0.1)
        assert caught.value.kind == "DeadlineExceeded"
        thread.join(5)
    listening, thread = _serve_once(tmp_path / "b", b"")
    with listening:
        with pytest.raises(CallFailed, match=r"supervisor\.log"):
            call(tmp_path / "b", "status", timeout_s=5)
        thread.join(5)


def test_nobody_there_is_told_apart_from_no_cluster(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with pytest.raises(CallFailed, match="no cluster"):
        call(tmp_path, "status")
    (tmp_path / "run").mkdir()
    with pytest.raises(CallFailed, match="no supervisor runs"):
        call(tmp_path, "status")


def test_bringing_down_waits_for_the_process_itself(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    code = f"""
import os, socket, time
os.chdir({str(tmp_path)!r})
server = socket.socket(socket.AF_UNIX)
server.bind("run/supervisor.sock")
server.listen()
print("ready", flush=True)
server.accept()[0].close()
connection, _ = server.accept()
connection.makefile("rb").readline()
connection.sendall(b'{{"result": {{"stopped": ["x"]}}}}\\n')
time.sleep(0.3)
"""
    supervisor = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    supervisor.stdout.readline()
    assert bring_down(tmp_path, timeout_s=5) == {"stopped": ["x"]}
    assert supervisor.poll() == 0
    supervisor.stdout.close()
    with pytest.raises(CallFailed) as caught:
        bring_down(tmp_path, timeout_s=5)
    assert caught.value.kind == "NoSupervisor"
