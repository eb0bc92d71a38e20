"""What does the S3 front cost, without the store: CPU per request of HTTP, SigV4, parsing and rendering.

A server process with a store that keeps nothing answers signed requests over 16 connections; its CPU time is read from
/proc, so the machine's other work does not show.  Run: .venv/bin/python -m benchmarks.front [--requests 20000]

Baseline: a trivial ASGI application under the same server, and under uvicorn's own protocol.
"""

import argparse
import hashlib
import multiprocessing
import os
import selectors
import socket
import time
from pathlib import Path
from typing import Any

import uvicorn
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SignerCredentials

from objstore.cluster.api import ScannedRow
from objstore.core.rows import BucketId, Kind, Row, encode_row
from objstore.core.timestamp import ballot_at
from objstore.fronts.http import uvicorn_config
from objstore.fronts.s3.app import S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.logic import Credentials
from objstore.identity.model import User
from objstore.objects.api import BucketInfo, HeadPage, Heads, ObjectInfo, Reading
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng

KIB4 = os.urandom(4096)
ETAG = hashlib.md5(KIB4).hexdigest()
USER = User(account="bench", name="bench", access_key="AKBENCH", secret_key="bench-secret")
TICKS = os.sysconf("SC_CLK_TCK")


class _Once:
    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data

    def __aiter__(self) -> "_Once":
        return self

    async def __anext__(self) -> bytes:
        data, self.data = self.data, None
        if data is None:
            raise StopAsyncIteration
        return data


class NullStore:
    """Reads bodies and answers with fixed facts."""

    def __init__(self) -> None:
        self.info = ObjectInfo(
            "key", 4096, ETAG, 1_700_000_000_000_000, checksums={"crc64nvme": b"12345678"}, checksum_type="FULL_OBJECT", metadata={"a": "b"}
        )
        self.bucket = BucketInfo(BucketId(bytes(8)), "bench", "bench", 1_700_000_000_000_000)
        rows = [
            Row(
                Kind.OBJECT, bytes(16), ballot_at(i + 1, 1), ballot_at(i + 1, 1), 1_700_000_000_000_000 + i * 7_654_321, 4096, ETAG,
                checksums={"crc64nvme": b"12345678"}, checksum_type="FULL_OBJECT",
            )
            for i in range(1000)
        ]  # fmt: skip
        scanned = [ScannedRow(b"photos/2026/%06d.jpg" % i, b"", 0, row.origin, encode_row(row)) for i, row in enumerate(rows)]
        self.page = HeadPage(Heads(scanned), [], truncated=True, next_after="photos/2026/000999.jpg")

    def known_bucket(self, *_: Any) -> BucketInfo:
        return self.bucket

    async def find_bucket(self, *_: Any) -> BucketInfo:
        return self.bucket

    async def put(self, who: Any, bucket: str, key: str, body: Any, **_: Any) -> ObjectInfo:
        async for _piece in body:
            pass
        await body.finish()
        return self.info

    async def get(self, *_: Any, **__: Any) -> Reading:
        return Reading(self.info, 0, 4096, _Once(KIB4))

    async def head(self, *_: Any, **__: Any) -> ObjectInfo:
        return self.info

    async def list(self, *_: Any, **__: Any) -> HeadPage:
        return self.page


async def trivial(scope: Any, receive: Any, send: Any) -> None:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def serve(kind: str, ready: Any) -> None:
    app: Any = trivial
    if kind == "s3":
        app = S3App(NullStore(), Credentials([USER]), SystemClock(), S3Settings(), rng=SystemRng())  # type: ignore[arg-type]
    config = uvicorn_config(app)
    if kind == "uvicorn":
        config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", loop="uvloop", http="httptools")
    sock = socket.create_server(("127.0.0.1", 0))
    ready.send(sock.getsockname()[1])
    uvicorn.Server(config).run(sockets=[sock])


def signed(method: str, path: str, body: bytes, host: str) -> bytes:
    request = AWSRequest(
        method, f"http://{host}{path}", data=body, headers={"User-Agent": "bench/1 (x86_64 Linux)", "Accept-Encoding": "identity"}
    )
    if body:
        request.headers["Content-Type"] = "application/octet-stream"
        request.headers["x-amz-meta-mtime"] = "1700000000"
    S3SigV4Auth(SignerCredentials(USER.access_key, USER.secret_key), "s3", "us-east-1").add_auth(request)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *[f"{k}: {v}" for k, v in request.headers.items()]]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(port: int, request: bytes, answer_bytes: int, total: int, connections: int = 16) -> None:
    selector = selectors.DefaultSelector()
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    got = dict.fromkeys(socks, 0)
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        sock.sendall(request)
    done, sent = 0, connections
    while done < sent:
        for event, _ in selector.select():
            sock: Any = event.fileobj
            got[sock] += len(sock.recv(1 << 20))
            if got[sock] >= answer_bytes:
                got[sock] = 0
                done += 1
                if sent < total:
                    sent += 1
                    sock.sendall(request)
    for sock in socks:
        sock.close()


def answer_size(port: int, request: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(1 << 16)
        head, _, rest = data.partition(b"\r\n\r\n")
        length = next((int(v) for k, _, v in (line.partition(b": ") for line in head.split(b"\r\n")) if k.lower() == b"content-length"), 0)
        if request.startswith(b"HEAD"):
            length = 0
        while len(rest) < length:
            rest += sock.recv(1 << 16)
        return len(head) + 4 + length, head.split(b"\r\n")[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    for kind in ("uvicorn", "trivial", "s3"):
        if arguments.only and kind != arguments.only:
            continue
        receiver, sender = multiprocessing.Pipe(duplex=False)
        server = multiprocessing.Process(target=serve, args=(kind, sender), daemon=True)
        server.start()
        port = receiver.recv()
        time.sleep(0.5)
        assert server.pid is not None
        cases = [("PUT 4 KiB", "PUT", "/bench/photos/2026/a.jpg", KIB4), ("GET 4 KiB", "GET", "/bench/photos/2026/a.jpg", b"")]
        if kind == "s3":
            cases += [("HEAD", "HEAD", "/bench/photos/2026/a.jpg", b""), ("LIST 1000", "GET", "/bench?list-type=2&prefix=photos%2F", b"")]
        for name, method, path, body in cases:
            request = signed(method, path, body, f"127.0.0.1:{port}")
            size, status = answer_size(port, request)
            assert status.startswith(b"HTTP/1.1 200"), status
            total = arguments.requests // (20 if "LIST" in name else 1)
            load(port, request, size, total // 4)
            before, began = cpu_s(server.pid), time.perf_counter()
            load(port, request, size, total)
            used, wall = cpu_s(server.pid) - before, time.perf_counter() - began
            print(f"{kind:8} {name:10} {used / total * 1e6:8.1f} us CPU/request {total / wall:9.0f}/s")
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
