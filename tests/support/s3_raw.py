"""Signed requests of which every byte can be chosen, and bodies in signed chunks."""

import hmac
import http.client
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from zlib import crc32

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.core.sigv4 import EMPTY_SHA256, signing_key
from objstore.identity.model import User
from tests.support.s3_server import ALICE, Running


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def value(self, element: str) -> str:
        """Text of the first element of that name."""
        found = re.search(rf"<{element}>(.*?)</{element}>".encode(), self.body, re.DOTALL)
        return found.group(1).decode() if found else ""

    @property
    def code(self) -> str:
        """The error code; empty in a success."""
        return self.value("Code") if b"<Error>" in self.body else ""


class _ChosenPayload(S3SigV4Auth):
    """A signer that takes x-amz-content-sha256 as it is given."""

    chosen: str | None = None

    def payload(self, request: Any) -> str:
        return str(super().payload(request)) if self.chosen is None else self.chosen


def sign(
    server: Running,
    method: str,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    user: User,
    *,
    region: str = "us-east-1",
    service: str = "s3",
) -> dict[str, str]:
    """The headers with a signature over them."""
    request = AWSRequest(method, server.url + path, data=body, headers=dict(headers))
    signer = _ChosenPayload(Credentials(user.access_key, user.secret_key), service, region)
    signer.chosen = headers.get("x-amz-content-sha256")
    signer.add_auth(request)
    return dict(request.headers.items())


def presign(
    server: Running, method: str, path: str, *, user: User = ALICE, expires: int = 600, headers: Mapping[str, str] | None = None
) -> str:
    """Path and query of a presigned request."""
    request = AWSRequest(method, server.url + path, headers=dict(headers or {}))
    S3SigV4QueryAuth(Credentials(user.access_key, user.secret_key), "s3", "us-east-1", expires=expires).add_auth(request)
    return str(request.url).removeprefix(server.url)


def send(server: Running, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Send exactly these headers (and Host); a Content-Length is added for a body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        sent = dict(headers or {})
        connection.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in sent)
        if (body or method in ("PUT", "POST")) and not {"content-length", "transfer-encoding"} & {name.lower() for name in sent}:
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def call(
    server: Running, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, user: User = ALICE, **how: Any
) -> Answer:
    """A signed request."""
    return send(server, method, path, body, sign(server, method, path, body, headers or {}, user, **how))


def frame_signed(
    signed_headers: Mapping[str, str], user: User, pieces: list[bytes], *, trailer: tuple[str, str] | None = None, region: str = "us-east-1"
) -> bytes:
    """An aws-chunked body that continues a request's signature, written straight from Amazon's description."""
    stamp = signed_headers["X-Amz-Date"]
    previous = signed_headers["Authorization"].rpartition("=")[2]
    key = signing_key(user.secret_key, stamp[:8], region)
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    out = b""

    def next_signature(kind: str, *last: str) -> str:
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", stamp, scope, previous, *last])
        return hmac.new(key, text.encode(), sha256).hexdigest()

    for piece in [*pieces, b""]:
        previous = next_signature("PAYLOAD", EMPTY_SHA256, sha256(piece).hexdigest())
        out += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    if trailer is None:
        return out + b"\r\n"
    name, value = trailer
    signature = next_signature("TRAILER", sha256(f"{name}:{value}\n".encode()).hexdigest())
    return out + f"{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()


def frame_unsigned(pieces: list[bytes], trailer: tuple[str, str] | None) -> bytes:
    """An aws-chunked body without signatures."""
    out = b"".join([f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces]) + b"0\r\n"
    return out + (f"{trailer[0]}:{trailer[1]}\r\n".encode() if trailer else b"") + b"\r\n"


def crc32_text(data: bytes) -> str:
    """x-amz-checksum-crc32 of data."""
    return b64encode(crc32(data).to_bytes(4, "big")).decode()
