"""Names and bytes of heads, nodes and references."""

import random

import msgspec
import pytest

from objstore.errors import DamagedFile, InvalidArgument
from objstore.services.volume.layout import (
    CHUNK_LIMITS,
    FANOUT,
    HOLE,
    REF_BYTES,
    SNAPSHOT,
    Head,
    Pin,
    Reader,
    Tree,
    check_shape,
    chunk_key,
    decode_head,
    decode_node,
    decode_reader,
    encode_head,
    encode_node,
    encode_reader,
    head_key,
    levels_for,
    node_key,
    parse_head,
    parse_piece,
    ref_of,
    unpack_ref,
    verify,
    volume_id,
)

VOLUME = bytes(range(16))
TREE = Tree(1 << 30, 2, ref_of(VOLUME, 3, 7, b"root").pack())
HEAD = Head(VOLUME, 128 * 1024, TREE, b"12345678", 1, 5, 2, "host", b"j" * 16, 99, "disk", pins=(Pin(SNAPSHOT, b"s" * 16, TREE, 4, "n"),))
# The bytes of format version 1: they stay readable for ever.
GOLDEN_NODE = bytes.fromhex(
    "6f626a766d6170000100010001000000"
    "05000000" + "000102030405060708090a0b0c0d0e0f" + "0300000000000000" + "07000000" + "04000000"
)  # fmt: skip


def test_a_reference_comes_back_as_it_was() -> None:
    ref = ref_of(VOLUME, 3, 7, b"bytes")
    assert len(ref.pack()) == REF_BYTES == len(HOLE)
    assert unpack_ref(ref.pack()) == ref
    verify(ref, b"bytes")
    for wrong in (b"byteZ", b"byte", b""):
        with pytest.raises(DamagedFile):
            verify(ref, wrong)


def test_names_of_pieces_and_heads_are_read_back() -> None:
    ref = ref_of(VOLUME, 0x1234, 0xAB, b"")
    assert parse_piece(chunk_key(ref)) == parse_piece(node_key(ref)) == (VOLUME, 0x1234, 0xAB)
    assert parse_head(head_key(VOLUME)) == VOLUME
    for odd in ("", "chunk/x/y", "chunk/" + "g" * 32 + "/" + "0" * 16 + "-" + "0" * 8, "head/1", "other/" + "0" * 32):
        assert parse_piece(odd) is None
        assert parse_head(odd) is None


def test_an_id_is_taken_with_and_without_hyphens() -> None:
    text = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert volume_id(text) == volume_id(text.replace("-", "")) == VOLUME
    for odd in ("", "12", "zz" * 16, "é" * 32, " " * 32, "../../etc/passwd"):
        with pytest.raises(InvalidArgument):
            volume_id(odd)


def test_nodes_keep_their_entries_and_leave_out_the_holes() -> None:
    entries = bytearray(FANOUT * REF_BYTES)
    rng = random.Random(1)
    for slot in (0, 5, 1023):
        entries[slot * REF_BYTES : (slot + 1) * REF_BYTES] = ref_of(VOLUME, 1, slot, rng.randbytes(9)).pack()
    data = encode_node(1, entries)
    assert len(data) < 200
    assert decode_node(data, 1) == entries


def test_the_bytes_of_a_node_stay_as_they_are() -> None:
    entries = bytearray(FANOUT * REF_BYTES)
    entries[5 * REF_BYTES : 6 * REF_BYTES] = ref_of(VOLUME, 3, 7, b"abcd").pack()
    assert encode_node(1, entries).startswith(GOLDEN_NODE)


def test_any_changed_byte_of_a_node_or_a_head_is_found() -> None:
    entries = bytearray(FANOUT * REF_BYTES)
    entries[:REF_BYTES] = ref_of(VOLUME, 1, 1, b"x").pack()
    for data, decode in ((encode_node(2, entries), lambda d: decode_node(d, 2)), (encode_head(HEAD), decode_head)):
        for at in range(len(data)):
            with pytest.raises(DamagedFile):
                decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(DamagedFile):
                decode(data[:at])


def test_a_node_of_another_level_is_refused() -> None:
    with pytest.raises(DamagedFile):
        decode_node(encode_node(1, bytes(FANOUT * REF_BYTES)), 2)


def test_a_head_comes_back_as_it_was() -> None:
    assert decode_head(encode_head(HEAD)) == HEAD
    assert HEAD.pin(SNAPSHOT, b"s" * 16) is HEAD.pins[0]
    assert HEAD.pin(SNAPSHOT, b"t" * 16) is None


@pytest.mark.parametrize(
    "change",
    [
        {"volume": b"short"},
        {"chunk_bytes": 1000},
        {"holder": "h" * 300},
        {"name": "n" * 300},
        {"tree": Tree(1 << 30, 0, HOLE)},
        {"tree": Tree(5, 1, HOLE)},
    ],
)
def test_what_cannot_be_a_volume_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        encode_head(msgspec.structs.replace(HEAD, **change))


def test_shapes_have_limits() -> None:
    check_shape(512, CHUNK_LIMITS[0])
    for size, chunk in ((0, 65536), (511, 65536), (-512, 65536), (1 << 51, 65536), (512, 32768), (512, 1 << 25), (512, 65537)):
        with pytest.raises(InvalidArgument):
            check_shape(size, chunk)


def test_levels_grow_with_the_size() -> None:
    assert [levels_for(n << 16, 1 << 16) for n in (1, 1024, 1025, 1 << 20, (1 << 20) + 1)] == [1, 1, 2, 2, 3]


READER = Reader(b"r" * 16, VOLUME, TREE, 5, "backup 1")


def test_a_reader_comes_back_as_it_was_and_bad_bytes_are_damage() -> None:
    data = encode_reader(READER)
    assert decode_reader(data) == READER
    for wrong in (
        b"",
        data[:-1],
        data[:-1] + b"?",
        encode_head(HEAD),
        encode_reader(msgspec.structs.replace(READER, tree=Tree(1, 9, TREE.root))),
    ):
        with pytest.raises(DamagedFile):
            decode_reader(wrong)
    with pytest.raises(DamagedFile):
        decode_head(data)
