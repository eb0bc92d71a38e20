"""The text of rules that change addresses."""

from objstore.services.network.driver import nat, values
from objstore.services.network.driver.nat import Gateway

A = values.address
GATEWAY = Gateway("g1-abc", A("203.0.113.2"), snat=True)


def test_router_without_a_way_out_changes_nothing() -> None:
    text = nat.router_rules(None, {})
    assert "snat" not in text
    assert "dnat" not in text


def test_what_leaves_a_router_has_the_gateways_address() -> None:
    assert 'oifname "g1-abc" ip saddr != 203.0.113.2 snat to 203.0.113.2' in nat.router_rules(GATEWAY, {})
    assert "snat to" not in nat.router_rules(Gateway("g1-abc", A("203.0.113.2"), snat=False), {})


def test_floating_addresses_lead_in_and_out() -> None:
    text = nat.router_rules(GATEWAY, {A("203.0.113.9"): A("10.0.0.5")})
    assert text.count("dnat to ip daddr map { 203.0.113.9 : 10.0.0.5 }") == 2
    assert 'oifname "g1-abc" snat to ip saddr map { 10.0.0.5 : 203.0.113.9 }' in text
    assert "ct status dnat snat to 203.0.113.2" in text


def test_guest_with_two_outside_addresses_goes_out_by_the_lowest() -> None:
    text = nat.router_rules(GATEWAY, {A("203.0.113.100"): A("10.0.0.5"), A("203.0.113.9"): A("10.0.0.5")})
    assert "snat to ip saddr map { 10.0.0.5 : 203.0.113.9 }" in text


def test_way_to_the_host_hides_its_own_addresses_from_guests() -> None:
    text = nat.uplink_rules(host=A("169.254.200.0"), here=A("169.254.200.1"), gateway=A("203.0.113.1"), routers=[A("203.0.113.2")])
    assert 'oifname "up0" ip saddr { 203.0.113.2 } snat to 169.254.200.1' in text
    assert 'oifname "br0" ip saddr 169.254.200.0 snat to 203.0.113.1' in text
    assert "snat" not in nat.uplink_rules(host=A("169.254.200.0"), here=A("169.254.200.1"), gateway=None, routers=[])


def test_hosts_table_lets_guests_out_and_not_in() -> None:
    text = nat.host_rules("objstore_abc", ["oabcx1"], [values.cidr("203.0.113.0/24")])
    assert 'iifname { "oabcx1" } drop' in text
    assert 'oifname != { "oabcx1" } ip saddr { 203.0.113.0/24 } masquerade' in text
