"""What was done to servers."""

from tests.support.compute_rig import ADMIN, BOB, ComputeRig, on_compute_rig


def test_actions_are_told_with_their_steps_even_of_deleted_servers() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        path = f"/servers/{id_}/os-instance-actions"
        actions = (await rig.ask("GET", path)).body["instanceActions"]
        assert [action["action"] for action in actions] == ["stop", "create"]
        one = (await rig.ask("GET", f"{path}/{actions[0]['request_id']}", who=ADMIN)).body["instanceAction"]
        (event,) = one["events"]
        assert (event["event"], event["result"], event["traceback"]) == ("compute_stop_instance", "Success", None)
        assert "events" not in (await rig.ask("GET", f"{path}/{actions[0]['request_id']}")).body["instanceAction"]
        seen = (await rig.ask("GET", f"{path}/{actions[0]['request_id']}", version="2.84")).body["instanceAction"]
        assert set(seen["events"][0]) == {"event", "start_time", "finish_time", "result", "hostId", "details"}
        assert "updated_at" in seen
        page = (await rig.ask("GET", f"{path}?limit=1", version="2.58")).body
        assert ([action["action"] for action in page["instanceActions"]], page["links"][0]["rel"]) == (["stop"], "next")
        rest = (await rig.ask("GET", f"{path}?limit=1&marker={page['instanceActions'][0]['request_id']}", version="2.58")).body
        assert [action["action"] for action in rest["instanceActions"]] == ["create"]
        assert (await rig.ask("GET", f"{path}?marker=none", version="2.58")).status == 400
        assert (await rig.ask("GET", f"{path}?changes-since=soon", version="2.58")).status == 400
        assert (await rig.ask("GET", f"{path}?changes-before=2000-01-01T00:00:00Z", version="2.66")).body == {"instanceActions": []}
        assert (await rig.ask("GET", f"{path}/req-none")).status == 404
        assert (await rig.ask("GET", path, who=BOB)).status == 404
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        assert (await rig.ask("GET", path)).status == 404
        gone = (await rig.ask("GET", path, version="2.21")).body["instanceActions"]
        assert [action["action"] for action in gone] == ["delete", "stop", "create"]

    on_compute_rig(test)


def test_live_migrations_that_go_on_are_for_administrators() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        path = f"/servers/{id_}/migrations"
        assert (await rig.ask("GET", path, who=ADMIN, version="2.22")).status == 404
        assert (await rig.ask("GET", path, version="2.23")).status == 403
        for host in rig.hosts.values():
            host.down = True
        wanted = {"host": None, "block_migration": "auto"}
        assert (await rig.act(id_, "os-migrateLive", wanted, who=ADMIN, version="2.25")).status == 202
        await rig.clock.sleep(0.5)
        (move,) = (await rig.ask("GET", path, who=ADMIN, version="2.80")).body["migrations"]
        assert (move["status"], move["server_uuid"]) == ("running", id_)
        one = (await rig.ask("GET", f"{path}/{move['id']}", who=ADMIN, version="2.80")).body["migration"]
        assert one == move
        assert (await rig.ask("DELETE", f"{path}/{move['id']}", who=ADMIN, version="2.24")).status == 501
        assert (await rig.ask("POST", f"{path}/{move['id']}/action", {"force_complete": None}, who=ADMIN, version="2.22")).status == 501
        assert (await rig.ask("GET", f"{path}/77", who=ADMIN, version="2.23")).status == 404

    on_compute_rig(test)
