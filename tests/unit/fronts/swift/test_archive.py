"""Older versions in another container."""

from typing import Any

import pytest

from objstore.errors import QuorumLost
from tests.support.s3_server import Running
from tests.support.swift_server import OTHER, Swift


@pytest.fixture
def old(swift: Swift, box: str) -> str:
    assert swift("PUT", f"{box}-old").status == 201
    return f"{box}-old"


def test_a_stack_gives_back_what_was_before(swift: Swift, box: str, old: str) -> None:
    assert swift("POST", box, X_Versions_Location=old).status == 204
    assert swift("HEAD", box).headers["x-versions-location"] == old
    for body in (b"one", b"two", b"three"):
        swift("PUT", f"{box}/ö", body, X_Object_Meta_A=body.decode())
    names = swift("GET", old).lines
    assert [name.partition("/")[0] for name in names] == ["002ö", "002ö"]
    assert swift("GET", f"{old}/{names[0]}").body == b"one"
    assert swift("DELETE", f"{box}/ö").status == 204
    assert (swift("GET", f"{box}/ö").body, swift("HEAD", f"{box}/ö").headers["x-object-meta-a"]) == (b"two", "two")
    swift("DELETE", f"{box}/ö")
    assert swift("GET", f"{box}/ö").body == b"one"
    assert swift("GET", old).status == 204
    assert swift("DELETE", f"{box}/ö").status == 204
    assert swift("GET", f"{box}/ö").status == 404
    assert swift("DELETE", f"{box}/ö").status == 404


def test_a_record_keeps_what_was_deleted_and_that_it_was(swift: Swift, box: str, old: str) -> None:
    swift("POST", box, X_History_Location=old)
    swift("PUT", f"{box}/o", b"one")
    assert swift("DELETE", f"{box}/o").status == 204
    assert swift("GET", f"{box}/o").status == 404
    kept, marker = swift("GET", old, query="format=json").json
    assert (kept["bytes"], marker["bytes"], marker["content_type"]) == (3, 0, "application/x-deleted;swift_versions_deleted=1")
    assert swift("DELETE", f"{box}/o").status == 404


def test_a_deletion_that_cannot_give_back_deletes_nothing(swift: Swift, box: str, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    swift("POST", box, X_Versions_Location=old)
    for body in (b"one", b"two"):
        swift("PUT", f"{box}/o", body)

    async def away(*_: Any, **__: Any) -> None:
        raise QuorumLost("no quorum")

    monkeypatch.setattr(swift.running.store, "copy", away)
    assert swift("DELETE", f"{box}/o").status == 503
    assert swift("GET", f"{box}/o").body == b"two"
    monkeypatch.undo()
    assert swift("DELETE", f"{box}/o").status == 204
    assert swift("GET", f"{box}/o").body == b"one"


def test_it_ends_when_it_is_taken_away(swift: Swift, box: str, old: str) -> None:
    swift("POST", box, X_Versions_Location=old)
    swift("POST", box, X_Remove_Versions_Location="x")
    assert "x-versions-location" not in swift("HEAD", box).headers
    swift("PUT", f"{box}/o", b"one")
    swift("PUT", f"{box}/o", b"two")
    assert swift("GET", old).status == 204


def test_copies_keep_what_they_overwrite_too(swift: Swift, box: str, old: str) -> None:
    swift("POST", box, X_Versions_Location=old)
    swift("PUT", f"{box}/a", b"aa")
    swift("PUT", f"{box}/b", b"bb")
    swift("COPY", f"{box}/a", Destination=f"{box}/b")
    assert swift("GET", f"{box}/b").body == b"aa"
    assert len(swift("GET", old).lines) == 1


@pytest.mark.parametrize("kind", ["X_Versions_Location", "X_History_Location"])
def test_bulk_deletions_keep_what_single_ones_keep(swift: Swift, box: str, old: str, kind: str) -> None:
    swift("POST", box, **{kind: old})
    for body in (b"one", b"two"):
        swift("PUT", f"{box}/o", body)
    reply = swift("POST", "", f"{box}/o\n{box}/none\n".encode(), query="bulk-delete", Accept="application/json").json
    assert (reply["Number Deleted"], reply["Number Not Found"], reply["Response Status"]) == (1, 1, "200 OK")
    if kind == "X_Versions_Location":
        assert swift("GET", f"{box}/o").body == b"one"
    else:
        assert swift("GET", f"{box}/o").status == 404
        kept = [row["bytes"] for row in swift("GET", old, query="format=json").json]
        assert kept == [3, 3, 0]


@pytest.mark.parametrize("query", ["multipart-manifest=delete", "multipart-manifest=delete&async=yes"])
def test_large_objects_and_their_segments_are_kept_when_they_go(swift: Swift, box: str, old: str, query: str) -> None:
    swift("PUT", f"{box}/s", b"segment")
    swift("PUT", f"{box}/big", f'[{{"path": "{box}/s"}}]'.encode(), query="multipart-manifest=put")
    swift("POST", box, X_History_Location=old)
    assert swift("DELETE", f"{box}/big", query=query).status in (200, 204)
    assert swift("GET", box).status == 204
    assert sorted(row["bytes"] for row in swift("GET", old, query="format=json").json) == [0, 0, 7, 7]


def test_a_list_of_segments_keeps_what_it_overwrites(swift: Swift, box: str, old: str) -> None:
    swift("POST", box, X_Versions_Location=old)
    swift("PUT", f"{box}/s", b"segment")
    swift("PUT", f"{box}/o", b"one")
    assert swift("PUT", f"{box}/o", f'[{{"path": "{box}/s"}}]'.encode(), query="multipart-manifest=put").status == 201
    assert [row["bytes"] for row in swift("GET", old, query="format=json").json] == [3]
    swift("DELETE", f"{box}/o")
    assert swift("GET", f"{box}/o").body == b"one"


def test_without_the_other_container_nothing_is_overwritten(swift: Swift, box: str) -> None:
    swift("POST", box, X_Versions_Location="nowhere-at-all")
    assert swift("PUT", f"{box}/o", b"one").status == 201
    assert swift("PUT", f"{box}/o", b"two").status == 412
    assert swift("GET", f"{box}/o").body == b"one"


def test_who_may_not_write_archives_nothing(running: Running, swift: Swift, box: str, old: str) -> None:
    swift("POST", box, X_Versions_Location=old)
    swift("PUT", f"{box}/o", b"one")
    other = Swift(running, OTHER).at("test")
    assert other("PUT", f"{box}/o", b"x").status == 403
    assert other("DELETE", f"{box}/o").status == 403
    assert swift("GET", old).status == 204
    swift("POST", box, X_Container_Write="test2")
    assert other("PUT", f"{box}/o", b"two").status == 201
    assert len(swift("GET", old).lines) == 1


@pytest.mark.parametrize("headers", [{"X_Versions_Location": "a/b"}, {"X_Versions_Location": "a", "X_History_Location": "b"}])
def test_what_is_no_container_is_refused(swift: Swift, box: str, headers: dict[str, str]) -> None:
    assert swift("POST", box, **headers).status == 400
