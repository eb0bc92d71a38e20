"""Processes of the service, hosts as old clients know them."""

from collections.abc import Sequence
from typing import Any

from objstore.services.compute import records
from objstore.services.compute.agent_api import Report
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN


async def listed(rig: CloudRig, query: str = "", version: str = "") -> list[dict[str, Any]]:
    reply = await rig.ask("GET", "/os-services" + query, who=ADMIN, version=version)
    assert reply.status == 200, reply.raw
    found: list[dict[str, Any]] = reply.body["services"]
    return found


def test_there_is_one_of_each_host_and_those_of_this_process() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        assert (await rig.ask("GET", "/os-services")).status == 403
        assert [one["binary"] for one in await listed(rig)] == ["nova-conductor", "nova-scheduler", "nova-compute"]
        (host,) = await listed(rig, "?binary=nova-compute")
        assert (host["id"], host["host"], host["zone"], host["status"], host["state"]) == (1, "h1", "nova", "enabled", "up")
        assert "forced_down" not in host
        assert (await listed(rig, "?host=h1", "2.11"))[0]["forced_down"] is False
        assert len((await listed(rig, version="2.53"))[0]["id"]) == 36
        assert len(await listed(rig, "?xxx=1")) == 3
        assert (await rig.ask("GET", "/os-services?xxx=1", who=ADMIN, version="2.75")).status == 400

    on_cloud_rig(test)


def test_hosts_are_disabled_and_enabled_in_the_old_way() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        given = {"host": "h1", "binary": "nova-compute"}
        reply = await rig.ask("PUT", "/os-services/disable-log-reason", {**given, "disabled_reason": "mice"}, who=ADMIN)
        assert reply.body["service"] == {**given, "status": "disabled", "disabled_reason": "mice"}
        assert (await listed(rig, "?host=h1"))[0]["disabled_reason"] == "mice"
        assert (await rig.ask("PUT", "/os-services/enable", given, who=ADMIN)).body["service"] == {**given, "status": "enabled"}
        assert (await listed(rig, "?host=h1"))[0]["status"] == "enabled"
        assert (await rig.ask("PUT", "/os-services/disable", {**given, "host": "x"}, who=ADMIN)).status == 404
        assert (await rig.ask("PUT", "/os-services/disable", {**given, "binary": "x"}, who=ADMIN)).status == 404
        assert (await rig.ask("PUT", "/os-services/burn", given, who=ADMIN)).status == 404
        assert (await rig.ask("PUT", "/os-services/force-down", {**given, "forced_down": True}, who=ADMIN)).status == 404
        assert (await rig.ask("PUT", "/os-services/force-down", {**given, "forced_down": True}, who=ADMIN, version="2.11")).status == 200

    on_cloud_rig(test)


class Conductor:
    def __init__(self) -> None:
        self.dead: list[str] = []

    async def reported(self, report: Report, *, rebooted: bool) -> Sequence[str]:
        return ()

    async def died(self, host: str) -> None:
        self.dead.append(host)


def test_hosts_are_changed_by_id_and_who_is_said_to_be_dead_is_acted_upon_at_once() -> None:
    async def test(rig: CloudRig) -> None:
        conductor = Conductor()
        rig.service.hosts.watch(conductor)
        await rig.report()
        path = "/os-services/" + (await listed(rig, "?host=h1", "2.53"))[0]["id"]
        ask: Any = {"who": ADMIN, "version": "2.53"}
        changed = (await rig.ask("PUT", path, {"status": "disabled", "disabled_reason": "mice"}, **ask)).body["service"]
        assert (changed["status"], changed["disabled_reason"]) == ("disabled", "mice")
        changed = (await rig.ask("PUT", path, {"forced_down": True, "status": "enabled"}, **ask)).body["service"]
        assert (changed["status"], changed["state"], changed["forced_down"]) == ("enabled", "down", True)
        assert conductor.dead == ["h1"]
        for bad in ({}, {"status": "x"}, {"disabled_reason": "mice"}, {"strange": 1}):
            assert (await rig.ask("PUT", path, bad, **ask)).status == 400
        assert (await rig.ask("PUT", "/os-services/" + "0" * 32, {"status": "enabled"}, **ask)).status == 404
        assert (await rig.ask("PUT", "/os-services/1", {"status": "enabled"}, **ask)).status == 400
        ours = (await listed(rig, version="2.53"))[0]["id"]
        assert (await rig.ask("PUT", f"/os-services/{ours}", {"status": "enabled"}, **ask)).status == 400

    on_cloud_rig(test)


def test_a_host_is_forgotten_where_it_runs_nothing() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        await rig.add_server("s1", host="h1")
        assert (await rig.ask("DELETE", "/os-services/1", who=ADMIN)).status == 409
        await rig.report("h2")
        await rig.add_server("s2", host="h1", other_host="h2")
        assert (await rig.ask("DELETE", "/os-services/2", who=ADMIN)).status == 409  # it may come back, or is on its way there
        await rig.sql.write(lambda connection: records.change(connection, "s2", other_host=""))
        assert (await rig.ask("DELETE", "/os-services/2", who=ADMIN)).status == 204
        assert (await rig.ask("DELETE", "/os-services/2", who=ADMIN)).status == 404
        assert [host.name for host in await rig.service.hosts.all()] == ["h1"]

    on_cloud_rig(test)


def test_old_clients_see_hosts_with_what_they_have() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        await rig.add_server("s1", host="h1")
        hosts = (await rig.ask("GET", "/os-hosts?zone=nova", who=ADMIN)).body["hosts"]
        assert hosts == [{"host_name": "h1", "service": "compute", "zone": "nova"}]
        rows = [part["resource"] for part in (await rig.ask("GET", "/os-hosts/h1", who=ADMIN)).body["host"]]
        assert [row["project"] for row in rows] == ["(total)", "(used_now)", "(used_max)", "a" * 32]
        assert (rows[0]["cpu"], rows[1]["cpu"]) == (4, 1)
        assert (await rig.ask("PUT", "/os-hosts/h1", {"status": "disable"}, who=ADMIN)).body == {"host": "h1", "status": "disabled"}
        assert (await rig.ask("PUT", "/os-hosts/h1", {"maintenance_mode": "enable"}, who=ADMIN)).status == 501
        assert (await rig.ask("GET", "/os-hosts/h1/reboot", who=ADMIN)).status == 501
        assert (await rig.ask("GET", "/os-hosts/x", who=ADMIN)).status == 404
        assert (await rig.ask("GET", "/os-hosts", who=ADMIN, version="2.43")).status == 404
        assert (await rig.ask("GET", "/os-hosts")).status == 403

    on_cloud_rig(test)
