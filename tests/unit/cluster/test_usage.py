"""What a bucket holds, asked of real nodes."""

import pytest

from objstore.cluster.usage import domains_of, settle
from objstore.core.quota import Holdings, Usage
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import ZERO
from objstore.errors import QuorumLost
from objstore.node.pages import Pages
from objstore.node.state import LocalDevice
from objstore.wire.messages import BucketUsage, BucketUsageAnswer
from objstore.wire.server import Call
from ring.builder import create
from ring.lookup import Ring
from tests.support import wires
from tests.support.nodes import key
from tests.unit.cluster.test_cluster import inline, on_real_nodes
from tests.unit.ring.rings import a_device, a_spec


def test_the_sum_of_all_devices_is_what_clients_see() -> None:
    async def main(site: wires.Site) -> None:
        nodes, cluster = await on_real_nodes(site, 4)
        assert await cluster.usage(b"bucket01") == Usage(0, 0)
        for number in range(12):
            await cluster.write(key(f"k{number}"), inline(b"x" * 10), payload=b"x" * 10)
        await site.world.clock.sleep(1)
        assert await cluster.usage(b"bucket01") == Usage(12, 120)
        await cluster.write(key("k3"), inline(b"longer than ten"), payload=b"longer than ten")
        await cluster.write(key("k4"), Row(Kind.TOMBSTONE, b"", ZERO, ZERO, 0))
        await site.world.clock.sleep(1)
        assert await cluster.usage(b"bucket01") == Usage(11, 115)
        assert await cluster.usage(b"bucket02") == Usage(0, 0)
        await nodes.stop()
        with pytest.raises(QuorumLost):
            await cluster.usage(b"bucket01")
        await cluster.aclose()

    wires.run(main)


def a_ring_of(zones: list[int]) -> Ring:
    return create(a_spec(part_power=6), [a_device(n, zone=f"z{zone}", weight=1 / zones.count(zone)) for n, zone in enumerate(zones)])


def holding(objects: int) -> Holdings:
    return Holdings(objects, 10 * objects, 0, 0, 0, 10 * objects)


def test_a_domain_that_lags_behind_changes_nothing() -> None:
    found = {1: holding(4), 2: holding(6), 3: holding(10), 4: holding(7)}
    domains = [[1, 2], [3], [4]]
    assert settle(domains, found, 4, 3, max) == Holdings(10, 100, 0, 0, 0, 270)
    assert settle(domains, found, 4, 3, lambda values: sorted(values)[1]).objects == 10
    del found[4]
    assert settle(domains, found, 4, 3, max).objects == 10


def test_without_domains_the_copies_are_divided_by_the_replicas() -> None:
    found = {1: holding(4), 2: holding(6), 3: holding(10), 4: holding(10)}
    assert settle([], found, 4, 3, max).usage == Usage(10, 100)
    del found[4]
    assert settle([], found, 4, 3, max).usage == Usage(-(-20 * 4 // 9), -(-200 * 4 // 9))
    assert settle([[1, 2, 3, 4]], {1: holding(2), 2: holding(2)}, 4, 1, max).objects == 8


def test_domains_are_zones_where_there_are_as_many_as_replicas() -> None:
    assert domains_of(a_ring_of([1, 2, 3, 1])) == [[0, 3], [1], [2]]
    assert domains_of(a_ring_of([1, 2, 3, 4])) == []
    assert len(domains_of(a_ring_of([1, 1, 1]))) == 3


def test_many_buckets_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(site: wires.Site) -> None:
        nodes, cluster = await on_real_nodes(site, 3)
        await cluster.write(key("k"), inline(b"x" * 10), payload=b"x" * 10)
        await site.world.clock.sleep(1)
        buckets = [b"bucket%02d" % number for number in range(7)]
        monkeypatch.setattr("objstore.cluster.usage.BUCKETS_AT_ONCE", 3)
        found = await cluster.holdings_of(buckets)
        assert [held.usage for held in found] == [Usage(0, 0), Usage(1, 10), *[Usage(0, 0)] * 5]
        assert found == [await cluster.holdings(bucket) for bucket in buckets]
        assert await cluster.holdings_of([]) == []
        await nodes.stop()
        await cluster.aclose()

    wires.run(main)


def test_a_node_of_before_answers_for_one_bucket_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(site: wires.Site) -> None:
        def answer(self: Pages, call: Call, device: LocalDevice, message: BucketUsage) -> None:
            call.answer(BucketUsageAnswer(*device.open().bucket_counters(message.bucket)))

        monkeypatch.setattr(Pages, "_bucket_usage", answer)
        nodes, cluster = await on_real_nodes(site, 3)
        await cluster.write(key("k"), inline(b"x" * 10), payload=b"x" * 10)
        await site.world.clock.sleep(1)
        assert [held.objects for held in await cluster.holdings_of([b"bucket00", b"bucket01"])] == [0, 1]
        await nodes.stop()
        await cluster.aclose()

    wires.run(main)
