"""What buckets hold, by counters and by looking."""

import msgspec
import pytest

from objstore.errors import InvalidArgument
from objstore.objects import inventory
from objstore.objects.inventory import Counts, Cursor, groups_of, list_holdings, scan_holdings
from tests.support.store_rig import ALICE, Rig, noise, with_rig


async def looked_at(rig: Rig, prefix: str = "", depth: int = 0) -> dict[str, Counts]:
    sums: dict[str, Counts] = {}
    cursor: Cursor | None = inventory.BEGIN
    while cursor is not None:
        page, cursor = await scan_holdings(rig.cluster, await rig.id(), prefix=prefix, depth=depth, cursor=Cursor.parse(cursor.text()))
        for name, counts in page.items():
            sums.setdefault(name, Counts()).add(counts)
    return sums


def test_counters_and_rows_say_the_same() -> None:
    async def test(rig: Rig) -> None:
        rig.cluster.page_limit = 2
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        for key in ("a", "b", "b", "c/d", "c/d", "c/d"):
            await rig.put(key, b"12345")
        await rig.store.delete(ALICE, rig.bucket, "b")
        await rig.store.delete(ALICE, rig.bucket, "nothing")
        await rig.upload("e", [noise(2000), noise(10)])
        upload_id, parts = await rig.upload("f", [noise(1500)])
        await rig.complete("f", upload_id, parts)
        held = (await list_holdings(rig.cluster))["buckets"]
        assert [row["bucket"] for row in held] == ["photos"]
        found = (await looked_at(rig))[""]
        assert found == Counts(objects=3, bytes=1510, versions=4, version_bytes=20, markers=2, uploads=1, upload_bytes=2010)
        assert {**held[0], **msgspec.to_builtins(found)} == held[0]
        assert held[0]["stored_bytes"] >= 1530

    with_rig(test)


def test_directories_are_summed_up_to_a_depth() -> None:
    async def test(rig: Rig) -> None:
        for key in ("a/1", "a/b/2", "a/b/c/3", "a/b/c/4", "b/5", "6"):
            await rig.put(key, b"x")
        await rig.upload("a/b/7", [noise(9)])
        found = await looked_at(rig, "", 2)
        assert {name: counts.objects for name, counts in found.items()} == {"": 6, "a/": 4, "a/b/": 3, "b/": 1}
        assert (found["a/b/"].uploads, found["b/"].uploads) == (1, 0)
        assert {name: counts.objects for name, counts in (await looked_at(rig, "a/b", 9)).items()} == {"a/b": 3, "a/b/": 3, "a/b/c/": 2}
        assert (await looked_at(rig, "none"))["none"] == Counts()

    with_rig(test)


def test_a_version_that_was_brought_back_is_counted_once() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        await rig.put("a", b"one")
        newer = await rig.put("a", b"two")
        await rig.store.delete(ALICE, rig.bucket, "a", version_id=newer.version_id)
        assert (await looked_at(rig))[""] == Counts(objects=1, bytes=3)

    with_rig(test)


def test_buckets_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "BUCKETS_AT_ONCE", 2)

    async def test(rig: Rig) -> None:
        for name in ("aaa", "bbb", "zzz"):
            await rig.store.create_bucket(ALICE, name)
        page = await list_holdings(rig.cluster)
        rest = await list_holdings(rig.cluster, after=page["next"])
        assert [row["bucket"] for row in page["buckets"] + rest["buckets"]] == ["aaa", "bbb", "photos", "zzz"]
        assert [row["bucket"] for row in (await list_holdings(rig.cluster, "zzz"))["buckets"]] == ["zzz"]
        assert not rest["next"]

    with_rig(test)


@pytest.mark.parametrize("text", ["", "1:2", "9::", "-1::", "0:zz:", "x::"])
def test_places_that_no_scan_gave_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Cursor.parse(text)


def test_groups_end_at_slashes() -> None:
    assert groups_of("a/b/c", "", 1) == ["", "a/"]
    assert groups_of("a/b/c", "a/", 5) == ["a/", "a/b/"]
    assert groups_of("//x", "", 2) == ["", "/", "//"]
