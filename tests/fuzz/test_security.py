"""Classes of security bugs that other stores had (docs/reference/security.md), as far as one process shows them.

Rows that have tests beside the code they concern are named in that document; here are those that go through the whole front.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from objstore.fronts.s3 import routes
from tests.fuzz import corpus
from tests.fuzz.asked import STREAM, STREAM_TRAILER, STREAM_UNSIGNED, UNSIGNED, Asked, Pairs, Rendered, render
from tests.fuzz.memory import MemoryLine, Stage
from tests.fuzz.mutations import BOMBS, HEADERS
from tests.fuzz.wire import Reply, reply_in

Ask = Callable[[Rendered], Awaitable[Reply]]
CALLS = [
    (method.encode(), path, name.encode())
    for table, path in ((routes.BUCKET, b"/bkt"), (routes.OBJECT, b"/bkt/k"))
    for method, name in sorted(table)
]  # fmt: skip


def on_stage(play: Callable[[Stage, Ask], Awaitable[None]]) -> None:
    """Play against one store that has what recorded requests speak of."""

    async def go() -> None:
        stage = Stage()
        await stage.prepare()

        async def ask(out: Rendered) -> Reply:
            line = MemoryLine(stage)
            await line.send(out.head() + out.body, Random(0))
            received, ended = b"", False
            while (found := reply_in(received, out.line.partition(b" ")[0], ended=ended)) is None:
                chunk = await line.read(expect_more=True)
                assert chunk or not ended, f"no answer to {out.line!r}"
                received, ended = received + (chunk or b""), chunk is None
            await line.close()
            return found[0]

        await play(stage, ask)
        await stage.aclose()

    asyncio.run(go())


def call(method: bytes, path: bytes, name: bytes, **more: object) -> Asked:
    """One call of the route table."""
    body = corpus.DOCUMENTS.get(name.decode(), b"<x/>") if name and method in (b"PUT", b"POST") else b""
    return Asked(method, path, [(name, None)] if name else [], body=body, **more)  # type: ignore[arg-type]


def test_no_header_can_be_added_to_a_presigned_request() -> None:
    """S1: Ceph CVE-2026-54330, Swift CVE-2026-71191."""
    added: Pairs = [(name, b"x") for name in HEADERS if name.lower().startswith(b"x-amz-")]
    added += [(b"x-amz-copy-source", b"/probe/probe"), (b"x-amz-acl", b"public-read"), (b"Content-MD5", b"1B2M2Y8AsgTpgAmY7PhCfg==")]

    async def play(stage: Stage, ask: Ask) -> None:
        before = stage.stored()
        for pair in added:
            out = render(Asked(b"PUT", b"/bkt/k", auth="presigned", body=b"new"))
            out.headers.append(pair)
            assert (await ask(out)).status in (400, 403), pair
        assert stage.stored() == before
        assert (await ask(render(Asked(b"PUT", b"/bkt/k", auth="presigned", body=b"new")))).status == 200

    on_stage(play)


def test_no_route_and_no_payload_mode_lets_in_whoever_did_not_sign() -> None:
    """S2, S25: MinIO CVE-2025-31489 and CVE-2026-40344; every call of the route table, every way to sign, every mode."""
    scope = b"Credential=AKFUZZ/20261122/us-east-1/s3/aws4_request"
    fake = b"AWS4-HMAC-SHA256 %s, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=%s" % (scope, b"0" * 64)
    query = [(b"X-Amz-Credential", b"AKFUZZ%2F20261122%2Fus-east-1%2Fs3%2Faws4_request"), (b"X-Amz-Algorithm", b"AWS4-HMAC-SHA256")]

    async def play(stage: Stage, ask: Ask) -> None:
        before = stage.stored()
        for method, path, name in CALLS:
            for mode in (b"", UNSIGNED, STREAM, STREAM_TRAILER, STREAM_UNSIGNED, b"0" * 64):
                for way in ("none", "header", "query", "both"):
                    asked = call(method, path, name, auth="none")
                    if way in ("query", "both"):
                        asked.query += query
                    out = render(asked)
                    if mode:
                        out.headers.append((b"x-amz-content-sha256", mode))
                    if way in ("header", "both"):
                        out.headers.append((b"Authorization", fake))
                    status = (await ask(out)).status
                    assert status >= 400, (method, path, name, mode, way, status)
        assert stage.stored() == before

    on_stage(play)


@pytest.mark.parametrize("known", [b"/bkt/k", b"/bkt/big"])
def test_a_stranger_cannot_tell_what_is_there(known: bytes) -> None:
    """S21: MinIO CVE-2024-36107; the answers differ in nothing but the names that were asked for."""
    conditions: list[Pairs] = [
        [],
        [(b"If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT")],
        [(b"If-None-Match", b"*")],
        [(b"Range", b"bytes=0-0")],
    ]

    async def play(_: Stage, ask: Ask) -> None:
        for method in (b"GET", b"HEAD", b"PUT", b"DELETE"):
            for headers in conditions:
                there = await ask(render(Asked(method, known, headers=headers, auth="none")))
                absent = await ask(render(Asked(method, known[:-1] + b"_", headers=headers, auth="none")))
                assert (there.status, sorted(there.headers)) == (absent.status, sorted(absent.headers)) == (403, sorted(absent.headers))
                assert len(there.body) == len(absent.body)

    on_stage(play)


def test_internal_and_forwarding_headers_change_nothing() -> None:
    """S9, S22: Swift CVE-2026-71192 and CVE-2026-50221, Keystone's CVE-2026-22797, RustFS CVE-2026-21862."""
    forged: Pairs = [
        (b"X-Roles", b"admin"), (b"X-Project-Id", b"fuzz"), (b"X-User-Id", b"fuzz"), (b"X-Identity-Status", b"Confirmed"), (b"X-Auth-Token", b"x"), (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Forwarded-Host", b"bkt.s3"), (b"X-Forwarded-User", b"fuzz"), (b"X-Backend-Allow-Reserved-Names", b"true"), (b"X-Backend-Storage-Policy-Index", b"1"), (b"X-Container-Host", b"127.0.0.1:1"),
        (b"X-HTTP-Method-Override", b"DELETE"), (b"X-Original-URL", b"/probe/probe"), (b"X-Rewrite-URL", b"/probe/probe"), (b"X-Timestamp", b"0"), (b"X-Minio-Source-Etag", b"x"),
    ]  # fmt: skip

    async def play(stage: Stage, ask: Ask) -> None:
        before = stage.stored()
        for pair in forged:
            assert (await ask(render(Asked(path=b"/bkt/k", headers=[pair], auth="none")))).status == 403, pair
            answer = await ask(render(Asked(path=b"/bkt/k", headers=[pair])))
            assert (answer.status, answer.body) == (200, corpus.CONTENT), pair
        assert stage.stored() == before

    on_stage(play)


def test_documents_that_would_explode_are_refused_in_no_time() -> None:
    """S13: Swift CVE-2022-47950, a billion laughs, depth, encodings; at every call that reads a document."""

    async def play(stage: Stage, ask: Ask) -> None:
        readers = [(method, path, name) for method, path, name in CALLS if method in (b"PUT", b"POST") and name and name != b"uploads"]
        before = stage.stored()
        for method, path, name in readers:
            for bomb in BOMBS:
                if b"DOCTYPE" in bomb or b"<a>" in bomb or bomb.startswith((b"[", b"\0")):
                    out = render(Asked(method, path, [(name, None)], [(b"Content-MD5", corpus.md5_text(bomb))], bomb))
                    began = time.thread_time()
                    status = (await ask(out)).status
                    assert 400 <= status < 502, (name, status, bomb[:60])
                    assert status != 500, (name, bomb[:60])
                    assert time.thread_time() - began < 0.1, (name, bomb[:60])
        assert stage.stored() == before

    on_stage(play)


def test_no_header_costs_more_than_its_length() -> None:
    """S17: Starlette CVE-2025-62727 (Range), Swift CVE-2026-71190 (Accept): 40 KiB of anything, 50 ms of processor time."""
    values = (
        b"bytes=" + b"0-0," * 10_000,
        b"," * 40_000,
        b"a" * 40_000,
        b"a;q=0," * 6600,
        b'"' * 40_000,
        b"=" * 40_000,
        b" a" * 20_000,
        b"0" * 40_000,
        b"%41" * 13_000,
    )

    async def play(_: Stage, ask: Ask) -> None:
        for name in HEADERS:
            if name.lower() in (b"content-length", b"transfer-encoding", b"host"):
                continue
            for value in values:
                out = render(Asked(b"PUT", b"/bkt/costly", headers=[(name, value)], body=b"x"))
                for attempt in range(3):  # the collector may run in one of them
                    began = time.thread_time()
                    status = (await ask(out)).status
                    spent = time.thread_time() - began
                    if spent < 0.05:
                        break
                    assert attempt < 2, (name, value[:20], spent)
                assert status < 500 or status == 501, (name, value[:20], status)

    on_stage(play)


def test_nothing_echoed_becomes_a_header_of_its_own() -> None:
    """S18: Ceph CVE-2020-10753 and CVE-2021-3524, Swift CVE-2014-3497."""
    injected = (b"a%0d%0aSet-Cookie:%20x=y", b"a%0aSet-Cookie:%20x=y", b"a%00", b"%e5%98%8a%e5%98%8dSet-Cookie:x")
    names = (b"content-type", b"content-disposition", b"content-encoding", b"content-language", b"cache-control", b"expires")

    async def play(_: Stage, ask: Ask) -> None:
        for value in injected:
            for name in names:
                answer = await ask(render(Asked(path=b"/bkt/k", query=[(b"response-" + name, value)])))
                assert answer.status in (200, 400)
                assert b"set-cookie" not in answer.headers
                refused = await ask(render(Asked(path=b"/bkt/k", query=[(b"response-" + name, value)], auth="none")))
                assert refused.status in (400, 403)
            for parameter in (b"prefix", b"marker", b"delimiter", b"x-id", b"versionId"):
                assert b"set-cookie" not in (await ask(render(Asked(path=b"/bkt", query=[(parameter, value)])))).headers
            origin = await ask(render(Asked(path=b"/bkt/k", headers=[(b"Origin", value)])))
            assert b"set-cookie" not in origin.headers

    on_stage(play)


def test_empty_and_repeated_headers_are_no_crash() -> None:
    """S19: Ceph CVE-2019-10222, CVE-2020-12059, CVE-2022-3854: every header we know, empty and twice, at reads, writes and copies."""

    async def play(_: Stage, ask: Ask) -> None:
        for name in HEADERS:
            for pairs in ([(name, b"")], [(name, b"a"), (name, b"")], [(name, b","), (name, b"b")]):
                for asked in (
                    Asked(path=b"/bkt/k", headers=pairs), Asked(b"PUT", b"/bkt/other", headers=pairs, body=b"x"), Asked(path=b"/bkt", headers=pairs),
                    Asked(b"PUT", b"/bkt/other", headers=[(b"x-amz-copy-source", b"/bkt/k"), *pairs]), Asked(b"POST", b"/bkt/other", [(b"uploads", None)], pairs),
                ):  # fmt: skip
                    status = (await ask(render(asked))).status
                    assert status < 500 or status == 501, (pairs, asked.method, status)

    on_stage(play)


def test_names_that_look_like_paths_are_names() -> None:
    """S14: RustFS GHSA-pq29, MinIO CVE-2023-28433, Ceph CVE-2020-1699: each is an object of its own and nothing else."""
    keys = (
        b"../x",
        b"%2e%2e%2fx",
        b"a/../x",
        b"./x",
        b"x/",
        b"/x",
        b"//x",
        b"a/./x",
        b"..",
        b".",
        b"%00x",
        b"..%5cx",
        b"%2e%2e/%2e%2e/etc/passwd",
    )

    async def play(_: Stage, ask: Ask) -> None:
        kept = []
        for key in keys:
            status = (await ask(render(Asked(b"PUT", b"/bkt/" + key, body=key)))).status
            assert status in (200, 400), (key, status)
            if status == 200:
                kept.append(key)
        bodies = {key: (await ask(render(Asked(path=b"/bkt/" + key)))).body for key in kept}
        same = {b"../x": b"%2e%2e%2fx", b"%2e%2e%2fx": b"%2e%2e%2fx"}  # two spellings of one name: the later one holds
        assert bodies == {key: same.get(key, key) for key in kept}
        assert (await ask(render(Asked(path=b"/probe/probe")))).status == 200

    on_stage(play)
