"""A storage node as a process of its own: starts, says so, ends in order, refuses what it must."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.cli.create import create_cluster
from objstore.cli.layout import Place, new_layout
from objstore.cli.process import READY_FD
from objstore.cli.roles import _check_exposure
from objstore.cli.roles_config import write_role_config
from objstore.cli.world import system_world
from objstore.runtime.config import ConfigError


def _config(root: Path) -> tuple[Path, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    layout = new_layout(nodes=1, devices=1, zones=1, proxies=1, port_base=21000, tls=False, uid_base=None)
    place = Place(root)
    asyncio.run(create_cluster(system_world(), place, layout, sections={}, identities=None))
    path = write_role_config(place, layout, "node1", "node")
    path.write_text(path.read_text().replace("21100", str(port)))
    return path, port


def _start(config: Path) -> tuple[subprocess.Popen[str], int]:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "objstore.cli", "node", "--config", str(config)],
        env={**os.environ, READY_FD: str(write)}, pass_fds=(write,), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(write)
    return process, read


def test_a_node_listens_when_it_is_ready_and_ends_with_exit_0(tmp_path: Path) -> None:
    config, port = _config(tmp_path / "c")
    process, ready = _start(config)
    with os.fdopen(ready, "rb") as told:
        assert b'"pid"' in told.readline()
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors


def test_a_port_that_is_taken_is_said_and_the_exit_code_is_1(tmp_path: Path) -> None:
    config, port = _config(tmp_path / "c")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        process, ready = _start(config)
        os.close(ready)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert str(port) in errors


def test_an_empty_cluster_key_is_refused(tmp_path: Path) -> None:
    config, _ = _config(tmp_path / "c")
    Place(tmp_path / "c").cluster_key_file.write_text("\n")
    process, ready = _start(config)
    os.close(ready)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "cluster key" in errors


@pytest.mark.parametrize(("host", "certificate", "fine"), [
    ("127.0.0.1", "", True), ("::1", "", True), ("0.0.0.0", "", False), ("10.0.0.1", "", False), ("0.0.0.0", "server.pem", True),
])  # fmt: skip
def test_a_proxy_listens_beyond_loopback_with_tls_only(host: str, certificate: str, fine: bool) -> None:
    if fine:
        _check_exposure(host, certificate)
    else:
        with pytest.raises(ConfigError, match="without TLS"):
            _check_exposure(host, certificate)
