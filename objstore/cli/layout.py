"""A cluster's directory: which processes there are, where each keeps what, and on which port it listens.

    D/cluster.toml    settings, and in [layout] the processes; the one file that an operator edits
    D/secrets/        cluster key, identities (administrator's keys too), administrator's password, master keys; 0600
    D/ring/           default.ring: the ring as it was published last; POLICY.ring for each further storage policy
    D/NAME/           config.toml of that process (written anew at each start); a node's ring and devices d1, d2...
    D/services/       the database of OpenStack's services, where it is SQLite
    D/tls/            certificate authority and server certificate, with --tls
    D/log/ D/run/     a log for each process; sockets, lock and pids

This module knows names and shapes; `create.py` makes a new cluster of them.
"""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from objstore.core.names import could_be_policy
from objstore.runtime.config import ConfigError, render_toml

LAYOUT_VERSION = 1
REPLICAS = 3
DEFAULT_POLICY = "default"
PORTS = 1000  # a cluster opens no port outside port_base ... port_base + 999
PROXY_PORT_OFFSET = 0
NODE_PORT_OFFSET = 100
METRICS_PORT_OFFSET = 200
DAEMON_METRICS_PORT_OFFSET = 300
SERVICES_PORT_OFFSET = 400
AGENT_PORT_OFFSET = 500
TUNNEL_PORT_OFFSET = 600  # UDP
SERVICES_METRICS_PORT_OFFSET = 700
NODES_LIMIT = 100
PROXIES_LIMIT = 100
AGENTS_LIMIT = 20  # one host of a cloud is one agent; more than one on a machine is for tests
DEVICES_LIMIT = 100


class NodeEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A storage node, in the ring of one policy.  A node that leaves still serves until the ring has done without it."""

    name: str
    zone: int
    port: int
    devices: int
    leaving: bool = False
    policy: str = ""  # "": the default ring


class PolicyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further storage policy: a ring with nodes and a daemon of its own, for bodies (ADR 11)."""

    name: str
    replicas: int
    daemon: int  # its number

    @property
    def daemon_name(self) -> str:
        """The process that does this ring's background work."""
        return f"daemon{self.daemon}"


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The processes of a cluster on this machine."""

    version: int
    port_base: int
    zones: int
    proxies: int
    daemons: int
    next_node: int  # numbers are not used twice: a log or a ring that names node4 means one node for ever
    tls: bool = False
    uid_base: int | None = None
    services: int = 1  # processes that serve OpenStack's APIs
    agents: int = 0  # hosts of guests, each with a process for them (agentN) and one for their disks (disksN)
    node: tuple[NodeEntry, ...] = ()
    policy: tuple[PolicyEntry, ...] = ()

    def of_policy(self, policy: str) -> "Layout":
        """The same with the nodes of one ring only."""
        return msgspec.structs.replace(self, node=tuple(entry for entry in self.node if entry.policy == policy))

    def find_policy(self, name: str) -> PolicyEntry | None:
        """A further policy; None for "", the default ring.  Raises ConfigError."""
        for entry in self.policy:
            if entry.name == name:
                return entry
        if not name:
            return None
        known = ", ".join(entry.name for entry in self.policy) or "none besides the default ring"
        raise ConfigError(f"there is no storage policy {name!r}; there is {known}")

    def daemon_numbers(self) -> list[int]:
        """Of all daemons: those of the default ring, then one for each further policy."""
        return [*range(1, self.daemons + 1), *(entry.daemon for entry in self.policy)]

    def find(self, name: str) -> NodeEntry:
        """The node of that name.  Raises ConfigError."""
        for entry in self.node:
            if entry.name == name:
                return entry
        raise ConfigError(f"there is no node {name!r}; the nodes are {', '.join(e.name for e in self.node)}")

    def user(self, name: str) -> int | None:
        """The user id that a process runs as, None for the supervisor's own: only nodes have one each."""
        if self.uid_base is None or not name.startswith("node"):
            return None
        return self.uid_base + int(name.removeprefix("node"))


def new_layout(
    *,
    nodes: int,
    devices: int,
    zones: int,
    proxies: int,
    port_base: int,
    tls: bool,
    uid_base: int | None,
    policies: Sequence[str] = (),
    agents: int = 0,
) -> Layout:
    """The layout of a new cluster: node i in zone ((i - 1) mod zones) + 1; `policies` as `with_policy` has them.  Raises ConfigError."""
    for what, value, limit in (
        ("nodes", nodes, NODES_LIMIT), ("devices", devices, DEVICES_LIMIT), ("zones", zones, NODES_LIMIT), ("proxies", proxies, PROXIES_LIMIT),
    ):  # fmt: skip
        if not 1 <= value <= limit:
            raise ConfigError(f"--{what} {value}: it must be 1 to {limit}")
    if not 1024 <= port_base <= 65536 - PORTS:
        raise ConfigError(
            f"--port-base {port_base}: it must be 1024 to {65536 - PORTS}, since a cluster may use {PORTS} ports from there on"
        )
    layout = Layout(
        version=LAYOUT_VERSION, port_base=port_base, zones=zones, proxies=proxies, daemons=1, next_node=1, tls=tls, uid_base=uid_base
    )
    for _ in range(nodes):
        layout = with_node(layout, devices=devices)
    for text in policies:
        layout = with_policy(layout, text, devices=devices)
    return with_agents(layout, agents)


def with_policy(layout: Layout, text: str, *, devices: int) -> Layout:
    """The layout with one more policy and its nodes, from "NAME=NODES" or "NAME=NODES:REPLICAS".  Raises ConfigError."""
    found = re.fullmatch(r"([^=]*)=(\d{1,3})(?::(\d{1,3}))?", text)
    if found is None:
        raise ConfigError(f"--policy {text!r} is not of the form NAME=NODES or NAME=NODES:REPLICAS")
    name, nodes = found[1], int(found[2])
    replicas = min(REPLICAS, nodes * devices) if found[3] is None else int(found[3])
    if not could_be_policy(name) or name == DEFAULT_POLICY:
        raise ConfigError(
            f"--policy {text!r}: a policy's name is a small letter and up to 31 of a-z, 0-9 and -, and not {DEFAULT_POLICY!r}"
        )
    if any(entry.name == name for entry in layout.policy):
        raise ConfigError(f"--policy {text!r}: there is a policy of that name already")
    if not 1 <= nodes <= NODES_LIMIT or not 1 <= replicas <= nodes * devices:
        raise ConfigError(
            f"--policy {text!r}: there must be nodes, and a device for each of {replicas} replicas; there are {nodes * devices}"
        )
    entry = PolicyEntry(name=name, replicas=replicas, daemon=max(layout.daemon_numbers()) + 1)
    layout = msgspec.structs.replace(layout, policy=(*layout.policy, entry))
    for _ in range(nodes):
        layout = with_node(layout, devices=devices, policy=name)
    return layout


def with_agents(layout: Layout, agents: int) -> Layout:
    """The layout with that many hosts of guests.  Raises ConfigError, also where there are more: their guests would be left alone."""
    if not 0 <= agents <= AGENTS_LIMIT:
        raise ConfigError(f"--agents {agents}: it must be 0 to {AGENTS_LIMIT}")
    if agents < layout.agents:
        raise ConfigError(f"--agents {agents}: there are {layout.agents}, which keep guests; hosts can be added only")
    return msgspec.structs.replace(layout, agents=agents)


def check_classes(layout: Layout, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """See that storage classes are given to policies that are there, before processes refuse to start with them.  Raises ConfigError."""
    known = {entry.name for entry in layout.policy}
    for name, policy in sections.get("objects", {}).get("storage_classes", {}).items():
        if policy not in known:
            there = ", ".join(sorted(known)) or "none besides the default ring"
            raise ConfigError(f"objects.storage_classes: {name} is given to policy {policy!r}, which is not there; there is {there}")


def with_node(layout: Layout, *, devices: int, zone: int | None = None, policy: str = "") -> Layout:
    """The layout with one more node, of the next number.  Raises ConfigError when there is no room, or no such policy."""
    layout.find_policy(policy)
    number = layout.next_node
    if number > NODES_LIMIT:
        raise ConfigError(f"node{number} has no port: a cluster on one machine has at most {NODES_LIMIT} nodes over its life")
    if not 1 <= devices <= DEVICES_LIMIT:
        raise ConfigError(f"--devices {devices}: it must be 1 to {DEVICES_LIMIT}")
    entry = NodeEntry(
        name=f"node{number}",
        zone=zone if zone is not None else (number - 1) % layout.zones + 1,
        port=layout.port_base + NODE_PORT_OFFSET + number - 1,
        devices=devices,
        policy=policy,
    )
    return msgspec.structs.replace(layout, node=(*layout.node, entry), next_node=number + 1)


def leaving(layout: Layout, name: str, *, leaves: bool = True) -> Layout:
    """The layout with that node marked as leaving, or no longer.  Raises ConfigError."""
    layout.find(name)
    return msgspec.structs.replace(
        layout, node=tuple(msgspec.structs.replace(e, leaving=leaves) if e.name == name else e for e in layout.node)
    )


def without(layout: Layout, names: Iterable[str]) -> Layout:
    """The layout without those nodes."""
    gone = set(names)
    return msgspec.structs.replace(layout, node=tuple(e for e in layout.node if e.name not in gone))


def taken_back(layout: Layout, name: str) -> Layout:
    """The layout without a node that never was in a ring; where it is the last one its number may be used again."""
    number = int(name.removeprefix("node"))
    smaller = without(layout, [name])
    return msgspec.structs.replace(smaller, next_node=number) if number == layout.next_node - 1 else smaller


def zone_name(zone: int) -> str:
    """How the ring calls a zone."""
    return f"zone{zone}"


def proxy_port(layout: Layout, number: int) -> int:
    """Proxies are numbered from 1."""
    return layout.port_base + PROXY_PORT_OFFSET + number - 1


def metrics_port(layout: Layout, number: int) -> int:
    """Where proxy `number` serves its metrics."""
    return layout.port_base + METRICS_PORT_OFFSET + number - 1


def daemon_metrics_port(layout: Layout, number: int) -> int:
    """Where daemon `number` serves its metrics."""
    return layout.port_base + DAEMON_METRICS_PORT_OFFSET + number - 1


def services_port(layout: Layout, number: int) -> int:
    """Where services process `number` serves OpenStack's APIs."""
    return layout.port_base + SERVICES_PORT_OFFSET + number - 1


def services_metrics_port(layout: Layout, number: int) -> int:
    """Where services process `number` serves its metrics."""
    return layout.port_base + SERVICES_METRICS_PORT_OFFSET + number - 1


def agent_port(layout: Layout, number: int) -> int:
    """Where agent `number` is asked."""
    return layout.port_base + AGENT_PORT_OFFSET + number - 1


def tunnel_address(layout: Layout, number: int) -> str:
    """Where host `number` of guests takes what the networks of other hosts of this machine send it, by UDP."""
    return f"127.0.0.1:{layout.port_base + TUNNEL_PORT_OFFSET + number - 1}"


def ports_of(layout: Layout, name: str) -> list[int]:
    """The ports that a process listens on."""
    number = int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if name.startswith("node"):
        return [layout.find(name).port]
    if name.startswith("proxy"):
        return [proxy_port(layout, number), metrics_port(layout, number)]
    if name.startswith("services"):
        return [services_port(layout, number), services_metrics_port(layout, number)]
    if name.startswith("agent"):
        return [agent_port(layout, number)]
    if name.startswith("disks"):
        return []  # it listens on Unix sockets only
    return [daemon_metrics_port(layout, number)]


def node_address(entry: NodeEntry) -> str:
    """The node's RPC address."""
    return f"tcp:127.0.0.1:{entry.port}"


class Place:
    """Paths below a cluster's directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cluster_file = root / "cluster.toml"
        self.secrets = root / "secrets"
        self.cluster_key_file = root / "secrets" / "cluster.key"
        self.identities_file = root / "secrets" / "identities.toml"
        self.admin_file = root / "secrets" / "admin.toml"
        self.agents_secret_file = root / "secrets" / "agents.secret"
        self.kms_file = root / "secrets" / "kms.toml"
        self.ring_file = root / "ring" / "default.ring"
        self.tls = root / "tls"
        self.services = root / "services"
        self.log = root / "log"
        self.run = root / "run"
        self.pids_file = root / "run" / "pids.json"

    def ring_of(self, policy: str) -> Path:
        """The ring of a policy as it was published last; "" is the default ring."""
        return self.root / "ring" / f"{policy}.ring" if policy else self.ring_file

    def directory(self, name: str) -> Path:
        """A process's own directory."""
        return self.root / name

    def device_directories(self, entry: NodeEntry) -> tuple[Path, ...]:
        """The directories of a node's devices."""
        return tuple(self.root / entry.name / f"d{number}" for number in range(1, entry.devices + 1))

    def exists(self) -> bool:
        """Whether a cluster is here; its settings file is written last of all."""
        return self.cluster_file.exists()


def read_cluster(place: Place) -> tuple[Layout, dict[str, dict[str, Any]]]:
    """The layout and the other sections of cluster.toml.  Raises ConfigError."""
    try:
        tables = tomllib.loads(place.cluster_file.read_text())
        layout = msgspec.convert(tables.pop("layout"), Layout)
    except FileNotFoundError as missing:
        raise ConfigError(f"there is no cluster in {place.root}; make one with: objstore ctl up --dir {place.root}") from missing
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, KeyError) as failure:
        raise ConfigError(f"{place.cluster_file}: {failure}") from failure
    if layout.version != LAYOUT_VERSION:
        raise ConfigError(f"{place.cluster_file}: layout version {layout.version} is not known here; this is version {LAYOUT_VERSION}")
    return layout, tables


def write_cluster(place: Place, layout: Layout, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace cluster.toml at once."""
    text = render_toml({**sections, "layout": msgspec.to_builtins(layout)})
    header = "# Settings of this cluster, by section (objstore config schema); [layout] belongs to objstore ctl.\n\n"
    write_file(place.cluster_file, (header + text).encode(), mode=0o600)


def write_file(path: Path, data: bytes, *, mode: int, user: int | None = None, durable: bool = True) -> None:
    """Replace a small file at once.  The mode holds before the first byte is in it.

    `durable` False is for what is written anew at each start anyway.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        if user is not None:
            os.fchown(fd, user, user)
        os.fchmod(fd, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)  # noqa: TID251 these files are made before any World is; a torn secret would lock the cluster out
    finally:
        os.close(fd)
    temporary.replace(path)
    if not durable:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # noqa: TID251 as above: the new name must last too
    finally:
        os.close(directory)
