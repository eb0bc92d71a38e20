"""Writes a process's config.toml from cluster.toml, right before the process is started.

So an edit of cluster.toml holds from a process's next start on, and a process needs no file but its own and those that it
names.
"""

import hashlib
import hmac
import socket
from pathlib import Path
from typing import Any

from objstore.cli.kms import ensure_master_keys
from objstore.cli.layout import (
    Layout,
    NodeEntry,
    Place,
    agent_port,
    daemon_metrics_port,
    metrics_port,
    node_address,
    proxy_port,
    read_cluster,
    services_metrics_port,
    services_port,
    tunnel_address,
    write_file,
)
from objstore.cli.settings import ROLE_SECTIONS, read_cluster_key
from objstore.runtime.config import render_toml

AGENTS_SECRET = b"objstore agents 1"  # what the agents' secret is made of, with the cluster key
LOCAL_SOCKETS = "run"  # relative to the cluster's directory, where all processes of it run


def daemon_control(name: str) -> str:
    """The socket that a daemon process is asked on: relative to the cluster's directory, where all processes of it run.

    A full path may well be longer than the 107 bytes that a Unix socket's name can have.
    """
    return f"unix:run/{name}.sock"


def agents_secret(cluster_key: bytes) -> str:
    """What the services and the agents show one another: `Authorization: Bearer` and this."""
    return hmac.new(cluster_key, AGENTS_SECRET, hashlib.sha256).hexdigest()


def disks_control(number: int) -> str:
    """The socket on which the process of a host's disks is asked."""
    return f"run/disks{number}.sock"


def disks_nbd(number: int) -> str:
    """The socket on which guests reach their disks."""
    return f"run/disks{number}.nbd"


def host_name(chosen: str, number: int) -> str:
    """How host `number` of this machine is called: the machine's own name by default, with a number from the second host on."""
    name = chosen or socket.gethostname()
    return name if number == 1 else f"{name}-{number}"


def write_role_config(place: Place, layout: Layout, name: str, role: str) -> Path:
    """Write D/NAME/config.toml and what it names; returns its path.  Raises ConfigError, OSError."""
    _, sections = read_cluster(place)
    user = layout.user(name)
    directory = place.directory(name)
    directory.mkdir(mode=0o700, exist_ok=True)
    tables: dict[str, Any] = {section: dict(sections[section]) for section in ROLE_SECTIONS[role] if section in sections}
    if role == "node":
        tables["node"] = _node(place, layout.find(name))
    elif role == "proxy":
        tables["proxy"] = _proxy(place, layout, name)
    elif role == "services":
        tables["services"] = _services(place, layout, name, region=sections.get("s3", {}).get("region"))
    elif role == "agent":
        tables["agent"] = {**tables.get("agent", {}), **_agent(place, layout, name, sections.get("agent", {}))}
    elif role == "disks":
        tables["disks"] = _disks(place, layout, name, sections.get("agent", {}))
    else:
        number = int(name.removeprefix("daemon"))
        tables["daemon"] = {
            "name": name,
            "control": daemon_control(name),
            "metrics_port": daemon_metrics_port(layout, number),
            "ring": str(place.ring_of(_policy_of_daemon(layout, number))),
            "cluster_key_file": str(place.cluster_key_file),
            "policy": _policy_of_daemon(layout, number),
        }
        if sections.get("container_sync"):
            ensure_master_keys(place)
            tables["daemon"]["kms_file"] = str(place.kms_file)
    if layout.policy and role not in ("node", "agent") and not tables.get("daemon", {}).get("policy"):
        tables[role]["policy_rings"] = {entry.name: str(place.ring_of(entry.name)) for entry in layout.policy}
        if "objects" in ROLE_SECTIONS[role]:
            tables["objects"] = _with_classes(tables.get("objects", {}), layout)
    # A user for each node is there for packet filters, which only see what goes over TCP.
    host = {"sockets": "" if layout.uid_base is not None else LOCAL_SOCKETS}
    if layout.agents:
        host["scheduling"] = "normal"  # guests that never rest would keep the store waiting for them
    tables["host"] = {**host, **tables.get("host", {})}
    path = directory / "config.toml"
    header = f"# Written by objstore at each start of {name}; edit {place.cluster_file} instead.\n\n"
    write_file(path, (header + render_toml(tables)).encode(), mode=0o600, user=user, durable=False)
    return path


def _policy_of_daemon(layout: Layout, number: int) -> str:
    return next((entry.name for entry in layout.policy if entry.daemon == number), "")


def _with_classes(objects: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """[objects] in which each policy has a storage class: where none is set, the one of its name in capital letters."""
    classes = dict(objects.get("storage_classes", {}))
    for entry in layout.policy:
        if entry.name not in classes.values():
            classes.setdefault(entry.name.upper(), entry.name)
    return {**objects, "storage_classes": classes}


def _node(place: Place, entry: NodeEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "addresses": [node_address(entry)],
        "devices": [str(path) for path in place.device_directories(entry)],
        "ring": str(place.directory(entry.name) / "ring"),
        "bootstrap_ring": str(place.ring_of(entry.policy)),
        "cluster_key_file": str(place.cluster_key_file),
    }


def _proxy(place: Place, layout: Layout, name: str) -> dict[str, Any]:
    ensure_master_keys(place)
    number = int(name.removeprefix("proxy"))
    table = {
        "name": name,
        "port": proxy_port(layout, number),
        "metrics_port": metrics_port(layout, number),
        "ring": str(place.ring_file),
        "cluster_key_file": str(place.cluster_key_file),
        "identities": [str(place.identities_file)],
        "kms_file": str(place.kms_file),
        "data_directory": str(place.directory(name)),
    }
    if layout.tls:
        table |= {"certificate_file": str(place.tls / "server.pem"), "key_file": str(place.tls / "server.key")}
    return table


def _services(place: Place, layout: Layout, name: str, *, region: str | None) -> dict[str, Any]:
    number = int(name.removeprefix("services"))
    scheme = "https" if layout.tls else "http"
    table = {
        "name": name,
        "port": services_port(layout, number),
        "metrics_port": services_metrics_port(layout, number),
        "url": f"{scheme}://127.0.0.1:{services_port(layout, number)}",
        "object_store_url": f"{scheme}://127.0.0.1:{proxy_port(layout, 1)}",
        "ring": str(place.ring_file),
        "cluster_key_file": str(place.cluster_key_file),
        "identities": [str(place.identities_file)],
        "admin_file": str(place.admin_file),
        "data_directory": str(place.services),
    }
    if region:
        table["region"] = region
    if layout.tls:
        table |= {"certificate_file": str(place.tls / "server.pem"), "key_file": str(place.tls / "server.key")}
    return table


def _agent(place: Place, layout: Layout, name: str, chosen: dict[str, Any]) -> dict[str, Any]:
    number = int(name.removeprefix("agent"))
    secret = agents_secret(read_cluster_key(str(place.cluster_key_file)))
    write_file(place.agents_secret_file, secret.encode() + b"\n", mode=0o600)
    table = {
        "name": name,
        "host": host_name(chosen.get("host", ""), number),
        "port": agent_port(layout, number),
        "services_url": f"{'https' if layout.tls else 'http'}://127.0.0.1:{services_port(layout, 1)}",
        "secret_file": str(place.agents_secret_file),
        "data_directory": str(place.directory(name)),
        "tunnel_address": chosen.get("tunnel_address") or tunnel_address(layout, number),
        "disks_control": disks_control(number),
        "disks_nbd": disks_nbd(number),
    }
    if layout.tls:
        table["ca_file"] = str(place.tls / "ca.pem")
    return table


def _disks(place: Place, layout: Layout, name: str, chosen: dict[str, Any]) -> dict[str, Any]:
    number = int(name.removeprefix("disks"))
    return {
        "name": name,
        "host": host_name(chosen.get("host", ""), number),
        "control": disks_control(number),
        "nbd": disks_nbd(number),
        "group": chosen.get("user", -1),
        "data_directory": str(place.directory(name)),
        "ring": str(place.ring_file),
        "cluster_key_file": str(place.cluster_key_file),
    }
