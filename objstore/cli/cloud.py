"""`objstore cloud`: a whole cloud on this machine: the cluster, OpenStack's services, hosts of guests, and what a first server needs.

It is `ctl up --agents N` with a friendly face, then calls of the services' own APIs; `objstore ctl --dir D` works beside it.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from objstore.cli.client import CallFailed, bring_down, call, call_up
from objstore.cli.cloud_api import CloudApi, CloudError
from objstore.cli.cloud_files import CLOUD, CLOUDS, OPENRC, Login, ensure_key, login_of, openrc, write_files
from objstore.cli.cloud_needs import Host, look
from objstore.cli.cloud_things import KEY_NAME, PRIVATE, PUBLIC, TINY, find_image, make_things, upload, wait_for_hosts
from objstore.cli.errors import complain
from objstore.runtime.config import ConfigError

UP_TIMEOUT_S = 180.0
DOWN_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 60.0
MINI = "mini"
MINI_MEMORY_MB = 192
DRIVER_SETTING = "agent.network_driver"

_dir = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("objstore-data"),
    show_default=True,
    help="Where everything is kept.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def cloud() -> None:
    """Servers, networks and volumes on this machine, by OpenStack's APIs."""


@cloud.command()
@_dir
@click.option("--agents", type=int, help="Hosts of guests, each two processes; 1 in a new cloud, else as many as there are.")
@click.option("--nodes", default=3, show_default=True, help="Storage nodes of a new cluster.")
@click.option("--proxies", default=1, show_default=True, help="Proxies of a new cluster.")
@click.option("--port-base", default=9000, show_default=True, help="First of the 1000 ports that may be used, all on 127.0.0.1.")
@click.option("--tls", is_flag=True, help="Serve HTTPS with a generated certificate.")
@click.option("--set", "overrides", multiple=True, help="section.key=value of the configuration; may be repeated.")
@click.option("--bare", is_flag=True, help="Make no flavors, images, networks and keys.")
@_json
def up(directory: Path, *, agents: int | None, overrides: tuple[str, ...], bare: bool, as_json: bool, **shape: Any) -> int:
    """Start a cloud, or lay a new one; returns when servers can be made."""
    root = directory.absolute()
    try:
        host = look(_driver(root, overrides))
        if host.missing:
            return complain(f"this machine lacks what hosts of guests need:\n{host.explain()}", hint=host.hint())
        arguments = {
            "new": {"zones": shape["nodes"], **shape},
            "agents": _agents(root) if agents is None else agents,
            "overrides": list(overrides),
            "timeout_s": UP_TIMEOUT_S,
        }
        summary = call_up(root, arguments, timeout_s=UP_TIMEOUT_S + CALL_TIMEOUT_S)
        login = login_of(summary)
        write_files(root, login)
        key, public_key = ensure_key(root)
        api = connect(login)
        wait_for_hosts(api, len(summary["agents"]))
        made = [] if bare else make_things(api, public_key=public_key)
    except (CallFailed, CloudError, ConfigError) as failure:
        return complain(str(failure), hint=f"the logs in {root / 'log'}, or: objstore cloud status --dir {directory}")
    except (OSError, ValueError) as failure:
        return complain(f"cannot use {root}: {failure}", hint="another --dir")
    facts = {
        **summary,
        "openrc": str(root / OPENRC),
        "clouds": str(root / CLOUDS),
        "key": str(key),
        "made": made,
        "network_driver": host.driver,
    }
    print(json.dumps(facts) if as_json else welcome(facts, host))
    return 0


@cloud.command()
@_dir
def down(directory: Path) -> int:
    """Stop everything: guests by their power buttons, then the processes.  Nothing is lost; `up` brings it back."""
    root = directory.absolute()
    try:
        stopped = bring_down(root, timeout_s=DOWN_TIMEOUT_S)["stopped"]
    except CallFailed as failure:
        if failure.kind != "NoSupervisor" or not (root / "cluster.toml").exists():
            return complain(str(failure))
        stopped = []
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing ran")
    return 0


@cloud.command()
@_dir
@_json
def status(directory: Path, *, as_json: bool) -> int:
    """Processes, hosts, servers: how the cloud is."""
    root = directory.absolute()
    try:
        state = call(root, "status", timeout_s=CALL_TIMEOUT_S)
        facts = {"cluster": state, **in_the_cloud(connect(login_of(call(root, "summary", timeout_s=CALL_TIMEOUT_S))))}
    except (CallFailed, CloudError) as failure:
        return complain(str(failure), hint=f"objstore cloud up --dir {directory}, or the logs in {root / 'log'}")
    print(json.dumps(facts) if as_json else describe(facts))
    return 0


@cloud.command("openrc")
@_dir
def print_openrc(directory: Path) -> int:
    """Print what a shell needs to log in: eval "$(objstore cloud openrc)"."""
    root = directory.absolute()
    try:
        print(openrc(login_of(call(root, "summary", timeout_s=CALL_TIMEOUT_S))), end="")
    except CallFailed as failure:
        return complain(str(failure), hint=f"objstore cloud up --dir {directory}")
    return 0


@cloud.group()
def image() -> None:
    """Images to start with."""


@image.command("build-mini")
@_dir
@click.option("--output", type=click.Path(path_type=Path), help="Write the disk there, and upload nothing.")
@click.option("--name", default=MINI, show_default=True, help="What the image is called.")
def build(directory: Path, *, output: Path | None, name: str) -> int:
    """Build a small Linux with SSH and a web server out of Debian's packages, and make it an image of the cloud."""
    from objstore.cli.mini_image import CannotBuild, build_mini

    root = directory.absolute()
    try:
        if output is not None:
            shutil.copyfile(build_mini(_cache()), output)
            print(output)
            return 0
        api = connect(login_of(call(root, "summary", timeout_s=CALL_TIMEOUT_S)))
        if find_image(api, name) is not None:
            print(f"the image {name} is there already")
            return 0
        upload(api, name, build_mini(_cache()).read_bytes(), min_ram=MINI_MEMORY_MB)
    except (CallFailed, CannotBuild, CloudError, OSError) as failure:
        return complain(str(failure))
    print(f"openstack server create --image {name} --flavor m1.micro --network {PRIVATE} --key-name {KEY_NAME} --wait web")
    return 0


def connect(login: Login) -> CloudApi:
    """As the administrator.  Raises CloudError."""
    return CloudApi(login.auth_url, user=login.user, project=login.project, password=login.password, ca_file=login.ca_file)


def in_the_cloud(api: CloudApi) -> dict[str, Any]:
    """What the services say of themselves and what they keep, of all projects.  Raises CloudError."""
    hosts = api.ask("GET", "compute", "/os-services?binary=nova-compute")["services"]
    servers = api.ask("GET", "compute", "/servers/detail?all_tenants=1")["servers"]
    volumes = api.ask("GET", "block-storage", "/volumes/detail?all_tenants=1")["volumes"]
    return {
        "services": dict(sorted(api.services.items())),
        "hosts": [{"name": one["host"], "state": one["state"], "status": one["status"]} for one in hosts],
        "servers": _counted(server["status"] for server in servers),
        "volumes": _counted(volume["status"] for volume in volumes),
    }


def describe(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    from objstore.cli.dev import health_line

    lines = [health_line(facts["cluster"])]
    lines += [f"{one['name']}: {'up' if one['up'] else 'DOWN'}" for role in ("agents", "disks") for one in facts["cluster"].get(role, ())]
    lines += [f"host {host['name']}: {host['state']}, {host['status']}" for host in facts["hosts"]]
    for what in ("servers", "volumes"):
        counts = ", ".join(f"{count} {state.lower()}" for state, count in facts[what].items())
        lines.append(f"{what}: {counts or 'none'}")
    lines += [f"{kind}: {url}" for kind, url in facts["services"].items()]
    return "\n".join(lines)


def welcome(facts: Mapping[str, Any], host: Host) -> str:
    """What is printed when servers can be made."""
    commands = "\n".join(f"    {line}" for line in first_commands(facts))
    made = f"\n  made      {', '.join(facts['made'])}" if facts["made"] else ""
    without = (
        f"\n            QEMU's own network, since {host.why_no_networks}: guests do not reach one another" if host.driver == "user" else ""
    )
    return f"""
  A cloud with {len(facts["agents"])} host{"" if len(facts["agents"]) == 1 else "s"} of guests, ready in {facts["ready_s"]:.1f} s

  shell     . {facts["openrc"]}
  programs  OS_CLIENT_CONFIG_FILE={facts["clouds"]} OS_CLOUD={CLOUD}
  key       {facts["key"]} (key pair {KEY_NAME}){made}
  networks  {host.driver}{without}

  Five commands (pip install python-openstackclient):

{commands}

  objstore cloud status, objstore cloud down; S3 is at {facts["s3"][0]}
"""


def first_commands(facts: Mapping[str, Any]) -> list[str]:
    """From nothing to a server with a volume and an image of it."""
    return [
        f". {facts['openrc']}",
        f"openstack server create --image {TINY} --flavor m1.nano --network {PRIVATE} --key-name {KEY_NAME} --wait hello",
        "openstack console log show hello",
        "openstack volume create --size 1 data && openstack server add volume hello data",
        f"openstack floating ip create {PUBLIC}"
        if facts["network_driver"] == "netns"
        else "openstack server image create --name copy hello",
    ]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "objstore"


def _agents(root: Path) -> int:
    from objstore.cli.layout import Place, read_cluster

    return max(1, read_cluster(Place(root))[0].agents) if (root / "cluster.toml").exists() else 1


def _driver(root: Path, overrides: Sequence[str]) -> str:
    """The network driver that was chosen, now or before."""
    chosen = "auto"
    if (root / "cluster.toml").exists():
        from objstore.cli.layout import Place, read_cluster

        section, _, key = DRIVER_SETTING.partition(".")
        chosen = read_cluster(Place(root))[1].get(section, {}).get(key, chosen)
    for text in overrides:
        name, _, value = text.partition("=")
        chosen = value if name == DRIVER_SETTING else chosen
    return chosen


def _counted(states: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in states:
        counts[str(state)] = counts.get(str(state), 0) + 1
    return dict(sorted(counts.items()))
