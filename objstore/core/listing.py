"""Merge of scans: which rows several replicas agree on, which keys must be read, and how far the page reaches.

Nodes leave out tombstones, so a key that one device shows and another does not is a difference like two ballots.  With a delimiter a
device shows the first live key it has of each group; what it says of the other keys of that group is nothing.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from objstore.core.timestamp import Ballot


class ShownRow(Protocol):
    """A row as a device shows it in a scan."""

    @property
    def name(self) -> bytes:
        """The key."""

    @property
    def version(self) -> bytes:
        """Empty for the head."""

    @property
    def partition(self) -> int:
        """Its ring slot."""

    @property
    def accepted(self) -> Ballot:
        """At which ballot the device holds it."""


S = TypeVar("S", bound=ShownRow)
_name = attrgetter("name")
_version = attrgetter("version")

_INVERTED = bytes(255 - byte for byte in range(256))  # a version is a ballot: inverted, the newest sorts first


@dataclass(frozen=True)
class Scanned(Generic[S]):
    """One device's answer."""

    device: int
    rows: Sequence[S]
    scanned_to: bytes | None  # every name below was looked at; None: all of the range
    silent: frozenset[int] = frozenset()
    scanned_version: bytes = b""  # of that name everything before this version was looked at too; empty: nothing


@dataclass(frozen=True)
class Doubt:
    """A key on which the devices differ; `group` is its common prefix when groups were asked for."""

    name: bytes
    version: bytes
    partition: int
    group: bytes = b""


class Electorate(Protocol):
    """Who must agree on a row of a partition."""

    def needed(self, partition: int) -> int:
        """How many devices that show the same row are a quorum; 0 while the partition moves: then ask `agree`."""

    def agree(self, partition: int, devices: Sequence[int]) -> bool:
        """Whether these devices are a quorum, in a change of both sets."""


def group_of(name: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """The common prefix that stands for a name, empty when the name stands for itself."""
    if not delimiter:
        return b""
    at = name.find(delimiter, len(prefix))
    return name[: at + len(delimiter)] if at >= 0 else b""


def after_group(group: bytes) -> bytes | None:
    """The smallest name above all names of a group; None when there is none."""
    trimmed = group.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None


def reach(scans: Sequence[Scanned[S]]) -> bytes | None:
    """The name below which every device has looked at everything; None: the whole range."""
    ends = [scan.scanned_to for scan in scans if scan.scanned_to is not None]
    return min(ends) if ends else None


def reach_version(scans: Sequence[Scanned[S]], end: bytes | None) -> bytes:
    """Of the name `end`, which `reach` told: the version before which every device has looked at everything; empty: nothing."""
    versions = [scan.scanned_version for scan in scans if scan.scanned_to is not None and scan.scanned_to == end]
    return min(versions, key=place_of_version, default=b"")


def place_of_version(version: bytes) -> bytes:
    """Sorts the versions of a name as nodes show them: the head or null version, then the newest first."""
    return version.translate(_INVERTED)


def merge(
    scans: Sequence[Scanned[S]], *, electorate: Electorate, end: bytes | None, end_version: bytes = b""
) -> list[S | Doubt]:  # fmt: skip
    """Agreed rows and doubts below `end`, by name, under one name the head first and then the newest version first.

    Of the name `end` those before `end_version` too.

    For a scan without delimiter.  A row is agreed, as in a read, when a quorum shows it at the same ballot; when any device
    shows another one, that is left to the read.
    """
    shown = [scan.rows if end is None else _below(scan.rows, end, end_version) for scan in scans]
    if all(rows == shown[0] for rows in shown[1:]) and all(
        0 < electorate.needed(partition) <= len(shown) for partition in {row.partition for row in shown[0]}
    ):
        return list(shown[0])  # devices that hold the same partitions, and nothing is being written
    # Each device's rows are in order already, so sorting all of them together is a merge.
    rows = [row for part in shown for row in part]
    rows.sort(key=_place if any(map(_version, rows)) else _name)
    showing: dict[tuple[bytes, bytes], list[int]] = {}  # (name, version) -> devices; only made when a partition moves
    needed_of: dict[int, int] = {}
    merged: list[S | Doubt] = []
    at, count = 0, len(rows)
    while at < count:
        row = rows[at]
        begin, name, version, accepted = at, row.name, row.version, row.accepted
        same = True
        at += 1
        while at < count and (other := rows[at]).name == name and other.version == version:
            same = same and other.accepted == accepted
            at += 1
        partition = row.partition
        needed = needed_of.get(partition)
        if needed is None:
            needed = needed_of[partition] = electorate.needed(partition)
        if same and needed == 0:
            showing = showing or _showing(scans)
            same = electorate.agree(partition, showing[name, version])
        merged.append(row if same and at - begin >= needed else Doubt(name, version, partition))
    return merged


def _showing(scans: Sequence[Scanned[S]]) -> dict[tuple[bytes, bytes], list[int]]:
    showing: dict[tuple[bytes, bytes], list[int]] = {}
    for scan in scans:
        for row in scan.rows:
            showing.setdefault((row.name, row.version), []).append(scan.device)
    return showing


def _below(rows: Sequence[S], end: bytes, end_version: bytes) -> Sequence[S]:
    if end_version:
        return rows[: bisect_left(rows, (end, place_of_version(end_version)), key=_place)]
    return rows if not rows or rows[-1].name < end else rows[: bisect_left(rows, end, key=_name)]


def _place(row: ShownRow) -> tuple[bytes, bytes]:
    return row.name, place_of_version(row.version)


def merge_groups(
    scans: Sequence[Scanned[S]], *, prefix: bytes, delimiter: bytes, electorate: Electorate, end: bytes | None
) -> list[tuple[bytes, list[S | Doubt]]]:
    """As `merge`, with a delimiter: (group, candidates in order); a name without group is a group (b"") of one.

    A candidate that is a row is live for certain and settles its group; a group whose doubts all prove dead must be scanned again
    behind the first of them.
    """
    firsts: dict[bytes, list[tuple[int, S]]] = {}
    singles = [Scanned(s.device, [r for r in s.rows if not group_of(r.name, prefix, delimiter)], s.scanned_to, s.silent) for s in scans]
    for scan in scans:
        for row in scan.rows:
            group = group_of(row.name, prefix, delimiter)
            if group and (end is None or group < end):
                firsts.setdefault(group, []).append((scan.device, row))
    found: list[tuple[bytes, bytes, list[S | Doubt]]] = [(e.name, b"", [e]) for e in merge(singles, electorate=electorate, end=end)]
    found += [(group, group, _candidates(group, shown, electorate)) for group, shown in firsts.items()]
    return [(group, entries) for _, group, entries in sorted(found, key=lambda item: item[0])]


def _candidates(group: bytes, shown: Sequence[tuple[int, S]], electorate: Electorate) -> list[S | Doubt]:
    """What devices show as the first of a group.  One that shows another key says nothing about this one."""
    holders: dict[tuple[bytes, Ballot], list[int]] = {}
    rows: dict[bytes, list[S]] = {}
    for device, row in shown:
        holders.setdefault((row.name, row.accepted), []).append(device)
        rows.setdefault(row.name, []).append(row)
    candidates: list[S | Doubt] = []
    for name in sorted(rows):
        first = rows[name][0]
        agreed = next((row for row in rows[name] if electorate.agree(row.partition, holders[name, row.accepted])), None)
        candidates.append(agreed if agreed is not None else Doubt(name, first.version, first.partition, group))
    return candidates
