"""Static large objects: a list of segments becomes one object, in both dialects."""

import base64
import hashlib
import json
from typing import Any

import pytest

from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.static import MAX_MANIFEST_SEGMENTS, parse_manifest
from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, S3_USER, Swift

PIECES = [b"a" * 700, b"b" * 200_000, b"c" * 3]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def rows(swift: Swift, box: str) -> list[dict[str, Any]]:
    for number, piece in enumerate(PIECES):
        swift("PUT", f"{box}/seg/ü{number}", piece)
    return [{"path": f"/{box}/seg/ü{number}", "etag": md5(piece), "size_bytes": len(piece)} for number, piece in enumerate(PIECES)]


def put(swift: Swift, name: str, rows: Any, **headers: str) -> Any:
    return swift("PUT", name, json.dumps(rows).encode(), query="multipart-manifest=put", **headers)


def test_a_list_of_segments_becomes_one_object(running: Running, swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    etag = md5("".join(map(md5, PIECES)).encode())
    reply = put(swift, f"{box}/big", rows, X_Object_Meta_A="1", Content_Type="x/y", ETag=etag)
    assert (reply.status, reply.headers["etag"]) == (201, f'"{etag}"')
    whole = b"".join(PIECES)
    got = swift("GET", f"{box}/big")
    assert (got.status, got.body, got.headers["etag"], got.headers["x-static-large-object"]) == (200, whole, f'"{etag}"', "True")
    assert (got.headers["x-object-meta-a"], got.headers["content-type"]) == ("1", "x/y")
    assert swift("HEAD", f"{box}/big").headers["content-length"] == str(len(whole))
    (row,) = swift("GET", box, query="format=json&prefix=big").json
    assert (row["hash"], row["slo_etag"]) == (etag, f'"{etag}"')
    assert swift("GET", f"{box}/big", Range="bytes=690-710").body == whole[690:711]
    assert swift("GET", f"{box}/big", If_None_Match=f'"{etag}"').status == 304
    assert swift("GET", f"{box}/big", If_Match=f'"{etag}"').body == whole
    assert swift("HEAD", f"{box}/big", If_Match='"other"').status == 412
    found = running.client(S3_USER).get_object(Bucket=box, Key="big")
    assert (found["Body"].read(), found["ETag"]) == (whole, f'"{etag}-3"')
    for number in range(3):
        swift("DELETE", f"{box}/seg/ü{number}")
    assert swift("GET", f"{box}/big").body == whole, "what was shared stays"


def test_the_list_can_be_read_again_and_put_again(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    rows[1] = {"path": rows[1]["path"], "range": "10-19"}
    put(swift, f"{box}/big", rows)
    shown = swift("GET", f"{box}/big", query="multipart-manifest=get").json
    assert [(row["name"], row["bytes"], row["hash"], row.get("range")) for row in shown] == [
        (f"/{box}/seg/ü0", 700, md5(PIECES[0]), None), (f"/{box}/seg/ü1", 10, md5(PIECES[1]), "10-19"), (f"/{box}/seg/ü2", 3, md5(PIECES[2]), None),
    ]  # fmt: skip
    raw = swift("GET", f"{box}/big", query="multipart-manifest=get&format=raw").json
    assert put(swift, f"{box}/again", raw).status == 201
    assert swift("GET", f"{box}/again").body == PIECES[0] + PIECES[1][10:20] + PIECES[2]


def test_parts_can_be_read_one_by_one(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    put(swift, f"{box}/big", rows)
    reply = swift("GET", f"{box}/big", query="part-number=1")
    assert (reply.status, reply.body, reply.headers["x-parts-count"]) == (206, PIECES[0], "3")
    assert swift("GET", f"{box}/big", query="part-number=4").status == 416
    assert swift("GET", f"{box}/big", query="part-number=0002").body == PIECES[1]
    for text, status in (("x", 400), ("0", 400), ("", 400), ("-1", 400), ("9" * 7, 416), ("1" * 5000, 416), ("0" * 5000 + "9", 416)):
        assert swift("GET", f"{box}/big", query=f"part-number={text}").status == status, text[:10]


def test_data_may_come_with_the_list(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    assert put(swift, f"{box}/big", [{"data": base64.b64encode(b"head").decode()}, rows[2]]).status == 201
    assert swift("GET", f"{box}/big").body == b"head" + PIECES[2]


def test_an_upload_of_s3_shows_its_parts_as_ranges_of_itself(running: Running, swift: Swift, box: str) -> None:
    s3 = running.client(S3_USER)
    upload = s3.create_multipart_upload(Bucket=box, Key="mp")["UploadId"]
    bodies = [b"x" * 5 * 1024 * 1024, b"y" * 10]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(Bucket=box, Key="mp", UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(Bucket=box, Key="mp", UploadId=upload, MultipartUpload={"Parts": parts})
    shown = swift("GET", f"{box}/mp", query="multipart-manifest=get").json
    assert [(row["name"], row["hash"], row["range"]) for row in shown] == [
        (f"/{box}/mp", md5(bodies[0]), "0-5242879"), (f"/{box}/mp", md5(bodies[1]), "5242880-5242889"),
    ]  # fmt: skip


def test_the_object_goes_with_its_segments_or_without(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    put(swift, f"{box}/big", rows)
    put(swift, f"{box}/other", rows)
    assert swift("DELETE", f"{box}/other").status == 204
    assert len(swift("GET", box).lines) == 4
    reply = swift("DELETE", f"{box}/big", query="multipart-manifest=delete", Accept="application/json").json
    assert (reply["Number Deleted"], reply["Response Status"]) == (4, "200 OK")
    assert swift("GET", box).status == 204


def test_what_nested_ones_were_made_of_goes_too(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    put(swift, f"{box}/inner", rows[:2])
    put(swift, f"{box}/outer", [{"path": f"{box}/inner"}, rows[2]])
    put(swift, f"{box}/top", [{"path": f"{box}/outer"}, {"path": f"{box}/outer", "range": "0-9"}])
    assert swift("GET", f"{box}/top").body == b"".join(PIECES) + PIECES[0][:10]
    reply = swift("DELETE", f"{box}/top", query="multipart-manifest=delete", Accept="application/json").json
    assert (reply["Number Deleted"], reply["Errors"]) == (6, [])
    assert swift("GET", box).status == 204


def test_what_is_no_list_of_segments_is_not_deleted_as_one(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"plain")
    for query in ("multipart-manifest=delete", "multipart-manifest=delete&async=yes"):
        reply = swift("DELETE", f"{box}/o", query=query, Accept="application/json").json
        assert (reply["Response Status"], reply["Errors"]) == ("400 Bad Request", [[f"{box}/o", "Not an SLO manifest"]])
    assert swift("GET", f"{box}/o").body == b"plain"


def test_segments_that_are_not_as_told_make_nothing(running: Running, swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    rows[0]["etag"] = "0" * 32
    rows[1]["size_bytes"] = 1
    rows[2]["path"] = f"/{box}/none"
    reply = put(swift, f"{box}/big", rows)
    assert reply.status == 400
    for text in ("Etag Mismatch", "Size Mismatch", "404 Not Found"):
        assert text in reply.body.decode()
    assert put(swift, f"{box}/big", [{"path": f"/{box}/seg/ü2", "range": "90-99"}]).status == 400
    assert put(swift, f"{box}/big", [{"path": f"/{box}/seg/ü2"}], ETag="0" * 32).status == 422
    assert swift("GET", f"{box}/big").status == 404
    swift("POST", box, X_Container_Write="test:tester3")
    assert "403 Forbidden" in put(Swift(running, MEMBER), f"{box}/big", [{"path": f"/{box}/seg/ü2"}]).body.decode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"{}", b"[]", b"[1]", b'[{"path": 5}]', b'[{"path": "/c"}]', b'[{"path": "/c/o", "odd": 1}]', b'[{"path": "/c/o", "size_bytes": 0}]',
        b'[{"path": "/c/o", "size_bytes": true}]', b'[{"path": "/c/o", "etag": 1}]', b'[{"data": ""}]', b'[{"data": "%"}]', b'[{"data": "YQ==", "path": "/c/o"}]',
        b"[" * 5000, b'[{"path": "/c/o", "range": 5}]', b'[{"path": "/c/\\ud800"}]', b'[{"path": "/c/o", "\\ud800": 1}]',
    ],
)  # fmt: skip
def test_what_is_no_list_of_segments_is_refused(data: bytes) -> None:
    with pytest.raises(SwiftRefused) as refused:
        parse_manifest(data)
    assert refused.value.status == 400


def test_halves_of_characters_are_told_of(swift: Swift, box: str) -> None:
    for data in (b'[{"path": "/c/\\ud800"}]', b'[{"path": "/c/o", "\\ud800": 1}]'):
        for query in ("multipart-manifest=put", "multipart-manifest=put&heartbeat=on"):
            assert swift("PUT", f"{box}/big", data, query=query).status == 400


def test_only_what_is_new_is_made_on_that_condition(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    swift("PUT", f"{box}/big", b"there")
    assert put(swift, f"{box}/big", rows, If_None_Match="*").status == 412
    assert put(swift, f"{box}/big", rows, If_None_Match='"x"').status == 400
    assert swift("GET", f"{box}/big").body == b"there"
    assert put(swift, f"{box}/new", rows, If_None_Match="*").status == 201


def test_a_segment_that_changes_meanwhile_is_told_of(
    swift: Swift, box: str, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = swift.running.store
    copy_part = store.copy_part

    async def late(who: Any, source: Any, *rest: Any) -> Any:
        await store.delete(who, source.bucket, source.key)
        return await copy_part(who, source, *rest)

    monkeypatch.setattr(store, "copy_part", late)
    reply = put(swift, f"{box}/big", rows)
    assert (reply.status, b"404 Not Found" in reply.body) == (400, True)
    assert swift("HEAD", f"{box}/big").status == 404


def test_an_older_version_goes_with_its_segments_and_the_current_one_stays(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    swift("PUT", f"{box}-v")
    swift("POST", f"{box}-v", X_Versions_Enabled="true")
    first = put(swift, f"{box}-v/big", rows).headers["x-object-version-id"]
    swift("PUT", f"{box}-v/big", b"current")
    reply = swift("DELETE", f"{box}-v/big", query=f"multipart-manifest=delete&version-id={first}", Accept="application/json").json
    assert (reply["Number Deleted"], reply["Response Status"]) == (4, "200 OK")
    assert swift("GET", box).status == 204
    assert swift("GET", f"{box}-v/big").body == b"current"
    assert swift("GET", f"{box}-v/big", query=f"version-id={first}").status == 404


def test_a_list_that_is_too_long_is_refused() -> None:
    with pytest.raises(SwiftRefused) as refused:
        parse_manifest(json.dumps([{"path": "/c/o"}] * (MAX_MANIFEST_SEGMENTS + 1)).encode())
    assert refused.value.status == 413


def test_data_is_read_back_with_the_list(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    given = [{"data": base64.b64encode(b"head").decode()}, rows[2], {"data": base64.b64encode(b"tail" * 50_000).decode()}]
    assert put(swift, f"{box}/big", given).status == 201
    raw = swift("GET", f"{box}/big", query="multipart-manifest=get&format=raw")
    assert raw.json == given
    shown = swift("GET", f"{box}/big", query="multipart-manifest=get")
    assert [shown.json[0], shown.json[1]["name"], shown.json[2]] == [given[0], rows[2]["path"], given[2]]
    for query, reply in (("multipart-manifest=get&format=raw", raw), ("multipart-manifest=get", shown)):
        head = swift("HEAD", f"{box}/big", query=query).headers
        assert (head["content-length"], head["etag"]) == (str(len(reply.body)), reply.headers["etag"])
    assert put(swift, f"{box}/again", raw.json).status == 201
    assert swift("GET", f"{box}/again").body == b"head" + PIECES[2] + b"tail" * 50_000


def test_a_heartbeat_is_answered_by_a_report(swift: Swift, box: str, rows: list[dict[str, Any]]) -> None:
    def beat(name: str, given: Any) -> Any:
        body = json.dumps(given).encode()
        return swift("PUT", f"{box}/{name}", body, query="multipart-manifest=put&heartbeat=on", Accept="application/json")

    reply = beat("big", rows)
    assert (reply.status, reply.json["Response Status"], reply.json["Errors"]) == (202, "201 Created", [])
    assert f'"{reply.json["Etag"]}"' == swift("HEAD", f"{box}/big").headers["etag"]
    reply = beat("other", [{**rows[0], "etag": md5(b"else")}, {"path": f"/{box}/none"}])
    assert (reply.status, reply.json["Response Status"]) == (202, "400 Bad Request")
    assert reply.json["Errors"] == [[f"/{box}/none", "404 Not Found"], [rows[0]["path"], "Etag Mismatch"]]
    swift("POST", box, X_Container_Meta_Quota_Bytes="1")
    reply = swift("PUT", f"{box}/full", json.dumps(rows).encode(), query="multipart-manifest=put&heartbeat=on")
    assert (reply.status, b"Response Status: 413 Request Entity Too Large" in reply.body) == (202, True)
    assert beat("not", {"no": "list"}).status == 400
    assert swift("HEAD", f"{box}/other").status == 404


def test_an_asynchronous_deletion_removes_the_object_and_leaves_its_segments_to_the_daemon(
    swift: Swift, box: str, rows: list[dict[str, Any]]
) -> None:
    segments = swift("GET", box).lines
    put(swift, f"{box}/big", rows)
    assert swift("DELETE", f"{box}/big", query="multipart-manifest=delete&async=yes").status == 204
    assert swift("GET", box).lines == segments
    assert swift("DELETE", f"{box}/big", query="multipart-manifest=delete&async=yes").status == 404
    swift("PUT", "another-box")
    swift("PUT", "another-box/s", b"x")
    put(swift, f"{box}/big", [*rows, {"path": "/another-box/s"}])
    reply = swift("DELETE", f"{box}/big", query="multipart-manifest=delete&async=yes")
    assert (reply.status, b"All segments must be in one container." in reply.body) == (400, True)
    assert swift("HEAD", f"{box}/big").status == 200
