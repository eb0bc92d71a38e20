import pytest

from objstore.errors import InvalidArgument
from objstore.objects.api import ListQuery
from objstore.objects.listing import common_prefix, start_after
from tests.support.store_rig import ALICE, Rig, with_rig

KEYS = ["a", "a/", "a/1", "a/2", "a/b/3", "b", "c//d", "c/e", "dé/x", "dé/y", "z\uffff", "z\U0001f600"]


def dumb(keys: list[str], query: ListQuery) -> tuple[list[str], list[str]]:
    """All of a listing, straight from S3's definition; keys and prefixes above `after`."""
    objects, prefixes = [], []
    for key in sorted(keys, key=str.encode):
        if key.startswith(query.prefix):
            cut = key.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
            shown = key[: cut + len(query.delimiter)] if cut >= 0 else key
            if shown.encode() > query.after.encode():
                if cut < 0:
                    objects.append(shown)
                elif shown not in prefixes:
                    prefixes.append(shown)
    return objects, prefixes


@pytest.mark.parametrize("page_limit", [1, 3, 1000])
@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
@pytest.mark.parametrize("delimiter", ["", "/", "//", "é/", "1"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "c/", "nothing"])
def test_pages_put_together_are_the_whole_listing(prefix: str, delimiter: str, limit: int, page_limit: int) -> None:
    async def test(rig: Rig) -> None:
        for key in KEYS:
            await rig.put(key, b"")
        await rig.put("gone")
        await rig.store.delete(ALICE, "photos", "gone")
        rig.cluster.page_limit = page_limit
        wanted = dumb(KEYS, ListQuery(prefix=prefix, delimiter=delimiter))
        objects: list[str] = []
        prefixes: list[str] = []
        after = ""
        for _ in range(len(KEYS) + 1):
            page = await rig.store.list(ALICE, "photos", ListQuery(prefix=prefix, delimiter=delimiter, after=after, limit=limit))
            objects += [info.key for info in page.objects]
            prefixes += page.prefixes
            assert len(page.objects) + len(page.prefixes) <= limit
            if not page.truncated:
                assert page.next_after == ""
                break
            assert len(page.objects) + len(page.prefixes) == limit
            after = page.next_after
        assert (objects, prefixes) == wanted

    with_rig(test)


@pytest.mark.parametrize("after", ["0", "a", "a/", "a/1", "b", "c/", "dé/", "zz"])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_a_listing_begins_behind_its_marker(after: str, delimiter: str) -> None:
    async def test(rig: Rig) -> None:
        for key in KEYS:
            await rig.put(key, b"")
        page = await rig.store.list(ALICE, "photos", ListQuery(after=after, delimiter=delimiter))
        objects, prefixes = dumb(KEYS, ListQuery(after=after, delimiter=delimiter))
        assert [info.key for info in page.objects] == objects
        if after != "a/1":  # inside a common prefix S3 shows it again for what is left of it
            assert page.prefixes == prefixes
        else:
            assert page.prefixes == (["a/", *prefixes] if delimiter else [])

    with_rig(test)


def test_a_page_of_nothing_is_empty_and_not_truncated() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        page = await rig.store.list(ALICE, "photos", ListQuery(limit=0))
        assert (list(page.objects), page.prefixes, page.truncated) == ([], [], False)
        with pytest.raises(InvalidArgument):
            await rig.store.list(ALICE, "photos", ListQuery(prefix="\ud800"))

    with_rig(test)


def test_a_listing_shows_what_a_head_shows() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"x" * 5000)
        assert [*(await rig.store.list(ALICE, "photos", ListQuery())).objects] == [await rig.store.head(ALICE, "photos", "k")]

    with_rig(test)


def test_common_prefixes_and_starts() -> None:
    assert common_prefix(b"a/b/c", b"a/", b"/") == b"a/b/"
    assert common_prefix(b"a/b", b"a/", b"/") == b""
    assert start_after(b"", b"", b"/") == b""
    assert start_after(b"a/", b"", b"/") == b"a0"
    assert start_after(b"a/", b"a/", b"/") == b"a/\0"
    assert start_after(b"a/b", b"", b"/") == b"a/b\0"
