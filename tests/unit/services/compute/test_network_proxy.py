"""Networks, security groups and floating addresses as old clients of the compute API see them."""

from typing import Any

import pytest

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, BOB

S = "5" * 32


async def group(rig: CloudRig, name: str = "g") -> str:
    made = await rig.ask("POST", "/os-security-groups", {"security_group": {"name": name, "description": "d"}})
    assert made.status == 200, made.raw
    return str(made.body["security_group"]["id"])


def rule(parent: str, **fields: Any) -> Any:
    return {"security_group_rule": {"parent_group_id": parent, "ip_protocol": "tcp", "from_port": 22, "to_port": 23, **fields}}


def test_groups_are_made_listed_changed_and_removed() -> None:
    async def test(rig: CloudRig) -> None:
        id_ = await group(rig)
        listed = (await rig.ask("GET", "/os-security-groups")).body["security_groups"]
        assert sorted(one["name"] for one in listed) == ["default", "g"]
        shown = (await rig.ask("GET", f"/os-security-groups/{id_}")).body["security_group"]
        assert shown == {"id": id_, "name": "g", "description": "d", "tenant_id": "a" * 32, "rules": []}
        changed = await rig.ask("PUT", f"/os-security-groups/{id_}", {"security_group": {"name": "h", "description": ""}})
        assert changed.body["security_group"]["name"] == "h"
        assert (await rig.ask("GET", f"/os-security-groups/{id_}", who=BOB)).status == 404
        default = next(one["id"] for one in listed if one["name"] == "default")
        assert (await rig.ask("DELETE", f"/os-security-groups/{default}")).status == 400
        assert (await rig.ask("DELETE", f"/os-security-groups/{id_}")).status == 202
        assert (await rig.ask("DELETE", f"/os-security-groups/{id_}")).status == 404
        everyone = (await rig.ask("GET", "/os-security-groups?all_tenants=1", who=ADMIN)).body["security_groups"]
        assert {one["tenant_id"] for one in everyone} >= {"a" * 32}

    on_cloud_rig(test)


def test_rules_let_in_what_they_say() -> None:
    async def test(rig: CloudRig) -> None:
        id_, other = await group(rig), await group(rig, "other")
        made = await rig.ask("POST", "/os-security-group-rules", rule(id_, cidr="10.0.0.0/8"))
        first = made.body["security_group_rule"]
        assert first | {"id": ""} == {
            "id": "", "parent_group_id": id_, "from_port": 22, "to_port": 23, "ip_protocol": "tcp", "group": {}, "ip_range": {"cidr": "10.0.0.0/8"},
        }  # fmt: skip
        second = (await rig.ask("POST", "/os-security-group-rules", rule(id_, group_id=other))).body["security_group_rule"]
        assert second["group"] == {"name": "other", "tenant_id": "a" * 32}
        icmp = await rig.ask("POST", "/os-security-group-rules", rule(id_, ip_protocol="icmp", from_port=-1, to_port=-1))
        assert icmp.body["security_group_rule"]["from_port"] == -1
        rules = (await rig.ask("GET", f"/os-security-groups/{id_}")).body["security_group"]["rules"]
        assert len(rules) == 3
        assert {"name": "other", "tenant_id": "a" * 32} in [one["group"] for one in rules]
        assert (await rig.ask("DELETE", f"/os-security-group-rules/{first['id']}")).status == 202
        assert (await rig.ask("DELETE", f"/os-security-group-rules/{first['id']}")).status == 404

    on_cloud_rig(test)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"parent_group_id": "0" * 32}, 404), ({"parent_group_id": 7}, 400), ({"ip_protocol": "x"}, 400), ({"from_port": 65_536}, 400),
        ({"to_port": 65_536}, 400), ({"to_port": 21}, 400), ({"from_port": None}, 400), ({"strange": 1}, 400), ({"cidr": "x"}, 400),
        ({"group_id": "x"}, 400), ({"from_port": -1, "to_port": -1}, 400),
    ],
)  # fmt: skip
def test_what_no_rule_can_be_is_refused(fields: dict[str, Any], status: int) -> None:
    async def test(rig: CloudRig) -> None:
        body = rule(await group(rig), **fields)
        assert (await rig.ask("POST", "/os-security-group-rules", body)).status == status

    on_cloud_rig(test)


def test_the_same_rule_twice_is_refused() -> None:
    async def test(rig: CloudRig) -> None:
        body = rule(await group(rig))
        assert (await rig.ask("POST", "/os-security-group-rules", body)).status == 200
        assert (await rig.ask("POST", "/os-security-group-rules", body)).status == 400

    on_cloud_rig(test)


async def outside(rig: CloudRig) -> str:
    body = {"network": {"name": "public", "router:external": True}}
    id_ = str((await rig.network("POST", "networks", body=body, who=ADMIN))["network"]["id"])
    subnet = {"network_id": id_, "cidr": "192.0.2.0/24", "ip_version": 4, "enable_dhcp": False}
    await rig.network("POST", "subnets", body={"subnet": subnet}, who=ADMIN)
    return id_


async def inside(rig: CloudRig, public: str) -> str:
    """A server's port on a network that a router connects; its address."""
    network = (await rig.network("POST", "networks", body={"network": {"name": "mine"}}))["network"]["id"]
    subnet = {"network_id": network, "cidr": "10.9.0.0/24", "ip_version": 4}
    subnet_id = (await rig.network("POST", "subnets", body={"subnet": subnet}))["subnet"]["id"]
    router = (await rig.network("POST", "routers", body={"router": {"external_gateway_info": {"network_id": public}}}))["router"]["id"]
    await rig.network("PUT", "routers", router, "add_router_interface", body={"subnet_id": subnet_id})
    port = {"network_id": network, "device_id": S, "device_owner": "compute:nova"}
    made = (await rig.network("POST", "ports", body={"port": port}))["port"]
    return str(made["fixed_ips"][0]["ip_address"])


def test_addresses_are_taken_from_pools_stand_for_servers_and_are_given_back() -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.ask("POST", "/os-floating-ips", {})).status == 404
        public = await outside(rig)
        assert (await rig.ask("GET", "/os-floating-ip-pools")).body == {"floating_ip_pools": [{"name": "public"}]}
        assert (await rig.ask("POST", "/os-floating-ips", {"pool": "x"})).status == 404
        made = (await rig.ask("POST", "/os-floating-ips", {"pool": "public"})).body["floating_ip"]
        assert (made["pool"], made["fixed_ip"], made["instance_id"]) == ("public", None, None)
        await rig.add_server(S)
        fixed = await inside(rig, public)
        path = f"/servers/{S}/action"
        for body, status in (
            ({"addFloatingIp": {"address": "192.0.2.254"}}, 404), ({"addFloatingIp": {}}, 400), ({"addFloatingIp": {"address": ""}}, 400),
            ({"addFloatingIp": {"address": made["ip"], "fixed_address": "10.9.0.99"}}, 400), ({"removeFloatingIp": {"address": made["ip"]}}, 409),
            ({"addFloatingIp": {"address": made["ip"]}}, 202),
        ):  # fmt: skip
            assert (await rig.ask("POST", path, body)).status == status, body
        second = (await rig.ask("POST", "/os-floating-ips", {"pool": public})).body["floating_ip"]
        assert (await rig.ask("POST", path, {"addFloatingIp": {"address": second["ip"]}})).status == 400
        assert (await rig.ask("DELETE", f"/os-floating-ips/{second['id']}")).status == 202
        shown = (await rig.ask("GET", f"/os-floating-ips/{made['id']}")).body["floating_ip"]
        assert (shown["fixed_ip"], shown["instance_id"]) == (fixed, S)
        assert (await rig.ask("GET", "/os-floating-ips")).body["floating_ips"] == [shown]
        assert (await rig.ask("POST", path, {"removeFloatingIp": {"address": made["ip"]}}, who=BOB)).status in (404, 409)
        assert (await rig.ask("POST", path, {"removeFloatingIp": {"address": made["ip"]}})).status == 202
        assert (await rig.ask("POST", path, {"addFloatingIp": {"address": made["ip"]}}, version="2.44")).status == 400
        assert (await rig.ask("DELETE", f"/os-floating-ips/{made['id']}")).status == 202
        assert (await rig.ask("GET", f"/os-floating-ips/{made['id']}")).status == 404

    on_cloud_rig(test)


def test_networks_are_listed_until_2_36() -> None:
    async def test(rig: CloudRig) -> None:
        public = await outside(rig)
        mine = (await rig.network("POST", "networks", body={"network": {"name": "mine"}}))["network"]["id"]
        labels = [network["label"] for network in (await rig.ask("GET", "/os-networks")).body["networks"]]
        assert sorted(labels) == ["mine", "public"]
        assert (await rig.ask("GET", f"/os-networks/{public}")).body == {"network": {"id": public, "label": "public"}}
        tenants = (await rig.ask("GET", "/os-tenant-networks")).body["networks"]
        assert tenants == [{"id": mine, "label": "mine", "cidr": None}]
        assert (await rig.ask("GET", f"/os-tenant-networks/{mine}")).status == 200
        assert (await rig.ask("GET", f"/os-networks/{mine}", who=BOB)).status == 404
        for path in ("/os-networks", "/os-tenant-networks", "/os-security-groups", "/os-floating-ips", "/os-floating-ip-pools"):
            assert (await rig.ask("GET", path, version="2.36")).status == 404

    on_cloud_rig(test)
