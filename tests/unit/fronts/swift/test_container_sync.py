"""What is said of a container's peer, and who may send to it."""

import os
from collections.abc import Iterator

import pytest

from objstore.core.container_sync import SyncSettings, parse_realms, sign, stamp_of
from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, Reply, Swift, swift_serving
from tests.support.sync_peers import REALMS

KEY = "the-key-of-the-container"
SETTINGS = SyncSettings(hosts=("peer.test", "127.0.0.1"), current="//us/two")
NOW_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def synced() -> Iterator[Running]:
    with swift_serving(sync=SETTINGS, realms=parse_realms(REALMS)) as found:
        yield found


@pytest.fixture
def owner(synced: Running) -> Swift:
    found = Swift(synced)
    assert found("PUT", "c", X_Container_Sync_Key=KEY).status in (201, 202)
    return found


def send(
    swift: Swift, method: str, name: str, body: bytes | None = None, *, us: int = NOW_US, realm_key: str = "realm-key-of-us", key: str = KEY,
    query: str = "", **headers: str,
) -> Reply:  # fmt: skip
    """A request as another cluster signs it."""
    path, stamp = swift.path(name), stamp_of(us)
    signed = sign(method, path, stamp, "nonce", realm_key=realm_key, user_key=key)
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return swift.raw(
        method, f"{path}?{query}" if query else path, body, {"X-Timestamp": stamp, "X-Container-Sync-Auth": f"us nonce {signed}", **sent}
    )


def test_owners_alone_see_and_set_the_peer(owner: Swift, synced: Running) -> None:
    assert owner("POST", "c", X_Container_Sync_To="//us/one/AUTH_test/d", X_Container_Read="test:tester3").status == 204
    headers = owner("HEAD", "c").headers
    assert (headers["x-container-sync-to"], headers["x-container-sync-key"]) == ("//us/one/AUTH_test/d", KEY)
    assert (headers["x-container-sync-puts"], headers["x-container-sync-walk"]) == ("0", "running")
    reader = Swift(synced, MEMBER)
    assert not [name for name in reader("GET", "c").headers if "sync" in name]
    assert reader("POST", "c", X_Container_Sync_To="//us/one/AUTH_test/d").status == 403
    assert owner("POST", "c", X_Remove_Container_Sync_To="x").status == 204
    assert "x-container-sync-to" not in owner("HEAD", "c").headers
    assert owner("POST", "c", X_Container_Sync_Key="x" * 257).status == 400


@pytest.mark.parametrize(
    "to", ["//us/three/AUTH_test/d", "http://evil.test/v1/AUTH_test/d", "http://peer.test:22/v1/a/c", "//us/one/a", "x"]
)
def test_a_peer_that_the_operator_does_not_know_is_refused_and_nothing_is_kept(owner: Swift, to: str) -> None:
    assert owner("POST", "c", X_Container_Sync_To=to, X_Container_Meta_A="b").status == 400
    assert "x-container-meta-a" not in owner("HEAD", "c").headers


def test_info_tells_realms_and_no_keys(synced: Running, swift: Swift) -> None:
    reply = Swift(synced, None).raw("GET", "/info")
    assert reply.json["container_sync"] == {"realms": {"US": {"clusters": {"ONE": {}, "TWO": {"current": True}}}}}
    assert b"realm-key" not in reply.body
    assert "container_sync" not in swift.raw("GET", "/info").json
    assert swift("PUT", "none", X_Container_Sync_To="//us/one/AUTH_test/d").status == 400


def test_what_a_cluster_of_the_realm_sends_is_written_at_its_time(owner: Swift) -> None:
    sent = send(owner, "PUT", "c/päth/o", b"data", Content_Type="text/x", X_Object_Meta_A="b", Cache_Control="no-store")
    assert (sent.status, sent.headers["x-timestamp"]) == (201, "1700000000.00000")
    found = owner("GET", "c/päth/o")
    assert (found.body, found.headers["content-type"], found.headers["x-object-meta-a"]) == (b"data", "text/x", "b")
    assert (found.headers["x-timestamp"], found.headers["cache-control"]) == ("1700000000.00000", "no-store")
    assert send(owner, "HEAD", "c/päth/o").headers["x-timestamp"] == "1700000000.00000"
    assert send(owner, "PUT", "c/with-next-key", b"x", realm_key="second-key-of-us").status == 201


def test_nothing_that_is_as_new_is_overwritten_or_removed(owner: Swift) -> None:
    assert send(owner, "PUT", "c/k", b"first").status == 201
    assert send(owner, "PUT", "c/k", b"older", us=NOW_US - 10).status == 202
    assert send(owner, "PUT", "c/k", b"other").status == 202
    assert send(owner, "DELETE", "c/k").status == 409
    assert send(owner, "DELETE", "c/k", us=NOW_US - 10).status == 409
    assert owner("GET", "c/k").body == b"first"
    large = os.urandom(300_000)
    assert send(owner, "PUT", "c/k", large, us=NOW_US + 10).status == 201
    assert owner("GET", "c/k").body == large
    assert send(owner, "DELETE", "c/k", us=NOW_US + 20).status == 204
    assert owner("GET", "c/k").status == 404
    assert send(owner, "PUT", "c/k", b"late", us=NOW_US + 15).status == 202
    assert owner("GET", "c/k").status == 404
    assert owner("PUT", "c/k", b"now").status == 201
    assert send(owner, "DELETE", "c/k", us=NOW_US + 30).status == 409


def test_a_removal_of_what_is_not_here_yet_stands_against_what_is_older(owner: Swift) -> None:
    assert send(owner, "DELETE", "c/early").status == 404
    assert send(owner, "PUT", "c/early", b"x", us=NOW_US - 10).status == 202
    assert owner("GET", "c/early").status == 404
    assert send(owner, "PUT", "c/early", b"x", us=NOW_US + 10).status == 201


@pytest.mark.parametrize(
    "change",
    [{"key": "wrong"}, {"realm_key": "wrong"}, {"X_Timestamp": "1"}, {"X_Container_Sync_Auth": "us nonce"}, {"X_Container_Sync_Auth": "eu n " + "0" * 40}],
)  # fmt: skip
def test_whatever_is_wrong_gets_one_answer(owner: Swift, change: dict[str, str]) -> None:
    reply = send(owner, "PUT", "c/no", b"x", **change)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, 'SwiftContainerSync realm="AUTH_test"')
    assert reply.body == send(owner, "PUT", "no-container/no", b"x").body
    assert owner("GET", "c/no").status == 404


def test_a_signature_is_for_one_object_and_no_more(owner: Swift) -> None:
    owner("PUT", "keyless")
    assert send(owner, "PUT", "keyless/o", b"x", key="").status == 401
    for method, name in (("PUT", "c"), ("DELETE", "c"), ("GET", "c/k"), ("POST", "c/k"), ("COPY", "c/k"), ("HEAD", "c"), ("HEAD", "")):
        assert send(owner, method, name).status == 401, method
    other = Swift(owner.running, OTHER)
    other("PUT", "c")
    assert send(other, "PUT", "c/o", b"x").status == 401
    assert send(owner, "PUT", "c/future", b"x", us=4_000_000_000_000_000).status == 400


def test_links_are_taken_as_they_are_and_manifests_of_segments_are_not(owner: Swift) -> None:
    headers = {"X_Symlink_Target": "c/later", "X_Symlink_Target_Etag": "0" * 32, "X_Symlink_Target_Bytes": "7", "X_Object_Meta_A": "b"}
    assert send(owner, "PUT", "c/link", b"", **headers).status == 201
    found = owner("HEAD", "c/link", query="symlink=get").headers
    assert (found["x-symlink-target"], found["x-symlink-target-etag"]) == ("c/later", "0" * 32)
    assert send(owner, "PUT", "c/large", b"[]", X_Static_Large_Object="True").status == 501
    assert send(owner, "PUT", "c/bad", b"x", ETag="0" * 32).status == 422


def test_a_bare_key_counts_from_addresses_of_the_list_alone(owner: Swift, running: Running) -> None:
    headers = {"X-Container-Sync-Key": KEY, "X-Timestamp": stamp_of(NOW_US)}
    assert owner.raw("PUT", owner.path("c/bare"), b"x", headers).status == 201
    assert owner.raw("PUT", owner.path("c/bare"), b"y", headers).status == 202
    assert owner.raw("PUT", owner.path("c/other"), b"y", {**headers, "X-Container-Sync-Key": "wrong"}).status == 401
    assert owner.raw("PUT", owner.path("c/other"), b"y", {"X-Container-Sync-Key": KEY}).status == 401
    elsewhere = Swift(running)  # where no address is listed
    elsewhere("PUT", "c", X_Container_Sync_Key=KEY)
    assert elsewhere.raw("PUT", elsewhere.path("c/bare"), b"x", headers).status == 401


def test_the_key_of_one_container_reaches_no_other_by_a_bulk_operation(owner: Swift) -> None:
    """The query is not signed, and who sends acts as the owner of all the account."""
    owner("PUT", "private")
    owner("PUT", "private/o", b"kept")
    for method, query, body in (("DELETE", "bulk-delete", b"private/o\n"), ("PUT", "extract-archive=tar", bytes(1024))):
        assert send(owner, method, "c/x", body, query=query).status == 400, query
        by_key = {"X-Container-Sync-Key": KEY, "X-Timestamp": stamp_of(NOW_US)}
        assert owner.raw(method, f"{owner.path('c/x')}?{query}", body, by_key).status == 400, query
    assert owner("GET", "private/o").body == b"kept"
