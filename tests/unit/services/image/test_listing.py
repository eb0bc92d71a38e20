"""Lists of images: who sees what, filters, order, pages."""

import asyncio

import pytest

from objstore.services.image import listing
from tests.support.image_rig import ADMIN, ALICE, BOB, ImageRig, on_image_rig


async def many(rig: ImageRig) -> None:
    for number, name in enumerate(("cherry", "apple", "banana", "apple")):
        await rig.made(name=name, min_disk=number, tags=["fruit", name], colour=name[0], disk_format="qcow2" if number == 1 else "raw")
        await asyncio.sleep(0.001)


def test_who_is_shown_what() -> None:
    async def test(rig: ImageRig) -> None:
        for visibility in ("private", "shared", "community", "public"):
            await rig.made(ADMIN if visibility == "public" else ALICE, name=visibility, visibility=visibility)
        assert sorted(await rig.listed()) == ["community", "private", "public", "shared"]
        assert sorted(await rig.listed(who=BOB)) == ["public"]
        assert sorted(await rig.listed("?visibility=community", BOB)) == ["community"]
        assert sorted(await rig.listed("?visibility=all", BOB)) == ["community", "public"]
        assert sorted(await rig.listed("?visibility=private", BOB)) == []
        assert sorted(await rig.listed(who=ADMIN)) == ["private", "public", "shared"]
        assert (await rig.ask("GET", "/v2/images?visibility=none")).status == 400

    on_image_rig(test)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=apple", ["apple", "apple"]), ("name=in:cherry,banana", ["banana", "cherry"]), ('name=in:%22cherry%22', ["cherry"]),
        ("tag=fruit&tag=banana", ["banana"]), ("colour=c", ["cherry"]), ("min_disk=2", ["banana"]), ("disk_format=qcow2", ["apple"]),
        ("disk_format=in:qcow2,iso", ["apple"]), ("status=active", []), ("status=in:queued,active&name=cherry", ["cherry"]), ("size_min=1", []),
        ("os_hidden=true", []), ("protected=FALSE&name=cherry", ["cherry"]), ("created_at=gt:2040-01-01T00:00:00Z", []),
        ("created_at=lt:2040-01-01T00:00:00Z&name=cherry", ["cherry"]), ("name=neq:apple", ["banana", "cherry"]), ("owner=x", []),
        ("nothing=like-this", []),
    ],
)  # fmt: skip
def test_filters_choose(query: str, names: list[str]) -> None:
    async def test(rig: ImageRig) -> None:
        await many(rig)
        assert sorted(await rig.listed(f"?{query}")) == names

    on_image_rig(test)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["apple", "banana", "apple", "cherry"]), ("?sort=name:asc", ["apple", "apple", "banana", "cherry"]),
        ("?sort_key=name&sort_dir=desc", ["cherry", "banana", "apple", "apple"]), ("?sort_key=min_disk&sort_dir=asc", ["cherry", "apple", "banana", "apple"]),
        ("?sort=disk_format:asc,name:asc", ["apple", "apple", "banana", "cherry"]), ("?sort_key=size&sort_key=name&sort_dir=asc", ["apple", "apple", "banana", "cherry"]),
    ],
)  # fmt: skip
def test_pages_of_any_order_put_together_are_the_list(query: str, names: list[str]) -> None:
    async def test(rig: ImageRig) -> None:
        await many(rig)
        assert await rig.listed(query) == names
        seen: list[str] = []
        path = f"/v2/images{query}{'&' if query else '?'}limit=1"
        while path:
            body = (await rig.ask("GET", path)).body
            seen += [image["name"] for image in body["images"]]
            assert body["first"].startswith("/v2/images?")
            path = body.get("next", "")
        assert seen == names
        assert len(await rig.listed(f"{query}{'&' if query else '?'}limit=0")) == 0

    on_image_rig(test)


@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "sort_key=shoe", "sort=name:up", "sort=name&sort_key=id", "marker=0f0f0f0f-1111-4222-8333-444444444444", "size_min=a",
        "size_max=-1", "protected=perhaps", "created_at=gt:soon", "created_at=2026", "name=in:%22x", "member_status=odd", "changes-since=1",
        "min_disk=1.5", "sort_key=name&sort_key=id&sort_dir=asc&sort_dir=asc&sort_dir=asc", "name=%00",
    ],
)  # fmt: skip
def test_queries_that_mean_nothing_are_refused(query: str) -> None:
    async def test(rig: ImageRig) -> None:
        reply = await rig.ask("GET", f"/v2/images?{query}")
        assert reply.status == 400

    on_image_rig(test)


def test_hidden_images_are_listed_when_asked_for_and_sizes_compare() -> None:
    async def test(rig: ImageRig) -> None:
        await rig.made(name="hidden", os_hidden=True)
        await rig.active(bytes(100), name="small")
        await rig.active(bytes(200), name="large")
        assert await rig.listed() == ["large", "small"]
        assert await rig.listed("?os_hidden=True") == ["hidden"]
        assert await rig.listed("?size_min=100&size_max=150") == ["small"]
        assert await rig.listed("?sort=size:asc") == ["small", "large"]
        image = (await rig.ask("GET", "/v2/images?name=small")).body["images"][0]
        assert await rig.listed(f"?created_at=eq:{image['created_at']}&name=small") == ["small"]
        assert await rig.listed(f"?checksum={image['checksum']}") == ["small"]

    on_image_rig(test)


def test_a_page_ends_where_its_properties_are_too_many() -> None:
    async def test(rig: ImageRig) -> None:
        for name in ("a", "b", "c"):
            await rig.made(name=name, **{f"p{number}": "x" * 60_000 for number in range(4)})
        saved, listing.MAX_PAGE_CHARS = listing.MAX_PAGE_CHARS, 500_000
        try:
            names, path = [], "/v2/images?limit=10&sort=name:asc"
            while path:
                page = (await rig.ask("GET", path)).body
                names.append([image["name"] for image in page["images"]])
                path = page.get("next", "")
        finally:
            listing.MAX_PAGE_CHARS = saved
        assert names == [["a", "b"], ["c"]]

    on_image_rig(test)
