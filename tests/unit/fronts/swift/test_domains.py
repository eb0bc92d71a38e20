"""Accounts and containers by host."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from objstore.fronts.swift.context import SwiftSettings
from objstore.fronts.swift.domains import BASE, remapped
from tests.support.s3_server import Running
from tests.support.swift_server import Swift, swift_serving

PREFIXES = ("SERVICE_", "AUTH_")


def scope_of(host: bytes, path: str = "/o") -> dict[str, Any]:
    return {"headers": [(b"accept", b"*/*"), (b"host", host)], "path": path, "raw_path": path.encode()}


@pytest.mark.parametrize(
    ("host", "path"),
    [
        (b"c.auth-test.store.example", "/v1/AUTH_test/c/o"),
        (b"C.AUTH_test.Store.Example:8080", "/v1/AUTH_test/c/o"),
        (b"auth-te-st.store.example.", "/v1/AUTH_te-st/o"),
        (b"service_p1.store.example", "/v1/SERVICE_p1/o"),
    ],
)
def test_a_host_stands_for_a_path(host: bytes, path: str) -> None:
    found = remapped(scope_of(host), ("other.example", ".store.example"), PREFIXES)
    assert found is not None
    assert (found["path"], found["raw_path"], path.startswith(found[BASE])) == (path, path.encode(), True)


@pytest.mark.parametrize(
    "host",
    [b"", b"store.example", b"auth-test.evil.example", b"a.c.auth-test.store.example", b"c..store.example", b"test.store.example",
     b"auth-.store.example", b"xstore.example", b"c.key-test.store.example", b"\xffauth-test.store.example", b"a" * 300 + b".store.example"],
)  # fmt: skip
def test_other_hosts_stand_for_none(host: bytes) -> None:
    assert remapped(scope_of(host), ("store.example",), PREFIXES) is None


@pytest.mark.parametrize(
    ("path", "mangled"), [("/v1/o", "/o"), ("/v1", ""), ("/v1/", "/"), ("/v10/o", "/v10/o"), ("/o/v1/", "/o/v1/"), ("/v1/v1/o", "/v1/o")]
)
def test_a_version_before_the_path_is_left_out_where_that_is_set(path: str, mangled: str) -> None:
    found = remapped(scope_of(b"c.auth-test.store.example", path), ("store.example",), PREFIXES, mangles=True)
    assert found is not None
    assert (found["path"], found["raw_path"]) == (f"/v1/AUTH_test/c{mangled}", f"/v1/AUTH_test/c{mangled}".encode())
    kept = remapped(scope_of(b"c.auth-test.store.example", path), ("store.example",), PREFIXES)
    assert kept is not None
    assert kept["path"] == f"/v1/AUTH_test/c{path}"


@pytest.fixture(scope="module")
def named() -> Iterator[Running]:
    with swift_serving(settings=SwiftSettings(storage_domains=("store.test",))) as found:
        yield found


def test_requests_by_host_reach_the_container_and_no_other_rights(named: Running) -> None:
    swift = Swift(named)
    swift("PUT", "site", X_Container_Read=".r:*,.rlistings", X_Container_Meta_Web_Index="index.html")
    swift("PUT", "site/a/index.html", b"page")
    swift("PUT", "private")
    swift("PUT", "private/o", b"secret")
    here = {"Host": "site.auth-test.store.test"}
    assert swift.raw("GET", "/a/index.html", headers=here).body == b"page"
    moved = swift.raw("GET", "/a", headers=here)
    assert (moved.status, urlsplit(moved.headers["location"])[1:3]) == (301, ("site.auth-test.store.test", "/a/"))
    assert swift.raw("GET", "/a/", headers=here).body == b"page"
    assert swift.raw("GET", "/o", headers={"Host": "private.auth-test.store.test"}).status == 401
    token = {"Host": "private.auth-test.store.test", "X-Auth-Token": swift.token}
    assert swift.raw("GET", "/o", headers=token).body == b"secret"
    assert swift.raw("GET", "/../../AUTH_test/private/o", headers=here).status in (401, 404)
    assert swift.raw("GET", "/private/o", headers={"Host": "auth-test.store.test", "X-Auth-Token": swift.token}).body == b"secret"
    assert "domain_remap" in swift.raw("GET", "/info").json
