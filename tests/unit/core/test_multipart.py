from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from objstore.core import checksums
from objstore.core.multipart import (
    Stored,
    UploadRecord,
    check_promised,
    choose_parts,
    completed_checksum,
    completed_etag,
    latest_attempts,
)
from objstore.core.names import new_upload_id, part_name
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import ZERO, ballot_at
from objstore.errors import BadDigest, EntityTooSmall, InvalidPart, InvalidPartOrder, InvalidRequest, MalformedXml

UPLOAD = new_upload_id(5, b"abcdefgh")
FULL = UploadRecord(record_version=1, checksum_algorithm="crc64nvme", checksum_type="FULL_OBJECT", declared=False)
SHA = UploadRecord(record_version=1, checksum_algorithm="sha256", checksum_type="COMPOSITE", declared=True)


@dataclass
class Line:
    number: int
    etag: str
    checksums: Mapping[str, bytes] = field(default_factory=dict)


def etag(letter: str) -> str:
    return letter * 32


def attempt(number: int, letter: str, at: int, size: int = 100, algorithm: str = "crc64nvme", digest: bytes = bytes(8)) -> Stored:
    row = Row(
        kind=Kind.PART, operation=b"", origin=ballot_at(at, 1), base=ZERO, modified_us=0, size=size, etag=etag(letter), checksums={algorithm: digest}
    )  # fmt: skip
    return Stored(part_name(UPLOAD, number, at.to_bytes(8, "big")), row)


ATTEMPTS = [attempt(1, "a", 10), attempt(2, "b", 11), attempt(1, "c", 12), attempt(7, "d", 9, size=1)]


def test_the_latest_attempt_is_the_part() -> None:
    assert [(a.row.etag[0]) for a in latest_attempts(ATTEMPTS)] == ["c", "b", "d"]
    assert latest_attempts([]) == []


def test_listed_parts_become_a_manifest_with_exact_origins() -> None:
    parts = choose_parts([Line(1, etag("c")), Line(2, f'"{etag("b")}"'), Line(7, etag("d"))], ATTEMPTS, FULL, 100)
    assert [(p.number, p.size, p.etag[0], p.origin) for p in parts] == [
        (1, 100, "c", ballot_at(12, 1)),
        (2, 100, "b", ballot_at(11, 1)),
        (7, 1, "d", ballot_at(9, 1)),
    ]
    assert completed_etag(parts).endswith("-3")


def test_an_earlier_attempt_is_taken_when_its_etag_is_the_one_named() -> None:
    assert choose_parts([Line(1, etag("a"))], ATTEMPTS, FULL, 100)[0].origin == ballot_at(10, 1)


def test_of_attempts_with_the_same_bytes_the_latest_is_taken() -> None:
    assert choose_parts([Line(1, etag("a"))], [*ATTEMPTS, attempt(1, "a", 20)], FULL, 100)[0].origin == ballot_at(20, 1)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], MalformedXml),
        ([Line(2, etag("b")), Line(1, etag("c"))], InvalidPartOrder),
        ([Line(1, etag("c")), Line(1, etag("c"))], InvalidPartOrder),
        ([Line(3, etag("c"))], InvalidPart),
        ([Line(1, etag("b"))], InvalidPart),
        ([Line(1, etag("c"), {"crc64nvme": b"another!"})], InvalidPart),
        ([Line(1, etag("c")), Line(7, etag("d")), Line(8, etag("e"))], InvalidPart),
    ],
)
def test_lists_that_do_not_fit_are_refused(lines: list[Line], error: type[Exception]) -> None:
    with pytest.raises(error):
        choose_parts(lines, ATTEMPTS, FULL, 100)


def test_only_the_last_part_may_be_small() -> None:
    attempts = [attempt(1, "a", 1, size=99), attempt(2, "b", 2, size=0)]
    with pytest.raises(EntityTooSmall) as refusal:
        choose_parts([Line(1, etag("a")), Line(2, etag("b"))], attempts, FULL, 100)
    assert refusal.value.facts["number"] == 1
    assert len(choose_parts([Line(2, etag("b"))], attempts, FULL, 100)) == 1


def test_checksums_may_be_left_out_for_all_parts_but_not_for_some() -> None:
    attempts = [attempt(1, "a", 1, 100, "sha256", b"x"), attempt(2, "b", 2, 100, "sha256", b"y")]
    plain = [Line(1, etag("a")), Line(2, etag("b"))]
    assert [p.checksum for p in choose_parts(plain, attempts, SHA, 100)] == [b"x", b"y"]
    with pytest.raises(InvalidRequest):
        choose_parts([Line(1, etag("a"), {"sha256": b"x"}), plain[1]], attempts, SHA, 100)


def test_the_objects_checksum_is_combined_or_composite_as_the_upload_says() -> None:
    data = [b"a" * 100, b"b" * 50]
    for record, algorithm in ((FULL, "crc64nvme"), (SHA, "sha256")):
        attempts = [attempt(i, "ab"[i - 1], i, len(d), algorithm, checksums.digest_of(algorithm, d)) for i, d in enumerate(data, 1)]
        parts = choose_parts([Line(1, etag("a")), Line(2, etag("b"))], attempts, record, 100)
        found = completed_checksum(record, parts)
        if record is FULL:
            assert found == checksums.digest_of("crc64nvme", b"".join(data))
        else:
            assert found == checksums.digest_of("sha256", b"".join(checksums.digest_of("sha256", d) for d in data))
        check_promised(record, found, {algorithm: found})
        with pytest.raises(BadDigest):
            check_promised(record, found, {algorithm: b"other"})
        with pytest.raises(InvalidRequest):
            check_promised(record, found, {"crc32": found})
