"""Zones, services, pools, extensions, messages, and what is not built."""

import pytest

from objstore.services.volume.api.info import MISSING
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, BOB


def test_what_there_is_is_told() -> None:
    async def test(rig: BlockRig) -> None:
        (zone,) = (await rig.got("GET", "/os-availability-zone"))["availabilityZoneInfo"]
        assert zone == {"zoneName": "nova", "zoneState": {"available": True}}
        assert (await rig.api("GET", "/os-services")).status == 403
        services = (await rig.got("GET", "/os-services?binary=cinder-volume", who=ADMIN))["services"]
        assert [(one["binary"], one["state"]) for one in services] == [("cinder-volume", "up")]
        assert (await rig.got("GET", "/os-services?host=nowhere", who=ADMIN))["services"] == []
        (pool,) = (await rig.got("GET", "/scheduler-stats/get_pools?detail=true", who=ADMIN))["pools"]
        assert pool["capabilities"]["volume_backend_name"] == "objstore"
        assert (await rig.got("GET", "/extensions"))["extensions"]
        (one,) = (await rig.got("GET", "/resource_filters?resource=volume"))["resource_filters"]
        assert "name" in one["filters"]
        assert len((await rig.got("GET", "/os-hosts", who=ADMIN))["hosts"]) == 3
        await rig.volume(size_gb=3)
        host = (await rig.got("GET", "/os-hosts/objstore@objects", who=ADMIN))["host"]
        assert [(one["resource"]["project"], one["resource"]["total_volume_gb"]) for one in host] == [("(total)", "3"), ("a" * 32, "3")]
        assert (await rig.api("GET", "/os-hosts/nowhere", who=ADMIN)).status == 404
        found = await rig.got("GET", "/capabilities/objstore@objects%23objects", who=ADMIN)
        assert (found["storage_protocol"], found["vendor_name"]) == ("objstore", "objstore")
        assert (await rig.api("GET", "/capabilities/nowhere", who=ADMIN)).status == 404

    on_block_rig(test)


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("enable", {"host": "nowhere", "binary": "cinder-volume"}, 404), ("enable", {}, 400), ("odd", {}, 404), ("disable", {"host": "objstore"}, 501),
        ("disable-log-reason", {"host": "objstore"}, 400), ("freeze", {"host": "objstore@objects"}, 501), ("thaw", {"host": "x"}, 400),
    ],
)  # fmt: skip
def test_services_are_not_switched_off_through_the_api(action: str, body: object, status: int) -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("PUT", f"/os-services/{action}", body)).status == 403
        assert (await rig.api("PUT", f"/os-services/{action}", body, who=ADMIN)).status == status

    on_block_rig(test)


def test_what_is_not_built_says_so() -> None:
    async def test(rig: BlockRig) -> None:
        for where in MISSING:
            path = where.replace("{id}", "x").replace("{key}", "y")
            reply = await rig.api("GET", path)
            assert reply.status == 501, path
            assert "not built" in reply.body["notImplemented"]["message"]

    on_block_rig(test)


def test_messages_are_read_and_removed_by_their_project() -> None:
    async def test(rig: BlockRig) -> None:
        other = {"name": "other", "extra_specs": {"vendor_name": "another", "free": "text"}}
        await rig.got("POST", "/types", {"volume_type": other}, who=ADMIN)
        id_ = (await rig.got("POST", "/volumes", {"volume": {"size": 1, "volume_type": "other"}}, 202))["volume"]["id"]
        await rig.becomes(id_, "error")
        (message,) = (await rig.got("GET", f"/messages?resource_uuid={id_}"))["messages"]
        assert message["request_id"].startswith("req-")
        where = f"/messages/{message['id']}"
        assert (await rig.api("GET", where, who=BOB)).status == 404
        assert (await rig.got("GET", where))["message"]["user_message"] == message["user_message"]
        await rig.got("DELETE", where, None, 204)
        assert (await rig.api("GET", where)).status == 404

    on_block_rig(test)
