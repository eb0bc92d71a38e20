"""How well a ring is balanced and dispersed, per device and per level of failure domains."""

from collections.abc import Sequence
from dataclasses import dataclass

from ring.lookup import Ring
from ring.plan import LEVELS, fair_shares


@dataclass(frozen=True)
class DeviceBalance:
    """One device: replicas held, how many its weight deserves, and the difference in percent of that."""

    device_id: int
    replicas: int
    fair: float
    percent: float
    incoming: int  # replicas it gets in the handover that is under way
    outgoing: int
    retired: bool


@dataclass(frozen=True)
class Balance:
    """`worst_percent` is the largest distance of a device with a weight from its fair share."""

    worst_percent: float
    devices: tuple[DeviceBalance, ...]


@dataclass(frozen=True)
class LevelDispersion:
    """One level: `domains` that can hold replicas; partitions whose replicas lie in fewer of them than they could."""

    level: str
    domains: int
    possible: int  # different domains that the replicas of one partition could lie in
    partitions_below: int
    percent_below: float


def balance(ring: Ring) -> Balance:
    """Balance of the current assignment.  A weight that deserves more than one replica of a partition counts as one."""
    held = dict.fromkeys(ring.devices, 0)
    incoming, outgoing = dict(held), dict(held)
    for device_id in ring.table():
        held[device_id] += 1
    for partition in ring.moving():
        now, before = ring.primaries(partition), ring.previous(partition) or ()
        for device_id in set(now).difference(before):
            incoming[device_id] += 1
        for device_id in set(before).difference(now):
            outgoing[device_id] += 1
    weighty = [device for device in ring.members() if device.weight > 0]
    shares: Sequence[float] = ()
    if len(weighty) >= ring.spec.replica_count:
        shares = fair_shares([device.weight for device in weighty], ring.spec.replica_count)
    fair = {device.id: share * ring.partition_count for device, share in zip(weighty, shares, strict=False)}
    devices = tuple(
        DeviceBalance(
            device_id,
            replicas,
            fair.get(device_id, 0.0),
            100.0 * (replicas - fair[device_id]) / fair[device_id] if device_id in fair else 0.0,
            incoming[device_id],
            outgoing[device_id],
            device_id in ring.retired,
        )
        for device_id, replicas in held.items()
    )
    return Balance(max((abs(device.percent) for device in devices), default=0.0), devices)


def dispersion(ring: Ring) -> tuple[LevelDispersion, ...]:
    """Dispersion of the current assignment, widest level first."""
    count = ring.spec.replica_count
    table = ring.table()
    weighty = [device for device in ring.members() if device.weight > 0]
    levels = []
    for level, name in enumerate(LEVELS):
        tier_of = {device.id: device.tiers[level] for device in ring.devices.values()}
        domains = len({tier_of[device.id] for device in weighty})
        possible = min(count, domains)
        tiers = [tier_of[device_id] for device_id in table]
        below = sum(len(set(tiers[start : start + count])) < possible for start in range(0, len(tiers), count))
        levels.append(LevelDispersion(name, domains, possible, below, 100.0 * below / ring.partition_count))
    return tuple(levels)
