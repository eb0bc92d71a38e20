"""Debian's packages for tests that need the real thing: installed by name where root runs the tests, one process at a time."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 600
# RUNLEVEL 1: what is installed does not start its services.
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-y", "-qq", "--no-install-recommends")


def install(packages: list[str], is_there: Callable[[], bool]) -> str:
    """Install what is missing; why not, when it cannot be had, else ""."""
    if is_there():
        return ""
    named = " ".join(packages)
    if os.geteuid() or not shutil.which("apt-get"):
        return f"{named}: missing, and only root can install it: apt-get install {named}"
    error = ""
    with (Path(tempfile.gettempdir()) / "objstore-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want packages at once
        for words in (("install", *packages), ("update",), ("install", *packages)):
            if is_there():
                return ""
            done = subprocess.run(
                (*APT, *words), capture_output=True, text=True, env={**os.environ, **QUIET}, timeout=TIMEOUT_S, check=False
            )
            error = done.stderr
        return "" if is_there() else f"{named} cannot be installed: {error[-300:]}"
