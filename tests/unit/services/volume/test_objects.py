"""Heads are swapped by one writer at a time, and whoever does not know whether his swap took effect finds out."""

from typing import Any

import msgspec
import pytest

from objstore.errors import DamagedFile, NoSuchKey, OutcomeUnknown, PreconditionFailed
from objstore.objects.api import Attributes, Expected
from objstore.services.volume.layout import chunk_key, ref_of
from objstore.services.volume.objects import BUCKET, SERVICE, Swapped, VolumeObjects, WholeBody
from tests.support.volume_rig import VolumeRig, with_volume


def test_of_two_swaps_of_one_head_one_succeeds() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        objects = rig.first.objects

        async def work() -> None:
            at = await objects.head(volume)
            one = await objects.swap(msgspec.structs.replace(at.head, name="one"), at)
            with pytest.raises(PreconditionFailed):
                await objects.swap(msgspec.structs.replace(at.head, name="two"), at)
            assert (await objects.head(volume)).head.name == "one"
            assert (await objects.head(volume)).etag == one.etag

        rig.first.run(work)

    with_volume(test)


def test_a_swap_whose_answer_was_lost_is_found_to_have_happened() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        objects, store = rig.first.objects, rig.first.store
        real, lost = store.put, [2]

        async def put(*given: Any, **named: Any) -> Any:
            info = await real(*given, **named)
            if lost[0]:
                lost[0] -= 1
                raise OutcomeUnknown("the answer was lost")
            return info

        async def work() -> None:
            at = await objects.head(volume)
            store.put = put  # type: ignore[method-assign]
            swapped = await objects.swap(msgspec.structs.replace(at.head, name="kept"), at)
            assert swapped.head.name == "kept"
            assert (await objects.head(volume)).etag == swapped.etag

        rig.first.run(work)

    with_volume(test)


def test_a_volume_is_created_once() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        objects = rig.first.objects

        async def work() -> None:
            at = await objects.head(volume)
            with pytest.raises(PreconditionFailed):
                await objects.create(at.head)
            await objects.remove(at)
            with pytest.raises(NoSuchKey):
                await objects.head(volume)
            with pytest.raises(PreconditionFailed):
                await objects.swap(at.head, at)
            assert [v async for v in objects.volumes()] == []

        rig.first.run(work)

    with_volume(test)


def test_a_chunk_with_other_bytes_is_never_given_out() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        objects = rig.first.objects
        ref = ref_of(volume, 1, 1, b"right")

        async def work() -> None:
            await objects.put_chunk(ref, b"right")
            assert await objects.get_chunk(ref) == b"right"
            for wrong in (b"wrong", b"longer than that"):
                await rig.first.store.put(SERVICE, BUCKET, chunk_key(ref), WholeBody(wrong), attributes=Attributes(), expected=Expected())
                with pytest.raises(DamagedFile):
                    await objects.get_chunk(ref)
            await objects.drop(chunk_key(ref))
            with pytest.raises(NoSuchKey):
                await objects.get_chunk(ref)

        rig.first.run(work)

    with_volume(test)


def test_the_bucket_is_made_once_and_nobody_else_finds_it() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.errors import AccessDenied, NoSuchBucket
        from tests.support.store_rig import ALICE

        async def work() -> None:
            await VolumeObjects(rig.first.store, rig.first.world.clock, rig.first.world.rng).start()
            with pytest.raises((AccessDenied, NoSuchBucket)):
                await rig.first.store.get(ALICE, BUCKET, f"head/{volume.hex()}")
            assert isinstance(await rig.first.objects.head(volume), Swapped)

        rig.first.run(work)

    with_volume(test)
