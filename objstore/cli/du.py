"""`objstore du`: what buckets hold.

Totals come from counters that the devices keep, at once; below a prefix, or with --exact, the rows are looked at, a page at a time.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from objstore.cli.client import CallFailed, call
from objstore.cli.directory import cluster_directory
from objstore.cli.errors import complain

CALL_TIMEOUT_S = 150.0
QUIET_S = 1.0  # a scan that takes longer says how far it is
GROUPS_LIMIT = 100_000  # directories shown at once: more is no overview, and memory
COUNTS = ("objects", "bytes", "versions", "version_bytes", "markers", "uploads", "upload_bytes")
_HEADINGS = ("objects", "bytes", "versions", "their bytes", "delete markers", "uploads", "their bytes")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Row = dict[str, Any]


@click.command()
@cluster_directory
@click.option("--bucket", default="", help="This bucket alone.")
@click.option("--prefix", default="", help="What lies below this prefix of --bucket, by looking at it.")
@click.option("--depth", default=0, type=click.IntRange(0, 64), help="Show directories below the prefix, so many levels deep.")
@click.option("--exact", is_flag=True, help="Look at every row instead of the counters.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, sizes in bytes.")
def du(directory: Path, bucket: str, prefix: str, depth: int, *, exact: bool, as_json: bool) -> int:
    """What buckets hold: objects, noncurrent versions, delete markers, incomplete uploads, and their bytes."""
    if (prefix or depth) and not bucket:
        raise click.UsageError("--prefix and --depth need a --bucket")
    root = directory.absolute()
    try:
        buckets = list(_buckets(root, bucket))
        if bucket and not buckets:
            return complain(f"there is no bucket {bucket!r}", hint=f"objstore du --dir {directory}", code=4)
        if prefix or depth:
            rows = [row for held in buckets for row in _directories(root, held, prefix, depth)]
            total = _sum([row for row in rows if row["prefix"] == prefix])
        else:
            rows = [_looked_at(root, held) for held in buckets] if exact else buckets
            total = _sum(rows)
    except CallFailed as failure:
        return complain(str(failure))
    shown = "entries" if prefix or depth else "buckets"
    if as_json:
        print(json.dumps({shown: rows, "total": total}))
    else:
        print("\n".join(_table(rows, total, exact=exact or shown == "entries")))
    return 0


def _buckets(root: Path, name: str) -> Iterator[Row]:
    after, more, progress = "", True, _Progress("buckets")
    while more:
        page = call(root, "list_holdings", {"bucket": name, "after": after}, timeout_s=CALL_TIMEOUT_S)
        yield from page["buckets"]
        after = page["next"]
        more = bool(after)
        progress.tell(len(page["buckets"]))
    progress.end()


def _looked_at(root: Path, held: Row) -> Row:
    groups = _scan(root, held, "", 0)
    return {**held, **groups[""]}


def _directories(root: Path, held: Row, prefix: str, depth: int) -> list[Row]:
    groups = _scan(root, held, prefix, depth)
    about = {"bucket": held["bucket"], "account": held["account"]}
    return [{**about, "prefix": name, **counts} for name, counts in sorted(groups.items())]


def _scan(root: Path, held: Row, prefix: str, depth: int) -> dict[str, dict[str, int]]:
    sums: dict[str, dict[str, int]] = {}
    cursor, more, progress = "", True, _Progress(f"rows of {held['bucket']}")
    while more:
        asked = {"bucket_id": held["id"], "prefix": prefix, "depth": depth, "cursor": cursor}
        page = call(root, "scan_holdings", asked, timeout_s=CALL_TIMEOUT_S)
        for name, counts in page["groups"].items():
            known = sums.setdefault(name, dict.fromkeys(COUNTS, 0))
            for field in COUNTS:
                known[field] += counts[field]
        if len(sums) > GROUPS_LIMIT:
            raise CallFailed(f"there are more than {GROUPS_LIMIT} directories; ask for a smaller --depth")
        counts = page["groups"][prefix]
        progress.tell(sum(counts[field] for field in ("objects", "versions", "markers", "uploads")))
        cursor = page["cursor"]
        more = bool(cursor)
    progress.end()
    return sums


class _Progress:
    """Says on standard error how far a long scan is, once a second at most."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._count = 0
        self._told_at = time.monotonic()  # noqa: TID251 a command at the process edge has no World
        self._told = False

    def tell(self, more: int) -> None:
        """So many more were looked at."""
        self._count += more
        now = time.monotonic()  # noqa: TID251 the same as above
        if now - self._told_at >= QUIET_S:
            self._told_at, self._told = now, True
            print(f"\r{self._count:,} {self._what}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing follows."""
        if self._told:
            print(file=sys.stderr)


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    fields = [*COUNTS, *(["stored_bytes"] if any("stored_bytes" in row for row in rows) else [])]
    return {field: sum(row[field] for row in rows) for field in fields}


def _table(rows: Sequence[Row], total: Mapping[str, int], *, exact: bool) -> Iterator[str]:
    stored = "stored_bytes" in total
    lines = [[*_HEADINGS, *(["on all disks"] if stored else []), "" if exact else "(by counters)"]]
    for row in rows:
        name = f"{row['bucket']}/{row['prefix']}" if "prefix" in row else row["bucket"]
        lines.append([*_cells(row, stored=stored), name])
    lines.append([*_cells(total, stored=stored), "total"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    for line in lines:
        yield ("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=False)) + "  " + line[-1]).rstrip()


def _cells(row: Mapping[str, Any], *, stored: bool) -> list[str]:
    fields = [*COUNTS, *(["stored_bytes"] if stored else [])]
    return [_size(row[field]) if field.endswith("bytes") else f"{row[field]:,}" for field in fields]


def _size(count: int) -> str:
    """Bytes with a unit and one decimal; exact below a KiB."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
