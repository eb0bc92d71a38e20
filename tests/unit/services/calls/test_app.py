"""The application around handlers: answers, refusals, failures."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from objstore.errors import InvalidArgument, QuorumLost, TooBusy
from objstore.runtime.rng import SystemRng
from objstore.services.calls.app import Service, ServiceApp, request_name
from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import CallRefused

CLOSED: list[str] = []


async def stream() -> AsyncIterator[bytes | memoryview]:
    try:
        yield b"ab"
        yield memoryview(b"cd")
    finally:
        CLOSED.append("closed")


async def handler(call: Call) -> Answer:
    kind = call.parameters.get("kind", "")
    failures: dict[str, Exception] = {
        "refused": CallRefused(409, "no", [(b"x-why", b"so")]), "own": CallRefused(409, "no", document={"own": 1}), "busy": TooBusy("later"), "quorum": QuorumLost("gone"), "bug": RuntimeError("secret"),
        "argument": InvalidArgument("odd"),
    }  # fmt: skip
    if kind in failures:
        raise failures[kind]
    if kind == "stream":
        return Answer(stream=stream(), length=4, content_type=b"x/y")
    return Answer(body={"kind": kind})


class Nobody:
    async def access(self, token: str, method: str, path: str) -> Any:
        return None


def ask(path: str, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> tuple[int, dict[str, str], bytes]:
    routes = {("GET", "/open/{kind}"): handler, ("GET", "/closed"): handler}
    service = Service(
        "svc", "http://h/svc", routes, {("GET", "/open/{kind}")}, lambda status, message: {"status": status, "message": message}
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers or []}
    asyncio.run(ServiceApp(service, Nobody(), SystemRng())(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def test_a_refusal_may_have_a_document_of_its_own() -> None:
    assert ask("/open/own")[::2] == (409, b'{"own":1}')


def test_an_answer_is_json_with_its_length_and_a_request_id() -> None:
    for path in ("/svc/open/a", "/open/a"):
        status, headers, body = ask(path)
        assert (status, body) == (200, b'{"kind":"a"}')
        assert (headers["content-type"], headers["content-length"]) == ("application/json", "12")
        assert headers["x-openstack-request-id"].startswith("req-")


def test_a_stream_is_sent_and_closed_and_head_has_no_body() -> None:
    CLOSED.clear()
    assert ask("/open/stream")[2] == b"abcd"
    status, headers, body = ask("/open/stream", "HEAD")
    assert (status, headers["content-length"], body) == (200, "4", b"")
    assert len(CLOSED) == 1


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("refused", 409, b"no"),
        ("busy", 503, b"later"),
        ("quorum", 503, b"try again"),
        ("bug", 500, b"unexpected"),
        ("argument", 400, b"odd"),
    ],
)
def test_failures_have_their_status_and_never_their_inside(kind: str, status: int, words: bytes) -> None:
    found, headers, body = ask(f"/open/{kind}")
    assert found == status
    assert words in body
    assert b"secret" not in body
    assert headers.get("x-why") == ("so" if kind == "refused" else None)


def test_what_is_not_there_not_allowed_or_not_known() -> None:
    assert [ask(path)[0] for path in ("/none", "/svc/open/", "/svc/open/a/", "/open/a/")] == [404] * 4
    status, headers, _ = ask("/open/a", "PUT")
    assert (status, headers["allow"]) == (405, "GET")
    assert ask("/closed")[0] == 401
    assert ask("/closed", headers=[(b"X-Auth-Token", b"t")])[0] == 401
    assert ask("/closed", headers=[(b"x-auth-token", b"t"), (b"X-Auth-Token", b"u")])[0] == 400


def test_request_names_differ() -> None:
    names = {request_name(SystemRng()) for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) == 40 for name in names)
