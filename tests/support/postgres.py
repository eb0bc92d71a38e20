"""A PostgreSQL server of one's own on a free port of 127.0.0.1, thrown away afterwards; skips loudly where it cannot be had."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import free_port_base, wait_until
from tests.support.packages import install

NOBODY = 65534
PASSWORD = "thrown-away"


def _program(name: str) -> str | None:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(installed[-1]) if installed else shutil.which(name)


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if missing := install(["postgresql"], lambda: _program("initdb") is not None and _program("postgres") is not None):
        pytest.skip(f"nothing was tested on PostgreSQL: {missing}")
    initdb, server = _program("initdb"), _program("postgres")
    as_root = os.geteuid() == 0  # the server refuses to run as root
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_root else {}
    home = directory / "pg"
    home.mkdir()
    (directory / "password").write_text(PASSWORD)
    if as_root:
        for path in (home, directory / "password"):
            os.chown(path, NOBODY, NOBODY)
        for path in (directory, *directory.parents[:-2]):
            path.chmod(path.stat().st_mode | 0o011)  # it must be able to get there
    port = free_port_base() + 500
    data = home / "data"
    made = subprocess.run(
        [initdb, "-D", str(data), "-U", "tester", "--auth=scram-sha-256", f"--pwfile={directory / 'password'}", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
        capture_output=True, text=True, check=False, cwd="/", **other,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([server, "-D", str(data), *options], stdout=log, stderr=log, cwd="/", **other)
    try:
        wait_until(lambda: b"ready to accept connections" in (home / "log").read_bytes(), 60, "PostgreSQL")
        yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(30)
