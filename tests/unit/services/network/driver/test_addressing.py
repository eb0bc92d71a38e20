"""Configuration of dnsmasq and radvd."""

from objstore.services.network.driver import addressing
from objstore.services.network.driver.addressing import checked_subnet, client
from tests.support.wanted_networks import network, port, subnet

FOUR = subnet("10.0.0.0/24", "10.0.0.1", dns=("9.9.9.9", "fd00::9"), routes=(("10.9.0.0/16", "10.0.0.7"),))
SIX = subnet("fd00:1::/64", "fd00:1::1", dns=("fd00::9",), ra_mode="dhcpv6-stateful", address_mode="dhcpv6-stateful")
NET = network(7, FOUR, SIX)


def conf(*ports: object) -> str:
    return addressing.dnsmasq([checked_subnet(FOUR), checked_subnet(SIX)], [client(p) for p in ports], 1450)  # type: ignore[arg-type]


def test_guests_get_their_addresses_by_hardware_address_on_each_subnet() -> None:
    text = conf(port(NET, 5))
    assert "dhcp-host=52:54:07:00:00:05,set:c0,10.0.0.5,guest5\n" in text
    assert "dhcp-host=52:54:07:00:00:05,set:c0,[fd00:1::5],guest5\n" in text


def test_routes_name_the_metadata_service_the_subnets_own_and_the_gateway() -> None:
    text = conf()
    assert "dhcp-option=tag:s0,121,169.254.169.254/32,0.0.0.0,10.9.0.0/16,10.0.0.7,0.0.0.0/0,10.0.0.1\n" in text
    assert "dhcp-option=tag:s0,3,10.0.0.1\n" in text
    assert "dhcp-option=tag:s0,6,9.9.9.9\n" in text
    assert "dhcp-option=tag:s0,26,1450\n" in text
    assert "dhcp-option=tag:s1,option6:dns-server,[fd00::9]\n" in text


def test_subnet_without_gateway_names_none() -> None:
    text = addressing.dnsmasq([checked_subnet(subnet("10.0.0.0/24"))], [], 1450)
    assert "dhcp-option=tag:s0,3\n" in text
    assert "0.0.0.0/0" not in text


def test_networks_without_dhcp_have_no_server() -> None:
    assert (
        addressing.dnsmasq(
            [checked_subnet(subnet("10.0.0.0/24", dhcp=False)), checked_subnet(subnet("fd00::/64", address_mode="slaac"))], [], 1450
        )
        == ""
    )


def test_name_that_could_end_a_line_is_left_out_and_the_guest_still_served() -> None:
    for name in ("a\ndhcp-script=/bin/sh", "a,b", "a#", "set:x", ""):
        text = conf(port(NET, 5, name=name))
        assert "dhcp-host=52:54:07:00:00:05,set:c0,10.0.0.5\n" in text


def test_options_that_could_end_a_line_are_left_out_and_good_ones_kept() -> None:
    options = (("ntp-server", "1.2.3.4"), ("router\ndhcp-script=/x", "1"), ("67", "a\nconf-file=/etc/shadow"), ("nonsense", "1"))
    text = conf(port(NET, 5, dhcp_options=options))
    assert "dhcp-option=tag:c0,42,1.2.3.4\n" in text
    assert "script" not in text
    assert "conf-file" not in text
    assert client(port(NET, 5, dhcp_options=options), with_options=False).options == ()


def test_many_routes_are_cut_to_what_an_option_holds() -> None:
    many = tuple((f"10.{n}.0.0/16", "10.0.0.7") for n in range(100))
    text = addressing.dnsmasq([checked_subnet(subnet("10.0.0.0/24", routes=many))], [], 1450)
    assert text.count("10.0.0.7") == 2 * 25


def test_routers_tell_version_6_by_the_modes_of_their_subnets() -> None:
    def told(mode: str) -> str:
        return addressing.radvd([("q1-a", [checked_subnet(subnet("fd00:1::/64", dns=("fd00::9",), ra_mode=mode))])], {"q1-a": 1450})

    assert told("") == ""
    assert "AdvManagedFlag on" in told("dhcpv6-stateful")
    assert "AdvAutonomous off" in told("dhcpv6-stateful")
    assert "AdvAutonomous on" in told("dhcpv6-stateless")
    assert "AdvOtherConfigFlag on" in told("dhcpv6-stateless")
    assert "RDNSS fd00::9 { };" in told("slaac")
    assert "AdvManagedFlag off" in told("slaac")


def test_server_of_version_6_has_an_address_where_it_serves() -> None:
    mac = "0a:a9:fe:00:00:07"
    assert addressing.servers_address(checked_subnet(SIX), mac) == "fd00:1::8a9:feff:fe00:7/64"
    assert addressing.servers_address(checked_subnet(FOUR), mac) == ""
    assert addressing.servers_address(checked_subnet(subnet("fd00::/64", address_mode="slaac")), mac) == ""
    assert addressing.servers_address(checked_subnet(subnet("fd00::/56", address_mode="dhcpv6-stateful")), mac) == ""
    assert addressing.servers_address(checked_subnet(subnet("fd00::/112", address_mode="dhcpv6-stateful")), mac) == "fd00::7/112"
