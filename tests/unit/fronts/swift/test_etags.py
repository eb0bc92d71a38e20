"""ETags in quotes."""

import time
from collections.abc import Iterator

import pytest

from objstore.fronts.swift.context import SwiftSettings
from tests.support.s3_server import Running
from tests.support.swift_server import Swift, swift_serving

BARE = "9dd4e461268c8034f5c8564e155c67a6"  # of b"x"


@pytest.fixture(scope="module")
def quoting() -> Iterator[Running]:
    with swift_serving(settings=SwiftSettings(etag_quoter=True)) as found:
        yield found


def test_a_container_says_how_etags_look_and_its_account_where_it_does_not(quoting: Running) -> None:
    swift = Swift(quoting)
    swift("PUT", "c")
    assert swift("PUT", "c/o", b"x").headers["etag"] == BARE
    swift("POST", "c", X_Container_Rfc_Compliant_Etags="yes")
    assert swift("HEAD", "c").headers["x-container-rfc-compliant-etags"] == "True"
    for method in ("GET", "HEAD", "PUT"):
        assert swift(method, "c/o", b"x" if method == "PUT" else None).headers["etag"] == f'"{BARE}"'
    same = swift("GET", "c/o", If_None_Match=f'"{BARE}"')
    assert (same.status, same.headers["etag"]) == (304, f'"{BARE}"')
    assert swift("GET", "c", query="format=json").json[0]["hash"] == BARE
    assert swift("POST", X_Account_Rfc_Compliant_Etags="true").status == 204
    swift("POST", "c", X_Container_Rfc_Compliant_Etags="false")
    assert swift("GET", "c/o").headers["etag"] == BARE
    swift("POST", "c", X_Container_Rfc_Compliant_Etags="")
    assert "x-container-rfc-compliant-etags" not in swift("HEAD", "c").headers
    time.sleep(1.1)
    assert swift("GET", "c/o").headers["etag"] == f'"{BARE}"'
    assert swift("HEAD").headers["x-account-rfc-compliant-etags"] == "True"
    swift("POST", X_Account_Rfc_Compliant_Etags="")
    assert swift.raw("GET", "/info").json["etag_quoter"] == {"enable_by_default": False}


def test_without_the_quoter_nothing_is_kept(swift: Swift, box: str) -> None:
    swift("POST", box, X_Container_Rfc_Compliant_Etags="true")
    assert "x-container-rfc-compliant-etags" not in swift("HEAD", box).headers
    assert swift("PUT", f"{box}/o", b"x").headers["etag"] == BARE
    assert "etag_quoter" not in swift.raw("GET", "/info").json
