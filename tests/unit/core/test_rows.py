"""Rows travel as bytes and old readers survive new fields."""

import msgspec
import pytest

from objstore.core.rows import EMPTY, BodyKind, Kind, PartRef, Register, Row, decode_row, encode_row, is_live, kind_of
from objstore.core.timestamp import ZERO, Ballot

BALLOT = Ballot(b"\x01" * 12)


def row(kind: Kind = Kind.OBJECT) -> Row:
    return Row(
        kind, b"o" * 16, BALLOT, BALLOT, 1, size=5, etag="e", body=BodyKind.MANIFEST,
        parts=(PartRef(2, b"u/00001", 5, "p", BALLOT, 1),), metadata={"a": "é"}, checksums={"crc32": b"\0\1\2\3"},
    )  # fmt: skip


def test_a_row_comes_back_equal_and_equal_rows_give_equal_bytes() -> None:
    assert decode_row(encode_row(row())) == row()
    assert encode_row(row()) == encode_row(row())


def test_a_row_with_fields_of_a_later_version_still_decodes() -> None:
    fields = msgspec.msgpack.decode(encode_row(row()))
    assert decode_row(msgspec.msgpack.encode([*fields, "a field from the future"])) == row()


def test_a_row_without_the_last_fields_gets_their_defaults() -> None:
    fields = msgspec.msgpack.decode(encode_row(row()))
    assert decode_row(msgspec.msgpack.encode(fields[:5])).parts == ()


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", encode_row(row())[:-3]])
def test_malformed_rows_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_row(data)


def test_tombstones_and_delete_markers_are_not_live() -> None:
    assert is_live(row())
    assert not is_live(row(Kind.TOMBSTONE))
    assert not is_live(row(Kind.DELETE_MARKER))


def test_a_new_ballot_must_exceed_promise_and_acceptance() -> None:
    assert EMPTY.highest == ZERO
    assert Register(promised=BALLOT, accepted=ZERO).highest == BALLOT
    assert Register(promised=ZERO, accepted=BALLOT).highest == BALLOT


def test_the_kind_of_an_encoded_row_is_the_rows() -> None:
    for kind in Kind:
        row = Row(kind, b"o" * 16, Ballot(bytes(12)), Ballot(bytes(12)), 7, metadata={"a": "b"})
        assert kind_of(encode_row(row)) == kind == decode_row(encode_row(row)).kind
    for damaged in (b"", b"\xc0", b"\x90", b"\x91\xa1x"):
        with pytest.raises(msgspec.MsgspecError):
            kind_of(damaged)
