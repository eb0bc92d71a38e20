"""What the daemons do with versions, on a simulated cluster of real nodes: copies, homecoming, reclaiming, ring changes."""

import asyncio
import random
from typing import Any

from objstore.core.quota import Usage
from objstore.core.rows import Kind, RowKey, Space, decode_row
from objstore.core.versions import rank
from objstore.daemons.compactor import Compactor
from objstore.objects.expire import Expirer
from objstore.objects.store import ObjectStore
from objstore.wire.messages import PartitionRow
from ring import builder
from tests.sim.workload import BUCKET, WHO
from tests.support.sim_store import SimStore, with_sim_store

KEYS = ("a", "b", "c/1", "c/2", "d", "e")
Listed = list[tuple[str, str, bool, bool]]


async def fill(store: SimStore, seed: int, steps: int = 50) -> dict[tuple[str, str], bytes]:
    """Versions, markers and removals; what each version that is left must read as."""
    rng = random.Random(seed)
    bodies: dict[tuple[str, str], bytes] = {}
    for step in range(steps):
        key, chance = rng.choice(KEYS), rng.random()
        mine = [name for name in bodies if name[0] == key]
        if chance < 0.65 or not mine:
            data = rng.randbytes(rng.choice((0, 10, 5000, 300_000)))
            bodies[key, (await store.put(key, data, proxy=step % 2)).version_id] = data
        elif chance < 0.75:
            await store.delete(key, proxy=step % 2)
        else:
            gone = rng.choice([*mine, max(mine)])
            await store.delete(key, gone[1], proxy=step % 2)
            del bodies[gone]
    return bodies


def held(store: SimStore, node: int) -> dict[RowKey, PartitionRow]:
    """Everything under version keys on one node."""
    app = store.cluster.nodes[node].app
    assert app is not None
    found: dict[RowKey, PartitionRow] = {}
    for device in app.state.devices:
        engine = device.engine
        assert engine is not None
        for partition in engine.partitions_held():
            cursor: bytes | None = b""
            while cursor is not None:
                items, cursor = engine.partition_rows(partition, cursor=cursor, limit=7, rows=True)
                found.update({item.key: item for item in items if item.key.space == Space.VERSIONS})
    return found


def tombstones(rows: dict[RowKey, PartitionRow]) -> set[RowKey]:
    return {key for key, item in rows.items() if item.register.row and decode_row(item.register.row).kind == Kind.TOMBSTONE}


async def intact(store: SimStore, bodies: dict[tuple[str, str], bytes], listed: Listed) -> None:
    for proxy, limit in ((0, 1000), (1, 3)):
        assert await store.versions(proxy=proxy, limit=limit) == listed
    for (key, version), data in bodies.items():
        assert await store.read(key, version) == data


async def repaired(store: SimStore) -> None:
    for _ in range(20):
        if await store.cluster.make_whole():
            return
        await asyncio.sleep(30.0)  # until the dead one is given up
    raise AssertionError("the cluster does not become whole")


def test_a_node_that_was_away_gets_every_version_and_every_removal() -> None:
    async def test(store: SimStore) -> None:
        bodies = await fill(store, 1)
        away = store.cluster.nodes[1]
        away.host.kill(power=True)
        kept = {**bodies}
        for name in list(bodies)[::3]:
            await store.delete(*name)
            del kept[name]
        kept |= await fill(store, 2, 30)
        listed = await store.versions()
        left = {(key, version) for key, version, _, _ in listed}
        kept = {name: data for name, data in kept.items() if name in left}
        await away.start()
        await repaired(store)
        rows = [held(store, node) for node in range(3)]
        assert rows[0].keys() == rows[1].keys() == rows[2].keys()
        for key, item in rows[0].items():
            others = [decode_row(other[key].register.row) for other in rows]
            assert {rank(row) for row in others} == {rank(decode_row(item.register.row))}
        for seat in (store.cluster.nodes[0], store.cluster.nodes[2]):  # what it was given is as good as what others hold
            seat.host.kill(power=True)
            await asyncio.sleep(1.0)
            await intact(store, kept, listed)
            await seat.start()
            await asyncio.sleep(1.0)

    with_sim_store(test)


def primaries(store: SimStore, key: str, bucket: bytes) -> list[int]:
    """The nodes whose devices hold an object."""
    cluster = store.cluster.proxies[0]._cluster
    assert cluster is not None
    ring = cluster.members.ring
    homes = ring.primaries(cluster.partition(RowKey(bucket, Space.OBJECTS, key.encode())))
    return [int(ring.devices[device].node.removeprefix("node")) for device in homes]


def test_extra_copies_of_versions_come_home_by_rank() -> None:
    async def test(store: SimStore) -> None:
        bucket = (await store.call(lambda s: s.bucket(WHO, BUCKET))).id
        home = primaries(store, "k", bucket)
        spare = [node for node in range(5) if node not in home]
        first = (await store.put("k", b"first")).version_id
        away = store.cluster.nodes[home[0]]
        away.host.kill(power=True)
        second = (await store.put("k", b"second")).version_id  # the dead one misses it: a spare keeps an extra copy for it
        await store.put("k", b"third")
        await store.delete("k", first)
        await asyncio.sleep(30.0)  # until the dead one is given up
        assert any(held(store, node) for node in spare), "no spare was given a copy"
        await away.start()
        await repaired(store)
        assert not any(held(store, node) for node in spare)
        assert [version for _, version, _, _ in await store.versions()][1:] == [second]
        for node in home:
            rows = {key.version.hex(): decode_row(item.register.row) for key, item in held(store, node).items()}
            assert rows[first].kind == Kind.TOMBSTONE  # it outranks the version, wherever the two met
            assert rows[second].kind == Kind.OBJECT
        for node in home[1:]:
            store.cluster.nodes[node].host.kill(power=True)
            await asyncio.sleep(1.0)
            assert await store.read("k", second) == b"second"
            await store.cluster.nodes[node].start()
            await asyncio.sleep(1.0)

    with_sim_store(test, nodes=5, in_ring=5)


def test_a_removed_version_is_reclaimed_in_two_steps_and_never_while_a_primary_holds_it_as_its_head() -> None:
    async def test(store: SimStore) -> None:
        first = (await store.put("k", b"first")).version_id
        await store.put("k", b"second")
        await store.delete("k", first)
        await asyncio.sleep(1.0)
        before = [tombstones(held(store, node)) for node in range(3)]
        assert all(len(found) == 1 for found in before)

        async def reclaim(age_s: float) -> int:
            async def do(daemons: Any) -> int:
                return await Compactor(daemons.fleet, reclaim_age_s=age_s, settle=daemons.compactor._settle).reclaim()

            gone: int = await store.daemons(do)
            return gone

        assert await reclaim(60.0) == 0  # too young
        await asyncio.sleep(61.0)
        assert await reclaim(60.0) == 0  # the first step: settled at a fresh ballot
        ballots = {item.register.accepted for node in range(3) for key, item in held(store, node).items() if key in before[0]}
        assert len(ballots) == 1
        assert await reclaim(60.0) == 0  # that one is too young again
        await asyncio.sleep(61.0)
        assert await reclaim(60.0) >= 1
        assert not any(tombstones(held(store, node)) for node in range(3))
        assert await reclaim(60.0) == 0
        assert [version for _, version, _, _ in await store.versions()] != [first]
        assert await store.read("k") == b"second"

    with_sim_store(test)


def test_versions_move_with_the_ring_while_they_are_written() -> None:
    async def test(store: SimStore) -> None:
        bodies = await fill(store, 3)
        fleet = store.cluster.daemons.daemons
        assert fleet is not None

        async def change(changes: list[builder.Change]) -> None:
            ring = await store.daemons(lambda daemons: daemons.rebalancer.publish(changes))
            assert ring.moving()
            writing = asyncio.ensure_future(fill(store, ring.epoch, 25))
            for _ in range(60):
                await store.daemons(lambda daemons: daemons.replicator.run())
                await store.daemons(lambda daemons: daemons.rebalancer.step())
                if not fleet.fleet.ring.moving():
                    break
                await asyncio.sleep(0.5)
            bodies.update(await writing)
            assert not fleet.fleet.ring.moving()

        async def check() -> None:
            listed = await store.versions()
            left = {(key, version) for key, version, _, _ in listed}
            for name in [name for name in bodies if name not in left]:
                raise AssertionError(f"{name} is gone")
            await intact(store, bodies, listed)

        await change([builder.Add(device) for device in store.cluster.nodes[3].devices()])  # add-node
        await check()
        (leaving,) = [device.id for device in fleet.fleet.ring.devices.values() if device.node == "node0"]
        await change([builder.Weigh(leaving, 0.0)])  # drain
        await repaired(store)
        assert not any(held(store, 0).values()), "a drained node keeps versions"
        await check()
        await store.daemons(lambda daemons: daemons.rebalancer.publish([builder.Remove(leaving)]))
        store.cluster.nodes[0].host.kill(power=True)
        await check()
        for number in (1, 2, 3):  # each copy is as good as any other
            seat = store.cluster.nodes[number]
            seat.host.kill(power=True)
            await asyncio.sleep(1.0)
            await check()
            await seat.start()
            await asyncio.sleep(1.0)

    with_sim_store(test)


def test_removals_by_rules_need_no_bytes_of_the_head_even_where_a_replica_lacks_them() -> None:
    async def test(store: SimStore) -> None:
        nodes = store.cluster.nodes[:3]
        await store.put("k", b"first")
        nodes[0].host.kill(power=True)
        await store.put("k", b"second")
        await store.put("k", b"third, in line")
        await nodes[0].start()  # it holds the first version as its head, and no bytes of the others
        nodes[1].host.kill(power=True)  # so that the removal needs it
        await asyncio.sleep(1.0)

        async def remove_all(proxy: ObjectStore) -> list[bool]:
            expirer = Expirer(proxy)
            bucket = await expirer.find(WHO.account, BUCKET, (await proxy.bucket(WHO, BUCKET)).id)
            assert bucket is not None
            (key,) = (await expirer.keys(bucket, b"", b"")).keys
            assert len(key.rows) == 3
            return [await expirer.remove(bucket, b"k", row) for row in key.rows[1:]]

        assert await store.call(remove_all) == [True, True]
        await nodes[1].start()
        await asyncio.sleep(1.0)
        nodes[2].host.kill(power=True)  # who gave the bytes
        await asyncio.sleep(1.0)
        assert len(await store.versions()) == 1
        assert await store.read("k") == b"third, in line"
        await nodes[2].start()
        await repaired(store)
        await store.put("k", b"fourth")
        (latest, *_) = await store.versions()
        await store.delete("k", latest[1])  # what it exposes is read from each copy
        for seat in nodes:
            seat.host.kill(power=True)
            await asyncio.sleep(1.0)
            assert await store.read("k") == b"third, in line"
            await seat.start()
            await asyncio.sleep(1.0)

        async def usage_of(proxy: ObjectStore) -> Usage:
            return await proxy.cluster.usage((await proxy.bucket(WHO, BUCKET)).id)

        usage = await store.call(usage_of)  # what was brought back is counted once
        assert (usage.objects, usage.bytes) == (1, len(b"third, in line"))

    with_sim_store(test)
