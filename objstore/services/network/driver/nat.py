"""The rules where addresses change: in a router's namespace, in an external network's, and the one table that a host may get."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from objstore.services.network.driver import names
from objstore.services.network.driver.guard import replacing
from objstore.services.network.driver.values import Address, Network


@dataclass(frozen=True)
class Gateway:
    """A router's way out."""

    device: str
    address: Address
    snat: bool


def router_rules(gateway: Gateway | None, floating: Mapping[Address, Address]) -> str:
    """Of a router: floating addresses (outside -> inside) both ways, all else that leaves under the gateway's address."""
    four = {outside: inside for outside, inside in floating.items() if outside.version == inside.version == 4}
    lines = replacing("ip", "nat")
    if four:
        there = ", ".join(f"{outside} : {inside}" for outside, inside in sorted(four.items(), key=str))
        # An inside address has one outside one by which it goes out: the lowest.
        back = {inside: outside for outside, inside in sorted(four.items(), key=lambda pair: int(pair[0]), reverse=True)}
        out = ", ".join(f"{inside} : {outside}" for inside, outside in sorted(back.items(), key=str))
        for chain, hook in (("prerouting", "prerouting"), ("local", "output")):
            lines += [
                f" chain {chain} {{", f"  type nat hook {hook} priority -100; policy accept;", f"  dnat to ip daddr map {{ {there} }}", " }",
            ]  # fmt: skip
    lines += [" chain postrouting {", "  type nat hook postrouting priority 100; policy accept;"]
    if gateway is not None and gateway.address.version == 4:
        leaves = f'oifname "{gateway.device}"'
        # A guest that calls another one's floating address must be answered through here, so it too gets another name.
        turned = f'oifname != "{gateway.device}" iifname != "{gateway.device}" ct status dnat'
        if four:
            lines += [f"  {leaves} snat to ip saddr map {{ {out} }}", f"  {turned} snat to ip saddr map {{ {out} }}"]
            lines.append(f"  {turned} snat to {gateway.address}")
        if gateway.snat:
            lines.append(f"  {leaves} ip saddr != {gateway.address} snat to {gateway.address}")
    lines += [" }", "}"]
    return "\n".join(lines) + "\n"


def uplink_rules(*, host: Address, here: Address, gateway: Address | None, routers: Iterable[Address]) -> str:
    """Of an external network's namespace.

    `here` and `host` are the two ends of the way to the host: what routers send under addresses of their own leaves as `here`, which no other host's
    agent has; what the host itself sends comes from the subnet's gateway, so that guests never see the addresses of this way.
    """
    lines = replacing("ip", "nat")
    lines += [" chain postrouting {", "  type nat hook postrouting priority 100; policy accept;"]
    if named := sorted({str(address) for address in routers if address.version == 4}):
        lines.append(f'  oifname "{names.UPLINK}" ip saddr {{ {", ".join(named)} }} snat to {here}')
    if gateway is not None:
        lines.append(f'  oifname "{names.BRIDGE}" ip saddr {host} snat to {gateway}')
    lines += [" }", "}"]
    return "\n".join(lines) + "\n"


def host_rules(table: str, devices: Sequence[str], ranges: Sequence[Network]) -> str:
    """The host's own table: guests go out under the host's address, and begin no connections to the host itself."""
    lines = replacing("inet", table)
    listed = ", ".join(f'"{name}"' for name in devices)
    lines += [
        " chain input {",
        "  type filter hook input priority 0; policy accept;",
        f"  iifname {{ {listed} }} ct state established,related accept",
        f"  iifname {{ {listed} }} meta l4proto icmp accept",
        f"  iifname {{ {listed} }} drop",
        " }",
        " chain postrouting {",
        "  type nat hook postrouting priority 100; policy accept;",
        f"  oifname != {{ {listed} }} ip saddr {{ {', '.join(str(r) for r in ranges)} }} masquerade",
        " }",
        "}",
    ]
    return "\n".join(lines) + "\n"
