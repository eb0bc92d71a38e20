"""Index keys against what they stand for: any names, with zero bytes and beyond LMDB's limit, in a listing's order."""

import hypothesis.strategies as st
from hypothesis import given, settings

from objstore.core.rows import RowKey
from objstore.core.timestamp import ballot_at
from objstore.node.engine.keys import decode_key, encode_key, end_of_prefix, group_of, is_cut, long_name, lower_bound
from objstore.runtime.kv import MAX_KEY_BYTES

pieces = st.sampled_from([b"", b"\x00", b"\x00\xff", b"\x01", b"a", b"/", b"\xff", b"x" * 230, b"x" * 463, b"\x00" * 231])
names = st.lists(pieces, max_size=5).map(b"".join)
versions = st.one_of(st.just(b""), st.integers(1, 1 << 70).map(lambda n: ballot_at(n % (1 << 64), n % 7)))
keys = st.builds(RowKey, st.sampled_from([b"bucket-1", b"bucket-2"]), st.integers(0, 2), names, versions)


def place(key: RowKey) -> tuple[bytes, int, bytes, bytes]:
    return key.bucket, key.space, key.name, bytes(255 - b for b in key.version)


@settings(max_examples=300, deadline=None)
@given(keys)
def test_keys_round_trip_and_fit(key: RowKey) -> None:
    index_key = encode_key(key)
    assert len(index_key) + 4 <= MAX_KEY_BYTES
    assert decode_key(index_key, long_name(index_key, key.name)) == key


@settings(max_examples=400, deadline=None)
@given(keys, keys)
def test_order_and_identity_are_those_of_the_keys(one: RowKey, other: RowKey) -> None:
    a, b = encode_key(one), encode_key(other)
    assert (a == b) == (one == other)
    if one.name != other.name and is_cut(a) and is_cut(b) and group_of(a) == group_of(b):
        return  # one group: a scan orders it by the whole names
    assert (a < b) == (place(one) < place(other))


@settings(max_examples=400, deadline=None)
@given(names, names, names)
def test_bounds_leave_nothing_out(name: bytes, start: bytes, prefix: bytes) -> None:
    index_key = encode_key(RowKey(b"bucket-1", 0, name))
    if name >= start:
        assert index_key >= lower_bound(b"bucket-1", 0, start)
    if name.startswith(prefix):
        assert lower_bound(b"bucket-1", 0, prefix) <= index_key < end_of_prefix(b"bucket-1", 0, prefix)
