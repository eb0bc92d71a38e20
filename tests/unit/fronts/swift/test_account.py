"""Accounts: what they hold, what is said of them."""

import json
import time
from collections.abc import Callable

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


def share(other: Swift, **levels: list[str]) -> None:
    text = json.dumps({level.replace("_", "-"): entries for level, entries in levels.items()})
    assert other("POST", X_Account_Access_Control=text).status == 204


def test_an_accounts_list_lets_users_of_others_read(running: Running, other: Swift, swift: Swift) -> None:
    other("PUT", "a", X_Container_Read="secret:list")
    other("PUT", "a/o", b"12345")
    other("POST", X_Account_Meta_Temp_URL_Key="key")
    guest = swift.at("test2")
    share(other, read_only=["test:tester"])
    assert other("HEAD").headers["x-account-access-control"] == '{"read-only":["test:tester"]}'
    assert eventually(lambda: guest("GET", "a/o").status == 200)
    assert (guest("HEAD", "a").status, guest("GET").lines) == (204, ["a"])
    hidden = {"x-account-access-control", "x-account-meta-temp-url-key", "x-container-read"}
    assert hidden.isdisjoint({*guest("HEAD").headers, *guest("HEAD", "a").headers})
    for method, name in (("PUT", "a/p"), ("DELETE", "a/o"), ("POST", "a/o"), ("POST", "a"), ("PUT", "b"), ("DELETE", "a"), ("POST", "")):
        assert guest(method, name).status == 403, (method, name)
    assert Swift(running, MEMBER).at("test2")("GET", "a/o").status == 403
    assert other("POST", X_Account_Access_Control="").status == 204
    assert eventually(lambda: guest("GET", "a/o").status == 403)
    other("POST", X_Account_Meta_Temp_URL_Key="")


def test_whom_it_lets_write_may_not_let_others_in(other: Swift, swift: Swift) -> None:
    other("PUT", "a", X_Container_Read="keep")
    share(other, read_write=["test"])
    guest = swift.at("test2")
    assert eventually(lambda: guest("PUT", "a/o", b"1").status == 201)
    assert guest("PUT", "made").status == 201
    assert guest("POST", "a", X_Container_Meta_Colour="red", X_Container_Read=".r:*", X_Container_Meta_Temp_URL_Key="mine").status == 204
    headers = other("HEAD", "a").headers
    assert (headers["x-container-read"], headers["x-container-meta-colour"]) == ("keep", "red")
    assert "x-container-meta-temp-url-key" not in headers
    assert guest("POST", X_Account_Access_Control='{"admin": ["test"]}').status == 403
    assert guest("POST", X_Account_Meta_Colour="red").status == 403
    assert (guest("DELETE", "a/o").status, guest("DELETE", "made").status) == (204, 204)
    other("POST", X_Account_Access_Control="{}")


def test_whom_it_makes_administrators_may_do_everything(running: Running, other: Swift) -> None:
    member = Swift(running, MEMBER)
    share(other, admin=["test:tester3"])
    guest = member.at("test2")
    assert eventually(lambda: guest("PUT", "a", X_Container_Read=".r:*").status == 201)
    assert guest("HEAD", "a").headers["x-container-read"] == ".r:*"
    assert guest("POST", X_Account_Meta_Quota_Bytes="1").status == 403  # that is the reseller's still
    assert member("GET").status == 403  # and in its own account it has no more than before
    assert guest("POST", X_Account_Access_Control="{}").status == 204
    assert eventually(lambda: guest("HEAD", "a").status == 403)


def test_copies_to_and_from_an_account_need_its_list(running: Running, other: Swift, swift: Swift, box: str) -> None:
    other("PUT", "a")
    swift("PUT", f"{box}/o", b"1")
    refused = swift("COPY", f"{box}/o", Destination="a/o", Destination_Account="AUTH_test2")
    assert refused.status == 403
    share(other, read_write=["test:tester"])
    assert eventually(lambda: swift("COPY", f"{box}/o", Destination="a/o", Destination_Account="AUTH_test2").status == 201)
    share(other, read_only=["test:tester"])
    assert eventually(lambda: swift("COPY", f"{box}/o", Destination="a/o", Destination_Account="AUTH_test2").status == 403)
    assert swift("PUT", f"{box}/p", b"", X_Copy_From="a/o", X_Copy_From_Account="AUTH_test2").status == 201
    share(other)


def test_a_list_that_is_none_is_refused(other: Swift) -> None:
    reply = other("POST", X_Account_Access_Control='{"owner": []}')
    assert (reply.status, b"X-Account-Access-Control invalid" in reply.body) == (400, True)
    assert other("GET").status in (200, 204)


def eventually(holds: Callable[[], bool]) -> bool:
    """Lists are looked at again after a second."""
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_a_quota_of_objects_is_told_and_kept(running: Running, other: Swift) -> None:
    reseller = Swift(running, RESELLER).at("test2")
    assert other("POST", X_Account_Quota_Count="1").status == 403
    assert other("POST", X_Remove_Account_Quota_Count="1").status == 403
    assert reseller("POST", X_Account_Quota_Count="x").status == 400
    assert reseller("POST", X_Account_Quota_Count="1", X_Account_Quota_Bytes="5").status == 204
    headers = other("HEAD").headers
    assert (headers["x-account-quota-count"], headers["x-account-quota-bytes"], headers["x-account-meta-quota-bytes"]) == ("1", "5", "5")
    other("PUT", "a")
    assert other("PUT", "a/o", b"12345").status == 201
    refused = other("PUT", "a/p", b"")
    assert (refused.status, b"Upload exceeds quota" in refused.body) == (413, True)
    assert reseller("POST", X_Remove_Account_Quota_Count="x", X_Remove_Account_Meta_Quota_Bytes="x").status == 204
    assert other("PUT", "a/p", b"").status == 201
