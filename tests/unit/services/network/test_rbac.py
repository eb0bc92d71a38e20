"""RBAC policies."""

from typing import Any

from tests.support.network_rig import ALICE, BOB, NetworkApi, on_network_api


async def opened(api: NetworkApi, who: str = "alice", **fields: Any) -> Any:
    return await api.made("rbac-policies", "rbac_policy", who, **{"action": "access_as_shared", "target_tenant": BOB, **fields})


def test_a_network_is_shared_with_one_project() -> None:
    async def test(api: NetworkApi) -> None:
        network, _ = await api.plain()
        policy = await opened(api, object_type="network", object_id=network["id"])
        assert (await api.ask("GET", f"/networks/{network['id']}", who="bob")).body["network"]["shared"] is True
        assert (await api.ask("GET", f"/networks/{network['id']}")).body["network"]["shared"] is False
        port = await api.made("ports", "port", "bob", network_id=network["id"])
        one = f"/rbac-policies/{policy['id']}"
        assert await api.refused("DELETE", one) == (409, "InvalidSharedSetting")
        assert await api.refused("PUT", one, {"rbac_policy": {"target_tenant": "c"}}) == (409, "InvalidSharedSetting")
        assert (await api.ask("DELETE", f"/ports/{port['id']}")).status == 204  # the network's owner may
        assert (await api.ask("DELETE", one)).status == 204
        assert (await api.ask("GET", f"/networks/{network['id']}", who="bob")).status == 404

    on_network_api(test)


def test_groups_pools_and_outside_networks_are_opened_too() -> None:
    async def test(api: NetworkApi) -> None:
        network, _ = await api.plain("bob")
        group = await api.made("security-groups", "security_group", name="web")
        policy = await opened(api, object_type="security_group", object_id=group["id"])
        port = await api.made("ports", "port", "bob", network_id=network["id"], security_groups=[group["id"]])
        assert port["security_groups"] == [group["id"]]
        assert await api.refused("DELETE", f"/rbac-policies/{policy['id']}") == (409, "RbacPolicyInUse")
        pool = await api.made("subnetpools", "subnetpool", name="p", prefixes=["10.8.0.0/16"], default_prefixlen=24)
        policy = await opened(api, object_type="subnetpool", object_id=pool["id"])
        await api.made("subnets", "subnet", "bob", network_id=network["id"], subnetpool_id=pool["id"])
        assert await api.refused("DELETE", f"/rbac-policies/{policy['id']}") == (409, "RbacPolicyInUse")
        body = {"object_type": "network", "object_id": network["id"], "action": "access_as_external", "target_tenant": ALICE}
        assert (await api.refused("POST", "/rbac-policies", {"rbac_policy": body}, who="bob"))[0] == 403
        outside, _ = await api.plain("admin", "203.0.113.0/24")
        policy = await opened(api, "admin", object_type="network", object_id=outside["id"], action="access_as_external")
        assert (await api.ask("GET", f"/networks/{outside['id']}", who="bob")).body["network"]["router:external"] is True
        assert (await api.ask("GET", f"/networks/{outside['id']}")).status == 404
        router = await api.made("routers", "router", "bob", external_gateway_info={"network_id": outside["id"]})
        assert await api.refused("DELETE", f"/rbac-policies/{policy['id']}", who="admin") == (409, "RbacPolicyInUse")
        await api.ask("DELETE", f"/routers/{router['id']}", who="bob")
        assert (await api.ask("DELETE", f"/rbac-policies/{policy['id']}", who="admin")).status == 204

    on_network_api(test)


def test_nobody_opens_what_is_not_his_or_to_everybody() -> None:
    async def test(api: NetworkApi) -> None:
        network, _ = await api.plain("bob")
        group = await api.made("security-groups", "security_group", name="web")
        refused = (
            ({"object_type": "network", "object_id": network["id"], "target_tenant": "x"}, 404),
            ({"object_type": "security_group", "object_id": group["id"], "target_tenant": "*"}, 403),
            ({"object_type": "security_group", "object_id": group["id"], "target_tenant": ""}, 400),
            ({"object_type": "qos_policy", "object_id": group["id"], "target_tenant": "x"}, 400),
            ({"object_type": "security_group", "object_id": group["id"], "target_tenant": "x", "action": "access_as_external"}, 400),
        )
        for fields, status in refused:
            body = {"rbac_policy": {"action": "access_as_shared", **fields}}
            assert (await api.refused("POST", "/rbac-policies", body))[0] == status
        await opened(api, object_type="security_group", object_id=group["id"], target_tenant=ALICE)
        again = {
            "rbac_policy": {"action": "access_as_shared", "object_type": "security_group", "object_id": group["id"], "target_tenant": ALICE}
        }
        assert await api.refused("POST", "/rbac-policies", again) == (409, "DuplicateRbacPolicy")

    on_network_api(test)


def test_a_policy_is_never_changed_to_be_for_nobody() -> None:
    async def test(api: NetworkApi) -> None:
        network = await api.made("networks", "network", name="n")
        fields = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared"}
        made = await api.made("rbac-policies", "rbac_policy", **fields, target_tenant="b" * 32)
        assert (await api.refused("POST", "/rbac-policies", {"rbac_policy": {**fields, "target_tenant": ""}}))[0] == 400
        assert (await api.refused("PUT", f"/rbac-policies/{made['id']}", {"rbac_policy": {"target_tenant": ""}}))[0] == 400

    on_network_api(test)
