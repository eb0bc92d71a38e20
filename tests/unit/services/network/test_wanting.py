"""What hosts are told."""

from typing import Any

from sqlalchemy import update

from objstore.services.network import groups
from objstore.services.network.addresses import Asked
from objstore.services.network.ports import FLOATING, ROUTER_GATEWAY, ROUTER_INTERFACE, new_port
from objstore.services.network.records import Tx, Who, add, change, one
from objstore.services.network.tables import FLOATINGS, GROUPS, NETWORKS, PORTS, ROUTERS, RULES
from objstore.services.network.wanted import WantedFloating
from tests.support.network_rig import ALICE, NetworkRig, on_network_rig


async def pair(rig: NetworkRig, network: str) -> tuple[Any, Any]:
    one_ = await rig.desk.create_port(ALICE, network, server_id="s1", fixed_ip="10.0.0.11")
    two = await rig.desk.create_port(ALICE, network, server_id="s2", fixed_ip="10.0.0.12")
    await rig.desk.bind(one_.id, "h1")
    await rig.desk.bind(two.id, "h2")
    return one_, two


def test_groups_are_resolved_to_addresses_and_told_where_the_port_is() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        one_, two = await pair(rig, network)
        wanted = await rig.desk.wanted("h1")
        ports = {port.id: port for port in wanted.ports}
        assert set(ports) == {one_.id, two.id}
        assert ports[two.id].rules == ()  # another host's
        rules = {(rule.direction, rule.version): rule for rule in ports[one_.id].rules}
        assert rules["ingress", 4].remotes == ("10.0.0.11/32", "10.0.0.12/32")
        assert rules["ingress", 6].nobody
        assert rules["egress", 4].remotes == ()
        assert not rules["egress", 4].nobody

        def more(tx: Tx) -> None:
            row = groups.create(tx, {"project": ALICE, "name": "web", "description": ""})
            add(
                tx, RULES,
                {
                    "project": ALICE, "security_group_id": row["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
                    "port_range_min": 80, "port_range_max": 81, "remote_ip_prefix": "10.0.0.0/8", "remote_group_id": None,
                },
            )  # fmt: skip
            groups.set_port_groups(tx, one_.id, [row["id"]])
            change(tx, PORTS, one(tx, PORTS, one_.id), {"allowed_address_pairs": [{"ip_address": "10.7.0.0/16"}]})

        await rig.write(more, Who(ALICE))
        port = next(port for port in (await rig.desk.wanted("h1")).ports if port.id == one_.id)
        assert port.pairs == (("", "10.7.0.0/16"),)
        web = next(rule for rule in port.rules if rule.direction == "ingress")
        assert (web.protocol, web.port_min, web.port_max, web.remotes) == ("tcp", 80, 81, ("10.0.0.0/8",))
        left = next(port for port in (await rig.desk.wanted("h2")).ports if port.id == two.id)
        assert next(rule for rule in left.rules if rule.direction == "ingress" and rule.version == 4).remotes == ("10.0.0.12/32",)
        await rig.write(lambda tx: tx.connection.execute(update(GROUPS).values(name="x")))

    on_network_rig(test)


def test_host_that_a_guest_is_about_to_move_to_is_told_of_its_port_and_rules() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        port = await rig.desk.create_port(ALICE, network, server_id="s1", fixed_ip="10.0.0.11")
        await rig.desk.bind(port.id, "h1")
        before = await rig.desk.revision()
        assert (await rig.desk.wanted("h2")).networks == ()
        await rig.desk.expect(port.id, "h2")
        assert await rig.desk.revision() > before
        (coming,) = (await rig.desk.wanted("h2")).ports
        assert (coming.id, coming.host) == (port.id, "h1")
        assert coming.rules != ()
        assert (await rig.desk.wanted("h3")).ports == ()
        await rig.desk.expect(port.id, "")
        assert (await rig.desk.wanted("h2")).networks == ()
        await rig.desk.expect(port.id, "h2")
        await rig.desk.bind(port.id, "h2")
        assert (await rig.desk.wanted("h1")).ports == ()
        assert [p.host for p in (await rig.desk.wanted("h2")).ports] == ["h2"]
        await rig.desk.expect("nobody", "h2")

    on_network_rig(test)


def test_routers_are_told_where_they_route_with_gateway_and_floating_addresses() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        outside, subnet = await rig.network("", cidr="203.0.113.0/24", external=True)
        router = await rig.router()
        one_, _ = await pair(rig, network)

        def connect(tx: Tx) -> None:
            new_port(tx, one(tx, NETWORKS, network), ALICE, asked=[Asked("", "10.0.0.1")], device_owner=ROUTER_INTERFACE, device_id=router)
            out = one(tx, NETWORKS, outside)
            gateway = new_port(tx, out, "", asked=[Asked("", "203.0.113.5")], device_owner=ROUTER_GATEWAY, device_id=router)
            change(
                tx, ROUTERS, one(tx, ROUTERS, router),
                {"gateway_port": gateway["id"], "gateway_network": outside, "routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}]},
            )  # fmt: skip
            floating = new_port(tx, out, "", asked=[Asked("", "203.0.113.9")], device_owner=FLOATING, device_id="f")
            add(
                tx, FLOATINGS,
                {
                    "project": ALICE, "floating_network_id": outside, "floating_ip_address": "203.0.113.9", "floating_port_id": floating["id"],
                    "port_id": one_.id, "fixed_ip_address": "10.0.0.11", "router_id": router, "dns_name": "", "dns_domain": "",
                },
            )  # fmt: skip

        await rig.write(connect)
        assert (await rig.desk.port(one_.id)).floating == (("10.0.0.11", "203.0.113.9"),)
        await rig.desk.host_seen("h1", driver="netns")
        wanted = await rig.desk.wanted("h1")
        assert [(net.id, net.external) for net in wanted.networks if net.external] == [(outside, True)]
        (told,) = wanted.routers
        assert (told.gateway.address, told.gateway.subnet) == ("203.0.113.5", subnet)  # type: ignore[union-attr]
        assert [each.address for each in told.interfaces] == ["10.0.0.1"]
        assert told.floating == (WantedFloating("203.0.113.9", "10.0.0.11", network),)
        assert told.routes == (("10.9.0.0/16", "10.0.0.9"),)
        assert len({told.number, *(net.number for net in wanted.networks)}) == 3
        assert (await rig.desk.wanted("h2")).routers == ()
        assert (await rig.desk.wanted("elsewhere")).networks == ()

    on_network_rig(test)
