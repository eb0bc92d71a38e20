"""Bodies in signed chunks, as the SDKs for Java and Go and Hadoop send them, from a client written for this purpose.

STREAMING-AWS4-HMAC-SHA256-PAYLOAD and its -TRAILER form, with chunks of 8 KiB and 64 KiB; whatever is wrong with a chunk, its
order, its signature, the trailer or the length must leave the old object.
"""

import contextlib
import hmac
import http.client
import ssl
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote
from zlib import crc32

from scenario import BUCKET, CA, HOST, KEY, REGION, SCHEME, SECRET, STYLE, make_bucket, noise, run, scenario

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILER = SIGNED + "-TRAILER"
EMPTY = sha256(b"").hexdigest()
NETLOC = f"{BUCKET}.{HOST}" if STYLE == "virtual" else HOST


def digest(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), "sha256").digest()


class Upload:
    """One PUT whose body can be spoilt."""

    def __init__(self, key: str, data: bytes, *, mode: str = SIGNED, chunk: int = 64 << 10) -> None:
        self.path = quote(f"/{key}" if STYLE == "virtual" else f"/{BUCKET}/{key}")
        self.data = data
        self.mode = mode
        self.chunk = chunk
        self.stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.stamp[:8]}/{REGION}/s3/aws4_request"
        signing = ("AWS4" + SECRET).encode()
        for part in self.scope.split("/"):
            signing = digest(signing, part)
        self.signing = signing
        self.headers = {
            "content-encoding": "aws-chunked", "host": NETLOC, "x-amz-content-sha256": mode, "x-amz-date": self.stamp,
            "x-amz-decoded-content-length": str(len(data)),
        }  # fmt: skip
        if mode == TRAILER:
            self.headers["x-amz-trailer"] = "x-amz-checksum-crc32"

    def sign(self, *lines: str) -> str:
        return digest(self.signing, "\n".join(lines)).hex()

    def head(self) -> str:
        """Sign the head; the seed of the chunks' signatures."""
        names = ";".join(sorted(self.headers))
        canonical = "\n".join(["PUT", self.path, "", *(f"{n}:{self.headers[n]}" for n in sorted(self.headers)), "", names, self.mode])
        seed = self.sign("AWS4-HMAC-SHA256", self.stamp, self.scope, sha256(canonical.encode()).hexdigest())
        self.headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={KEY}/{self.scope}, SignedHeaders={names}, Signature={seed}"
        return seed

    def frames(self, seed: str) -> list[bytes]:
        """Chunks, the last of them empty, and what follows it."""
        out, previous = [], seed
        for piece in [*(self.data[i : i + self.chunk] for i in range(0, len(self.data), self.chunk)), b""]:
            previous = self.sign("AWS4-HMAC-SHA256-PAYLOAD", self.stamp, self.scope, previous, EMPTY, sha256(piece).hexdigest())
            out.append(f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + (b"\r\n" if piece else b""))
        if self.mode == TRAILER:
            value = f"x-amz-checksum-crc32:{b64encode(crc32(self.data).to_bytes(4, 'big')).decode()}"
            signature = self.sign("AWS4-HMAC-SHA256-TRAILER", self.stamp, self.scope, previous, sha256(f"{value}\n".encode()).hexdigest())
            out.append(f"{value}\r\nx-amz-trailer-signature:{signature}\r\n".encode())
        return [*out, b"\r\n"]

    def send(self, frames: list[bytes] | None = None, *, length: int | None = None) -> int:
        """The status of the answer; `length` announces more than is sent."""
        seed = self.head()
        body = b"".join(self.frames(seed) if frames is None else frames)
        return request("PUT", self.path, body, {**self.headers, "content-length": str(len(body) if length is None else length)})[0]


def connection() -> http.client.HTTPConnection:
    if SCHEME == "https":
        return http.client.HTTPSConnection(NETLOC, context=ssl.create_default_context(cafile=CA), timeout=30)
    return http.client.HTTPConnection(NETLOC, timeout=30)


def request(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    line = connection()
    try:
        line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before the end of the body
            line.endheaders(body)
        if line.sock is not None and int(headers.get("content-length", len(body))) > len(body):
            line.sock.shutdown(1)
        try:
            answer = line.getresponse()
        except (http.client.BadStatusLine, ConnectionError):
            return 0, b""  # an upload that ends early may get no answer
        return answer.status, answer.read()
    finally:
        line.close()


def stored(key: str) -> bytes:
    upload = Upload(key, b"")
    headers = {"host": NETLOC, "x-amz-content-sha256": EMPTY, "x-amz-date": upload.stamp}
    canonical = "\n".join(["GET", upload.path, "", *(f"{n}:{headers[n]}" for n in sorted(headers)), "", ";".join(sorted(headers)), EMPTY])
    signature = upload.sign("AWS4-HMAC-SHA256", upload.stamp, upload.scope, sha256(canonical.encode()).hexdigest())
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{upload.scope}, SignedHeaders={';'.join(sorted(headers))}, Signature={signature}"
    )
    return request("GET", upload.path, b"", headers)[1]


@scenario
def sizes() -> None:
    make_bucket()
    for mode in (SIGNED, TRAILER):
        for size in (0, 1, 8191, 8192, 8193, 64 << 10, (64 << 10) + 1, 1_000_003, 12 << 20):
            data = noise(f"{mode}{size}", size)
            for chunk in (8 << 10, 64 << 10):
                if size < 1 << 20 or chunk == 64 << 10:
                    assert Upload("k", data, mode=mode, chunk=chunk).send() == 200, (mode, size, chunk)
                    assert stored("k") == data, (mode, size, chunk)


@scenario
def spoilt_bodies_leave_the_old_object() -> None:
    assert Upload("old", b"old").send() == 200
    data = noise("spoilt", 200_000)
    for mode in (SIGNED, TRAILER):

        def spoil(change, mode=mode) -> int:
            upload = Upload("old", data, mode=mode)
            frames = upload.frames(upload.head())
            whole = sum(map(len, frames))
            return upload.send(change(frames), length=whole if change is cut else None)

        def cut(frames: list[bytes]) -> list[bytes]:
            return [b"".join(frames)[:100_000]]

        changes = {
            "swapped": lambda f: [f[1], f[0], *f[2:]], "left out": lambda f: [f[0], *f[2:]], "repeated": lambda f: [f[0], f[0], *f[1:]],
            "one bit": lambda f: [f[0][:-100] + bytes([f[0][-100] ^ 1]) + f[0][-99:], *f[1:]], "more after the end": lambda f: [*f, b"5\r\nhello\r\n"],
            "signature": lambda f: [f[0].replace(b"chunk-signature=", b"chunk-signature=0", 1), *f[1:]], "no last chunk": lambda f: f[:4],
            "cut": cut, "no signature": lambda f: [b"%x\r\n" % (64 << 10) + f[0].partition(b"\r\n")[2], *f[1:]],
        }  # fmt: skip
        if mode == TRAILER:
            changes["trailer"] = lambda f: [*f[:-2], f[-2].replace(b"crc32:", b"crc32:A"), f[-1]]
            changes["no trailer"] = lambda f: [*f[:-2], f[-1]]
        for name, change in changes.items():
            status = spoil(change)
            assert status in (0, 400, 403), f"{mode} {name}: {status}"
            assert stored("old") == b"old", f"{mode} {name}: the old object is gone"


run()
