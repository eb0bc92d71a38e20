import asyncio
import dataclasses
import hashlib

import pytest

from objstore.core import checksums
from objstore.core.rows import RowKey, Space
from objstore.errors import BadDigest, InvalidArgument, InvalidRequest, MetadataTooLarge, NoSuchUpload
from objstore.objects.api import Attributes, CompletedPart, CopySource, Expected
from objstore.objects.context import ObjectSettings
from objstore.objects.reclaim import PartReclaimer
from tests.support.bodies import SentBody, sent
from tests.support.store_rig import ALICE, SETTINGS, Rig, noise, with_rig


def test_a_part_is_told_and_listed() -> None:
    async def test(rig: Rig) -> None:
        upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes())
        assert (upload.initiated_us, upload.owner, upload.checksum_algorithm, upload.checksum_type) == (
            rig.clock.wall_us(),
            "alice",
            "",
            "",
        )
        for number, data in ((7, b"seven" * 2000), (2, b"two")):
            part = await rig.store.upload_part(ALICE, "photos", "k", upload.upload_id, number, sent(data), expected=Expected())
            assert (part.number, part.size, part.etag) == (number, len(data), hashlib.md5(data).hexdigest())
            assert part.checksums == {"crc64nvme": checksums.digest_of("crc64nvme", data)}
        page = await rig.store.list_parts(ALICE, "photos", "k", upload.upload_id)
        assert ([p.number for p in page.parts], page.upload, page.truncated) == ([2, 7], upload, False)

    with_rig(test)


def test_parts_list_in_pages_with_the_latest_attempt_of_each() -> None:
    async def test(rig: Rig) -> None:
        upload_id, _ = await rig.upload("k", [b"1", b"2", b"3", b"4"])
        await rig.part("k", upload_id, 2, b"again")
        rig.cluster.page_limit = 2
        page = await rig.store.list_parts(ALICE, "photos", "k", upload_id, limit=2)
        assert ([(p.number, p.size) for p in page.parts], page.truncated, page.next_marker) == ([(1, 1), (2, 5)], True, 2)
        page = await rig.store.list_parts(ALICE, "photos", "k", upload_id, after=2, limit=2)
        assert ([(p.number, p.size) for p in page.parts], page.truncated, page.next_marker) == ([(3, 1), (4, 1)], False, 4)
        page = await rig.store.list_parts(ALICE, "photos", "k", upload_id, limit=0)
        assert (page.parts, page.truncated) == ([], False)
        page = await rig.store.list_parts(ALICE, "photos", "k", upload_id, after=99)
        assert (page.parts, page.truncated, page.next_marker) == ([], False, 0)

    with_rig(test)


@pytest.mark.parametrize("upload_id", ["", "nonsense", "0" * 32])
def test_an_upload_that_is_not_there_takes_and_shows_nothing(upload_id: str) -> None:
    async def test(rig: Rig) -> None:
        for call in (
            rig.part("k", upload_id, 1, b"x"),
            rig.complete("k", upload_id, []),
            rig.store.abort_upload(ALICE, "photos", "k", upload_id),
            rig.store.list_parts(ALICE, "photos", "k", upload_id),
        ):
            with pytest.raises(NoSuchUpload):
                await call
        real, _ = await rig.upload("k", [])
        with pytest.raises(NoSuchUpload):
            await rig.part("another-key", real, 1, b"x")

    with_rig(test)


def test_uploads_and_parts_with_wrong_arguments_are_refused() -> None:
    async def test(rig: Rig) -> None:
        upload_id, _ = await rig.upload("k", [])
        for number in (0, 10_001):
            with pytest.raises(InvalidArgument):
                await rig.part("k", upload_id, number, b"x")
        with pytest.raises(BadDigest):
            await rig.part("k", upload_id, 1, b"x", expected=Expected(md5=b"0" * 16))
        assert await rig.live_parts() == 0
        for algorithm, kind in (("", "FULL_OBJECT"), ("sha1", "FULL_OBJECT"), ("md4", "")):
            with pytest.raises(InvalidRequest):
                await rig.upload("k", [], checksum_algorithm=algorithm, checksum_type=kind)
        with pytest.raises(MetadataTooLarge):
            await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(metadata={"a": "x" * 3000}))

    with_rig(test)


def test_a_part_comes_with_the_checksum_that_its_upload_declared() -> None:
    async def test(rig: Rig) -> None:
        upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(), checksum_algorithm="sha256")
        assert (upload.checksum_algorithm, upload.checksum_type) == ("sha256", "COMPOSITE")
        with pytest.raises(InvalidRequest):
            await rig.part("k", upload.upload_id, 1, b"x", expected=Expected(checksums={"crc32": checksums.digest_of("crc32", b"x")}))
        part = await rig.store.upload_part(ALICE, "photos", "k", upload.upload_id, 1, sent(b"x"), expected=Expected())
        assert part.checksums == {"sha256": hashlib.sha256(b"x").digest()}
        undeclared, _ = await rig.upload("k", [])
        digest = checksums.digest_of("crc32", b"x")
        part = await rig.store.upload_part(ALICE, "photos", "k", undeclared, 1, sent(b"x"), expected=Expected(checksums={"crc32": digest}))
        assert part.checksums == {"crc32": digest}

    with_rig(test)


def test_an_aborted_upload_leaves_nothing() -> None:
    async def test(rig: Rig) -> None:
        upload_id, _ = await rig.upload("k", [b"x" * 5000, b"y"])
        await rig.part("k", upload_id, 1, b"again")
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        assert await rig.live_parts() == 0
        assert rig.registers.blobs == {}
        with pytest.raises(NoSuchUpload):
            await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        assert (await rig.store.list_uploads(ALICE, "photos")).uploads == []

    with_rig(test)


async def reclaim_all(rig: Rig) -> None:
    reclaimer = PartReclaimer(rig.whole, rig.clock)
    for _ in range(4):
        await reclaimer.run()
        await asyncio.sleep(901)


@pytest.mark.parametrize("settings", [SETTINGS, dataclasses.replace(SETTINGS, storage_classes={"STANDARD_IA": "cold"})])
def test_a_part_that_comes_after_the_abort_is_refused_and_reclaimed(settings: ObjectSettings) -> None:
    class Slow(SentBody):
        async def finish(self) -> dict[str, bytes]:
            await asyncio.sleep(10)
            return {}

    async def test(rig: Rig) -> None:
        attributes = Attributes(storage_class="STANDARD_IA" if rig.rings else "")
        upload_id = (await rig.store.create_upload(ALICE, "photos", "k", attributes=attributes)).upload_id
        late = asyncio.ensure_future(rig.store.upload_part(ALICE, "photos", "k", upload_id, 1, Slow([noise(9000)]), expected=Expected()))
        await asyncio.sleep(1)
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        with pytest.raises(NoSuchUpload):
            await late
        await reclaim_all(rig)
        assert await rig.live_parts() == 0
        for ring in (rig.cluster, *rig.rings.values()):
            assert ring.registers.blobs == {}

    with_rig(test, settings=settings)


@pytest.mark.parametrize("copied", [False, True])
def test_a_part_whose_sender_is_told_too_late_that_it_is_in_an_object_stays_there(copied: bool) -> None:
    async def test(rig: Rig) -> None:
        data = noise(9000)
        await rig.put("from", data)
        upload_id, _ = await rig.upload("k", [])
        slow = rig.peer()

        async def send(sender: Rig) -> str:
            if copied:
                return (await sender.store.copy_part(ALICE, CopySource("photos", "from"), "photos", "k", upload_id, 1)).etag
            return (await sender.part("k", upload_id, 1, data)).etag

        written = asyncio.Event()

        async def held(what: str, key: RowKey) -> None:
            if key.space == Space.PARTS and what == "write":
                written.set()
            elif key.space == Space.UPLOADS and written.is_set():
                await asyncio.sleep(100)

        etag = await send(rig)
        slow.cluster.before = held
        late = asyncio.ensure_future(send(slow))
        await written.wait()
        await asyncio.sleep(1)
        await rig.complete("k", upload_id, [CompletedPart(1, etag)])
        with pytest.raises(NoSuchUpload):
            await late
        assert await rig.get("k") == data
        await reclaim_all(rig)
        assert await rig.get("k") == data
        assert await rig.live_parts() == 1

    with_rig(test)


async def list_all(rig: Rig, limit: int, **query: str) -> tuple[list[tuple[str, str]], list[str]]:
    uploads: list[tuple[str, str]] = []
    prefixes: list[str] = []
    key, upload_id = "", ""
    while True:
        page = await rig.store.list_uploads(ALICE, "photos", after_key=key, after_upload_id=upload_id, limit=limit, **query)
        uploads += [(u.key, u.upload_id) for u in page.uploads]
        prefixes += page.prefixes
        assert len(page.uploads) + len(page.prefixes) <= limit
        if not page.truncated:
            return uploads, prefixes
        key, upload_id = page.next_key, page.next_upload_id


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_uploads_list_by_key_then_time_and_in_pages(limit: int) -> None:
    async def test(rig: Rig) -> None:
        made = []
        for key in ("b", "a/2", "a/1", "b", "c/0", "b0", "d"):
            await asyncio.sleep(1)
            made.append((key, (await rig.upload(key, []))[0]))
        rig.cluster.page_limit = 2
        assert await list_all(rig, limit) == (sorted(made), [])
        grouped = [u for u in sorted(made) if "/" not in u[0]]
        assert await list_all(rig, limit, delimiter="/") == (grouped, ["a/", "c/"])
        assert await list_all(rig, limit, delimiter="0") == ([u for u in sorted(made) if "0" not in u[0]], ["b0", "c/0"])
        assert await list_all(rig, limit, prefix="a/") == ([u for u in sorted(made) if u[0].startswith("a/")], [])
        assert await list_all(rig, limit, prefix="a", delimiter="/") == ([], ["a/"])

    with_rig(test)


def test_markers_of_uploads_are_exclusive() -> None:
    async def test(rig: Rig) -> None:
        first, _ = await rig.upload("b", [])
        await asyncio.sleep(1)
        second, _ = await rig.upload("b", [])
        third, _ = await rig.upload("c", [])
        listed = await rig.store.list_uploads(ALICE, "photos", after_key="b", after_upload_id=first)
        assert [u.upload_id for u in listed.uploads] == [second, third]
        assert [u.upload_id for u in (await rig.store.list_uploads(ALICE, "photos", after_key="b")).uploads] == [third]
        assert (await rig.store.list_uploads(ALICE, "photos", limit=0)).uploads == []
        with pytest.raises(InvalidArgument):
            await rig.store.list_uploads(ALICE, "photos", after_key="b", after_upload_id="nonsense")
        assert len(rig.registers.live_names(await rig.id(), Space.UPLOADS)) == 3

    with_rig(test)
