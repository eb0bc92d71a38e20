"""Small networks, ports and routers as the network service would want them."""

import uuid

from objstore.services.network.driver import values
from objstore.services.network.wanted import WantedHost, WantedNetwork, WantedPort, WantedRule, WantedSubnet

ANY_OUT = (WantedRule("egress", 4), WantedRule("egress", 6))
PING = WantedRule("ingress", 4, "icmp")
_KINDS = {"networks": WantedNetwork, "ports": WantedPort}


def new_id() -> str:
    return str(uuid.uuid4())


def subnet(cidr: str, gateway: str = "", **more: object) -> WantedSubnet:
    return WantedSubnet(new_id(), cidr, values.cidr(cidr).version, gateway, **more)  # type: ignore[arg-type] # fields by name


def network(number: int, *subnets: WantedSubnet, external: bool = False, mtu: int = 1450) -> WantedNetwork:
    return WantedNetwork(new_id(), number, mtu, external, subnets)


def port(of: WantedNetwork, last: int, host: str = "h1", **more: object) -> WantedPort:
    """A port whose addresses end in `last`, on all of its network's subnets."""
    held = tuple((s.id, str(values.cidr(s.cidr).network_address + last)) for s in of.subnets)
    known: dict[str, object] = {"addresses": held, "name": f"guest{last}", "rules": (*ANY_OUT, PING)}
    known["mac"] = f"52:54:{of.number % 256:02x}:00:00:{last:02x}"
    known |= {"id": new_id(), "server": f"server-{last}"}
    return WantedPort(network=of.id, host=host, **{**known, **more})  # type: ignore[arg-type] # fields by name


def wanted(revision: int, *parts: object, **more: object) -> WantedHost:
    """Of networks, ports and routers in any order."""
    found = {name: tuple(part for part in parts if isinstance(part, kind)) for name, kind in _KINDS.items()}
    routers = tuple(part for part in parts if not isinstance(part, tuple(_KINDS.values())))
    return WantedHost(revision, **found, routers=routers, **more)  # type: ignore[arg-type] # fields by name
