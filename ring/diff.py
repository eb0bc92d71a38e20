"""Two rings to the partitions that move between them, and each device's share of that.

Partitions are all that is counted: how many bytes they are only the devices know.
"""

from dataclasses import dataclass

from ring.lookup import Ring
from ring.model import RingError


@dataclass(frozen=True)
class DeviceDiff:
    """What one device gets and gives: replicas of partitions, and `share`, its part of all replicas, before and after."""

    device_id: int
    gained: int
    lost: int
    share_before: float
    share_after: float


@dataclass(frozen=True)
class Diff:
    """What differs between the current assignments of two epochs of one ring."""

    old_epoch: int
    new_epoch: int
    moved: tuple[int, ...]  # partitions with another set of primaries or another order of them, ascending
    replicas_moved: int
    replicas: int  # of all partitions together
    devices: tuple[DeviceDiff, ...]  # all devices of either ring, ascending
    added: tuple[int, ...]
    removed: tuple[int, ...]

    @property
    def moved_share(self) -> float:
        """Share of all replicas that move, 0 to 1."""
        return self.replicas_moved / self.replicas


def diff(old: Ring, new: Ring) -> Diff:
    """Compare two epochs.  Raises RingError when they are not of one ring."""
    for what in ("policy", "replica_count", "part_power", "hash_seed"):
        if getattr(old.spec, what) != getattr(new.spec, what):
            raise RingError(f"the rings differ in {what}", "only epochs of one ring can be compared", "check which files these are")
    count = old.spec.replica_count
    before, after = old.table(), new.table()
    gained = dict.fromkeys(sorted({*old.devices, *new.devices}), 0)
    lost, had, has = dict(gained), dict(gained), dict(gained)
    moved = []
    replicas_moved = 0
    for partition, start in enumerate(range(0, len(before), count)):
        was, now = before[start : start + count], after[start : start + count]
        for device_id in was:
            had[device_id] += 1
        for device_id in now:
            has[device_id] += 1
        if was == now:
            continue
        moved.append(partition)
        for device_id in was:
            if device_id not in now:
                lost[device_id] += 1
        for device_id in now:
            if device_id not in was:
                gained[device_id] += 1
                replicas_moved += 1
    total = len(before)
    members = old.devices.keys() - old.retired, new.devices.keys() - new.retired
    return Diff(
        old_epoch=old.epoch,
        new_epoch=new.epoch,
        moved=tuple(moved),
        replicas_moved=replicas_moved,
        replicas=total,
        devices=tuple(DeviceDiff(i, gained[i], lost[i], had[i] / total, has[i] / total) for i in gained),
        added=tuple(sorted(members[1] - members[0])),
        removed=tuple(sorted(members[0] - members[1])),
    )
