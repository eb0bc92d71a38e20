"""A small service that speaks Vault's transit protocol, for tests of the key service."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Transit:
    """Keys k1 and k2; "encryption" is reversible text, bound to key and associated data."""

    def __init__(self) -> None:
        self.token = "tok"
        self.broken: tuple[int, bytes] | None = None
        self.paths: list[str] = []
        self.namespace: str | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        path = lines[0].split()[1]
        self.paths.append(path)
        self.namespace = headers.get("x-vault-namespace")
        status, data = self.broken or self.answer(headers.get("x-vault-token", ""), path, body)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(data), data))
        writer.close()

    def answer(self, token: str, path: str, body: dict[str, str]) -> tuple[int, bytes]:
        if token != self.token:
            return 403, b'{"errors":["permission denied"]}'
        _, _, mount, what, name = path.split("/")
        assert mount == "transit"
        if name not in ("k1", "k2"):
            return 400, b'{"errors":["encryption key not found"]}'
        bound = f"{name}|{body.get('associated_data', '')}|"
        if what == "encrypt":
            text = base64.b64encode((bound + body["plaintext"]).encode()).decode()
            return 200, json.dumps({"data": {"ciphertext": f"vault:v1:{text}"}}).encode()
        inner = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:")).decode()
        if not inner.startswith(bound):
            return 400, b'{"errors":["cipher: message authentication failed"]}'
        return 200, json.dumps({"data": {"plaintext": inner.removeprefix(bound)}}).encode()


@contextmanager
def serving_transit(transit: Transit) -> Iterator[str]:
    """Serve it from a thread; yields its address."""
    started = threading.Event()
    found: dict[str, int] = {}
    stop: list[asyncio.Event] = []

    async def main() -> None:
        server = await asyncio.start_server(transit.serve, "127.0.0.1", 0)
        found["port"] = server.sockets[0].getsockname()[1]
        stop.append(asyncio.Event())
        loops.append(asyncio.get_running_loop())
        started.set()
        await stop[0].wait()
        server.close()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{found['port']}"
    finally:
        loops[0].call_soon_threadsafe(stop[0].set)
        thread.join(10)
