"""Checksum headers in and out."""

import pytest

from objstore.core.checksums import ALGORITHMS
from objstore.errors import BadDigest, InvalidDigest, InvalidRequest
from objstore.fronts.s3.checksums import (
    ELEMENTS,
    HEADERS,
    check_document,
    elements,
    expected_of,
    parse_md5,
    parse_value,
    part_headers,
    response_headers,
    shown,
)
from objstore.objects.api import Expected, ObjectInfo


def info(**facts: object) -> ObjectInfo:
    return ObjectInfo("k", 1, "e", 0, **facts)  # type: ignore[arg-type] # as the test says


def test_every_algorithm_has_its_header_and_element() -> None:
    assert set(HEADERS.values()) == set(ELEMENTS) == set(ALGORITHMS)
    assert ELEMENTS["crc64nvme"] == "ChecksumCRC64NVME"


def test_without_a_promise_the_default_is_computed_unless_told_otherwise() -> None:
    assert expected_of({}, {}).wanted == ("crc64nvme",)
    assert expected_of({}, {}, default="").wanted == ()
    assert expected_of({"content-md5": "XrY7u+Ae7tCTyyK7j1rNww=="}, {}).wanted == ("crc64nvme",)


def test_a_header_is_a_promise_and_a_trailer_announces_one() -> None:
    promised = expected_of(
        {}, {"x-amz-checksum-crc32": "AAAAAQ==", "x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-mode": "ENABLED"}
    )
    assert (dict(promised.checksums), promised.wanted) == ({"crc32": b"\0\0\0\1"}, ())
    announced = expected_of({}, {"x-amz-trailer": "X-Amz-Checksum-SHA1", "x-amz-sdk-checksum-algorithm": "SHA1"})
    assert (announced.wanted, dict(announced.checksums)) == (("sha1",), {})


@pytest.mark.parametrize(
    "amz",
    [
        {"x-amz-checksum-crc32": "AAAAAQ==", "x-amz-checksum-sha1": "A" * 27 + "="},
        {"x-amz-checksum-crc32": "AAAAAQ==", "x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-checksum-crc32": "AAAA"},
        {"x-amz-checksum-crc32": "AAAAAQ"},
        {"x-amz-checksum-crc32": "AAAAAQ==="},
        {"x-amz-checksum-crc32": "\xff"},
        {"x-amz-checksum-md4": "AAAA"},
        {"x-amz-trailer": "x-amz-meta-a"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": "AAAAAQ=="},
    ],
)
def test_contradictions_are_refused(amz: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        expected_of(amz, amz)


def test_content_md5_is_sixteen_bytes() -> None:
    assert parse_md5(None) is None
    assert parse_md5("AAAAAAAAAAAAAAAAAAAAAA==") == bytes(16)
    for odd in ("", "AAAA", "*"):
        with pytest.raises(InvalidDigest):
            parse_md5(odd)
    assert parse_value("crc64nvme", "AAAAAAAAAAA=") == bytes(8)


def test_an_object_shows_the_clients_checksum_rather_than_the_added_one() -> None:
    assert shown(info()) == ("", "")
    assert response_headers(info()) == []
    both = info(checksums={"crc64nvme": bytes(8), "sha1": bytes(20)}, checksum_type="FULL_OBJECT")
    assert shown(both) == ("sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    composite = info(checksums={"crc32": bytes(4)}, checksum_type="COMPOSITE", part_count=7)
    assert response_headers(composite) == [(b"x-amz-checksum-crc32", b"AAAAAA==-7"), (b"x-amz-checksum-type", b"COMPOSITE")]
    assert part_headers({"crc32": bytes(4)}) == [(b"x-amz-checksum-crc32", b"AAAAAA==")]
    assert elements({"crc32": bytes(4)}) == "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"


def test_documents_are_held_to_every_promise() -> None:
    check_document(b"", Expected(), {"crc32": bytes(4)})
    for expected, trailers in (
        (Expected(md5=bytes(16)), {}),
        (Expected(checksums={"crc32": b"1234"}), {}),
        (Expected(), {"sha1": bytes(20)}),
    ):
        with pytest.raises(BadDigest):
            check_document(b"x", expected, trailers)
