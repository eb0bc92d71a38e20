"""HTTP as a strict reader sees it: how many whole requests are in some bytes, and what answers came back.

Not the store's parser: what this one calls ambiguous, the store must refuse, or the two could be played off against each other.
"""

import re
from dataclasses import dataclass

Pairs = list[tuple[bytes, bytes]]

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (/[!-~\x80-\xff]*|\*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[\t -~\x80-\xff]*)?)")


@dataclass
class Seen:
    """One request in a stream.

    `state`: whole, partial (more must come), bad (must be refused, and the connection closed) or spoilt (its head is good, the
    framing of its body is not: whoever needs the body must refuse it, and the connection must close in any case).
    """

    state: str
    method: bytes = b""
    target: bytes = b""
    headers: Pairs | None = None
    body: bytes = b""
    closes: bool = False
    expects: bool = False
    end: int = 0


def requests_in(data: bytes) -> list[Seen]:
    """Requests in the order sent; the last one may be partial or bad."""
    found: list[Seen] = []
    at = 0
    while at < len(data):
        if data.startswith(b"\r\n", at):
            at += 2
            if at == len(data):
                break
        seen = _one(data, at)
        found.append(seen)
        if seen.state != "whole":
            break
        at = seen.end
    return found


def _one(data: bytes, at: int) -> Seen:
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return Seen("partial")
    lines = data[at:end].split(b"\r\n")
    first = _LINE.fullmatch(lines[0])
    if first is None:
        return Seen("bad")
    headers: Pairs = []
    for line in lines[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            return Seen("bad", first[1])
        headers.append((field[1], field[2].strip(b" \t")))
    seen = Seen("whole", first[1], first[2], headers)
    table: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        table.setdefault(name.lower(), []).append(value)
    lengths, codings, modern = table.get(b"content-length", []), table.get(b"transfer-encoding", []), first[3] == b"1"
    hosts = len(table.get(b"host", []))
    good = len(lengths) + len(codings) <= 1 and (hosts == 1 or (not hosts and not modern))  # health checks of HTTP/1.0 name none
    good = good and all(re.fullmatch(rb"[0-9]{1,18}", value) for value in lengths)
    good = good and all(value.lower() == b"chunked" and modern for value in codings)
    if not good or b"content_length" in table or b"transfer_encoding" in table:
        seen.state = "bad"
        return seen
    tokens = [token.strip().lower() for value in table.get(b"connection", []) for token in value.split(b",")]
    seen.closes = b"close" in tokens or not modern
    seen.expects = b"expect" in table
    body = end + 4
    if codings:
        state, seen.end, seen.body = _chunks(data, body)
        seen.state = "spoilt" if state == "bad" else state
    else:
        seen.end = body + (int(lengths[0]) if lengths else 0)
        seen.body = data[body : seen.end]
        if seen.end > len(data):
            seen.state = "partial"
    return seen


def _chunks(data: bytes, at: int) -> tuple[str, int, bytes]:
    body = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return ("bad" if b"\n" in data[at:] or len(data) - at > 256 else "partial"), len(data), b""
        size = _SIZE.fullmatch(data[at:end])
        if size is None:
            return "bad", end, b""
        length = int(size[1], 16)
        at = end + 2
        if not length:
            break
        if data[at + length : at + length + 2] not in (b"\r\n", b"\r", b""):
            return "bad", at, b""
        if at + length + 2 > len(data):
            return "partial", len(data), b""
        body.append(data[at : at + length])
        at += length + 2
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return "partial", len(data), b""
        if end == at:
            return "whole", end + 2, b"".join(body)
        if _FIELD.fullmatch(data[at:end]) is None:
            return "bad", at, b""
        at = end + 2


@dataclass
class Reply:
    """One answer, checked to be well-formed."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    closes: bool


class Malformed(AssertionError):
    """The server's bytes are not an HTTP answer."""


def reply_in(data: bytes, method: bytes, *, ended: bool) -> tuple[Reply, int] | None:
    """The first answer in `data` and where it ends; None when it is not whole yet.  Raises Malformed."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > 65536 or (ended and data):
            raise Malformed(f"an answer's head does not end: {data[:200]!r}")
        return None
    lines = data[:end].split(b"\r\n")
    status = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [A-Za-z' -]*", lines[0])
    if status is None:
        raise Malformed(f"bad status line {lines[0]!r}")
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Malformed(f"bad header in an answer: {line!r}")
        if field[1].lower() in headers and field[1].lower() in (b"content-length", b"transfer-encoding", b"x-amz-request-id", b"etag"):
            raise Malformed(f"an answer repeats {field[1]!r}")
        headers[field[1].lower()] = field[2].strip(b" \t")
    code = int(status[1])
    at = end + 4
    closes = headers.get(b"connection", b"").lower() == b"close"
    if code < 200:
        return Reply(code, headers, b"", closes), at
    if method == b"HEAD" or code in (204, 304):
        return Reply(code, headers, b"", closes), at
    if headers.get(b"transfer-encoding") == b"chunked":
        state, after, body = _chunks(data, at)
        if state == "bad":
            raise Malformed("bad chunks in an answer")
        return (Reply(code, headers, body, closes), after) if state == "whole" else None
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        return (Reply(code, headers, data[at : at + length], closes), at + length) if len(data) - at >= length else None
    return (Reply(code, headers, data[at:], True), len(data)) if ended else None
