"""A real RabbitMQ of Debian's package in a directory of its own, on loopback addresses, and a reader of its queues."""

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pamqp import base, body, commands, frame, header

from tests.support.cluster import wait_until
from tests.support.packages import install

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in the path changes to a user that owns none of our files
USER, PASSWORD, VHOST, QUEUE = "events", "Secret:of/the@queue", "store/a", "told"


def obtainable() -> str:
    """Install the server where it is missing; why not, when it cannot be had."""
    return install(["rabbitmq-server"], SERVER.exists)


class RabbitMq:
    """One server; it can be killed and started again with what it kept."""

    def __init__(self, directory: Path, ports: tuple[int, int, int, int], certificate: tuple[str, str]) -> None:
        self.directory = directory
        self.port, self.tls_port, self._epmd_port, self._dist_port = ports
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(mode=0o700)
        (directory / "enabled_plugins").write_text("[].\n")
        (directory / "definitions.json").write_text(json.dumps(_definitions()))
        cert, key = certificate
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}", "listeners.ssl.1": f"127.0.0.1:{self.tls_port}", "ssl_options.certfile": cert,
            "ssl_options.keyfile": key, "ssl_options.verify": "verify_none", "load_definitions": str(directory / "definitions.json"),
            "log.console": "true", "log.file": "false",
        }  # fmt: skip
        (directory / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))

    def start(self) -> None:
        """Run it until it listens."""
        here = self.directory
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(here), "LANG": "C.UTF-8", "RABBITMQ_NODENAME": f"objstore{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"), "RABBITMQ_MNESIA_BASE": str(here / "data"), "RABBITMQ_LOG_BASE": str(here),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"), "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(here / "none"), "RABBITMQ_DIST_PORT": str(self._dist_port), "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        with (here / "log").open("ab") as log:
            self._process = subprocess.Popen([str(SERVER)], env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self._listens(self.port) and self._listens(self.tls_port), 120, "RabbitMQ to listen")

    def stop(self) -> None:
        """Kill it and what it started."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        wait_until(lambda: not self._listens(self.port), 30, "RabbitMQ to be gone")

    def forget(self) -> None:
        """Stop it, and its port mapper too, which lives in a session of its own."""
        self.stop()
        environment = {"PATH": os.environ["PATH"], "ERL_EPMD_PORT": str(self._epmd_port), "HOME": str(self.directory)}
        subprocess.run(["epmd", "-kill"], env=environment, capture_output=True, check=False, timeout=30)

    @staticmethod
    def _listens(port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    def take(self, queue: str = QUEUE) -> list[bytes]:
        """Take all that is in a queue, in order."""
        with Reader(self.port) as reader:
            return list(reader.drain(queue))


class Reader:
    """A consumer over a plain socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Reader":
        self._socket.sendall(header.ProtocolHeader().marshal())
        self._next()
        self._call(commands.Connection.StartOk({}, "PLAIN", f"\0{USER}\0{PASSWORD}", "en_US"), 0)
        self._say(commands.Connection.TuneOk(1, 131072, 0), 0)
        self._call(commands.Connection.Open(VHOST), 0)
        self._call(commands.Channel.Open())
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def drain(self, queue: str) -> Iterator[bytes]:
        """Messages until there are none."""
        while not isinstance(self._call(commands.Basic.Get(queue=queue, no_ack=True)), commands.Basic.GetEmpty):
            head = self._next()
            assert isinstance(head, header.ContentHeader)
            assert head.properties.delivery_mode == 2, "a message outlives the server"
            assert head.properties.content_type == "application/json"
            pieces: list[bytes] = []
            while sum(map(len, pieces)) < (head.body_size or 0):
                piece = self._next()
                assert isinstance(piece, body.ContentBody)
                pieces.append(piece.value)
            yield b"".join(pieces)

    def _say(self, value: base.Frame, channel: int = 1) -> None:
        self._socket.sendall(frame.marshal(value, channel))

    def _call(self, value: base.Frame, channel: int = 1) -> Any:
        self._say(value, channel)
        return self._next()

    def _next(self) -> frame.FrameTypes:
        head = self._file.read(7)
        _, _, found = frame.unmarshal(head + self._file.read(int.from_bytes(head[3:], "big") + 1))
        assert not isinstance(found, commands.Connection.Close | commands.Channel.Close), found.reply_text
        return found


def _definitions() -> dict[str, Any]:
    salt = b"salt"
    password = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    queue = {"vhost": VHOST, "durable": True, "auto_delete": False, "arguments": {}}
    return {
        "users": [{"name": USER, "password_hash": password, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}],
        "vhosts": [{"name": VHOST}],
        "permissions": [{"user": USER, "vhost": VHOST, "configure": "", "write": ".*", "read": ".*"}],
        "queues": [{"name": QUEUE, **queue}, {"name": "bound", **queue}],
        "exchanges": [{"name": "store", "type": "topic", "internal": False, **queue}],
        "bindings": [
            {
                "source": "store",
                "vhost": VHOST,
                "destination": "bound",
                "destination_type": "queue",
                "routing_key": "bucket.#",
                "arguments": {},
            }
        ],
    }


@contextlib.contextmanager
def rabbitmq(directory: Path, ports: tuple[int, int, int, int], certificate: tuple[str, str]) -> Iterator[RabbitMq]:
    """A server that runs."""
    server = RabbitMq(directory, ports, certificate)
    try:
        server.start()
        yield server
    except AssertionError as failure:
        raise AssertionError(f"{failure}\n{(directory / 'log').read_text(errors='replace')[-3000:]}") from failure
    finally:
        server.forget()
