"""The command line's side of the supervisor's socket: plain blocking calls, so that a command starts quickly.

The socket's name is made short by going through the directory's descriptor: a Unix socket's path ends at 107 bytes, and a
cluster's directory may be deeper than that.
"""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET_NAME = "supervisor.sock"
LOCKED = 3  # exit code of a supervisor that found another one's lock
LOCK_ATTEMPTS = 40
LOCK_PAUSE_S = 0.25
UP_ATTEMPTS = 20


class CallFailed(Exception):
    """The supervisor answered with an error, or there is none; `kind` is the error's class name."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def call(root: Path, name: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float | None = None) -> Any:
    """One request to the supervisor of that directory.  Raises CallFailed."""
    with _connect(root) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.sendall(json.dumps({"call": name, **(arguments or {})}).encode() + b"\n")
            line = connection.makefile("rb").readline()
        except TimeoutError as late:
            raise CallFailed(f"the supervisor did not answer within {timeout_s:g} s", "DeadlineExceeded") from late
        except OSError as failure:
            raise CallFailed(f"the supervisor hung up: {failure}", "NoSupervisor") from failure
    if not line:
        raise CallFailed(f"the supervisor ended before it answered; see {root / 'log' / 'supervisor.log'}", "NoSupervisor")
    answer = json.loads(line)
    if answer.get("error"):
        raise CallFailed(answer.get("message") or answer["error"], answer["error"])
    return answer["result"]


def is_running(root: Path) -> bool:
    """Whether a supervisor answers there."""
    try:
        _connect(root).close()
    except CallFailed:
        return False
    return True


def ensure_supervisor(root: Path) -> None:
    """Start a supervisor for that directory, in a session of its own, unless one runs.  Raises CallFailed, OSError."""
    for name in ("", "run", "log"):
        (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    code: int | None = LOCKED
    for _ in range(LOCK_ATTEMPTS):
        if is_running(root):
            return
        code = _start_supervisor(root)
        if code is None:
            return
        if code != LOCKED:
            break
        pause(LOCK_PAUSE_S)  # one that is about to end still has the lock, or one that was started just now does not listen yet
    raise CallFailed(f"the supervisor ended with exit code {code}; see {root / 'log' / 'supervisor.log'}", "NoSupervisor")


def call_up(root: Path, arguments: Mapping[str, Any], *, timeout_s: float) -> Any:
    """`up`, by a supervisor that is started if need be; one that is just ending is waited for.  Raises CallFailed, OSError."""
    for attempt in range(UP_ATTEMPTS):
        ensure_supervisor(root)
        try:
            return call(root, "up", arguments, timeout_s=timeout_s)
        except CallFailed as failure:
            if failure.kind not in ("NoSupervisor", "Ending") or attempt == UP_ATTEMPTS - 1:
                raise
            pause(LOCK_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def pause(seconds: float) -> None:
    """Wait; a command at the process edge has no World."""
    time.sleep(seconds)  # noqa: TID251 as the docstring says


def _start_supervisor(root: Path) -> int | None:
    """None when it is ready, else its exit code."""
    ready_read, ready_write = os.pipe()
    with (root / "log" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "objstore.cli", "supervise", str(root)],
            env={**os.environ, "OBJSTORE_READY_FD": str(ready_write)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=root,
            pass_fds=(ready_write,),
            start_new_session=True,
        )
    os.close(ready_write)
    with os.fdopen(ready_read, "rb") as ready:
        if not ready.readline():
            return process.wait()
    # It goes on without us; a Popen that is forgotten must not complain that its child still runs.
    process.returncode = 0
    return None


def bring_down(root: Path, *, timeout_s: float) -> Any:
    """Have everything stopped and wait until the supervisor itself has ended; its answer.  Raises CallFailed."""
    with _connect(root) as connection:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    try:
        supervisor = os.pidfd_open(struct.unpack("3i", peer)[0])
    except ProcessLookupError as gone:
        raise CallFailed("the supervisor ended just now", "NoSupervisor") from gone
    try:
        result = call(root, "down", timeout_s=timeout_s)
        if not select.select([supervisor], [], [], timeout_s)[0]:
            raise CallFailed(f"the supervisor did not end within {timeout_s:g} s", "DeadlineExceeded")
        return result
    finally:
        os.close(supervisor)


def _connect(root: Path) -> socket.socket:
    try:
        directory = os.open(root / "run", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as missing:
        raise CallFailed(f"there is no cluster in {root}; make one with: objstore ctl up --dir {root}", "NoSupervisor") from missing
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
    except OSError as failure:
        connection.close()
        raise CallFailed(f"no supervisor runs for {root}; start it with: objstore ctl up --dir {root}", "NoSupervisor") from failure
    finally:
        os.close(directory)
    return connection
