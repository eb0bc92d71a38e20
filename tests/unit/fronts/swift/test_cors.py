"""Cross-origin requests: what browsers are told."""

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import Swift

ORIGIN = "http://a.example"


@pytest.fixture
def stranger(running: Running) -> Swift:
    return Swift(running, None)


def preflight(stranger: Swift, name: str, **headers: str) -> tuple[int, dict[str, str]]:
    sent = {"Origin": ORIGIN, "Access_Control_Request_Method": "GET", **headers}
    reply = stranger("OPTIONS", name, **sent)
    return reply.status, {key: value for key, value in reply.headers.items() if key.startswith(("access-", "vary", "allow"))}


def test_a_preflight_is_answered_by_the_containers_metadata(swift: Swift, stranger: Swift, box: str) -> None:
    swift(
        "POST", box, X_Container_Meta_Access_Control_Allow_Origin=f"http://b.example {ORIGIN}", X_Container_Meta_Access_Control_Max_Age="60"
    )
    status, headers = preflight(stranger, f"{box}/o", Access_Control_Request_Headers="x-auth-token, X-Object-Meta-A, bad name")
    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-max-age"] == "60"
    assert headers["access-control-allow-methods"] == "COPY, DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert headers["access-control-allow-headers"] == "x-auth-token, X-Object-Meta-A"
    assert "Origin" in headers["vary"]
    assert preflight(stranger, f"{box}/o", Origin="http://c.example")[0] == 401
    assert preflight(stranger, f"{box}/o", Access_Control_Request_Method="PATCH")[0] == 401


def test_a_container_without_rules_and_one_that_is_not_there_look_alike(stranger: Swift, box: str) -> None:
    assert preflight(stranger, f"{box}/o") == preflight(stranger, "nowhere/o")
    assert preflight(stranger, box)[0] == 401


def test_options_without_an_origin_tells_the_methods(stranger: Swift, box: str) -> None:
    reply = stranger("OPTIONS", box)
    assert (reply.status, reply.headers["allow"]) == (200, "DELETE, GET, HEAD, OPTIONS, POST, PUT")
    assert stranger("OPTIONS").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert stranger("OPTIONS", Origin=ORIGIN).status == 200


def test_answers_tell_what_scripts_may_read(swift: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Access_Control_Allow_Origin="*", X_Container_Meta_Access_Control_Expose_Headers="X-Own bad/name")
    swift("PUT", f"{box}/o", b"x", X_Object_Meta_Colour="red")
    headers = swift("GET", f"{box}/o", Origin=ORIGIN).headers
    assert headers["access-control-allow-origin"] == "*"
    exposed = headers["access-control-expose-headers"].split(", ")
    assert {"etag", "x-trans-id", "x-own", "x-object-meta-colour"} <= set(exposed)
    assert "bad/name" not in exposed
    assert "vary" not in headers
    assert swift("GET", f"{box}/missing", Origin=ORIGIN).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in swift("GET", f"{box}/o").headers


def test_pages_of_other_origins_may_not_read(swift: Swift, stranger: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Access_Control_Allow_Origin=ORIGIN)
    swift("PUT", f"{box}/o", b"x")
    assert swift("GET", f"{box}/o", Origin=ORIGIN).headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in swift("GET", f"{box}/o", Origin="http://a.example.evil").headers
    refused = stranger("GET", f"{box}/o", Origin=ORIGIN)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_an_age_that_is_no_number_is_not_told(swift: Swift, stranger: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Access_Control_Allow_Origin="*", X_Container_Meta_Access_Control_Max_Age="soon")
    assert "access-control-max-age" not in preflight(stranger, box)[1]
