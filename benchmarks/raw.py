"""The trivial raw server of every benchmark run: httptools on uvloop, no store behind it.

It answers PUT with an MD5 etag and GET with the last body, and does nothing else: what it costs is what this machine charges for
sockets, HTTP parsing and one MD5.  Budgets are scaled by it (docs/reference/benchmarks.md).
"""

import asyncio
import hashlib
import sys
from typing import ClassVar

import httptools
import uvloop


class Raw(asyncio.Protocol):
    bodies: ClassVar[dict[bytes, bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_body(self, piece: bytes) -> None:
        self.body.append(piece)

    def on_message_complete(self) -> None:
        method = self.parser.get_method()
        body = b""
        etag = ""
        if method == b"PUT":
            stored = b"".join(self.body)
            etag = hashlib.md5(stored, usedforsecurity=False).hexdigest()
            self.bodies[self.url] = stored
        elif method == b"GET":
            body = self.bodies.get(self.url, b"")
        self.body = []
        head = f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
        self.transport.writelines([head, body])  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Raw, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
