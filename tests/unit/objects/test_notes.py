"""Notes: before the write, in order of time, and dropped only when they are settled and nobody wrote them anew."""

import asyncio

from objstore.objects.api import Attributes
from objstore.objects.notes import EXPIRY, SETTLED_S, change_prefix, drop, expiry_name, expiry_seconds, has_note, note_change, notes
from tests.support.memory_cluster import EPOCH_US
from tests.support.store_rig import ALICE, Rig, with_rig

NOW_S = EPOCH_US // 1_000_000


def at(seconds: int) -> Attributes:
    return Attributes(headers={"x-delete-at": str(NOW_S + seconds)})


def test_objects_that_expire_are_noted_in_order_of_time_whichever_way_they_are_written() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("later", attributes=at(900))
        await rig.put("k" * 1024, attributes=at(300))
        await rig.put("plain")
        await rig.store.set_attributes(ALICE, rig.bucket, "plain", at(500))
        await rig.store.rename(ALICE, rig.bucket, "later", "named")
        found, start = await notes(rig.cluster, EXPIRY, b"", 100)
        assert start is None
        assert [noted.note.key for noted in found][:2] == [b"k" * 1024, b"plain"]
        assert {noted.note.key for noted in found[2:]} == {b"later", b"named"}
        assert [expiry_seconds(noted.name) - NOW_S for noted in found] == [300, 500, 900, 900]
        assert await has_note(rig.cluster, expiry_name(NOW_S + 500, await rig.id(), b"plain"))

    with_rig(test)


def test_a_bucket_without_such_things_is_noted_nowhere() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        await rig.store.delete(ALICE, rig.bucket, "k")
        assert (await notes(rig.cluster, b"record/", b"", 100))[0] == []

    with_rig(test)


def test_a_note_is_dropped_when_it_is_settled_and_not_when_it_was_written_anew() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.store.directory.find(ALICE, rig.bucket)
        prefix = change_prefix(bucket.id)
        await note_change(rig.cluster, bucket, b"k", rig.clock.wall_us())
        ((noted,), _) = await notes(rig.cluster, prefix, b"", 10)
        assert not await drop(rig.cluster, noted, rig.clock.wall_us())
        await asyncio.sleep(SETTLED_S)
        await note_change(rig.cluster, bucket, b"k", rig.clock.wall_us())
        assert not await drop(rig.cluster, noted, rig.clock.wall_us())
        await asyncio.sleep(SETTLED_S)
        ((again,), _) = await notes(rig.cluster, prefix, b"", 10)
        assert await drop(rig.cluster, again, rig.clock.wall_us())
        assert (await notes(rig.cluster, prefix, b"", 10))[0] == []

    with_rig(test)
