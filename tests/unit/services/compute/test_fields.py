"""Fields of documents, one by one."""

import base64
from typing import Any

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.compute import fields

GOOD: list[tuple[Any, Any, Any]] = [
    (fields.uuid, "A" * 32, "a" * 32), (fields.text(3), "abc", "abc"), (fields.server_name, " a ", "a"), (fields.flag, "Yes", True),
    (fields.flag, 0, False), (fields.integer(1), "7", 7), (fields.one_of("a", "b"), "b", "b"), (fields.nullable(fields.uuid), None, None),
    (fields.address(4), "10.0.0.1", "10.0.0.1"), (fields.address(6), "", ""), (fields.any_address, "::1", "::1"),
    (fields.metadata, {"a": "b"}, {"a": "b"}), (fields.tags, ["a", "a"], ["a"]), (fields.user_data, base64.b64encode(b"x").decode(), "eA=="),
    (fields.host_name, "a-b.c", "a-b.c"), (fields.device, "/dev/vdb", "vdb"),
]  # fmt: skip
BAD: list[tuple[Any, Any]] = [
    (fields.uuid, "x"), (fields.text(3), "abcd"), (fields.text(), "\0"), (fields.server_name, " "), (fields.server_name, "\x01"),
    (fields.flag, "maybe"), (fields.integer(1), 0), (fields.integer(1), True), (fields.integer(1), "a"), (fields.integer(1), 2**31),
    (fields.one_of("a"), "b"), (fields.address(4), "::1"), (fields.address(4), 5), (fields.any_address, "x"), (fields.metadata, {"a": 1}),
    (fields.metadata, {"a/": "b"}), (fields.metadata, {"a": "b" * 256}), (fields.tags, "a"), (fields.tags, ["a,b"]), (fields.tags, ["a"] * 51),
    (fields.user_data, "!"), (fields.user_data, "A" * 65_536), (fields.host_name, "-a"), (fields.device, "floppy"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "value", "found"), GOOD)
def test_what_is_right_is_taken(check: Any, value: Any, found: Any) -> None:
    assert check("x", value) == found


@pytest.mark.parametrize(("check", "value"), BAD)
def test_what_is_wrong_is_refused(check: Any, value: Any) -> None:
    with pytest.raises(CallRefused):
        check("x", value)


def test_documents_have_what_is_known_and_no_more() -> None:
    assert fields.only({"a": 1}, ("a", "b")) == {"a": 1}
    assert fields.member({"a": 1}, "a") == 1
    for document in ([], {"c": 1}, None):
        with pytest.raises(CallRefused):
            fields.only(document, ("a",))
        with pytest.raises(CallRefused):
            fields.member(document, "a")
    checks = {"a": ((2, 1), fields.integer(0)), "b": ((2, 50), fields.flag)}
    assert fields.parsed({"a": 1}, checks, (2, 1), "thing") == {"a": 1}
    with pytest.raises(CallRefused):
        fields.parsed({"b": True}, checks, (2, 1), "thing")
    assert fields.parsed({"b": True}, checks, (2, 50), "thing") == {"b": True}


def test_host_names_follow_from_names() -> None:
    assert fields.made_host_name("My_Web server.1", "id") == "my-web-server-1"
    assert fields.made_host_name("!!", "id") == "server-id"
