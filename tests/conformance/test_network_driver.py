"""Networks in namespaces against what guests see and try: addresses, rules, forged packets, routers, floating addresses, metadata, tunnels, restarts.

Guests are namespaces whose cards are carried by a thread as QEMU carries them (tests/support/networks.py).
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from objstore.runtime import commands, namespaces
from objstore.runtime.net import free_port
from objstore.services.network.driver import kernel, values
from objstore.services.network.driver.api import Carried, Metadata
from objstore.services.network.driver.netns import NetnsDriver
from objstore.services.network.driver.user import UserDriver
from objstore.services.network.wanted import WantedFloating, WantedInterface, WantedNetwork, WantedPort, WantedRouter, WantedRule
from tests.support import packages
from tests.support.networks import Bench, Guest, bench, state, why_not
from tests.support.wanted_networks import ANY_OUT, PING, network, new_id, port, subnet, wanted

MISSING = why_not()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

WEB = WantedRule("ingress", 4, "tcp", 80, 80)
LISTEN = """
import socket, sys
made = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
while True:
    held, peer = made.accept()
    held.sendall(f"{peer[0]} ".encode())
    while data := held.recv(100):
        held.sendall(data)
    held.close()
"""
CALL = """
import socket, sys
try:
    held = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float((sys.argv[3:] or ["2"])[0]))
    print(held.recv(100).decode().strip())
except OSError as failure:
    sys.exit(f"none: {failure}")
"""
# A frame, as hexadecimal digits, out of the guest's card: what no honest stack would send.
SEND = """
import socket, sys
held = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
held.bind(("eth0", 0))
for frame in sys.argv[1:]:
    held.send(bytes.fromhex(frame))
"""


def run(body: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(240):
            async with bench() as made:
                await body(made)
            assert await state(made) == {"spaces": "", "links": "", "processes": ""}

    asyncio.run(whole())


@asynccontextmanager
async def serving(guest: Guest, number: int) -> AsyncIterator[None]:
    """A TCP server in a guest, which says who called."""
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", guest.name, sys.executable, "-S", "-c", LISTEN, str(number), stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    try:
        yield
    finally:
        process.kill()
        await process.communicate()


async def calls(guest: Guest, address: str, number: int, *, patience_s: float = 2) -> str:
    """Who the server says called; "" where none was reached."""
    done = await guest.run(sys.executable, "-S", "-c", CALL, address, str(number), str(patience_s))
    return done.text.strip() if done.code == 0 else ""


async def host_calls(address: str, number: int) -> str:
    done = await commands.run(sys.executable, "-S", "-c", CALL, address, str(number), check=False)
    return done.stdout.decode().strip()


async def carry(driver: NetnsDriver, revision: int, *parts: object, **more: object) -> Carried:
    done = await driver.carry_out(wanted(revision, *parts, **more))
    assert done.failures == {}
    return done


async def with_address(bench_: Bench, driver: NetnsDriver, of: WantedPort, gateway: str = "") -> Guest:
    guest = await bench_.guest(driver, of)
    prefixes = {"4": "/24", "6": "/64"}
    for _, address in of.addresses:
        version = str(values.address(address).version)
        await guest.set_address(address + prefixes[version], gateway if version == "4" else "")
    return guest


def interface(of: WantedNetwork, last: int, mac: str, which: int = 0) -> WantedInterface:
    found = of.subnets[which]
    return WantedInterface(of.id, found.id, str(values.cidr(found.cidr).network_address + last), mac)


# -- addresses ------------------------------------------------------------------------------------------------------------


def test_guests_get_addresses_routes_and_options_and_renew_them() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(101, subnet("10.77.0.0/24", "10.77.0.1", dns=("9.9.9.9",), routes=(("10.99.0.0/16", "10.77.0.50"),)), mtu=1400)
        one = port(net, 11, dhcp_options=(("ntp-server", "1.2.3.4"),))
        two = port(net, 12)
        assert (await carry(driver, 1, net, one, two)).up == tuple(sorted((one.id, two.id)))
        first, second = await b.guest(driver, one), await b.guest(driver, two)
        told = await first.dhcp(b.directory, "-O", "ntpsrv")
        assert (told["ip"], told["mask"], told["hostname"], told["dns"], told["mtu"]) == ("10.77.0.11", "24", "guest11", "9.9.9.9", "1400")
        assert told["staticroutes"] == "169.254.169.254/32 0.0.0.0 10.99.0.0/16 10.77.0.50 0.0.0.0/0 10.77.0.1"
        assert (told["ntpsrv"], told["router"]) == ("1.2.3.4", "10.77.0.1")
        assert (await second.dhcp(b.directory))["ip"] == "10.77.0.12"
        assert await first.pings("10.77.0.12")
        # Another address for the same card: told at once, though the old one is not given back.
        moved = port(net, 12, id=two.id, addresses=((net.subnets[0].id, "10.77.0.99"),))
        await carry(driver, 2, net, one, moved)
        assert (await second.dhcp(b.directory))["ip"] == "10.77.0.99"

    run(body)


def test_stranger_on_the_segment_is_not_served_and_a_bad_option_keeps_nobody_from_an_address() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(102, subnet("10.77.0.0/24", "10.77.0.1"))
        good, bad = port(net, 11), port(net, 12, dhcp_options=(("router", "nonsense"),))
        done = await driver.carry_out(wanted(1, net, good, bad))
        assert "DHCP options are left out" in done.failures[net.id]
        assert done.up == tuple(sorted((good.id, bad.id)))
        assert (await driver.carry_out(wanted(1, net, good, bad))) == done
        guest = await b.guest(driver, good)
        assert (await guest.dhcp(b.directory))["ip"] == "10.77.0.11"
        await guest.run("ip", "link", "set", "dev", "eth0", "address", "52:54:00:99:99:99")
        assert await guest.dhcp(b.directory) == {}

    run(body)


# -- rules ----------------------------------------------------------------------------------------------------------------


def test_rules_let_through_what_they_name_and_take_effect_at_once_both_ways() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(103, subnet("10.77.0.0/24"))
        server, client = port(net, 11, rules=ANY_OUT), port(net, 12, rules=ANY_OUT)
        await carry(driver, 1, net, server, client)
        far, near = await with_address(b, driver, server), await with_address(b, driver, client)
        async with serving(far, 80), serving(far, 81):
            assert not await near.pings("10.77.0.11")
            assert await calls(near, "10.77.0.11", 80) == ""
            opened = port(net, 11, id=server.id, rules=(*ANY_OUT, WEB, PING))
            await carry(driver, 2, net, opened, client)
            assert await near.pings("10.77.0.11")
            assert await calls(near, "10.77.0.11", 80) == "10.77.0.12"
            assert await calls(near, "10.77.0.11", 81) == ""
            assert not await far.pings("10.77.0.12")  # its own rules let nobody in; the answers above were let out
            only = WantedRule("ingress", 4, "tcp", 80, 80, ("10.77.0.13/32",))
            await carry(driver, 3, net, port(net, 11, id=server.id, rules=(*ANY_OUT, only)), client)
            assert await calls(near, "10.77.0.11", 80) == ""
            await carry(driver, 4, net, port(net, 11, id=server.id, rules=(WEB,)), client)
            assert await calls(near, "10.77.0.11", 80) == "10.77.0.12"  # answers need no rule
            await carry(driver, 5, net, opened, port(net, 12, id=client.id, rules=()))
            assert await calls(near, "10.77.0.11", 80) == ""  # nothing goes out without a rule

    run(body)


def test_rule_that_is_taken_away_ends_connections_that_are_open() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(104, subnet("10.77.0.0/24"))
        server, client = port(net, 11, rules=(*ANY_OUT, WEB)), port(net, 12)
        await carry(driver, 1, net, server, client)
        far, near = await with_address(b, driver, server), await with_address(b, driver, client)
        code = (
            "import socket, sys\nh = socket.create_connection((sys.argv[1], 80), 5)\nh.recv(100)\n"
            "for line in sys.stdin:\n h.sendall(b'x')\n try:\n  print(h.recv(9).decode(), flush=True)\n except TimeoutError:\n  print('-', flush=True)"
        )
        async with serving(far, 80):
            held = await asyncio.create_subprocess_exec(
                "ip", "netns", "exec", near.name, sys.executable, "-S", "-c", code, "10.77.0.11",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert held.stdin is not None
            assert held.stdout is not None

            async def says() -> str:
                held.stdin.write(b"\n")  # type: ignore[union-attr] # it is there, see above
                return (await held.stdout.readline()).decode().strip()  # type: ignore[union-attr]

            try:
                assert await says() == "x"
                more = port(net, 11, id=server.id, rules=(*ANY_OUT, WEB, PING))
                await carry(driver, 2, net, more, client)
                assert await says() == "x"  # other rules leave it alone
                await carry(driver, 3, net, port(net, 11, id=server.id, rules=ANY_OUT), client)
                assert await says() == "-"
            finally:
                held.kill()
                await held.communicate()

    run(body)


def test_rules_of_version_6_hold_and_neighbours_are_found_without_any() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(105, subnet("2001:db8:5::/64"))
        server, client = port(net, 0x11, rules=ANY_OUT), port(net, 0x12)
        await carry(driver, 1, net, server, client)
        far, near = await with_address(b, driver, server), await with_address(b, driver, client)
        async with serving(far, 80):
            assert not await near.pings("2001:db8:5::11", "-6")
        ping = WantedRule("ingress", 6, "icmp", 128, 0, ("2001:db8:5::/64",))
        await carry(driver, 2, net, port(net, 0x11, id=server.id, rules=(*ANY_OUT, ping)), client)
        assert await near.pings("2001:db8:5::11", "-6")

    run(body)


def test_port_without_security_has_no_rules() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(106, subnet("10.77.0.0/24"))
        open_, client = port(net, 11, secured=False, rules=()), port(net, 12)
        await carry(driver, 1, net, open_, client)
        far, near = await with_address(b, driver, open_), await with_address(b, driver, client)
        assert await near.pings("10.77.0.11")
        await far.run("ip", "addr", "add", "10.77.0.200/24", "dev", "eth0")
        assert await near.pings("10.77.0.200")
        down = port(net, 11, id=open_.id, secured=False, up=False)
        assert (await carry(driver, 2, net, down, client)).up == (client.id,)
        assert not await near.pings("10.77.0.11")

    run(body)


# -- forged packets -------------------------------------------------------------------------------------------------------


def test_forged_packets_of_all_kinds_reach_nobody() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(107, subnet("10.77.0.0/24"), subnet("2001:db8:7::/64"))
        liar, other = port(net, 0x11), port(net, 0x12, secured=False)
        await carry(driver, 1, net, liar, other)
        bad, seer = await with_address(b, driver, liar), await with_address(b, driver, other)
        own, them, all_ = liar.mac.replace(":", ""), other.mac.replace(":", ""), "f" * 12
        good = "10.77.0.17", "2001:db8:7::11"
        forged = {
            "source address": ip4(them, own, "10.77.0.99", "10.77.0.18"),
            "hardware address": ip4(them, "525400990000", good[0], "10.77.0.18"),
            "ARP for another address": arp(all_, own, own, "10.77.0.1"),
            "ARP with another's hardware address": arp(all_, own, "525400990000", good[0]),
            "DHCP server's answer": ip4(them, own, good[0], "10.77.0.18", udp=(67, 68)),
            "address of version 6": ip6(them, own, "2001:db8:7::99", "2001:db8:7::12"),
            "router advertisement": ip6("333300000001", own, str(values.link_local(liar.mac)), "ff02::1", icmp=134),
            "redirect": ip6(them, own, str(values.link_local(liar.mac)), "2001:db8:7::12", icmp=137),
            "neighbour advertisement": ip6(them, own, good[1], "2001:db8:7::12", icmp=136, target="2001:db8:7::1"),
            "DHCPv6 server's answer": ip6(them, own, good[1], "2001:db8:7::12", udp=(547, 546)),
            "tagged for a VLAN": them + own + "81000001" + ip4(them, own, "10.77.0.99", "10.77.0.18")[24:],
            "neither ARP nor IP": them + own + "88cc" + "00" * 46,
        }
        honest = {
            "honest": ip4(them, own, good[0], "10.77.0.18"),
            "honest ARP": arp(all_, own, own, good[0]),
            "honest version 6": ip6(them, own, good[1], "2001:db8:7::12"),
            "honest advertisement": ip6(them, own, good[1], "2001:db8:7::12", icmp=136, target=good[1]),
        }
        frames = {**forged, **honest}
        async with sniffing(seer, all_packets=True) as sniffed:
            await bad.run(sys.executable, "-S", "-c", SEND, *frames.values())
            await bad.pings("10.77.0.18")
            seen = await sniffed()
        assert [name for name, frame in honest.items() if frame not in seen] == []
        assert [name for name, frame in forged.items() if frame in seen] == []

    run(body)


def test_allowed_pairs_may_be_sent_from() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(108, subnet("10.77.0.0/24"))
        pair = port(net, 11, pairs=(("", "10.77.0.200/32"), ("00:00:5e:00:01:07", "10.77.0.201/32")))
        other = port(net, 12)
        await carry(driver, 1, net, pair, other)
        one, two = await with_address(b, driver, pair), await with_address(b, driver, other)
        await one.run("ip", "addr", "add", "10.77.0.200/24", "dev", "eth0")
        assert await two.pings("10.77.0.200")
        assert await one.pings("10.77.0.12", "-I", "10.77.0.200")
        await one.run("ip", "addr", "add", "10.77.0.202/24", "dev", "eth0")
        assert not await one.pings("10.77.0.12", "-I", "10.77.0.202")

    run(body)


# -- routers, floating addresses, the way out -------------------------------------------------------------------------------


def test_router_joins_networks_and_goes_down_and_away() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        left, right = network(109, subnet("10.77.1.0/24", "10.77.1.1")), network(110, subnet("10.77.2.0/24", "10.77.2.1"))
        one, two = port(left, 11), port(right, 12)
        ends = (interface(left, 1, "fa:16:3e:00:00:01"), interface(right, 1, "fa:16:3e:00:00:02"))
        router = WantedRouter(new_id(), 111, ends)
        await carry(driver, 1, left, right, one, two, router)
        near = await with_address(b, driver, one, "10.77.1.1")
        far = await with_address(b, driver, two, "10.77.2.1")
        assert await near.pings("10.77.2.12")
        assert await far.pings("10.77.1.11")
        await far.run("ip", "addr", "add", "10.99.0.1/32", "dev", "lo")
        allowed = port(right, 12, id=two.id, pairs=(("", "10.99.0.0/16"),))
        routed = WantedRouter(router.id, 111, ends, routes=(("10.99.0.0/16", "10.77.2.12"),))
        await carry(driver, 2, left, right, one, allowed, routed)
        assert await near.pings("10.99.0.1")
        await carry(driver, 3, left, right, one, allowed, router)
        assert not await near.pings("10.99.0.1")
        await carry(driver, 4, left, right, one, allowed, WantedRouter(router.id, 111, ends, up=False))
        assert not await near.pings("10.77.2.12")
        await carry(driver, 5, left, right, one, allowed, router)
        assert await near.pings("10.77.2.12")
        await carry(driver, 6, left, right, one, allowed)
        assert not await near.pings("10.77.2.12")
        assert not any("-r111" in name for name in namespaces.listed("/run/netns") if b.mark in name)

    run(body)


def outside(number: int) -> WantedNetwork:
    """An external network of addresses that are for documents."""
    return network(number, subnet("198.51.100.0/24", "198.51.100.1"), external=True)


def test_floating_addresses_lead_in_from_the_host_and_out_by_themselves() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        inside, ext = network(112, subnet("10.77.0.0/24", "10.77.0.1")), outside(113)
        one, two = port(inside, 11, rules=(*ANY_OUT, PING, WEB)), port(inside, 12, rules=(*ANY_OUT, PING, WEB))
        world_ = port(ext, 50, rules=(*ANY_OUT, PING, WEB))
        ends = (interface(inside, 1, "fa:16:3e:00:00:01"),)
        gateway = interface(ext, 2, "fa:16:3e:00:00:03")

        def router(**more: object) -> WantedRouter:
            return WantedRouter("router", 114, ends, gateway, **more)  # type: ignore[arg-type]

        floating = (WantedFloating("198.51.100.9", "10.77.0.11", inside.id), WantedFloating("198.51.100.8", "10.77.0.12", inside.id))
        await carry(driver, 1, inside, ext, one, two, world_, router())
        near, other = await with_address(b, driver, one, "10.77.0.1"), await with_address(b, driver, two, "10.77.0.1")
        far = await with_address(b, driver, world_, "198.51.100.1")
        async with serving(far, 80), serving(near, 80), serving(other, 80):
            assert await calls(near, "198.51.100.50", 80) == "198.51.100.2"  # SNAT
            assert await calls(far, "198.51.100.9", 80) == ""
            await carry(driver, 2, inside, ext, one, two, world_, router(floating=floating))
            assert await calls(far, "198.51.100.9", 80) == "198.51.100.50"
            assert await calls(near, "198.51.100.50", 80) == "198.51.100.9"
            assert await calls(near, "198.51.100.8", 80) == "198.51.100.9"  # from guest to guest, outside in
            assert await calls(near, "198.51.100.9", 80) == "198.51.100.9"  # itself
            assert await host_calls("198.51.100.9", 80) == "198.51.100.1"
            assert await host_calls("198.51.100.50", 80) == "198.51.100.1"
            assert await host_calls("198.51.100.50", 81) == ""
            await carry(driver, 3, inside, ext, one, two, world_, router(floating=floating[1:], snat=False))
            assert await calls(far, "198.51.100.9", 80, patience_s=1) == ""
            assert await host_calls("198.51.100.8", 80) == "198.51.100.1"
            # The host is no way out where that was not asked for, and answers nothing of its own accord.
            assert namespaces.value("net/ipv4/ip_forward") in ("0", "1")
            host = next(iter(driver._plan.host.links)).addresses
            assert not await near.pings(next(iter(host)).partition("/")[0])

    run(body)


def test_guests_of_an_external_network_reach_no_other_by_its_gateway_without_a_rule() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        ext = outside(128)
        one, two = port(ext, 50), port(ext, 51, rules=ANY_OUT, pairs=(("", "198.51.100.60/32"),))
        await carry(driver, 1, ext, one, two)
        near, far = await with_address(b, driver, one), await with_address(b, driver, two)
        await far.run("ip", "addr", "add", "198.51.100.60/24", "dev", "eth0")
        for address in ("198.51.100.51", "198.51.100.60"):
            await near.run("ip", "route", "add", f"{address}/32", "via", "198.51.100.1", "dev", "eth0")
            assert not await near.pings(address)
        await carry(driver, 2, ext, one, port(ext, 51, id=two.id, rules=(*ANY_OUT, PING), pairs=two.pairs))
        assert await near.pings("198.51.100.51")
        assert await near.pings("198.51.100.60")
        await near.run("ip", "route", "del", "198.51.100.60/32")
        assert await near.pings("198.51.100.60")
        await carry(driver, 3, ext, port(ext, 50, id=one.id, rules=()), port(ext, 51, id=two.id, rules=(*ANY_OUT, PING)))
        assert not await near.pings("198.51.100.51")

    run(body)


def test_allowed_pairs_behind_a_gateway_are_reached_as_the_rules_of_who_has_them_say() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        inside = network(136, subnet("10.77.0.0/24", "10.77.0.1"))
        ext = network(137, subnet("198.51.100.0/24", "198.51.100.1"), subnet("203.0.113.0/24", "203.0.113.1"), external=True)
        gateway = interface(ext, 2, "fa:16:3e:00:00:03")
        router = WantedRouter("router", 138, (interface(inside, 1, "fa:16:3e:00:00:01"),), gateway)
        pairs = (("", "203.0.113.60/32"),)
        one, open_ = port(inside, 11), port(ext, 52, secured=False)
        closed, other = port(ext, 50, rules=ANY_OUT, pairs=pairs), port(ext, 51, rules=(*ANY_OUT, PING, WEB))
        await carry(driver, 1, inside, ext, one, open_, closed, other, router)
        behind, free = await with_address(b, driver, one, "10.77.0.1"), await with_address(b, driver, open_)
        has, stranger = await with_address(b, driver, closed, "198.51.100.1"), await with_address(b, driver, other)
        for guest in (has, stranger):
            await guest.run("ip", "addr", "add", "203.0.113.60/32", "dev", "eth0")
        for guest in (free, stranger):
            await guest.run("ip", "route", "del", "203.0.113.0/24")
            await guest.run("ip", "route", "replace", "203.0.113.0/24", "via", "198.51.100.1")
        # The other's rules would let it through, but the address is not its own: who has it lets nothing in.
        for guest in (behind, free):
            assert not await guest.pings("203.0.113.60")
        assert await has.pings("198.51.100.2", "-I", "203.0.113.60")  # what it asks for itself is answered
        let_in = port(
            ext, 50, id=closed.id, rules=(*ANY_OUT, PING, WantedRule("ingress", 4, "tcp", 80, 80, ("198.51.100.2/32",))), pairs=pairs
        )
        await carry(driver, 2, inside, ext, one, open_, let_in, other, router)
        for guest in (behind, free):
            assert await guest.pings("203.0.113.60")
        async with serving(has, 80), serving(has, 81):
            assert await calls(behind, "203.0.113.60", 80) == "198.51.100.2"
            assert await calls(behind, "203.0.113.60", 81) == ""
            assert await calls(free, "203.0.113.60", 80) == ""
        await carry(driver, 3, inside, ext, one, open_, closed, other, router)
        assert not await behind.pings("203.0.113.60")

    run(body)


def test_guests_go_out_through_the_host_where_it_lets_them_and_it_is_left_as_it_was() -> None:
    async def body(b: Bench) -> None:
        before = namespaces.value("net/ipv4/ip_forward")
        tables = (await commands.run("nft", "list", "tables")).stdout
        driver = await b.driver(outbound=True)
        inside, ext = network(115, subnet("10.77.0.0/24", "10.77.0.1")), outside(116)
        one = port(inside, 11)
        ends = (interface(inside, 1, "fa:16:3e:00:00:01"),)
        router = WantedRouter(new_id(), 117, ends, interface(ext, 2, "fa:16:3e:00:00:03"))
        # "The world": one more namespace behind the host.
        name = f"guest-{b.mark}-world"
        link = f"w{b.mark}"
        await commands.run("ip", "netns", "add", name)
        try:
            lines = [
                f"link add name {link} type veth peer name eth0 netns {name}",
                f"addr add 203.0.113.1/24 dev {link}",
                f"link set dev {link} up",
            ]
            assert await kernel.batch("", lines) == []
            assert await kernel.batch(name, ["link set dev lo up", "addr add 203.0.113.2/24 dev eth0", "link set dev eth0 up"]) == []
            far = Guest(name, "")
            await carry(driver, 1, inside, ext, one, router)
            guest = await with_address(b, driver, one, "10.77.0.1")
            async with serving(far, 80):
                assert await calls(guest, "203.0.113.2", 80) == "203.0.113.1"  # under the host's address
                floating = (WantedFloating("198.51.100.9", "10.77.0.11", inside.id),)
                await carry(driver, 2, inside, ext, one, WantedRouter(router.id, 117, ends, router.gateway, floating=floating))
                assert await calls(guest, "203.0.113.2", 80) == "203.0.113.1"
            async with host_serving("203.0.113.1", 8099):
                assert await calls(guest, "203.0.113.1", 8099, patience_s=1) == ""  # the host itself is none of theirs
            await driver.clean_up()
            assert namespaces.value("net/ipv4/ip_forward") == before
            assert (await commands.run("nft", "list", "tables")).stdout == tables
        finally:
            await commands.run("ip", "netns", "del", name, check=False)

    run(body)


@asynccontextmanager
async def host_serving(address: str, number: int) -> AsyncIterator[None]:
    server = await asyncio.start_server(lambda _, writer: writer.write(b"host"), address, number)
    async with server:
        yield


# -- metadata ---------------------------------------------------------------------------------------------------------------


def test_guests_read_their_own_metadata_whatever_route_they_have() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net, same = network(118, subnet("10.77.0.0/24", "10.77.0.1")), network(119, subnet("10.77.0.0/24"))
        ports = [port(net, 11, server="s11"), port(net, 12, server="s12", secured=False), port(same, 11, server="t11")]
        for known in ports:
            b.metadata[known.server] = Metadata(known.server, known.server, metadata={"uuid": known.server}, user_data=b"#!/bin/sh")
        router = WantedRouter(new_id(), 120, (interface(net, 1, "fa:16:3e:00:00:01"),))
        await carry(driver, 1, net, same, router, *ports)
        url = "http://169.254.169.254/openstack/latest/meta_data.json"
        guests = [await b.guest(driver, known) for known in ports]
        for guest, known in zip(guests, ports, strict=True):
            await guest.dhcp(b.directory)
            assert json.loads((await guest.http(url)).text)["uuid"] == known.server
        first, unsecured, _ = guests
        await first.run("ip", "route", "del", "169.254.169.254/32")  # by the router, which knows nothing of it
        assert json.loads((await first.http(url)).text)["uuid"] == "s11"
        assert (await first.http("http://169.254.169.254/latest/meta-data/instance-id")).text == "i-s11"
        assert "403" in (await first.http("http://169.254.169.254/openstack/latest/password", "POST")).text
        await first.run("ip", "addr", "add", "10.77.0.13/24", "dev", "eth0")
        # A guest without port security may send as another, but cannot read what is the other's.
        await unsecured.run("ip", "addr", "flush", "dev", "eth0")
        await unsecured.set_address("10.77.0.11/24")
        await unsecured.run("ip", "route", "replace", "169.254.169.254/32", "dev", "eth0")
        assert "no answer" in (await unsecured.http(url)).text
        # Version 6: the address is known by the guest's hardware address alone.
        six = "http://[fe80::a9fe:a9fe%25eth0]/openstack/latest/user_data"
        code = (
            "import socket, sys\nh = socket.create_connection(('fe80::a9fe:a9fe%eth0', 80), 4)\n"
            "h.sendall(b'GET /openstack/latest/user_data HTTP/1.0\\r\\n\\r\\n')\nprint(h.makefile().read().rpartition('\\n\\n')[2])"
        )
        for _ in range(20):  # until the card's own address is no longer on trial
            done = await first.run(sys.executable, "-S", "-c", code)
            if done.code == 0:
                break
            await asyncio.sleep(0.2)
        assert done.text.strip() == "#!/bin/sh", six

    run(body)


# -- several hosts ------------------------------------------------------------------------------------------------------------


def test_networks_reach_over_hosts_by_tunnels_and_each_host_serves_its_own_guests() -> None:
    """Two hosts on one machine, told apart by the ports of their tunnels."""

    async def body(b: Bench) -> None:
        first, second = await b.driver("h1", "127.0.0.1:24811"), await b.driver("h2", "127.0.0.1:24812")
        net, apart = network(121, subnet("10.77.0.0/24", "10.77.0.1")), network(122, subnet("10.77.0.0/24", "10.77.0.1"))
        right = network(123, subnet("10.78.0.0/24", "10.78.0.1"))
        here, there = port(net, 11, "h1", server="here"), port(net, 12, "h2", server="there")
        other, behind = port(apart, 12, "h2"), port(right, 13, "h2")
        for known in (here, there):
            b.metadata[known.server] = Metadata(known.server, known.server, metadata={"uuid": known.server})
        router = WantedRouter(new_id(), 124, (interface(net, 1, "fa:16:3e:00:00:01"), interface(right, 1, "fa:16:3e:00:00:02")))
        all_ = (net, apart, right, here, there, other, behind)
        await carry(first, 1, *all_, router, peers=(("h2", "127.0.0.1:24812"),))
        await carry(second, 1, *all_, peers=(("h1", "127.0.0.1:24811"),))
        one, two = await b.guest(first, here), await b.guest(second, there)
        assert (await one.dhcp(b.directory))["ip"] == "10.77.0.11"
        assert (await two.dhcp(b.directory))["ip"] == "10.77.0.12"
        three = await with_address(b, second, behind, "10.78.0.1")
        assert await one.pings("10.77.0.12")
        assert await two.pings("10.77.0.11")
        assert await one.pings("10.78.0.13")  # through the router on its own host
        assert await three.pings("10.77.0.12")  # two guests of the other host, through the router on this one
        assert not await one.pings("10.77.0.99")
        url = "http://169.254.169.254/openstack/latest/meta_data.json"
        assert json.loads((await one.http(url)).text)["uuid"] == "here"
        assert json.loads((await two.http(url)).text)["uuid"] == "there"
        # The guest moves: its card is plugged in over there before the records say so, then here nothing is left of it.
        moved = port(net, 11, "h2", id=here.id, server="here")
        await second.plug(here.id, "here")
        await carry(second, 2, net, apart, right, moved, there, other, behind, peers=(("h1", "127.0.0.1:24811"),))
        await carry(first, 2, net, apart, right, moved, there, other, behind, router, peers=(("h2", "127.0.0.1:24812"),))
        await one.end()
        b.guests.remove(one)
        again = await b.guest(second, moved)
        assert (await again.dhcp(b.directory))["ip"] == "10.77.0.11"
        assert await again.pings("10.77.0.12")
        assert await again.pings("10.78.0.13")

    run(body)


# -- restarts, repair, cleaning up ----------------------------------------------------------------------------------------------


def test_restart_changes_nothing_and_what_strangers_break_is_mended() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver("h1", "127.0.0.1:24821")
        inside, ext = network(125, subnet("10.77.0.0/24", "10.77.0.1")), outside(126)
        one, two = port(inside, 11, rules=(*ANY_OUT, WEB, PING)), port(inside, 12)
        ends = (interface(inside, 1, "fa:16:3e:00:00:01"),)
        floating = (WantedFloating("198.51.100.9", "10.77.0.11", inside.id),)
        router = WantedRouter(new_id(), 127, ends, interface(ext, 2, "fa:16:3e:00:00:03"), floating=floating)
        parts = (inside, ext, one, two, router)
        await carry(driver, 1, *parts)
        far, near = await with_address(b, driver, one), await with_address(b, driver, two, "10.77.0.1")
        space = driver._site.names.network(125)
        before = await driver._servers.running()
        facts = await shown(driver)
        async with serving(far, 80):
            assert await calls(near, "10.77.0.11", 80) == "10.77.0.12"
            driver = await b.driver("h1", "127.0.0.1:24821")
            assert (await carry(driver, 2, *parts)).up == tuple(sorted((one.id, two.id)))
            assert await shown(driver) == facts
            assert await driver._servers.running() == before
            assert await calls(near, "10.77.0.11", 80) == "10.77.0.12"
            b.metadata["server-12"] = Metadata("server-12", "x", metadata={"uuid": "again"})
            await near.dhcp(b.directory)
            assert "again" in (await near.http("http://169.254.169.254/openstack/latest/meta_data.json")).text
        # Somebody breaks things: rules gone, an address, a device, dnsmasq, a route, a stranger's device, then a whole namespace.
        await commands.run("ip", "netns", "exec", space, "nft", "flush", "ruleset")
        lines = ["addr del 169.254.169.254/32 dev br0", "link set dev vx0 down", "link add name stray type bridge"]
        assert await kernel.batch(space, lines) == []
        assert await kernel.batch(driver._site.names.router(127), ["route del default"]) == []
        for processes in (await driver._servers.running()).values():
            for process in processes:
                await commands.end(process)
        driver = await b.driver("h1", "127.0.0.1:24821")
        await carry(driver, 3, *parts)
        assert {k: v for k, v in (await shown(driver)).items() if "rules" not in k} == {k: v for k, v in facts.items() if "rules" not in k}
        assert (await near.dhcp(b.directory))["ip"] == "10.77.0.12"
        await commands.run("ip", "netns", "del", driver._site.names.router(127))
        await carry(driver, 4, *parts)
        async with serving(far, 80):
            assert await host_calls("198.51.100.9", 80) == ""  # the guest has no route back yet
            await far.run("ip", "route", "replace", "default", "via", "10.77.0.1")
            assert await host_calls("198.51.100.9", 80) == "198.51.100.1"

    run(body)


async def shown(driver: NetnsDriver) -> dict[str, str]:
    """All that is there, but for counters and what devices find out by themselves."""
    found = {}
    for name in driver._plan.spaces:
        seen = await kernel.look(name, tunnel_port=24821)
        links = sorted((link.name, link.kind, link.mtu, link.master, link.up, *sorted(link.addresses)) for link in seen.links.values())
        found[name] = repr((links, sorted(map(repr, seen.routes)), sorted(seen.neighbours), sorted(seen.forwards)))
        found[f"{name} rules"] = repr(sorted(await kernel.stamps(name)))
    return found


def test_what_is_wanted_no_more_goes_and_what_is_not_ours_stays() -> None:
    async def body(b: Bench) -> None:
        one, two = await b.driver("h1"), await b.driver("h2")
        net = network(128, subnet("10.77.0.0/24", "10.77.0.1"))
        await carry(one, 1, net, port(net, 11, "h1"))
        await carry(two, 1, net, port(net, 12, "h2"))
        mine, other = one._site.names.network(128), two._site.names.network(128)
        await carry(one, 2)
        assert mine not in namespaces.listed("/run/netns")
        assert other in namespaces.listed("/run/netns")
        assert len(await two._servers.running()) == 1
        await carry(one, 3, net, port(net, 11, "h1"))
        await one.clean_up()
        await one.clean_up()
        assert [name for name in namespaces.listed("/run/netns") if b.mark in name] == [other]
        assert await one._servers.running() == {}

    run(body)


def test_carrying_out_that_is_cut_off_anywhere_is_completed_by_the_next() -> None:
    async def body(b: Bench) -> None:
        inside, ext = network(131, subnet("10.77.0.0/24", "10.77.0.1")), outside(132)
        ends = (interface(inside, 1, "fa:16:3e:00:00:01"),)
        one, two = port(inside, 11), port(inside, 12)
        router = WantedRouter(new_id(), 133, ends, interface(ext, 2, "fa:16:3e:00:00:03"))
        parts = (inside, ext, one, two, router)
        facts: dict[str, str] = {}
        for part in range(8):
            driver = await b.driver("h1", "127.0.0.1:24831")
            task = asyncio.ensure_future(driver.carry_out(wanted(1, *parts, peers=(("h2", "127.0.0.1:24832"),))))
            await asyncio.wait([task], timeout=part * 0.06)
            task.cancel()
            await asyncio.wait([task])
            driver = await b.driver("h1", "127.0.0.1:24831")
            assert len((await carry(driver, 1, *parts, peers=(("h2", "127.0.0.1:24832"),))).up) == 2
            facts = facts or await shown(driver)
            assert await shown(driver) == facts
            assert len(await driver._servers.running()) == 2
            if part % 2:
                await driver.clean_up()

    run(body)


def test_namespace_that_a_stranger_removed_is_made_and_served_anew() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(139, subnet("10.77.0.0/24"))
        await carry(driver, 1, net, port(net, 11))
        space = driver._site.names.network(139)
        await commands.run("ip", "netns", "del", space)  # dnsmasq lives on in what is no one's any more
        await carry(driver, 2, net, port(net, 11))
        pids = (await commands.run("ip", "netns", "pids", space)).stdout.split()
        assert [Path(f"/proc/{pid.decode()}/comm").read_text() for pid in pids] == ["dnsmasq\n"]
        assert len(await driver._servers.running()) == 1

    run(body)


def test_what_serves_a_namespace_that_a_stranger_removed_ends_when_it_is_wanted_no_more() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net, other = network(141, subnet("10.77.0.0/24")), network(142, subnet("10.78.0.0/24"))
        await carry(driver, 1, net, port(net, 11))
        assert len(await driver._servers.running()) == 1
        await commands.run("ip", "netns", "del", driver._site.names.network(141))
        await carry(driver, 2, other)
        assert [file.split(".")[0] for file in await driver._servers.running()] == [driver._site.names.network(142)]

    run(body)


def test_card_of_a_guest_that_was_found_again_stays_where_the_records_have_it_elsewhere() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(140, subnet("10.77.0.0/24"))
        one, comes = port(net, 11), port(net, 12)
        await carry(driver, 1, net, one, comes)
        near, far = await with_address(b, driver, one), await with_address(b, driver, comes)
        assert await near.pings("10.77.0.12")
        driver = await b.driver()
        driver.hold(comes.id)  # it has come, and the records do not say so yet
        await carry(driver, 2, net, one, port(net, 12, "h2", id=comes.id))
        assert await near.pings("10.77.0.12")
        await carry(driver, 3, net, one, comes)
        assert await far.pings("10.77.0.11")
        await carry(driver, 4, net, one, port(net, 12, "h2", id=comes.id))
        await driver.unplug(comes.id)
        assert not await near.pings("10.77.0.12")

    run(body)


def test_namespace_that_was_left_half_made_is_made_anew() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(141, subnet("10.77.0.0/24"))
        Path("/run/netns", driver._site.names.network(141)).touch()
        assert len((await carry(driver, 1, net, port(net, 11))).up) == 1

    run(body)


def test_one_thing_that_cannot_be_does_not_keep_the_rest_from_being() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        left, right = network(134, subnet("10.77.1.0/24", "10.77.1.1")), network(135, subnet("10.77.2.0/24", "10.77.2.1"))
        one, two = port(left, 11), port(right, 12)
        bad = port(right, 13, mac="ff:ff:ff:ff:ff:ff")
        ends = (interface(left, 1, "fa:16:3e:00:00:01"), interface(right, 1, "fa:16:3e:00:00:02"))
        router = WantedRouter(new_id(), 136, ends, routes=(("10.99.0.0/16", "192.0.2.200"),))  # a next hop that is nowhere
        done = await driver.carry_out(wanted(1, left, right, one, two, bad, router))
        assert set(done.failures) == {bad.id, router.id}
        assert "10.99.0.0/16" in done.failures[router.id]
        assert done.up == tuple(sorted((one.id, two.id)))
        near, far = await with_address(b, driver, one, "10.77.1.1"), await with_address(b, driver, two, "10.77.2.1")
        assert await near.pings("10.77.2.12")
        assert await far.pings("10.77.1.11")
        with pytest.raises(commands.CommandFailed, match="hardware address"):
            await driver.plug(bad.id, "s")
        # The other end of what was broken is put right too, though nothing of its own was.
        await commands.run(
            "ip",
            "-n",
            driver._site.names.router(136),
            "link",
            "del",
            next(iter(driver._plan.spaces[driver._site.names.router(136)].links)).name,
        )
        assert set((await driver.carry_out(wanted(2, left, right, one, two, router))).failures) == {router.id}
        assert await near.pings("10.77.2.12")

    run(body)


def test_guests_of_version_6_are_told_their_addresses_and_their_router() -> None:
    async def body(b: Bench) -> None:
        driver = await b.driver()
        own = network(137, subnet("2001:db8:a::/64", "2001:db8:a::1", ra_mode="slaac", address_mode="slaac"))
        given = network(
            138,
            subnet("2001:db8:b::/64", "2001:db8:b::1", ra_mode="dhcpv6-stateful", address_mode="dhcpv6-stateful", dns=("2001:db8::53",)),
        )
        pings = (*ANY_OUT, WantedRule("ingress", 6, "icmp"))
        mac = "52:54:00:00:00:a1"
        auto = str(values.cidr("2001:db8:a::/64").network_address + (int(values.link_local(mac)) & (2**64 - 1)))
        one = port(own, 0x11, mac=mac, rules=pings, addresses=((own.subnets[0].id, auto),))
        two = port(given, 0x12, rules=pings)
        ends = (interface(own, 1, "fa:16:3e:00:00:01"), interface(given, 1, "fa:16:3e:00:00:02"))
        await carry(driver, 1, own, given, one, two, WantedRouter(new_id(), 139, ends))
        near, far = await b.guest(driver, one), await b.guest(driver, two)
        assert await has_address(near, auto)
        # Not the client's own script: that writes /etc/resolv.conf, which is this machine's.
        script = b.directory / "leased.sh"
        script.write_text('#!/bin/sh\n[ -z "$new_ip6_address" ] || ip -6 addr replace "$new_ip6_address/64" dev "$interface" nodad\n')
        script.chmod(0o755)
        client = asyncio.ensure_future(far.run(
            "timeout", "40", "dhclient", "-6", "-1", "-d", "-sf", str(script), "-lf", f"{b.directory}/leases", "-pf", f"{b.directory}/pid",
            "-cf", "/dev/null", "eth0", timeout_s=60,
        ))  # fmt: skip
        assert await has_address(far, "2001:db8:b::12")
        assert "2001:db8::53" in (b.directory / "leases").read_text()
        for _ in range(50):
            if await near.pings("2001:db8:b::12", "-6"):
                break
        else:
            pytest.fail("no way through the router")
        for pid in (await commands.run("ip", "netns", "pids", far.name)).stdout.split():
            if (process := commands.running(int(pid))) is not None:
                await commands.end(process)
        await client

    run(body)


async def has_address(guest: Guest, address: str) -> bool:
    for _ in range(100):
        shown_ = (await guest.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global")).text
        if address in shown_ and "tentative" not in shown_:
            return True
        await asyncio.sleep(0.2)
    return False


# -- frames -------------------------------------------------------------------------------------------------------------------


def _sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[n : n + 2].ljust(2, b"\0"), "big") for n in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ip4(to: str, source: str, address: str, target: str, *, udp: tuple[int, int] = (4000, 4001)) -> str:
    body = udp[0].to_bytes(2, "big") + udp[1].to_bytes(2, "big") + (28).to_bytes(2, "big") + bytes(2) + b"x" * 20
    head = bytearray(bytes.fromhex("4500") + (20 + len(body)).to_bytes(2, "big") + bytes.fromhex("0001000040110000"))
    head += values.address(address).packed + values.address(target).packed
    head[10:12] = _sum(head).to_bytes(2, "big")
    return to + source + "0800" + (bytes(head) + body).hex()


def ip6(to: str, source: str, address: str, target_: str, *, udp: tuple[int, int] = (4000, 4001), icmp: int = 0, target: str = "::") -> str:
    there = values.address(address).packed + values.address(target_).packed
    if icmp:
        body = bytearray([icmp, 0, 0, 0, 0, 0, 0, 0]) + values.address(target).packed
        body[2:4] = _sum(there + len(body).to_bytes(4, "big") + bytes([0, 0, 0, 58]) + body).to_bytes(2, "big")
    else:
        body = bytearray(udp[0].to_bytes(2, "big") + udp[1].to_bytes(2, "big") + (12).to_bytes(2, "big") + bytes(2) + b"xxxx")
        body[6:8] = _sum(there + len(body).to_bytes(4, "big") + bytes([0, 0, 0, 17]) + body).to_bytes(2, "big")
    head = bytes.fromhex("60000000") + len(body).to_bytes(2, "big") + bytes([58 if icmp else 17, 255]) + there
    return to + source + "86dd" + (head + bytes(body)).hex()


def arp(to: str, source: str, sender: str, address: str) -> str:
    own = values.address(address).packed.hex()
    return to + source + "0806" + "0001080006040001" + sender + own + "000000000000" + own


SNIFF = """
import select, socket, sys
held = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
held.bind(("eth0", 3))
held.setsockopt(263, 1, (socket.if_nametoindex("eth0")).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes(10))
print("up", flush=True)
while sys.stdin not in select.select([held, sys.stdin], [], [])[0]:
    print(held.recv(2000).hex(), flush=True)
while select.select([held], [], [], 0.3)[0]:
    print(held.recv(2000).hex(), flush=True)
"""


@asynccontextmanager
async def sniffing(guest: Guest, *, all_packets: bool) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
    """All frames that come to a guest's card, whoever they are for."""
    assert all_packets
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", guest.name, sys.executable, "-S", "-c", SNIFF, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"

    async def seen() -> set[str]:
        output, _ = await process.communicate(b"\n")
        return set(output.decode().split())

    try:
        yield seen
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


# -- QEMU ---------------------------------------------------------------------------------------------------------------------

NETBOOT = "/usr/lib/ipxe/qemu/pxe-virtio.rom"


def test_card_of_a_real_qemu_gets_its_address_through_the_taps_descriptor() -> None:
    """The guest is the boot program of QEMU's own network card, which asks for an address and says which it got."""
    if missing := packages.install(
        ["qemu-system-x86", "ipxe-qemu"], lambda: shutil.which("qemu-system-x86_64") is not None and Path(NETBOOT).exists()
    ):
        pytest.skip(missing)

    async def body(b: Bench) -> None:
        driver = await b.driver()
        net = network(142, subnet("10.77.0.0/24", "10.77.0.1"))
        card = port(net, 11)
        await carry(driver, 1, net, card)
        tap = await driver.plug(card.id, card.server)
        descriptor = await driver.open_tap(tap)
        with pytest.raises(OSError, match="busy"):
            await driver.open_tap(tap)  # one QEMU at a time
        process = await asyncio.create_subprocess_exec(
            "qemu-system-x86_64", "-nographic", "-m", "64", "-net", "none", "-netdev", f"tap,fd={descriptor},id=n0",
            "-device", f"virtio-net-pci,netdev=n0,mac={card.mac}", "-boot", "n", "-monitor", "none", "-serial", "stdio", "-accel", "tcg",
            pass_fds=(descriptor,), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        os.close(descriptor)
        assert process.stdout is not None
        said = b""
        try:
            async with asyncio.timeout(150):
                while b"net0: 10.77.0.11" not in said and (more := await process.stdout.read(1000)):
                    said += more
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        assert b"net0: 10.77.0.11" in said, said.decode(errors="replace")

    run(body)


# -- without privileges -------------------------------------------------------------------------------------------------------


def test_qemu_takes_what_the_driver_without_privileges_tells_it() -> None:
    if missing := packages.install(["qemu-system-x86"], lambda: shutil.which("qemu-system-x86_64") is not None):
        pytest.skip(missing)

    async def body() -> str:
        driver = UserDriver("h1", free_port)
        net = network(130, subnet("10.77.0.0/24", "10.77.0.1"))
        card = port(net, 11, rules=(WEB, WantedRule("ingress", 4, "udp", 53, 54)))
        await driver.carry_out(wanted(1, net, card))
        plugged = await driver.plug(card.id, card.server)
        done = await commands.run(
            "qemu-system-x86_64", "-machine", "none", "-display", "none", "-monitor", "stdio", "-netdev", f"{plugged.netdev},id=n0",
            stdin=b"info usernet\nquit\n",
        )  # fmt: skip
        assert [f.guest_port for f in plugged.forwards] == [80, 53, 54]
        return done.stdout.decode() + done.stderr

    said = asyncio.run(body())
    assert said.count("HOST_FORWARD") == 3
    assert "10.77.0.11" in said
