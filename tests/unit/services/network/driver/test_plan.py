"""From what is wanted to what has to be there."""

import re

from objstore.services.network.driver import values
from objstore.services.network.driver.names import Names
from objstore.services.network.driver.plan import EVERYONE, Plan, Route, Site, plan
from objstore.services.network.wanted import WantedFloating, WantedInterface, WantedRouter
from tests.support.wanted_networks import network, new_id, port, subnet, wanted

SITE = Site("h1", Names("abc"))
INSIDE = network(7, subnet("10.0.0.0/24", "10.0.0.1"))
OUTSIDE = network(8, subnet("203.0.113.0/24", "203.0.113.1"), external=True)
NAME, OUT, ROUTER = "objstore-abc-n7", "objstore-abc-n8", "objstore-abc-r9"


def interface(of: object, last: int, mac: str = "fa:16:3e:00:00:01") -> WantedInterface:
    found = of.subnets[0]  # type: ignore[attr-defined]
    return WantedInterface(of.id, found.id, str(values.cidr(found.cidr).network_address + last), mac)  # type: ignore[attr-defined]


def router(**more: object) -> WantedRouter:
    known: dict[str, object] = {"interfaces": (interface(INSIDE, 1),), "gateway": interface(OUTSIDE, 2, "fa:16:3e:00:00:02")}
    return WantedRouter(new_id(), 9, **{**known, **more})  # type: ignore[arg-type]


def made(*parts: object, site: Site = SITE, **more: object) -> Plan:
    return plan(wanted(1, *parts, **more), site)


def test_network_has_a_bridge_and_a_tap_for_each_port_of_this_host() -> None:
    here, there = port(INSIDE, 5), port(INSIDE, 6, "h2")
    found = made(INSIDE, here, there)
    assert set(found.ports) == {here.id}
    assert [link.kind for link in found.spaces[NAME].links] == ["bridge", "tun"]
    assert found.guests[NAME, "10.0.0.5"] == here.id
    assert found.guests[NAME, "fe80::5054:7ff:fe00:5"] == here.id


def test_port_that_is_about_to_come_has_its_tap_already() -> None:
    coming = port(INSIDE, 6, "h2")
    found = plan(wanted(1, INSIDE, coming), SITE, {coming.id}).ports
    assert set(found) == {coming.id}
    assert not found[coming.id].works  # not yet to be told of as this host's


def test_tunnel_is_there_where_the_host_has_an_end_and_leads_to_all_peers() -> None:
    site = Site("h1", Names("abc"), values.tunnel_end("10.1.0.1:4790"))
    found = made(INSIDE, site=site, peers=(("h2", "10.1.0.2"), ("h3", "10.1.0.3:5000"), ("h4", "bad; one")))
    assert found.spaces[NAME].forwards == {(EVERYONE, "10.1.0.2", 4789), (EVERYONE, "10.1.0.3", 5000)}
    assert "h4" in found.failures
    line = next(link.made for link in found.spaces[NAME].links if link.kind == "vxlan")
    assert line == "link add name vx0 mtu 1450 netns objstore-abc-n7 type vxlan id 7 local 10.1.0.1 dstport 4790 nolearning"


def test_tunnel_learns_where_all_hosts_have_one_port_and_is_told_of_guests_where_not() -> None:
    there = port(INSIDE, 6, "h2")
    alike = made(INSIDE, there, site=Site("h1", Names("abc"), values.tunnel_end("10.1.0.1")), peers=(("h2", "10.1.0.2"),))
    assert alike.spaces[NAME].forwards == {(EVERYONE, "10.1.0.2", 4789)}
    apart = made(INSIDE, there, site=Site("h1", Names("abc"), values.tunnel_end("10.1.0.1:1")), peers=(("h2", "10.1.0.2"),))
    assert apart.spaces[NAME].forwards == {(EVERYONE, "10.1.0.2", 4789), (there.mac, "10.1.0.2", 4789)}


def test_router_has_ends_in_its_networks_and_a_way_out() -> None:
    found = made(INSIDE, OUTSIDE, router())
    space = found.spaces[ROUTER]
    assert [sorted(link.addresses) for link in space.links] == [["10.0.0.1/24"], ["203.0.113.2/24"]]
    assert {(route.to, route.via) for route in space.routes} == {("0.0.0.0/0", "203.0.113.1")}
    assert any(link.name.startswith("r9-") and link.master == "br0" for link in found.spaces[NAME].links)
    assert list(found.spaces) == [NAME, OUT, ROUTER]


def test_floating_addresses_are_the_gateways_and_the_host_finds_them() -> None:
    found = made(INSIDE, OUTSIDE, router(floating=(WantedFloating("203.0.113.9", "10.0.0.5", INSIDE.id),)))
    gateway = found.spaces[ROUTER].links[1]
    assert gateway.addresses == {"203.0.113.2/24", "203.0.113.9/32"}
    assert {route.to for route in found.host.routes} == {"203.0.113.2/32", "203.0.113.9/32"}
    assert found.spaces[ROUTER].announced == ((gateway.name, "fa:16:3e:00:00:02", "203.0.113.9"),)
    assert found.host.rules == ""
    assert found.host.before == ()


def test_host_has_a_table_only_where_guests_may_go_out_through_it() -> None:
    found = made(INSIDE, OUTSIDE, router(), site=Site("h1", Names("abc"), outbound=True))
    assert "masquerade" in found.host.rules
    assert found.host.before == (("net/ipv4/ip_forward", "1"),)


def test_several_subnets_at_one_hardware_address_share_a_device() -> None:
    both = network(7, subnet("10.0.0.0/24"), subnet("10.0.1.0/24"))
    ends = tuple(WantedInterface(both.id, s.id, str(values.cidr(s.cidr).network_address + 1), "fa:16:3e:00:00:01") for s in both.subnets)
    links = made(both, router(interfaces=ends, gateway=None)).spaces[ROUTER].links
    assert [sorted(link.addresses) for link in links] == [["10.0.0.1/24", "10.0.1.1/24"]]


def test_router_that_is_down_is_there_and_leads_nowhere() -> None:
    space = made(INSIDE, OUTSIDE, router(up=False, routes=(("10.9.0.0/16", "10.0.0.7"),))).spaces[ROUTER]
    assert not any(link.up for link in space.links)
    assert space.routes == frozenset()


def test_extra_routes_are_there_and_a_hostile_one_is_left_out() -> None:
    wrong = router(routes=(("10.9.0.0/16", "10.0.0.7"), ("10.8.0.0/16", "10.0.0.7\nnetns del x")))
    found = made(INSIDE, OUTSIDE, wrong)
    assert Route("10.9.0.0/16", "10.0.0.7") in found.spaces[ROUTER].routes
    assert "10.0.0.7" in found.failures[wrong.id]


def test_hostile_values_take_out_their_own_thing_and_nothing_else() -> None:
    bad_port = port(INSIDE, 6, mac='52:54:00:00:00:01" accept')
    bad_net = network(2**25, subnet("10.5.0.0/24"))
    bad_subnet = network(11, subnet("10.5.0.0/24", "10.5.0.1 dev lo"))
    lost = router(interfaces=(interface(bad_subnet, 1),))
    good = port(INSIDE, 5)
    found = made(INSIDE, OUTSIDE, bad_net, bad_subnet, bad_port, good, lost)
    assert set(found.failures) == {bad_port.id, bad_net.id, bad_subnet.id, lost.id}
    assert set(found.ports) == {good.id}
    assert found.kept == {"objstore-abc-n11", ROUTER}
    assert not any(link.name.startswith("r9-") for link in found.spaces[NAME].links)


def test_port_whose_network_is_unknown_is_told() -> None:
    lone = port(INSIDE, 5)
    assert lone.id in made(lone).failures


def test_nothing_in_any_line_could_end_it_or_begin_another_option() -> None:
    hostile = port(INSIDE, 5, name="x\ny", dhcp_options=(("67", "a\nb"),))
    found = made(INSIDE, OUTSIDE, hostile, router())
    for space in (*found.spaces.values(), found.host):
        for link in space.links:
            assert re.fullmatch(r"[a-z0-9 _.:/-]*", link.made)


def test_same_wants_make_the_same_plan() -> None:
    ports = [port(INSIDE, n) for n in range(5, 9)]
    way = router()
    assert made(INSIDE, OUTSIDE, *ports, way).spaces == made(OUTSIDE, *reversed(ports), way, INSIDE).spaces
