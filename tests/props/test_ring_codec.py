"""Whatever bytes come, decode gives the ring that was encoded or raises RingError."""

import functools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from ring.builder import Add, Remove, change, create
from ring.codec import MAGIC, decode, encode
from ring.lookup import Ring
from ring.model import Device, RingError, RingSpec
from tests.unit.ring.rings import a_device, a_spec, devices

NAMES = st.text(st.characters(blacklist_categories=["C", "Z"], blacklist_characters="/"), min_size=1, max_size=20)


@functools.cache
def a_file() -> bytes:
    ring = create(a_spec(part_power=3), devices(5, zones=2))
    return encode(change(ring, [Add(a_device(9, zone="z1")), Remove(3)], now_s=1_700_000_000))


def sealed(body: bytes) -> bytes:
    """With the length and the checksum that belong to it, so that the checks behind those are reached."""
    if len(body) >= 24:
        body = body[:16] + struct.pack("<Q", len(body) + 16) + body[24:]
    return body + xxh3_128_digest(body)


def decoded_or_refused(data: bytes) -> Ring | None:
    try:
        return decode(data)
    except RingError:
        return None


@given(
    st.builds(
        RingSpec,
        policy=NAMES,
        replica_count=st.integers(1, 4),
        part_power=st.integers(0, 6),
        hash_seed=st.integers(0, (1 << 64) - 1),
        min_part_hours=st.floats(0, 8000),
        overload=st.floats(0, 1000),
    ),
    st.lists(
        st.tuples(NAMES, NAMES, st.floats(1e-6, 1e12), st.sampled_from(["tcp:h:1", "unix:/run/x", "tcp:[::1]:65535"]), NAMES | st.just("")),
        min_size=4,
        max_size=8,
    ),
)
@settings(max_examples=60, deadline=None)
def test_any_ring_comes_back_as_it_was(spec: RingSpec, places: list[tuple[str, str, float, str, str]]) -> None:
    members = [
        Device(-1, f"{i}{node}", address, "r", zone, weight, i.to_bytes(8, "big"), f"{path}{i}")
        for i, (node, zone, weight, address, path) in enumerate(places)
    ]
    ring = create(spec, members)
    assert decode(encode(ring)) == ring
    assert encode(decode(encode(ring))) == encode(ring)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    for attempt in (data, MAGIC + data, sealed(MAGIC + b"\x01\x00\x00\x00" + data)):
        with pytest.raises(RingError):
            decode(attempt)


@given(st.lists(st.tuples(st.integers(0, len(a_file()) - 1), st.integers(1, 255)), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_damage_is_found(damage: list[tuple[int, int]]) -> None:
    data = bytearray(a_file())
    for offset, change_bits in damage:
        data[offset] ^= change_bits
    if bytes(data) != a_file():
        with pytest.raises(RingError):
            decode(bytes(data))


@given(
    st.lists(st.tuples(st.integers(0, len(a_file()) - 17), st.integers(0, 255)), max_size=6),
    st.integers(0, len(a_file()) - 16),
    st.binary(max_size=40),
)
@settings(max_examples=300, deadline=None)
def test_a_forged_file_is_a_sound_ring_or_refused(edits: list[tuple[int, int]], cut: int, inserted: bytes) -> None:
    """With a checksum that fits the checks behind it stand alone: no other exception, no ring that breaks its own rules."""
    for body in (a_file()[:-16], a_file()[:cut] + inserted + a_file()[cut:-16]):
        data = bytearray(body)
        for offset, value in edits:
            data[offset] = value
        ring = decoded_or_refused(sealed(bytes(data)))
        if ring is not None:
            assert decode(encode(ring)) == ring
            for partition in range(ring.partition_count):
                assert len(set(ring.primaries(partition))) == ring.spec.replica_count
