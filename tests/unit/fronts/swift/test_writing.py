"""PUT, POST, DELETE and COPY of objects."""

import hashlib

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, RESELLER, Swift


def test_what_is_written_is_told_and_comes_back(swift: Swift, box: str) -> None:
    reply = swift("PUT", f"{box}/dir/ö o", b"hello", Content_Type="text/x", Content_Encoding="gzip", X_Object_Meta_A="1")
    assert reply.status == 201
    assert reply.headers["etag"] == hashlib.md5(b"hello", usedforsecurity=False).hexdigest()
    head = swift("HEAD", f"{box}/dir/ö o")
    assert (head.status, head.headers["content-length"], head.headers["content-type"]) == (200, "5", "text/x")
    assert (head.headers["content-encoding"], head.headers["x-object-meta-a"]) == ("gzip", "1")
    assert head.headers["x-timestamp"].count(".") == 1


def test_the_type_is_guessed_where_none_is_told(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/page.html", b"x")
    swift("PUT", f"{box}/what", b"x")
    swift("PUT", f"{box}/p.png", b"x", Content_Type="text/plain", X_Detect_Content_Type="true")
    kinds = [swift("HEAD", f"{box}/{name}").headers["content-type"] for name in ("page.html", "what", "p.png")]
    assert kinds == ["text/html", "application/octet-stream", "image/png"]


def test_a_body_must_be_what_its_etag_says(swift: Swift, box: str) -> None:
    good = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    assert swift("PUT", f"{box}/o", b"data", ETag=f'"{good.upper()}"').status == 201
    assert swift("PUT", f"{box}/o", b"other", ETag=good).status == 422
    assert swift("PUT", f"{box}/o", b"other", ETag="nonsense").status == 422
    assert swift("GET", f"{box}/o").body == b"data"


def test_only_what_is_new_is_written_on_that_condition(swift: Swift, box: str) -> None:
    assert swift("PUT", f"{box}/o", b"1", If_None_Match="*").status == 201
    assert swift("PUT", f"{box}/o", b"2", If_None_Match="*").status == 412
    assert swift("PUT", f"{box}/o", b"2", If_None_Match='"abc"').status == 400
    assert swift("GET", f"{box}/o").body == b"1"


def test_a_copy_holds_to_that_condition_too(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/a", b"a")
    swift("PUT", f"{box}/o", b"1")
    swift("PUT", f"{box}/dlo", b"", X_Object_Manifest=f"{box}/a")
    for source in ("a", "dlo"):
        assert swift("COPY", f"{box}/{source}", Destination=f"{box}/o", If_None_Match="*").status == 412
        assert swift("PUT", f"{box}/o", X_Copy_From=f"{box}/{source}", If_None_Match="*").status == 412
        assert swift("COPY", f"{box}/{source}", Destination=f"{box}/{source}-2", If_None_Match="*").status == 201
    assert swift("GET", f"{box}/o").body == b"1"


def test_a_copy_tells_of_any_name(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/a\nü", b"a")
    reply = swift("COPY", f"{box}/a\nü", Destination=f"{box}/b")
    assert (reply.status, reply.headers["x-copied-from"]) == (201, f"{box}/a%0A%C3%BC")
    assert swift("COPY", f"{box}/b", Destination=f"{box}/c", X_Object_Manifest="nothing").status == 400


def test_a_body_of_unknown_length_is_taken(swift: Swift, box: str) -> None:
    reply = swift.raw("PUT", swift.path(f"{box}/o"), iter([b"ab", b"cd"]), {"X-Auth-Token": swift.token})  # type: ignore[arg-type]
    assert reply.status == 201
    assert swift("GET", f"{box}/o").body == b"abcd"


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("o" * 1025, {}, 400),
        ("o", {"X_Object_Meta_" + "n" * 129: "v"}, 400),
        ("o", {"X_Object_Meta_A": "v" * 257}, 400),
        ("o", {f"X_Object_Meta_{number}": "v" for number in range(91)}, 400),
        ("o", {"X_Delete_At": "soon"}, 400),
        ("o", {"X_Delete_At": "12"}, 400),
        ("o", {"X_Delete_After": "-5"}, 400),
        ("o", {"X_Object_Manifest": "nothing"}, 400),
        ("o", {"X_Object_Manifest": "c/p?x=y"}, 400),
        ("o", {"X_Symlink_Target": "c/o"}, 400),
        ("o", {"X_Copy_From": "nothing"}, 412),
    ],
)
def test_what_an_object_cannot_be_is_refused_and_nothing_is_stored(
    swift: Swift, box: str, name: str, headers: dict[str, str], status: int
) -> None:
    assert swift("PUT", f"{box}/{name}", b"" if "X_Copy_From" in headers else b"x", **headers).status == status
    assert swift("GET", box).status == 204


def test_where_there_is_no_container_there_is_no_object(swift: Swift) -> None:
    assert swift("PUT", "nowhere/o", b"x").status == 404
    assert swift("DELETE", "nowhere/o").status == 404


def test_a_post_replaces_metadata_and_leaves_the_bytes(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"data", Content_Type="text/x", X_Object_Meta_A="1", X_Object_Meta_B="2", Content_Disposition="inline")
    assert swift("POST", f"{box}/o", X_Object_Meta_C="3").status == 202
    reply = swift("GET", f"{box}/o")
    assert (reply.body, reply.headers["content-type"], reply.headers["x-object-meta-c"]) == (b"data", "text/x", "3")
    assert not {"x-object-meta-a", "x-object-meta-b", "content-disposition"} & reply.headers.keys()
    swift("POST", f"{box}/o", Content_Type="image/png")
    assert swift("HEAD", f"{box}/o").headers["content-type"] == "image/png"
    assert swift("POST", f"{box}/none", X_Object_Meta_C="3").status == 404


def test_what_is_deleted_is_gone_and_cannot_be_deleted_again(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"x")
    assert swift("DELETE", f"{box}/o").status == 204
    assert swift("DELETE", f"{box}/o").status == 404
    assert swift("GET", box).status == 204


def test_an_object_goes_at_its_time(running: Running, swift: Swift, box: str) -> None:
    assert swift("PUT", f"{box}/o", b"x", X_Delete_After="1").status == 201
    assert int(swift("HEAD", f"{box}/o").headers["x-delete-at"]) > 1_700_000_000
    assert swift("PUT", f"{box}/later", b"x", X_Delete_After="1000").status == 201
    deadline = int(swift("HEAD", f"{box}/o").headers["x-delete-at"])
    clock = running.app._front.clock
    while clock.wall_us() < deadline * 1_000_000:
        pass
    for method in ("GET", "HEAD", "POST"):
        assert swift(method, f"{box}/o").status == 404
    assert swift("GET", f"{box}/later").status == 200
    assert swift("GET", f"{box}/o", X_Open_Expired="true").body == b"x"
    assert swift("HEAD", f"{box}/o", X_Open_Expired="true").status == 200
    swift("POST", box, X_Container_Read=".r:*", X_Container_Write="test:tester3")
    for stranger in (Swift(running, MEMBER), Swift(running, None), Swift(running, OTHER).at("test")):
        assert stranger("GET", f"{box}/o", X_Open_Expired="true").status == 404
    assert swift("POST", f"{box}/o", X_Open_Expired="true", X_Delete_After="1000").status == 202
    assert swift("GET", f"{box}/o").body == b"x"
    assert swift("POST", f"{box}/o", X_Remove_Delete_At="1").status == 202
    assert "x-delete-at" not in swift("HEAD", f"{box}/o").headers


def test_a_name_whose_time_has_run_out_is_free(running: Running, swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"x", X_Delete_After="1")
    deadline = int(swift("HEAD", f"{box}/o").headers["x-delete-at"])
    assert swift("PUT", f"{box}/o", b"y", If_None_Match="*").status == 412
    while running.app._front.clock.wall_us() < deadline * 1_000_000:
        pass
    assert swift("PUT", f"{box}/o", b"y", If_None_Match="*").status == 201
    assert swift("GET", f"{box}/o").body == b"y"


def test_a_copy_takes_bytes_and_metadata_along(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"data", Content_Type="text/x", X_Object_Meta_A="1")
    reply = swift("COPY", f"{box}/o", Destination=f"/{box}/copy", X_Object_Meta_B="2")
    assert (reply.status, reply.headers["x-copied-from"]) == (201, f"{box}/o")
    got = swift("GET", f"{box}/copy")
    assert (got.body, got.headers["content-type"], got.headers["x-object-meta-a"], got.headers["x-object-meta-b"]) == (
        b"data",
        "text/x",
        "1",
        "2",
    )
    swift("PUT", f"{box}/fresh", b"", X_Copy_From=f"{box}/o", X_Fresh_Metadata="true", X_Object_Meta_C="3")
    got = swift("GET", f"{box}/fresh")
    assert (got.body, got.headers["x-object-meta-c"], "x-object-meta-a" in got.headers) == (b"data", "3", False)
    assert swift("COPY", f"{box}/o", Destination=f"{box}/o", X_Object_Meta_D="4").status == 201
    assert swift("HEAD", f"{box}/o").headers["x-object-meta-d"] == "4"


def test_copies_go_across_accounts_where_both_sides_allow_it(running: Running, swift: Swift, box: str) -> None:
    other = Swift(running, OTHER)
    other("PUT", "target")
    swift("PUT", f"{box}/o", b"data")
    assert swift("COPY", f"{box}/o", Destination="target/o", Destination_Account="AUTH_test2").status == 403
    other("POST", "target", X_Container_Write="test:tester")
    assert swift("COPY", f"{box}/o", Destination="target/o", Destination_Account="AUTH_test2").status == 201
    assert other("GET", "target/o").body == b"data"
    assert other("PUT", "target/p", b"", X_Copy_From=f"{box}/o", X_Copy_From_Account="AUTH_test").status == 403
    assert Swift(running, RESELLER).at("test")("COPY", f"{box}/o", Destination="target/q", Destination_Account="AUTH_test2").status == 201


@pytest.mark.parametrize("headers", [{}, {"Destination": "c"}, {"Destination": "/"}, {"Destination": "c/"}])
def test_a_copy_needs_a_place_to_go(swift: Swift, box: str, headers: dict[str, str]) -> None:
    swift("PUT", f"{box}/o", b"data")
    assert swift("COPY", f"{box}/o", **headers).status == 412


def test_metadata_may_be_empty_and_copies_tell_theirs(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"x", X_Object_Meta_A="", X_Object_Meta_B="2")
    assert swift("HEAD", f"{box}/o").headers["x-object-meta-a"] == ""
    copied = swift("COPY", f"{box}/o", Destination=f"{box}/p", X_Object_Meta_B="").headers
    assert (copied["x-object-meta-a"], copied["x-object-meta-b"]) == ("", "")
    swift("POST", f"{box}/o", X_Object_Meta_C="")
    assert [name for name in swift("HEAD", f"{box}/o").headers if name.startswith("x-object-meta")] == ["x-object-meta-c"]
