import asyncio
import random

import pytest

from objstore.core.rows import RowKey, Space, decode_row
from objstore.core.timestamp import Ballot
from objstore.core.versions import newest_first
from objstore.errors import (
    BucketNotEmpty,
    ConditionalConflict,
    InvalidArgument,
    InvalidRequest,
    NoSuchKey,
    NoSuchVersion,
    PreconditionFailed,
    VersionIsMarker,
)
from objstore.objects.api import Conditions, CopySource, DeleteTarget, ListQuery
from tests.support.store_rig import ALICE, Rig, noise, with_rig

MISSING = "0123456789abcdef01234567"


async def shown(rig: Rig, *, page: int = 1000, **query: str) -> list[tuple[str, str, bool, bool]]:
    """Key, version id, whether it is the latest, whether it is a marker, of every version, page by page."""
    found: list[tuple[str, str, bool, bool]] = []
    after, version = "", ""
    while True:
        asked = ListQuery(after=after, limit=page, **query)
        got = await rig.store.list_versions(ALICE, "photos", asked, after_version=version)
        assert len(got.objects) + len(got.prefixes) <= page
        found += [(v.key, v.version_id, v.is_latest, v.is_delete_marker) for v in got.objects]
        found += [(prefix, "", False, False) for prefix in got.prefixes]
        if not got.truncated:
            return sorted(found, key=lambda item: item[0])  # stable: prefixes among keys
        assert (after, version) != (got.next_after, got.next_version)
        after, version = got.next_after, got.next_version


async def enable(rig: Rig, status: str = "Enabled") -> None:
    await rig.store.set_versioning(ALICE, "photos", status)


def test_each_key_of_an_unversioned_bucket_shows_its_null_version_as_the_latest() -> None:
    async def test(rig: Rig) -> None:
        for key in ("a", "b/1", "b/2", "c"):
            await rig.put(key)
            await rig.put(key)
        page = await rig.store.list_versions(ALICE, "photos", ListQuery(delimiter="/", limit=2))
        assert [(v.key, v.version_id, v.is_latest, v.is_delete_marker) for v in page.objects] == [("a", "null", True, False)]
        assert (page.prefixes, page.truncated, page.next_after, page.next_version) == (["b/"], True, "b/", "")
        page = await rig.store.list_versions(ALICE, "photos", ListQuery(delimiter="/", after="a"), after_version="null")
        assert ([v.key for v in page.objects], page.prefixes) == (["c"], ["b/"])

    with_rig(test)


def test_a_marker_that_is_no_version_is_refused_and_so_is_a_state_that_is_none() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(InvalidArgument):
            await rig.store.list_versions(ALICE, "photos", ListQuery(after="a"), after_version="nonsense")
        with pytest.raises(InvalidArgument):
            await rig.store.set_versioning(ALICE, "photos", "")

    with_rig(test)


@pytest.mark.parametrize("size", [0, 10, 9000])
def test_every_version_stays_readable_by_its_id(size: int) -> None:
    async def test(rig: Rig) -> None:
        bodies = {"null": noise(size)}
        assert (await rig.put("k", bodies["null"])).version_id == ""
        await enable(rig)
        for _ in range(3):
            data = noise(size)
            info = await rig.put("k", data)
            assert len(info.version_id) == 24
            bodies[info.version_id] = data
        for version, data in bodies.items():
            assert await rig.get("k", version_id=version) == data
            info = await rig.store.head(ALICE, "photos", "k", version_id=version)
            assert (info.version_id, info.size) == (version, size)
        assert await rig.get("k") == data
        newest = list(bodies)[::-1]
        assert await shown(rig) == [("k", version, version == newest[0], False) for version in newest]
        with pytest.raises(NoSuchVersion):
            await rig.get("k", version_id=MISSING)

    with_rig(test)


def test_a_delete_marker_hides_the_object_and_goes_by_its_own_id() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        one = await rig.put("k", b"one")
        gone = await rig.store.delete(ALICE, "photos", "k")
        assert gone.delete_marker
        with pytest.raises(NoSuchKey) as missing:
            await rig.get("k")
        assert missing.value.facts["marker"] == gone.marker_version_id
        with pytest.raises(VersionIsMarker):
            await rig.get("k", version_id=gone.marker_version_id)
        assert await rig.get("k", version_id=one.version_id) == b"one"
        assert not (await rig.store.list(ALICE, "photos", ListQuery())).objects
        assert await shown(rig) == [("k", gone.marker_version_id, True, True), ("k", one.version_id, False, False)]
        undone = await rig.store.delete(ALICE, "photos", "k", version_id=gone.marker_version_id)
        assert (undone.delete_marker, undone.version_id, undone.marker_version_id) == (True, gone.marker_version_id, gone.marker_version_id)
        assert await rig.get("k") == b"one"
        assert (await rig.store.head(ALICE, "photos", "k")).modified_us == one.modified_us

    with_rig(test)


def test_a_marker_is_made_even_over_nothing() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        outcomes = await rig.store.delete_many(ALICE, "photos", [DeleteTarget("never"), DeleteTarget("never"), DeleteTarget("x", MISSING)])
        assert [o.delete_marker for o in outcomes] == [True, True, False]
        assert len({o.marker_version_id for o in outcomes[:2]}) == 2
        assert len(await shown(rig)) == 2

    with_rig(test)


def test_suspended_buckets_overwrite_the_null_version_in_place() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"null 1")
        await enable(rig)
        versioned = await rig.put("k", b"versioned")
        await enable(rig, "Suspended")
        for body in (b"null 2", b"null 3"):
            assert (await rig.put("k", body)).version_id == "null"
            assert await shown(rig) == [("k", "null", True, False), ("k", versioned.version_id, False, False)]
            assert await rig.get("k") == await rig.get("k", version_id="null") == body
        gone = await rig.store.delete(ALICE, "photos", "k")
        assert (gone.delete_marker, gone.marker_version_id) == (True, "null")
        assert await shown(rig) == [("k", "null", True, True), ("k", versioned.version_id, False, False)]
        await enable(rig)
        again = await rig.put("k", b"again")
        assert await shown(rig) == [
            ("k", again.version_id, True, False), ("k", "null", False, True), ("k", versioned.version_id, False, False)
        ]  # fmt: skip
        with pytest.raises(VersionIsMarker):
            await rig.get("k", version_id="null")

    with_rig(test)


def test_tags_of_a_noncurrent_version_change_alone() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        one, two = await rig.put("k", b"one"), await rig.put("k", noise(9000))
        for _ in range(2):
            assert (await rig.store.set_tags(ALICE, "photos", "k", {"a": "1"}, version_id=one.version_id)).version_id == one.version_id
            await rig.store.set_tags(ALICE, "photos", "k", {"b": "2"}, version_id=two.version_id)
        info = await rig.store.head(ALICE, "photos", "k", version_id=one.version_id)
        assert (info.tags, info.modified_us, info.etag) == ({"a": "1"}, one.modified_us, one.etag)
        assert await rig.get("k", version_id=one.version_id) == b"one"
        info = await rig.store.head(ALICE, "photos", "k")
        assert (info.tags, info.modified_us, info.version_id) == ({"b": "2"}, two.modified_us, two.version_id)
        with pytest.raises(NoSuchVersion):
            await rig.store.set_tags(ALICE, "photos", "k", {}, version_id=MISSING)
        with pytest.raises(NoSuchVersion):
            await rig.store.set_tags(ALICE, "photos", "never", {}, version_id=MISSING)
        gone = await rig.store.delete(ALICE, "photos", "k")
        with pytest.raises(VersionIsMarker):
            await rig.store.set_tags(ALICE, "photos", "k", {}, version_id=gone.marker_version_id)
        await rig.store.set_tags(ALICE, "photos", "k", {"c": "3"}, version_id=one.version_id)
        assert (await rig.store.head(ALICE, "photos", "k", version_id=one.version_id)).tags == {"c": "3"}
        with pytest.raises(NoSuchKey):
            await rig.get("k")

    with_rig(test)


def test_a_copy_of_an_old_version_brings_it_back() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        one = await rig.put("k", b"one")
        gone = await rig.store.delete(ALICE, "photos", "k")
        with pytest.raises(NoSuchKey):
            await rig.store.copy(ALICE, CopySource("photos", "k"), "photos", "other")
        with pytest.raises(InvalidRequest):
            await rig.store.copy(ALICE, CopySource("photos", "k", gone.marker_version_id), "photos", "other")
        info = await rig.store.copy(ALICE, CopySource("photos", "k", one.version_id), "photos", "k")
        assert info.source_version_id == one.version_id != info.version_id
        assert await rig.get("k") == b"one"
        upload_id, _ = await rig.upload("m", [])
        part = await rig.store.copy_part(ALICE, CopySource("photos", "k"), "photos", "m", upload_id, 1)
        assert part.source_version_id == info.version_id

    with_rig(test)


def test_conditions_take_a_marker_for_nothing_and_name_a_version_where_one_is_removed() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        one = await rig.put("k", b"one")
        two = await rig.put("k", b"two")
        with pytest.raises(PreconditionFailed):
            await rig.put("k", conditions=Conditions(if_none_match=("*",)))
        with pytest.raises(PreconditionFailed):
            await rig.store.delete(ALICE, "photos", "k", version_id=one.version_id, conditions=Conditions(if_match=(two.etag,)))
        with pytest.raises(PreconditionFailed):
            await rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match_size=4))
        await rig.store.delete(ALICE, "photos", "k", version_id=one.version_id, conditions=Conditions(if_match=(one.etag,)))
        with pytest.raises(NoSuchKey):
            await rig.store.delete(ALICE, "photos", "k", version_id=one.version_id, conditions=Conditions(if_match=(one.etag,)))
        gone = await rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match=(two.etag,), if_match_size=3))
        assert gone.delete_marker
        with pytest.raises(NoSuchKey):
            await rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match=("*",)))
        with pytest.raises(NoSuchKey):
            await rig.put("k", conditions=Conditions(if_match=("*",)))
        assert (await rig.put("k", b"three", conditions=Conditions(if_none_match=("*",)))).version_id

    with_rig(test)


def test_versions_and_markers_keep_a_bucket_from_being_deleted() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        one = await rig.put("k", noise(9000))
        gone = await rig.store.delete(ALICE, "photos", "k")
        for version in (one.version_id, gone.marker_version_id):
            with pytest.raises(BucketNotEmpty):
                await rig.store.delete_bucket(ALICE, "photos")
            await rig.store.delete(ALICE, "photos", "k", version_id=version)
        assert rig.registers.blobs == {}
        await rig.store.delete_bucket(ALICE, "photos")

    with_rig(test)


def test_an_upload_completed_twice_makes_one_version() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        upload_id, parts = await rig.upload("k", [b"x" * 1000, b"y"])
        one = await rig.complete("k", upload_id, parts)
        assert (await rig.complete("k", upload_id, parts)).version_id == one.version_id
        await rig.put("k", b"later")
        assert (await rig.complete("k", upload_id, parts)).version_id == one.version_id
        assert len(await shown(rig)) == 2
        assert await rig.get("k", version_id=one.version_id) == b"x" * 1000 + b"y"

    with_rig(test)


def test_an_enabled_state_is_kept_by_every_proxy_before_the_call_returns() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()
        await peer.put("k", b"null")  # the peer knows the bucket as unversioned now
        await enable(rig)
        assert (await peer.put("k", b"one")).version_id != ""

    with_rig(test)


def test_versions_that_are_named_before_a_bucket_knows_any_are_not_there() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        with pytest.raises(NoSuchVersion):
            await rig.get("k", version_id=MISSING)
        assert (await rig.store.delete(ALICE, "photos", "k", version_id=MISSING)).version_id == MISSING
        assert await rig.get("k") == b"data"

    with_rig(test)


def test_pages_go_on_in_the_middle_of_a_key_even_when_what_they_ended_with_is_gone() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        await enable(rig)
        for _ in range(5):
            await rig.put("k")
        for limit in (1, 2, 5, 6):
            assert await shown(rig, page=limit) == await shown(rig)
        seen = 0
        after, version = "", ""
        while True:  # as clean-up scripts do: delete what a page shows, then ask for the next
            page = await rig.store.list_versions(ALICE, "photos", ListQuery(after=after, limit=2), after_version=version)
            for found in page.objects:
                seen += 1
                await rig.store.delete(ALICE, "photos", found.key, version_id=found.version_id)
            if not page.truncated:
                break
            after, version = page.next_after, page.next_version
        assert seen == 6
        await rig.store.delete_bucket(ALICE, "photos")

    with_rig(test)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_head_that_is_not_the_newest_version_is_shown_once_and_hides_none(limit: int) -> None:
    """Two writers may end in another order than they began, which is what version ids go by."""

    async def test(rig: Rig) -> None:
        await rig.put("k", b"null")
        await enable(rig)
        for number in range(3):
            await rig.put("k", b"%d" % number)
        await rig.put("l")
        head = RowKey(await rig.id(), Space.OBJECTS, b"k")
        second = (await rig.store.list_versions(ALICE, "photos", ListQuery())).objects[1]
        kept = rig.registers.get(RowKey(head.bucket, Space.VERSIONS, b"k", bytes.fromhex(second.version_id)))
        assert kept is not None
        newest = rig.registers.get(head)
        assert newest is not None
        rig.registers.put(head, Ballot((int.from_bytes(newest[0], "big") + 1).to_bytes(12, "big")), decode_row(kept[1]), kept[2])
        listed = await shown(rig)
        assert [(key, latest) for key, _, latest, _ in listed] == [("k", True), *[("k", False)] * 3, ("l", True)]
        assert listed[0][1] == second.version_id
        assert await shown(rig, page=limit) == listed

    with_rig(test)


def test_a_removed_null_version_as_a_marker_hides_nothing() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        await rig.put("k")
        await enable(rig, "Suspended")
        await rig.put("k")
        page = await rig.store.list_versions(ALICE, "photos", ListQuery(limit=1))
        assert (page.next_after, page.next_version) == ("k", "null")
        await rig.store.delete(ALICE, "photos", "k", version_id="null")
        page = await rig.store.list_versions(ALICE, "photos", ListQuery(after="k"), after_version="null")
        assert len(page.objects) == 1

    with_rig(test)


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_changes_shows_what_a_plain_list_of_versions_would(seed: int) -> None:
    """Against a dumb twin: per key a list of (version id, kind, body, tags), newest first."""

    async def test(rig: Rig) -> None:
        rng = random.Random(seed)
        twin: dict[str, list[tuple[str, bytes | None]]] = {}
        state = ""
        rig.cluster.page_limit = rng.choice((1, 2, 1000))

        def put(key: str, version: str, body: bytes | None) -> None:
            versions = twin.setdefault(key, [])
            if version == "null":
                versions[:] = [item for item in versions if item[0] != "null"]
            versions.insert(0, (version, body))

        for _ in range(60):
            key = rng.choice(("a", "b/1", "b/2"))
            step = rng.random()
            if step < 0.08:
                state = rng.choice(("Enabled", "Suspended"))
                await enable(rig, state)
            elif step < 0.5:
                body = noise(rng.choice((0, 5, 5000)))
                info = await rig.put(key, body)
                put(key, info.version_id or "null", body)
            elif step < 0.65:
                outcome = await rig.store.delete(ALICE, "photos", key)
                if state:
                    put(key, outcome.marker_version_id, None)
                else:
                    twin.pop(key, None)
            elif twin.get(key):
                version = rng.choice(twin[key])[0]
                await rig.store.delete(ALICE, "photos", key, version_id=version)
                twin[key] = [item for item in twin[key] if item[0] != version]
                if not twin[key]:
                    del twin[key]
            await asyncio.sleep(0.001)
            expected = [
                (name, version, index == 0, body is None) for name in sorted(twin) for index, (version, body) in enumerate(twin[name])
            ]
            assert await shown(rig, page=rng.choice((1, 2, 3, 1000))) == expected
            for name, versions in twin.items():
                for version, held in versions:
                    if held is not None:
                        assert await rig.get(name, version_id=version) == held
        grouped = await shown(rig, delimiter="/", prefix="b")
        assert [key for key, *_ in grouped] == (["b/"] if any(name.startswith("b") for name in twin) else [])

    with_rig(test)


def test_removals_that_race_with_writers_expose_what_is_the_newest_then() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        versions = [(await rig.put("k", str(i).encode())).version_id for i in range(8)]
        removed = versions[2:]
        rng = random.Random(1)
        rng.shuffle(removed)
        await asyncio.gather(*(rig.peer().store.delete(ALICE, "photos", "k", version_id=version) for version in removed))
        assert await rig.get("k") == b"1"
        assert [version for _, version, *_ in await shown(rig)] == [versions[1], versions[0]]

    with_rig(test)


def test_an_alteration_gives_up_when_the_object_never_rests() -> None:
    async def test(rig: Rig) -> None:
        await enable(rig)
        one = await rig.put("k")

        async def overwrite(what: str, key: object) -> None:
            if what == "conditional":
                await rig.peer().put("k")

        rig.cluster.before = overwrite
        with pytest.raises(ConditionalConflict):
            await rig.store.set_tags(ALICE, "photos", "k", {}, version_id=one.version_id)

    with_rig(test)


def test_no_two_null_versions_lie_side_by_side() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"0")
        await enable(rig)
        await rig.put("k", b"1")
        await enable(rig, "Suspended")
        await rig.put("k", b"2")
        rows = rig.registers.versions(await rig.id(), b"k")
        assert [row.version == "" for row in newest_first(rows)] == [False]
        assert len(rig.registers.live_names(await rig.id(), Space.OBJECTS)) == 1

    with_rig(test)
