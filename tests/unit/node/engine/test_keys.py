"""Index keys: order, uniqueness, and the byte layout itself, which is on disks."""

import itertools
import random

import pytest

from objstore.core.rows import RowKey
from objstore.core.timestamp import ballot_at
from objstore.node.engine.keys import (
    NAME_LIMIT_BYTES,
    decode_key,
    encode_key,
    end_of_prefix,
    group_of,
    is_cut,
    long_name,
    lower_bound,
    successor_of_prefix,
)
from objstore.node.engine.records import reference_key, shadow_key
from objstore.runtime.kv import MAX_KEY_BYTES

BUCKET = b"bucket-1"
NEW, OLD = ballot_at(200, 1), ballot_at(100, 1)

EDGES = [
    b"", b"\x00", b"\x00\x00", b"\x00\x01", b"\x00\xff", b"\x01", b"a", b"a\x00", b"a\x00\x00b", b"a\x00b", b"a\x01", b"aa", b"a\xff",
    b"a\xff\xff", b"b", b"\xff", b"\xff\xff",
    b"x" * (NAME_LIMIT_BYTES - 1), b"x" * NAME_LIMIT_BYTES, b"x" * (NAME_LIMIT_BYTES + 1),
    b"x" * (NAME_LIMIT_BYTES - 1) + b"\x00", b"x" * (NAME_LIMIT_BYTES - 1) + b"\x00y", b"x" * (NAME_LIMIT_BYTES - 2) + b"\x00",
    b"x" * NAME_LIMIT_BYTES + b"\x00", b"\x00" * NAME_LIMIT_BYTES, b"\x00" * (NAME_LIMIT_BYTES // 2), b"\xff" * 1024, b"\x00" * 1100,
    b"x" * 1000, b"x" * 1000 + b"\x00" + b"u" * 32,
]  # fmt: skip


def whole(name: bytes, version: bytes = b"", space: int = 0) -> RowKey:
    return RowKey(BUCKET, space, name, version)


def position(key: RowKey) -> tuple[bytes, int, bytes, bytes]:
    """Order that a listing needs: the head first, then newest first."""
    return key.bucket, key.space, key.name, bytes(255 - b for b in key.version)


def test_every_key_fits_in_lmdb_in_every_table() -> None:
    for name, version in itertools.product(EDGES, (b"", NEW)):
        index_key = encode_key(whole(name, version))
        assert len(shadow_key(0xFFFFFFFF, index_key)) <= MAX_KEY_BYTES
        assert len(reference_key(bytes(16), index_key)) <= MAX_KEY_BYTES


def test_keys_decode_to_what_was_encoded() -> None:
    for name, version, space in itertools.product(EDGES, (b"", NEW, OLD), (0, 1, 2)):
        key = whole(name, version, space)
        index_key = encode_key(key)
        assert decode_key(index_key, long_name(index_key, name)) == key


def test_a_cut_name_cannot_be_decoded_without_the_whole_one() -> None:
    with pytest.raises(ValueError):
        decode_key(encode_key(whole(b"x" * 1024)))


def test_other_bytes_are_no_index_keys() -> None:
    for wrong in (
        b"",
        b"bucket-1",
        b"bucket-1\x00name",
        b"bucket-1\x00name\x00\x01",
        b"bucket-1\x00n\x00\x00\x02" + NEW,
        b"bucket-1\x00n\x00\x00\x01x",
        b"bucket-1\x00n\x00",
        b"bucket-1\x00n\x00\xff\x00",
        encode_key(whole(b"x" * 1024))[:-3],
    ):
        with pytest.raises(ValueError):
            decode_key(wrong)


def test_index_order_is_name_order_except_within_a_group_of_cut_names() -> None:
    names = sorted(EDGES)
    index_keys = [encode_key(whole(name)) for name in names]
    for (one, a), (other, b) in itertools.combinations(zip(names, index_keys, strict=True), 2):
        if is_cut(a) and is_cut(b) and group_of(a) == group_of(b):
            continue
        assert a < b, (one, other)


def test_groups_are_contiguous() -> None:
    index_keys = sorted(encode_key(whole(name, version)) for name in EDGES for version in (b"", NEW))
    groups = [group_of(k) if is_cut(k) else k for k in index_keys]
    runs = [group for group, _ in itertools.groupby(groups)]
    assert len(runs) == len(set(runs))


def test_the_head_comes_first_and_then_the_newest_version() -> None:
    for name in EDGES:
        keys = [encode_key(whole(name, version)) for version in (b"", NEW, OLD)]
        assert keys == sorted(keys)


def test_buckets_and_spaces_do_not_mix() -> None:
    one = encode_key(RowKey(b"bucket-1", 0, b"\xff" * 1024))
    assert one < encode_key(RowKey(b"bucket-1", 1, b"")) < encode_key(RowKey(b"bucket-2", 0, b""))


def test_bounds_of_a_start_name() -> None:
    for start, name in itertools.product(EDGES, EDGES):
        below = encode_key(whole(name)) < lower_bound(BUCKET, 0, start)
        if name >= start:
            assert not below
        elif not (is_cut(encode_key(whole(name))) and is_cut(encode_key(whole(start)))):
            assert below, (name, start)


def test_bounds_of_a_prefix() -> None:
    for prefix, name in itertools.product(EDGES, EDGES):
        index_key = encode_key(whole(name))
        inside = lower_bound(BUCKET, 0, prefix) <= index_key < end_of_prefix(BUCKET, 0, prefix)
        if name.startswith(prefix):
            assert inside, (name, prefix)
        elif not is_cut(index_key):
            assert not inside, (name, prefix)


def test_golden_names_of_1024_bytes_that_share_600() -> None:
    shared = ("ordner/" * 90)[:600].encode()
    random.seed(7)
    names = [shared + random.randbytes(424) for _ in range(200)]
    index_keys = {encode_key(whole(name)) for name in names}
    assert len(index_keys) == 200
    assert len({group_of(k) for k in index_keys}) == 1
    before, after = encode_key(whole(shared[:464])), encode_key(whole(shared[:463] + bytes((shared[463] + 1,))))
    assert all(before < k < after for k in index_keys)


def test_golden_layout() -> None:
    """These bytes are on disks."""
    assert encode_key(whole(b"a\x00b")) == b"bucket-1\x00a\x00\xffb\x00\x00"
    assert encode_key(whole(b"a", NEW, 2)) == b"bucket-1\x02a\x00\x00\x01" + bytes(255 - b for b in NEW)
    assert encode_key(whole(b"y" * 1024)) == b"bucket-1\x00" + b"y" * 464 + bytes.fromhex("0002" + "f797a0d564515867e474d7200bb37bf3")
    assert encode_key(whole(b"y" * 463 + b"\x00" * 9)) == b"bucket-1\x00" + b"y" * 463 + bytes.fromhex(
        "0002" + "3f474589ecd6d510dffca1d8c944bda4"
    )


def test_the_successor_of_a_prefix() -> None:
    assert successor_of_prefix(b"a/") == b"a0"
    assert successor_of_prefix(b"a\xff\xff") == b"b"
    assert successor_of_prefix(b"\xff") is None
    assert successor_of_prefix(b"") is None
