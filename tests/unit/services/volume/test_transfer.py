"""Whole volumes in and out."""

import random
from collections.abc import AsyncIterator

import pytest

from objstore.errors import InvalidArgument
from objstore.services.volume.transfer import fill, pour
from tests.support.volume_rig import CHUNK, VolumeRig, with_volume


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def test_a_stream_comes_out_as_it_went_in_and_its_zeros_take_no_room() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        data = random.Random(1).randbytes(CHUNK + 77) + bytes(2 * CHUNK) + b"tail"
        attached = rig.first.attach(volume, durability="store")
        assert rig.first.run(lambda: fill(attached.device, pieces(data, 10_000))) == len(data)

        async def all_of_it() -> bytes:
            return b"".join([piece async for piece in pour(attached.device)])

        assert rig.first.run(all_of_it) == data + bytes(5 * CHUNK - len(data))
        assert rig.first.stored(volume) == rig.first.run(all_of_it)
        spans = rig.first.run(lambda: attached.device.spans(0, 5 * CHUNK))
        assert spans == [(2 * CHUNK, False), (CHUNK, True), (CHUNK, False), (CHUNK, True)]

    with_volume(test)


def test_a_stream_that_is_too_long_is_refused() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        attached = rig.first.attach(volume)
        with pytest.raises(InvalidArgument):
            rig.first.run(lambda: fill(attached.device, pieces(b"x" * (6 * CHUNK), CHUNK)))

    with_volume(test)


def test_a_part_of_a_volume_is_poured() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        attached = rig.first.attach(volume)

        async def work() -> bytes:
            await attached.device.write(CHUNK - 2, memoryview(b"abcd"))
            return b"".join([piece async for piece in pour(attached.device, offset=CHUNK - 2, length=4)])

        assert rig.first.run(work) == b"abcd"

    with_volume(test)


def test_a_volume_is_made_from_an_image_that_is_an_object() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.errors import AccessDenied
        from objstore.objects.api import Attributes, Expected
        from objstore.services.volume.objects import WholeBody
        from objstore.services.volume.transfer import load_object
        from tests.support.store_rig import ALICE, BOB

        host = rig.first
        image = random.Random(8).randbytes(2 * CHUNK + 100)

        async def work() -> None:
            await host.store.create_bucket(ALICE, "images")
            for key, data in (("small", image), ("long", bytes(6 * CHUNK))):
                await host.store.put(ALICE, "images", key, WholeBody(data), attributes=Attributes(), expected=Expected())

            async def make(who: object, key: str) -> int:
                source = (who, "images", key)
                return await load_object(host.objects, host.world, volume, rig.settings, source, holder="h")  # type: ignore[arg-type]

            with pytest.raises(InvalidArgument):
                await make(ALICE, "long")
            with pytest.raises(AccessDenied):
                await make(BOB, "small")
            assert await make(ALICE, "small") == len(image)
            assert (await host.objects.head(volume)).head.holder == ""

        host.run(work)
        assert host.stored(volume) == image + bytes(5 * CHUNK - len(image))

    with_volume(test)
