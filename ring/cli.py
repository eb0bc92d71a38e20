"""The `ring` command: make a ring file, change it, look into it.

A thin shell around `ring.builder`: load, decide, save, report.  Each change publishes the next epoch of the file, which
the operator hands to any node (nodes pass it on).  Exit codes: 0 ok, 1 failed, 2 usage.  What is heavy is imported in the
commands, so that `ring --help` answers at once.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from ring.builder import Change
    from ring.lookup import Ring
    from ring.model import Device

DEVICE_FIELDS = ("node", "address", "region", "zone", "weight", "incarnation", "path")
DEVICE_HELP = "Write a device as node=N,address=tcp:HOST:PORT,zone=Z,incarnation=HEX[,region=R][,weight=W][,path=P]."
F = TypeVar("F", bound=Callable[..., Any])


class _Failure(click.ClickException):
    """Printed in three lines: what, why, what to do next."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.lines = [f"error: {what}", *([f"why: {why}"] if why else []), *([f"try: {hint}"] if hint else [])]

    def show(self, file: Any = None) -> None:
        """To standard error, or to `file`."""
        for line in self.lines:
            click.echo(line, file=file, err=file is None)


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        from ring.model import RingError

        try:
            return super().invoke(ctx)
        except RingError as failure:
            raise _Failure(failure.what, failure.why, failure.hint) from failure
        except OSError as failure:
            raise _Failure(str(failure)) from failure


class _DeviceParam(click.ParamType["Device"]):
    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ring.model import UNASSIGNED, Device, RingError

        fields = {"region": "default", "weight": "1", "path": ""}
        for item in value.split(","):
            name, equals, text = item.partition("=")
            if name not in DEVICE_FIELDS or not equals:
                self._refuse(f"{item!r} is none of {', '.join(f'{field}=...' for field in DEVICE_FIELDS)}", param, ctx)
            fields[name] = text
        missing = [name for name in DEVICE_FIELDS if name not in fields]
        if missing:
            self._refuse(f"it has no {', '.join(missing)}", param, ctx)
        try:
            return Device(
                UNASSIGNED,
                fields["node"],
                fields["address"],
                fields["region"],
                fields["zone"],
                float(fields["weight"]),
                bytes.fromhex(fields["incarnation"]),
                fields["path"],
            )
        except RingError as failure:
            self._refuse(str(failure), param, ctx)
        except ValueError:
            self._refuse("weight must be a number, incarnation 16 hexadecimal digits", param, ctx)

    def _refuse(self, why: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        self.fail(f"{why}. {DEVICE_HELP}", param, ctx)


class _WeightParam(click.ParamType[tuple[int, float]]):
    name = "id=weight"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        left, _, right = value.partition("=")
        try:
            return int(left), float(right)
        except ValueError:
            self.fail(f"{value!r} is not ID=WEIGHT, such as 3=1.5", param, ctx)


FILE = click.argument("file", type=click.Path(dir_okay=False))
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _changing(command: F) -> F:
    """Options of every command that publishes an epoch."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would move; write nothing."),
        click.option("--now-s", type=click.IntRange(min=0), default=None, help="Seconds since 1970; the machine's clock by default."),
        JSON,
    ):
        command = option(command)
    return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make, change and inspect ring files: which device holds which partition."""


@main.command()
@FILE
@click.option("--policy", default="replicated", show_default=True, help="Storage policy that this ring serves.")
@click.option("--replicas", "replica_count", type=int, default=3, show_default=True, help="Replicas (or k + m fragments) of a partition.")
@click.option("--part-power", type=int, default=12, show_default=True, help="2 to this power partitions; it can never be changed.")
@click.option("--min-part-hours", type=float, default=1.0, show_default=True, help="Rest for a partition after a move.")
@click.option(
    "--overload", type=float, default=0.1, show_default=True, help="How far above its share a device may go to keep replicas apart."
)
@click.option("--hash-seed", default=None, help="16 hexadecimal digits; random by default.  Never changes.")
@click.option("--device", "devices", type=_DeviceParam(), multiple=True, required=True, help=f"{DEVICE_HELP}  Repeat it.")
@_changing
def create(
    file: str,
    *,
    policy: str,
    replica_count: int,
    part_power: int,
    min_part_hours: float,
    overload: float,
    hash_seed: str | None,
    devices: "Sequence[Device]",
    **options: Any,
) -> None:
    """Make the first epoch of a ring."""
    import secrets
    from pathlib import Path

    from ring import builder
    from ring.model import RingSpec

    try:
        seed = secrets.randbits(64) if hash_seed is None else int(hash_seed, 16)
    except ValueError as failure:
        raise click.UsageError(f"--hash-seed {hash_seed!r} is not hexadecimal") from failure
    if Path(file).exists():
        raise _Failure(f"{file} exists already", "a ring that is in use must not be made anew", "choose another name")
    spec = RingSpec(policy, replica_count, part_power, seed, min_part_hours, overload)
    _publish(file, None, builder.create(spec, devices), options)


@main.command()
@FILE
@click.argument("devices", type=_DeviceParam(), nargs=-1, required=True, metavar="DEVICE...")
@_changing
def add(file: str, *, devices: "Sequence[Device]", **options: Any) -> None:
    """Bring devices in (node=N,address=...,zone=Z,incarnation=HEX...)."""
    from ring.builder import Add

    _change(file, [Add(device) for device in devices], options)


@main.command()
@FILE
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@_changing
def remove(file: str, *, ids: Sequence[int], **options: Any) -> None:
    """Take devices out; they go on serving until the handover is finished."""
    from ring.builder import Remove

    _change(file, [Remove(device_id) for device_id in ids], options)


@main.command()
@FILE
@click.argument("weights", type=_WeightParam(), nargs=-1, required=True, metavar="ID=WEIGHT...")
@_changing
def weigh(file: str, *, weights: Sequence[tuple[int, float]], **options: Any) -> None:
    """Give devices other weights; 0 drains one."""
    from ring.builder import Weigh

    _change(file, [Weigh(device_id, weight) for device_id, weight in weights], options)


@main.command()
@FILE
@click.argument("device_id", type=int, metavar="ID")
@click.option("--incarnation", required=True, help="16 hexadecimal digits made when the new disk was formatted.")
@click.option("--address", default=None, help="If it differs from the old one's.")
@click.option("--path", default=None, help="If it differs from the old one's.")
@_changing
def replace(file: str, *, device_id: int, incarnation: str, address: str | None, path: str | None, **options: Any) -> None:
    """Swap a broken or wiped disk for a new one in the same place; allowed during a handover."""
    import dataclasses

    from ring.builder import Replace
    from ring.files import load
    from ring.model import UNASSIGNED, RingError

    old = load(file).devices.get(device_id)
    if old is None:
        raise RingError(f"device {device_id} is not in the ring", "", f"ring show {file}")
    try:
        raw = bytes.fromhex(incarnation)
    except ValueError as failure:
        raise click.UsageError("--incarnation must be 16 hexadecimal digits") from failure
    device = dataclasses.replace(
        old, id=UNASSIGNED, incarnation=raw, address=address or old.address, path=old.path if path is None else path
    )
    _change(file, [Replace(device_id, device)], options)


@main.command()
@FILE
@click.argument("device_id", type=int, metavar="ID")
@click.argument("address")
@click.option("--path", default=None, help="The disk's new mount point.")
@_changing
def readdress(file: str, *, device_id: int, address: str, path: str | None, **options: Any) -> None:
    """Note that a device is reached at another address; nothing moves."""
    from ring.builder import Readdress

    _change(file, [Readdress(device_id, address, path)], options)


@main.command()
@FILE
@_changing
def rebalance(file: str, **options: Any) -> None:
    """Move what min-part-hours held back before; writes nothing when nothing is to move."""
    _change(file, [], options)


@main.command()
@FILE
@click.option("--in-sync", is_flag=True, required=True, help="You know that every new primary is in sync; otherwise writes would be lost.")
@_changing
def finish(file: str, *, in_sync: bool, **options: Any) -> None:
    """End the handover: drop the previous assignment.  The cluster does this by itself when it can."""
    from ring import builder
    from ring.files import load

    if not in_sync:
        raise click.UsageError("give --in-sync when every new primary is in sync")
    old = load(file)
    _publish(file, old, builder.finish(old), options)


@main.command()
@FILE
@_changing
def abandon(file: str, **options: Any) -> None:
    """Give the handover up: the previous assignment becomes current again."""
    from ring import builder
    from ring.files import load

    old = load(file)
    _publish(file, old, builder.abandon(old), options)


@main.command()
@FILE
@JSON
def show(file: str, *, as_json: bool) -> None:
    """Print devices with their balance, and the dispersion of replicas."""
    from ring.files import load

    ring = load(file)
    facts = _facts(ring)
    if as_json:
        click.echo(json.dumps(facts))
        return
    spec = ring.spec
    click.echo(f"{spec.policy}: epoch {ring.epoch}, {spec.replica_count} replicas, {ring.partition_count} partitions, ", nl=False)
    click.echo(f"min-part-hours {spec.min_part_hours:g}, overload {spec.overload:g}")
    click.echo(f"handover: {facts['moving']} partitions are moving" if facts["moving"] else "handover: none")
    click.echo(
        f"{'id':>5} {'region/zone/node':<32} {'weight':>10} {'replicas':>9} {'fair':>10} {'balance':>9}  {'in':>6} {'out':>6}  address"
    )
    for row in facts["devices"]:
        place = f"{row['region']}/{row['zone']}/{row['node']}"
        state = "  (leaving)" if row["retired"] else ""
        click.echo(
            f"{row['id']:>5} {place:<32} {row['weight']:>10g} {row['replicas']:>9} {row['fair']:>10.1f} {row['percent']:>8.2f}%"
            f"  {row['incoming']:>6} {row['outgoing']:>6}  {row['address']}{state}"
        )
    click.echo(f"balance: worst device {facts['worst_percent']:.2f} % from its fair share")
    for row in facts["dispersion"]:
        click.echo(
            f"dispersion: {row['level']}: {row['partitions_below']} partitions ({row['percent_below']:.2f} %)"
            f" in fewer than {row['possible']} of {row['domains']}"
        )


@main.command(name="diff")
@click.argument("old", type=click.Path(dir_okay=False))
@click.argument("new", type=click.Path(dir_okay=False))
@JSON
def diff_command(old: str, new: str, *, as_json: bool) -> None:
    """Print what moves between two epochs of one ring."""
    from ring.diff import diff
    from ring.files import load

    found = diff(load(old), load(new))
    if as_json:
        click.echo(json.dumps({**asdict(found), "moved_share": found.moved_share}))
        return
    click.echo(f"epoch {found.old_epoch} -> {found.new_epoch}: {len(found.moved)} partitions, ", nl=False)
    click.echo(f"{found.replicas_moved} of {found.replicas} replicas ({100 * found.moved_share:.2f} %) move")
    for row in found.devices:
        if row.gained or row.lost:
            shares = f"{100 * row.share_before:.2f} % -> {100 * row.share_after:.2f} %"
            click.echo(f"{row.device_id:>5}  +{row.gained:<8} -{row.lost:<8} {shares}")


@main.command()
@FILE
@JSON
def validate(file: str, *, as_json: bool) -> None:
    """Check a ring file; exit code 1 when it is not sound."""
    from ring.files import load

    ring = load(file)
    if as_json:
        click.echo(json.dumps({"valid": True, "epoch": ring.epoch, "policy": ring.spec.policy, "moving": len(ring.moving())}))
    else:
        click.echo(
            f"{file}: valid; {ring.spec.policy}, epoch {ring.epoch}, {len(ring.devices)} devices, {len(ring.moving())} partitions moving"
        )


def _change(file: str, changes: "Sequence[Change]", options: dict[str, Any]) -> None:
    import time

    from ring import builder
    from ring.files import load

    old = load(file)
    now_s = options["now_s"]
    if now_s is None:
        now_s = int(time.time())  # noqa: TID251 the command's own edge: this package imports nothing of objstore
    _publish(file, old, builder.change(old, changes, now_s=now_s), options, skip_idle=not changes)


def _publish(file: str, old: "Ring | None", new: "Ring", options: dict[str, Any], *, skip_idle: bool = False) -> None:
    from ring.diff import diff
    from ring.files import save

    written = not options["dry_run"] and not (skip_idle and not new.moving())
    if written:
        save(file, new)
    facts = _facts(new)
    moved = diff(old, new) if old is not None else None
    summary = {
        "file": file,
        "written": written,
        "dry_run": options["dry_run"],
        "epoch": new.epoch,
        "moving": facts["moving"],
        "replicas_moved": moved.replicas_moved if moved else 0,
        "moved_share": moved.moved_share if moved else 0.0,
        "added": list(moved.added if moved else new.devices),
        "removed": list(moved.removed) if moved else [],
        "worst_percent": facts["worst_percent"],
        "dispersion": facts["dispersion"],
    }
    if options["as_json"]:
        click.echo(json.dumps(summary))
        return
    click.echo(f"{file}: epoch {new.epoch} {'written' if written else 'not written'}{' (dry run)' if options['dry_run'] else ''}")
    if skip_idle and not new.moving():
        click.echo("nothing is to move")
    if summary["added"]:
        click.echo(f"devices added: {', '.join(map(str, summary['added']))}")
    if summary["removed"]:
        click.echo(f"devices removed: {', '.join(map(str, summary['removed']))}")
    click.echo(f"replicas that move: {summary['replicas_moved']} ({100 * summary['moved_share']:.2f} %), in {facts['moving']} partitions")
    click.echo(f"balance: worst device {facts['worst_percent']:.2f} % from its fair share")
    for row in facts["dispersion"]:
        if row["partitions_below"]:
            click.echo(f"dispersion: {row['percent_below']:.2f} % of partitions are in fewer {row['level']}s than they could be")


def _facts(ring: "Ring") -> dict[str, Any]:
    """What `show` prints; everything but the hash seed, which is a secret."""
    from ring.report import balance, dispersion

    report = balance(ring)
    devices = []
    for row in report.devices:
        device = ring.devices[row.device_id]
        facts = asdict(row)
        del facts["device_id"]
        devices.append({**asdict(device), "incarnation": device.incarnation.hex(), **facts})
    spec = ring.spec
    return {
        "policy": spec.policy,
        "epoch": ring.epoch,
        "replica_count": spec.replica_count,
        "part_power": spec.part_power,
        "min_part_hours": spec.min_part_hours,
        "overload": spec.overload,
        "moving": len(ring.moving()),
        "worst_percent": report.worst_percent,
        "devices": devices,
        "dispersion": [asdict(level) for level in dispersion(ring)],
    }
