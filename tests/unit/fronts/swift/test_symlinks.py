"""Symbolic links through the front: made, read through, copied, versioned, and never a way to more rights."""

import hashlib
import hmac

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, Swift

EMPTY = hashlib.md5(b"", usedforsecurity=False).hexdigest()
HELLO = hashlib.md5(b"hello", usedforsecurity=False).hexdigest()


@pytest.fixture
def linked(swift: Swift, box: str) -> str:
    """A container with `target` and a link `link` to it."""
    swift("PUT", f"{box}/target", b"hello", Content_Type="text/x", X_Object_Meta_A="1")
    assert swift("PUT", f"{box}/link", b"", X_Symlink_Target=f"{box}/target", Content_Type="application/symlink").status == 201
    return box


def test_a_link_reads_as_its_target(swift: Swift, linked: str) -> None:
    path = f"/v1/AUTH_test/{linked}/target"
    for method in ("GET", "HEAD"):
        reply = swift(method, f"{linked}/link")
        assert (reply.status, reply.headers["content-location"], reply.headers["etag"]) == (200, path, HELLO)
        assert (reply.headers["content-type"], reply.headers["x-object-meta-a"], reply.headers["content-length"]) == ("text/x", "1", "5")
        assert "x-symlink-target" not in reply.headers
    assert swift("GET", f"{linked}/link").body == b"hello"
    assert swift("GET", f"{linked}/link", Range="bytes=1-2").body == b"el"
    assert swift("GET", f"{linked}/link", Range="bytes=0-0,2-2").status == 206
    for headers, status in (
        ({"If_None_Match": HELLO}, 304),
        ({"If_None_Match": EMPTY}, 200),
        ({"If_Match": HELLO}, 200),
        ({"If_Match": EMPTY}, 412),
        ({"Range": "bytes=9-"}, 416),
    ):
        assert swift("GET", f"{linked}/link", **headers).status == status, headers
        assert swift("HEAD", f"{linked}/link", **headers).status == (200 if "Range" in headers else status), headers


def test_the_link_itself_is_there_for_who_asks_for_it(swift: Swift, linked: str) -> None:
    for method in ("GET", "HEAD"):
        reply = swift(method, f"{linked}/link", query="symlink=get")
        assert (reply.status, reply.headers["x-symlink-target"], reply.headers["content-length"]) == (200, f"{linked}/target", "0")
        assert (reply.headers["etag"], reply.headers["content-type"]) == (EMPTY, "application/symlink")
        assert "content-location" not in reply.headers
    assert swift("GET", f"{linked}/target", query="symlink=get").body == b"hello"
    rows = {row["name"]: row for row in swift("GET", linked, query="format=json").json}
    assert rows["link"]["symlink_path"] == f"/v1/AUTH_test/{linked}/target"
    assert (rows["link"]["hash"], rows["link"]["bytes"]) == (EMPTY, 0)
    assert "symlink_path" not in rows["target"]
    assert swift("DELETE", f"{linked}/link").status == 204
    assert swift("GET", f"{linked}/target").status == 200


def test_what_makes_no_link_is_refused(swift: Swift, box: str) -> None:
    for headers, body, status, text in (
        ({"X_Symlink_Target": "c/o"}, b"x", 400, "Symlink requests require a zero byte body"),
        ({"X_Symlink_Target": "/c/o"}, b"", 412, "must be of the form"),
        ({"X_Symlink_Target": "%2Fc/o"}, b"", 412, "must be of the form"),
        ({"X_Symlink_Target": "c"}, b"", 412, "must be of the form"),
        ({"X_Symlink_Target": "c/o", "X_Symlink_Target_Account": "AUTH_a/b"}, b"", 412, "Account name cannot contain slashes"),
        ({"X_Symlink_Target": f"{box}/l"}, b"", 400, "Symlink cannot target itself"),
        ({"X_Symlink_Target": f"{box}/none", "X_Symlink_Target_Etag": HELLO}, b"", 409, "X-Symlink-Target does not exist"),
    ):
        reply = swift("PUT", f"{box}/l", body, **headers)
        assert (reply.status, text in reply.body.decode()) == (status, True), headers
    assert swift("GET", box).lines == []


def test_chains_end_and_broken_ones_are_told(swift: Swift, linked: str) -> None:
    swift("PUT", f"{linked}/second", b"", X_Symlink_Target=f"{linked}/link")
    swift("PUT", f"{linked}/third", b"", X_Symlink_Target=f"{linked}/second")
    assert swift("GET", f"{linked}/second").body == b"hello"
    reply = swift("GET", f"{linked}/third")
    assert (reply.status, b"Too many levels of symbolic links, maximum allowed is 2" in reply.body) == (409, True)
    swift("PUT", f"{linked}/ring", b"", X_Symlink_Target=f"{linked}/ring2")
    swift("PUT", f"{linked}/ring2", b"", X_Symlink_Target=f"{linked}/ring")
    assert swift("HEAD", f"{linked}/ring").status == 409
    swift("PUT", f"{linked}/broken", b"", X_Symlink_Target=f"{linked}/no%20where")
    reply = swift("GET", f"{linked}/broken")
    assert (reply.status, reply.headers["content-location"]) == (404, f"/v1/AUTH_test/{linked}/no%20where")


def test_a_static_link_is_good_for_one_content(swift: Swift, linked: str) -> None:
    target = f"{linked}/target"
    reply = swift("PUT", f"{linked}/s", b"", X_Symlink_Target=target, X_Symlink_Target_Etag=EMPTY)
    assert (reply.status, reply.headers["content-location"]) == (409, f"/v1/AUTH_test/{target}")
    assert f"Object Etag &#x27;{HELLO}&#x27; does not match" in reply.body.decode()
    assert swift("PUT", f"{linked}/s", b"", X_Symlink_Target=target, X_Symlink_Target_Etag=f'"{HELLO}"').status == 201
    assert swift("PUT", f"{linked}/s2", b"", X_Symlink_Target=f"{linked}/s", X_Symlink_Target_Etag=HELLO).status == 201
    headers = swift("HEAD", f"{linked}/s2", query="symlink=get").headers
    assert (headers["x-symlink-target-etag"], headers["x-symlink-target-bytes"]) == (HELLO, "5")
    rows = {row["name"]: row for row in swift("GET", linked, query="format=json").json}
    assert (rows["s"]["symlink_etag"], rows["s"]["symlink_bytes"], rows["s"]["bytes"]) == (HELLO, 5, 0)
    for name in ("s", "s2"):
        assert swift("GET", f"{linked}/{name}").body == b"hello"
    swift("PUT", target, b"other")
    for name in ("s", "s2"):
        assert swift("GET", f"{linked}/{name}").status == 409
        assert swift("HEAD", f"{linked}/{name}").status == 409
    assert swift("GET", f"{linked}/link").body == b"other"


def test_metadata_of_a_link_is_its_own_and_the_client_is_told(swift: Swift, linked: str) -> None:
    reply = swift("POST", f"{linked}/link", X_Object_Meta_B="2")
    assert (reply.status, reply.headers["location"]) == (307, f"/v1/AUTH_test/{linked}/target")
    assert "x-object-meta-b" not in swift("HEAD", f"{linked}/link").headers
    head = swift("HEAD", f"{linked}/link", query="symlink=get").headers
    assert (head["x-object-meta-b"], head["x-symlink-target"]) == ("2", f"{linked}/target")
    reply = swift("POST", f"{linked}/link", X_Symlink_Target="a/b")
    assert (reply.status, b"A PUT request is required" in reply.body) == (400, True)


def test_copies_are_of_the_target_or_of_the_link(swift: Swift, linked: str) -> None:
    assert swift("COPY", f"{linked}/link", Destination=f"{linked}/bytes").status == 201
    assert swift("GET", f"{linked}/bytes", query="symlink=get").body == b"hello"
    assert swift("HEAD", f"{linked}/bytes").headers["x-object-meta-a"] == "1"
    assert swift("COPY", f"{linked}/link", query="symlink=get", Destination=f"{linked}/again").status == 201
    assert swift("HEAD", f"{linked}/again", query="symlink=get").headers["x-symlink-target"] == f"{linked}/target"
    assert swift("PUT", f"{linked}/here", b"", query="symlink=get", X_Copy_From=f"{linked}/link", X_Fresh_Metadata="true").status == 201
    assert swift("GET", f"{linked}/here").body == b"hello"


def test_segments_may_be_links(swift: Swift, linked: str) -> None:
    lines = f'[{{"path": "/{linked}/link", "etag": "{HELLO}", "size_bytes": 5}}, {{"path": "/{linked}/link", "range": "1-2"}}]'.encode()
    assert swift("PUT", f"{linked}/slo", lines, query="multipart-manifest=put").status == 201
    assert swift("GET", f"{linked}/slo").body == b"helloel"
    assert [row["name"] for row in swift("GET", f"{linked}/slo", query="multipart-manifest=get").json] == [f"/{linked}/link"] * 2


def test_versions_of_links_are_links(swift: Swift, linked: str) -> None:
    swift("POST", linked, X_Versions_Enabled="true")
    swift("PUT", f"{linked}/link", b"bytes")
    rows = swift("GET", linked, query="versions&format=json&prefix=link").json
    assert len(rows) == 2
    old = next(row["version_id"] for row in rows if not row["is_latest"])
    assert swift("GET", f"{linked}/link", query=f"version-id={old}").body == b"hello"
    assert swift("GET", f"{linked}/link", query=f"version-id={old}&symlink=get").body == b""


def test_a_link_gives_nobody_rights(running: Running, swift: Swift, linked: str) -> None:
    open_box = f"{linked}-open"
    swift("PUT", open_box, X_Container_Read=".r:*", X_Container_Write="test:tester3")
    member = Swift(running, MEMBER)
    assert member("PUT", f"{open_box}/way-in", b"", X_Symlink_Target=f"{linked}/target").status == 201
    assert member("GET", f"{open_box}/way-in").status == 403
    assert Swift(running, None)("GET", f"{open_box}/way-in").status == 401
    assert swift("GET", f"{open_box}/way-in").body == b"hello"
    assert member("PUT", f"{open_box}/s", b"", X_Symlink_Target=f"{linked}/target", X_Symlink_Target_Etag=HELLO).status == 403
    other = Swift(running, OTHER)
    other("PUT", "mine")
    assert other("PUT", "mine/l", b"", X_Symlink_Target=f"{linked}/target", X_Symlink_Target_Account="AUTH_test").status == 201
    assert other("GET", "mine/l").status == 403
    swift("POST", linked, X_Container_Read="test2:*")
    assert other("GET", "mine/l").body == b"hello"
    assert other("HEAD", "mine/l", query="symlink=get").headers["x-symlink-target-account"] == "AUTH_test"


def test_a_signed_address_ends_where_its_key_does(swift: Swift, linked: str) -> None:
    outer = f"{linked}-outer"
    swift("PUT", outer, X_Container_Meta_Temp_URL_Key="container key")
    swift("PUT", f"{outer}/out", b"", X_Symlink_Target=f"{linked}/target")
    swift("PUT", f"{outer}/bytes", b"inside")
    swift("PUT", f"{outer}/in", b"", X_Symlink_Target=f"{outer}/bytes")
    swift("POST", X_Account_Meta_Temp_URL_Key_2="account key")

    def signed(name: str, key: str) -> bytes:
        path = swift.path(f"{outer}/{name}")
        signature = hmac.new(key.encode(), f"GET\n4000000000\n{path}".encode(), "sha256").hexdigest()
        reply = swift.raw("GET", f"{path}?temp_url_sig={signature}&temp_url_expires=4000000000")
        return reply.body if reply.status == 200 else b"%d" % reply.status

    assert signed("in", "container key") == b"inside"
    assert signed("out", "container key") == b"401"
    assert signed("out", "account key") == b"hello"
    for name, prefix in (("dlo-in", f"{outer}/by"), ("dlo-out", f"{linked}/tar")):
        swift("PUT", f"{outer}/{name}", b"", X_Object_Manifest=prefix)
    assert signed("dlo-in", "container key") == b"inside"
    assert signed("dlo-out", "container key") == b"401"
    assert signed("dlo-out", "account key") == b"hello"
