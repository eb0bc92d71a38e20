"""Merge of scans: which rows several replicas agree on, which keys must be read, and how far the page reaches.

Nodes leave out tombstones, so a key that one device shows and another does not is a difference like two ballots.  With a delimiter a
device shows the first live key it has of each group; what it says of the other keys of that group is nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
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

_INVERTED = bytes(255 - byte for byte in range(256))  # a version is a ballot: inverted, the newest sorts first
_by_place = itemgetter(0)


@dataclass(frozen=True)
class Scanned(Generic[S]):
    """One device's answer."""

    device: int
    rows: Sequence[S]
    scanned_to: bytes | None  # every name below was looked at; None: all of the range
    silent: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Doubt:
    """A key on which the devices differ; `group` is its common prefix when groups were asked for."""

    name: bytes
    version: bytes
    partition: int
    group: bytes = b""


Voters = Callable[[int], Sequence[int]]
"""Partition -> devices of the scan that have a vote on it."""


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


def merge(scans: Sequence[Scanned[S]], *, voters: Voters, quorum: Callable[[int], int], end: bytes | None) -> list[S | Doubt]:
    """Agreed rows and doubts below `end`, by name, under one name the head first and then the newest version first.

    For a scan without delimiter.  A row is agreed when every voter of its partition shows it at the same ballot and these are
    at least `quorum(partition)`.
    """
    if len(scans) == 1:
        only = scans[0]
        return [row if _alone(row, only, voters, quorum) else _doubt(row) for row in only.rows if end is None or row.name < end]
    shown: dict[tuple[bytes, bytes], list[tuple[int, S]]] = {}
    for scan in scans:
        for row in scan.rows:
            if end is None or row.name < end:
                shown.setdefault((row.name, row.version and row.version.translate(_INVERTED)), []).append((scan.device, row))
    merged: list[S | Doubt] = []
    voters_of: dict[int, tuple[int, int]] = {}
    for _, found in sorted(shown.items(), key=_by_place):
        row = found[0][1]
        counted = voters_of.get(row.partition)
        if counted is None:
            counted = voters_of[row.partition] = (len(voters(row.partition)), quorum(row.partition))
        accepted = row.accepted
        agreed = len(found) == counted[0] >= counted[1] and all(other.accepted == accepted for _, other in found)
        merged.append(row if agreed else _doubt(row))
    return merged


def merge_groups(
    scans: Sequence[Scanned[S]], *, prefix: bytes, delimiter: bytes, voters: Voters, quorum: Callable[[int], int], end: bytes | None
) -> list[tuple[bytes, list[S | Doubt]]]:
    """As `merge`, with a delimiter: (group, candidates in order); a name without group is a group (b"") of one.

    A candidate that is a row is live for certain and settles its group; a group whose doubts all prove dead must be scanned again
    behind the first of them.
    """
    firsts: dict[bytes, dict[int, S]] = {}
    singles = [Scanned(s.device, [r for r in s.rows if not group_of(r.name, prefix, delimiter)], s.scanned_to, s.silent) for s in scans]
    plain = [(entry.name, entry) for entry in merge(singles, voters=voters, quorum=quorum, end=end)]
    for scan in scans:
        for row in scan.rows:
            group = group_of(row.name, prefix, delimiter)
            if group and (end is None or group < end):
                firsts.setdefault(group, {})[scan.device] = row
    found: list[tuple[bytes, bytes, list[S | Doubt]]] = [(name, b"", [entry]) for name, entry in plain]
    found += [(group, group, _candidates(group, by_device, voters, quorum)) for group, by_device in firsts.items()]
    return [(group, entries) for _, group, entries in sorted(found, key=lambda item: item[0])]


def _candidates(group: bytes, by_device: Mapping[int, S], voters: Voters, quorum: Callable[[int], int]) -> list[S | Doubt]:
    candidates: dict[bytes, S | Doubt] = {}
    for row in sorted(by_device.values(), key=lambda row: row.name):
        if row.name in candidates:
            continue
        entitled = voters(row.partition)
        shown = [by_device[d] for d in entitled if d in by_device]
        agreed = len(shown) == len(entitled) >= quorum(row.partition) and all(
            other.name == row.name and other.accepted == row.accepted for other in shown
        )
        candidates[row.name] = row if agreed else Doubt(row.name, row.version, row.partition, group)
    return list(candidates.values())


def _alone(row: S, scan: Scanned[S], voters: Voters, quorum: Callable[[int], int]) -> bool:
    return quorum(row.partition) == 1 and tuple(voters(row.partition)) == (scan.device,)


def _doubt(row: ShownRow) -> Doubt:
    return Doubt(row.name, row.version, row.partition)
