"""Rules of security groups."""

from typing import Any

import pytest

from objstore.services.network.rules import number_of
from tests.support.network_rig import NetworkApi, on_network_api

WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"protocol": "nope"}, 400, "SecurityGroupRuleInvalidProtocol"), ({"protocol": 256}, 400, "SecurityGroupRuleInvalidProtocol"),
    ({"ethertype": "IPv5"}, 400, "SecurityGroupRuleInvalidEtherType"), ({"direction": "in"}, 400, "HTTPBadRequest"),
    ({"port_range_min": 1, "port_range_max": 2}, 400, "SecurityGroupProtocolRequiredWithPorts"),
    ({"protocol": "tcp", "port_range_min": 2, "port_range_max": 1}, 400, "SecurityGroupInvalidPortRange"),
    ({"protocol": "tcp", "port_range_min": 1}, 400, "SecurityGroupInvalidPortRange"),
    ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65_536}, 400, "SecurityGroupInvalidPortValue"),
    ({"protocol": "tcp", "port_range_min": -16_384, "port_range_max": 5}, 400, "SecurityGroupInvalidPortValue"),
    ({"protocol": "icmp", "port_range_min": 256}, 400, "SecurityGroupInvalidIcmpValue"),
    ({"protocol": "icmp", "port_range_max": 5}, 400, "SecurityGroupMissingIcmpType"),
    ({"protocol": "esp", "port_range_min": 1, "port_range_max": 2}, 400, "SecurityGroupInvalidProtocolForPort"),
    ({"protocol": "ipv6-icmp"}, 400, "SecurityGroupEthertypeConflictWithProtocol"),
    ({"remote_ip_prefix": "2001:db8::/32"}, 400, "SecurityGroupRuleParameterConflict"), ({"remote_ip_prefix": "x/8"}, 400, "HTTPBadRequest"),
    ({"remote_group_id": "11111111-1111-4111-8111-111111111111"}, 404, "SecurityGroupNotFound"),
    ({"protocol": "udp", "port_range_min": 0, "port_range_max": 5}, 400, "SecurityGroupInvalidPortValue"),
    ({"remote_group_id": "none"}, 404, "SecurityGroupNotFound"),
]  # fmt: skip


def test_what_cannot_be_a_rule_is_refused_with_its_name() -> None:
    async def test(api: NetworkApi) -> None:
        group = await api.made("security-groups", "security_group", name="web")
        plain = {"security_group_id": group["id"], "direction": "ingress"}
        for fields, status, kind in WRONG:
            body = {"security_group_rule": {**plain, **fields}}
            assert (fields, *await api.refused("POST", "/security-group-rules", body)) == (fields, status, kind)
        both = {**plain, "remote_group_id": group["id"], "remote_ip_prefix": "10.0.0.0/8"}
        assert (await api.refused("POST", "/security-group-rules", {"security_group_rule": both}))[0] == 400
        assert await api.refused("POST", "/security-group-rules", {"security_group_rule": plain}, who="bob") == (
            404,
            "SecurityGroupNotFound",
        )

    on_network_api(test)


def test_the_same_rule_is_there_once() -> None:
    async def test(api: NetworkApi) -> None:
        group = await api.made("security-groups", "security_group", name="web")
        plain: dict[str, Any] = {
            "security_group_id": group["id"],
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": 80,
            "port_range_max": 80,
        }
        rule = await api.made("security-group-rules", "security_group_rule", **plain, remote_ip_prefix="10.0.0.5")
        assert (rule["remote_ip_prefix"], rule["normalized_cidr"], rule["ethertype"]) == ("10.0.0.5/32", "10.0.0.5/32", "IPv4")
        await api.made("security-group-rules", "security_group_rule", **plain)
        for same in ({**plain, "remote_ip_prefix": "0.0.0.0/0"}, {**plain, "protocol": "6"}):
            assert await api.refused("POST", "/security-group-rules", {"security_group_rule": same}) == (409, "SecurityGroupRuleExists")
        one = await api.made(
            "security-group-rules",
            "security_group_rule",
            security_group_id=group["id"],
            direction="ingress",
            ethertype="IPv6",
            protocol="icmp",
        )
        assert one["protocol"] == "ipv6-icmp"
        shown = (await api.ask("GET", f"/security-groups/{group['id']}")).body["security_group"]["security_group_rules"]
        assert len(shown) == 5
        many = {"security_group_rules": [{**plain, "port_range_max": high} for high in (90, 91)]}
        assert len((await api.ask("POST", "/security-group-rules", many)).body["security_group_rules"]) == 2
        assert (await api.ask("POST", "/security-group-rules", many)).status == 409

    on_network_api(test)


def test_default_groups_are_there_when_they_are_looked_for() -> None:
    async def test(api: NetworkApi) -> None:
        found = (await api.ask("GET", "/security-groups?name=default")).body["security_groups"]
        assert [group["name"] for group in found] == ["default"]
        assert len(found[0]["security_group_rules"]) == 4
        assert len((await api.ask("GET", "/security-groups")).body["security_groups"]) == 1
        assert len((await api.ask("GET", "/security-group-rules", who="bob")).body["security_group_rules"]) == 4

    on_network_api(test)


@pytest.mark.parametrize(("protocol", "number"), [(None, None), ("tcp", 6), ("58", 58), ("ip", 0)])
def test_protocols_have_numbers(protocol: str | None, number: int | None) -> None:
    assert number_of(protocol) == number
