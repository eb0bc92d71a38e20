"""Versions, import methods, usage."""

from tests.support.image_rig import ImageRig, on_image_rig


def test_versions_are_told_without_a_token() -> None:
    async def test(rig: ImageRig) -> None:
        for path, status in (("/", 300), ("/versions", 200), ("/v2/", 300)):
            reply = await rig.ask("GET", path, token="")
            assert reply.status == status
            current, *others = reply.body["versions"]
            assert (current["id"], current["status"]) == ("v2.16", "CURRENT")
            assert current["links"] == [{"rel": "self", "href": "http://image.test/image/v2/"}]
            assert {version["status"] for version in others} == {"SUPPORTED"}

    on_image_rig(test)


def test_there_is_no_choice_of_stores() -> None:
    async def test(rig: ImageRig) -> None:
        assert (await rig.ask("GET", "/v2/info/stores")).status == 404
        assert (await rig.ask("GET", "/v2/info/import")).body["import-methods"]["value"] == ["glance-direct", "glance-download"]

    on_image_rig(test)


def test_usage_tells_limits_and_what_there_is() -> None:
    async def test(rig: ImageRig) -> None:
        await rig.active(bytes(2 * 1024 * 1024))
        usage = (await rig.ask("GET", "/v2/info/usage")).body["usage"]
        assert usage["image_size_total"] == {"limit": 5, "usage": 2}
        assert usage["image_count_total"] == {"limit": -1, "usage": 1}
        assert usage["image_stage_total"]["usage"] == usage["image_count_uploading"]["usage"] == 0

    on_image_rig(test, quota_bytes=5 * 1024 * 1024, quota_images=0)
