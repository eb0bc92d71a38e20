"""The text of a network's rules."""

import re

import pytest

from objstore.services.network.driver import guard
from objstore.services.network.driver.guard import Uplink, guarded, rules
from objstore.services.network.wanted import WantedRule
from tests.support.wanted_networks import network, port, subnet

NET = network(7, subnet("10.0.0.0/24", "10.0.0.1"), subnet("fd00:1::/64"))
MAC = "0a:a9:fe:00:00:07"
# All that may stand in rules: whatever came from a record has been made of these.
PLAIN = re.compile(r"[A-Za-z0-9_ .,:;/{}\"@!=|&-]*")


def conditions(*asked: WantedRule) -> tuple[str, ...]:
    return guarded(port(NET, 5, rules=asked)).ingress


def test_rule_of_a_range_of_ports_names_them() -> None:
    assert conditions(WantedRule("ingress", 4, "tcp", 80, 90)) == ("meta nfproto ipv4 meta l4proto 6 th dport 80-90",)
    assert conditions(WantedRule("ingress", 4, "tcp", 22, 22)) == ("meta nfproto ipv4 meta l4proto 6 th dport 22",)
    assert conditions(WantedRule("ingress", 4, "tcp", 22)) == ("meta nfproto ipv4 meta l4proto 6 th dport 22",)


def test_rule_of_icmp_takes_ports_as_type_and_code() -> None:
    assert conditions(WantedRule("ingress", 4, "icmp", 8, 0)) == ("meta nfproto ipv4 meta l4proto 1 icmp type 8 icmp code 0",)
    assert conditions(WantedRule("ingress", 6, "icmp", 128)) == ("meta nfproto ipv6 meta l4proto 58 icmpv6 type 128",)


def test_remotes_are_joined_and_of_the_rules_version() -> None:
    asked = WantedRule("ingress", 4, "", None, None, ("10.9.0.0/16", "10.9.1.1/32", "fd00::/8"))
    assert conditions(asked) == ("meta nfproto ipv4 ip saddr 10.9.0.0/16",)
    assert conditions(WantedRule("ingress", 4, remotes=("0.0.0.0/0", "10.0.0.0/8"))) == ("meta nfproto ipv4",)


def test_rule_whose_remotes_are_nobody_lets_nothing_through() -> None:
    assert conditions(WantedRule("ingress", 4, nobody=True)) == ()
    assert conditions(WantedRule("ingress", 4, remotes=("fd00::/8",))) == ()


def test_egress_looks_at_where_a_packet_goes() -> None:
    card = guarded(port(NET, 5, rules=(WantedRule("egress", 4, remotes=("10.1.0.0/16",)),)))
    assert card.egress == ("meta nfproto ipv4 ip daddr 10.1.0.0/16",)
    assert card.ingress == ()


@pytest.mark.parametrize(
    "bad",
    [
        WantedRule("ingress", 4, "tcp; accept", 1, 2), WantedRule("ingress", 4, "tcp", 5, 4), WantedRule("ingress", 4, "tcp", -1, 4),
        WantedRule("ingress", 4, "tcp", 1, 70_000), WantedRule("ingress", 4, "icmp", 256), WantedRule("ingress", 5),
        WantedRule("ingress", 4, remotes=("10.0.0.0/8 } accept",)),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(bad: WantedRule) -> None:
    with pytest.raises(ValueError):
        conditions(bad)


def test_ports_with_hostile_values_are_refused() -> None:
    for more in (
        {"mac": 'x" accept'},
        {"addresses": (("s", "10.0.0.1 } accept"),)},
        {"pairs": (("", "10.0.0.0/8 }"),)},
        {"pairs": (("q", "10.0.0.0/8"),)},
    ):
        with pytest.raises(ValueError):
            guarded(port(NET, 5, **({"mac": MAC} | more)))  # type: ignore[arg-type]


def test_secured_port_may_send_as_itself_and_its_pairs_alone() -> None:
    card = guarded(port(NET, 5, pairs=(("", "10.0.0.200/32"), ("52:54:00:00:00:99", "10.0.0.201/32"))))
    text = rules([card], [], mac=MAC, tunnel=False)
    assert "ether saddr 52:54:07:00:00:05 ip saddr { 10.0.0.5/32, 10.0.0.200/32 } return" in text
    assert "ether saddr 52:54:00:00:00:99 ip saddr 10.0.0.201/32 return" in text
    assert "arp saddr ether 52:54:07:00:00:05 arp saddr ip { 10.0.0.5/32, 10.0.0.200/32 } return" in text
    assert "@th,64,128 0xfd000001000000000000000000000005 return" in text
    assert "udp sport { 67, 547 } drop" in text
    assert PLAIN.fullmatch(text.replace("\n", " "))


def test_device_that_no_rule_names_reaches_nothing() -> None:
    text = rules([guarded(port(NET, 5))], ["r1-abc"], mac=MAC, tunnel=True)
    tap = guarded(port(NET, 5)).tap
    assert len(tap) == 15
    assert re.search(r'iifname != \{ "t[0-9a-f]{14}", "r1-abc", "vx0" \} drop', text)
    assert "chain prerouting {\n  type filter hook prerouting priority -250; policy accept;\n  drop" in rules([], [], mac=MAC, tunnel=False)


def test_ports_whose_groups_come_to_the_same_share_their_rules() -> None:
    cards = [guarded(port(NET, n)) for n in range(5, 105)] + [guarded(port(NET, 200, rules=()))]
    text = rules(cards, [], mac=MAC, tunnel=False)
    assert len(re.findall(r"chain (?:in|out|to)_", text)) == 6
    assert len(re.findall(r"chain from_[0-9]", text)) == len(cards)
    assert text.count("meta mark set 0x00010000") + text.count("meta mark set 0x00020000") == len(cards)


def test_unsecured_port_has_no_rules_but_is_known_to_the_metadata_service_by_its_own_address() -> None:
    text = rules([guarded(port(NET, 5, secured=False))], [], mac=MAC, tunnel=False)
    assert "in_1" not in text
    assert "ip daddr 169.254.169.254 ether saddr 52:54:07:00:00:05 ip saddr 10.0.0.5/32 return\n  ip daddr 169.254.169.254 drop" in text


def test_guests_of_an_external_network_begin_nothing_towards_a_host_that_does_not_let_them() -> None:
    card = guarded(port(NET, 5))
    assert '  oifname "up0" drop' in rules([card], [], mac=MAC, tunnel=False, uplink=Uplink(outbound=False))
    text = rules([card], [], mac=MAC, tunnel=False, uplink=Uplink(outbound=True))
    assert '  oifname "up0" drop' not in text
    assert 'iifname "up0" ip daddr vmap { 10.0.0.5 : jump in_1 }' in text


def test_what_is_routed_from_guest_to_guest_is_judged_by_the_rules_of_where_it_goes() -> None:
    cards = [guarded(port(NET, 5)), guarded(port(NET, 6, rules=())), guarded(port(NET, 7, secured=False))]
    text = rules(cards, [], mac=MAC, tunnel=False, uplink=Uplink(outbound=True))
    found = re.search(r'iifname "br0" oifname "br0" meta mark and 0x0000ffff == 0 ip daddr vmap \{ (.*) \}', text)
    assert found is not None
    assert set(found[1].split(", ")) == {"10.0.0.5 : jump into_2", "10.0.0.6 : jump into_1"}
    assert " chain into_2 {\n  meta mark set meta mark and 0xffff0000 or 0x2\n }" in text
    assert found.start() < text.index("meta mark { 0x0, 0xfffe, 0xffff, 0xffff0000, 0xfffffffe, 0xffffffff } accept")
    taps = ", ".join(f'"{tap}"' for tap in sorted(card.tap for card in cards if card.secured))
    assert f"meta mark and 0xffff0000 != 0 meta mark and 0x0000ffff == 0 oifname {{ {taps} }} drop" in text
    assert "into_" not in rules(cards, [], mac=MAC, tunnel=False)


def test_what_is_routed_to_an_allowed_pair_is_judged_where_it_leaves_by_the_rules_of_that_device() -> None:
    here = WantedRule("ingress", 4, "tcp", 80, remotes=("10.9.0.0/16",))
    one = guarded(port(NET, 5, pairs=(("", "10.0.0.60/32"),), rules=(here, WantedRule("ingress", 6, "icmpv6"))))
    cards = [
        one,
        guarded(port(NET, 6, pairs=(("", "10.0.0.60/32"),), rules=())),
        guarded(port(NET, 7)),
        guarded(port(NET, 8, secured=False)),
    ]
    text = rules(cards, [], mac=MAC, tunnel=False, uplink=Uplink(outbound=True))
    of_one = re.search(
        r"chain pairs_([0-9]+) \{\n  ether type ip ip saddr 10.9.0.0/16 meta l4proto 6 th dport 80 accept\n  ether type ip6 meta l4proto 58 accept\n \}",
        text,
    )
    assert of_one is not None
    judged = re.search(
        r"meta mark and 0x0000ffff == 0xffff oifname vmap \{ (.*) \}\n  meta mark and 0x0000ffff == 0xffff oifname \{ (.*) \} drop", text
    )
    assert judged is not None
    assert f'"{one.tap}" : jump pairs_{of_one[1]}' in judged[1].split(", ")
    assert cards[2].tap not in judged[1]  # it has no pairs, so whatever it is sent there is not for it
    assert [card.tap in judged[2] for card in cards] == [True, True, True, False]
    assert '  oifname "br0" meta mark and 0x0000ffff == 0 jump by_device\n' in text
    assert "by_device" not in rules(cards, [], mac=MAC, tunnel=False)
    assert PLAIN.fullmatch(text.replace("\n", " "))


def test_metadata_of_who_is_an_allowed_pair_is_not_told() -> None:
    text = rules([guarded(port(NET, 5, pairs=(("52:54:07:00:00:06", "10.0.0.6/32"),)))], [], mac=MAC, tunnel=False)
    asks = "ip daddr 169.254.169.254 ether saddr 52:54:07:00:00:05 ip saddr 10.0.0.5/32 return\n  ip daddr 169.254.169.254 drop"
    assert asks in text
    assert text.index(asks) < text.index("ether saddr 52:54:07:00:00:06 ip saddr 10.0.0.6/32 return")
    assert "ip6 saddr fe80::5054:7ff:fe00:5 return\n  ip6 daddr fe80::a9fe:a9fe drop" in text


def test_same_rules_have_the_same_text_and_stamp_whatever_the_order_they_come_in() -> None:
    one, two = guarded(port(NET, 5)), guarded(port(NET, 6))
    assert rules([one, two], ["r1", "r2"], mac=MAC, tunnel=True) == rules([two, one], ["r2", "r1"], mac=MAC, tunnel=True)
    assert guard.stamp("a") != guard.stamp("b")
    assert guard.stamp("a") in guard.stamped("a", "inet", "groups")
