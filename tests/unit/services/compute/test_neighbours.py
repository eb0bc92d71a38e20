"""Other services asked in the process."""

from typing import Any

import pytest

from objstore.services.calls.call import Call
from objstore.services.calls.problems import CallRefused
from objstore.services.compute.neighbours import Neighbour
from tests.support.memory_cluster import run

CALL = Call("GET", "/x", {}, (), {"x-auth-token": "t", "authorization": "a"}, None, None, "", "")  # type: ignore[arg-type] # nothing is received


def answering(status: int, body: bytes, seen: list[Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, (await receive())["body"]))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body[:3], "more_body": True})
        await send({"type": "http.response.body", "body": body[3:]})

    return app


def test_the_callers_token_goes_along_and_nothing_else_of_his() -> None:
    seen: list[Any] = []

    async def test() -> None:
        neighbour = Neighbour(answering(200, b'{"a": 1}', seen), "image")
        assert await neighbour.ask(CALL, "PUT", ("v2", "a/../b c"), {"x": "y"}, query=[("q", "a&b")]) == {"a": 1}

    run(test())
    scope, body = seen[0]
    assert scope["raw_path"] == b"/image/v2/a%2F..%2Fb%20c"
    assert scope["query_string"] == b"q=a%26b"
    assert dict(scope["headers"]) == {b"x-auth-token": b"t", b"content-type": b"application/json", b"content-length": b"9"}
    assert body == b'{"x":"y"}'


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (404, b'{"message": "no"}', "no"), (409, b'{"NeutronError": {"message": "busy"}}', "busy"), (403, b"", "Forbidden"), (500, b"<", "Internal"),
        (400, b"[]", "Bad"),
    ],
)  # fmt: skip
def test_refusals_are_passed_on(status: int, body: bytes, why: str) -> None:
    async def test() -> None:
        with pytest.raises(CallRefused, match=why) as caught:
            await Neighbour(answering(status, body, []), "image").ask(CALL, "GET", ("x",))
        assert caught.value.status == status

    run(test())


def test_no_answer_is_none() -> None:
    async def test() -> None:
        assert await Neighbour(answering(204, b"", []), "image").ask(CALL, "DELETE", ("x",)) is None

    run(test())
