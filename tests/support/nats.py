"""A real nats-server of Debian's package on a loopback address, and a subscriber."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import wait_until

TOKEN = "a token of the operator"


def obtainable() -> str:
    """Install the server where it is missing; why not, when it cannot be had."""
    if shutil.which("nats-server"):
        return ""
    if os.geteuid() or not shutil.which("apt-get"):
        return "nats-server is missing, and only root can install it: apt-get install nats-server"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nats-server"]
    for command in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=quiet, timeout=300, check=False)
        if shutil.which("nats-server"):
            return ""
    return f"nats-server cannot be installed: {done.stderr[-300:]}"


class Subscriber:
    """Hears what is published under a subject."""

    def __init__(self, port: int, subject: str, ca_file: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        info = b""
        while not info.endswith(b"\r\n"):
            info += self._socket.recv(1)
        if ca_file:
            self._socket = ssl.create_default_context(cafile=ca_file).wrap_socket(self._socket, server_hostname="127.0.0.1")
        self._file = self._socket.makefile("rb")
        options = json.dumps({"verbose": False, "auth_token": TOKEN}).encode()
        self._socket.sendall(b"CONNECT " + options + b"\r\nSUB " + subject.encode() + b" 1\r\nPING\r\n")
        assert self._file.readline() == b"PONG\r\n"

    def next(self) -> tuple[str, bytes]:
        """Subject and content of the next message."""
        words = self._file.readline().split()
        assert words[0] == b"MSG", words
        content = self._file.read(int(words[-1]))
        self._file.readline()
        return words[1].decode(), content

    def close(self) -> None:
        """Hear no more."""
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def nats_server(directory: Path, port: int, certificate: tuple[str, str] | None = None) -> Iterator[int]:
    """A server that runs and wants the token; its port."""
    directory.mkdir(mode=0o700, exist_ok=True)
    program = shutil.which("nats-server")
    assert program
    command = [program, "--addr", "127.0.0.1", "--port", str(port), "--auth", TOKEN]
    if certificate is not None:
        command += ["--tls", "--tlscert", certificate[0], "--tlskey", certificate[1]]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        wait_until(lambda: b"Server is ready" in (directory / "log").read_bytes(), 20, "nats-server to listen")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
