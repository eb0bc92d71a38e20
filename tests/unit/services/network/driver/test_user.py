"""QEMU's own network: what it is told for a card."""

import asyncio

import pytest

from objstore.errors import Unavailable
from objstore.services.network.driver.api import CannotDrive, Forward, NotTold, Tap, UserMode
from objstore.services.network.driver.user import CARD_PORTS, RULE_PORTS, USUAL_PORTS, UserDriver, openings
from objstore.services.network.wanted import WantedPort, WantedRouter, WantedRule
from tests.support.wanted_networks import ANY_OUT, PING, network, port, subnet, wanted

NET = network(7, subnet("10.0.0.0/24", "10.0.0.1"))
SSH = WantedRule("ingress", 4, "tcp", 22, 22)


def taken(protocol: str, preferred: int) -> int:
    return preferred


def plugged(of: WantedPort, *, outbound: bool = False, net: object = NET) -> UserMode:
    async def body() -> UserMode:
        driver = UserDriver("h1", taken, outbound=outbound)
        await driver.carry_out(wanted(1, net, of))
        return await driver.plug(of.id, of.server)

    return asyncio.run(body())


def test_card_has_its_address_its_gateway_and_nothing_to_reach() -> None:
    assert plugged(port(NET, 5)).netdev == (
        "user,ipv6=off,restrict=on,net=10.0.0.0/24,host=10.0.0.1,dns=10.0.0.254,dhcpstart=10.0.0.5,hostname=guest5"
    )


def test_rules_for_anybody_become_ports_of_the_loopback_that_stay_the_same() -> None:
    card = port(NET, 5, rules=(SSH, PING, WantedRule("ingress", 4, "udp", 53, 53, ("0.0.0.0/0",))))
    one = plugged(card)
    assert [(f.protocol, f.guest_port) for f in one.forwards] == [("tcp", 22), ("udp", 53)]
    assert f",hostfwd=tcp:127.0.0.1:{one.forwards[0].host_port}-10.0.0.5:22,hostfwd=udp:127.0.0.1:" in one.netdev
    assert plugged(card) == one
    assert all(20_000 <= f.host_port < 32_000 for f in one.forwards)


def test_rules_for_somebody_only_open_nothing() -> None:
    rules = (
        WantedRule("ingress", 4, "tcp", 22, 22, ("10.0.0.0/8",)), WantedRule("ingress", 4, "tcp", 22, 22, nobody=True),
        WantedRule("ingress", 6, "tcp", 22, 22), WantedRule("egress", 4, "tcp", 22, 22), WantedRule("ingress", 4, "sctp", 22, 22),
    )  # fmt: skip
    assert openings(port(NET, 5, rules=rules)) == []


def test_many_ports_are_cut_to_what_can_be_forwarded() -> None:
    usual = [("tcp", number) for number in USUAL_PORTS]
    assert openings(port(NET, 5, rules=(WantedRule("ingress", 4),))) == usual
    assert openings(port(NET, 5, rules=(WantedRule("ingress", 4, "tcp", 1, 65535),))) == usual
    assert openings(port(NET, 5, secured=False)) == usual
    assert len(openings(port(NET, 5, rules=(WantedRule("ingress", 4, "tcp", 100, 200),)))) == RULE_PORTS
    many = tuple(WantedRule("ingress", 4, "tcp", n, n) for n in range(100, 200))
    assert len(plugged(port(NET, 5, rules=many)).forwards) == CARD_PORTS


def test_guest_goes_out_only_where_the_host_and_its_groups_let_it() -> None:
    assert "restrict=off" in plugged(port(NET, 5, rules=ANY_OUT), outbound=True).netdev
    assert "restrict=on" in plugged(port(NET, 5, rules=(SSH,)), outbound=True).netdev
    assert "restrict=on" in plugged(port(NET, 5, rules=ANY_OUT)).netdev


@pytest.mark.parametrize("name", ["a,hostfwd=tcp::1-:1", "a b", "a=b", "x\n"])
def test_name_that_would_begin_another_option_is_left_out(name: str) -> None:
    assert "hostname" not in plugged(port(NET, 5, name=name)).netdev


def test_port_with_values_that_cannot_be_is_told_and_not_plugged_in() -> None:
    async def body() -> None:
        bad = port(NET, 5, addresses=((NET.subnets[0].id, "10.0.0.5,restrict=off"),))
        far = port(NET, 5, addresses=((NET.subnets[0].id, "10.9.0.5"),))
        router = WantedRouter("r", 9)
        driver = UserDriver("h1", taken)
        done = await driver.carry_out(wanted(3, NET, bad, far, port(NET, 6), router))
        assert set(done.failures) == {bad.id, far.id, "r"}
        assert len(done.up) == 1
        for wrong in (bad, far):
            with pytest.raises(Unavailable, match="cannot be plugged in"):
                await driver.plug(wrong.id, "s")

    asyncio.run(body())


def test_gateway_is_chosen_where_the_subnet_has_none_or_the_guest_has_its_address() -> None:
    bare = network(8, subnet("10.0.0.0/29"))
    assert "host=10.0.0.1,dns=10.0.0.6,dhcpstart=10.0.0.2" in plugged(port(bare, 2), net=bare).netdev
    assert "host=10.0.0.2,dns=10.0.0.6,dhcpstart=10.0.0.1" in plugged(port(bare, 1), net=bare).netdev
    assert "host=10.0.0.1,dns=10.0.0.5,dhcpstart=10.0.0.6" in plugged(port(bare, 6), net=bare).netdev
    six = network(9, subnet("fd00::/64"))
    assert "net=" not in plugged(port(six, 5), net=six).netdev


def test_same_card_has_the_same_ports_until_it_is_unplugged() -> None:
    async def body() -> None:
        given = iter(range(30_000, 30_010))
        driver = UserDriver("h1", lambda protocol, preferred: next(given))
        card = port(NET, 5, rules=(SSH,))
        with pytest.raises(NotTold):
            await driver.plug(card.id, card.server)
        await driver.carry_out(wanted(1, NET, card))
        first = await driver.plug(card.id, card.server)
        assert first.forwards == (Forward("tcp", 30_000, 22),)
        assert await driver.plug(card.id, card.server) == first
        await driver.unplug(card.id)
        await driver.unplug(card.id)
        assert (await driver.plug(card.id, card.server)).forwards == (Forward("tcp", 30_001, 22),)
        with pytest.raises(CannotDrive):
            await driver.open_tap(Tap(card.id, "t", "n", 1450))
        await driver.clean_up()
        await driver.aclose()

    asyncio.run(body())
