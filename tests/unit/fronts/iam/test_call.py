"""Parameters, pages and what they are checked against."""

from typing import Any

import pytest

from objstore.fronts.iam.call import MAX_BODY_BYTES, Call, encoded, page, parse_form, times
from objstore.identity.changes import Changes
from objstore.identity.directory import Directory
from objstore.identity.entities import IdentityRefused
from objstore.identity.tokens import TokenSealer
from objstore.objects.api import Principal
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world
from tests.support.policies import identity_policy


def call_of(parameters: dict[str, str], who: Principal | None = None) -> Call:
    directory = Directory([], MemoryCluster(), memory_world(LoopClock()), TokenSealer(bytes(32), SystemRng()))
    return Call("ListUsers", parameters, who or Principal(account="acc"), directory, Changes(directory), 0)


def test_forms_are_decoded_once() -> None:
    assert parse_form(b"a=1+2&b=%2B%3D&c&d=") == {"a": "1 2", "b": "+=", "c": "", "d": ""}
    assert parse_form(b"") == {}
    for bad in (b"a=1&a=2", b"a=%ff", b"x" * (MAX_BODY_BYTES + 1)):
        with pytest.raises(IdentityRefused):
            parse_form(bad)


def test_lists_come_in_order_of_their_numbers() -> None:
    call = call_of({"L.member.10": "c", "L.member.2": "b", "L.member.1": "a", "L.member.x": "no", "L.member.0": "no", "LL.member.1": "no"})
    assert call.members("L") == ["a", "b", "c"]
    tags = call_of({"Tags.member.1.Key": "k", "Tags.member.1.Value": "v", "Tags.member.2.Key": "e"})
    assert tags.tags() == {"k": "v", "e": ""}


def test_numbers_are_bounded() -> None:
    assert call_of({"N": "5"}).number("N", 1, 1, 10) == 5
    assert call_of({}).number("N", 7, 1, 10) == 7
    for bad in ("0", "11", "-1", "x", "²", "1" * 10):
        with pytest.raises(IdentityRefused):
            call_of({"N": bad}).number("N", 1, 1, 10)


def test_pages_resume_behind_their_marker() -> None:
    items = [(name, f"<N>{name}</N>") for name in ("c", "a", "b")]
    first = page(call_of({"MaxItems": "2"}), "L", items)
    assert first == "<L><member><N>a</N></member><member><N>b</N></member></L><IsTruncated>true</IsTruncated><Marker>b</Marker>"
    assert page(call_of({"Marker": "b"}), "L", items) == "<L><member><N>c</N></member></L><IsTruncated>false</IsTruncated>"


def test_capitals_do_not_change_the_order() -> None:
    items = [(name, name) for name in ("Ad", "ac", "Ab", "aa")]
    assert page(call_of({}), "L", items).startswith("<L><member>aa</member><member>Ab</member><member>ac</member><member>Ad</member></L>")
    assert page(call_of({"Marker": "Ab", "MaxItems": "1"}), "L", items).startswith(
        "<L><member>ac</member></L><IsTruncated>true</IsTruncated><Marker>ac<"
    )


def test_documents_and_times_are_shown_as_iam_does() -> None:
    assert encoded("D", '{"a": 1}') == "<D>%7B%22a%22%3A%201%7D</D>"
    assert times("T", 1_700_000_000_123_456) == "<T>2023-11-14T22:13:20Z</T>"


def test_who_may_is_decided_by_all_their_policies() -> None:
    directory = call_of({}).directory

    def may(action: str, **more: Any) -> bool:
        return call_of({}, Principal(account="acc", **more)).allows(action, "arn:aws:iam::acc:user/x")

    everything, users, nothing = (
        directory.parsed(text) for text in (identity_policy("*"), identity_policy("iam:*User"), identity_policy("*", effect="Deny"))
    )
    assert may("iam:GetUser")
    assert may("iam:GetUser", policies=(users,))
    assert not may("iam:GetRole", policies=(users,))
    assert not may("iam:GetUser", policies=())
    assert not may("iam:GetUser", policies=(everything, nothing))
    assert not may("iam:GetRole", session_policies=(users,))
    assert may("iam:GetUser", boundary=users)
    assert not may("iam:GetRole", policies=(everything,), boundary=users)
    assert not may("iam:GetUser", anonymous=True)


def test_conditions_see_the_time_and_the_caller() -> None:
    condition = {"StringEquals": {"aws:username": "joe"}, "DateLessThan": {"aws:CurrentTime": "1980-01-01T00:00:00Z"}}
    policy = call_of({}).directory.parsed(identity_policy("iam:*", Condition=condition))
    for name, allowed in (("joe", True), ("jim", False)):
        who = Principal(account="acc", policies=(policy,), facts={"aws:username": name})
        assert call_of({}, who).allows("iam:GetUser", "*") is allowed
