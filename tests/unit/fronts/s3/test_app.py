"""The application: identities of requests, failures, counters, health; secrets stay out of logs and answers."""

import asyncio
import logging
import socket
import time
from typing import Any

import pytest

from objstore.core.rows import BucketId
from objstore.errors import DamagedBody, OutcomeUnknown, QuorumLost
from objstore.fronts.s3.app import HEALTH_PATH, S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.logic import Credentials
from objstore.objects.api import BucketInfo, ObjectInfo, Reading
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from tests.support.s3_raw import call, presign, send, sign
from tests.support.s3_server import ALICE, Running, serving


class Failing:
    """A store that fails as the bucket's name says."""

    def __init__(self) -> None:
        self.closed = 0

    async def head(self, who: Any, bucket: str, key: str, **_: Any) -> ObjectInfo:
        raise {"quorum": QuorumLost, "outcome": OutcomeUnknown, "bug": ValueError}[bucket]("tcp:10.1.2.3:6200 said no")

    async def get(self, who: Any, bucket: str, key: str, **_: Any) -> Reading:
        if bucket in ("quorum", "outcome", "bug"):
            await self.head(who, bucket, key)
        return Reading(ObjectInfo(key, 10, "e", 0), 0, 10, self.chunks(bucket))

    def known_bucket(self, who: Any, name: str) -> None:
        return None

    async def find_bucket(self, who: Any, name: str) -> BucketInfo:
        return BucketInfo(BucketId(b"12345678"), name, "a", 0)

    async def chunks(self, bucket: str) -> Any:
        try:
            if bucket == "begins-not":
                raise DamagedBody("file x is damaged")
            yield b"12345"
            raise DamagedBody("file x is damaged")
        finally:
            self.closed += 1


@pytest.fixture(scope="module")
def failing() -> Any:
    store: Any = Failing()

    def build() -> S3App:
        return S3App(store, Credentials([ALICE]), SystemClock(), S3Settings(), rng=SystemRng(), health=lambda: store.closed == 0)

    with serving(build) as running:
        running.store = store
        yield running


def test_failures_of_the_cluster_are_503_and_say_when_to_come_back(failing: Running, caplog: pytest.LogCaptureFixture) -> None:
    for bucket in ("quorum", "outcome"):
        answer = call(failing, "GET", f"/{bucket}/k")
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "ServiceUnavailable", "1")
        assert b"10.1.2.3" not in answer.body
        head = call(failing, "HEAD", f"/{bucket}/k")
        assert (head.status, head.body) == (503, b"")
        assert answer.headers["x-amz-request-id"] in caplog.text


def test_bugs_are_500_and_logged_with_the_request(failing: Running, caplog: pytest.LogCaptureFixture) -> None:
    answer = call(failing, "GET", "/bug/k")
    assert (answer.status, answer.code) == (500, "InternalError")
    assert b"10.1.2.3" not in answer.body
    assert f"request {answer.headers['x-amz-request-id']}" in caplog.text
    assert "ValueError" in caplog.text


def test_a_body_that_cannot_be_read_is_an_error_before_and_a_broken_answer_after_its_start(
    failing: Running, caplog: pytest.LogCaptureFixture
) -> None:
    assert call(failing, "GET", HEALTH_PATH).status == 200
    answer = call(failing, "GET", "/begins-not/k")
    assert (answer.status, answer.code) == (500, "InternalError")
    with pytest.raises(Exception, match=r"IncompleteRead|reset|closed"):
        call(failing, "GET", "/breaks-off/k")
    assert failing.store.closed == 2
    assert failing.app.counters.snapshot().requests[("GetObject", "BrokenOff")] == 1
    assert "GetObject broke off" in caplog.text
    assert "Traceback" not in caplog.text
    assert send(failing, "GET", HEALTH_PATH).status == 503


def test_a_refused_head_tells_the_length_of_what_a_get_is_told(server: Running, bucket: str) -> None:
    for path in (f"/{bucket}/none", "/no-such-bucket", f"/{bucket}/k?versionId=x"):
        head, got = call(server, "HEAD", path), call(server, "GET", path)
        assert (head.status, head.body, head.headers["content-type"]) == (got.status, b"", "application/xml")
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))


def test_health_is_asked_by_get_and_head_alone(server: Running) -> None:
    assert send(server, "HEAD", HEALTH_PATH).status == 200
    assert call(server, "PUT", HEALTH_PATH, b"a body that nobody reads").code == "NoSuchBucket"
    assert send(server, "POST", HEALTH_PATH).status == 405


def test_a_reader_that_leaves_lets_go_of_the_object(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(20_000_000))
    before = server.app.counters.snapshot().requests.get(("GetObject", "BrokenOff"), 0)
    lines = "".join(f"{name}: {value}\r\n" for name, value in sign(server, "GET", f"/{bucket}/k", b"", {}, ALICE).items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(f"GET /{bucket}/k HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{lines}\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 5
    while server.app.counters.snapshot().requests.get(("GetObject", "BrokenOff"), 0) == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_answer_has_an_id_of_its_own(server: Running, bucket: str) -> None:
    seen = [call(server, method, f"/{bucket}/k").headers["x-amz-request-id"] for method in ("PUT", "GET", "HEAD", "DELETE", "GET", "POST")]
    assert len(set(seen)) == 6
    assert all(len(text) == 16 for text in seen)
    assert send(server, "GET", HEALTH_PATH).headers["x-amz-request-id"] not in seen


def test_requests_are_counted(server: Running, bucket: str) -> None:
    before = server.app.counters.snapshot()
    call(server, "PUT", f"/{bucket}/counted", b"12345")
    call(server, "GET", f"/{bucket}/counted")
    call(server, "GET", f"/{bucket}/missing")
    send(server, "GET", f"/{bucket}/counted")
    after = server.app.counters.snapshot()

    def gained(api: str, code: str) -> int:
        return after.requests.get((api, code), 0) - before.requests.get((api, code), 0)

    assert (
        gained("PutObject", "200"),
        gained("GetObject", "200"),
        gained("GetObject", "NoSuchKey"),
        gained("GetObject", "AccessDenied"),
    ) == (1, 1, 1, 1)
    assert after.bytes_in - before.bytes_in >= 5
    assert after.bytes_out - before.bytes_out >= 5


def test_nothing_secret_is_logged_or_answered(server: Running, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    signed = sign(server, "GET", f"/{bucket}", b"", {}, ALICE)
    url = presign(server, "GET", f"/{bucket}")
    bodies = [send(server, "GET", f"/{bucket}", headers=signed).body, send(server, "GET", url).body]
    bodies += [send(server, "GET", f"/{bucket}/other", headers=signed).body, call(server, "GET", f"/{bucket}?zzz").body]
    text = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("objstore", "uvicorn")))
    for secret in (ALICE.secret_key, url.rpartition("=")[2], signed["Authorization"].rpartition("=")[2]):
        assert secret not in text
    for body in bodies:
        assert ALICE.secret_key.encode() not in body


def test_only_http_is_served() -> None:
    async def go() -> None:
        store: Any = None
        app = S3App(store, Credentials(), SystemClock(), S3Settings(), rng=SystemRng())

        async def never(*_: Any) -> Any:
            raise AssertionError

        with pytest.raises(ValueError, match="websocket"):
            await app({"type": "websocket"}, never, never)

    asyncio.run(go())
