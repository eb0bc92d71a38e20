import pytest
import xxhash

from objstore.errors import DamagedFile
from objstore.node.engine.blob_format import TRAILER_BYTES, Trailer, decode_trailer, encode_footer, verify_footer

BLOB = b"blob-id-16-bytes"
TRAILER = Trailer(1024, 2500, BLOB, xxhash.xxh3_128_digest(b"data"), 1_800_000_000_000_000)
TABLE = bytes(range(24))
GOLDEN = bytes.fromhex(
    "000102030405060708090a0b0c0d0e0f10111213141516176f626a626c6f62000100000000040000c409000000000000626c6f622d69642d31362d6279746573c044be4073bb71f1340036b3f23aa86d00809828176506008b9604ae73c0ec07"
)


def test_golden_footer() -> None:
    """Blobs of format version 1 are on disks."""
    assert encode_footer(TRAILER, TABLE) == GOLDEN


def test_a_footer_comes_back() -> None:
    footer = encode_footer(TRAILER, TABLE)
    assert decode_trailer(footer[-TRAILER_BYTES:], BLOB, 2500 + len(footer)) == TRAILER
    verify_footer(TABLE, footer[-TRAILER_BYTES:], BLOB)


def test_blocks_are_counted_with_a_short_last_one() -> None:
    assert [Trailer(1024, size, BLOB, b"", 0).blocks for size in (0, 1, 1024, 1025)] == [0, 1, 1, 2]


def check(footer: bytes, file_size: int) -> None:
    decode_trailer(footer[-TRAILER_BYTES:], BLOB, file_size)
    verify_footer(footer[:-TRAILER_BYTES], footer[-TRAILER_BYTES:], BLOB)


def test_any_flipped_bit_is_seen() -> None:
    footer = encode_footer(TRAILER, TABLE)
    for bit in range(len(footer) * 8):
        wrong = bytearray(footer)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedFile):
            check(bytes(wrong), 2500 + len(footer))


def test_a_trailer_is_that_of_one_blob_of_one_length() -> None:
    footer = encode_footer(TRAILER, TABLE)
    for tail, blob, size in (
        (footer[-TRAILER_BYTES:], bytes(16), 2500 + len(footer)),
        (footer[-TRAILER_BYTES:], BLOB, 2499 + len(footer)),
        (footer[-TRAILER_BYTES + 1 :], BLOB, 2500 + len(footer)),
    ):
        with pytest.raises(DamagedFile):
            decode_trailer(tail, blob, size)
