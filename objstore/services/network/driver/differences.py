"""What a namespace shows of itself (`ip -j`), and the lines of `ip -batch` that lead from there to what is planned.

Pure.  A line is for one namespace; nothing is asked for that is so already, thus a second look at a finished host finds nothing to do.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from objstore.services.network.driver import values
from objstore.services.network.driver.plan import EVERYONE, Link, Route, Space

SHOW = "addr show\nroute show\nneigh show nud permanent\n"  # for `ip -j -d -batch`
_NOT_OURS = ("kernel", "ra", "redirect")  # routes that the kernel makes
_OWN = "fe80:"  # addresses that devices make themselves


@dataclass(frozen=True)
class SeenLink:
    """A device as it is."""

    name: str
    kind: str
    mac: str
    mtu: int
    master: str
    up: bool
    addresses: frozenset[str]
    told: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A namespace as it is."""

    links: dict[str, SeenLink] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[tuple[str, str, str]] = frozenset()
    forwards: frozenset[tuple[str, str, int]] = frozenset()


def seen(shown: bytes, routes6: bytes, forwarding: bytes, tunnel_port: int) -> Seen:
    """From the answers to SHOW, `ip -6 -j route show` and `bridge -j fdb show` of the tunnel.  Raises ValueError."""
    links, routes, neighbours = (*_documents(shown), [], [], [])[:3]
    return Seen(
        {link.name: link for link in map(_link, links)},
        frozenset([*_routes(routes, "0.0.0.0/0"), *_routes(_only(routes6), "::/0")]),
        frozenset((n["dev"], n["dst"], n.get("lladdr", "")) for n in neighbours),
        frozenset(
            (entry["mac"], entry["dst"], int(entry.get("port", tunnel_port)))
            for entry in _only(forwarding) if "dst" in entry and entry.get("state") == "permanent"
        ),
    )  # fmt: skip


def _documents(text: bytes) -> list[list[Any]]:
    """One array a command, each after the other."""
    found, rest, decoder = [], text.decode(errors="replace").strip(), json.JSONDecoder()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document if isinstance(document, list) else [])
        rest = rest[end:].lstrip()
    return found


def _only(text: bytes) -> list[Any]:
    found = _documents(text)
    return found[0] if found else []


def _link(shown: dict[str, Any]) -> SeenLink:
    info = shown.get("linkinfo", {})
    held = frozenset(f"{a['local']}/{a['prefixlen']}" for a in shown.get("addr_info", []) if "local" in a)
    return SeenLink(
        shown["ifname"], info.get("info_kind", ""), shown.get("address", ""), shown.get("mtu", 0), shown.get("master", ""),
        "UP" in shown.get("flags", ()), held, info.get("info_data", {}),
    )  # fmt: skip


def _routes(shown: Iterable[dict[str, Any]], everything: str) -> Iterable[Route]:
    for route in shown:
        if route.get("protocol") in _NOT_OURS or route.get("type", "unicast") != "unicast":
            continue
        to = everything if route["dst"] == "default" else str(values.cidr(route["dst"]))
        yield Route(to, route.get("gateway", ""), route.get("dev", ""), route.get("prefsrc", ""))


def removals(space: Space, now: Seen) -> list[str]:
    """Devices that are not planned, or that have to be made anew."""
    planned = {link.name: link for link in space.links}
    return [f"link del dev {name}" for name, link in sorted(now.links.items()) if name != "lo" and not _fits(planned.get(name), link)]


def missing(space: Space, now: Seen) -> list[Link]:
    """Devices that have to be made."""
    return [link for link in space.links if link.made and not _fits(link, now.links.get(link.name))]


def _fits(link: Link | None, now: SeenLink | None) -> bool:
    return link is not None and now is not None and now.kind == link.kind and all(now.told.get(key) == value for key, value in link.told)


def changes(space: Space, now: Seen) -> list[str]:
    """Lines that bring what is there into the planned state."""
    lines = []
    for link in space.links:
        if (there := now.links.get(link.name)) is not None:
            lines += _device(link, there)
    present = {link.name for link in space.links if link.name in now.links}
    aims = {route.to for route in space.routes}  # what has an aim that is planned is replaced, not removed: there is no moment without
    stale = [route for route in now.routes if route.to not in aims and (route.device in present or not route.device)]
    lines += [_route("del", route) for route in sorted(stale, key=str)]
    lines += [
        _route("replace", route)
        for route in sorted(space.routes, key=lambda r: (bool(r.via), str(r)))  # ways to next hops come before ways through them
        if not any(_same(there, route) for there in now.routes)
    ]
    lines += [f"neigh del {address} dev {device}" for device, address, _ in sorted(_stale_neighbours(space, now)) if device in present]
    lines += [
        f"neigh replace {address} lladdr {mac} dev {device} nud permanent"
        for device, address, mac in sorted(space.neighbours - now.neighbours)
    ]  # fmt: skip
    return lines


def _device(link: Link, now: SeenLink) -> list[str]:
    lines = []
    words = []
    if link.mac and now.mac != link.mac:
        words.append(f"address {link.mac}")
    if link.mtu and now.mtu != link.mtu:
        words.append(f"mtu {link.mtu}")
    if now.master != link.master:
        words.append(f"master {link.master}" if link.master else "nomaster")
    if words:
        lines.append(f"link set dev {link.name} {' '.join(words)}")
    lines += [f"addr del {address} dev {link.name}" for address in sorted(now.addresses - link.addresses) if not address.startswith(_OWN)]
    lines += [
        f"addr add {address} dev {link.name}{' nodad' if ':' in address else ''}" for address in sorted(link.addresses - now.addresses, key=_longest_last)
    ]  # fmt: skip
    if now.up != link.up:
        lines.append(f"link set dev {link.name} {'up' if link.up else 'down'}")
    return lines


def _longest_last(address: str) -> tuple[int, str]:
    """A subnet's own address comes before single ones: the first is what a device sends from."""
    return int(address.rpartition("/")[2]), address


def _stale_neighbours(space: Space, now: Seen) -> set[tuple[str, str, str]]:
    kept = {(device, address) for device, address, _ in space.neighbours}
    return {(device, address, mac) for device, address, mac in now.neighbours if (device, address) not in kept}


def _same(there: Route, planned: Route) -> bool:
    """Whether a way is the planned one; a device that the plan leaves open was chosen by the kernel."""
    return (there.to, there.via, there.source) == (planned.to, planned.via, planned.source) and planned.device in ("", there.device)


def _route(verb: str, route: Route) -> str:
    words = [f"route {verb} {route.to}"]
    words += [f"via {route.via}"] if route.via else []
    words += [f"dev {route.device}"] if route.device else []
    words += [f"src {route.source}"] if route.source else []
    words += ["proto static"] if verb == "replace" else []
    return " ".join(words)


def forwards(space: Space, now: Seen, device: str) -> list[str]:
    """Lines of `bridge -batch`: to whom a tunnel sends what."""
    gone = [f"fdb del {mac} dev {device} dst {end} port {port}" for mac, end, port in sorted(now.forwards - space.forwards)]
    new = sorted(space.forwards - now.forwards)
    return gone + [f"fdb {'append' if mac == EVERYONE else 'replace'} {mac} dev {device} dst {end} port {port}" for mac, end, port in new]
