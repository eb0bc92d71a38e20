"""Bulk upload through the front, with archives of the standard library."""

import gzip
import io
import tarfile

import pytest

from objstore.fronts.swift.context import SwiftSettings
from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, Reply, Swift, swift_serving
from tests.unit.fronts.swift.test_unpack import PACK, archive


def upload(swift: Swift, data: bytes, path: str = "", form: str = "tar", accept: str = "application/json") -> Reply:
    return swift("PUT", path, data, query=f"extract-archive={form}", Accept=accept)


def names(swift: Swift, box: str) -> list[str]:
    return swift("GET", box).lines


@pytest.mark.parametrize("form", PACK)
def test_an_archive_becomes_objects_and_its_containers_are_made(swift: Swift, box: str, form: str) -> None:
    data = PACK[form](archive({f"./{box}/a": b"one", f"/{box}/d/ö": b"x" * 200_000, f"{box}-new/page.html": b"", "nowhere": b"x"}))
    reply = upload(swift, data, form=f"tar.{form}" if form else "tar")
    assert reply.status == 200
    assert reply.json == {"Response Status": "201 Created", "Response Body": "", "Number Files Created": 3, "Errors": []}
    assert names(swift, box) == ["a", "d/ö"]
    assert swift("GET", f"{box}/d/ö").body == b"x" * 200_000
    assert swift("HEAD", f"{box}-new/page.html").headers["content-type"] == "text/html"


def test_what_the_request_names_stands_before_the_names(swift: Swift, box: str) -> None:
    assert upload(swift, archive({"a": b"1", "d/b": b"2"}), f"{box}/pre/fix/").json["Number Files Created"] == 2
    assert upload(swift, archive({"c": b"3"}), box).json["Number Files Created"] == 1
    assert names(swift, box) == ["c", "pre/fix/a", "pre/fix/d/b"]


def test_extended_attributes_are_metadata(swift: Swift, box: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, attributes in (
            (
                "star",
                {"SCHILY.xattr.user.mime_type": "food/diy", "SCHILY.xattr.user.meta.Lunch": "sändwich", "SCHILY.xattr.user.other": "x"},
            ),
            ("bsd", {"LIBARCHIVE.xattr.user.mime_type": "Zm9vZC9kaXk", "LIBARCHIVE.xattr.user.meta.lunch": "c291cA=="}),
            ("bad", {"SCHILY.xattr.user.meta.a b": "x"}),
        ):
            info = tarfile.TarInfo(name)
            info.pax_headers = attributes
            made.addfile(info)
    reply = upload(swift, stream.getvalue(), box).json
    assert (reply["Number Files Created"], reply["Errors"]) == (2, [[f"{box}/bad", "400 Bad Request"]])
    for name, lunch in (("star", "sändwich".encode().decode("latin-1")), ("bsd", "soup")):
        headers = swift("HEAD", f"{box}/{name}").headers
        assert (headers["content-type"], headers["x-object-meta-lunch"]) == ("food/diy", lunch)


def test_hostile_members_are_refused_or_passed_over(swift: Swift, box: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"kind{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            made.addfile(info)
        for name in ("../../up", "d/../x", "x" * 1100, "//abs//path", "good"):
            made.addfile(tarfile.TarInfo(name))
        sparse = tarfile.TarInfo("sparse")
        sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 3
        made.addfile(sparse, io.BytesIO(b"abc"))
        made.addfile(tarfile.TarInfo("last"))
    data = stream.getvalue() + b""
    reply = upload(swift, data, box).json
    assert reply["Response Status"] == "400 Bad Request"
    assert [(name[len(box) + 1 :][:9], why) for name, why in reply["Errors"]] == [
        ("../../up", "400 Bad Request"),
        ("d/../x", "400 Bad Request"),
        ("xxxxxxxxx", "400 Bad Request"),
        ("sparse", "400 Bad Request"),
    ]
    assert names(swift, box) == ["abs//path", "good", "last"]


def test_names_that_are_not_utf8_are_told(swift: Swift, box: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as made:
        made.addfile(tarfile.TarInfo("ö"))
        made.addfile(tarfile.TarInfo("o"))
    reply = upload(swift, stream.getvalue(), box).json
    assert (reply["Errors"], reply["Number Files Created"]) == ([["%F6", "412 Precondition Failed"]], 1)


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        (b"", "tar", "No Valid Files"),
        (archive({}), "tar", "No Valid Files"),
        (b"no archive" * 100, "tar", "not octal"),
        (b"no archive" * 100, "tar.gz", "the data is not gz"),
        (archive({"a/b": b"x" * 5000})[:2000], "tar", "unexpected end of data"),
        (gzip.compress(archive({"a/b": b"x" * 5000}))[:-5], "tar.gz", "the compressed data ends early"),
    ],
    ids=["nothing", "empty", "text", "text as gz", "cut off", "gz cut off"],
)
def test_broken_archives_are_told_inside_a_200(swift: Swift, box: str, data: bytes, form: str, why: str) -> None:
    reply = upload(swift, data, box, form)
    assert (reply.status, reply.json["Response Status"]) == (200, "400 Bad Request")
    assert reply.json["Response Body"].startswith("Invalid Tar File: ")
    assert why in reply.json["Response Body"]
    assert set(names(swift, box)) <= {"a/b"}  # whether compressed data is whole is known at its end alone


def test_reports_come_as_text_and_xml(swift: Swift, box: str) -> None:
    data = archive({f"{box}/a": b"x"})
    assert upload(swift, data, accept="").lines[:3] == ["Response Status: 201 Created", "Response Body: ", "Number Files Created: 1"]
    reply = upload(swift, data, accept="text/xml")
    assert reply.headers["content-type"].startswith("application/xml")
    assert b"?>\n<extract><response_status>201 Created</response_status>" in reply.body
    assert b"<number_files_created>1</number_files_created><errors></errors></extract>" in reply.body


def test_unknown_forms_and_lengths_are_refused_outright(swift: Swift) -> None:
    assert upload(swift, b"x", form="zip").status == 400
    assert b"Unsupported archive format" in upload(swift, b"x", form="7z").body


def test_who_may_not_write_creates_nothing(running: Running, swift: Swift, box: str) -> None:
    data = archive({f"{box}/a": b"x", f"{box}-other/b": b"y"})
    reply = upload(Swift(running, None), data).json
    assert (reply["Response Status"], reply["Number Files Created"]) == ("401 Unauthorized", 0)
    reply = upload(Swift(running, MEMBER), data).json
    assert reply["Response Status"] == "400 Bad Request"
    assert [f"{box}/a", "403 Forbidden"] in reply["Errors"]
    assert [f"/v1/AUTH_test/{box}-other", "403 Forbidden"] in reply["Errors"]
    swift("POST", box, X_Container_Write="test:tester3")
    assert upload(Swift(running, MEMBER), archive({"a": b"x"}), box).json["Number Files Created"] == 1
    assert swift("HEAD", f"{box}-other").status == 404


def test_strangers_are_not_told_which_containers_there_are(running: Running, box: str) -> None:
    """S21."""
    stranger = Swift(running, OTHER).at("test")
    found, missing = (upload(stranger, archive({f"{name}/a": b"x"})).json["Errors"] for name in (box, f"{box}-none"))
    assert [[name.replace(f"{box}-none", box), why] for name, why in missing] == found


def test_nothing_is_unpacked_for_nobody(running: Running) -> None:
    """S30: a few megabytes of zeros in a member that is no file were gigabytes of work."""
    reply = upload(Swift(running, None), b"no archive at all", form="tar.gz").json
    assert reply["Response Status"] == "401 Unauthorized"


def test_what_does_not_fit_is_told_and_the_rest_is_written(swift: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Quota_Bytes="1000")
    reply = upload(swift, archive({"a": b"x" * 600, "b": b"x" * 600, "c": b"x" * 300}), box).json
    assert (reply["Number Files Created"], reply["Errors"]) == (2, [[f"{box}/b", "413 Request Entity Too Large"]])


def test_limits_end_an_upload() -> None:
    settings = SwiftSettings(max_archive_bytes=100_000, max_archive_members=20, max_failed_extractions=2, max_containers_per_extraction=2)
    with swift_serving(settings=settings) as running:
        swift = Swift(running)
        bomb = gzip.compress(archive({"c/zeros": bytes(3_000_000)}))
        reply = upload(swift, bomb, form="tar.gz").json
        assert reply["Response Body"] == "Invalid Tar File: it unpacks to more than it may"
        assert swift("HEAD", "c").status == 404
        assert upload(swift, bytes(100_001)).status == 413
        reply = upload(swift, archive({f"c{number}/x": b"" for number in range(4)})).json
        assert reply["Response Body"] == "More than 2 containers to create from tar."
        reply = upload(swift, archive({f"../{number}": b"" for number in range(9)}), "c").json
        assert len(reply["Errors"]) == 2
        assert "more than 20 members" in upload(swift, archive({str(number): b"" for number in range(21)}), "c").json["Response Body"]
