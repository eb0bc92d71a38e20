"""Bodies of classes with a policy: in the ring of that policy, named by rows in the default ring."""

import asyncio
import dataclasses
import hashlib

import pytest

from objstore.core.encryption import AES256, Wish
from objstore.core.names import policy_of
from objstore.core.rows import BodyKind, PartRef, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import PreconditionFailed, QuorumLost
from objstore.objects.actions import Action
from objstore.objects.api import Attributes, ByteRange, CompletedPart, Conditions, CopySource, Expected
from objstore.objects.bodies import body_key, lies_in
from objstore.objects.parts import sweep_bucket
from objstore.objects.reclaim import PartReclaimer
from tests.support.bodies import sent
from tests.support.memory_cluster import Registers
from tests.support.store_rig import ALICE, SETTINGS, Rig, noise, with_rig

IA = "STANDARD_IA"
COLD = dataclasses.replace(SETTINGS, storage_classes={IA: "cold"})
LARGE = noise(20_000)
GRACE_S = 900.0


def cold(rig: Rig) -> Registers:
    return rig.rings["cold"].registers


async def put(rig: Rig, key: str = "k", data: bytes = LARGE, storage_class: str = IA, **rest: object) -> None:
    await rig.put(key, data, attributes=Attributes(storage_class=storage_class, **rest))  # type: ignore[arg-type] what a test says


def is_at(rig: Rig, *, default: int, policy: int) -> bool:
    return (len(rig.registers.blobs), len(cold(rig).blobs)) == (default, policy)


async def reclaim(rig: Rig) -> int:
    """What goes in some hours."""
    reclaimer = PartReclaimer(rig.whole, rig.clock, grace_s=GRACE_S)
    dropped = 0
    for _ in range(4):
        dropped += await reclaimer.run()
        await asyncio.sleep(GRACE_S + 1)
    return dropped


def test_a_large_body_of_a_class_with_a_policy_lies_in_its_ring_alone() -> None:
    async def test(rig: Rig) -> None:
        await put(rig)
        assert is_at(rig, default=0, policy=1)
        info = await rig.store.head(ALICE, rig.bucket, "k")
        assert (info.size, info.etag, info.storage_class, info.part_count) == (len(LARGE), hashlib.md5(LARGE).hexdigest(), IA, 0)
        assert await rig.get("k") == LARGE
        assert await rig.get("k", range_=ByteRange(5000, 15_000)) == LARGE[5000:15_001]
        row = await rig.row("k")
        assert row is not None
        assert [policy_of(part.name) for part in row.parts] == ["cold"]

    with_rig(test, settings=COLD)


def test_bodies_of_other_classes_and_small_ones_lie_in_the_default_ring() -> None:
    async def test(rig: Rig) -> None:
        await put(rig, "plain", storage_class="")
        await put(rig, "label", storage_class="ONEZONE_IA")
        await put(rig, "small", b"few bytes")
        await rig.put("stream", b"", attributes=Attributes(storage_class=IA))
        assert is_at(rig, default=2, policy=0)
        assert cold(rig).rows == {}
        assert await rig.get("small") == b"few bytes"

    with_rig(test, settings=COLD)


def test_a_body_of_unknown_length_goes_where_its_length_says() -> None:
    async def test(rig: Rig) -> None:
        for key, data in (("small", b"few"), ("large", LARGE)):
            body = sent(data, piece=1000, known=False)
            await rig.store.put(ALICE, rig.bucket, key, body, attributes=Attributes(storage_class=IA), expected=Expected())
            assert await rig.get(key) == data
        assert is_at(rig, default=0, policy=1)

    with_rig(test, settings=COLD)


def test_a_sealed_body_opens_with_the_key_in_its_head_and_the_seed_beside_it() -> None:
    async def test(rig: Rig) -> None:
        await put(rig, encryption=Wish(algorithm=AES256))
        assert is_at(rig, default=0, policy=1)
        assert LARGE not in cold(rig).blobs.values()
        assert await rig.get("k", range_=ByteRange(10, 19_000)) == LARGE[10:19_001]
        copied = await rig.store.copy(
            ALICE, CopySource(rig.bucket, "k"), rig.bucket, "c", storage_class=IA, encryption=Wish(algorithm=AES256)
        )
        assert copied.size == len(LARGE)
        assert is_at(rig, default=0, policy=1)
        assert await rig.get("c") == LARGE

    with_rig(test, settings=COLD)


def test_a_refused_write_leaves_no_body_behind() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"there")
        unseen = True

        async def before(what: str, key: RowKey) -> None:
            nonlocal unseen
            if what == "read" and key.name == b"k" and unseen:
                unseen = False
                await rig.store.delete(ALICE, rig.bucket, "k")  # judged absent at first, there again when it is written

        rig.cluster.before = before
        rig.rings["cold"].before = lambda what, key: again(what)

        async def again(what: str) -> None:
            if what == "write":
                await rig.put("k", b"there")

        with pytest.raises(PreconditionFailed):
            await rig.store.put(
                ALICE, rig.bucket, "k", sent(LARGE), attributes=Attributes(storage_class=IA), expected=Expected(),
                conditions=Conditions(if_none_match=("*",)),
            )  # fmt: skip
        assert await rig.get("k") == b"there"
        assert is_at(rig, default=0, policy=0)

    with_rig(test, settings=COLD)


def test_copies_within_a_class_share_and_into_another_move_bytes() -> None:
    async def test(rig: Rig) -> None:
        await put(rig)
        await rig.store.copy(ALICE, CopySource(rig.bucket, "k"), rig.bucket, "same", storage_class=IA)
        assert is_at(rig, default=0, policy=1)
        await rig.store.copy(ALICE, CopySource(rig.bucket, "k"), rig.bucket, "warm")
        assert is_at(rig, default=1, policy=1)
        await rig.store.copy(ALICE, CopySource(rig.bucket, "warm"), rig.bucket, "back", storage_class=IA)
        assert is_at(rig, default=1, policy=2)
        await rig.store.copy(ALICE, CopySource(rig.bucket, "warm"), rig.bucket, "label", storage_class="ONEZONE_IA")
        assert is_at(rig, default=1, policy=2)
        await rig.store.rename(ALICE, rig.bucket, "same", "renamed")
        await rig.store.delete(ALICE, rig.bucket, "k")
        await reclaim(rig)
        for key in ("renamed", "warm", "back", "label"):
            assert await rig.get(key) == LARGE
        assert is_at(rig, default=1, policy=2)

    with_rig(test, settings=COLD)


def test_parts_of_an_upload_lie_in_the_ring_of_its_class_and_their_rows_do_not() -> None:
    async def test(rig: Rig) -> None:
        parts = [noise(9000), noise(8000), noise(100)]
        upload = await rig.store.create_upload(ALICE, rig.bucket, "m", attributes=Attributes(storage_class=IA))
        lost = await rig.part("m", upload.upload_id, 1, noise(7000))
        sent_parts = [await rig.part("m", upload.upload_id, i, data) for i, data in enumerate(parts, 1)]
        assert lost.etag != sent_parts[0].etag
        page = await rig.store.list_parts(ALICE, rig.bucket, "m", upload.upload_id)
        assert [(p.number, p.size) for p in page.parts] == [(1, 9000), (2, 8000), (3, 100)]
        assert is_at(rig, default=0, policy=3)
        info = await rig.complete("m", upload.upload_id, sent_parts)
        assert info.etag.endswith("-3")
        assert await rig.get("m") == b"".join(parts)
        assert await rig.get("m", part_number=2) == parts[1]
        assert await rig.get("m", range_=ByteRange(8990, 17_050)) == b"".join(parts)[8990:17_051]
        assert (await rig.complete("m", upload.upload_id, sent_parts)).etag == info.etag
        await reclaim(rig)
        assert is_at(rig, default=0, policy=2)  # the part that was uploaded again has gone, and so have the rows of parts
        assert await rig.live_parts() == 1  # the small one
        assert await rig.get("m") == b"".join(parts)

    with_rig(test, settings=COLD)


def test_parts_are_copied_by_reference_within_a_class() -> None:
    async def test(rig: Rig) -> None:
        await put(rig, "cold")
        await put(rig, "warm", storage_class="")
        upload = await rig.store.create_upload(ALICE, rig.bucket, "m", attributes=Attributes(storage_class=IA))
        made = []
        for number, source in enumerate(("cold", "warm"), 1):
            part = await rig.store.copy_part(ALICE, CopySource(rig.bucket, source), rig.bucket, "m", upload.upload_id, number)
            made.append(CompletedPart(number=number, etag=part.etag))
        assert is_at(rig, default=1, policy=2)
        await rig.complete("m", upload.upload_id, made)
        for key in ("cold", "warm"):
            await rig.store.delete(ALICE, rig.bucket, key)
        await reclaim(rig)
        assert is_at(rig, default=0, policy=2)
        assert await rig.get("m") == LARGE + LARGE

    with_rig(test, settings=COLD)


def test_bodies_without_a_name_are_reclaimed_and_named_ones_stay() -> None:
    async def test(rig: Rig) -> None:
        await put(rig, "replaced")
        await put(rig, "stays")
        upload = await rig.store.create_upload(ALICE, rig.bucket, "m", attributes=Attributes(storage_class=IA))
        await rig.part("m", upload.upload_id, 1, LARGE)
        pending = await rig.store.create_upload(ALICE, rig.bucket, "p", attributes=Attributes(storage_class=IA))
        await rig.part("p", pending.upload_id, 1, LARGE)
        await rig.store.abort_upload(ALICE, rig.bucket, "m", upload.upload_id)
        await put(rig, "replaced", b"small now")
        assert is_at(rig, default=0, policy=4)
        await reclaim(rig)
        assert is_at(rig, default=0, policy=2)
        assert await rig.get("stays") == LARGE

    with_rig(test, settings=COLD)


def test_reclaiming_goes_on_without_the_ring_of_a_policy() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", [LARGE])
        await rig.complete("k", upload_id, parts)
        await rig.store.delete(ALICE, rig.bucket, "k")

        async def away(what: str, key: RowKey) -> None:
            raise QuorumLost("too few replicas answered")

        rig.rings["cold"].before = away
        await reclaim(rig)
        assert is_at(rig, default=0, policy=0)

    with_rig(test, settings=COLD)


def test_a_deleted_bucket_leaves_no_bodies() -> None:
    async def test(rig: Rig) -> None:
        await put(rig)
        await sweep_bucket(rig.whole, await rig.id(), 0)
        assert is_at(rig, default=0, policy=0)

    with_rig(test, settings=COLD)


def test_appends_follow_the_class_of_their_object() -> None:
    async def test(rig: Rig) -> None:
        await put(rig)
        more = noise(6000)
        for data, offset in ((more, len(LARGE)), (b"tail", len(LARGE) + len(more))):
            await rig.store.append(ALICE, rig.bucket, "k", sent(data), offset=offset, attributes=Attributes(), expected=Expected())
        assert await rig.get("k") == LARGE + more + b"tail"
        assert is_at(rig, default=0, policy=2)

    with_rig(test, settings=COLD)


def test_a_body_takes_a_partition_whose_devices_are_there() -> None:
    async def test(rig: Rig) -> None:
        ring = rig.rings["cold"]
        ring.ill = set(range(2**24)) - {7}
        bucket = await rig.store.open_bucket(ALICE, rig.bucket, Action.READ_BUCKET)
        seen = {ring.partition(body_key(rig.store, bucket, "0" * 32, 1, "cold")) for _ in range(3)}
        assert len(seen) <= 3  # none is found in so many: any will do
        ring.ill = {partition for partition in range(2**24) if partition % 2}
        for _ in range(20):
            assert ring.partition(body_key(rig.store, bucket, "0" * 32, 1, "cold")) % 2 == 0
        failed: list[bytes] = []

        async def before(what: str, key: RowKey) -> None:
            if what == "stage" and not failed:
                failed.append(key.name)
                raise QuorumLost("too few replicas answered")

        ring.ill = set()
        ring.before = before
        await put(rig)
        assert failed
        assert all(failed[0] != where[2] for where in cold(rig).rows)
        assert await rig.get("k") == LARGE

    with_rig(test, settings=COLD)


def test_where_an_object_lies_is_told_by_its_row() -> None:
    def row(body: BodyKind, *names: bytes, size: int = 10_000) -> Row:
        parts = tuple(PartRef(Space.PARTS, name, size, "", ZERO) for name in names)
        return Row(kind=1, operation=b"", origin=ZERO, base=ZERO, modified_us=0, body=body, parts=parts)

    here, there = b"0" * 32 + b"/00001/" + b"0" * 16, b"0" * 32 + b"/00001/" + b"0" * 16 + b"~cold"
    assert lies_in(row(BodyKind.BLOB), "", 4096)
    assert not lies_in(row(BodyKind.BLOB), "cold", 4096)
    assert lies_in(row(BodyKind.INLINE), "cold", 4096)
    assert lies_in(row(BodyKind.MANIFEST, there), "cold", 4096)
    assert not lies_in(row(BodyKind.MANIFEST, there, here), "cold", 4096)
    assert not lies_in(row(BodyKind.MANIFEST, there), "", 4096)
    assert lies_in(row(BodyKind.MANIFEST, here, size=100), "cold", 4096)
