"""Sealing and opening streams of blocks, without the object model around them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from objstore.core.encryption import BLOCK_BYTES, CUSTOMER, SEALED_BLOCK_BYTES, Description, Wish, block_count, customer_keys, sealed_size
from objstore.errors import AccessDenied, DamagedBody, NotImplementedHere
from objstore.objects.api import BucketInfo
from objstore.objects.encryption import (
    BATCH_BLOCKS,
    NoKeyService,
    Opener,
    Sealer,
    new_description,
    open_whole,
    part_seal,
    seal_of,
    seal_whole,
    unlock,
)
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import MemoryStaging, Registers
from tests.support.store_rig import noise

KEY = b"k" * 32
BUCKET = BucketInfo(b"bucketid", "photos", "alice", 0)  # type: ignore[arg-type]


def sealed(data: bytes) -> bytes:
    return bytes(seal_whole(KEY, data))


def opener(copies: list[bytes], size: int, offset: int, length: int, *, piece: int = 50_000) -> Opener:
    """Reads from `copies` in turn, as from replicas."""

    async def read(at: int, wanted: int, attempt: int) -> AsyncIterator[bytes]:
        data = copies[attempt % len(copies)][at : at + wanted]
        for begin in range(0, len(data), piece):
            yield data[begin : begin + piece]

    return Opener(KEY, size, offset, length, read=read, attempts=len(copies))


async def everything(chunks: Opener) -> bytes:
    return b"".join([bytes(chunk) async for chunk in chunks])


@pytest.mark.parametrize("size", [1, BLOCK_BYTES, BLOCK_BYTES + 1, BATCH_BLOCKS * BLOCK_BYTES, BATCH_BLOCKS * BLOCK_BYTES + 1, 700_000])
@pytest.mark.parametrize("piece", [1000, BLOCK_BYTES, 300_000])
def test_a_streamed_body_is_sealed_as_one_that_is_whole(size: int, piece: int) -> None:
    async def main() -> None:
        data, registers = noise(size), Registers()
        staging = MemoryStaging(registers, b"blob")
        sealer = Sealer(KEY, staging)
        for begin in range(0, size, piece):
            await sealer.write(memoryview(data)[begin : begin + piece])
        await sealer.finish()
        await staging.finish()
        assert registers.staged[b"blob"] == sealed(data) == seal_whole(KEY, data)
        assert sealer.stored == sealed_size(size)

    asyncio.run(main())


def test_every_range_at_the_borders_of_blocks_opens() -> None:
    async def main() -> None:
        data = noise(3 * BLOCK_BYTES + 7)
        whole = sealed(data)
        edges = sorted({max(0, min(len(data), block * BLOCK_BYTES + step)) for block in range(4) for step in (-1, 0, 1, 7)})
        for first in edges:
            for end in edges:
                if first < end:
                    assert await everything(opener([whole], len(data), first, end - first)) == data[first:end]
                    piece = open_whole(KEY, whole, len(data), first, end - first)
                    assert piece is not None
                    assert bytes(piece) == data[first:end]

    asyncio.run(main())


def test_blocks_that_were_cut_off_moved_or_changed_do_not_open() -> None:
    data = noise(3 * BLOCK_BYTES)
    whole = sealed(data)
    one, two = whole[:SEALED_BLOCK_BYTES], whole[SEALED_BLOCK_BYTES : 2 * SEALED_BLOCK_BYTES]
    rest = whole[2 * SEALED_BLOCK_BYTES :]
    for bad, size in (
        (two + one + rest, len(data)),
        (one + one + rest, len(data)),
        (one + two, 2 * BLOCK_BYTES),  # cut at a block: the last one left was not the last
        (whole, len(data) - 1),
        (whole, len(data) + 1),
        (whole[:-1] + b"?", len(data)),
        (whole[: 2 * SEALED_BLOCK_BYTES + 5], 2 * BLOCK_BYTES + 1),
        (b"", len(data)),
    ):
        assert open_whole(KEY, bad, size, 0, size) is None
    assert open_whole(b"o" * 32, whole, len(data), 0, 1) is None
    assert open_whole(KEY, whole, len(data), 0, len(data)) == data


def test_a_bad_copy_is_left_for_a_good_one_midway() -> None:
    async def main() -> None:
        data = noise(9 * BLOCK_BYTES)
        good = sealed(data)
        at = 6 * SEALED_BLOCK_BYTES + 100
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert await everything(opener([bad, good], len(data), 0, len(data))) == data
        served: list[bytes] = []

        async def serve() -> None:
            async for chunk in opener([bad, bad], len(data), 0, len(data)):
                served.append(bytes(chunk))

        with pytest.raises(DamagedBody):
            await serve()
        assert data.startswith(b"".join(served))
        assert 0 < len(b"".join(served)) <= 6 * BLOCK_BYTES
        with pytest.raises(DamagedBody, match="ended early"):
            await everything(opener([good[:-1]], len(data), 0, len(data)))

    asyncio.run(main())


def test_a_customers_key_seals_the_data_key() -> None:
    async def main() -> None:
        described = await new_description(NoKeyService(), SystemRng(), BUCKET, Wish(customer_key=KEY), None)
        assert described is not None
        description, data_key = described
        assert await unlock(NoKeyService(), description, KEY) == data_key
        with pytest.raises(AccessDenied):
            await unlock(NoKeyService(), description, b"o" * 32)
        salt = b"s" * 32
        broken = Description(1, CUSTOMER, wrapped=b"x" * 48, salt=salt, verifier=customer_keys(KEY, salt)[1])
        with pytest.raises(DamagedBody):
            await unlock(NoKeyService(), broken, KEY)
        with pytest.raises(NotImplementedHere):
            await new_description(NoKeyService(), SystemRng(), BUCKET, Wish("AES256"), None)

    asyncio.run(main())


def test_seals_of_bodies_and_parts_never_share_a_key() -> None:
    rng, description = SystemRng(), Description(1, "AES256", wrapped=b"w")
    seals = [seal_of(description, KEY, rng), seal_of(description, KEY, rng), part_seal(description, KEY, rng)]
    assert len({seal.key for seal in seals}) == 3
    assert all(KEY not in seal.description and seal.key not in seal.description for seal in seals)
    assert "kkkk" not in repr(seals)


def test_nothing_is_sealed_as_nothing() -> None:
    assert sealed(b"") == b""
    assert block_count(0) == 0
