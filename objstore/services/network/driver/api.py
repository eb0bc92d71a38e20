"""What an agent needs of its host's networks, and who may carry it out.

Whoever calls tells a driver the whole state that is wanted (`carry_out`), as often as it likes; the driver changes what is not so already.
A guest's cards are plugged in before its QEMU starts (or is told of a new card), and unplugged after.  All calls can be repeated.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from objstore.errors import Unavailable
from objstore.services.network.wanted import WantedHost


class NotTold(Unavailable):
    """The port is in nothing that the driver was told to carry out: fetch what is wanted, carry it out and ask again."""


class CannotDrive(Unavailable):
    """This driver cannot work on this host; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Tap:
    """A tap device in a network's namespace: `NetworkDriver.open_tap` gives a descriptor for QEMU's `tap,fd=N`, from whatever namespace QEMU runs in."""

    port: str
    name: str
    namespace: str  # "/run/netns/NAME"
    mtu: int


@dataclass(frozen=True)
class Forward:
    """A port of this host's loopback that leads into a guest."""

    protocol: str  # "tcp" or "udp"
    host_port: int
    guest_port: int


@dataclass(frozen=True)
class UserMode:
    """QEMU's own network: `netdev` is what stands behind `-netdev`, without the id (`f"{plugged.netdev},id=N"`)."""

    port: str
    netdev: str
    forwards: tuple[Forward, ...] = ()


@dataclass(frozen=True)
class Carried:
    """How far a driver came."""

    revision: int
    up: tuple[str, ...] = ()  # ids of ports of this host that work, sorted
    failures: Mapping[str, str] = field(default_factory=dict)  # id of a network, router or port -> why it is not as wanted


@dataclass(frozen=True)
class Metadata:
    """What a guest reads at 169.254.169.254; documents as ServerSpec has them."""

    server: str
    name: str
    project: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)  # openstack/latest/meta_data.json
    user_data: bytes = b""
    network_data: Mapping[str, object] = field(default_factory=dict)
    vendor_data: Mapping[str, object] = field(default_factory=dict)


# (id of the port, id of the server that the network service knows it by) -> what its guest may read, None for nothing.
Lookup = Callable[[str, str], Awaitable[Metadata | None]]


class NetworkDriver(Protocol):
    """Carries out what is wanted on one host.  Calls may overlap; they take their turns."""

    name: str  # "netns" or "user"

    async def carry_out(self, wanted: WantedHost) -> Carried:
        """Make it so.  What fails is in the answer and does not keep the rest from being done; the next call tries again."""

    async def plug(self, port: str, server: str) -> Tap | UserMode:
        """What QEMU needs for a port's card; the same again when asked again.  Raises NotTold; CommandFailed and the like."""

    def hold(self, port: str) -> None:
        """A guest that was found again has this card: it is as one that was plugged in, also before this driver was told of its port."""

    async def open_tap(self, tap: Tap) -> int:
        """A descriptor of the tap, with virtio's headers (`vnet_hdr`), for one QEMU; the caller closes its own copy.  Raises OSError: it is in use."""

    async def unplug(self, port: str) -> None:
        """The card is gone.  Nothing happens for a port that was not plugged in."""

    async def aclose(self) -> None:
        """End this object; networks, and what serves them, stay as they are."""

    async def clean_up(self) -> None:
        """Take away all that drivers of this tag ever made on this host."""
