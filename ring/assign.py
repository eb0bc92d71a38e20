"""Places replicas on devices to meet a plan, with few moves.

A new ring is drawn by systematic sampling: for each partition the devices lie in the order of the tree, each as long as
what it has still to get, and `replica_count` points at equal distances pick the replicas (Madow 1949).  That meets all
quotas and all bounds exactly.  An existing ring is changed by three passes: fill the slots of devices that are gone, move
replicas out of domains that hold too many of one partition, move replicas from devices over quota to devices under it
(directly, or along a chain of devices where no direct move is allowed).

Deterministic: all randomness comes from a small generator seeded by the caller.  A partition that is locked (one of its
replicas moved less than `min_part_hours` ago) keeps every replica whose device is still there.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from ring.plan import Branch, Plan

T = TypeVar("T")

ID_TYPE = "I"
_NOBODY = -1
_RESHUFFLE = 32  # partitions drawn with one order of the tree
_DRAWS = 4  # random tries to find a device before all are looked at
_REFRESH = 16  # picks made from one table of deficits
_CHAIN_SLOTS = 48  # slots of a device looked at first when a chain of moves is sought
_TRADES = 512  # slots filled before that are looked at for a trade
_SWAP_SLOTS = 4096  # slots of other partitions tried for one exchange
_CHAIN_BUDGET = 3_000_000  # checks spent on chains in one change: about two seconds


class _Dice:
    """A linear congruential generator (Knuth's MMIX constants); quality is no matter here, repeatability is."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + 0x7F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF

    def below(self, limit: int) -> int:
        """An integer from 0 to limit - 1."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        return (self._state >> 32) * limit >> 32

    def shuffle(self, items: list[T]) -> None:
        """In place (Fisher and Yates)."""
        for index in range(len(items) - 1, 0, -1):
            other = self.below(index + 1)
            items[index], items[other] = items[other], items[index]


def draw(plan: Plan, replica_count: int, partition_count: int, *, seed: int) -> "array[int]":
    """A new assignment: device ids, `replica_count` a partition, meeting the plan exactly."""
    dice = _Dice(seed)
    rest = list(plan.quota)
    table = array(ID_TYPE, bytes(4 * replica_count * partition_count))
    order: list[int] = []
    line: list[int] = []
    for partition in range(partition_count):
        left = partition_count - partition
        if partition % _RESHUFFLE == 0:
            for position, value in zip(order, line, strict=True):
                rest[position] = value
            order = _shuffled_leaves(plan.root, dice)
            line = [rest[position] for position in order]
        ends = list(accumulate(line))
        point = dice.below(left)
        turn = dice.below(replica_count)  # so that no device is always the first replica
        for index in range(replica_count):
            found = bisect_right(ends, point + index * left)
            line[found] -= 1
            table[partition * replica_count + (index + turn) % replica_count] = plan.ids[order[found]]
    return table


def adjust(plan: Plan, table: "array[int]", replica_count: int, *, locked: bytes, seed: int) -> "array[int]":
    """The assignment changed to meet the plan with few moves.

    Entries whose device is not in the plan are filled anew, in locked partitions too; nothing else there moves.
    """
    work = _Work(plan, table, replica_count, locked, seed)
    work.fill_vacant()
    work.repair_dispersion()
    work.balance()
    work.balance_by_chains()
    work.repair_by_swaps()
    return array(ID_TYPE, [plan.ids[position] for position in work.slots])


def _shuffled_leaves(root: Branch, dice: _Dice) -> list[int]:
    if root.leaf >= 0:
        return [root.leaf]
    children = list(root.children)
    dice.shuffle(children)
    return [leaf for child in children for leaf in _shuffled_leaves(child, dice)]


class _Work:
    """The assignment while it is changed: positions in the plan instead of ids, and how far each is from its quota."""

    def __init__(self, plan: Plan, table: "array[int]", replica_count: int, locked: bytes, seed: int) -> None:
        position_of = {device_id: position for position, device_id in enumerate(plan.ids)}
        self.slots = [position_of.get(device_id, _NOBODY) for device_id in table]
        self._replicas = replica_count
        self._partitions = len(table) // replica_count
        self._locked = locked
        self._dice = _Dice(seed)
        self._quota = plan.quota
        self._levels = tuple(zip(plan.tier_of[::-1], plan.most[::-1], plan.least[::-1], strict=True))  # node, zone, region
        self._everybody = list(range(len(plan.ids)))
        self._members = [_members_by_tier(tier_of, len(most)) for tier_of, most, _ in self._levels]
        self._musts = [[tier for tier, least in enumerate(leasts) if least > 0] for _, _, leasts in self._levels]
        self._excess = [-quota for quota in plan.quota]
        for position in self.slots:
            if position != _NOBODY:
                self._excess[position] += 1
        self._line: list[int] = []
        self._line_age = _REFRESH

    # -- passes -------------------------------------------------------------------------------------------------

    def fill_vacant(self) -> None:
        """Give the slots of devices that are gone to others."""
        vacant = [slot for slot, position in enumerate(self.slots) if position == _NOBODY]
        self._dice.shuffle(vacant)
        for index, slot in enumerate(vacant):
            base = slot - slot % self._replicas
            wanted = self._lacking(base) or self._everybody
            found = self._pick_lacking(slot, wanted)
            if found == _NOBODY and self._fill_by_trade(slot, vacant[max(0, index - _TRADES) : index]):
                continue
            if found == _NOBODY:
                found = self._pick_least_full(slot, wanted)
            if found == _NOBODY:
                found = self._pick_least_full(slot, self._everybody)
            if found == _NOBODY:
                found = self._least_bad(base)
            self._put(slot, found)

    def repair_dispersion(self) -> None:
        """Move replicas out of domains that hold too many of a partition, into those that hold too few."""
        for partition in range(self._partitions):
            if self._locked[partition]:
                continue
            base = partition * self._replicas
            for _ in range(2 * self._replicas):
                remedy = self._remedy(base)
                if remedy is None or not self._move_one(*remedy):
                    break

    def balance(self) -> None:
        """Move replicas straight from devices over quota to devices under it."""
        excess, slots = self._excess, self.slots
        under = [position for position in self._everybody if excess[position] < 0]
        over = [position for position in self._everybody if excess[position] > 0]
        if not under or not over:
            return
        held = self._held_slots(over)
        for giver in over:
            mine = held[giver]
            self._dice.shuffle(mine)
            for slot in mine:
                if excess[giver] <= 0:
                    break
                taker = self._pick_under(slot, under)
                if taker != _NOBODY:
                    slots[slot] = taker
                    excess[giver] -= 1
                    excess[taker] += 1
                    if excess[taker] == 0:
                        under.remove(taker)
                        self._line_age = _REFRESH
                        if not under:
                            return

    def balance_by_chains(self) -> None:
        """Where no direct move is allowed: A gives a replica to B in one partition, B one to C in another."""
        budget = _CHAIN_BUDGET
        held = None
        stuck: set[int] = set()
        while budget > 0:
            givers = [p for p in self._everybody if self._excess[p] > 0 and p not in stuck]
            if not givers or all(value >= 0 for value in self._excess):
                return
            if held is None:
                held = self._held_slots(self._everybody)
                for mine in held.values():
                    self._dice.shuffle(mine)
            spent, chain = self._find_chain(givers[0], held, _CHAIN_SLOTS)
            if not chain:
                more, chain = self._find_chain(givers[0], held, len(self.slots))
                spent += more
            budget -= spent
            if not chain or not self._fits(*chain[0]):
                stuck.add(givers[0])
                continue
            for slot, taker in chain:
                if not self._fits(slot, taker):  # two moves of the chain are in one partition; the rest of it is not made
                    break
                self._excess[self.slots[slot]] -= 1
                self._put(slot, taker)
                held[taker].append(slot)

    def repair_by_swaps(self) -> None:
        """What is still out of bounds trades a replica with another partition: two moves, and no device's count changes."""
        for partition in range(self._partitions):
            base = partition * self._replicas
            for _ in range(0 if self._locked[partition] else 2 * self._replicas):
                remedy = self._remedy(base)
                if remedy is None or not self._swap_one(base, *remedy):
                    break

    # -- rules --------------------------------------------------------------------------------------------------

    def _fits(self, slot: int, taker: int) -> bool:
        """Whether the slot's device (if any) may be replaced by `taker` without leaving the bounds of any domain."""
        base = slot - slot % self._replicas
        row = self.slots[base : base + self._replicas]
        if taker in row:
            return False
        giver = self.slots[slot]
        for tier_of, most, least in self._levels:
            new = tier_of[taker]
            old = tier_of[giver] if giver != _NOBODY else _NOBODY
            if new == old:
                return True  # the domains above are the same too
            count_new = count_old = 0
            for position in row:
                if position != _NOBODY:
                    tier = tier_of[position]
                    if tier == new:
                        count_new += 1
                    elif tier == old:
                        count_old += 1
            if count_new >= most[new] or (old != _NOBODY and count_old <= least[old]):
                return False
        return True

    def _crowded(self, base: int) -> list[int]:
        """Slots of a partition in a domain that holds too many of its replicas; the widest such domain first."""
        row = self.slots[base : base + self._replicas]
        for tier_of, most, _ in reversed(self._levels):
            tiers = [tier_of[position] for position in row]
            for tier in tiers:
                if tiers.count(tier) > most[tier]:
                    return [base + index for index, other in enumerate(tiers) if other == tier]
        return []

    def _lacking(self, base: int) -> list[int]:
        """Devices of a domain that must hold more replicas of the partition; empty when there is no such domain."""
        row = self.slots[base : base + self._replicas]
        for (tier_of, _, least), musts, members in zip(reversed(self._levels), reversed(self._musts), reversed(self._members), strict=True):
            if musts:
                tiers = [tier_of[position] for position in row if position != _NOBODY]
                for tier in musts:
                    if tiers.count(tier) < least[tier]:
                        return members[tier]
        return []

    def _remedy(self, base: int) -> tuple[list[int], Sequence[int]] | None:
        """What may bring a partition back into bounds: slots to give up and devices that may get them; None if it is within."""
        crowded = self._crowded(base)
        wanted = self._lacking(base)
        if not crowded and not wanted:
            return None
        return crowded or list(range(base, base + self._replicas)), wanted or self._everybody

    # -- choices ------------------------------------------------------------------------------------------------

    def _pick(self, slot: int, candidates: Sequence[int]) -> int:
        """Another device for a slot, under its quota if there is one; _NOBODY when none fits."""
        found = self._pick_lacking(slot, candidates)
        return found if found != _NOBODY else self._pick_least_full(slot, candidates)

    def _pick_lacking(self, slot: int, candidates: Sequence[int]) -> int:
        """A device under its quota, at random by what each lacks; _NOBODY when none of those fits."""
        excess = self._excess
        if candidates is self._everybody:
            if self._line_age >= _REFRESH:
                self._line = list(accumulate([-value if value < 0 else 0 for value in excess]))
                self._line_age = 0
            self._line_age += 1
            line = self._line
        else:
            line = list(accumulate([-excess[position] if excess[position] < 0 else 0 for position in candidates]))
        if line[-1]:
            for _ in range(_DRAWS):
                found = candidates[bisect_right(line, self._dice.below(line[-1]))]
                if excess[found] < 0 and self._fits(slot, found):
                    return found
        lacking = [position for position in candidates if excess[position] < 0 and self._fits(slot, position)]
        return min(lacking, key=lambda position: (excess[position] / max(1, self._quota[position]), position), default=_NOBODY)

    def _pick_least_full(self, slot: int, candidates: Sequence[int]) -> int:
        """The device that fits and is least over its quota; _NOBODY when none fits."""
        fitting = [position for position in candidates if self._fits(slot, position)]
        return min(fitting, key=lambda position: ((self._excess[position] + 1) / max(1, self._quota[position]), position), default=_NOBODY)

    def _fill_by_trade(self, slot: int, filled: Sequence[int]) -> bool:
        """Fill a slot with what one of the slots filled before it got, and that one with a device under its quota."""
        under = [position for position in self._everybody if self._excess[position] < 0]
        for other in filled if under else ():
            passed_on = self.slots[other]
            if other // self._replicas != slot // self._replicas and self._fits(slot, passed_on):
                found = next((position for position in under if self._fits(other, position)), _NOBODY)
                if found != _NOBODY:
                    self.slots[slot] = passed_on
                    self._put(other, found)
                    return True
        return False

    def _least_bad(self, base: int) -> int:
        """For a slot that must be filled though every device breaks some bound: the one that breaks fewest."""
        row = self.slots[base : base + self._replicas]

        def badness(position: int) -> tuple[int, float, int]:
            broken = 0
            for tier_of, most, _ in self._levels:
                tier = tier_of[position]
                broken += sum(1 for other in row if other != _NOBODY and tier_of[other] == tier) >= most[tier]
            return broken, self._excess[position] / max(1, self._quota[position]), position

        return min((position for position in self._everybody if position not in row), key=badness)

    def _pick_under(self, slot: int, under: list[int]) -> int:
        if len(under) > _DRAWS:
            for _ in range(_DRAWS):
                found = under[self._dice.below(len(under))]
                if self._fits(slot, found):
                    return found
        for found in under:
            if self._fits(slot, found):
                return found
        return _NOBODY

    def _move_one(self, slots: list[int], candidates: Sequence[int]) -> bool:
        """Move one of these replicas, the one whose device is fullest first, to one of the candidates."""
        slots.sort(key=lambda slot: (-self._excess[self.slots[slot]] / max(1, self._quota[self.slots[slot]]), slot))
        for slot in slots:
            found = self._pick(slot, candidates)
            if found != _NOBODY:
                self._excess[self.slots[slot]] -= 1
                self._put(slot, found)
                return True
        return False

    def _swap_one(self, base: int, slots: list[int], candidates: Sequence[int]) -> bool:
        """Trade one of these replicas for one of another partition, on one of the candidates, if both sides allow it."""
        wanted = set(candidates)
        row = self.slots[base : base + self._replicas]
        start = self._dice.below(len(self.slots))
        for index in range(start, start + min(_SWAP_SLOTS, len(self.slots))):
            other = index % len(self.slots)
            taker = self.slots[other]
            if taker not in wanted or taker in row or self._locked[other // self._replicas]:
                continue
            for slot in slots:
                giver = self.slots[slot]
                if self._fits(slot, taker) and self._fits(other, giver):
                    self.slots[slot], self.slots[other] = taker, giver
                    return True
        return False

    def _put(self, slot: int, position: int) -> None:
        self.slots[slot] = position
        self._excess[position] += 1

    def _held_slots(self, positions: Sequence[int]) -> dict[int, list[int]]:
        """Slots of these devices in partitions that may move."""
        held: dict[int, list[int]] = {position: [] for position in positions}
        replicas, locked = self._replicas, self._locked
        for slot, position in enumerate(self.slots):
            if position in held and not locked[slot // replicas]:
                held[position].append(slot)
        return held

    def _find_chain(self, giver: int, held: dict[int, list[int]], limit: int) -> tuple[int, list[tuple[int, int]]]:
        """Breadth first from a device over quota to one under it: (checks spent, moves to make; none when there is no way)."""
        reached: dict[int, tuple[int, int]] = {giver: (_NOBODY, _NOBODY)}  # device -> (slot it would get, from whom)
        queue = [giver]
        spent = 0
        for source in queue:
            for slot in [slot for slot in held[source] if self.slots[slot] == source][:limit]:
                for taker in self._everybody:
                    if taker in reached:
                        continue
                    spent += 1
                    if not self._fits(slot, taker):
                        continue
                    reached[taker] = (slot, source)
                    if self._excess[taker] < 0:
                        return spent, _unwind(reached, taker)
                    queue.append(taker)
        return spent, []


def _unwind(reached: dict[int, tuple[int, int]], last: int) -> list[tuple[int, int]]:
    """The moves of a chain, the last one first."""
    moves: list[tuple[int, int]] = []
    taker = last
    while True:
        slot, source = reached[taker]
        if source == _NOBODY:
            return moves
        moves.append((slot, taker))
        taker = source


def _members_by_tier(tier_of: Sequence[int], count: int) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in range(count)]
    for position, tier in enumerate(tier_of):
        members[tier].append(position)
    return members
