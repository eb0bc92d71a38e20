import msgspec
import pytest

from objstore.core import checksums
from objstore.core.append import MAX_PIECES, appended, check_offset, next_number, running_algorithm, taken_along
from objstore.core.names import is_append_piece, new_append_id, new_upload_id, part_name
from objstore.core.rows import BodyKind, Kind, PartRef, Row, Space
from objstore.core.timestamp import ZERO
from objstore.errors import InvalidWriteOffset, TooManyParts

ROW = Row(
    kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=7, size=5, etag="0" * 32, metadata={"a": "1"},
    checksums={"crc64nvme": checksums.digest_of("crc64nvme", b"12345")}, checksum_type=checksums.FULL_OBJECT,
    version="x", lock_mode="GOVERNANCE", retain_until_us=9, legal_hold=True, effects=(b"old",),
)  # fmt: skip


def piece(number: int, size: int, *, uploaded: bool = False) -> PartRef:
    identity = (new_upload_id if uploaded else new_append_id)(1_800_000_000_000_000, bytes(8))
    return PartRef(space=Space.PARTS, name=part_name(identity, number, bytes(8)), size=size, etag="0" * 32, origin=ZERO, number=number)


def test_bytes_go_to_the_end_only() -> None:
    check_offset(ROW, 5)
    check_offset(None, 0)
    check_offset(msgspec.structs.replace(ROW, kind=Kind.DELETE_MARKER), 0)
    for current, offset in ((ROW, 0), (ROW, 4), (ROW, 6), (None, 1)):
        with pytest.raises(InvalidWriteOffset):
            check_offset(current, offset)


def test_only_appended_pieces_are_taken_along_and_only_small_ones() -> None:
    assert is_append_piece(piece(1, 1).name)
    assert not is_append_piece(piece(1, 1, uploaded=True).name)
    assert taken_along([piece(1, 8), piece(2, 2), piece(3, 1)], 1, 100) == 2
    assert taken_along([piece(1, 4), piece(2, 2), piece(3, 1)], 1, 100) == 3
    assert taken_along([piece(1, 4), piece(2, 2), piece(3, 1)], 1, 7) == 2
    assert taken_along([piece(1, 1, uploaded=True)], 50, 100) == 0
    assert taken_along([], 1, 100) == 0


def test_many_small_appends_leave_few_pieces() -> None:
    parts: list[PartRef] = []
    rewritten = 0
    for _ in range(5000):
        along = taken_along(parts, 10, 4096)
        number = next_number(parts, along)
        gathered = 10 + sum(part.size for part in parts[len(parts) - along :])
        rewritten += gathered
        parts = [*parts[: len(parts) - along], piece(number, gathered)]
        assert [part.number for part in parts] == sorted({part.number for part in parts})
    assert sum(part.size for part in parts) == 50_000
    assert len(parts) < 40
    assert rewritten < 50_000 * 12


def test_there_is_a_limit_to_pieces() -> None:
    parts = [piece(number, 5) for number in range(1, MAX_PIECES + 1)]
    with pytest.raises(TooManyParts):
        next_number(parts, 0)
    assert next_number(parts, 1) == MAX_PIECES
    assert next_number([piece(3, 1)], 0) == 4
    assert next_number([], 0) == 1


def test_what_is_appended_carries_the_checksum_on_and_nothing_of_the_version() -> None:
    grown = appended(ROW, [piece(1, 5), piece(2, 3)], "crc64nvme", checksums.digest_of("crc64nvme", b"678"), 3)
    assert grown.checksums == {"crc64nvme": checksums.digest_of("crc64nvme", b"12345678")}
    assert (grown.size, grown.body, grown.metadata, grown.modified_us) == (8, BodyKind.MANIFEST, {"a": "1"}, 0)
    assert (grown.version, grown.lock_mode, grown.legal_hold, grown.effects) == ("", "", False, ())
    assert grown.etag.endswith("-2")
    assert running_algorithm(ROW) == "crc64nvme"
    plain = msgspec.structs.replace(ROW, checksums={"sha256": bytes(32)})
    assert running_algorithm(plain) == ""
    assert running_algorithm(msgspec.structs.replace(ROW, checksum_type=checksums.COMPOSITE)) == ""
    assert appended(plain, [piece(1, 5)], "", b"", 3).checksums == {}
