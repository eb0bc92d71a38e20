"""`objstore ctl`: the executable contract by which tests, benchmarks and fault harnesses run a cluster (docs/reference/ctl.md).

Every call prints one JSON object on standard output and nothing else there; exit 0 done, 1 failed (with `error`), 2 usage.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from objstore.cli.client import CallFailed, bring_down, call, call_up
from objstore.cli.errors import report

USUAL = Path("objstore-data")  # where `objstore dev` and `make run` lay one
UP_TIMEOUT_S = 120.0
DOWN_TIMEOUT_S = 60.0  # 40 s of it are for guests and their disks, where there are any
SHORT_TIMEOUT_S = 60.0
RING_TIMEOUT_S = 240.0
COUNT = click.IntRange(min=1)
SERVICES = ("identity", "image", "volume", "network", "compute")
ANSWER_MARGIN_S = 60.0  # beyond a call's own limit: the supervisor ends it first and can say why

Command = Callable[..., Any]


def _dir_option(command: Command) -> Command:
    return click.option(
        "--dir", "directory", type=click.Path(path_type=Path), help="The cluster's directory; without it objstore-data here, if there is one."
    )(command)  # fmt: skip


def _root(context: click.Context, directory: Path | None) -> Path:
    chosen = (
        directory or context.find_root().params.get("directory") or (context.parent.params.get("directory") if context.parent else None)
    )
    if chosen is None and not (USUAL / "cluster.toml").exists():
        raise click.UsageError(f"say which cluster: --dir D (there is none in {USUAL})")
    return Path(chosen or USUAL).absolute()


def _services(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    """Names that a caller counts on; a usage error where one of them is none of ours."""
    for name in given.split(",") if given else ():
        if name.strip() not in SERVICES:
            raise click.BadParameter(f"there is no service {name.strip()!r}; there are {', '.join(SERVICES)}")
    return given


def _assignments(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for text in given:
        if not text.partition("=")[0].rpartition(":")[2] or "=" not in text:
            raise click.BadParameter(f"{text!r} is not of the form NAME:K=V or K=V")
    return given


def _settings(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for text in given:
        section, _, key = text.partition("=")[0].strip().partition(".")
        if "=" not in text or not section or not key:
            raise click.BadParameter(f"{text!r} is not of the form section.key=value")
    return given


def _weight(_context: click.Context, _parameter: click.Parameter, given: float) -> float:
    if not 0 <= given < math.inf:
        raise click.BadParameter(f"{given} is no weight: it is 0 or more")
    return given


def _answer(root: Path, name: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = SHORT_TIMEOUT_S) -> int:
    try:
        result = call(root, name, arguments, timeout_s=timeout_s)
    except CallFailed as failure:
        return report(str(failure), kind=failure.kind)
    print(json.dumps(result))
    return 1 if isinstance(result, dict) and result.get("error") else 0


@click.group()
@_dir_option
def ctl(directory: Path | None) -> None:
    """Start, stop, watch and change a cluster of processes."""


@ctl.command()
@_dir_option
@click.option("--nodes", type=COUNT, default=3, show_default=True, help="Storage nodes of a new cluster.")
@click.option("--devices", type=COUNT, default=1, show_default=True, help="Devices of each node.")
@click.option("--zones", type=COUNT, default=3, show_default=True, help="Failure domains; node i is in zone ((i - 1) mod zones) + 1.")
@click.option("--proxies", type=COUNT, default=2, show_default=True, help="Proxies of a new cluster.")
@click.option("--port-base", default=21000, show_default=True, help="All ports are in this one and the 999 after it, on 127.0.0.1.")
@click.option(
    "--identities", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Users and keys that exist from the start."
)
@click.option(
    "--policy", "policies", multiple=True, help="NAME=NODES[:REPLICAS]: a further ring, for bodies of a storage class; may be repeated."
)
@click.option("--tls", is_flag=True, help="Serve HTTPS with a generated certificate; its authority is given as ca_cert.")
@click.option("--agents", type=int, help="Hosts of guests on this machine, for the compute service; can be more at a later up.")
@click.option("--services", callback=_services, default="", help="NAME,NAME...: services that must be there; all five always are.")
@click.option("--exec-prefix", "exec_prefix", multiple=True, help='"CMD" before every process, "NAME:CMD" before one; may be repeated.')
@click.option("--uid-base", type=int, help="Node i runs as user id UID_BASE + i (needs root).")
@click.option("--env", "environment", multiple=True, callback=_assignments, help="NAME:K=V for one process, K=V for all; may be repeated.")
@click.option("--set", "overrides", multiple=True, callback=_settings, help="section.key=value of the configuration; may be repeated.")
@click.option("--timeout", "timeout_s", default=UP_TIMEOUT_S, show_default=True, help="Seconds until writes must be possible.")
@click.pass_context
def up(context: click.Context, /, directory: Path | None, **options: Any) -> int:
    """Lay a new cluster, or start the one that is there; returns when writes are possible."""
    root = _root(context, directory)
    names = ("nodes", "devices", "zones", "proxies", "port_base", "tls", "uid_base", "policies")
    identities = options["identities"]
    arguments = {
        "new": {name: options[name] for name in names},
        "identities": str(identities.absolute()) if identities else None,
        "exec_prefix": list(options["exec_prefix"]) or None,
        "environment": list(options["environment"]) or None,
        "overrides": list(options["overrides"]),
        "agents": options["agents"],
        "timeout_s": options["timeout_s"],
    }
    try:
        result = call_up(root, arguments, timeout_s=options["timeout_s"] + ANSWER_MARGIN_S)
    except (CallFailed, OSError) as failure:
        return report(str(failure), kind=getattr(failure, "kind", type(failure).__name__))
    print(json.dumps(result))
    return 0


@ctl.command()
@_dir_option
@click.pass_context
def down(context: click.Context, directory: Path | None) -> int:
    """Stop all processes in order, within 10 seconds; guests and their disks before them, in 40."""
    root = _root(context, directory)
    try:
        result = bring_down(root, timeout_s=DOWN_TIMEOUT_S)
    except CallFailed as failure:
        if failure.kind != "NoSupervisor" or not (root / "cluster.toml").exists():
            return report(str(failure), kind=failure.kind)
        result = {"stopped": []}  # nothing ran: processes end with their supervisor
    print(json.dumps(result))
    return 0


@ctl.command()
@_dir_option
@click.argument("name")
@click.pass_context
def start(context: click.Context, directory: Path | None, name: str) -> int:
    """Start one process and wait until it is ready."""
    return _answer(_root(context, directory), "start", {"name": name}, timeout_s=SHORT_TIMEOUT_S + ANSWER_MARGIN_S)


@ctl.command()
@_dir_option
@click.argument("name")
@click.option("--signal", "signal_name", default="TERM", show_default=True, help="TERM, KILL...; STOP and CONT freeze and thaw.")
@click.pass_context
def stop(context: click.Context, directory: Path | None, name: str, signal_name: str) -> int:
    """Stop one process; it stays stopped until it is started."""
    return _answer(_root(context, directory), "stop", {"name": name, "signal": signal_name})


@ctl.command()
@_dir_option
@click.pass_context
def status(context: click.Context, directory: Path | None) -> int:
    """The cluster's state, from facts gathered for this call."""
    root = _root(context, directory)
    try:
        result = call(root, "status", timeout_s=SHORT_TIMEOUT_S)
    except CallFailed as failure:
        if failure.kind != "NoSupervisor" or not (root / "cluster.toml").exists():
            return report(str(failure), kind=failure.kind)
        from objstore.cli.resting import resting_status

        result = resting_status(root)
    print(json.dumps(result))
    return 0


@ctl.command()
@_dir_option
@click.argument("name", default="")
@click.pass_context
def pids(context: click.Context, directory: Path | None, name: str) -> int:
    """Name to process id, of all that run or of one."""
    return _answer(_root(context, directory), "pids", {"name": name})


@ctl.command()
@_dir_option
@click.option("--wait", is_flag=True, help="Return when it is done; else it goes on in the background.")
@click.option("--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds.")
@click.pass_context
def repair(context: click.Context, /, directory: Path | None, **options: Any) -> int:
    """Replicate until all copies are equal and in their places."""
    return _work(_root(context, directory), "repair", **options)


@ctl.command()
@_dir_option
@click.option("--wait", is_flag=True, help="Return when it is done; else it goes on in the background.")
@click.option("--timeout", "timeout_s", default=3600.0, show_default=True, help="Seconds.")
@click.pass_context
def audit(context: click.Context, /, directory: Path | None, **options: Any) -> int:
    """Verify every stored byte once; heal what is damaged."""
    return _work(_root(context, directory), "audit", **options)


def _work(root: Path, name: str, *, wait: bool, timeout_s: float) -> int:
    if wait:
        return _answer(root, name, {"timeout_s": timeout_s}, timeout_s=timeout_s + ANSWER_MARGIN_S)
    try:
        call(root, name, {"timeout_s": timeout_s}, timeout_s=0.2)
    except CallFailed as failure:
        if failure.kind != "DeadlineExceeded":
            return report(str(failure), kind=failure.kind)
    print(json.dumps({"started": True}))
    return 0


@ctl.command("add-node")
@_dir_option
@click.option("--devices", type=COUNT, default=1, show_default=True, help="Devices of the new node.")
@click.option("--zone", type=int, help="Its zone; by default as `up` numbers them.")
@click.option("--weight", default=1.0, callback=_weight, show_default=True, help="Weight of each device.")
@click.option("--policy", default="", help="The storage policy whose ring it joins; the default ring without it.")
@click.pass_context
def add_node(context: click.Context, /, directory: Path | None, **options: Any) -> int:
    """Make and start a node and publish a ring with its devices; `status` shows how far the data is."""
    return _answer(_root(context, directory), "add_node", options, timeout_s=RING_TIMEOUT_S)


@ctl.command("add-policy")
@_dir_option
@click.argument("policy", metavar="NAME=NODES[:REPLICAS]")
@click.option("--devices", type=COUNT, default=1, show_default=True, help="Devices of each node.")
@click.pass_context
def add_policy(context: click.Context, directory: Path | None, policy: str, devices: int) -> int:
    """Make a further ring for bodies of a storage class; proxies are started anew, one after the other."""
    return _answer(_root(context, directory), "add_policy", {"policy": policy, "devices": devices}, timeout_s=RING_TIMEOUT_S)


@ctl.command()
@_dir_option
@click.argument("name")
@click.pass_context
def drain(context: click.Context, directory: Path | None, name: str) -> int:
    """Publish a ring in which a node's devices hold nothing."""
    return _answer(_root(context, directory), "drain", {"name": name}, timeout_s=RING_TIMEOUT_S)


@ctl.command()
@_dir_option
@click.argument("name")
@click.pass_context
def remove(context: click.Context, directory: Path | None, name: str) -> int:
    """Publish a ring without a node; its process ends when the ring has done without it."""
    return _answer(_root(context, directory), "remove", {"name": name}, timeout_s=RING_TIMEOUT_S)


@ctl.command()
@_dir_option
@click.argument("target", metavar="BUCKET/KEY")
@click.pass_context
def where(context: click.Context, directory: Path | None, target: str) -> int:
    """Where the copies of an object are, as each device tells it."""
    return _answer(_root(context, directory), "where", {"target": target})


@ctl.command("rotate-token-keys")
@_dir_option
@click.option("--revoke", is_flag=True, help="Make every token from before void at once: somebody got at the keys.")
@click.pass_context
def rotate_token_keys(context: click.Context, /, directory: Path | None, **options: Any) -> int:
    """Seal tokens of the identity service with the next key; those from before stay good until they expire."""
    return _answer(_root(context, directory), "rotate_token_keys", options)
