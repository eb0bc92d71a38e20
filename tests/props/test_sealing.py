"""Sealed bodies against plain bytes: whatever the pieces in which they come and go, and whichever range is read."""

import asyncio
import os
from collections.abc import AsyncIterator

from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.core.encryption import BLOCK_BYTES, sealed_size
from objstore.objects.encryption import Opener, Sealer, open_whole, seal_whole
from tests.support.memory_cluster import MemoryStaging, Registers

KEY = os.urandom(32)
NOISE = os.urandom(7 * BLOCK_BYTES)

near_borders = st.builds(lambda block, step: max(block * BLOCK_BYTES + step, 0), st.integers(0, 6), st.integers(-20, 20))
sizes = st.one_of(near_borders, st.integers(0, 6 * BLOCK_BYTES)).filter(bool)
pieces = st.one_of(st.integers(1000, 300_000), near_borders.map(lambda size: size + 500))


@settings(max_examples=60, deadline=None)
@given(size=sizes, piece=pieces)
def test_a_streamed_body_is_the_one_sealed_whole(size: int, piece: int) -> None:
    async def main() -> None:
        registers = Registers()
        staging = MemoryStaging(registers, b"blob")
        sealer = Sealer(KEY, staging)
        for begin in range(0, size, piece):
            await sealer.write(memoryview(NOISE)[begin : min(begin + piece, size)])
        await sealer.finish()
        await staging.finish()
        assert registers.staged[b"blob"] == seal_whole(KEY, NOISE[:size])
        assert sealer.stored == sealed_size(size)

    asyncio.run(main())


@settings(max_examples=100, deadline=None)
@given(
    size=sizes,
    first=st.one_of(near_borders, st.integers(0, 6 * BLOCK_BYTES)),
    length=st.one_of(near_borders, st.integers(1, 400_000)),
    piece=pieces,
)
def test_any_range_is_that_of_the_plain_bytes(size: int, first: int, length: int, piece: int) -> None:
    first %= size
    length = min(max(length, 1), size - first)
    sealed = bytes(seal_whole(KEY, NOISE[:size]))
    asked: list[tuple[int, int]] = []

    async def read(at: int, wanted: int, _: int) -> AsyncIterator[bytes]:
        asked.append((at, wanted))
        for begin in range(at, at + wanted, piece):
            yield sealed[begin : min(begin + piece, at + wanted)]

    async def main() -> bytes:
        return b"".join([bytes(chunk) async for chunk in Opener(KEY, size, first, length, read=read, attempts=1)])

    assert asyncio.run(main()) == NOISE[first : first + length]
    assert open_whole(KEY, sealed, size, first, length) == NOISE[first : first + length]
    [(_, wanted)] = asked
    assert wanted <= sealed_size(length) + 2 * (BLOCK_BYTES + 16)


@settings(max_examples=100, deadline=None)
@given(size=sizes, at=st.integers(0, 1 << 30), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(size: int, at: int, bit: int) -> None:
    sealed = bytearray(seal_whole(KEY, NOISE[:size]))
    sealed[at % len(sealed)] ^= 1 << bit
    assert open_whole(KEY, memoryview(sealed), size, 0, size) is None
