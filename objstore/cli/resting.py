"""The status of a cluster that nobody runs: its processes ended with their supervisor, so all of it is down."""

from pathlib import Path
from typing import Any

from objstore.cli.layout import Layout, Place, proxy_port, read_cluster


def resting_status(root: Path) -> dict[str, Any]:
    """The `status` object of the control contract for a cluster without a supervisor.  Raises ConfigError."""
    place = Place(root)
    layout, _ = read_cluster(place)
    policies = [
        {"name": policy.name, "replicas": policy.replicas, "daemon": policy.daemon_name, **_ring(place, layout.of_policy(policy.name))}
        for policy in layout.policy
    ]
    return {
        **_ring(place, layout.of_policy("")),
        **({"policies": policies} if policies else {}),
        "proxies": [{"name": f"proxy{n}", "up": False, "pid": None, "port": proxy_port(layout, n)} for n in range(1, layout.proxies + 1)],
        "daemons": [{"name": f"daemon{n}", "up": False, "pid": None} for n in layout.daemon_numbers()],
        "services": [{"name": f"services{n}", "up": False, "pid": None} for n in range(1, layout.services + 1)],
        **{
            word: [{"name": f"{role}{n}", "up": False, "pid": None} for n in range(1, layout.agents + 1)]
            for word, role in (("agents", "agent"), ("disks", "disks")) if layout.agents
        },
    }  # fmt: skip


def _ring(place: Place, layout: Layout) -> dict[str, Any]:
    """What is said of one ring, whose nodes a layout has."""
    nodes = [
        {
            "name": entry.name, "up": False, "pid": None, "port": entry.port, "zone": entry.zone, "epoch": None, "leaving": entry.leaving,
            "devices": [
                {"id": None, "path": str(path), "state": "unreachable", "used": None, "free": None} for path in place.device_directories(entry)
            ],
        }
        for entry in layout.node
    ]  # fmt: skip
    return {
        "healthy": False, "writable": False, "under_replicated": None, "misplaced": None, "quarantined": 0, "queued_repairs": None,
        "epoch": None, "changing": False, "detail": "the cluster is down", "nodes": nodes,
    }  # fmt: skip
