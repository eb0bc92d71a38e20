"""The schema of all settings: which sections there are, which process reads which, and the roles' own sections.

A section is the settings class of the component that obeys it; this module imports only those that a process needs.
"""

import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from objstore.runtime.config import ConfigError, Loaded, Setting, load, parse_override, settings_of


class NodeSection(msgspec.Struct, frozen=True):
    """[node]: who a storage node is and where it keeps what."""

    name: str = ""
    addresses: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    ring: str = ""
    bootstrap_ring: str = ""
    cluster_key_file: str = ""


class ProxySection(msgspec.Struct, frozen=True):
    """[proxy]: where a proxy listens, what it knows of the cluster, who may use it."""

    name: str = ""
    host: str = "127.0.0.1"
    port: int = 9000
    metrics_port: int = 0  # 0: none
    ring: str = ""
    cluster_key_file: str = ""
    identities: tuple[str, ...] = ()
    kms_file: str = ""  # master keys for server-side encryption, where [kms] kind is "local"; "" is none
    certificate_file: str = ""
    key_file: str = ""
    data_directory: str = ""  # what a proxy keeps between its runs: events on their way; "" is nowhere
    policy_rings: dict[str, str] = {}  # ring files of further storage policies, by their names


class ServicesSection(msgspec.Struct, frozen=True):
    """[services]: the process of OpenStack's APIs: where it listens, by which addresses clients find it and the object store."""

    name: str = ""
    host: str = "127.0.0.1"
    port: int = 5000
    url: str = ""  # as clients reach it, without a path
    object_store_url: str = ""
    region: str = "us-east-1"
    ring: str = ""
    cluster_key_file: str = ""
    identities: tuple[str, ...] = ()
    policy_rings: dict[str, str] = {}
    admin_file: str = ""  # the password that the administrator has until it is changed
    data_directory: str = ""  # where the services' database is, when database.url names none
    certificate_file: str = ""
    key_file: str = ""
    metrics_port: int = 0  # 0: none


class DaemonSection(msgspec.Struct, frozen=True):
    """[daemon]: the process of the background work, and the socket that it is asked on."""

    name: str = ""
    control: str = ""
    metrics_port: int = 0
    ring: str = ""
    cluster_key_file: str = ""
    policy: str = ""  # whose ring it is; "" is the default ring, whose daemon does all that needs the object model too
    kms_file: str = ""  # master keys, as a proxy has them: what is sent to other clusters must be opened
    policy_rings: dict[str, str] = {}


class AgentSection(msgspec.Struct, frozen=True):
    """[agent]: the process that runs guests and makes networks on one host."""

    name: str = ""
    host: str = ""  # as it is known to the services; "": this machine's name.  From the second agent of a machine on, with "-N".
    listen: str = "127.0.0.1"
    port: int = 0
    address: str = ""  # as the services reach it; "": of the two above
    certificate_file: str = ""
    key_file: str = ""
    services_url: str = ""  # where reports go; "": nowhere
    ca_file: str = ""  # the authority that the services' certificate comes from, where they have one
    secret_file: str = ""  # what the services and the agent show one another
    data_directory: str = ""
    disks_control: str = ""  # sockets of the process that serves this host's disks, in the cluster's directory
    disks_nbd: str = ""
    tunnel_address: str = ""  # its end of tunnels between hosts: ADDRESS or ADDRESS:PORT
    network_driver: Literal["auto", "netns", "user"] = "auto"  # "netns" (needs root), "user"; "auto": netns where it can be had
    outbound: bool = False  # guests go out through this host, under its address
    virt_type: Literal["auto", "kvm", "tcg"] = "auto"  # "kvm", "tcg"; "auto": kvm where a small guest boots with it in time
    machine: Literal["q35", "pc"] = "q35"  # of guests that name none: "q35" or "pc"
    user: int = -1  # number of the user that guests run as, where the agent is root; -1: the agent's own
    vcpus: int = 0  # reported as this host's; 0: those of the machine
    memory_mb: int = 0  # likewise
    disk_gb: int = 100_000  # likewise: disks are in the store, so no host has a share of its own
    report_interval_s: float = 3.0  # between reports when nothing changes
    unplug_timeout_s: float = 20.0  # for which a guest is waited for that has to let go of a disk or network card
    move_timeout_s: float = 600.0  # after which a live migration is given up
    console_bytes: int = 1024 * 1024  # of a guest's console log that are kept


class DisksSection(msgspec.Struct, frozen=True):
    """[disks]: the process that serves one host's disks."""

    name: str = ""
    host: str = ""
    control: str = ""  # a Unix socket, as is the next: relative to the cluster's directory
    nbd: str = ""
    group: int = -1  # whose members may open the NBD socket besides its owner: guests that run as `agent.user`; -1: nobody
    data_directory: str = ""  # journals
    ring: str = ""
    cluster_key_file: str = ""
    policy_rings: dict[str, str] = {}


class LifecycleSection(msgspec.Struct, frozen=True):
    """[lifecycle]: how long a day is, and how the daemon goes about its rounds."""

    seconds_per_day: float = 86_400.0  # of lifecycle rules; less in tests alone
    interval_s: float = 3600.0  # between rounds over all buckets with rules; at most a day
    expire_interval_s: float = 300.0  # between rounds over all buckets with objects that expire (X-Delete-At)
    rows_per_s: float = 2000.0  # looked at
    actions_per_s: float = 100.0  # expired, removed or aborted


class HostSection(msgspec.Struct, frozen=True):
    """[host]: `sockets` is a directory where nodes also listen on Unix sockets, for processes of the same machine; "" is none."""

    sockets: str = ""
    scheduling: Literal["batch", "normal"] = "batch"  # of the store's processes among others: "batch" or "normal", see child.py


class MetricsSection(msgspec.Struct, frozen=True):
    """[metrics]: where the processes that have metrics serve them, unencrypted and to everybody who gets there."""

    host: str = "127.0.0.1"
    buckets: int = 0  # of so many buckets is told what they hold, by their names


class LogSection(msgspec.Struct, frozen=True):
    """[log]: "debug" "info" "warning" "error"; "json" or "text"."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    style: Literal["json", "text"] = "json"


COMPONENTS = {
    "cluster": "objstore.cluster.cluster:ClusterSettings",
    "objects": "objstore.objects.context:ObjectSettings",
    "s3": "objstore.fronts.s3.settings:S3Settings",
    "swift": "objstore.fronts.swift.context:SwiftSettings",
    "container_sync": "objstore.core.container_sync:SyncSettings",
    "kms": "objstore.identity.kms:KmsSettings",
    "identity": "objstore.fronts.identity.settings:IdentitySettings",
    "image": "objstore.services.image.settings:ImageSettings",
    "compute": "objstore.services.compute.settings:ComputeSettings",
    "block_storage": "objstore.services.volume.api.settings:BlockStorageSettings",
    "network": "objstore.services.network.settings:NetworkSettings",
    "database": "objstore.services.tables.settings:DatabaseSettings",
    "notifications": "objstore.fronts.s3.notifier:NotificationSettings",
    "engine": "objstore.node.engine.settings:EngineSettings",
    "daemons": "objstore.daemons.service:DaemonSettings",
    "volume": "objstore.services.volume.settings:VolumeSettings",
}
OWN: dict[str, type[Any]] = {
    "node": NodeSection,
    "proxy": ProxySection,
    "daemon": DaemonSection,
    "agent": AgentSection,
    "disks": DisksSection,
    "services": ServicesSection,
    "lifecycle": LifecycleSection,
    "host": HostSection,
    "log": LogSection,
    "metrics": MetricsSection,
}
# Settings that belong to the whole cluster: said once, in [cluster], obeyed by more than one component.
EVERYWHERE: dict[str, list[tuple[str, Any, Any]]] = {
    "cluster": [("reclaim_age_s", float, 3600.0)],  # a tombstone must be this old before the primaries are asked about it
}
_MOVED = {("daemons", "reclaim_age_s")}  # set by cluster.reclaim_age_s

SHARED_SECTIONS = (
    "cluster",
    "objects",
    "s3",
    "swift",
    "container_sync",
    "kms",
    "engine",
    "daemons",
    "lifecycle",
    "notifications",
    "identity",
    "volume",
    "agent",
    "image",
    "compute",
    "block_storage",
    "network",
    "database",
    "host",
    "log",
    "metrics",
)  # what cluster.toml may hold
ROLE_SECTIONS = {
    "node": ("node", "engine", "host", "log"),
    "proxy": (
        "proxy",
        "cluster",
        "objects",
        "s3",
        "swift",
        "container_sync",
        "kms",
        "lifecycle",
        "notifications",
        "host",
        "log",
        "metrics",
    ),
    "services": (
        "services",
        "identity",
        "image",
        "block_storage",
        "volume",
        "compute",
        "network",
        "database",
        "cluster",
        "objects",
        "host",
        "log",
        "metrics",
    ),
    "daemon": ("daemon", "daemons", "cluster", "objects", "lifecycle", "container_sync", "kms", "host", "log", "metrics"),
    "volume": ("cluster", "objects", "volume", "host", "log"),
    "disks": ("disks", "cluster", "objects", "volume", "host", "log"),
    "agent": ("agent", "host", "log"),
}


def schema_of(sections: Sequence[str]) -> type[Any]:
    """A struct type with these sections, each with its defaults."""
    types = {name: _section(name) for name in sections}
    return msgspec.defstruct("Settings", [(name, kind, kind()) for name, kind in types.items()], frozen=True)


def load_settings(
    sections: Sequence[str],
    *,
    files: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    foreign: Sequence[str] = (),
) -> Loaded[Any]:
    """Settings of these sections.  Variables for other known sections are left to the processes that they concern.

    Raises ConfigError, OSError.
    """
    others = tuple(f"OBJSTORE_{name.upper()}__" for name in {*SHARED_SECTIONS, *OWN} - set(sections))
    mine = {k: v for k, v in (os.environ if environment is None else environment).items() if not k.upper().startswith(others)}
    return load(schema_of(sections), files=files, environment=mine, overrides=overrides, foreign=foreign)


def component(settings: Any, section: str) -> Any:
    """The component's own settings object, from its section (and from what is said once for all)."""
    kind = _component_class(section)
    names = {setting.key for setting in settings_of(msgspec.defstruct("One", [(section, kind, None)]))}
    values = {name: getattr(getattr(settings, section), name) for name in names if (section, name) not in _MOVED}
    for moved_section, name in _MOVED:
        if moved_section == section:
            values[name] = getattr(settings.cluster, name)
    return kind(**values)


def check_cluster(cluster_file: Path | None, overrides: Sequence[str]) -> Loaded[Any]:
    """All settings of a cluster.toml, if there is one, and "section.key=value" texts.  Raises ConfigError."""
    files = [cluster_file] if cluster_file is not None else []
    return load_settings(SHARED_SECTIONS, files=files, environment={}, overrides=overrides, foreign=("layout",))


def typed_overrides(overrides: Sequence[str]) -> list[tuple[str, str, Any]]:
    """("section", "key", value) of each "section.key=value", with values of the right types.  Raises ConfigError."""
    settings = check_cluster(None, overrides).settings
    names = [parse_override(text)[:2] for text in overrides]
    return [(section, key, getattr(getattr(settings, section), key)) for section, key in names]


def all_settings(sections: Sequence[str] = SHARED_SECTIONS) -> list[Setting]:
    """Every setting with its default."""
    return settings_of(schema_of(sections))


def role_settings(role: str, config: Path) -> Any:
    """A process's settings from its file and the environment.  Raises ConfigError."""
    settings = load_settings(ROLE_SECTIONS[role], files=[config]).settings
    section = getattr(settings, role)
    for name in ("name", "secret_file") if role == "agent" else ("name", "ring", "cluster_key_file"):
        if not getattr(section, name):
            raise ConfigError(f"{config}: [{role}] needs {name!r}")
    return settings


def read_cluster_key(path: str) -> bytes:
    """The 32 bytes behind a file of 64 hexadecimal digits.  Raises ConfigError."""
    try:
        key = bytes.fromhex(Path(path).read_text().strip())
    except (OSError, ValueError) as failure:
        raise ConfigError(f"the cluster key in {path} cannot be read: {failure}") from failure
    if len(key) != 32:
        raise ConfigError(f"the cluster key in {path} has {len(key)} bytes; it must be 64 hexadecimal digits, made at random")
    return key


def _component_class(section: str) -> type[Any]:
    module, _, name = COMPONENTS[section].partition(":")
    kind: type[Any] = getattr(importlib.import_module(module), name)
    return kind


def _section(name: str) -> type[Any]:
    if name in OWN:
        return OWN[name]
    kind = _component_class(name)
    fields = settings_of(msgspec.defstruct("One", [(name, kind, None)]))
    mine: list[Any] = [(s.key, s.type, _field_default(s.default)) for s in fields if (name, s.key) not in _MOVED]
    mine += [(key, kind_of, default) for key, kind_of, default in EVERYWHERE.get(name, []) if key not in {s.key for s in fields}]
    return msgspec.defstruct(f"{name.title()}Section", mine, frozen=True)


def _field_default(default: Any) -> Any:
    if default is dataclasses.MISSING or default is msgspec.NODEFAULT:
        raise ConfigError("a setting without a default cannot be part of the schema")
    return msgspec.field(default_factory=lambda: default) if isinstance(default, list | dict) and default else default
