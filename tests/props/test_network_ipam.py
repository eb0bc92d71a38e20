"""Addresses of ports under whatever is asked at once: nobody has another's, everybody's is of his subnet, and what is there is given out."""

import asyncio
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from objstore.services.network.addresses import fixed_of
from objstore.services.network.records import Tx, Who, by_id, rows
from objstore.services.network.tables import ADDRESSES, PORTS, SUBNETS
from tests.support.network_rig import ALICE, NetworkApi, NetworkRig, on_network_api, on_network_rig

CIDRS = ("10.0.0.0/29", "10.0.0.8/30", "10.0.0.16/28", "10.0.0.24/29", "2001:db8::/64", "2001:db8:1::/120")
STEP = st.one_of(
    st.tuples(st.just("port"), st.none()),
    st.tuples(st.just("at"), st.integers(0, 40)),
    st.tuples(st.just("two"), st.integers(0, 5)),
    st.tuples(st.just("move"), st.integers(0, 40)),
    st.tuples(st.just("drop"), st.integers(0, 8)),
    st.tuples(st.just("subnet"), st.integers(0, len(CIDRS) - 1)),
    st.tuples(st.just("unsubnet"), st.integers(0, len(CIDRS) - 1)),
)


async def step(api: NetworkApi, network: str, kind: str, number: int | None) -> int:
    """One request; its status."""
    listed = (await api.ask("GET", f"/ports?network_id={network}")).body["ports"]
    port = listed[(number or 0) % len(listed)]["id"] if listed else "none"
    subnets = (await api.ask("GET", f"/subnets?network_id={network}")).body["subnets"]
    some: dict[str, Any] = {"ip_address": f"10.0.0.{number}"}
    if kind == "port":
        reply = await api.ask("POST", "/ports", {"port": {"network_id": network}})
    elif kind == "at":
        reply = await api.ask("POST", "/ports", {"port": {"network_id": network, "fixed_ips": [some]}})
    elif kind == "two":
        fixed = [{"subnet_id": subnets[(number or 0) % len(subnets)]["id"]} for _ in range(2)] if subnets else []
        reply = await api.ask("POST", "/ports", {"port": {"network_id": network, "fixed_ips": fixed}})
    elif kind == "move":
        reply = await api.ask("PUT", f"/ports/{port}", {"port": {"fixed_ips": [some]}})
    elif kind == "drop":
        reply = await api.ask("DELETE", f"/ports/{port}")
    elif kind == "subnet":
        cidr = CIDRS[number or 0]
        slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"} if cidr.endswith("/64") else {}
        body = {"network_id": network, "cidr": cidr, "ip_version": 6 if ":" in cidr else 4, **slaac}
        reply = await api.ask("POST", "/subnets", {"subnet": body})
    else:
        one = subnets[(number or 0) % len(subnets)]["id"] if subnets else "none"
        reply = await api.ask("DELETE", f"/subnets/{one}")
    return reply.status


def check(tx: Tx) -> None:
    """What holds whatever was asked."""
    found = tx.connection.execute(select(ADDRESSES)).all()
    assert max(Counter((row.network, ip_address(row.address)) for row in found).values(), default=0) <= 1
    subnets = by_id(tx, SUBNETS, [row.subnet for row in found])
    ports = by_id(tx, PORTS, [row.port for row in found])
    for row in found:
        assert row.port in ports, "an address without a port"
        assert ip_address(row.address) in ip_network(subnets[row.subnet]["cidr"])
    cidrs = [ip_network(subnet["cidr"]) for subnet in rows(tx, SUBNETS)]
    for at, one in enumerate(cidrs):
        assert not any(one.version == other.version and one.overlaps(other) for other in cidrs[:at])
    macs = Counter((port["network_id"], port["mac_address"]) for port in rows(tx, PORTS))
    assert max(macs.values(), default=0) <= 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(STEP, min_size=1, max_size=6), min_size=1, max_size=5))
def test_nobody_has_anothers_address_whatever_is_asked_at_once(rounds: list[list[tuple[str, int | None]]]) -> None:
    async def test(api: NetworkApi) -> None:
        network = (await api.made("networks", "network", name="n"))["id"]
        await step(api, network, "subnet", 0)
        for together in rounds:
            statuses = await asyncio.gather(*(step(api, network, kind, number) for kind, number in together))
            assert all(status in (200, 201, 204, 400, 404, 409) for status in statuses), statuses
            await api.write(check)

    on_network_api(test)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(28, 30), st.integers(1, 20))
def test_all_of_a_subnet_is_given_out_and_no_more(length: int, wanted: int) -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network(cidr=f"10.0.0.0/{length}")
        asked = [rig.desk.create_port(ALICE, network, server_id=str(at)) for at in range(wanted)]
        made = [port for port in await asyncio.gather(*asked, return_exceptions=True) if not isinstance(port, BaseException)]
        room = 2 ** (32 - length) - 3
        assert len(made) == min(wanted, room)

        def seen(tx: Tx) -> set[str]:
            return {fixed.address for found in fixed_of(tx, [port.id for port in made]).values() for fixed in found}

        assert len(await rig.write(seen, Who(ALICE))) == len(made)

    on_network_rig(test)
