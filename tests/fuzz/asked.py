"""A request before it is bytes: every part can be chosen, then it is signed and rendered.

Signing is written here once more, from Amazon's description and not from the store's code, so that the two check each other.
"""

import hmac
from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes
from zlib import crc32

ACCESS_KEY = b"AKFUZZ"
SECRET_KEY = "fuzz-secret"
REGION = "us-east-1"
HOST = b"127.0.0.1"
EMPTY = sha256(b"").hexdigest().encode()
UNSIGNED = b"UNSIGNED-PAYLOAD"
STREAM = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAM_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAM_UNSIGNED = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMS = (STREAM, STREAM_TRAILER, STREAM_UNSIGNED)

Pairs = list[tuple[bytes, bytes]]


@dataclass
class Asked:
    """One request.  `query` and `path` are as they go on the wire; `headers` come besides those that signing adds."""

    method: bytes = b"GET"
    path: bytes = b"/"
    query: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    auth: str = "header"  # or "presigned", "none"
    payload: bytes = b""  # x-amz-content-sha256; empty: the body's digest
    chunked: bool = False  # HTTP's chunked coding instead of Content-Length
    bare: bool = False  # neither
    expires: bytes = b"600"
    stamp: bytes = b""  # empty: now
    version: bytes = b"HTTP/1.1"

    def copy(self) -> "Asked":
        """One whose lists can be changed."""
        return replace(self, query=list(self.query), headers=list(self.headers))


@dataclass
class Rendered:
    """The parts of a request on the wire."""

    line: bytes
    headers: Pairs
    body: bytes

    def head(self) -> bytes:
        """Request line and headers."""
        return b"".join([self.line, b"\r\n", *(b"%s: %s\r\n" % pair for pair in self.headers), b"\r\n"])


def now_stamp() -> bytes:
    """X-Amz-Date of this moment."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ").encode()


@lru_cache(64)
def signing_key(date: bytes, region: str = REGION) -> bytes:
    """The key of a day."""
    key = b"AWS4" + SECRET_KEY.encode()
    for part in (date, region.encode(), b"s3", b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key


def _render_query(query: list[tuple[bytes, bytes | None]]) -> bytes:
    return b"&".join([name if value is None else name + b"=" + value for name, value in query])


def canonical(method: bytes, path: bytes, query: bytes, headers: Pairs, signed: list[bytes], payload: bytes) -> bytes:
    """The canonical request of what is on the wire."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(b" ".join(value.strip(b" \t").split(b" ")) if b"  " not in value else _one_space(value))
    pairs = sorted((n, v) for n, _, v in (item.partition(b"=") for item in query.split(b"&") if item) if n != b"X-Amz-Signature")
    lines = b"".join([b"%s:%s\n" % (name, b",".join(values.get(name, [b""]))) for name in signed])
    return b"\n".join([method, path, b"&".join(b"%s=%s" % pair for pair in pairs), lines, b";".join(signed), payload])


def _one_space(value: bytes) -> bytes:
    return b" ".join(piece for piece in value.strip(b" \t").split(b" ") if piece)


def to_sign(stamp: bytes, canonical_request: bytes, region: str = REGION) -> bytes:
    """What is signed."""
    scope = b"%s/%s/s3/aws4_request" % (stamp[:8], region.encode())
    return b"\n".join([b"AWS4-HMAC-SHA256", stamp, scope, sha256(canonical_request).hexdigest().encode()])


def _sign(stamp: bytes, text: bytes) -> bytes:
    return hmac.digest(signing_key(stamp[:8]), text, "sha256").hex().encode()


def render(asked: Asked) -> Rendered:
    """Sign and lay out."""
    stamp = asked.stamp or now_stamp()
    headers: Pairs = [(b"Host", HOST), *asked.headers]
    payload = asked.payload or (sha256(asked.body).hexdigest().encode() if asked.body else EMPTY)
    query = list(asked.query)
    signature = b""
    if asked.auth == "header":
        headers += [(b"x-amz-date", stamp), (b"x-amz-content-sha256", payload)]
        signed = sorted({n.lower() for n, _ in headers if n.lower() in (b"host", b"content-md5") or n.lower().startswith(b"x-amz-")})
        text = to_sign(stamp, canonical(asked.method, asked.path, _render_query(query), headers, signed, payload))
        signature = _sign(stamp, text)
        scope = b"%s/%s/%s/s3/aws4_request" % (ACCESS_KEY, stamp[:8], REGION.encode())
        value = b"AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s" % (scope, b";".join(signed), signature)
        headers.append((b"Authorization", value))
    elif asked.auth == "presigned":
        signed = sorted({n.lower() for n, _ in headers if n.lower() in (b"host", b"content-md5") or n.lower().startswith(b"x-amz-")})
        scope = quote(f"{ACCESS_KEY.decode()}/{stamp[:8].decode()}/{REGION}/s3/aws4_request", safe="").encode()
        query += [
            (b"X-Amz-Algorithm", b"AWS4-HMAC-SHA256"), (b"X-Amz-Credential", scope), (b"X-Amz-Date", stamp),
            (b"X-Amz-Expires", asked.expires), (b"X-Amz-SignedHeaders", b"%3B".join(signed)),
        ]  # fmt: skip
        text = to_sign(stamp, canonical(asked.method, asked.path, _render_query(query), headers, signed, asked.payload or UNSIGNED))
        signature = _sign(stamp, text)
        query.append((b"X-Amz-Signature", signature))
    body = asked.body
    if payload in STREAMS:
        body = frame(body, payload, stamp, signature)
    if asked.chunked:
        headers.append((b"Transfer-Encoding", b"chunked"))
        body = http_chunks(body)
    elif not asked.bare and (body or asked.method in (b"PUT", b"POST")):
        headers.append((b"Content-Length", b"%d" % len(body)))
    target = asked.path + (b"?" + _render_query(query) if query else b"")
    return Rendered(b"%s %s %s" % (asked.method, target, asked.version), headers, body)


def frame(body: bytes, payload: bytes, stamp: bytes, previous: bytes) -> bytes:
    """An aws-chunked body with its signatures and trailer, as `payload` asks."""
    scope = b"%s/%s/s3/aws4_request" % (stamp[:8], REGION.encode())
    out = b""
    size = max(7, len(body) // 3)
    for piece in [*(body[i : i + size] for i in range(0, len(body), size)), b""]:
        line = b"%x" % len(piece)
        if payload != STREAM_UNSIGNED:
            text = b"\n".join([b"AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, EMPTY, sha256(piece).hexdigest().encode()])
            previous = _sign(stamp, text)
            line += b";chunk-signature=" + previous
        out += line + b"\r\n" + (piece + b"\r\n" if piece else b"")
    if payload != STREAM:
        trailer = b"x-amz-checksum-crc32:" + b64encode(crc32(body).to_bytes(4, "big"))
        out += trailer + b"\r\n"
        if payload == STREAM_TRAILER:
            text = b"\n".join([b"AWS4-HMAC-SHA256-TRAILER", stamp, scope, previous, sha256(trailer + b"\n").hexdigest().encode()])
            out += b"x-amz-trailer-signature:" + _sign(stamp, text) + b"\r\n"
    return out + b"\r\n"


def http_chunks(body: bytes) -> bytes:
    """HTTP's chunked coding."""
    size = max(11, len(body) // 3)
    pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[i : i + size] for i in range(0, len(body), size))]
    return b"".join(pieces) + b"0\r\n\r\n"


# -- is a signature good? ----------------------------------------------------------------------------------------


def is_authentic(method: bytes, target: bytes, headers: Pairs) -> bool:
    """Whether a request as it is on the wire carries a good signature of the fuzzer's key over all that matters."""
    path, _, query = target.partition(b"?")
    table: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        table.setdefault(name.lower(), []).append(value.strip(b" \t"))
    pairs = [(_plain(n), _plain(v)) for n, _, v in (item.partition(b"=") for item in query.split(b"&") if item)]
    authorization = b",".join(table.get(b"authorization", []))
    if authorization:
        fields = dict(item.strip().partition(b"=")[::2] for item in authorization.partition(b" ")[2].split(b","))
        credential, signed, signature = (fields.get(name, b"") for name in (b"Credential", b"SignedHeaders", b"Signature"))
        stamp = b",".join(table.get(b"x-amz-date", [b""]))
        payload = b",".join(table.get(b"x-amz-content-sha256", [b""]))
    else:
        found = dict(reversed(pairs))
        credential, signed, signature = (found.get(b"X-Amz-" + n, b"") for n in (b"Credential", b"SignedHeaders", b"Signature"))
        stamp = found.get(b"X-Amz-Date", b"")
        payload = b",".join(table.get(b"x-amz-content-sha256", [])) or found.get(b"X-Amz-Content-Sha256", b"") or UNSIGNED
    parts = credential.split(b"/")
    if len(parts) != 5 or parts[0] != ACCESS_KEY or parts[1] != stamp[:8] or parts[3:] != [b"s3", b"aws4_request"]:
        return False
    names = signed.split(b";")
    if b"host" not in names or any((n.startswith(b"x-amz-") or n == b"content-md5") and n not in names for n in table):
        return False
    region = parts[2].decode("latin-1")
    key = signing_key(parts[1], region)
    paths = {path, quote(unquote_to_bytes(path), safe="/-_.~").encode()}
    anew = b"&".join(b"%s=%s" % (_quoted(n), _quoted(v)) for n, v in pairs)
    for one in paths:
        for asked in (query, anew):
            for each in (headers, [(n, v.decode("latin-1").encode()) for n, v in headers]):
                text = to_sign(stamp, canonical(method, one, asked, each, names, payload), region)
                if hmac.digest(key, text, "sha256").hex().encode() == signature:
                    return True
    return False


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _quoted(text: bytes) -> bytes:
    return quote(text, safe="-_.~").encode()
