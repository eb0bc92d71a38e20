"""Whatever is asked, with a good signature, is answered: never a 500, never half, always well-formed, never a line of its own."""

import asyncio
import logging
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore.core.sigv4 import (
    STREAMING_SIGNED,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
    Received,
    canonical_requests,
    parse_authorization,
    sign,
    signing_key,
    string_to_sign,
)
from objstore.fronts.s3 import routes
from objstore.fronts.s3.app import S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.fronts.s3.times import basic_timestamp
from objstore.identity.logic import Credentials
from objstore.identity.model import User
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world

USER = User("a", "n", "AK", "secret")
SUBRESOURCES = sorted({name for _, name in (*routes.BUCKET, *routes.OBJECT) if name} | {"torrent", "restore", "inventory"})
PARAMETERS = [
    "prefix", "delimiter", "marker", "max-keys", "continuation-token", "start-after", "encoding-type", "key-marker", "version-id-marker",
    "versionId", "partNumber", "upload-id-marker", "max-uploads", "max-parts", "part-number-marker", "response-content-type",
    "response-expires", "max-buckets", "fetch-owner", "x-id", "X-Amz-Signature", "Signature",
]  # fmt: skip
HEADERS = [
    "range", "if-match", "if-none-match", "if-modified-since", "if-range", "content-md5", "content-type", "content-encoding", "expires",
    "x-amz-copy-source", "x-amz-copy-source-range", "x-amz-copy-source-if-match", "x-amz-metadata-directive", "x-amz-tagging",
    "x-amz-tagging-directive", "x-amz-acl", "x-amz-meta-a", "x-amz-checksum-crc32", "x-amz-checksum-mode", "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-object-attributes", "x-amz-storage-class",
    "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner", "x-amz-mp-object-size", "x-amz-decoded-content-length",
    "x-amz-bucket-object-lock-enabled", "x-amz-object-ownership",
]  # fmt: skip
GOOD = [
    "bytes=0-3", "bytes=-2", "*", '"d41d8cd98f00b204e9800998ecf8427e"', "/bkt/k", "bkt/k?versionId=null", "REPLACE", "COPY", "a=1&b=2",
    "private", "CRC32", "COMPOSITE", "FULL_OBJECT", "ETag,ObjectParts", "STANDARD", "ENABLED", "AAAAAA==", "x-amz-checksum-crc32", "a", "0",
    "1", "5", "url", "null", "1.5", "-1", "9" * 30, "Sun, 06 Nov 1994 08:49:37 GMT", "true", "aws-chunked", "%00", "../", "/", "%",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(GOOD), st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=20).map(str.strip)
)
KEYS = st.one_of(st.sampled_from(["k", "a/b", "k", ""]), st.text(st.characters(codec="utf-8"), max_size=8))
DOCUMENTS = [
    b"", b"data", b"<x/>", b"<Delete><Object><Key>k</Key></Object></Delete>", b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    b"<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", b"5\r\nhello\r\n0\r\n\r\n",
    b"<AccessControlPolicy><AccessControlList><Grant/></AccessControlList></AccessControlPolicy>",
]  # fmt: skip
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "GET", "PUT", "PUT", "HEAD", "DELETE", "POST", "OPTIONS"]),
        "bucket": st.sampled_from(["bkt", "bkt", "bkt", "", "other", "B_", "-"]),
        "key": KEYS,
        "raw": st.sampled_from(["", "", "", "", "", "", "%2F", "//", "+", "%zz", ":", "\xff", "\xc3\xbc"]),
        "subs": st.lists(st.sampled_from(SUBRESOURCES), max_size=2),
        "parameters": st.dictionaries(st.sampled_from(PARAMETERS), VALUES, max_size=3),
        "headers": st.dictionaries(st.sampled_from(HEADERS), VALUES, max_size=3),
        "body": st.one_of(st.sampled_from(DOCUMENTS), st.binary(max_size=60)),
        "mode": st.sampled_from(["", "", "", UNSIGNED_PAYLOAD, STREAMING_SIGNED, STREAMING_UNSIGNED_TRAILER]),
        "length": st.sampled_from(["right", "right", "right", "none", "wrong", "chunked"]),
    }
)


def signed(clock: LoopClock, asked: dict[str, Any], upload: str) -> tuple[dict[str, Any], bytes]:
    """The ASGI scope of a request with a good signature, and its body."""
    body: bytes = asked["body"]
    path = f"/{asked['bucket']}" + (f"/{quote(asked['key'])}{asked['raw']}" if asked["key"] else "")
    pairs = [f"{name}={upload if name == 'uploadId' else ''}" for name in asked["subs"]]
    pairs += [f"{name}={quote(value.encode('latin-1'))}" for name, value in asked["parameters"].items()]
    query = "&".join(pairs)
    stamp = basic_timestamp(clock.wall_us())
    mode = asked["mode"] or sha256(body).hexdigest()
    headers = {**asked["headers"], "host": "h", "x-amz-date": stamp, "x-amz-content-sha256": mode}
    if asked["length"] == "right" or (asked["length"] == "wrong" and not body):
        headers["content-length"] = str(len(body))
    elif asked["length"] == "wrong":
        headers["content-length"] = str(len(body) - 1)
    elif asked["length"] == "chunked":
        headers["transfer-encoding"] = "chunked"
    names = ";".join(sorted(headers))
    blank = f"AWS4-HMAC-SHA256 Credential=AK/{stamp[:8]}/eu/s3/aws4_request, SignedHeaders={names}, Signature="
    claim = parse_authorization(blank + "0" * 64, stamp)
    canonical = canonical_requests(Received(asked["method"], path, query, headers), claim, mode)[0]
    headers["authorization"] = blank + sign(signing_key(USER.secret_key, stamp[:8], "eu"), string_to_sign(claim, canonical))
    scope = {
        "type": "http", "method": asked["method"], "raw_path": path.encode("latin-1"), "query_string": query.encode("latin-1"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()], "scheme": "http", "client": ("1.2.3.4", 5),
    }  # fmt: skip
    return scope, body


async def ask(app: S3App, scope: dict[str, Any], body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    waiting = [body[: len(body) // 2], body[len(body) // 2 :]]
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)
    assert messages[0]["type"] == "http.response.start"
    assert messages[-1].get("more_body", False) is False
    return messages[0]["status"], messages[0]["headers"], b"".join(bytes(message["body"]) for message in messages[1:])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REQUESTS, min_size=1, max_size=6))
def test_every_signed_request_is_answered(asked: list[dict[str, Any]]) -> None:
    async def go() -> None:
        clock = LoopClock()
        store = ObjectStore(MemoryCluster(clock=clock), memory_world(clock), ObjectSettings(bucket_cache_s=0.0, min_part_bytes=1))
        app = S3App(store, Credentials([USER]), clock, S3Settings(), rng=SystemRng())
        plain = {"raw": "", "subs": [], "parameters": {}, "headers": {}, "mode": "", "length": "right"}
        await ask(app, *signed(clock, {**plain, "method": "PUT", "bucket": "bkt", "key": "", "body": b""}, ""))
        await ask(app, *signed(clock, {**plain, "method": "PUT", "bucket": "bkt", "key": "k", "body": b"content"}, ""))
        begun = await ask(
            app, *signed(clock, {**plain, "method": "POST", "bucket": "bkt", "key": "k", "subs": ["uploads"], "body": b""}, "")
        )
        upload = ElementTree.fromstring(begun[2]).findtext("{*}UploadId") or ""
        for each in asked:
            scope, body = signed(clock, each, upload)
            status, headers, answer = await ask(app, scope, body)
            assert status != 500, (each, answer)
            assert 200 <= status < 600
            found = dict(headers)
            assert b"x-amz-request-id" in found
            assert not any(byte in value for _, value in headers for byte in (b"\r", b"\n", b"\0"))
            if each["method"] == "HEAD" or status in (204, 304):
                assert answer == b""
            elif b"content-length" in found:
                assert int(found[b"content-length"]) == len(answer)
            if status >= 400 and answer:
                root = ElementTree.fromstring(answer.replace(b"&#x", b"x"))
                assert root.findtext("RequestId") == found[b"x-amz-request-id"].decode()
        await app.aclose()
        await store.aclose()

    logging.disable(logging.ERROR)
    try:
        asyncio.run(go())
    finally:
        logging.disable(logging.NOTSET)
