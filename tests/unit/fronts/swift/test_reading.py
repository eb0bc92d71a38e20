"""GET and HEAD of objects: conditions, ranges, large objects made of many."""

import hashlib
import time

import pytest

from tests.support.swift_server import Swift

DATA = bytes(range(256)) * 4


@pytest.fixture
def o(swift: Swift, box: str) -> str:
    swift("PUT", f"{box}/o", DATA, Content_Type="x/y")
    return f"{box}/o"


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=1000-", 1000, 1023), ("bytes=-4", 1020, 1023), ("bytes=1000-9999", 1000, 1023)],
)
def test_one_range_is_answered_with_just_that(swift: Swift, o: str, header: str, first: int, last: int) -> None:
    reply = swift("GET", o, Range=header)
    assert (reply.status, reply.body, reply.headers["content-range"]) == (206, DATA[first : last + 1], f"bytes {first}-{last}/1024")


@pytest.mark.parametrize("header", ["bytes=5-4", "bytes=x", "lines=1-2", "bytes=-", "bytes=1-2,x"])
def test_a_range_that_means_nothing_is_ignored(swift: Swift, o: str, header: str) -> None:
    reply = swift("GET", o, Range=header)
    assert (reply.status, reply.body) == (200, DATA)


def test_a_range_beyond_the_end_is_refused(swift: Swift, o: str) -> None:
    reply = swift("GET", o, Range="bytes=5000-")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */1024")
    assert swift("GET", o, Range="bytes=5000-,6000-").status == 416


def test_several_ranges_come_in_parts(swift: Swift, o: str) -> None:
    reply = swift("GET", o, Range="bytes=0-3,1020-,9999-")
    assert reply.status == 206
    boundary = reply.headers["content-type"].partition("boundary=")[2].encode()
    assert reply.headers["content-type"].startswith("multipart/byteranges")
    _, first, second, end = reply.body.split(b"--" + boundary)
    assert first == b"\r\nContent-Type: x/y\r\nContent-Range: bytes 0-3/1024\r\n\r\n" + DATA[:4] + b"\r\n"
    assert second.endswith(b"bytes 1020-1023/1024\r\n\r\n" + DATA[-4:] + b"\r\n")
    assert end == b"--"
    assert swift("GET", o, Range="bytes=0-3,9999-").headers["content-range"] == "bytes 0-3/1024"


def test_conditions_hold_or_do_not(swift: Swift, o: str) -> None:
    etag = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    modified = swift("HEAD", o).headers["last-modified"]
    for method in ("GET", "HEAD"):
        assert swift(method, o, If_Match=f'"{etag}"').status == 200
        assert swift(method, o, If_Match='"x"').status == 412
        assert swift(method, o, If_None_Match=etag).status == 304
        assert swift(method, o, If_None_Match='"x"').status == 200
        assert swift(method, o, If_Modified_Since=modified).status == 304
        assert swift(method, o, If_Modified_Since="Mon, 01 Jan 2001 00:00:00 GMT").status == 200
        assert swift(method, o, If_Unmodified_Since="Mon, 01 Jan 2001 00:00:00 GMT").status == 412
        assert swift(method, o, If_Unmodified_Since="gibberish").status == 200


def test_a_dynamic_large_object_is_its_segments_in_order(swift: Swift, box: str) -> None:
    pieces = [b"a" * 5, b"b" * 7, b"c" * 3]
    for number in (2, 0, 1):
        swift("PUT", f"{box}/seg/{number:04d}", pieces[number])
    assert swift("PUT", f"{box}/big", b"", X_Object_Manifest=f"{box}/seg/", X_Object_Meta_A="1").status == 201
    whole = b"".join(pieces)
    etags = "".join(hashlib.md5(piece, usedforsecurity=False).hexdigest() for piece in pieces)
    etag = f'"{hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()}"'
    reply = swift("GET", f"{box}/big")
    assert (reply.status, reply.body, reply.headers["etag"], reply.headers["x-object-manifest"]) == (200, whole, etag, f"{box}/seg/")
    head = swift("HEAD", f"{box}/big")
    assert (head.headers["content-length"], head.headers["x-object-meta-a"]) == ("15", "1")
    assert swift("GET", f"{box}/big", Range="bytes=4-12").body == whole[4:13]
    assert swift("GET", f"{box}/big", Range="bytes=-2").body == whole[-2:]
    assert swift("GET", f"{box}/big", Range="bytes=99-").status == 416
    assert swift("GET", f"{box}/big", Range="bytes=0-1,13-14").body.count(b"Content-Range") == 2
    assert swift("GET", f"{box}/big", If_None_Match=etag).status == 304
    assert swift("GET", f"{box}/big", If_Match='"x"').status == 412
    assert swift("GET", f"{box}/big", query="multipart-manifest=get").body == b""
    swift("PUT", f"{box}/seg/0003", b"d")
    assert swift("GET", f"{box}/big").body == whole + b"d"
    swift("COPY", f"{box}/big", Destination=f"{box}/flat")
    flat = swift("GET", f"{box}/flat")
    assert flat.body == whole + b"d"
    assert "x-object-manifest" not in flat.headers
    swift("COPY", f"{box}/big", Destination=f"{box}/alias", query="multipart-manifest=get")
    assert swift("HEAD", f"{box}/alias").headers["x-object-manifest"] == f"{box}/seg/"


def test_a_dynamic_large_object_whose_segment_has_expired_is_a_conflict(swift: Swift, box: str) -> None:
    """Listings show a segment until the expirer comes: its bytes were promised, and the connection broke off."""
    swift("PUT", f"{box}/seg/1", b"abc", X_Delete_After="1")
    swift("PUT", f"{box}/big", b"", X_Object_Manifest=f"{box}/seg/")
    swift("PUT", f"{box}/none", b"", X_Object_Manifest=f"{box}/nothing/")
    assert swift("GET", f"{box}/big").body == b"abc"
    time.sleep(1.5)
    assert [swift("GET", f"{box}/big", **headers).status for headers in ({}, {"Range": "bytes=0-1"})] == [409, 409]
    assert (swift("GET", f"{box}/none").status, swift("GET", f"{box}/none").body) == (200, b"")


def test_segments_that_the_reader_may_not_read_make_nothing(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/big", b"", X_Object_Manifest="nowhere/seg")
    assert swift("GET", f"{box}/big").status == 404
