"""What keeps a cluster from being healthy, in words, out of what `status` says of its processes and devices."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

KINDS = ("nodes", "proxies", "daemons", "services", "agents", "disks")  # under which names `status` lists processes


def processes(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every process that a status names, nodes first and those of all rings."""
    yield from status["nodes"]
    for policy in status.get("policies", ()):
        yield from policy["nodes"]
    for kind in KINDS[1:]:
        yield from status.get(kind, ())


def down(status: Mapping[str, Any]) -> list[str]:
    """Names of the processes that do not serve."""
    return [process["name"] for process in processes(status) if not process["up"]]


def reasons(status: Mapping[str, Any]) -> list[str]:
    """What is wrong with processes and devices; counts of rows speak for themselves."""
    stopped = [process["name"] for process in processes(status) if not process["up"] and process["pid"] is None]
    silent = [process["name"] for process in processes(status) if not process["up"] and process["pid"] is not None]
    found = [f"not running: {', '.join(stopped)}"] if stopped else []
    found += [f"not answering: {', '.join(silent)}"] if silent else []
    for node in processes(status):
        for device in node.get("devices", ()) if node["up"] else ():
            if device["state"] != "up":
                found.append(f"{node['name']}/{PurePath(device['path']).name} is {device['state']}")
    return found
