"""Records of the journal: only whole, good ones in order come back."""

import pytest

from objstore.errors import DamagedFile
from objstore.services.volume.journal_format import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    WRITE,
    ZEROES,
    Segment,
    decode_records,
    decode_segment,
    encode_record,
    encode_segment,
    seed_of,
)

JOURNAL, VOLUME = b"j" * 16, b"v" * 16
SEED = seed_of(JOURNAL)


def some() -> bytes:
    first = encode_record(SEED, WRITE, 5, 100, 3, b"abc") + b"abc"
    return first + encode_record(SEED, ZEROES, 6, 0, 1 << 31) + encode_record(SEED, WRITE, 7, 9, 1, b"z") + b"z"


def test_records_come_back_in_order_with_where_they_end() -> None:
    found = [(r.kind, r.number, r.offset, r.length, bytes(r.payload), end) for r, end in decode_records(some(), SEED, 5)]
    at = RECORD_HEADER_BYTES
    assert found == [(WRITE, 5, 100, 3, b"abc", at + 3), (ZEROES, 6, 0, 1 << 31, b"", 2 * at + 3), (WRITE, 7, 9, 1, b"z", 3 * at + 4)]


def test_reading_stops_at_the_first_record_that_is_not_whole_and_good() -> None:
    data = some()
    ends = [end for _, end in decode_records(data, SEED, 5)]
    for cut in range(len(data)):
        assert len(list(decode_records(data[:cut], SEED, 5))) == sum(end <= cut for end in ends)
        broken = data[:cut] + bytes([data[cut] ^ 0x10]) + data[cut + 1 :]
        assert len(list(decode_records(broken, SEED, 5))) == sum(end <= cut for end in ends)


def test_records_of_another_journal_or_number_do_not_count() -> None:
    assert not list(decode_records(some(), seed_of(b"k" * 16), 5))
    assert not list(decode_records(some(), SEED, 6))


def test_a_segment_that_was_not_begun_is_none_and_a_newer_one_is_refused() -> None:
    data = encode_segment(Segment(JOURNAL, VOLUME, 12))
    assert len(data) == SEGMENT_HEADER_BYTES
    assert decode_segment(data) == Segment(JOURNAL, VOLUME, 12)
    assert decode_segment(data[:-1]) is None
    assert decode_segment(bytes(len(data))) is None
    import struct

    import xxhash

    newer = bytearray(data)
    newer[8] = 2
    newer[-8:] = struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(newer[:-8])))
    with pytest.raises(DamagedFile):
        decode_segment(bytes(newer))
