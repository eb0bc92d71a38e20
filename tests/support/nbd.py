"""A volume's process and the tools of others that use it: nbdinfo, nbdcopy, qemu-img, fio."""

import contextlib
import json
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from objstore.services.volume.nbd import protocol as nbd
from tests.support.packages import install

PACKAGES = {
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "fio": "fio",
    "nbdkit": "nbdkit",
}


def need_tools(*tools: str) -> None:
    """Have these tools, installed where they are missing and this may be done; else fail and say what to install."""
    wanted = sorted({PACKAGES[tool] for tool in tools})
    missing = install(wanted, lambda: all(map(shutil.which, tools)))
    assert not missing, missing


class VolumeCommands:
    """`objstore volume` on one cluster."""

    def __init__(self, directory: Path, prefix: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self._prefix = prefix  # in front of `serve`

    def command(self, *arguments: str) -> list[str]:
        prefix = self._prefix if arguments[0] == "serve" else ()
        return [*prefix, sys.executable, "-m", "objstore.cli", "volume", arguments[0], "--dir", str(self.directory), *arguments[1:]]

    def __call__(self, *arguments: str, input_: bytes | None = None, timeout_s: float = 180.0) -> dict[str, Any]:
        done = subprocess.run(self.command(*arguments), capture_output=True, input=input_, timeout=timeout_s, check=False)
        assert done.returncode == 0, f"volume {arguments}: exit {done.returncode}: {done.stdout[-500:]!r} {done.stderr[-2000:]!r}"
        answer: dict[str, Any] = json.loads(done.stdout if done.stdout.startswith(b"{") else done.stderr.splitlines()[-1])
        return answer


class Server:
    """`objstore volume serve` on a Unix socket."""

    def __init__(self, volumes: VolumeCommands, directory: Path, *exports: str, options: tuple[str, ...] = ()) -> None:
        self.socket = directory / "nbd.sock"
        self.log = directory / "serve.log"
        self._volumes = volumes
        self._exports = exports
        self._options = ("--state", str(directory / "state"), "--socket", str(self.socket), *options)
        self.process: subprocess.Popen[bytes] | None = None

    def uri(self, export: str = "") -> str:
        return f"nbd+unix:///{export}?socket={self.socket}"

    def start(self, timeout_s: float = 60.0) -> None:
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._volumes.command("serve", *self._options, *self._exports), stdout=subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the volume's process did not start: {self.log.read_text()[-2000:]}"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self, timeout_s: float = 60.0) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=timeout_s)


@contextlib.contextmanager
def serving(volumes: VolumeCommands, directory: Path, *exports: str, options: tuple[str, ...] = ()) -> Iterator[Server]:
    directory.mkdir(parents=True, exist_ok=True)
    server = Server(volumes, directory, *exports, options=options)
    server.start()
    try:
        yield server
    finally:
        assert server.process is not None
        if server.process.poll() is None:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                server.kill()


class NbdClient:
    """A plain client that does one thing after the other, so that it knows the order in which things were done.  Raises OSError."""

    def __init__(self, path: Path, export: str = "") -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60.0)
        self._socket.connect(str(path))
        self._receive(nbd.GREETING.size)
        name = export.encode()
        self._socket.sendall(nbd.CLIENT_FLAGS.pack(3) + nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.OPT_EXPORT_NAME, len(name)) + name)
        self.size_bytes, _ = nbd.EXPORT.unpack(self._receive(nbd.EXPORT.size))

    def write(self, offset: int, data: bytes) -> None:
        self._ask(nbd.CMD_WRITE, offset, len(data), data)

    def zero(self, offset: int, length: int) -> None:
        self._ask(nbd.CMD_WRITE_ZEROES, offset, length)

    def flush(self) -> None:
        self._ask(nbd.CMD_FLUSH, 0, 0)

    def read(self, offset: int, length: int) -> bytes:
        self._ask(nbd.CMD_READ, offset, length)
        return self._receive(length)

    def close(self) -> None:
        self._socket.close()

    def _ask(self, command: int, offset: int, length: int, payload: bytes = b"") -> None:
        self._socket.sendall(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, command, 7, offset, length) + payload)
        _, error, _ = nbd.SIMPLE_REPLY.unpack(self._receive(nbd.SIMPLE_REPLY.size))
        if error:
            raise OSError(error, f"NBD command {command} at {offset}+{length} failed")

    def _receive(self, size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size:
            piece = self._socket.recv(size - len(pieces))
            if not piece:
                raise ConnectionResetError("the server hung up")
            pieces += piece
        return bytes(pieces)


def tool(*command: str, timeout_s: float = 300.0, check: bool = True, cwd: Path | None = None) -> str:
    """Run a tool; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd)
    assert done.returncode == 0 or not check, f"{' '.join(command)}: exit {done.returncode}: {done.stdout[-1000:]} {done.stderr[-2000:]}"
    return done.stdout
