import asyncio
import contextlib
import hashlib
from dataclasses import replace

import pytest

from objstore.core import checksums
from objstore.core.rows import RowKey, Space
from objstore.errors import (
    BadDigest,
    ConditionalConflict,
    EntityTooSmall,
    InvalidPart,
    InvalidPartNumber,
    InvalidRequest,
    NoSuchUpload,
    ObjstoreError,
    OutcomeUnknown,
    PreconditionFailed,
    QuorumLost,
)
from objstore.objects.api import Attributes, ByteRange, CompletedPart, Conditions, Expected
from tests.support.store_rig import ALICE, Rig, noise, with_rig

ABSENT = Conditions(if_none_match=("*",))
DATA = [noise(9000), noise(1500), b"end"]


def test_parts_become_an_object_with_what_the_upload_said() -> None:
    async def test(rig: Rig) -> None:
        attributes = Attributes(content_type="t/u", headers={"h": "1"}, metadata={"m": "2"}, tags={"t": "3"})
        upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=attributes)
        parts = [await rig.part("k", upload.upload_id, number, data) for number, data in zip((3, 5, 900), DATA, strict=True)]
        info = await rig.complete("k", upload.upload_id, parts, object_size=10503)
        whole = b"".join(DATA)
        assert info.etag == hashlib.md5(b"".join(hashlib.md5(d).digest() for d in DATA)).hexdigest() + "-3"
        assert (info.size, info.part_count, info.content_type, info.metadata, info.tags) == (len(whole), 3, "t/u", {"m": "2"}, {"t": "3"})
        assert (info.checksums, info.checksum_type) == ({"crc64nvme": checksums.digest_of("crc64nvme", whole)}, "FULL_OBJECT")
        assert await rig.get("k") == whole
        assert await rig.get("k", range_=ByteRange(8990, 10501)) == whole[8990:10502]
        assert await rig.get("k", part_number=5) == DATA[1]
        with pytest.raises(InvalidPartNumber):
            await rig.get("k", part_number=2)
        assert (await rig.store.list_uploads(ALICE, "photos")).uploads == []
        with pytest.raises(NoSuchUpload):
            await rig.part("k", upload.upload_id, 1, b"late")

    with_rig(test)


def test_completing_again_gives_the_same_answer_until_the_object_is_replaced() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)
        info = await rig.complete("k", upload_id, parts, conditions=ABSENT)
        assert await rig.complete("k", upload_id, parts, conditions=ABSENT) == info
        await rig.put("k", b"other")
        with pytest.raises(NoSuchUpload):
            await rig.complete("k", upload_id, parts)
        assert await rig.get("k") == b"other"

    with_rig(test)


def test_completing_twice_at_once_makes_one_object_and_loses_no_part() -> None:
    async def test(rig: Rig) -> None:
        for conditions in (Conditions(), ABSENT):
            await rig.store.delete(ALICE, "photos", "k")
            upload_id, parts = await rig.upload("k", DATA)
            both = (
                rig.complete("k", upload_id, parts, conditions=conditions),
                rig.peer().complete("k", upload_id, parts, conditions=conditions),
            )
            outcomes = await asyncio.gather(*both, return_exceptions=True)
            assert all(not isinstance(o, BaseException) or isinstance(o, NoSuchUpload) for o in outcomes), outcomes
            assert any(not isinstance(o, BaseException) for o in outcomes)
            assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_two_completions_with_different_lists_leave_a_whole_object() -> None:
    async def test(rig: Rig) -> None:
        for delay in range(12):
            upload_id, parts = await rig.upload("k", DATA)

            async def second(upload_id: str = upload_id, parts: list[CompletedPart] = parts, delay: int = delay) -> None:
                for _ in range(delay):
                    await asyncio.sleep(0)
                await rig.peer().complete("k", upload_id, parts[1:])

            await asyncio.gather(rig.complete("k", upload_id, parts[:2]), second(), return_exceptions=True)
            assert await rig.get("k") in (b"".join(DATA[:2]), b"".join(DATA[1:]))

    with_rig(test)


def test_a_completion_that_another_overtook_finds_its_parts_still_there() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)
        slow = rig.peer()

        async def nap(what: str, key: RowKey) -> None:
            if what == "write" and key.space == Space.OBJECTS:
                await asyncio.sleep(30)

        slow.cluster.before = nap
        first = asyncio.ensure_future(slow.complete("k", upload_id, parts[:2]))
        await asyncio.sleep(1)
        assert (await rig.complete("k", upload_id, parts[2:])).size == 3
        await first
        assert await rig.get("k") == b"".join(DATA[:2])

    with_rig(test)


def nap_before_mark_and_manifest(rig: Rig, mark_s: float, manifest_s: float) -> None:
    async def nap(what: str, key: RowKey) -> None:
        if key.space == Space.UPLOADS and what == "conditional":
            await asyncio.sleep(mark_s)
        if key.space == Space.OBJECTS and what in ("write", "conditional"):
            await asyncio.sleep(manifest_s)

    rig.cluster.before = nap


def test_a_completion_that_marks_over_another_drops_nothing_of_the_other() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)
        first, second = rig.peer(), rig.peer()
        nap_before_mark_and_manifest(first, 1, 20)
        nap_before_mark_and_manifest(second, 2, 0)  # it has seen the upload unmarked, and marks it after the first one has
        whole = asyncio.ensure_future(first.complete("k", upload_id, parts))
        assert (await second.complete("k", upload_id, parts[1:])).size == len(DATA[1] + DATA[2])
        assert (await whole).size == len(b"".join(DATA))
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_a_refused_completion_leaves_no_upload_unmarked_that_another_completes() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        upload_id, parts = await rig.upload("k", DATA)
        first, second = rig.peer(), rig.peer()
        nap_before_mark_and_manifest(first, 0, 20)
        nap_before_mark_and_manifest(second, 2, 0)
        whole = asyncio.ensure_future(first.complete("k", upload_id, parts))
        with pytest.raises(PreconditionFailed):
            await second.complete("k", upload_id, parts[1:], conditions=ABSENT)
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        await whole
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


@pytest.mark.parametrize("delay", range(14))
def test_completing_and_aborting_at_once_leaves_a_whole_object_or_none(delay: int) -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)

        async def abort() -> None:
            for _ in range(delay):
                await asyncio.sleep(0)
            await rig.peer().store.abort_upload(ALICE, "photos", "k", upload_id)

        outcomes = await asyncio.gather(rig.complete("k", upload_id, parts), abort(), return_exceptions=True)
        assert all(not isinstance(o, BaseException) or isinstance(o, ObjstoreError) for o in outcomes)
        if not isinstance(outcomes[0], BaseException):
            assert await rig.get("k") == b"".join(DATA)
        else:
            assert isinstance(outcomes[0], NoSuchUpload | InvalidPart)
            assert await rig.row("k") is None
            assert await rig.live_parts() == 0

    with_rig(test)


def test_a_part_uploaded_again_replaces_and_one_left_out_is_dropped() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)
        again = await rig.part("k", upload_id, 1, b"new" * 1000)
        assert (await rig.complete("k", upload_id, [again, parts[2]])).size == 3003
        assert await rig.get("k") == b"new" * 1000 + b"end"
        assert await rig.live_parts() == 2

    with_rig(test)


def test_a_part_that_ends_while_the_upload_is_completed_never_changes_the_object() -> None:
    async def test(rig: Rig) -> None:
        for delay in range(12):
            upload_id, parts = await rig.upload("k", DATA)

            async def late(upload_id: str = upload_id, delay: int = delay) -> None:
                for _ in range(delay):
                    await asyncio.sleep(0)
                await rig.peer().part("k", upload_id, 1, b"late")

            outcomes = await asyncio.gather(rig.complete("k", upload_id, parts), late(), return_exceptions=True)
            assert not isinstance(outcomes[0], BaseException)
            assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_a_refused_completion_leaves_the_upload_as_it_was() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        upload_id, parts = await rig.upload("k", DATA)
        for call, error in (
            (rig.complete("k", upload_id, parts, conditions=ABSENT), PreconditionFailed),
            (rig.complete("k", upload_id, [replace(parts[0], etag="x")]), InvalidPart),
            (rig.complete("k", upload_id, parts, object_size=5), InvalidRequest),
            (rig.complete("k", upload_id, parts, expected=Expected(checksums={"crc64nvme": bytes(8)})), BadDigest),
            (rig.complete("k", upload_id, [parts[2], CompletedPart(4, "x")]), InvalidPart),
        ):
            with pytest.raises(error):
                await call
        assert await rig.get("k") == b"data"
        small = [await rig.part("k", upload_id, 1, b"s"), parts[1]]
        with pytest.raises(EntityTooSmall):
            await rig.complete("k", upload_id, small)
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        assert await rig.live_parts() == 0  # the mark of the refused one was taken back, so they could go at once

    with_rig(test)


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "sha1", "sha256"])
def test_declared_checksums_are_composite_and_verified(algorithm: str) -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA, checksum_algorithm=algorithm)
        digests = [checksums.digest_of(algorithm, d) for d in DATA]
        listed = [CompletedPart(p.number, p.etag, {algorithm: d}) for p, d in zip(parts, digests, strict=True)]
        with pytest.raises(InvalidPart):
            await rig.complete("k", upload_id, [replace(listed[0], checksums={algorithm: digests[1]}), *listed[1:]])
        with pytest.raises(InvalidRequest):
            await rig.complete("k", upload_id, [*parts[:2], listed[2]])
        info = await rig.complete("k", upload_id, listed, expected=Expected(checksums={algorithm: checksums.composite(algorithm, digests)}))
        assert (info.checksums, info.checksum_type) == ({algorithm: checksums.composite(algorithm, digests)}, "COMPOSITE")

    with_rig(test)


def test_part_checksums_may_be_left_out_and_crcs_can_cover_the_whole_object() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA, checksum_algorithm="crc32", checksum_type="FULL_OBJECT")
        info = await rig.complete("k", upload_id, parts)
        assert (info.checksums, info.checksum_type) == ({"crc32": checksums.digest_of("crc32", b"".join(DATA))}, "FULL_OBJECT")

    with_rig(test)


@pytest.mark.parametrize("step", range(6))
def test_a_completion_that_breaks_off_at_any_step_can_be_repeated(step: int) -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)
        writes = 0

        async def fail(what: str, key: RowKey) -> None:
            nonlocal writes
            if what in ("conditional", "write"):
                writes += 1
                if writes == step // 2 + 1:
                    raise QuorumLost("the network is gone") if step % 2 else OutcomeUnknown("the answers are lost")

        rig.cluster.before = fail if step % 2 else None
        rig.cluster.after = None if step % 2 else fail
        with contextlib.suppress(ObjstoreError):
            await rig.complete("k", upload_id, parts, conditions=ABSENT)
        rig.cluster.before = rig.cluster.after = None
        assert (await rig.complete("k", upload_id, parts, conditions=ABSENT)).size == 10503
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_an_abort_after_a_completion_of_unknown_outcome_leaves_the_object_whole() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)

        async def lose(what: str, key: RowKey) -> None:
            if what == "conditional" and key.space == Space.OBJECTS:
                raise ConditionalConflict("it cannot be told whether it took effect")

        rig.cluster.after = lose
        with pytest.raises(ConditionalConflict):
            await rig.complete("k", upload_id, parts, conditions=ABSENT)
        rig.cluster.after = None
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_a_completion_that_slept_too_long_does_not_write() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", DATA)

        async def nap(what: str, key: RowKey) -> None:
            if what == "conditional" and key.space == Space.UPLOADS:
                rig.cluster.after = None
                await asyncio.sleep(3600)

        rig.cluster.after = nap
        with pytest.raises(OutcomeUnknown):
            await rig.complete("k", upload_id, parts)
        assert await rig.row("k") is None

    with_rig(test)
