"""What other services tell of servers."""

from typing import Any

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN

A, B, C = (digit * 8 + "-0000-4000-8000-000000000000" for digit in "abc")


def events(*servers: str, name: str = "network-changed") -> Any:
    return {"events": [{"name": name, "server_uuid": server} for server in servers]}


def test_each_event_is_answered_by_whether_there_is_such_a_server() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server(A, host="h1")
        await rig.add_server(B)
        path = "/os-server-external-events"
        assert (await rig.ask("POST", path, events(A))).status == 403
        told = await rig.ask("POST", path, events(A), who=ADMIN)
        assert told.body == {"events": [{"name": "network-changed", "server_uuid": A, "status": "completed", "code": 200}]}
        reply = await rig.ask("POST", path, events(A, B, C), who=ADMIN)
        assert reply.status == 207
        assert [event["code"] for event in reply.body["events"]] == [200, 422, 404]
        assert (await rig.ask("POST", path, events(C), who=ADMIN)).status == 404
        for bad in (events(), events("x"), events(A, name="x"), events(A, name="power-update"), {"events": {}}, {}):
            assert (await rig.ask("POST", path, bad, who=ADMIN)).status == 400, bad
        assert (await rig.ask("POST", path, events(A, name="power-update"), who=ADMIN, version="2.76")).status == 200

    on_cloud_rig(test)
