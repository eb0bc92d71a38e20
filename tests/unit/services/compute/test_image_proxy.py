"""Images as old clients of the compute API see them."""

from typing import Any

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import BOB

SERVER = "11111111-2222-4333-8444-555555555555"


async def names(rig: CloudRig, query: str = "", path: str = "/images") -> list[str]:
    reply = await rig.ask("GET", path + query)
    assert reply.status == 200, reply.raw
    return sorted(image["name"] for image in reply.body["images"])


def test_an_image_is_shown_in_the_old_words_and_removed() -> None:
    async def test(rig: CloudRig) -> None:
        id_ = await rig.image("i", min_ram=64, os_distro="x", instance_uuid=SERVER)
        image = (await rig.ask("GET", f"/images/{id_}")).body["image"]
        assert (image["status"], image["progress"], image["minRam"], image["OS-EXT-IMG-SIZE:size"]) == ("ACTIVE", 100, 64, 1)
        assert image["metadata"] == {"os_distro": "x", "instance_uuid": SERVER}
        assert image["server"]["id"] == SERVER
        assert image["links"][2]["href"] == f"http://compute.test/image/images/{id_}"
        assert (await rig.ask("GET", f"/images/{id_}", who=BOB)).status == 404
        assert (await rig.ask("DELETE", f"/images/{id_}", who=BOB)).status == 404
        assert (await rig.ask("DELETE", f"/images/{id_}")).status == 204
        gone = await rig.ask("GET", f"/images/{id_}")
        assert gone.status == 404
        assert gone.body["itemNotFound"]["message"] == "Image not found."

    on_cloud_rig(test)


def test_later_versions_know_no_images() -> None:
    async def test(rig: CloudRig) -> None:
        id_ = await rig.image("i")
        for method, path in (("GET", "/images"), ("GET", "/images/detail"), ("GET", f"/images/{id_}"), ("DELETE", f"/images/{id_}")):
            assert (await rig.ask(method, path, version="2.36")).status == 404
        assert (await rig.ask("GET", f"/images/{id_}/metadata", version="2.38")).status == 200
        assert (await rig.ask("GET", f"/images/{id_}/metadata", version="2.39")).status == 404

    on_cloud_rig(test)


def test_lists_are_filtered() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.image("plain")
        await rig.image("snap", image_type="snapshot", instance_uuid=SERVER)
        await rig.image("empty", data=b"")
        assert await names(rig) == await names(rig, path="/images/detail") == ["empty", "plain", "snap"]
        assert await names(rig, "?status=ACTIVE") == ["plain", "snap"]
        assert await names(rig, "?status=saving") == ["empty"]
        assert await names(rig, "?name=plain") == ["plain"]
        assert await names(rig, "?type=snapshot") == ["snap"]
        assert await names(rig, f"?server={SERVER}") == await names(rig, f"?server=http://c/v2.1/servers/{SERVER}") == ["snap"]
        assert await names(rig, "?changes-since=2000-01-01T00:00:00Z") == ["empty", "plain", "snap"]
        assert await names(rig, "?property-image_type=snapshot") == ["snap"]
        page = (await rig.ask("GET", "/images/detail?limit=1")).body
        assert len(page["images"]) == 1
        assert page["images_links"][0]["href"].startswith("http://compute.test/compute/v2.1/images/detail?limit=1&marker=")
        for query in ("?limit=x", "?limit=-1", "?changes-since=x", "?marker=x"):
            assert (await rig.ask("GET", "/images" + query)).status in (400, 404), query

    on_cloud_rig(test)


def test_metadata_is_properties() -> None:
    async def test(rig: CloudRig) -> None:
        path = f"/images/{await rig.image('i', a='1', b='2')}/metadata"

        async def put(method: str, where: str, body: Any) -> int:
            return (await rig.ask(method, where, body)).status

        assert (await rig.ask("POST", path, {"metadata": {"b": "3", "c": "4"}})).body == {"metadata": {"a": "1", "b": "3", "c": "4"}}
        assert (await rig.ask("PUT", path, {"metadata": {"c": "5"}})).body == {"metadata": {"c": "5"}}
        assert (await rig.ask("PUT", path + "/d", {"meta": {"d": "6"}})).body == {"meta": {"d": "6"}}
        assert (await rig.ask("GET", path + "/d")).body == {"meta": {"d": "6"}}
        assert await put("PUT", path + "/d", {"meta": {"e": "6"}}) == 400
        assert await put("PUT", path, {"metadata": {"e": 5}}) == 400
        assert (await rig.ask("DELETE", path + "/d")).status == 204
        assert (await rig.ask("DELETE", path + "/d")).status == 404
        assert (await rig.ask("GET", path + "/d")).status == 404
        for method in ("GET", "PUT", "POST"):
            assert await put(method, f"/images/{SERVER}/metadata", {"metadata": {}}) == 404
        assert (await rig.ask("GET", path, who=BOB)).status == 404

    on_cloud_rig(test)
