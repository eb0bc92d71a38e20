"""Accounts: what they hold, what is said of them."""

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, RESELLER, Swift


@pytest.fixture
def other(running: Running) -> Swift:
    found = Swift(running, OTHER)
    for name in found("GET").lines:
        for key in found("GET", name).lines:
            found("DELETE", f"{name}/{key}")
        found("DELETE", name)
    return found


def test_an_account_lists_its_containers_with_what_they_hold(other: Swift) -> None:
    assert other("GET").status == 204
    for name in ("b", "a", "c/"[:1]):
        other("PUT", name)
    other("PUT", "a/o", b"12345")
    assert other("GET").lines == ["a", "b", "c"]
    rows = other("GET", query="format=json").json
    assert [(row["name"], row["count"], row["bytes"]) for row in rows] == [("a", 1, 5), ("b", 0, 0), ("c", 0, 0)]
    assert other("GET", query="limit=1&marker=a").lines == ["b"]
    assert other("GET", query="reverse=true&limit=2").lines == ["c", "b"]
    assert other("GET", query="end_marker=b").lines == ["a"]
    assert other("GET", query="prefix=b").lines == ["b"]
    assert b"<container><name>a</name><count>1</count><bytes>5</bytes>" in other("GET", query="format=xml").body


def test_heads_count_what_is_there(other: Swift) -> None:
    other("PUT", "a")
    other("PUT", "a/o", b"12345")
    headers = other("HEAD").headers
    assert (headers["x-account-container-count"], headers["x-account-object-count"], headers["x-account-bytes-used"]) == ("1", "1", "5")


def test_metadata_is_merged_and_taken_away(other: Swift) -> None:
    assert other("POST", X_Account_Meta_Colour="blau", X_Account_Meta_Taste="sour").status == 204
    other("POST", X_Remove_Account_Meta_Taste="x")
    headers = other("HEAD").headers
    assert headers["x-account-meta-colour"] == "blau"
    assert "x-account-meta-taste" not in headers
    other("POST", X_Account_Meta_Colour="")


def test_an_account_is_for_its_administrators(running: Running, other: Swift) -> None:
    for method in ("GET", "HEAD", "POST"):
        assert Swift(running, MEMBER)(method).status == 403
        assert other.at("test")(method).status == 403
        assert Swift(running, None)(method).status == 401
    assert Swift(running, RESELLER).at("test")("HEAD").status == 204


def test_the_quota_is_the_resellers_to_set(running: Running, other: Swift) -> None:
    assert other("POST", X_Account_Meta_Quota_Bytes="10").status == 403
    reseller = Swift(running, RESELLER).at("test2")
    assert reseller("POST", X_Account_Meta_Quota_Bytes="ten").status == 400
    assert reseller("POST", X_Account_Meta_Quota_Bytes="10").status == 204
    other("PUT", "a")
    assert other("PUT", "a/o", b"x" * 11).status == 413
    assert other("PUT", "a/o", b"x" * 9).status == 201
    reseller("POST", X_Account_Meta_Quota_Bytes="")
