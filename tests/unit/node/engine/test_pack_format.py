import pytest

from objstore.core.rows import RowKey
from objstore.core.timestamp import ZERO, ballot_at
from objstore.errors import DamagedFile
from objstore.node.engine.pack_format import (
    FILE_HEADER_BYTES,
    MAX_META_BYTES,
    RECORD_HEADER_BYTES,
    TIED,
    Drop,
    Floor,
    Note,
    Promise,
    RecordType,
    checksum_of,
    decode_file_header,
    decode_meta,
    decode_record_head,
    decode_state,
    encode_file_header,
    encode_meta,
    encode_record,
    seed_of,
    verify_head,
)
from objstore.node.engine.records import Entry

SEAL = b"device-1"
KEY = RowKey(b"bucket-1", 0, b"name")
ENTRY = Entry(5, 17, ZERO, ballot_at(1, 1), 4, 3, 104, 4, checksum_of(b"body"), 2, b"", b"row")
GOLDEN_FILE = bytes.fromhex(
    "6f626a7061636b00010000000000000003000000000000006465766963652d31070000000000000000000000000000000000000000000000a98d7e8fac7c234b"
)
GOLDEN_RECORD = bytes.fromhex(
    "524f434b0101000049000000040000000900000000000000fae17f18eec8f284d36cff4ad41b9945626f64799294c4086275636b65742d3100c4046e616d65c4009c0511c40c000000000000000000000000c40c00000000000000010000000104036804cf84f2c8ee187fe1fa02c400c403726f77"
)


def record(offset: int = 64, pack: int = 3) -> bytes:
    meta = encode_meta((KEY, ENTRY))
    head = encode_record(RecordType.STATE, meta, 9, seed_of(pack, SEAL) + offset, payload_length=4, checksum=checksum_of(b"body"))
    return head + b"body" + meta


def test_golden_bytes() -> None:
    """Packs of format version 1 are on disks."""
    assert encode_file_header(3, SEAL, 7) == GOLDEN_FILE
    head = decode_record_head(GOLDEN_RECORD)
    assert head is not None
    assert (head.type, head.sequence, head.payload_length) == (RecordType.STATE, 9, 4)
    meta = GOLDEN_RECORD[-head.meta_length :]
    assert verify_head(GOLDEN_RECORD[:40], meta, seed_of(3, SEAL) + 64)
    assert decode_state(meta) == (KEY, ENTRY)


def test_a_record_that_is_tied_to_the_next_says_so_under_its_checksum() -> None:
    meta = encode_meta((KEY, ENTRY))
    raw = encode_record(RecordType.STATE, meta, 9, seed_of(3, SEAL) + 64, flags=TIED)
    tied, free = decode_record_head(raw), decode_record_head(GOLDEN_RECORD)
    assert tied is not None
    assert free is not None
    assert (tied.flags, free.flags) == (TIED, 0)
    assert verify_head(raw, meta, seed_of(3, SEAL) + 64)
    assert not verify_head(raw[:6] + bytes(2) + raw[8:], meta, seed_of(3, SEAL) + 64)


def test_a_file_header_is_valid_only_for_its_pack_and_its_device() -> None:
    header = encode_file_header(3, SEAL, 7)
    assert len(header) == FILE_HEADER_BYTES
    assert decode_file_header(header, 3, SEAL) == 7
    for pack, seal in ((4, SEAL), (3, b"device-2")):
        with pytest.raises(DamagedFile):
            decode_file_header(header, pack, seal)
    assert decode_file_header(header[:-1], 3, SEAL) is None


def test_any_flipped_bit_of_a_file_header_is_seen() -> None:
    for bit in range(FILE_HEADER_BYTES * 8):
        wrong = bytearray(GOLDEN_FILE)
        wrong[bit // 8] ^= 1 << bit % 8
        assert decode_file_header(bytes(wrong), 3, SEAL) is None


def test_a_record_head_describes_the_record() -> None:
    head = decode_record_head(record())
    assert head is not None
    assert (head.type, head.payload_length, head.sequence, head.length) == (RecordType.STATE, 4, 9, len(record()))


def test_any_flipped_bit_of_head_or_meta_is_seen() -> None:
    good = record()
    for bit in range(len(good) * 8):
        if RECORD_HEADER_BYTES <= bit // 8 < RECORD_HEADER_BYTES + 4:
            continue  # the payload has its own checksum
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << bit % 8
        head = decode_record_head(bytes(wrong))
        meta = bytes(wrong[RECORD_HEADER_BYTES + 4 :])
        assert head is None or not verify_head(bytes(wrong[:RECORD_HEADER_BYTES]), meta, seed_of(3, SEAL) + 64)


def test_a_record_is_valid_only_where_it_was_written() -> None:
    good = record()
    head, meta = good[:RECORD_HEADER_BYTES], good[RECORD_HEADER_BYTES + 4 :]
    assert verify_head(head, meta, seed_of(3, SEAL) + 64)
    assert not verify_head(head, meta, seed_of(3, SEAL) + 65)
    assert not verify_head(head, meta, seed_of(4, SEAL) + 64)
    assert not verify_head(head, meta, seed_of(3, b"device-2") + 64)


def test_what_cannot_be_a_head_is_none() -> None:
    good = bytearray(record())
    assert decode_record_head(bytes(good[: RECORD_HEADER_BYTES - 1])) is None
    assert decode_record_head(b"\x00" * RECORD_HEADER_BYTES) is None
    good[8:12] = (MAX_META_BYTES + 1).to_bytes(4, "little")
    assert decode_record_head(bytes(good)) is None


def test_every_meta_comes_back() -> None:
    assert decode_state(encode_meta((KEY, ENTRY))) == (KEY, ENTRY)
    for kind, value in (
        (RecordType.PROMISE, Promise(5, KEY, ballot_at(1, 1))),
        (RecordType.DROP, Drop(5, KEY, 1, 2, ballot_at(1, 1))),
        (RecordType.NOTE, Note("epoch", b"7")),
        (RecordType.NOTE, Note("epoch", None)),
        (RecordType.FLOOR, Floor(5, ballot_at(1, 1))),
    ):
        assert decode_meta(kind, encode_meta(value)) == value


def test_an_unknown_record_type_is_refused() -> None:
    with pytest.raises(KeyError):
        decode_meta(99, encode_meta(Note("a", None)))


def test_no_payload_has_checksum_zero() -> None:
    assert checksum_of(b"") == 0
    assert checksum_of(b"a") == checksum_of(memoryview(b"a")) != 0
