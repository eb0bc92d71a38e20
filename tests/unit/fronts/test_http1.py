"""Heads and framing: what is understood, what is refused, wherever the stream is cut."""

import pytest

from objstore.fronts.http1 import (
    MAX_CHUNK_LINE_BYTES,
    MAX_HEADER_COUNT,
    MAX_TARGET_BYTES,
    ChunkedFraming,
    FixedFraming,
    HttpProblem,
    framing_of,
    parse_head,
)


def head(*lines: str, host: bool = True) -> bytes:
    first, *rest = lines
    return "\r\n".join([first, *(["Host: h:1"] if host else []), *rest, "", ""]).encode("latin-1")


def refused(data: bytes) -> HttpProblem:
    with pytest.raises(HttpProblem) as caught:
        parse_head(data)
    return caught.value


def test_a_head_is_taken_apart_and_the_target_left_as_it_came() -> None:
    parsed = parse_head(head("PUT //b/./%2e%2E/k?a=b&c HTTP/1.1", "Content-Length: 12", "X-Amz-Meta-My_Key:  caf\xe9 \t"))
    assert (parsed.method, parsed.path, parsed.query, parsed.version) == ("PUT", b"//b/./%2e%2E/k", b"a=b&c", "1.1")
    assert parsed.headers == [(b"host", b"h:1"), (b"content-length", b"12"), (b"x-amz-meta-my_key", b"caf\xe9")]
    assert (parsed.content_length, parsed.chunked, parsed.keep_alive, parsed.expects_continue) == (12, False, True, False)


def test_connections_stay_open_unless_said_otherwise_or_old() -> None:
    assert not parse_head(head("GET / HTTP/1.1", "Connection: Foo, Close")).keep_alive
    assert not parse_head(head("GET / HTTP/1.1", "Connection: keep-alive", "Connection: close")).keep_alive
    assert not parse_head(head("GET / HTTP/1.0", host=False)).keep_alive


def test_an_expectation_counts_only_before_a_body() -> None:
    assert parse_head(head("PUT / HTTP/1.1", "Content-Length: 1", "Expect: 100-Continue")).expects_continue
    assert parse_head(head("PUT / HTTP/1.1", "Content-Length: 0", "Expect: 100-continue")).expects_continue
    for odd in ("else", "200", ""):
        assert not parse_head(head("PUT / HTTP/1.1", "Content-Length: 1", f"Expect: {odd}")).expects_continue


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: h\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
        head("GET http://h/ HTTP/1.1"),
        head("CONNECT h:1 HTTP/1.1"),
        head("GET * HTTP/1.1"),
        head("GET / HTTP/1.1", host=False),
        head("GET / HTTP/1.1", "Host: h:1"),
        head("GET / HTTP/1.1", "Host: other"),
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        head("PUT / HTTP/1.1", "Content-Length: 1", "Content-Length: 1"),
        head("PUT / HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"),
        head("PUT / HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        head("PUT / HTTP/1.0", "Transfer-Encoding: chunked"),
        head("PUT / HTTP/1.1", "Content-Length: +1"),
        head("PUT / HTTP/1.1", "Content-Length: -1"),
        head("PUT / HTTP/1.1", "Content-Length: 0x1"),
        head("PUT / HTTP/1.1", "Content-Length: 1,1"),
        head("PUT / HTTP/1.1", "Content-Length:"),
        head("PUT / HTTP/1.1", f"Content-Length: {'9' * 19}"),
        head("PUT / HTTP/1.1", f"Content-Length: {'1' * 5000}"),
        head("PUT / HTTP/1.1", "Content_Length: 1"),
        head("PUT / HTTP/1.1", "Transfer_Encoding: chunked"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(data: bytes) -> None:
    assert refused(data).status == 400


def test_other_transfer_codings_and_excess_have_their_own_status() -> None:
    assert refused(head("PUT / HTTP/1.1", "Transfer-Encoding: gzip, chunked")).status == 501
    assert refused(head("PUT / HTTP/1.1", "Transfer-Encoding: chunked;q=1")).status == 501
    assert refused(head(f"GET /{'a' * MAX_TARGET_BYTES} HTTP/1.1")).status == 414
    assert refused(head("GET / HTTP/1.1", *["A: b"] * MAX_HEADER_COUNT)).status == 431


def test_hostile_heads_are_refused() -> None:
    for filler in (b" ", b"\t", b"a", b":", b"a:\r\n", b"a: b\r\n", b"\xff"):
        data = b"GET / HTTP/1.1\r\nX:" + (filler * 48_000)[:48_000] + b"\0\r\n\r\n"
        with pytest.raises(HttpProblem):
            parse_head(data)


def cut_everywhere(stream: bytes, body: bytes, rest: bytes) -> None:
    for at in range(len(stream) + 1):
        framing = ChunkedFraming()
        out: list[bytes] = []
        left = framing.feed(stream[:at], out)
        if framing.done:
            left += stream[at:]
        else:
            assert left == b""
            left = framing.feed(stream[at:], out)
        assert framing.done
        assert (b"".join(out), left) == (body, rest)


def test_chunked_bodies_are_cut_out_of_the_stream() -> None:
    cut_everywhere(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", b"hello world", b"GET /")
    cut_everywhere(b'A;x="a b";y=1;z\r\n0123456789\r\n000\r\nTrailer: a\r\nOther: b\r\n\r\n', b"0123456789", b"")


@pytest.mark.parametrize(
    "stream",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloo\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n",
        b"\r\n",
        b"0x5\r\nhello\r\n",
        b"5;\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b'5;a="\n"\r\nhello\r\n',
        b"5\rX\r\nhello\r\n",
        b"f" * 16 + b"\r\n",
        b"1" * 17 + b"\r\n",
        b"5;" + b"a" * MAX_CHUNK_LINE_BYTES,
        b"0\r\nTrailer\r\n\r\n",
        b"0\r\n0\r\n",  # before the section has its end
        b"0\r\nA: b\r\nTrailer\r\nX",
        b"5\r\nhello\n",  # before there is a second byte
        b"0\r\nA: b\n\r\n\r\n",
        b"0\r\nA: " + b"b" * 10_000,
    ],
)
def test_malformed_chunks_are_refused(stream: bytes) -> None:
    with pytest.raises(HttpProblem):
        ChunkedFraming().feed(stream, [])


def test_fixed_bodies_are_handed_on_without_a_copy() -> None:
    framing = FixedFraming(10)
    out: list[bytes] = []
    first = bytes(6)
    assert framing.feed(first, out) == b""
    assert out[0] is first
    assert framing.feed(b"abcdGET", out) == b"GET"
    assert framing.done
    assert out[1] == b"abcd"


def test_a_request_without_framing_headers_has_no_body() -> None:
    assert framing_of(parse_head(head("PUT / HTTP/1.1"))).done
