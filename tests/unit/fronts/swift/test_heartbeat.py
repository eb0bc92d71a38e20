"""Long work is answered with blanks first."""

import asyncio

import pytest

from objstore.errors import IncompleteBody
from objstore.fronts.swift.heartbeat import SEPARATOR, kept_alive


async def work(seconds: float, log: list[str]) -> bytes:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    return b"done"


def test_short_work_is_answered_in_one_piece() -> None:
    answer = asyncio.run(kept_alive(work(0, []), [], every_s=5, begin=b"<xml>"))
    assert (answer.status, answer.body, answer.rest) == (200, b"<xml>done", None)


def test_long_work_sends_blanks_until_it_is_done() -> None:
    async def run() -> list[bytes]:
        answer = await kept_alive(work(0.05, []), [], every_s=0.01)
        assert answer.rest is not None
        return [bytes(answer.body), *[bytes(piece) async for piece in answer.rest]]

    pieces = asyncio.run(run())
    assert len(pieces) >= 3
    assert set(pieces[:-1]) == {b" "}
    assert pieces[-1] == SEPARATOR + b"done"


def test_work_ends_with_its_client_also_before_the_first_blank_was_asked_for() -> None:
    async def run(log: list[str]) -> None:
        answer = await kept_alive(work(5, log), [], every_s=0.01)
        await answer.rest.aclose()  # type: ignore[union-attr]
        waiting = asyncio.ensure_future(kept_alive(work(5, log), [], every_s=5))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    log: list[str] = []
    asyncio.run(run(log))
    assert log == ["cancelled", "cancelled"]


def test_what_the_work_raises_is_raised() -> None:
    async def gone() -> bytes:
        raise IncompleteBody("away")

    with pytest.raises(IncompleteBody):
        asyncio.run(kept_alive(gone(), [], every_s=1))
