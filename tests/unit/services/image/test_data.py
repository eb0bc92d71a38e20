"""Images' bytes: up and down."""

import hashlib
import os

import pytest

from tests.support.image_rig import BOB, OCTETS, READER, ImageRig, on_image_rig


@pytest.mark.parametrize("chunked", [False, True])
def test_what_goes_up_comes_down_with_its_digests(chunked: bool) -> None:
    async def test(rig: ImageRig) -> None:
        data = os.urandom(300_000)
        id_ = await rig.made()
        pieces = [data[at : at + 50_001] for at in range(0, len(data), 50_001)]
        reply = await rig.ask("PUT", f"/v2/images/{id_}/file", data, headers=OCTETS, pieces=pieces if chunked else None)
        assert reply.status == 204
        image = await rig.show(id_)
        assert (image["status"], image["size"], image["virtual_size"]) == ("active", len(data), len(data))
        assert image["checksum"] == hashlib.md5(data).hexdigest()
        assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
        down = await rig.ask("GET", f"/v2/images/{id_}/file", who=READER)
        assert (down.status, down.raw == data) == (200, True)
        assert (down.headers["content-md5"], down.headers["content-length"]) == (image["checksum"], str(len(data)))
        assert down.headers["content-type"] == "application/octet-stream"
        assert (await rig.upload(id_, b"again")).status == 409

    on_image_rig(test)


@pytest.mark.parametrize(
    ("range_", "first", "last"), [("bytes=0-4", 0, 4), ("bytes=-3", 14, 16), ("bytes=10-", 10, 16), ("bytes=5-999", 5, 16)]
)
def test_a_range_is_answered_with_these_bytes(range_: str, first: int, last: int) -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.active()
        reply = await rig.ask("GET", f"/v2/images/{id_}/file", headers={"range": range_})
        assert (reply.status, reply.raw) == (206, b"bytes of an image"[first : last + 1])
        assert reply.headers["content-range"] == f"bytes {first}-{last}/17"
        assert "content-md5" not in reply.headers

    on_image_rig(test)


def test_ranges_that_are_none_of_the_images_are_416() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.active()
        for range_ in ("bytes=17-", "bytes=0-1,3-4", "chars=1-2", "bytes=5-2", "bytes=-0"):
            assert (await rig.ask("GET", f"/v2/images/{id_}/file", headers={"range": range_})).status == 416, range_

    on_image_rig(test)


def test_an_image_without_bytes_has_nothing_to_download() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).status == 204
        assert (await rig.ask("GET", f"/v2/images/{id_}/file", who=BOB)).status == 404
        assert (await rig.upload(id_, b"")).status == 204
        empty = await rig.show(id_)
        assert (empty["status"], empty["size"]) == ("active", 0)
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).raw == b""

    on_image_rig(test)


def test_an_upload_needs_formats_a_content_type_and_the_right_to_it() -> None:
    async def test(rig: ImageRig) -> None:
        bare = await rig.made(disk_format=None)
        assert (await rig.upload(bare, b"x")).status == 400
        id_ = await rig.made(visibility="community")
        assert (await rig.ask("PUT", f"/v2/images/{id_}/file", b"x", headers={"content-type": "text/plain"})).status == 415
        assert (await rig.upload(id_, b"x", READER)).status == 403
        assert (await rig.upload(id_, b"x", BOB)).status == 403
        assert (await rig.show(id_))["status"] == "queued"

    on_image_rig(test)


def test_a_client_that_goes_away_leaves_the_image_as_it_was() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        reply = await rig.ask("PUT", f"/v2/images/{id_}/file", headers=OCTETS, pieces=[b"half"], breaks=True)
        assert reply.status == 400
        assert (await rig.show(id_))["status"] == "queued"
        assert await rig.settled() == []
        assert (await rig.upload(id_, b"whole")).status == 204

    on_image_rig(test)


def test_bytes_that_are_not_what_the_image_says_never_become_an_object() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(disk_format="qcow2")
        reply = await rig.upload(id_, os.urandom(100_000))
        assert (reply.status, "content is raw" in reply.message) == (400, True)
        assert (await rig.show(id_))["status"] == "queued"
        assert await rig.settled() == []

    on_image_rig(test)


def test_formats_are_not_compared_where_that_is_switched_off() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(disk_format="qcow2")
        assert (await rig.upload(id_, os.urandom(1000))).status == 204

    on_image_rig(test, enforce_format=False)


@pytest.mark.parametrize("chunked", [False, True])
def test_no_image_is_larger_than_the_limit_or_the_projects_room(chunked: bool) -> None:
    async def test(rig: ImageRig) -> None:
        def pieces(size: int) -> list[bytes] | None:
            return [bytes(500)] * (size // 500) if chunked else None

        for size, status in ((2000, 413), (1000, 204), (1000, 413), (500, 204)):
            id_ = await rig.made()
            reply = await rig.ask("PUT", f"/v2/images/{id_}/file", bytes(size), headers=OCTETS, pieces=pieces(size))
            assert reply.status == status
        assert len(await rig.settled()) == 2

    on_image_rig(test, max_bytes=1500, quota_bytes=1600)
