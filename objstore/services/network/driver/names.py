"""How namespaces and devices are named, so that a driver finds what it made and never takes anything else for it.

| what | name | where |
|---|---|---|
| namespace of a network | `objstore-TAG-nNUMBER` | /run/netns |
| namespace of a router | `objstore-TAG-rNUMBER` | /run/netns |
| the host's end of an external network | `oTAGxHEX`, the network's number | the host |
| bridge, tunnel, way to the host | `br0`, `vx0`, `up0` | a network's namespace |
| a guest's tap | `t` and 14 digits of the port's id | a network's namespace |
| a router's ends | `qHEX-DIGEST`, `gHEX-DIGEST` (gateway): the network's number, of the hardware address | the router's namespace |
| their other ends | `rHEX-DIGEST`: the router's number | the network's namespace |
"""

import hashlib
import re
from dataclasses import dataclass

from objstore.services.network.driver import values

NETNS_DIRECTORY = "/run/netns"
HOST_TABLE = "objstore_"  # what the names of hosts' tables begin with
BRIDGE, TUNNEL, UPLINK = "br0", "vx0", "up0"


def tag_of(cluster: str, host: str) -> str:
    """A tag of six characters for a cluster's host; the same at each start."""
    digest = hashlib.sha256(f"{cluster}\n{host}".encode()).digest()
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(alphabet[byte & 31] for byte in digest[:6])


def namespace_path(name: str) -> str:
    """What programs open to enter a namespace."""
    return f"{NETNS_DIRECTORY}/{name}"


def tap(port: str) -> str:
    """A guest's device; 56 bits of its port's id tell it from the others of its network."""
    return "t" + values.port_id(port)[:14]


def _end(prefix: str, number: int, hardware: str) -> str:
    return f"{prefix}{values.number(number):x}-{hashlib.sha256(values.mac(hardware).encode()).hexdigest()[:6]}"


def router_end(network: int, hardware: str) -> str:
    """A router's device on a network, seen in the router's namespace."""
    return _end("q", network, hardware)


def gateway_end(network: int, hardware: str) -> str:
    """A router's device on its external network."""
    return _end("g", network, hardware)


def bridge_end(router: int, hardware: str) -> str:
    """The other end, seen in the network's namespace."""
    return _end("r", router, hardware)


@dataclass(frozen=True)
class Names:
    """Names that hold the tag."""

    tag: str

    def __post_init__(self) -> None:
        values.tag(self.tag)

    def network(self, number: int) -> str:
        """A network's namespace."""
        return f"objstore-{self.tag}-n{values.number(number)}"

    def router(self, number: int) -> str:
        """A router's namespace."""
        return f"objstore-{self.tag}-r{values.number(number)}"

    def outside(self, number: int) -> str:
        """The host's device on an external network."""
        return f"o{self.tag}x{values.number(number):x}"

    @property
    def table(self) -> str:
        """The host's table of rules."""
        return f"{HOST_TABLE}{self.tag}"

    def is_namespace(self, name: str) -> bool:
        """Whether a namespace was made under this tag."""
        return re.fullmatch(rf"objstore-{self.tag}-[nr][0-9]{{1,8}}", name) is not None

    def is_outside(self, name: str) -> bool:
        """Whether a device of the host was made under this tag."""
        return re.fullmatch(rf"o{self.tag}x[0-9a-f]{{1,6}}", name) is not None
