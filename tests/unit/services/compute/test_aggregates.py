"""Aggregates."""

from typing import Any

import pytest

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN


async def ask(rig: CloudRig, method: str, path: str = "", body: Any = None, version: str = "") -> Any:
    reply = await rig.ask(method, "/os-aggregates" + path, body, who=ADMIN, version=version)
    assert reply.status == 200, reply.raw
    return reply.body["aggregate"] if reply.raw else None


def test_an_aggregate_is_made_changed_and_removed() -> None:
    async def test(rig: CloudRig) -> None:
        made = await ask(rig, "POST", "", {"aggregate": {"name": "a", "availability_zone": "z"}})
        assert (made["id"], made["availability_zone"], made["updated_at"]) == (1, "z", None)
        assert not {"hosts", "metadata", "uuid"} & set(made)
        shown = await ask(rig, "GET", "/1", version="2.41")
        assert shown["metadata"] == {"availability_zone": "z"}
        assert len(shown["uuid"]) == 36
        changed = await ask(rig, "PUT", "/1", {"aggregate": {"name": "b", "availability_zone": "y"}})
        assert (changed["name"], changed["availability_zone"]) == ("b", "y")
        assert changed["updated_at"] is not None
        changed = await ask(rig, "POST", "/1/action", {"set_metadata": {"metadata": {"k": "v", "availability_zone": None}}})
        assert changed["metadata"] == {"k": "v"}
        assert (await rig.ask("POST", "/os-aggregates", {"aggregate": {"name": "b"}}, who=ADMIN)).status == 409
        assert await ask(rig, "DELETE", "/1") is None
        assert (await rig.ask("GET", "/os-aggregates/1", who=ADMIN)).status == 404
        assert (await rig.ask("GET", "/os-aggregates", who=ADMIN)).body == {"aggregates": []}

    on_cloud_rig(test)


def test_a_host_is_in_the_zone_of_its_aggregate_and_in_one_alone() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        for name, zone in (("a", "z"), ("b", "y"), ("c", None)):
            await ask(rig, "POST", "", {"aggregate": {"name": name, "availability_zone": zone}})
        added = await ask(rig, "POST", "/1/action", {"add_host": {"host": "h1"}})
        assert added["hosts"] == ["h1"]
        assert (await rig.service.hosts.all())[0].zone == "z"
        await ask(rig, "POST", "/3/action", {"add_host": {"host": "h1"}})
        refused = [
            (409, "/1/action", {"add_host": {"host": "h1"}}), (409, "/2/action", {"add_host": {"host": "h1"}}),
            (404, "/2/action", {"add_host": {"host": "x"}}), (404, "/2/action", {"remove_host": {"host": "h1"}}),
            (409, "/3/action", {"set_metadata": {"metadata": {"availability_zone": "y"}}}), (400, "/3/action", {"burn": {}}),
            (400, "/3/action", {"add_host": {}}), (400, "/3/action", {"set_metadata": {"metadata": {}}}),
        ]  # fmt: skip
        for status, path, body in refused:
            assert (await rig.ask("POST", "/os-aggregates" + path, body, who=ADMIN)).status == status, body
        assert (await rig.ask("DELETE", "/os-aggregates/1", who=ADMIN)).status == 400
        assert (await ask(rig, "POST", "/1/action", {"remove_host": {"host": "h1"}}))["hosts"] == []
        assert (await rig.service.hosts.all())[0].zone == "nova"

    on_cloud_rig(test)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"aggregate": {"name": ""}}, 400), ("POST", "", {"aggregate": {"name": "a" * 256}}, 400), ("POST", "", {"aggregate": {}}, 400),
        ("POST", "", {"aggregate": {"name": "a", "availability_zone": "a:b"}}, 400), ("PUT", "/1", {"aggregate": {}}, 400),
        ("GET", "/-1", None, 404), ("DELETE", "/-1", None, 404), ("GET", "/x", None, 400), ("GET", "/" + "9" * 30, None, 400),
    ],
)  # fmt: skip
def test_what_no_aggregate_can_be_is_refused(method: str, path: str, body: Any, status: int) -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.ask(method, "/os-aggregates" + path, body, who=ADMIN)).status == status
        assert (await rig.ask(method, "/os-aggregates" + path, body)).status == 403

    on_cloud_rig(test)


def test_images_need_not_be_brought_to_hosts() -> None:
    async def test(rig: CloudRig) -> None:
        await ask(rig, "POST", "", {"aggregate": {"name": "a"}})
        body = {"cache": [{"id": "0" * 32}]}
        assert (await rig.ask("POST", "/os-aggregates/1/images", body, who=ADMIN, version="2.80")).status == 404
        assert (await rig.ask("POST", "/os-aggregates/1/images", body, who=ADMIN, version="2.81")).status == 202
        assert (await rig.ask("POST", "/os-aggregates/1/images", {"cache": []}, who=ADMIN, version="2.81")).status == 400

    on_cloud_rig(test)
