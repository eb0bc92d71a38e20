"""`objstore dev`: a cluster on this machine in the foreground, with what a newcomer needs on the screen.

It is `ctl up` with a friendly face: the same supervisor and directory, so `objstore ctl --dir D` works beside it.
"""

import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from objstore.cli import health
from objstore.cli.client import CallFailed, bring_down, call, call_up
from objstore.cli.errors import complain
from objstore.cli.snippet import access_of, boto3
from objstore.cli.version import installed_version

HEALTH_S = 2.0  # between health lines
DOWN_TIMEOUT_S = 15.0


@click.command()
@click.option("--nodes", default=3, show_default=True, help="Storage nodes of a new cluster.")
@click.option("--devices", default=1, show_default=True, help="Devices of each node.")
@click.option("--proxies", default=2, show_default=True, help="Proxies of a new cluster.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("objstore-data"),
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--ephemeral", is_flag=True, help="Keep nothing: a temporary directory, removed at the end.")
@click.option("--port-base", default=9000, show_default=True, help="First of the 1000 ports that may be used, all on 127.0.0.1.")
@click.option("--policy", "policies", multiple=True, help="NAME=NODES[:REPLICAS]: a further ring, for bodies of a storage class.")
@click.option("--tls", is_flag=True, help="Serve HTTPS with a generated certificate.")
@click.option("--set", "overrides", multiple=True, help="section.key=value of the configuration; may be repeated.")
def dev(directory: Path, *, ephemeral: bool, overrides: tuple[str, ...], **shape: Any) -> int:
    """Run a cluster on this machine until Ctrl-C; data and keys are kept for the next time."""
    root = Path(tempfile.mkdtemp(prefix="objstore-")) if ephemeral else directory.absolute()
    known = (root / "cluster.toml").exists()
    began = False
    try:
        # Ctrl-C from here on means: stop in order.  The supervisor has a session of its own and does not see it.
        asked = _Asked()
        summary = call_up(root, {"new": {"zones": shape["nodes"], **shape}, "overrides": list(overrides)}, timeout_s=180.0)
        print(welcome(summary, root, known=known, ephemeral=ephemeral), flush=True)
        began = True
        _watch(root, asked)
    except CallFailed as failure:
        if failure.kind == "NoSupervisor" and began:
            print("\n  stopped by somebody else (objstore ctl down)", flush=True)
            return 0
        return complain(str(failure), hint=f"the logs in {root / 'log'}, or another --port-base when a port is taken")
    except OSError as failure:
        return complain(f"cannot use {root}: {failure}", hint="another --dir")
    finally:
        _stop(root)
        if ephemeral:
            shutil.rmtree(root, ignore_errors=True)
    return 0


def welcome(summary: Mapping[str, Any], root: Path, *, known: bool, ephemeral: bool) -> str:
    """What is printed when the cluster is ready."""
    access = access_of(summary)
    kept = "removed at the end" if ephemeral else "kept; the same again next time"
    keys = "as before" if known else f"new, saved in {root / 'secrets' / 'admin.toml'} (mode 0600)"
    authority = f"\n  CA        {access.ca_cert}" if access.ca_cert else ""
    others = ", ".join(summary["s3"][1:])
    bundle = f" AWS_CA_BUNDLE={shlex.quote(access.ca_cert)}" if access.ca_cert else ""
    here = shlex.quote(str(root))
    indented = "".join(f"    {line}\n" for line in boto3(access).splitlines())
    return f"""
  objstore {installed_version()}   data {root} ({kept})   ready in {summary["ready_s"]:.1f} s

  S3        {access.endpoint}{f"   (also {others})" if others else ""}   region {access.region}{authority}
  access    {access.access_key}
  secret    {access.secret_key}   ({keys})
  metrics   {summary["metrics"][0]}

  Python (pip install boto3):

{indented}
  Shell (pip install awscli):

    export AWS_ENDPOINT_URL={access.endpoint} AWS_DEFAULT_REGION={access.region}{bundle}
    export AWS_ACCESS_KEY_ID={access.access_key} AWS_SECRET_ACCESS_KEY={access.secret_key}
    aws s3 mb s3://photos && aws s3 cp README.md s3://photos/ && aws s3 ls s3://photos/

  Other tools: objstore snippet rclone|restic|s3cmd --dir {here}
  Hurt it:     objstore ctl --dir {here} stop node3 --signal KILL
               objstore ctl --dir {here} start node3
  Ctrl-C stops everything.
"""


def health_line(status: Mapping[str, Any]) -> str:
    """One line that says how the cluster is."""
    up = [node["name"] for node in status["nodes"] if node["up"]]
    repairing = status["under_replicated"] or status["misplaced"] or status.get("changing") or len(up) < len(status["nodes"])
    impaired = "writable, repairing" if repairing else "writable, not all is well"
    word = "healthy" if status["healthy"] else impaired if status["writable"] else "NOT WRITABLE"
    parts = [f"{word}: {len(up)} of {len(status['nodes'])} nodes up"]
    silent = health.down(status)
    if silent:
        parts.append(f"down: {', '.join(silent)}")
    if status["under_replicated"]:
        parts.append(f"{status['under_replicated']} rows to copy")
    if status["misplaced"]:
        parts.append(f"{status['misplaced']} rows to move")
    return ", ".join(parts)


class _Asked:
    """Set by Ctrl-C, or by SIGTERM."""

    def __init__(self) -> None:
        self.event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.event.set()


def _watch(root: Path, asked: _Asked) -> None:
    """Show health until asked to stop: on a terminal one line that is rewritten, else a line at each change."""
    terminal = sys.stdout.isatty()
    shown = ""
    while not asked.event.is_set():
        line = health_line(call(root, "status", timeout_s=60.0))
        if line != shown:
            print(f"\r\x1b[K  {line}" if terminal else f"  {line}", end="" if terminal else "\n", flush=True)
            shown = line
        asked.event.wait(HEALTH_S)
    print("\n  stopping...", flush=True)


def _stop(root: Path) -> None:
    with contextlib.suppress(CallFailed):  # it is gone already
        bring_down(root, timeout_s=DOWN_TIMEOUT_S)
