"""Arithmetic of addresses."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.services.network import ipam


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("10.0.0.0/24", "10.0.0.1", [("10.0.0.2", "10.0.0.254")]),
        ("10.0.0.0/24", None, [("10.0.0.1", "10.0.0.254")]),
        ("10.0.0.0/24", "10.0.0.9", [("10.0.0.1", "10.0.0.8"), ("10.0.0.10", "10.0.0.254")]),
        ("10.0.0.0/24", "192.168.0.1", [("10.0.0.1", "10.0.0.254")]),
        ("10.0.0.0/31", None, [("10.0.0.0", "10.0.0.1")]),
        ("10.0.0.0/32", "10.0.0.0", []),
        ("2001:db8::/64", "2001:db8::1", [("2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff")]),
    ],
)
def test_pools_are_all_but_the_gateway(cidr: str, gateway: str | None, pools: list[ipam.Pool]) -> None:
    assert ipam.default_pools(ip_network(cidr), gateway) == pools


def test_addresses_are_numbered_through_pools() -> None:
    pools = [("10.0.0.2", "10.0.0.3"), ("10.0.0.7", "10.0.0.9")]
    assert ipam.size(pools) == 5
    assert [ipam.nth(pools, at) for at in range(5)] == ["10.0.0.2", "10.0.0.3", "10.0.0.7", "10.0.0.8", "10.0.0.9"]
    with pytest.raises(IndexError):
        ipam.nth(pools, 5)
    assert ipam.first_free(pools, ["10.0.0.2", "10.0.0.3", "10.0.0.8"]) == "10.0.0.7"
    assert ipam.first_free(pools, [ipam.nth(pools, at) for at in range(5)]) is None
    assert ipam.in_pools(pools, "10.0.0.8")
    assert not ipam.in_pools(pools, "10.0.0.5")


def test_pools_that_share_addresses_are_found() -> None:
    assert ipam.overlapping([("10.0.0.7", "10.0.0.9"), ("10.0.0.1", "10.0.0.6")]) is None
    assert ipam.overlapping([("10.0.0.5", "10.0.0.9"), ("10.0.0.1", "10.0.0.6")]) == (("10.0.0.1", "10.0.0.6"), ("10.0.0.5", "10.0.0.9"))


def test_hosts_give_themselves_addresses_made_of_their_mac() -> None:
    assert ipam.eui64("2001:db8::/64", "fa:16:3e:01:02:03") == "2001:db8::f816:3eff:fe01:203"
    assert ipam.is_host(ip_network("10.0.0.0/24"), "10.0.0.255") is False
    assert ipam.is_host(ip_network("10.0.0.0/24"), "2001:db8::1") is False
    assert ipam.default_gateway(ip_network("10.0.0.0/24")) == "10.0.0.1"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=12), st.integers(24, 32))
def test_a_range_is_carved_where_nothing_is(used: list[tuple[int, int]], length: int) -> None:
    taken = [str(ip_network((0x0A000000 + at, prefix), strict=False)) for at, prefix in used]
    found = ipam.carve(["10.0.0.0/24"], taken, length)
    free = [
        net for net in ip_network("10.0.0.0/24").subnets(new_prefix=length) if not any(net.overlaps(ip_network(text)) for text in taken)
    ]
    assert found == (str(free[0]) if free else None)


def test_prefixes_are_put_together() -> None:
    assert ipam.compacted(["10.0.1.0/24", "10.0.0.0/24", "2001:db8::/33"]) == ["10.0.0.0/23", "2001:db8::/33"]
    assert ip_address(ipam.nth([("2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff")], 2**63)).version == 6
