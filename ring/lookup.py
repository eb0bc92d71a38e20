"""Ring: partition to primaries, then handoffs in a stable order.  Immutable; only caches change inside.

The tables are flat arrays of device ids, `replica_count` entries a partition, so that a lookup is one slice.  While a
change is being carried out the ring holds two tables, and a partition whose two entries differ is *moving*.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import gcd
from operator import eq
from types import MappingProxyType

from xxhash import xxh3_64_intdigest

from ring.hashing import HASH_BITS, SPREAD_BYTES
from ring.model import MAX_DEVICE_ID, MAX_EPOCH, Device, RingError, RingSpec, check_devices

ID_TYPE = "I"  # 32 bits, as in the file
_COVERS_KEPT = 64  # covers depend on which devices are down; old ones go first
assert array(ID_TYPE).itemsize == 4


class Ring:
    """One epoch of one policy's ring.  Made by `ring.builder` and `ring.codec`; everybody else only reads it.

    `retired` devices were removed by the change that is being carried out: they still serve the previous table and leave
    with it.  `moved_s[p]` is when a replica of partition p last moved, in seconds since 1970, 0 for never.
    """

    __slots__ = (
        "_active_tiers",
        "_count",
        "_covers",
        "_current",
        "_flags",
        "_held",
        "_moved_s",
        "_moving",
        "_order",
        "_previous",
        "_read_sets",
        "_seed",
        "_shift",
        "_tiers",
        "devices",
        "epoch",
        "next_id",
        "partition_count",
        "retired",
        "spec",
    )  # fmt: skip

    def __init__(
        self,
        *,
        epoch: int,
        spec: RingSpec,
        devices: Iterable[Device],
        current: "array[int]",
        previous: "array[int] | None" = None,
        moved_s: "array[int] | None" = None,
        retired: Iterable[int] = (),
        next_id: int,
    ) -> None:
        ordered = check_devices(devices)
        self.epoch = epoch
        self.spec = spec
        self.devices: Mapping[int, Device] = MappingProxyType({device.id: device for device in ordered})
        self.partition_count = spec.partition_count
        self.retired = frozenset(retired)
        self.next_id = next_id
        self._count = spec.replica_count
        self._seed = spec.hash_seed
        self._shift = HASH_BITS - spec.part_power
        self._current = current
        self._previous = previous
        self._moved_s = moved_s if moved_s is not None else array(ID_TYPE, bytes(4 * self.partition_count))
        self._check()
        self._moving = self._find_moving()
        if self._moving:
            flags = bytearray(self.partition_count)
            for partition in self._moving:
                flags[partition] = 1
            self._flags = bytes(flags)
        else:
            self._previous = None
            self._flags = b""
        self._held: dict[int, array[int]] | None = None
        self._read_sets: list[tuple[tuple[int, ...], int]] | None = None
        self._covers: dict[tuple[int, frozenset[int]], tuple[int, ...]] = {}
        self._order: tuple[list[int], list[int]] | None = None
        self._tiers: dict[int, tuple[tuple[str, ...], ...]] = {}
        self._active_tiers: tuple[set[tuple[str, ...]], ...] = ()

    # -- lookups ------------------------------------------------------------------------------------------------

    def partition(self, bucket: bytes, name: bytes, spread: int = 0) -> int:
        """The partition of a name; see `ring.hashing.partition_of`."""
        if spread:
            name = (xxh3_64_intdigest(name, self._seed) % spread).to_bytes(SPREAD_BYTES, "big")
        return xxh3_64_intdigest(bucket + name, self._seed) >> self._shift

    def hash_of(self, bucket: bytes, name: bytes, spread: int = 0) -> int:
        """The 64 bits whose top ones are the partition of a name."""
        if spread:
            name = (xxh3_64_intdigest(name, self._seed) % spread).to_bytes(SPREAD_BYTES, "big")
        return int(xxh3_64_intdigest(bucket + name, self._seed))

    def partition_at(self, hash_: int) -> int:
        """The partition of what hashes to these 64 bits."""
        return hash_ >> self._shift

    def primaries(self, partition: int) -> tuple[int, ...]:
        """Device ids by replica index, of the assignment that is current (the *new* one during a handover)."""
        start = partition * self._count
        found = tuple(self._current[start : start + self._count])
        if not found or partition < 0:
            raise self._no_such(partition)
        return found

    def previous(self, partition: int) -> tuple[int, ...] | None:
        """The old primaries by replica index while this partition is moving, else None."""
        if not self._flags or not self._flags[partition]:
            return None
        start = partition * self._count
        assert self._previous is not None
        return tuple(self._previous[start : start + self._count])

    def moving(self) -> Sequence[int]:
        """Partitions whose current and previous primaries differ, ascending; empty when no handover is under way."""
        return self._moving

    def moved_at_s(self, partition: int) -> int:
        """When a replica of the partition was last given to another device, seconds since 1970; 0 for never."""
        return self._moved_s[partition]

    def members(self) -> tuple[Device, ...]:
        """Devices that are not on their way out, by ascending id; a change may name only these."""
        return tuple(device for device in self.devices.values() if device.id not in self.retired)

    def partitions_of(self, device_id: int) -> Sequence[int]:
        """Partitions of which the device is a current or previous primary, ascending.  Cached."""
        if device_id not in self.devices:
            raise RingError(f"device {device_id} is not in the ring", f"epoch {self.epoch} does not have it")
        if self._held is None:
            self._held = self._find_held()
        return self._held[device_id]

    def handoffs(self, partition: int) -> Iterator[int]:
        """Devices to try after the primaries, farthest failure domain first.

        Yields every other device once, in an order that depends only on `partition` and the ring, so that a reader finds
        what a writer handed off: first one in each region that holds no copy yet, then zone, then node, then the rest.
        Drained and retired devices come last of all.  Lazily computed.  Dynamo (2007), section 4.6.
        """
        primaries = self.primaries(partition)
        if self._order is None:
            self._order = self._make_order()
        order, last = self._order
        digest = xxh3_64_intdigest(partition.to_bytes(4, "little"))
        yield from self._walk(order, digest, set(primaries))
        skip = set(primaries)
        for device_id in last:
            if device_id not in skip:
                yield device_id

    def cover(self, copies: int, avoid: frozenset[int] = frozenset()) -> tuple[int, ...]:
        """A small set of devices, ascending, that holds at least `copies` of the read set of every partition.

        The read set of a moving partition is its previous primaries.  Devices in `avoid` (they are down) are left out.
        Greedy and stable: the same ring and `avoid` give the same set.  Cached; the first call takes up to a second at
        part power 16.  Raises RingError when some partition has too few devices left.
        """
        avoid = avoid.intersection(self.devices)
        known = self._covers.get((copies, avoid))
        if known is None:
            if self._read_sets is None:
                self._read_sets = self._find_read_sets()
            known = _greedy_cover(self._read_sets, copies, avoid)
            if len(self._covers) >= _COVERS_KEPT:
                del self._covers[next(iter(self._covers))]
            self._covers[copies, avoid] = known
        return known

    # -- for builder, diff and codec ------------------------------------------------------------------------------

    def table(self) -> "array[int]":
        """A copy of the current assignment: device ids, `replica_count` a partition."""
        return self._current[:]

    def previous_table(self) -> "array[int] | None":
        """A copy of the previous assignment of all partitions, moving or not; None when no handover is under way."""
        return None if self._previous is None else self._previous[:]

    def moved_table(self) -> "array[int]":
        """A copy of the times of the last moves; see `moved_at_s`."""
        return self._moved_s[:]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ring):
            return NotImplemented
        return self._value() == other._value()

    def __hash__(self) -> int:
        return hash((self.epoch, self.spec, self.next_id))

    def __repr__(self) -> str:
        return f"<Ring {self.spec.policy} epoch {self.epoch}: {len(self.devices)} devices, {len(self._moving)} partitions moving>"

    # -- below: caches and checks -----------------------------------------------------------------------------------

    def _value(self) -> tuple[object, ...]:
        return (self.epoch, self.spec, dict(self.devices), self._current, self._previous, self._moved_s, self.retired, self.next_id)

    def _no_such(self, partition: int) -> RingError:
        return RingError(f"partition {partition} is not in the ring", f"it has 0 to {self.partition_count - 1}")

    def _check(self) -> None:
        if not 1 <= self.epoch <= MAX_EPOCH:
            raise RingError(f"epoch {self.epoch} is not allowed", f"it must be 1 to {MAX_EPOCH}")
        highest = max(self.devices, default=-1)
        if not highest < self.next_id <= MAX_DEVICE_ID + 1:
            raise RingError(f"next device id {self.next_id} is not allowed", f"device {highest} is there already")
        if not self.retired.issubset(self.devices):
            raise RingError("a retired device is not in the ring", "only a device that is still listed can be on its way out")
        if len(self._moved_s) != self.partition_count:
            raise RingError("the times of moves do not fit", f"there must be {self.partition_count}")
        self._check_table(self._current, self.devices.keys() - self.retired)
        if self._previous is not None:
            self._check_table(self._previous, self.devices.keys())

    def _check_table(self, table: "array[int]", allowed: set[int] | Iterable[int]) -> None:
        if len(table) != self.partition_count * self._count or table.typecode != ID_TYPE:
            raise RingError("the assignment does not fit", f"it must have {self.partition_count} x {self._count} entries")
        unknown = sorted(set(table).difference(allowed))
        if unknown:
            raise RingError(f"the assignment names device {unknown[0]}", "which is not in the ring")
        columns = [table[index :: self._count] for index in range(self._count)]
        for index, column in enumerate(columns):
            for other in columns[:index]:
                if any(map(eq, column, other)):
                    raise RingError("two replicas of a partition are on one device", "every replica needs its own device")

    def _find_moving(self) -> tuple[int, ...]:
        moving = []
        old, new, count = self._previous, self._current, self._count
        if old is not None and old != new:
            for partition, start in enumerate(range(0, len(new), count)):
                if old[start : start + count] != new[start : start + count]:
                    moving.append(partition)
        return tuple(moving)

    def _find_held(self) -> "dict[int, array[int]]":
        held = {device_id: array(ID_TYPE) for device_id in self.devices}
        count = self._count
        for slot, device_id in enumerate(self._current):
            held[device_id].append(slot // count)
        for partition in self._moving:
            now = self.primaries(partition)
            for device_id in self.previous(partition) or ():
                if device_id not in now:
                    held[device_id].append(partition)
        if self._moving:
            held = {device_id: array(ID_TYPE, sorted(partitions)) for device_id, partitions in held.items()}
        return held

    def _find_read_sets(self) -> list[tuple[tuple[int, ...], int]]:
        sets: dict[tuple[int, ...], int] = {}
        table = self._previous if self._previous is not None else self._current
        for start in range(0, len(table), self._count):
            members = tuple(sorted(table[start : start + self._count]))
            sets[members] = sets.get(members, 0) + 1
        return sorted(sets.items())

    def _make_order(self) -> tuple[list[int], list[int]]:
        """Devices in a scattered order, and those that come last; also numbers the tiers."""
        active = [device for device in self.members() if device.weight > 0]
        last = [device.id for device in self.devices.values() if device.weight == 0 or device.id in self.retired]
        active.sort(key=lambda device: (xxh3_64_intdigest(device.id.to_bytes(4, "little"), 1), device.id))
        self._tiers = {device.id: device.tiers for device in self.devices.values()}
        self._active_tiers = tuple({device.tiers[level] for device in active} for level in range(3))
        return [device.id for device in active], last

    def _walk(self, order: list[int], digest: int, done: set[int]) -> Iterator[int]:
        if not order:
            return
        tiers = self._tiers
        length = len(order)
        start, step = digest % length, _coprime_step(digest >> 32, length)
        walk = range(start, start + step * length, step)
        for level in range(3):
            used = {tiers[device_id][level] for device_id in done}
            if self._active_tiers[level] <= used:
                continue
            for position in walk:
                device_id = order[position % length]
                tier = tiers[device_id][level]
                if tier not in used and device_id not in done:
                    used.add(tier)
                    done.add(device_id)
                    yield device_id
        for position in walk:
            device_id = order[position % length]
            if device_id not in done:
                yield device_id


def _coprime_step(digest: int, length: int) -> int:
    """A step that visits every position of a circle of `length`, different from partition to partition."""
    step = digest % length or 1
    while gcd(step, length) != 1:
        step += 1
    return step


def _greedy_cover(read_sets: list[tuple[tuple[int, ...], int]], copies: int, avoid: frozenset[int]) -> tuple[int, ...]:
    """Take the device that serves most unmet needs until none is left, then drop what turned out to be superfluous."""
    needs = []
    members_of: dict[int, list[int]] = {}
    gains: dict[int, int] = {}
    for index, (members, times) in enumerate(read_sets):
        usable = [device_id for device_id in members if device_id not in avoid]
        if len(usable) < copies:
            raise RingError(
                f"no set of devices holds {copies} copies of every partition",
                f"{times} partitions on devices {', '.join(map(str, members))} have only {len(usable)} left",
                "wait for a device to come back",
            )
        needs.append(copies)
        for device_id in usable:
            members_of.setdefault(device_id, []).append(index)
            gains[device_id] = gains.get(device_id, 0) + times
    chosen: list[int] = []
    open_sets = len(needs) if copies > 0 else 0
    while open_sets:
        best = min(gains, key=lambda device_id: (-gains[device_id], device_id))
        del gains[best]
        chosen.append(best)
        for index in members_of[best]:
            needs[index] -= 1
            if needs[index] == 0:
                open_sets -= 1
                members, times = read_sets[index]
                for device_id in members:
                    if device_id in gains:
                        gains[device_id] -= times
    for device_id in chosen[:]:
        if all(needs[index] < 0 for index in members_of[device_id]):
            chosen.remove(device_id)
            for index in members_of[device_id]:
                needs[index] += 1
    return tuple(sorted(chosen))
