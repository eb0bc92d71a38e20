"""Where an operation on one partition goes: its quorum, its devices, and handoffs for copies that a primary missed.

The plan of a partition never changes within a ring epoch, so `Placement` keeps those it has made; a new ring gets a new
`Placement`.
"""

from collections.abc import Callable, Iterable

from objstore.core.names import anchor_of
from objstore.core.quorum import Quorum, Tally, majority
from objstore.core.rows import RowKey, Space
from ring.lookup import Ring
from ring.model import RingError

HANDOFFS_AT_MOST = 6  # further ones would be tried only with this many devices down at once
COVERS_KEPT = 64  # each for other devices that are down


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
        self._covers: dict[frozenset[int], tuple[int, ...]] = {}
        self._moving: list[Quorum] | None = None

    def partition(self, key: RowKey, spread: int) -> int:
        """The ring slot of a key; all versions of an object lie together, and a part that shares a body lies where the body is."""
        space = key.space
        if space == Space.PARTS:
            anchor = anchor_of(key.name)
            if anchor is not None:
                return self.ring.partition_at(anchor)
        elif space == Space.VERSIONS:
            space = Space.OBJECTS
        return int(self.ring.partition(key.bucket + bytes((space,)), key.name, spread))

    def anchor(self, key: RowKey, spread: int) -> int:
        """What puts the name of a part into the ring slot of `key`, in this ring and in each that follows it: 64 bits, see names.part_name."""
        if key.space == Space.PARTS:
            anchor = anchor_of(key.name)
            if anchor is not None:
                return anchor
        space = Space.OBJECTS if key.space == Space.VERSIONS else key.space
        return int(self.ring.hash_of(key.bucket + bytes((space,)), key.name, spread))

    def plan(self, partition: int) -> Plan:
        """The plan of a partition."""
        plan = self._plans.get(partition)
        if plan is None:
            plan = self._plans[partition] = Plan(self.ring, partition)
        return plan

    def cover(self, avoid: frozenset[int] = frozenset()) -> tuple[int, ...]:
        """Devices, ascending, that make a quorum of every partition, in a change of both sets; none of `avoid`.

        A new device counts although it may have no vote yet: that it answers in this epoch says that the next one, which is its
        own alone, has not begun there.  Raises RingError when some partition has too few devices left.  Kept; the first call of
        an epoch may take a second in a large ring.
        """
        avoid = avoid.intersection(self.ring.devices)
        known = self._covers.get(avoid)
        if known is None:
            if len(self._covers) >= COVERS_KEPT:
                del self._covers[next(iter(self._covers))]
            known = self._covers[avoid] = self._find_cover(avoid)
        return known

    def _find_cover(self, avoid: frozenset[int]) -> tuple[int, ...]:
        chosen = set(self.ring.cover(majority(self.ring.spec.replica_count), avoid))
        if self._moving is None:
            pairs = {(self.ring.previous(partition) or (), self.ring.primaries(partition)) for partition in self.ring.moving()}
            self._moving = [Quorum(sets) for sets in sorted(pairs)]
        for quorum in self._moving:
            tally = Tally(quorum)
            for device in quorum.members:
                if device in chosen:
                    tally.yes(device)
            usable = [device for device in quorum.members if device not in avoid and device not in chosen]
            for device in sorted(usable, key=lambda device: -quorum.seats(device).bit_count()):
                if tally.reached:
                    break
                if _helps(quorum, tally, device):
                    tally.yes(device)
                    chosen.add(device)
            if not tally.reached:
                raise RingError(f"too few devices are left of the sets {quorum.sets}", "partitions move between them")
        return tuple(sorted(chosen))


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
