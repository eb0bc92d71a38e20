"""Calls: bodies, documents, rights."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from objstore.errors import IncompleteBody
from objstore.identity.bearer import Bearer
from objstore.identity.rules import Access
from objstore.identity.tenancy import Domain, Person, Project, Role
from objstore.services.calls.call import Call, parse_json, parse_query
from objstore.services.calls.problems import CallRefused


def call(*pieces: bytes, headers: dict[str, str] | None = None, query: str = "", more: bool = False) -> Call:
    waiting = list(pieces)

    async def receive() -> Any:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or more}

    return Call("GET", "/", {}, parse_query(query.encode()), headers or {}, receive, None, "req-1", "http://h")


def test_a_document_comes_in_pieces() -> None:
    assert asyncio.run(call(b'{"a"', b":1}").document()) == {"a": 1}


@pytest.mark.parametrize("data", [b"", b"[", b"nul", b"\xff", b"[" * 100, b"1" * 30, b'{"a":' + b"9" * 25 + b"}"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(CallRefused) as caught:
        parse_json(data)
    assert caught.value.status == 400


def test_brackets_in_text_are_no_depth() -> None:
    assert parse_json(b'"' + b"[" * 100 + b'\\""') == "[" * 100 + '"'


def test_a_body_beyond_the_limit_is_refused_before_it_is_all_read() -> None:
    for one in (call(b"x" * 11), call(b"x" * 6, b"x" * 6), call(headers={"content-length": "11"})):
        with pytest.raises(CallRefused) as caught:
            asyncio.run(one.small_body(limit=10))
        assert caught.value.status == 413


def test_a_sender_that_goes_away_is_noticed() -> None:
    with pytest.raises(IncompleteBody):
        asyncio.run(call(b"a", more=True).small_body())


def test_queries_keep_order_and_refuse_what_cannot_be_read() -> None:
    one = call(query="a=1&a=2&b=%C3%A9")
    assert (one.first("a"), one.first("b"), one.first("c")) == ("2", "é", None)
    for raw in (b"a=%ff", b"\xff", b"&".join([b"a=1"] * 300), b"a=%00"):
        with pytest.raises(CallRefused):
            parse_query(raw)


def test_nobody_has_no_rights() -> None:
    one = call()
    assert not one.is_admin
    with pytest.raises(CallRefused) as caught:
        one.check_read()
    assert caught.value.status == 401
    for length, found in (("5", 5), ("x", None), ("9" * 30, None), ("٣", None)):
        assert call(headers={"content-length": length}).content_length == found


def test_who_has_no_project_makes_nothing_that_would_belong_to_one() -> None:
    one = call()
    one.access = Access(Bearer(1, "u", (), "d:d", 0, 1, ()), Person(1, "u"), Domain(1, "d"), (Role(1, "r", "member"),))
    one.check_write()
    with pytest.raises(CallRefused) as caught:
        one.need_project()
    assert caught.value.status == 400
    one.access = replace(one.access, project=Project(1, "p"))
    assert one.need_project() == "p"
