"""Actions: what works, and how the others answer."""

import pytest

from objstore.services.compute.actions import NOT_BUILT
from tests.support.compute_rig import ADMIN, ComputeRig, on_compute_rig


def test_power_is_switched_and_busy_servers_are_left_alone() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        (host,) = [host for host in rig.hosts.values() if id_ in host.guests]
        assert (await rig.act(id_, "os-start")).status == 409
        assert (await rig.act(id_, "os-stop")).status == 202
        assert (await rig.act(id_, "os-stop")).status == 409
        assert (await rig.until_server(id_, "SHUTOFF"))["OS-EXT-STS:power_state"] == 4
        assert host.guests[id_].state == "off"
        assert (await rig.act(id_, "pause")).status == 409
        assert (await rig.act(id_, "os-start")).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert host.guests[id_].state == "running"
        assert (await rig.act(id_, "pause")).status == 202
        await rig.until_server(id_, "PAUSED")
        assert (await rig.act(id_, "unpause")).status == 202
        await rig.until_server(id_, "ACTIVE")
        for kind in ("SOFT", "hard"):
            assert (await rig.act(id_, "reboot", {"type": kind})).status == 202
            await rig.until_server(id_, "ACTIVE")
        assert (await rig.act(id_, "reboot", {"type": "x"})).status == 400
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        assert (await rig.act(id_, "reboot", {"type": "SOFT"})).status == 409
        assert (await rig.act(id_, "reboot", {"type": "HARD"})).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert host.guests[id_].state == "running"
        actions = (await rig.ask("GET", f"/servers/{id_}/os-instance-actions")).body["instanceActions"]
        assert [action["action"] for action in actions][::-1][:3] == ["create", "stop", "start"]

    on_compute_rig(test)


def test_a_locked_server_is_its_lockers() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        assert (await rig.act(id_, "lock", {"locked_reason": "why"}, version="2.73")).status == 202
        view = await rig.shown(id_)
        assert (view["locked"], view["locked_reason"]) == (True, "why")
        assert (await rig.act(id_, "os-stop")).status == 409
        assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 409
        assert (await rig.act(id_, "unlock")).status == 202
        assert (await rig.act(id_, "lock", who=ADMIN)).status == 202
        assert (await rig.act(id_, "unlock")).status == 403
        assert (await rig.act(id_, "os-stop", who=ADMIN)).status == 202
        assert (await rig.act(id_, "unlock", who=ADMIN)).status == 202
        assert (await rig.act(id_, "lock", {"x": 1})).status == 400

    on_compute_rig(test)


@pytest.mark.parametrize("name", sorted(NOT_BUILT))
def test_what_is_not_built_says_so_in_words(name: str) -> None:
    assert NOT_BUILT[name].endswith(".")


def test_other_actions_answer_as_nova() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        for name in NOT_BUILT:
            assert (await rig.act(id_, name)).status == 501
        assert (await rig.ask("POST", f"/servers/{id_}/action", {})).status == 400
        assert (await rig.ask("POST", f"/servers/{id_}/action", {"os-stop": None, "os-start": None})).status == 400
        assert (await rig.act(id_, "dance")).status == 400
        assert (await rig.act(id_, "changePassword", {"adminPass": "x"})).status == 409
        assert (await rig.act(id_, "changePassword", {})).status == 400
        assert (await rig.act(id_, "os-getConsoleOutput", {})).body == {"output": "first\nsecond\nthird\n"}
        assert (await rig.act(id_, "os-getConsoleOutput", {"length": "2"})).body == {"output": "third\n"}  # by Nova's count
        assert (await rig.act(id_, "os-getConsoleOutput", {"length": "x"})).status == 400
        assert (await rig.act(id_, "restore")).status == 409
        assert (await rig.act(id_, "addFloatingIp", {"address": "1.2.3.4"})).status == 404
        assert (await rig.act(id_, "addFloatingIp", {"address": "1.2.3.4"}, version="2.44")).status == 400
        assert (await rig.act(id_, "addSecurityGroup", {"name": "none"})).status == 404
        assert (await rig.act(id_, "addSecurityGroup", {"name": ""})).status == 400
        assert (await rig.act(id_, "addSecurityGroup", {"name": "default"})).status == 202
        assert (await rig.shown(id_))["security_groups"] == [{"name": "default"}]
        assert (await rig.act(id_, "removeSecurityGroup", {"name": "default"})).status == 202
        assert "security_groups" not in await rig.shown(id_)
        assert (await rig.act(id_, "os-resetState", {"state": "error"}, who=ADMIN)).status == 202
        assert (await rig.shown(id_))["status"] == "ERROR"
        assert (await rig.act(id_, "os-resetState", {"state": "x"}, who=ADMIN)).status == 400
        assert (await rig.act(id_, "os-resetState", {"state": "active"}, who=ADMIN)).status == 202
        assert (await rig.act(id_, "forceDelete")).status == 202
        await rig.until_server(id_, "GONE")
        assert (await rig.act(id_, "os-stop")).status == 404

    on_compute_rig(test)
