"""Bodies in the store: in one piece, in parts, and not at all."""

import asyncio
import hashlib
import os

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.image import content
from objstore.services.image.formats import FormatRefused, Inspection
from tests.support.bodies import content as read
from tests.support.image_rig import ImageRig, on_image_rig, slow


def inspection(disk_format: str = "raw") -> Inspection:
    return Inspection(disk_format, "bare", enforce=True)


async def pause() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, 4999, 5000, 5001, 10_000, 12_345])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_written_in_parts_is_read_whole(size: int, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PART_BYTES", 5000), ("WHOLE_BYTES", 3000), ("BATCH_BYTES", 1024)):
        monkeypatch.setattr(content, name, value)

    async def test(rig: ImageRig) -> None:
        data = os.urandom(size)
        pieces = [data[at : at + 777] for at in range(0, size, 777)]
        stored = await rig.service.bodies.write("b", slow(pieces, pause), inspection(), size=size if known else None, limit=lambda: size)
        assert (stored.size, stored.checksum, stored.sha512) == (size, hashlib.md5(data).hexdigest(), hashlib.sha512(data).hexdigest())
        assert await read(await rig.service.bodies.read("b")) == data
        await rig.service.bodies.drop("b")
        await rig.service.bodies.drop("b")
        assert await rig.objects() == []

    on_image_rig(test)


@pytest.mark.parametrize("size", [2000, 12_000])
def test_what_is_refused_was_never_an_object(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PART_BYTES", 5000)
    monkeypatch.setattr(content, "WHOLE_BYTES", 3000)

    async def test(rig: ImageRig) -> None:
        for kind, limit, problem in (("qcow2", 10**9, FormatRefused), ("raw", 1500, CallRefused)):
            source = slow([bytes(500)] * (size // 500), pause)
            with pytest.raises(problem):
                await rig.service.bodies.write("b", source, inspection(kind), size=None, limit=limit.__int__)
            assert await rig.objects() == []
            assert not (await rig.store.list_uploads(content.WHO, content.BUCKET)).uploads

    on_image_rig(test)


def test_the_bucket_is_the_services_alone() -> None:
    async def test(rig: ImageRig) -> None:
        from objstore.errors import NoSuchBucket
        from objstore.objects.api import Principal

        await rig.service.bodies.start()
        for account in ("admin", "a" * 32):
            with pytest.raises(NoSuchBucket):
                await rig.store.bucket(Principal(account=account, user="u"), content.BUCKET)

    on_image_rig(test)
