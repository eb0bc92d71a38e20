"""What botocore signs verifies, what it signed otherwise does not; chunked bodies survive any cutting; parsers are total."""

import datetime
import hmac
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.core.aws_chunked import ChunkDecoder, ChunkEnd
from objstore.core.sigv4 import (
    EMPTY_SHA256,
    STREAMING_SIGNED,
    UNSIGNED_PAYLOAD,
    ChunkChain,
    Claim,
    Received,
    SignatureRefused,
    decode_component,
    parse_authorization,
    parse_presigned,
    payload_mode,
    signing_key,
    split_query,
    verify,
)
from objstore.errors import Refused

SECRET = "secret/with+signs="
CREDENTIALS = Credentials("AK/ID", SECRET)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
VALUES = st.text(st.characters(codec="utf-8"), max_size=20)
HEADER_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip)
HEADER_NAMES = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_"), min_size=1, max_size=10)


WHOLE = [
    ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Date", "20130524T000000Z"), ("X-Amz-Expires", "60"), ("X-Amz-Signature", "0" * 64),
]  # fmt: skip


def received(request: Any, method: str) -> Received:
    """As a server sees what botocore sends."""
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in prepared.headers.items()}
    headers.setdefault("host", parts.netloc)
    return Received(method, parts.path, parts.query, headers)


def key_of(claim: Claim) -> bytes:
    return signing_key(SECRET, claim.credential.date, claim.credential.region)


def url_of(key: str, query: list[tuple[str, str]]) -> str:
    tail = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
    return f"http://s3.example.com:9000/bucket/{quote(key, safe='/~')}{'?' + tail if tail else ''}"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]),
    KEYS,
    st.lists(st.tuples(KEYS, VALUES), max_size=4),
    st.dictionaries(HEADER_NAMES.map("x-amz-meta-{}".format), HEADER_VALUES, max_size=4),
    st.binary(max_size=50),
    st.sampled_from(["us-east-1", "eu-central-1", "x"]),
)
def test_headers_signed_by_botocore_verify(
    method: str, key: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes, region: str
) -> None:
    request = AWSRequest(method, url_of(key, query), data=body, headers=headers)
    S3SigV4Auth(CREDENTIALS, "s3", region).add_auth(request)
    got = received(request, method)
    claim = parse_authorization(got.headers["authorization"], got.headers["x-amz-date"])
    assert claim.credential.access_key == "AK/ID"
    payload = got.headers["x-amz-content-sha256"]
    payload_mode(payload)
    verify(got, claim, payload, key_of(claim))
    for changed in (
        Received("PATCH", got.path, got.query, got.headers),
        Received(method, got.path + "/", got.query, got.headers),
        Received(method, got.path, got.query + "&acl", got.headers),
        Received(method, got.path, got.query, {**got.headers, "host": "elsewhere"}),
    ):
        with pytest.raises(SignatureRefused):
            verify(changed, claim, payload, key_of(claim))
    with pytest.raises(SignatureRefused):
        verify(got, claim, sha256(body + b"x").hexdigest(), key_of(claim))
    with pytest.raises(SignatureRefused):
        verify(got, claim, payload, signing_key("other", claim.credential.date, region))


@settings(max_examples=60, deadline=None)
@given(KEYS, st.lists(st.tuples(KEYS, VALUES), max_size=4), st.integers(1, 604800))
def test_urls_presigned_by_botocore_verify(key: str, query: list[tuple[str, str]], expires: int) -> None:
    request = AWSRequest("GET", url_of(key, query))
    S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=expires).add_auth(request)
    got = received(request, "GET")
    pairs = [(decode_component(name).decode(), decode_component(value).decode()) for name, value in split_query(got.query)]
    claim = parse_presigned(pairs)
    assert claim.expires_s == expires
    verify(got, claim, UNSIGNED_PAYLOAD, key_of(claim))
    with pytest.raises(SignatureRefused):
        verify(Received("GET", got.path, got.query + "&response-expires=x", got.headers), claim, UNSIGNED_PAYLOAD, key_of(claim))


def dumb_chunks(data: bytes, sizes: list[int], claim: Claim) -> bytes:
    """A body in signed chunks, written straight from Amazon's description."""
    key, previous, out, at = key_of(claim), claim.signature, b"", 0
    for size in [*sizes, len(data) or 1, 0]:
        chunk = data[at : at + size]
        if not chunk and size:
            continue
        at += len(chunk)
        lines = ["AWS4-HMAC-SHA256-PAYLOAD", claim.timestamp, claim.credential.scope, previous, EMPTY_SHA256, sha256(chunk).hexdigest()]
        previous = hmac.new(key, "\n".join(lines).encode(), sha256).hexdigest()
        out += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + b"\r\n"
    return out


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(1, 90), max_size=5), st.lists(st.integers(1, 60), min_size=1, max_size=8), st.data())
def test_signed_chunks_verify_however_they_are_cut_and_never_after_a_change(
    data: bytes, sizes: list[int], cuts: list[int], draw: st.DataObject
) -> None:
    request = AWSRequest("PUT", "http://h/b/k", headers={"X-Amz-Content-SHA256": STREAMING_SIGNED})
    request.context["timestamp"] = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    S3SigV4Auth(CREDENTIALS, "s3", "us-east-1").add_auth(request)
    got = received(request, "PUT")
    claim = parse_authorization(got.headers["authorization"], got.headers["x-amz-date"])
    body = dumb_chunks(data, sizes, claim)

    def decode(stream: bytes) -> bytes:
        decoder, chain, out, at, step = ChunkDecoder(len(data), signed=True, trailer=False), ChunkChain(key_of(claim), claim), b"", 0, 0
        while at < len(stream):
            cut = cuts[step % len(cuts)]
            for piece in decoder.feed(stream[at : at + cut]):
                if isinstance(piece, ChunkEnd):
                    chain.end_chunk(piece.signature)
                else:
                    chain.update(piece)
                    out += bytes(piece)
            at, step = at + cut, step + 1
        decoder.finish()
        return out

    assert decode(body) == data
    where = draw.draw(st.integers(0, len(body) - 1))
    changed = body[:where] + bytes([body[where] ^ draw.draw(st.integers(1, 255))]) + body[where + 1 :]
    try:
        same = decode(changed)
    except Refused:
        return
    # Only the hexadecimal size and the signature have two spellings of one meaning: upper and lower case.
    assert same == data
    assert changed.lower() == body.lower()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120), st.text(max_size=20), st.text(st.characters(max_codepoint=255), max_size=60))
def test_parsers_are_total(header: str, stamp: str, query: str) -> None:
    for call in (
        lambda: parse_authorization(header, stamp),
        lambda: parse_authorization("AWS4-HMAC-SHA256 " + header, stamp),
        lambda: parse_presigned([(name, value) for name, value in split_query(query)]),
        lambda: verify(Received(header, query, query, {}), parse_authorization(f"AWS4-HMAC-SHA256 {header}", stamp), stamp, b""),
        lambda: parse_presigned(
            [*WHOLE, ("X-Amz-Credential", f"{header}/20130524/{header}/s3/aws4_request"), ("X-Amz-SignedHeaders", "host")]
        ),
        lambda: verify(
            Received("GET", query, query, {"host": query}),
            parse_presigned([*WHOLE, ("X-Amz-Credential", "a/20130524/r/s3/aws4_request"), ("X-Amz-SignedHeaders", f"host;{header}")]),
            UNSIGNED_PAYLOAD,
            b"",
        ),
        lambda: payload_mode(header),
    ):
        try:
            call()
        except SignatureRefused:
            continue


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 100), st.booleans(), st.booleans())
def test_the_chunk_decoder_is_total(data: bytes, size: int, signed: bool, trailer: bool) -> None:
    decoder = ChunkDecoder(size, signed=signed, trailer=trailer)
    try:
        decoder.feed(data)
        decoder.finish()
    except Refused:
        return
    assert decoder.done
