"""Devices and rings for the tests of this package."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator

from ring.lookup import Ring
from ring.model import UNASSIGNED, Device, RingSpec
from ring.plan import Plan, make_plan


def a_device(number: int, *, node: str = "", zone: str = "a", region: str = "r", weight: float = 1.0, id: int = UNASSIGNED) -> Device:
    """Device `number`, on a node of its own unless told otherwise; its incarnation is the number."""
    address = f"tcp:127.0.0.1:{21100 + number}"
    return Device(id, node or f"n{number}", address, region, zone, weight, number.to_bytes(8, "big"), f"/disks/{number}")


def devices(count: int, *, zones: int = 1, nodes: int = 0, weights: Iterable[float] = (1.0,)) -> list[Device]:
    """`count` devices dealt out over nodes (one each by default), nodes over zones, weights in turn."""
    weights = list(weights)
    found = []
    for number in range(count):
        node = number % (nodes or count)
        found.append(a_device(number, node=f"n{node}", zone=f"z{node % zones}", weight=weights[number % len(weights)]))
    return found


def a_spec(*, replicas: int = 3, part_power: int = 8, hours: float = 0.0, overload: float = 0.1, policy: str = "replicated") -> RingSpec:
    return RingSpec(policy, replicas, part_power, 0x5EED, hours, overload)


def table_of(rows: Iterable[Iterable[int]]) -> "array[int]":
    """An assignment from rows of device ids."""
    return array("I", [device_id for row in rows for device_id in row])


def rows_of(ring: Ring) -> list[tuple[int, ...]]:
    return [ring.primaries(partition) for partition in range(ring.partition_count)]


def plan_of(ring: Ring) -> Plan:
    """The plan that the ring's current assignment should meet."""
    return make_plan(ring.members(), ring.spec.replica_count, ring.partition_count, ring.spec.overload, Counter(ring.table()))


def off_quota(ring: Ring) -> int:
    """Replicas on devices above their quota."""
    held = Counter(ring.table())
    plan = plan_of(ring)
    return sum(max(0, held[device_id] - quota) for device_id, quota in zip(plan.ids, plan.quota, strict=True))


def out_of_bounds(ring: Ring) -> int:
    """Partitions with too many or too few replicas in some region, zone or node."""
    return sum(1 for _ in _broken(ring))


def _broken(ring: Ring) -> Iterator[int]:
    plan = plan_of(ring)
    position_of = {device_id: position for position, device_id in enumerate(plan.ids)}
    for partition in range(ring.partition_count):
        row = [position_of[device_id] for device_id in ring.primaries(partition)]
        for tier_of, most, least in zip(plan.tier_of, plan.most, plan.least, strict=True):
            held = Counter(tier_of[position] for position in row)
            if any(not least[tier] <= held[tier] <= most[tier] for tier in range(len(most))):
                yield partition
                break
