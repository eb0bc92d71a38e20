"""The expirer on virtual time: what is due goes with its bytes, what was given more time stays."""

import asyncio

import msgspec

from objstore.core.rows import RowKey, Space, decode_row
from objstore.daemons.expirer import ExpirySettings, ObjectExpirer
from objstore.objects.api import Attributes, ListQuery, ObjectInfo
from objstore.objects.context import EXPIRING
from objstore.objects.notes import EXPIRY, drop, note_expiry, notes
from tests.support.memory_cluster import memory_world
from tests.support.store_rig import ALICE, Rig, noise, with_rig

SETTINGS = ExpirySettings(rows_per_s=1e6, actions_per_s=1e6)
ROUND_S = 301.0


def daemon(rig: Rig) -> ObjectExpirer:
    return ObjectExpirer(rig.store, memory_world(rig.clock), SETTINGS, holder="host")


def until(rig: Rig, seconds: int) -> Attributes:
    return Attributes(headers={"x-delete-at": str(rig.clock.wall_us() // 1_000_000 + seconds)})


async def shown(rig: Rig) -> list[tuple[str, bool]]:
    page = await rig.store.list_versions(ALICE, rig.bucket, ListQuery())
    return [(info.key, info.is_delete_marker) for info in page.objects]


async def put(rig: Rig, key: str, data: bytes, seconds: int) -> ObjectInfo:
    return await rig.put(key, data, attributes=until(rig, seconds))


def test_what_is_due_goes_with_its_bytes_and_is_counted_no_more() -> None:
    async def test(rig: Rig) -> None:
        await put(rig, "small", b"data", 100)
        await put(rig, "large", noise(100_000), 100)
        await put(rig, "later", b"data", 10_000)
        await rig.put("stays")
        found = daemon(rig)
        assert await found.run() == 0
        await asyncio.sleep(ROUND_S)
        assert await found.run() == 2
        assert found.looked_at == 2  # what is due, and nothing else
        assert await shown(rig) == [("later", False), ("stays", False)]
        assert (await rig.store.container_usage(ALICE, rig.bucket)).objects == 2
        assert await rig.row("large") is None or (await rig.row("large")).size == 0  # type: ignore[union-attr]
        assert await found.run() == 0
        await asyncio.sleep(10_000)
        assert await found.run() == 1
        assert found.removed == 3

    with_rig(test)


async def noted(rig: Rig) -> list[bytes]:
    return [found.note.key for found in (await notes(rig.cluster, EXPIRY, b"", 1000))[0]]


def test_notes_of_what_is_done_go_once_no_write_can_be_under_way() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()
        await asyncio.gather(*(put(rig, f"k{number}", b"x", 10) for number in range(20)), put(peer, "p", b"y", 10))
        assert EXPIRING not in (await rig.store.bucket(ALICE, rig.bucket)).config
        await rig.store.delete(ALICE, rig.bucket, "k7")
        found = daemon(rig)
        await asyncio.sleep(20)
        assert await found.run() == 20
        assert len(await noted(rig)) == 21
        assert await found.run() == 0
        assert found.looked_at == 21
        await asyncio.sleep(ROUND_S)
        assert await found.run() == 0
        assert await noted(rig) == []
        await peer.store.aclose()

    with_rig(test)


def test_a_write_that_lands_after_its_time_has_come_is_found_all_the_same() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.store.directory.find(ALICE, rig.bucket)
        row = until(rig, 10)
        await note_expiry(rig.cluster, bucket, b"slow", int(row.headers["x-delete-at"]), rig.clock.wall_us())
        found = daemon(rig)
        await asyncio.sleep(20)
        assert await found.run() == 0
        draft = await rig.put("other")  # stands for the write that the note announced: without a note of its own
        assert draft.key == "other"
        register = RowKey(bucket.id, Space.OBJECTS, b"slow")
        held = rig.registers.get(RowKey(bucket.id, Space.OBJECTS, b"other"))
        assert held is not None
        await rig.cluster.write(register, msgspec.structs.replace(decode_row(held[1]), headers=dict(row.headers)), payload=b"data")
        await asyncio.sleep(ROUND_S)
        assert await found.run() == 1
        assert await shown(rig) == [("other", False)]

    with_rig(test)


def test_buckets_that_an_older_release_marked_are_walked_through_until_nothing_lacks() -> None:
    async def test(rig: Rig) -> None:
        for key, seconds in (("due", 10), ("later", 50_000)):
            await put(rig, key, b"x", seconds)
        await rig.put("plain")
        await asyncio.sleep(200)
        for found_note in (await notes(rig.cluster, EXPIRY, b"", 10))[0]:
            assert await drop(rig.cluster, found_note, rig.clock.wall_us())
        bucket = await rig.store.directory.find(ALICE, rig.bucket)
        await rig.store.directory.change(bucket, lambda record: msgspec.structs.replace(record, config={**record.config, EXPIRING: b"1"}))
        found = daemon(rig)
        assert await found.run() == 1
        assert found.looked_at == 3
        assert await noted(rig) == [b"later"]
        assert EXPIRING in (await rig.store.bucket(ALICE, rig.bucket)).config
        await asyncio.sleep(3601)
        assert await found.run() == 0
        assert EXPIRING not in (await rig.store.bucket(ALICE, rig.bucket)).config
        await asyncio.sleep(50_000)
        assert await found.run() == 1

    with_rig(test)


def test_a_locked_version_stays_until_its_lock_ends() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.create_bucket(ALICE, "locked", object_lock=True)
        rig.bucket = "locked"
        await put(rig, "k", b"1", 10)
        await rig.store.set_legal_hold(ALICE, "locked", "k", on=True)
        await rig.put("k", noise(9000))
        found = daemon(rig)
        await asyncio.sleep(ROUND_S)
        assert await found.run() == 0
        looked = found.looked_at
        assert await found.run() == 0
        assert found.looked_at == looked  # not at every look
        versions = (await rig.store.list_versions(ALICE, "locked", ListQuery())).objects
        assert await rig.get("k", version_id=versions[1].version_id) == b"1"  # kept is kept to be read
        await rig.store.set_legal_hold(ALICE, "locked", "k", on=False, version_id=versions[1].version_id)
        await asyncio.sleep(ROUND_S)
        assert await found.run() == 1
        assert len((await rig.store.list_versions(ALICE, "locked", ListQuery())).objects) == 1

    with_rig(test)


def test_an_object_that_was_given_more_time_or_written_anew_stays() -> None:
    async def test(rig: Rig) -> None:
        for key in ("more", "none", "anew", "goes"):
            await put(rig, key, b"data", 100)
        found = daemon(rig)
        bucket = await found._expirer.find("alice", rig.bucket, await rig.id())
        assert bucket is not None
        await asyncio.sleep(200)
        page = await found._expirer.keys(bucket, b"", b"")  # what a slow daemon judges by
        owner = ALICE.at("alice").opening_expired()
        await rig.store.set_attributes(owner, rig.bucket, "more", until(rig, 5000))
        await rig.store.set_attributes(owner, rig.bucket, "none", Attributes())
        await rig.put("anew")
        for key in page.keys:
            await found._look_at(bucket, key)
        assert found.removed == 1
        assert await shown(rig) == [("anew", False), ("more", False), ("none", False)]

    with_rig(test)


def test_a_version_goes_for_good_and_what_it_hid_stays_hidden() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        await put(rig, "alone", noise(9000), 10)
        await rig.put("hiding", b"older")
        await put(rig, "hiding", b"newer", 10)
        await put(rig, "hidden", b"older", 10)
        newer = noise(9000)
        await rig.put("hidden", newer)
        await asyncio.sleep(ROUND_S)
        found = daemon(rig)
        assert await found.run() == 3
        assert await shown(rig) == [("hidden", False), ("hiding", True), ("hiding", False)]
        assert await rig.get("hidden") == newer
        await rig.store.set_versioning(ALICE, rig.bucket, "Suspended")
        await put(rig, "hidden", b"null", 10)
        await put(rig, "null", b"null", 10)
        await asyncio.sleep(ROUND_S)
        assert await found.run() == 2
        assert await shown(rig) == [("hidden", True), ("hidden", False), ("hiding", True), ("hiding", False)]

    with_rig(test)


def test_settings_say_how_often() -> None:
    assert (ExpirySettings().poll_s, ExpirySettings().walk_s) == (60.0, 3600.0)
    assert (ExpirySettings(seconds_per_day=2).poll_s, ExpirySettings(expire_interval_s=5).poll_s) == (0.5, 5.0)


def test_bytes_of_a_reclaimed_object_are_named_by_no_row() -> None:
    async def test(rig: Rig) -> None:
        await put(rig, "k", noise(9000), 10)
        await asyncio.sleep(ROUND_S)
        await daemon(rig).run()
        held = rig.registers.get(RowKey(await rig.id(), Space.OBJECTS, b"k"))
        assert held is None or not decode_row(held[1]).blob

    with_rig(test)
