"""Texts from records are normal or refused: nothing else can come into a command."""

import pytest

from objstore.services.network.driver import values

HOSTILE = [
    "",
    " ",
    "x\n",
    "10.0.0.1\n",
    "10.0.0.1; drop",
    "$(id)",
    "a b",
    "\x00",
    "fe80::1%eth0",
    "\uff11\uff10.0.0.1",
    '"',
    "10.0.0.0/8 accept",
    "-n",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_refused_by_every_parser(text: str) -> None:
    for parse in (values.mac, values.address, values.cidr, values.tag, values.port_id, values.tunnel_end):
        with pytest.raises(ValueError):
            parse(text)
    with pytest.raises(ValueError):
        values.protocol(text, 4)
    with pytest.raises(ValueError):
        values.dhcp_option(text, "1")


@pytest.mark.parametrize("text", ["a\nb", "a#b", 'a"b', "a;b", "", "x" * 256, "a\\b", "é"])
def test_options_of_dhcp_have_values_that_stay_on_their_line(text: str) -> None:
    with pytest.raises(ValueError):
        values.dhcp_option("ntp-server", text)


def test_options_of_dhcp_are_known_by_name_and_number() -> None:
    assert values.dhcp_option("bootfile-name", "pxe.0 ") == (67, "pxe.0")
    assert values.dhcp_option("option:router", "10.0.0.1") == (3, "10.0.0.1")
    assert values.dhcp_option("150", "10.0.0.1") == (150, "10.0.0.1")
    for name in ("0", "255", "999", "server"):
        with pytest.raises(ValueError):
            values.dhcp_option(name, "1")


def test_hardware_addresses_are_of_one_device_and_in_small_letters() -> None:
    assert values.mac("FA:16:3E:00:00:01") == "fa:16:3e:00:00:01"
    for text in ("01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "fa-16-3e-00-00-01"):
        with pytest.raises(ValueError):
            values.mac(text)


def test_ranges_lose_the_bits_beyond_their_prefix() -> None:
    assert str(values.cidr("10.1.2.3/16")) == "10.1.0.0/16"


def test_ranges_of_one_version_are_joined_where_they_overlap() -> None:
    ranges = [values.cidr(text) for text in ("10.0.0.0/24", "10.0.0.7/32", "10.0.1.0/24", "fd00::/64")]
    assert [str(r) for r in values.collapsed(ranges, 4)] == ["10.0.0.0/23"]
    assert [str(r) for r in values.collapsed(ranges, 6)] == ["fd00::/64"]


def test_link_local_address_is_made_of_the_hardware_address() -> None:
    assert str(values.link_local("52:54:00:12:34:56")) == "fe80::5054:ff:fe12:3456"


def test_names_that_are_no_labels_become_empty() -> None:
    assert [values.host_name(text) for text in ("web-1", "-x", "a.b", "a,b", "x" * 64, "a\nb")] == ["web-1", "", "", "", "", ""]


def test_ports_are_known_by_their_digits_with_dashes_or_without() -> None:
    digits = "ab" * 16
    assert values.port_id(digits) == values.port_id("abababab-abab-abab-abab-abababababab") == digits


def test_protocols_have_names_and_numbers() -> None:
    assert [values.protocol(text, 4) for text in ("tcp", "UDP", "icmp", "17", "0", "255")] == [6, 17, 1, 17, 0, 255]
    assert values.protocol("icmp", 6) == values.protocol("ipv6-icmp", 6) == 58
    with pytest.raises(ValueError):
        values.protocol("256", 4)


def test_ends_of_tunnels_are_addresses_with_or_without_a_port() -> None:
    shown = [(str(a), p) for a, p in map(values.tunnel_end, ("10.0.0.1", "10.0.0.1:4790", "fd00::1", "[fd00::1]", "[fd00::1]:1"))]
    assert shown == [("10.0.0.1", 4789), ("10.0.0.1", 4790), ("fd00::1", 4789), ("fd00::1", 4789), ("fd00::1", 1)]
    for text in ("10.0.0.1:0", "10.0.0.1:70000", "host", "[fd00::1", "10.0.0.1:x"):
        with pytest.raises(ValueError):
            values.tunnel_end(text)


def test_numbers_and_mtus_have_bounds() -> None:
    assert (values.number(2**24 - 1), values.mtu(1450)) == (2**24 - 1, 1450)
    for bad in (0, -1, 2**24):
        with pytest.raises(ValueError):
            values.number(bad)
    with pytest.raises(ValueError):
        values.mtu(100)
