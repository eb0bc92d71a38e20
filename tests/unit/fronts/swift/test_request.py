"""Requests, parsed: any bytes give a request or a refusal."""

import random

import pytest

from objstore.errors import ObjstoreError
from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.request import SwiftRequest, header_bytes, header_text, is_true, parse_query


def request(path: bytes, query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> SwiftRequest:
    made = SwiftRequest(
        {"method": "GET", "path": "/", "raw_path": path, "query_string": query, "headers": headers or []}, None, "tx1", None
    )  # type: ignore[arg-type]
    made.parse()
    return made


def test_a_path_names_account_container_and_object() -> None:
    found = request(b"/v1/AUTH_a/c%20d/x//y%2Fz/")
    assert (found.account, found.container, found.key) == ("AUTH_a", "c d", "x//y/z/")
    found = request(b"/v1/AUTH_a/")
    assert (found.account, found.container, found.key) == ("AUTH_a", "", "")


def test_a_header_that_there_must_be_once_is_refused_twice() -> None:
    with pytest.raises(SwiftRefused):
        request(b"/v1/a", headers=[(b"x-auth-token", b"1"), (b"x-auth-token", b"2")])
    assert request(b"/v1/a", headers=[(b"x-a", b"1"), (b"x-a", b"2")]).headers == {"x-a": "1,2"}


def test_of_a_repeated_parameter_the_last_counts_and_too_many_are_refused() -> None:
    assert parse_query("a=1&b=x+y&a=2&c") == {"a": "2", "b": "x y", "c": ""}
    with pytest.raises(SwiftRefused):
        parse_query("&".join("a=1" for _ in range(300)))


@pytest.mark.parametrize("raw", [b"plain", "süß".encode(), b"\xff\xfe", b"a\x80b", b"", "\uef80\u010a\u010dx".encode()])
def test_header_values_come_back_byte_for_byte(raw: bytes) -> None:
    assert header_bytes(header_text(raw.decode("latin-1"))) == raw


def test_yes_has_many_names() -> None:
    assert all(is_true(word) for word in ("true", "Yes", "1", "on", "T", "y "))
    assert not any(is_true(word) for word in ("", "0", "false", "none"))


def test_any_bytes_give_a_request_or_a_refusal() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        noise = bytes(rng.choice(b"/%aAfF0\xff?&=+:. v1") for _ in range(rng.randrange(60)))
        try:
            request(b"/v1/" + noise, bytes(rng.choice(b"%aF0&=+\xff") for _ in range(rng.randrange(30))))
        except ObjstoreError:
            continue
