"""Long work: answered 200 first, blanks meanwhile, the outcome in the body; short work answered plainly."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from objstore.errors import NoSuchKey, PreconditionFailed
from objstore.fronts.s3.context import Front, Headers, Response
from objstore.fronts.s3.early import answer_in_time
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.logic import Credentials
from objstore.runtime.tasks import TaskOwner
from tests.sim.loop import run
from tests.support.memory_cluster import LoopClock

Outcome = tuple[str, Headers]


async def answered(work: Callable[[], Awaitable[Outcome]]) -> tuple[Response, list[bytes], TaskOwner]:
    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    tasks = TaskOwner("s3")
    store: Any = None
    front = Front(store, Credentials(), S3Settings(early_answer_s=2.0, keep_alive_s=3.0), LoopClock(), tasks)
    request = S3Request({"method": "PUT"}, receive, "REQ")
    request.bucket, request.key = "b", "k"
    response = await answer_in_time(front, request, "Result", work)
    pieces = [bytes(piece) async for piece in response.rest] if response.rest is not None else []
    return response, pieces, tasks


def after(seconds: float, outcome: Outcome | Exception) -> Callable[[], Awaitable[Outcome]]:
    async def work() -> Outcome:
        await asyncio.sleep(seconds)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return work


def test_work_that_ends_soon_is_answered_plainly() -> None:
    response, pieces, tasks = run(answered(after(1, ("<A/>", [(b"x", b"y")]))))
    assert (response.status, pieces, len(tasks)) == (200, [], 0)
    assert (b"x", b"y") in response.headers
    assert bytes(response.body).endswith(b'<Result xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><A/></Result>')
    with pytest.raises(PreconditionFailed):
        run(answered(after(1, PreconditionFailed("no"))))


def test_long_work_keeps_the_connection_alive_and_ends_in_its_result() -> None:
    response, pieces, tasks = run(answered(after(12, ("<A/>", []))))
    assert (response.status, response.length) == (200, -1)
    assert pieces[:-1] == [b" "] * 3
    assert pieces[-1] == b'<Result xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><A/></Result>'
    assert (bytes(response.body) + b"".join(pieces)).count(b"<?xml") == 1
    assert len(tasks) == 0


def test_long_work_that_fails_says_so_in_the_body(caplog: pytest.LogCaptureFixture) -> None:
    _, pieces, _ = run(answered(after(6, NoSuchKey())))
    assert b"<Code>NoSuchKey</Code>" in pieces[-1]
    assert b"<RequestId>REQ</RequestId>" in pieces[-1]
    _, pieces, _ = run(answered(after(6, ValueError("private"))))
    assert b"<Code>InternalError</Code>" in pieces[-1]
    assert b"private" not in pieces[-1]
    assert "request REQ" in caplog.text


def test_a_client_that_leaves_does_not_stop_the_work() -> None:
    async def go() -> bool:
        finished = asyncio.Event()

        async def work() -> Outcome:
            await asyncio.sleep(10)
            finished.set()
            return "", []

        async def leave() -> None:
            await answered(work)

        leaver = asyncio.ensure_future(leave())
        await asyncio.sleep(5)
        leaver.cancel()
        await asyncio.sleep(10)
        return finished.is_set()

    assert run(go())
