"""How many replicas each device should hold: fair shares by weight, bent towards dispersion as far as overload allows.

Three steps, all plain arithmetic.  *Fair*: a device's share of the weight times `replica_count`, at most 1 (a device
holds one replica of a partition), the surplus going to the others.  *Target*: at each level of region > zone > node the
replicas are spread as evenly over the branches as they can be while no device exceeds (1 + overload) times its fair
share.  *Quota*: whole numbers that add up exactly at every level, rounded towards what is there already, so that rounding
moves nothing.

A branch whose quota is Q over P partitions must then hold between floor(Q / P) and ceil(Q / P) replicas of every
partition (`least`, `most`).  An assignment with these quotas and bounds always exists, because branches form a tree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ring.model import Device, RingError

LEVELS = ("region", "zone", "node")
_CLOSE = 1e-9  # replicas; far below one partition's worth at the highest part power
_WHOLE = 1e-6  # partitions; a target this near to a whole number is one
_HALVINGS = 200  # of the interval that holds the scale factor: more than a float has bits


@dataclass
class Branch:
    """A region, zone or node with its branches, or a device (`leaf` is its position among the devices)."""

    leaf: int = -1
    children: "list[Branch]" = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    fair: float = 0.0
    room: float = 0.0
    quota: int = 0


@dataclass(frozen=True)
class Plan:
    """What an assignment should look like.  Positions are indexes into `ids`; tiers are numbered per level."""

    ids: tuple[int, ...]
    root: Branch
    fair: list[float]  # replicas of each partition, by weight alone
    target: list[float]  # the same after dispersion
    quota: list[int]  # partitions
    tier_of: tuple[list[int], list[int], list[int]]  # level -> position -> tier
    most: tuple[list[int], list[int], list[int]]  # level -> tier -> replicas of one partition
    least: tuple[list[int], list[int], list[int]]


def make_plan(devices: Sequence[Device], replica_count: int, partition_count: int, overload: float, present: dict[int, int]) -> Plan:
    """Plan for the devices that have a weight; `present` says how many replicas each holds now.

    Raises RingError when there are fewer devices than replicas.
    """
    usable = sorted((d for d in devices if d.weight > 0), key=lambda d: (d.region, d.zone, d.node, d.id))
    if len(usable) < replica_count:
        raise RingError(
            f"{len(usable)} devices cannot hold {replica_count} replicas",
            "every replica of a partition needs its own device, with a weight above 0",
            f"add {replica_count - len(usable)} devices, or make the ring with a lower replica_count ({len(usable)} or less)",
        )
    fair = fair_shares([d.weight for d in usable], replica_count)
    root, tier_of, tiers = _grow(usable)
    for branch in _walk(root):
        branch.fair = sum(fair[leaf] for leaf in branch.leaves)
        branch.room = sum(min(1.0, fair[leaf] * (1 + overload)) for leaf in branch.leaves)
    target = [0.0] * len(usable)
    _disperse(root, float(replica_count), target)
    have = [present.get(d.id, 0) for d in usable]
    root.quota = replica_count * partition_count
    _round(root, target, partition_count, have)
    quota = [0] * len(usable)
    for branch in _walk(root):
        if branch.leaf >= 0:
            quota[branch.leaf] = branch.quota
    regions, zones, nodes = ([branch.quota for branch in level] for level in tiers)
    return Plan(
        ids=tuple(d.id for d in usable),
        root=root,
        fair=fair,
        target=target,
        quota=quota,
        tier_of=tier_of,
        most=(_ceil(regions, partition_count), _ceil(zones, partition_count), _ceil(nodes, partition_count)),
        least=(_floor(regions, partition_count), _floor(zones, partition_count), _floor(nodes, partition_count)),
    )


def fair_shares(weights: Sequence[float], replica_count: int) -> list[float]:
    """Replicas of a partition each weight deserves, none above 1; they add up to `replica_count`."""
    assert len(weights) >= replica_count
    return _fill(weights, [0.0] * len(weights), [1.0] * len(weights), float(replica_count))


def _ceil(quotas: list[int], partition_count: int) -> list[int]:
    return [-(-quota // partition_count) for quota in quotas]


def _floor(quotas: list[int], partition_count: int) -> list[int]:
    return [quota // partition_count for quota in quotas]


def _grow(usable: Sequence[Device]) -> tuple[Branch, tuple[list[int], list[int], list[int]], tuple[list[Branch], ...]]:
    root = Branch(leaves=list(range(len(usable))))
    tier_of: tuple[list[int], list[int], list[int]] = ([], [], [])
    tiers: tuple[list[Branch], ...] = ([], [], [])
    found: dict[tuple[str, ...], tuple[int, Branch]] = {}
    for position, device in enumerate(usable):
        parent = root
        for level, name in enumerate(device.tiers):
            if name not in found:
                found[name] = (len(tiers[level]), Branch())
                tiers[level].append(found[name][1])
                parent.children.append(found[name][1])
            number, parent = found[name]
            tier_of[level].append(number)
            parent.leaves.append(position)
        parent.children.append(Branch(leaf=position, leaves=[position]))
    return root, tier_of, tiers


def _walk(branch: Branch) -> Iterator[Branch]:
    yield branch
    for child in branch.children:
        yield from _walk(child)


def _disperse(branch: Branch, replicas: float, target: list[float]) -> None:
    """Share `replicas` (of each partition) out over the branch's children, as evenly as their room allows."""
    if branch.leaf >= 0:
        target[branch.leaf] = replicas
        return
    rooms = [child.room for child in branch.children]
    # The smallest number of replicas of one partition that some child must take, and the largest that each can be given.
    high = 1
    while sum(min(room, high) for room in rooms) < replicas - _CLOSE and high < replicas:
        high += 1
    low = 0
    while low < high and sum(min(room, low + 1) for room in rooms) <= replicas + _CLOSE:
        low += 1
    shares = _fill([child.fair for child in branch.children], [min(r, low) for r in rooms], [min(r, high) for r in rooms], replicas)
    for child, share in zip(branch.children, shares, strict=True):
        _disperse(child, share, target)


def _fill(weights: Sequence[float], low: Sequence[float], high: Sequence[float], total: float) -> list[float]:
    """Shares in proportion to the weights, each kept within its bounds, that add up to `total`."""

    def shares(scale: float) -> list[float]:
        return [min(max(weight * scale, least), most) for weight, least, most in zip(weights, low, high, strict=True)]

    if sum(high) <= total + _CLOSE:
        return list(high)
    if sum(low) >= total - _CLOSE:
        return list(low)
    below, above = 0.0, max(most / weight for weight, most in zip(weights, high, strict=True))
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        if middle in (below, above):
            break
        if sum(shares(middle)) < total:
            below = middle
        else:
            above = middle
    return shares(above)


def _round(branch: Branch, target: list[float], partition_count: int, have: list[int]) -> None:
    """Give the children whole quotas that add up to the branch's own."""
    if not branch.children:
        return
    exact = [_snap(sum(target[leaf] for leaf in child.leaves) * partition_count) for child in branch.children]
    for child, wanted in zip(branch.children, exact, strict=True):
        child.quota = int(wanted)
    held = [sum(have[leaf] for leaf in child.leaves) for child in branch.children]
    # The one above goes first to those that hold that much already, then to those that are nearest to it.
    order = sorted(range(len(exact)), key=lambda i: (exact[i] == int(exact[i]), held[i] <= int(exact[i]), int(exact[i]) - exact[i], i))
    spare = branch.quota - sum(child.quota for child in branch.children)
    step = 1 if spare > 0 else -1
    turn = 0
    while spare:
        child = branch.children[order[turn % len(order)]]
        if 0 <= child.quota + step <= len(child.leaves) * partition_count:
            child.quota += step
            spare -= step
        turn += 1
        assert turn <= 4 * len(order) + 4
    for child in branch.children:
        _round(child, target, partition_count, have)


def _snap(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < _WHOLE else value
