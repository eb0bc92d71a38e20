"""Where an operation on one partition goes: its quorum, its devices, and handoffs for copies that a primary missed.

The plan of a partition never changes within a ring epoch, so `Placement` keeps those it has made; a new ring gets a new
`Placement`.
"""

from collections.abc import Callable, Iterable

from objstore.core.quorum import Quorum, Tally
from objstore.core.rows import RowKey
from ring.lookup import Ring

HANDOFFS_AT_MOST = 6  # further ones would be tried only with this many devices down at once


class Plan:
    """One partition in one epoch."""

    __slots__ = ("_handoffs", "_ring", "epoch", "partition", "quorum")

    def __init__(self, ring: Ring, partition: int) -> None:
        self._ring = ring
        self._handoffs: tuple[int, ...] | None = None
        self.epoch: int = ring.epoch
        self.partition = partition
        previous = ring.previous(partition)
        primaries = ring.primaries(partition)
        moving = previous is not None and tuple(previous) != tuple(primaries)
        self.quorum = Quorum((previous, primaries) if moving and previous is not None else (primaries,))

    @property
    def primaries(self) -> tuple[int, ...]:
        """The current (in a change: the coming) primaries."""
        return self.quorum.sets[-1]

    @property
    def reading(self) -> tuple[int, ...]:
        """The set whose answers say what the current row is: in a change the previous one."""
        return self.quorum.sets[0]

    @property
    def moving(self) -> bool:
        """Whether the partition has two sets now."""
        return len(self.quorum.sets) > 1

    @property
    def handoffs(self) -> tuple[int, ...]:
        """Devices for extra copies, best first; none of them a member."""
        if self._handoffs is None:
            found = []
            for device in self._ring.handoffs(self.partition):
                if device not in self.quorum:
                    found.append(int(device))
                    if len(found) == HANDOFFS_AT_MOST:
                        break
            self._handoffs = tuple(found)
        return self._handoffs


class Placement:
    """Plans of one ring."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._plans: dict[int, Plan] = {}

    def partition(self, key: RowKey, spread: int) -> int:
        """The ring slot of a key."""
        return int(self.ring.partition(key.bucket + bytes((key.space,)), key.name, spread))

    def plan(self, partition: int) -> Plan:
        """The plan of a partition."""
        plan = self._plans.get(partition)
        if plan is None:
            plan = self._plans[partition] = Plan(self.ring, partition)
        return plan


def smallest_quorum(quorum: Quorum, preference: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(devices to ask first, devices to ask when one of those is slow or fails), both in order of preference.

    During a change devices in both sets come first: two of them often make the quorum of both.
    """
    order = sorted(preference, key=lambda device: -quorum.seats(device).bit_count())
    tally = Tally(quorum)
    first: list[int] = []
    later: list[int] = []
    for device in order:
        if tally.reached or not _helps(quorum, tally, device):
            later.append(device)
        else:
            tally.yes(device)
            first.append(device)
    return tuple(first), tuple(later)


def _helps(quorum: Quorum, tally: Tally, device: int) -> bool:
    seats = quorum.seats(device)
    return any(seats & mask and tally.count(index) < quorum.needs[index] for index, mask in enumerate(quorum.set_masks))


def best_first(devices: Iterable[int], rank: Callable[[int], float]) -> list[int]:
    """Devices by rank (lowest first); equal ranks keep their order."""
    return sorted(devices, key=rank)
