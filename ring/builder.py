"""The ring as an operator changes it: create, change, finish, abandon.

Every function takes a ring and returns the next epoch's; nothing is ever changed in place.  `change` makes the assignment
that was current the *previous* one of each partition that gets another (architecture.md, Handover); `finish` drops it
when every new primary is in sync.  Deterministic: the same input gives the same ring, byte for byte.
"""

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ring.assign import adjust, draw
from ring.lookup import ID_TYPE, Ring
from ring.model import MAX_DEVICE_ID, UNASSIGNED, Device, RingError, RingSpec, check_devices
from ring.plan import make_plan

MAX_TIME_S = (1 << 32) - 1  # times of moves are 32 bits in the file
_HOUR_S = 3600


@dataclass(frozen=True)
class Add:
    """Bring a device in.  Its id must be UNASSIGNED; the builder gives it the next one."""

    device: Device


@dataclass(frozen=True)
class Remove:
    """Take a device out; it serves as a previous primary until the handover ends."""

    device_id: int


@dataclass(frozen=True)
class Weigh:
    """Give a device another weight; 0 drains it and keeps it in the ring."""

    device_id: int
    weight: float


@dataclass(frozen=True)
class Replace:
    """Every slot of `old_id` goes to a new device in the same place with the same weight (a disk swapped or wiped)."""

    old_id: int
    device: Device


@dataclass(frozen=True)
class Readdress:
    """A device is reached elsewhere (its node has another address, or the disk another mount point); nothing moves."""

    device_id: int
    address: str
    path: str | None = None


Change = Add | Remove | Weigh | Replace | Readdress


def create(spec: RingSpec, devices: Iterable[Device]) -> Ring:
    """Epoch 1.  Devices with the id UNASSIGNED get the lowest ids above all given ones, in the order given.

    Raises RingError, also when there are fewer devices with a weight than replicas.
    """
    given = list(devices)
    next_id = max((device.id for device in given), default=-1) + 1
    members = []
    for device in given:
        if device.id == UNASSIGNED:
            members.append(replace(device, id=next_id))
            next_id += 1
        else:
            members.append(device)
    ordered = check_devices(members)
    _check_places(ordered, frozenset())
    plan = make_plan(ordered, spec.replica_count, spec.partition_count, spec.overload, {})
    table = draw(plan, spec.replica_count, spec.partition_count, seed=1)
    return Ring(epoch=1, spec=spec, devices=ordered, current=table, next_id=next_id)


def change(ring: Ring, changes: Sequence[Change], *, now_s: float) -> Ring:
    """The next epoch: changes carried out in order, then balanced anew where a device or a weight changed.

    No changes at all: a rebalance, for what `min_part_hours` held back before.  `now_s` is in seconds since 1970.  While a
    handover is under way only Replace and Readdress are allowed; they leave the previous assignment as it is.
    """
    if not 0 <= now_s <= MAX_TIME_S:
        raise RingError(f"time {now_s!r} is not allowed", f"it is in seconds since 1970, at most {MAX_TIME_S}", "set the clock")
    under_way = len(ring.moving()) > 0
    if under_way and (not changes or not all(isinstance(item, Replace | Readdress) for item in changes)):
        raise RingError(
            f"epoch {ring.epoch} is still being carried out",
            f"{len(ring.moving())} partitions are moving, and only a device may be replaced until they have",
            "wait for the handover to end (finish), or give it up (abandon)",
        )
    draft = _Draft(ring)
    for item in changes:
        draft.apply(item)
    if any(isinstance(item, Add | Readdress) for item in changes):
        _check_places(draft.devices.values(), draft.retired)
    table = draft.table
    if not changes or not all(isinstance(item, Replace | Readdress) for item in changes):
        table = _balanced(ring, draft, now_s)
    return draft.publish(table, int(now_s))


def finish(ring: Ring) -> Ring:
    """The next epoch without the previous assignment; call it only when every new primary is in sync."""
    _demand_handover(ring)
    return Ring(
        epoch=ring.epoch + 1,
        spec=ring.spec,
        devices=ring.members(),
        current=ring.table(),
        moved_s=ring.moved_table(),
        next_id=ring.next_id,
    )


def abandon(ring: Ring) -> Ring:
    """The next epoch with the previous assignment as current: a handover that cannot be carried out is given up.

    Safe at any time, since every operation of the handover had its quorum in the previous set too.  Devices that were
    being removed stay (with their weight); devices that were added stay too, and hold nothing, unless they had taken the place of
    one that stays.
    """
    _demand_handover(ring)
    table = ring.previous_table()
    assert table is not None
    moved_s = ring.moved_table()
    for partition in ring.moving():
        moved_s[partition] = 0  # it moved and moved back: nothing of it needs rest
    holding = set(table)
    returning = {(d.address, d.path) for d in ring.devices.values() if d.id in ring.retired and d.id in holding}
    devices = [d for d in ring.devices.values() if d.id in holding or d.id in ring.retired or (d.address, d.path) not in returning]
    return Ring(epoch=ring.epoch + 1, spec=ring.spec, devices=devices, current=table, moved_s=moved_s, next_id=ring.next_id)


def _demand_handover(ring: Ring) -> None:
    if not ring.moving():
        raise RingError(f"epoch {ring.epoch} has no handover under way", "no partition is moving")


def _balanced(ring: Ring, draft: "_Draft", now_s: float) -> "array[int]":
    spec = ring.spec
    present: dict[int, int] = {}
    for device_id in draft.table:
        present[device_id] = present.get(device_id, 0) + 1
    members = [device for device in draft.devices.values() if device.id not in draft.retired]
    plan = make_plan(members, spec.replica_count, spec.partition_count, spec.overload, present)
    rest_s = spec.min_part_hours * _HOUR_S
    locked = bytes(bool(moved) and now_s - moved < rest_s for moved in ring.moved_table())
    return adjust(plan, draft.table, spec.replica_count, locked=locked, seed=ring.epoch + 1)


class _Draft:
    """Devices and assignment while changes are applied one after another."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.devices = dict(ring.devices)
        self.retired = set(ring.retired)
        self.table = ring.table()
        self._next_id = ring.next_id

    def apply(self, item: Change) -> None:
        """Carry out one change.  Raises RingError."""
        match item:
            case Add(device):
                self._admit(device)
            case Remove(device_id):
                self._member(device_id)
                self.retired.add(device_id)
            case Weigh(device_id, weight):
                self.devices[device_id] = replace(self._member(device_id), weight=weight)
            case Readdress(device_id, address, path):
                device = self._member(device_id)
                self.devices[device_id] = replace(device, address=address, path=device.path if path is None else path)
            case Replace(old_id, device):
                self._replace(self._member(old_id), device)

    def publish(self, table: "array[int]", now_s: int) -> Ring:
        """The next epoch with this assignment as current."""
        ring = self._ring
        under_way = len(ring.moving()) > 0
        before = ring.table()
        moved_s = ring.moved_table()
        count = ring.spec.replica_count
        if table != before:
            for partition, start in enumerate(range(0, len(table), count)):
                if table[start : start + count] != before[start : start + count]:
                    moved_s[partition] = now_s
        previous = ring.previous_table() if under_way else before
        assert previous is not None
        needed = set(table).union(previous if previous != table else ())
        leaving = {device_id for device_id in self.retired if device_id not in needed}
        return Ring(
            epoch=ring.epoch + 1,
            spec=ring.spec,
            devices=check_devices(device for device in self.devices.values() if device.id not in leaving),
            current=table,
            previous=previous,
            moved_s=moved_s,
            retired=self.retired - leaving,
            next_id=self._next_id,
        )

    def _member(self, device_id: int) -> Device:
        device = self.devices.get(device_id)
        if device is None or device_id in self.retired:
            raise RingError(
                f"device {device_id} is not in the ring",
                "it was removed before" if device_id < self._next_id else "no device ever had that id",
                f"the devices are {_listed(sorted(self.devices.keys() - self.retired))}",
            )
        return device

    def _admit(self, device: Device) -> int:
        if device.id != UNASSIGNED:
            raise RingError(
                f"a new device cannot come with the id {device.id}",
                "ids are given out here and never used again",
                f"give it id {UNASSIGNED}",
            )
        for other in self.devices.values():
            if other.incarnation == device.incarnation:
                raise RingError(
                    f"incarnation {device.incarnation.hex()} is device {other.id} already",
                    "it is made when a device is formatted and belongs to one device",
                    "format the device anew, or leave it in the ring as it is",
                )
        if self._next_id > MAX_DEVICE_ID:
            raise RingError("there are no device ids left", f"all {MAX_DEVICE_ID} have been used", "make a new ring")
        device_id = self._next_id
        self._next_id += 1
        self.devices[device_id] = replace(device, id=device_id)
        return device_id

    def _replace(self, old: Device, device: Device) -> None:
        if device.tiers != old.tiers or device.weight != old.weight:
            raise RingError(
                f"device {old.id} cannot be replaced by one in another place or of another weight",
                f"it has node {old.node!r}, zone {old.zone!r}, region {old.region!r} and weight {old.weight:g}",
                "replace it by its like and weigh that afterwards, or add the other device and remove this one",
            )
        new_id = self._admit(device)
        self.retired.add(old.id)
        self.table = array(ID_TYPE, [new_id if device_id == old.id else device_id for device_id in self.table])


def _check_places(devices: Iterable[Device], retired: Collection[int]) -> None:
    """One place is one device: of two entries only one could ever answer."""
    taken: dict[tuple[str, str], int] = {}
    for device in devices:
        if device.id in retired:
            continue
        other = taken.setdefault((device.address, device.path), device.id)
        if other != device.id:
            raise RingError(
                f"{device.address} {device.path} would be the place of devices {other} and {device.id}",
                "a disk that was swapped or wiped takes the place of the one before",
                f"replace device {other} by it, or remove that one too",
            )


def _listed(ids: Sequence[int], limit: int = 20) -> str:
    return ", ".join(map(str, ids[:limit])) + (f" and {len(ids) - limit} more" if len(ids) > limit else "")
