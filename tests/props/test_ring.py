"""Any ring after any changes: replicas apart, balanced, few moves, and a handover that can always be carried out."""

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ring.builder import Add, Change, Remove, Replace, Weigh, abandon, change, create, finish
from ring.codec import decode, encode
from ring.diff import diff
from ring.lookup import Ring
from ring.model import Device, RingError, RingSpec
from ring.report import balance, dispersion
from tests.unit.ring.rings import a_device, off_quota, out_of_bounds, rows_of

NOW_S = 1_700_000_000


@st.composite
def clusters(draw: st.DrawFn) -> list[Device]:
    """One to 24 devices over a few regions, zones and nodes, of one or of mixed weights."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)))
    weights = draw(st.sampled_from([(1.0,), (1.0, 2.0), (1.0, 4.0, 16.0), (0.5, 1.0, 3.0)]))
    count = draw(st.integers(1, 24))
    places = draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in shape)), min_size=count, max_size=count))
    return [
        a_device(i, region=f"r{r}", zone=f"z{z}", node=f"n{r}.{z}.{n}", weight=weights[i % len(weights)])
        for i, (r, z, n) in enumerate(places)
    ]


specs = st.builds(
    RingSpec,
    policy=st.just("replicated"),
    replica_count=st.sampled_from([1, 2, 3, 3, 3, 5]),
    part_power=st.integers(0, 8),
    hash_seed=st.integers(0, (1 << 64) - 1),
    min_part_hours=st.just(0.0),
    overload=st.sampled_from([0.0, 0.1, 1.0, 1000.0]),
)


def made(spec: RingSpec, devices: list[Device]) -> Ring:
    assume(len(devices) >= spec.replica_count)
    return create(spec, devices)


def check_apart(ring: Ring) -> None:
    """No two replicas of a partition on one device, in either table."""
    for partition in range(ring.partition_count):
        for row in (ring.primaries(partition), ring.previous(partition) or ()):
            assert len(set(row)) == len(row)
            assert all(device_id in ring.devices for device_id in row)


@given(specs, clusters())
@settings(max_examples=60, deadline=None)
def test_a_new_ring_meets_quotas_and_bounds_exactly(spec: RingSpec, devices: list[Device]) -> None:
    ring = made(spec, devices)
    check_apart(ring)
    assert off_quota(ring) == 0
    assert out_of_bounds(ring) == 0


@given(clusters(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_with_enough_overload_replicas_are_as_far_apart_as_they_can_be(devices: list[Device], replicas: int) -> None:
    """At the widest level always; below it no domain holds two while one beside it holds none."""
    ring = made(RingSpec("p", replicas, 6, 1, 0.0, 1000.0), devices)
    assert dispersion(ring)[0].partitions_below == 0
    domains = {tier for device in devices for tier in device.tiers}
    for row in rows_of(ring):
        held = Counter(tier for device_id in row for tier in ring.devices[device_id].tiers)
        for crowded in (tier for tier, times in held.items() if times > 1):
            for empty in domains:
                beside = len(empty) == len(crowded) and empty[:-1] == crowded[:-1]
                assert not (beside and held[empty] == 0)


@given(specs, clusters())
@settings(max_examples=40, deadline=None)
def test_without_overload_no_device_is_a_whole_partition_off_its_fair_share(spec: RingSpec, devices: list[Device]) -> None:
    ring = made(replace(spec, overload=0.0), devices)
    for device in balance(ring).devices:
        assert abs(device.replicas - device.fair) < 1 + 1e-6


@given(st.integers(4, 24), st.integers(1, 4), st.integers(0, 3), st.sampled_from([1.0, 2.0, 0.5]))
@settings(max_examples=40, deadline=None)
def test_a_new_device_moves_its_fair_share_and_little_more(count: int, zones: int, zone: int, weight: float) -> None:
    devices = [a_device(i, zone=f"z{i % zones}") for i in range(count)]
    ring = create(RingSpec("p", 3, 9, 1, 0.0, 0.0), devices)
    grown = change(ring, [Add(a_device(99, zone=f"z{zone % zones}", weight=weight))], now_s=NOW_S)
    fair = next(device.fair for device in balance(grown).devices if device.device_id == count)
    assert diff(ring, grown).replicas_moved <= 1.2 * fair + count  # and one of each device for rounding
    assert off_quota(grown) == 0


@given(specs, clusters(), st.integers(0, (1 << 16) - 1))
@settings(max_examples=40, deadline=None)
def test_handoffs_are_every_other_device_once(spec: RingSpec, devices: list[Device], number: int) -> None:
    ring = made(spec, devices)
    partition = number % ring.partition_count
    found = list(ring.handoffs(partition))
    assert sorted([*found, *ring.primaries(partition)]) == sorted(ring.devices)
    assert found == list(decode(encode(ring)).handoffs(partition))


@given(specs, clusters(), st.integers(1, 3), st.sets(st.integers(0, 23), max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_cover_covers_or_says_why_it_cannot(spec: RingSpec, devices: list[Device], copies: int, down: set[int]) -> None:
    ring = made(spec, devices)
    left = [sum(device_id not in down for device_id in row) for row in rows_of(ring)]
    try:
        chosen = set(ring.cover(copies, frozenset(down)))
    except RingError:
        assert min(left) < copies
    else:
        assert min(left) >= copies
        assert not chosen & down
        assert all(len(chosen.intersection(row)) >= copies for row in rows_of(ring))


class Operator(RuleBasedStateMachine):
    """Somebody who adds, removes, weighs, replaces, finishes and abandons, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 100
        self.now_s = NOW_S
        self.used: set[int] = set()

    @initialize(spec=specs, devices=clusters(), hours=st.sampled_from([0.0, 1.0]))
    def begin(self, spec: RingSpec, devices: list[Device], hours: float) -> None:
        while len(devices) < spec.replica_count:
            devices = [*devices, self.fresh(devices[0], node=f"more{len(devices)}", path=f"/disks/more{len(devices)}")]
        self.ring = create(replace(spec, part_power=min(6, spec.part_power), min_part_hours=hours), devices)
        self.used = set(self.ring.devices)

    def fresh(self, like: Device, **fields: object) -> Device:
        self.made += 1
        return replace(like, id=-1, incarnation=self.made.to_bytes(8, "big"), **fields)  # type: ignore[arg-type]

    def member(self, number: int) -> Device:
        members = self.ring.members()
        return members[number % len(members)]

    def publish(self, changes: list[Change]) -> None:
        before = self.ring
        try:
            after = change(before, changes, now_s=self.now_s)
        except RingError:
            weighty = {d.id: d.weight > 0 for d in before.members()}
            for item in changes:
                if isinstance(item, Add):
                    weighty[-1 - len(weighty)] = True
                elif isinstance(item, Remove | Weigh):
                    weighty[item.device_id] = isinstance(item, Weigh) and item.weight > 0
            assert before.moving() or sum(weighty.values()) < before.spec.replica_count
            return
        self.check_handover(before, after, balanced=not any(isinstance(item, Replace) for item in changes))
        new = set(after.devices) - set(before.devices)
        assert not new & self.used, "an id was used again"
        self.used |= new
        self.ring = after

    def check_handover(self, before: Ring, after: Ring, *, balanced: bool) -> None:
        assert after.epoch == before.epoch + 1
        under_way = bool(before.moving())
        rest_s = before.spec.min_part_hours * 3600
        gone = {i for i in before.devices if i in after.retired or i not in after.devices or after.devices[i].weight == 0}
        for partition in range(after.partition_count):
            now, was = after.primaries(partition), before.primaries(partition)
            reads_then, reads_now = before.previous(partition) or was, after.previous(partition) or now
            assert reads_now == reads_then, "whoever was read from is read from until the handover ends"
            assert (after.previous(partition) is None) == (now == reads_now)
            if now != was:
                assert after.moved_at_s(partition) == self.now_s
                rested = not before.moved_at_s(partition) or self.now_s - before.moved_at_s(partition) >= rest_s
                if not under_way and not rested:
                    assert all(new == old or old in gone for new, old in zip(now, was, strict=True))
            else:
                assert after.moved_at_s(partition) == before.moved_at_s(partition)
            for device_id in now:
                assert device_id not in after.retired
                assert after.devices[device_id].weight > 0 or not balanced  # a drain that was abandoned, then a disk replaced

    @rule(seconds=st.sampled_from([1, 1800, 7200]))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(number=st.integers(0, 99), zone=st.integers(0, 4), weight=st.sampled_from([1.0, 2.0, 8.0]))
    def add(self, number: int, zone: int, weight: float) -> None:
        like = self.member(number)
        node = f"new{zone}" if like.region == "r0" else like.node
        place = {"node": node, "zone": f"z{zone}"} if like.region == "r0" else {}
        self.publish([Add(self.fresh(like, weight=weight, path=f"/disks/added-{self.ring.next_id}", **place))])

    @rule(number=st.integers(0, 99))
    def remove(self, number: int) -> None:
        self.publish([Remove(self.member(number).id)])

    @rule(number=st.integers(0, 99), weight=st.sampled_from([0.0, 0.5, 3.0]))
    def weigh(self, number: int, weight: float) -> None:
        self.publish([Weigh(self.member(number).id, weight)])

    @rule(one=st.integers(0, 99), other=st.integers(0, 99))
    def swap(self, one: int, other: int) -> None:
        self.publish(
            [Add(self.fresh(self.member(one), weight=1.0, path=f"/disks/added-{self.ring.next_id}")), Remove(self.member(other).id)]
        )

    @rule()
    def rebalance(self) -> None:
        self.publish([])

    @rule(number=st.integers(0, 99))
    def replace_disk(self, number: int) -> None:
        old = self.member(number)
        before = rows_of(self.ring)
        self.publish([Replace(old.id, self.fresh(old))])
        new_id = self.ring.next_id - 1
        assert rows_of(self.ring) == [tuple(new_id if device_id == old.id else device_id for device_id in row) for row in before]

    @precondition(lambda self: self.ring.moving())
    @rule()
    def finish(self) -> None:
        before = rows_of(self.ring)
        self.ring = finish(self.ring)
        assert rows_of(self.ring) == before
        assert not self.ring.retired

    @precondition(lambda self: self.ring.moving())
    @rule()
    def abandon(self) -> None:
        reads = [self.ring.previous(p) or self.ring.primaries(p) for p in range(self.ring.partition_count)]
        self.ring = abandon(self.ring)
        assert rows_of(self.ring) == reads
        assert not self.ring.moving()

    @invariant()
    def is_sound(self) -> None:
        check_apart(self.ring)
        for device_id in self.ring.devices:
            expected = [
                p
                for p in range(self.ring.partition_count)
                if device_id in self.ring.primaries(p) or device_id in (self.ring.previous(p) or ())
            ]
            assert list(self.ring.partitions_of(device_id)) == expected
        assert self.ring.retired <= set(self.ring.previous_table() or ())
        assert decode(encode(self.ring)) == self.ring


TestOperator = Operator.TestCase
TestOperator.settings = settings(max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
