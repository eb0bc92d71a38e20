"""Bodies: every payload mode stores the decoded bytes and nothing else, and nothing at all when anything is wrong."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest

from objstore.core.sigv4 import STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER, UNSIGNED_PAYLOAD, PayloadMode
from objstore.errors import EntityTooLarge, IncompleteBody, InvalidArgument
from objstore.fronts.s3.body import RequestBody, read_document
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.objects.api import Expected
from tests.support.memory_cluster import InlineThreads
from tests.support.s3_raw import Answer, call, crc32_text, frame_signed, frame_unsigned, send, sign
from tests.support.s3_server import ALICE, Running

DATA = random.Random(1).randbytes(200_000)
PIECES = [DATA[:65536], DATA[65536:65537], DATA[65537:]]


def put(server: Running, path: str, mode: str, body: Callable[[dict[str, str]], bytes], headers: dict[str, str] | None = None) -> Answer:
    every = {"x-amz-content-sha256": mode, **(headers or {})}
    if mode.startswith("STREAMING"):
        every = {"x-amz-decoded-content-length": str(len(DATA)), "content-encoding": "aws-chunked", **every}
    signed = sign(server, "PUT", path, b"", every, ALICE)
    return send(server, "PUT", path, body(signed), signed)


def signed_body(signed: dict[str, str]) -> bytes:
    return frame_signed(signed, ALICE, PIECES)


def signed_trailer(signed: dict[str, str]) -> bytes:
    return frame_signed(signed, ALICE, PIECES, trailer=("x-amz-checksum-crc32", crc32_text(DATA)))


def unsigned_trailer(_: dict[str, str]) -> bytes:
    return frame_unsigned(PIECES, ("x-amz-checksum-crc32", crc32_text(DATA)))


TRAILER = {"x-amz-trailer": "x-amz-checksum-crc32"}
GOOD: list[tuple[str, Callable[[dict[str, str]], bytes], dict[str, str]]] = [
    (UNSIGNED_PAYLOAD, lambda _: DATA, {}),
    (sha256(DATA).hexdigest(), lambda _: DATA, {}),
    (STREAMING_SIGNED, signed_body, {}),
    (STREAMING_SIGNED_TRAILER, signed_trailer, TRAILER),
    (STREAMING_UNSIGNED_TRAILER, unsigned_trailer, TRAILER),
    (STREAMING_UNSIGNED_TRAILER, lambda _: frame_unsigned(PIECES, None), {}),
]


@pytest.mark.parametrize(("mode", "body", "headers"), GOOD, ids=[f"{mode[:44]}-{len(headers)}" for mode, _, headers in GOOD])
def test_every_mode_stores_the_decoded_bytes(server: Running, bucket: str, mode: str, body: Any, headers: dict[str, str]) -> None:
    answer = put(server, f"/{bucket}/k", mode, body, headers)
    assert answer.status == 200, answer.body
    got = call(server, "GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got.body == DATA
    assert "content-encoding" not in got.headers
    if headers:
        assert got.headers["x-amz-checksum-crc32"] == crc32_text(DATA)
    else:
        assert "x-amz-checksum-crc64nvme" in got.headers


def test_other_content_encodings_stay(server: Running, bucket: str) -> None:
    for sent, stored in (("aws-chunked,gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("GZIP,AWS-Chunked,br", "GZIP,br")):
        assert put(server, f"/{bucket}/k", STREAMING_SIGNED, signed_body, {"content-encoding": sent}).status == 200
        assert call(server, "GET", f"/{bucket}/k").headers["content-encoding"] == stored


def test_the_signed_digest_must_be_the_bodys(server: Running, bucket: str) -> None:
    answer = put(server, f"/{bucket}/k", sha256(DATA).hexdigest(), lambda _: DATA[:-1] + b"x")
    if DATA[-1:] != b"x":
        assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
        assert answer.value("ClientComputedContentSHA256") == sha256(DATA).hexdigest()
        assert call(server, "GET", f"/{bucket}/k").code == "NoSuchKey"


def swapped(signed: dict[str, str]) -> bytes:
    body = frame_signed(signed, ALICE, [DATA[:100], DATA[100:200], DATA[200:]])
    second, third = body.index(b"\r\n64;") + 2, body.index(f"\r\n{len(DATA) - 200:x};".encode()) + 2
    return body[second:third] + body[:second] + body[third:]


BAD: list[tuple[str, str, Callable[[dict[str, str]], bytes], dict[str, str], str]] = [
    ("chunks swapped", STREAMING_SIGNED, swapped, {}, "SignatureDoesNotMatch"),
    ("a chunk changed", STREAMING_SIGNED, lambda s: signed_body(s).replace(DATA[70_000:70_010], bytes(10)), {}, "SignatureDoesNotMatch"),
    ("data after the end", STREAMING_SIGNED, lambda s: signed_body(s) + b"more", {}, "InvalidRequest"),
    ("cut", STREAMING_SIGNED, lambda s: signed_body(s)[:-90], {}, "IncompleteBody"),
    ("cut in the last line", STREAMING_SIGNED, lambda s: signed_body(s)[:-1], {}, "IncompleteBody"),
    ("no last chunk", STREAMING_UNSIGNED_TRAILER, lambda _: frame_unsigned(PIECES, None)[:-5], {}, "IncompleteBody"),
    ("longer", STREAMING_SIGNED, signed_body, {"x-amz-decoded-content-length": str(len(DATA) - 1)}, "IncompleteBody"),
    ("shorter", STREAMING_SIGNED, signed_body, {"x-amz-decoded-content-length": str(len(DATA) + 1)}, "IncompleteBody"),
    ("no length", STREAMING_SIGNED, signed_body, {"x-amz-decoded-content-length": ""}, "InvalidArgument"),
    ("odd length", STREAMING_SIGNED, signed_body, {"x-amz-decoded-content-length": "1e3"}, "InvalidArgument"),
    ("unsigned chunks", STREAMING_SIGNED, lambda _: frame_unsigned(PIECES, None), {}, "InvalidRequest"),
    ("wrong checksum", STREAMING_UNSIGNED_TRAILER, lambda _: frame_unsigned(PIECES, ("x-amz-checksum-crc32", "AAAAAA==")), TRAILER, "BadDigest"),
    ("wrong trailer", STREAMING_UNSIGNED_TRAILER, lambda _: frame_unsigned(PIECES, ("x-amz-checksum-sha1", "AAAA")), TRAILER, "MalformedTrailerError"),
    ("no trailer", STREAMING_UNSIGNED_TRAILER, lambda _: frame_unsigned(PIECES, None), TRAILER, "MalformedTrailerError"),
    ("trailer not announced", STREAMING_UNSIGNED_TRAILER, unsigned_trailer, {}, "MalformedTrailerError"),
    ("odd trailer value", STREAMING_UNSIGNED_TRAILER, lambda _: frame_unsigned(PIECES, ("x-amz-checksum-crc32", "AA")), TRAILER, "InvalidRequest"),
    ("odd trailer announced", STREAMING_UNSIGNED_TRAILER, unsigned_trailer, {"x-amz-trailer": "x-amz-meta-a"}, "InvalidRequest"),
    ("trailer not signed", STREAMING_SIGNED_TRAILER,
     lambda s: signed_trailer(s).partition(b"x-amz-trailer-signature")[0] + b"\r\n", TRAILER, "SignatureDoesNotMatch"),
    ("trailer changed", STREAMING_SIGNED_TRAILER,
     lambda s: signed_trailer(s).replace(crc32_text(DATA).encode(), b"AAAAAA=="), TRAILER, "SignatureDoesNotMatch"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "body", "headers", "code"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_wrong_body_is_refused_and_the_old_object_stays(
    server: Running, s3: Any, bucket: str, mode: str, body: Any, headers: dict[str, str], code: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    answer = put(server, f"/{bucket}/k", mode, body, headers)
    assert 400 <= answer.status < 500
    assert answer.code == code
    assert call(server, "GET", f"/{bucket}/k").body == b"old"
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1


def test_a_length_is_demanded(server: Running, bucket: str) -> None:
    signed = sign(server, "PUT", f"/{bucket}/k", b"", {"x-amz-content-sha256": UNSIGNED_PAYLOAD}, ALICE)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(f"PUT /{bucket}/k HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n{lines}\r\n".encode())
        answer = b""
        while got := sock.recv(65536):
            answer += got
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert b"<Code>MissingContentLength</Code>" in answer


def test_a_body_of_unknown_length_is_taken_in_http_chunks(server: Running, bucket: str) -> None:
    signed = sign(server, "PUT", f"/{bucket}/k", b"", {"x-amz-content-sha256": UNSIGNED_PAYLOAD}, ALICE)
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in PIECES) + b"0\r\n\r\n"
    assert send(server, "PUT", f"/{bucket}/k", framed, {**signed, "Transfer-Encoding": "chunked"}).status == 200
    assert call(server, "GET", f"/{bucket}/k").body == DATA


def test_an_object_too_large_is_refused_before_its_body(server: Running, bucket: str) -> None:
    signed = sign(server, "PUT", f"/{bucket}/k", b"", {"x-amz-content-sha256": UNSIGNED_PAYLOAD}, ALICE)
    answer = send(server, "PUT", f"/{bucket}/k", b"", {**signed, "Content-Length": str((5 << 30) + 1), "Expect": "100-continue"})
    assert (answer.status, answer.code) == (400, "EntityTooLarge")


def test_a_client_that_leaves_early_changes_nothing(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    signed = sign(server, "PUT", f"/{bucket}/k", b"", {"x-amz-content-sha256": UNSIGNED_PAYLOAD}, ALICE)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    for sent in (0, 10, 199_999):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 200000\r\n{lines}\r\n"
            sock.sendall(head.encode() + DATA[:sent])
    assert call(server, "GET", f"/{bucket}/k").body == b"old"


# -- in isolation ---------------------------------------------------------------------------------------------


def request_of(headers: dict[str, str], mode: PayloadMode, messages: list[dict[str, Any]], payload: str = "") -> S3Request:
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    made: Callable[[], Awaitable[Any]] = receive
    request = S3Request({"method": "PUT"}, made, "1")
    request.headers = headers
    request.payload, request.payload_mode = payload, mode
    return request


def body_of(request: S3Request, **limits: Any) -> RequestBody:
    chosen = {"threads": None, "thread_from_bytes": 10, "limit_bytes": 1000, **limits}
    return RequestBody(request, **chosen)


def message(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_large_pieces_are_hashed_in_a_thread() -> None:
    class Counting(InlineThreads):
        calls = 0

        async def run(self, call: Any, *args: Any) -> Any:
            self.calls += 1
            return await super().run(call, *args)

    async def go() -> None:
        threads = Counting()
        messages = [message(b"small", more=True), message(b"", more=True), message(b"a large piece", more=False)]
        data = b"smalla large piece"
        request = request_of({"content-length": str(len(data))}, PayloadMode.SIGNED, messages, sha256(data).hexdigest())
        body = body_of(request, threads=threads)
        assert [bytes(piece) async for piece in body] == [b"small", b"a large piece"]
        assert await body.finish() == {}
        assert threads.calls == 1

    asyncio.run(go())


def test_a_document_has_a_limit_and_its_end_matters() -> None:
    async def go() -> None:
        headers = {"content-length": "11"}
        request = request_of(headers, PayloadMode.UNSIGNED, [message(b"hello ", more=True), message(b"world", more=False)])
        assert await read_document(body_of(request), Expected(), 11) == b"hello world"
        request = request_of(headers, PayloadMode.UNSIGNED, [message(b"hello ", more=True), message(b"world", more=False)])
        with pytest.raises(S3Refused, match="too big"):
            await read_document(body_of(request), Expected(), 10)
        request = request_of(headers, PayloadMode.UNSIGNED, [message(b"hello ", more=True), {"type": "http.disconnect"}])
        with pytest.raises(IncompleteBody):
            await read_document(body_of(request), Expected(), 11)

    asyncio.run(go())


def test_lengths_are_checked_before_anything_is_read() -> None:
    for text, refusal in (("1001", EntityTooLarge), ("-1", InvalidArgument), ("9" * 16, InvalidArgument), ("٣", InvalidArgument)):
        with pytest.raises(refusal):
            body_of(request_of({"content-length": text}, PayloadMode.UNSIGNED, []))
    with pytest.raises(S3Refused, match="decoded"):
        body_of(request_of({"content-length": "5"}, PayloadMode.CHUNKS_UNSIGNED_TRAILER, []))
