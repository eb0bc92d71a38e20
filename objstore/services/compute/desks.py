"""What servers need of others, as they need it: volumes, networks, bases of disks, agents, hosts, flavors.

Volumes and networks are the desks of their services, in the same process; tests put scripted ones in their place at the wire.
All that changes something can be called again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection

from objstore.errors import Refused
from objstore.identity.rules import Access


class Flavor(msgspec.Struct, frozen=True):
    """A flavor as a server keeps it."""

    id: str
    name: str
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    extra_specs: dict[str, str] = {}


class Key(msgspec.Struct, frozen=True):
    """A key pair's public half."""

    name: str
    type: str  # ssh, x509
    data: str


class PlaceRequest(msgspec.Struct, frozen=True):
    """What a server needs of a host."""

    server: str
    project: str
    vcpus: int
    memory_mb: int
    disk_gb: int = 0
    zone: str = ""  # "" for any
    host: str = ""  # this one and no other
    skip: tuple[str, ...] = ()  # not these
    hints: dict[str, Any] = {}  # different_host, same_host: lists of servers; group: an id
    group_id: str = ""
    properties: dict[str, str] = {}  # of the image
    extra_specs: dict[str, str] = {}


class NoValidHost(Refused):
    """No host has room for the server."""


class Catalog(Protocol):
    """Flavors, key pairs, groups and quotas; inside the transaction that uses them."""

    def flavor(self, connection: Connection, project: str, flavor_id: str, *, is_admin: bool) -> Flavor | None:
        """A flavor that a project may use."""

    def key(self, connection: Connection, user_id: str, name: str) -> Key | None:
        """A user's key pair."""

    def check_quota(self, connection: Connection, project: str, *, instances: int, cores: int, memory_mb: int, user_id: str = "") -> None:
        """Raises 403 when this much more would be too much for the project, or for the user."""

    def check_group(self, connection: Connection, project: str, group_id: str, *, adding: int) -> None:
        """Raises 400 for a group that the project does not have, 403 when it would have too many members."""

    def metadata_limit(self, connection: Connection, project: str) -> int:
        """How many items of metadata a server may have; -1 for any."""


class Places(Protocol):
    """Hosts and who lives on them."""

    def choose(self, connection: Connection, request: PlaceRequest) -> str:
        """A host with room, claimed for the server in this transaction; a server that has a claim on it keeps that.  Raises NoValidHost."""

    def release(self, connection: Connection, server: str, host: str = "") -> None:
        """Give up a server's claim on a host, or on all."""

    def settle(self, connection: Connection, server: str, host: str, *, vcpus: int, memory_mb: int) -> None:
        """From now on this is the server's one claim, whether there is room or not: it is there.  No host: it has none."""

    def zone_of(self, connection: Connection, host: str) -> str:
        """The availability zone of a host."""

    def zone_exists(self, connection: Connection, zone: str) -> bool:
        """Whether a host is in such a zone."""

    def host_exists(self, connection: Connection, host: str) -> bool:
        """Whether there is such a host."""

    def is_alive(self, connection: Connection, host: str) -> bool:
        """Whether a host was heard of lately."""


class Agents(Protocol):
    """Calls to the agents of hosts."""

    async def call(self, host: str, message: msgspec.Struct) -> Any:
        """The answer to one of agent_api's calls.  Raises AgentRefused (it has `status`), Unavailable."""


class Volume(Protocol):
    """A volume as the volume service describes it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def size_gb(self) -> int:
        """GiB."""

    @property
    def status(self) -> str:
        """available, reserved, in-use..."""

    @property
    def bootable(self) -> bool:
        """Whether a server can boot from it."""

    @property
    def multiattach(self) -> bool:
        """Whether several servers may have it."""

    @property
    def read_only(self) -> bool:
        """Whether nobody may write to it."""

    @property
    def data(self) -> str:
        """The volume of the store: 32 hex digits."""

    @property
    def image_metadata(self) -> Mapping[str, str]:
        """Properties of the image that it was made from."""


class Volumes(Protocol):
    """The volume service."""

    async def find(self, project_id: str, volume_id: str, *, is_admin: bool = False) -> Volume:
        """Raises 404."""

    async def find_snapshot(self, project_id: str, snapshot_id: str, *, is_admin: bool = False) -> Any:
        """A snapshot (with `status`, `size_gb`).  Raises 404."""

    async def create(
        self, project_id: str, user_id: str, *, size_gb: int | None, name: str = "", image_id: str | None = None, snapshot_id: str | None = None,
        source_volume_id: str | None = None, volume_type: str | None = None, is_admin: bool = False,
        volume_id: str = "",
    ) -> str:  # fmt: skip
        """A new volume's id; it is being made.  With an id that the caller drew it is made once.  Raises 400, 404, 413."""

    async def create_snapshots(
        self, project_id: str, user_id: str, volume_ids: Sequence[str], *, name: str = "", description: str = "",
        also: Callable[[Connection, Sequence[str]], None] | None = None,
    ) -> Sequence[str]:  # fmt: skip
        """Ids of snapshots that are being made, all of them or none, with what else is written then.  Raises 400, 404, 413."""

    async def reserve(self, project_id: str, volume_id: str, server_id: str, *, read_only: bool = False, is_admin: bool = False) -> str:
        """An attachment's id: nobody else gets the volume; again the same one.  Raises 400, 404."""

    async def attached(self, attachment_id: str, host: str, device: str) -> None:
        """The guest has it."""

    async def begin_detach(self, attachment_id: str) -> None:
        """It is being taken from the guest."""

    async def roll_detach(self, attachment_id: str) -> None:
        """That did not go well: the guest still has it."""

    async def end(self, attachment_id: str) -> None:
        """The attachment is gone, the volume free."""

    async def end_all(self, server_id: str) -> None:
        """The same for all attachments of a server, also those that nobody wrote down."""

    async def delete(self, project_id: str, volume_id: str) -> None:
        """Remove a volume of a project with its server."""


class BaseDisks(Protocol):
    """Images as disks in the store."""

    async def ensure(self, image_id: str) -> Any:
        """The image's base (with `size_bytes`), made now if there is none.  Raises Refused, Unavailable."""

    async def clone(self, image_id: str, volume: bytes, size_bytes: int) -> None:
        """A volume of the store that begins with an image; nothing happens when it is there.  Raises Refused where the image cannot become a disk."""

    def check_count(self, connection: Connection, project: str) -> None:
        """Whether a project may have one more image.  Raises 413."""

    async def to_image(self, volume: bytes, image_id: str, *, snapshot: bytes = b"", size_bytes: int = 0) -> None:
        """Upload a volume, or a snapshot of it, as the bytes of a queued image.  Raises CallRefused, Unavailable, NoSuchKey."""


class Port(Protocol):
    """A port as the network service describes it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def network_id(self) -> str:
        """Its network."""

    @property
    def network_name(self) -> str:
        """What its addresses are listed under."""

    @property
    def mac(self) -> str:
        """Its hardware address."""

    @property
    def addresses(self) -> tuple[tuple[str, str, int], ...]:
        """(subnet id, address, 4 or 6)."""

    @property
    def floating(self) -> tuple[tuple[str, str], ...]:
        """(inside address, outside address)."""

    @property
    def status(self) -> str:
        """ACTIVE, BUILD, DOWN."""

    @property
    def made(self) -> bool:
        """Whether it goes with its server."""


class Networks(Protocol):
    """The network service."""

    async def networks_for(self, who: Access) -> Sequence[Any]:
        """Networks (with `id`) that a server gets a card on when none is named."""

    async def check(self, who: Access, requested: Sequence[Any], *, servers: int = 1) -> Sequence[Any]:
        """See that servers can have these cards; with the networks of named ports filled in.  Raises 400, 403, 409."""

    async def check_groups(self, who: Access, names: Sequence[str]) -> Sequence[str]:
        """Ids of security groups.  Raises 404, 409."""

    async def create_port(
        self, project_id: str, network_id: str, *, server_id: str, fixed_ip: str = "", security_groups: Sequence[str] = (), zone: str = "",
        name: str = "", port_id: str = "", is_admin: bool = False,
    ) -> Port:  # fmt: skip
        """A new port for a server, or the existing `port_id`.  Raises 400, 403, 404, 409."""

    async def bind(self, port_id: str, host: str) -> Port:
        """The port's guest is on this host.  Raises 404."""

    async def expect(self, port_id: str, host: str) -> None:
        """The port's guest is about to move to this host; "" for no more."""

    async def release(self, port_id: str, server_id: str) -> None:
        """The server has the port no longer; nothing happens where it never had it."""

    async def release_all(self, server_id: str) -> None:
        """The same for all ports of a server."""

    async def ports_of(self, server_ids: Sequence[str]) -> Mapping[str, Sequence[Port]]:
        """The ports of servers, the oldest first."""

    async def network_data(self, server_id: str) -> dict[str, object]:
        """network_data.json of a server."""

    async def security_groups_of(self, server_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[str, str]]]:
        """(id, name) of the groups that servers' ports have."""

    async def add_group(self, project_id: str, server_id: str, group: str) -> None:
        """Give all ports of a server a group.  Raises 400, 404, 409."""

    async def remove_group(self, project_id: str, server_id: str, group: str) -> None:
        """Take a group from all ports of a server.  Raises 404, 409."""
