"""What readers of the versions' rules have found, each played step by step on a simulated cluster with real engines and daemons."""

import asyncio
from collections.abc import Callable
from typing import Any

from objstore.core.agreement import _proposal
from objstore.core.rows import Register, Row, RowKey, Space, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, HybridClock
from objstore.core.versions import again, version_key, without_version
from ring import builder
from tests.sim.workload import BUCKET, WHO
from tests.support.sim_store import SimStore, with_sim_store

TRIES = 4


class Key:
    """The key `k` of the bucket: where it lies, and its replicas' engines."""

    def __init__(self, store: SimStore, bucket: bytes) -> None:
        cluster: Any = store.cluster.proxies[0]._cluster
        self.store = store
        self.head = RowKey(bucket, Space.OBJECTS, b"k")
        self.partition: int = cluster.partition(self.head)
        self.ring = cluster.members.ring
        self.home = [self.node(device) for device in self.ring.primaries(self.partition)]
        self.clock = HybridClock(77)

    def node(self, device: int) -> int:
        return int(self.ring.devices[device].node.removeprefix("node"))

    def engine(self, node: int) -> Any:
        app = self.store.cluster.nodes[node].app
        assert app is not None
        return app.state.devices[0].engine

    async def on(self, node: int, do: Callable[[Any], Any]) -> Any:
        engine = self.engine(node)

        async def body() -> Any:
            return await do(engine)

        return await self.store.cluster.nodes[node].host.call(body)

    def ballot(self, above: Ballot = ZERO) -> Ballot:
        return self.clock.issue(self.store.cluster.nodes[self.home[0]].host.world().clock.wall_us(), above)

    async def promise(self, node: int, ballot: Ballot) -> Row:
        granted, register = await self.on(node, lambda engine: engine.prepare(self.head, partition=self.partition, ballot=ballot))
        assert granted
        return decode_row(register.row)

    async def accept(self, node: int, ballot: Ballot, row: Row, payload: bytes | None) -> None:
        answer = await self.on(
            node, lambda engine: engine.accept(self.head, partition=self.partition, ballot=ballot, row=encode_row(row), payload=payload)
        )
        assert answer.verdict == "yes", answer


async def key_of(store: SimStore) -> Key:
    return Key(store, (await store.call(lambda s: s.bucket(WHO, BUCKET))).id)


async def comes_to_rest(store: SimStore) -> bool:
    for _ in range(TRIES):
        await store.daemons(lambda daemons: daemons.replicator.run())
        left = await store.daemons(lambda daemons: daemons.replicator.verify())
        if left.clean:
            return True
        await asyncio.sleep(5)
    return False


def removal_of(version: str, head: Row, ballot: Ballot) -> Row:
    return _proposal(again(head, tombstones=(version,)), b"R" * 16, ballot, base=head.base, first=ballot)


def test_a_version_that_an_old_primary_has_as_its_head_is_not_forgotten_on_the_new_ones() -> None:
    """It is refilled from replicas of which one never had the version, and the other has not heard of the head above it."""

    async def test(store: SimStore) -> None:
        k = await key_of(store)
        nodes = store.cluster.nodes
        a, b, c = 0, 1, 2

        async def kill(node: int) -> None:
            nodes[node].host.kill(power=True)
            await asyncio.sleep(1)

        async def start(node: int) -> None:
            await nodes[node].start()
            await asyncio.sleep(20)

        leaving = [builder.Weigh(device.id, 0.0) for device in k.ring.devices.values() if device.node in ("node1", "node2")]
        coming = [builder.Add(device) for node in (3, 4) for device in nodes[node].devices()]
        await kill(c)
        version = (await store.put("k", b"first")).version_id
        await start(c)
        floor = k.ballot()  # of something else in the partition a tombstone was reclaimed since
        for node in (a, b, c):
            await k.on(node, lambda engine: engine.raise_floor(k.partition, floor))
        await asyncio.sleep(1)
        await kill(c)
        await store.daemons(lambda daemons: daemons.rebalancer.publish([*coming, *leaving]))
        assert await store.read("k") == b"first"  # and so the new devices get it
        await asyncio.sleep(1)
        await start(c)
        await kill(a)
        newer = (await store.put("k", b"second")).version_id
        await asyncio.sleep(1)
        await start(a)
        await kill(b)
        for _ in range(TRIES):
            await store.daemons(lambda daemons: daemons.replicator.run())
            if await store.daemons(lambda daemons: daemons.rebalancer.step()):
                break
        await start(b)
        await kill(a)
        for proxy in (0, 1):
            assert await store.read("k", version, proxy=proxy) == b"first"
            assert [found[1] for found in await store.versions(proxy=proxy)] == [newer, version]

    with_sim_store(test, nodes=5, in_ring=3)


def test_repair_rests_though_only_the_replica_that_is_asked_last_has_the_removal_of_a_version() -> None:
    async def test(store: SimStore) -> None:
        version = (await store.put("k", b"first")).version_id
        await store.put("k", b"second")
        await asyncio.sleep(1)
        k = await key_of(store)
        ballot = k.ballot()
        heads = [await k.promise(node, ballot) for node in k.home]
        await k.accept(k.home[-1], ballot, removal_of(version, heads[-1], ballot), b"second")  # its proposer is gone
        await store.put("k", b"third")
        await asyncio.sleep(1)
        later = k.ballot(ballot)
        for node in k.home[:-1]:  # a conditional write that was refused: nothing older is taken from merges any more
            await k.promise(node, later)
        await asyncio.sleep(1)
        assert await comes_to_rest(store)
        listed = await store.versions()
        assert listed == await store.versions(proxy=1, limit=1)
        held = {bytes(k.engine(node).query(version_key(k.head, version), partition=k.partition, stored=True).row) for node in k.home}
        assert len(held) == 1

    for seed in (1, 2, 3):
        with_sim_store(test, seed=seed)


def test_what_a_device_that_is_no_primary_has_of_a_version_comes_home_past_a_promise() -> None:
    async def test(store: SimStore) -> None:
        version = (await store.put("k", b"first")).version_id
        await store.put("k", b"second")
        await asyncio.sleep(1)
        k = await key_of(store)
        elsewhere = next(node for node in range(5) if node not in k.home)
        ballot = k.ballot()
        heads = [await k.promise(node, ballot) for node in k.home]
        dead = decode_row(removal_of(version, heads[0], ballot).effects[0])
        row = version_key(k.head, version)
        left = Register(ZERO, ballot, encode_row(dead))
        await k.on(elsewhere, lambda engine: engine.merge(row, partition=k.partition, register=left, floor=ZERO))
        later = k.ballot(ballot)
        for node in k.home:
            await k.promise(node, later)
        await asyncio.sleep(1)
        assert await comes_to_rest(store)
        assert version not in {found[1] for found in await store.versions()}

    with_sim_store(test, nodes=5, in_ring=5)


def test_a_version_that_becomes_the_head_while_versions_are_listed_is_not_missed() -> None:
    """Two replicas hold it as their head alone, since one missed what is above it and the other what was before."""

    async def test(store: SimStore) -> None:
        k = await key_of(store)
        cluster: Any = store.cluster.proxies[0]._cluster
        cover = [k.node(device) for device in cluster.members.placement.cover()]
        a, b = cover
        c = next(node for node in k.home if node not in cover)
        nodes = store.cluster.nodes
        nodes[b].host.kill(power=True)
        version = (await store.put("k", b"first")).version_id
        await nodes[b].start()
        await asyncio.sleep(2)
        nodes[a].host.kill(power=True)
        newer = (await store.put("k", b"second")).version_id
        await nodes[a].start()
        await asyncio.sleep(20)

        async def remove_the_head() -> None:
            low = k.ballot()
            high = k.ballot(low)
            head = await k.promise(b, low)
            await k.promise(c, low)
            for node in (b, c):
                await k.accept(node, low, head, None)
            below = await k.promise(a, high)
            await k.promise(c, high)
            assert below.version == version

            class Others:
                def newest(self) -> Row:
                    return below

            row = _proposal(without_version(head, Others(), newer), b"R" * 16, high, base=below.base, first=high)
            for node in (a, b, c):
                await k.accept(node, high, row, b"first")

        seat: Any = store.cluster.proxies[0]
        scan = seat.store.cluster.scan
        removed = asyncio.Event()

        async def slow_scan(bucket: bytes, space: int, **rest: Any) -> Any:
            if space == Space.VERSIONS:
                await removed.wait()
            return await scan(bucket, space, **rest)

        seat.store.cluster.scan = slow_scan
        listing = asyncio.ensure_future(store.versions())
        await asyncio.sleep(1)
        await remove_the_head()
        removed.set()
        assert version in {found[1] for found in await listing}
        assert [found[1] for found in await store.versions(proxy=1)] == [version]

    with_sim_store(test, nodes=3)


def test_a_version_that_loses_its_place_while_versions_are_listed_is_not_shown_twice() -> None:
    async def test(store: SimStore) -> None:
        version = (await store.put("k", b"first")).version_id
        await store.put("k2", b"other")
        seat: Any = store.cluster.proxies[0]
        scan = seat.store.cluster.scan
        overwritten = asyncio.Event()

        async def slow_scan(bucket: bytes, space: int, **rest: Any) -> Any:
            if space == Space.VERSIONS:
                await overwritten.wait()
            return await scan(bucket, space, **rest)

        seat.store.cluster.scan = slow_scan
        listing = asyncio.ensure_future(store.versions(limit=2))
        await asyncio.sleep(1)
        for data in (b"second", b"third"):
            await store.put("k", data, proxy=1)
        overwritten.set()
        ids = [found[1] for found in await listing]
        assert version in ids
        assert len(set(ids)) == len(ids)

    with_sim_store(test, nodes=3)
