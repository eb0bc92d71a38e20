"""The whole client against real nodes, and what is left when it closes."""

import asyncio
import contextlib

import pytest

from objstore.cluster.cluster import Cluster, ClusterSettings
from objstore.core.rows import BodyKind, Kind, Row
from objstore.core.timestamp import ZERO
from objstore.errors import BallotTooFarAhead, Unavailable
from objstore.wire import messages as m
from tests.support import wires
from tests.support.nodes import Nodes, key
from tests.support.scripted_nodes import KEY, SILENT, Rig, draft
from tests.support.scripted_nodes import key as name_of
from tests.support.scripted_nodes import run as run_rig

BODY = bytes(range(256)) * 2000


def inline(body: bytes) -> Row:
    import xxhash

    return Row(Kind.OBJECT, b"", ZERO, ZERO, 0, size=len(body), body=BodyKind.INLINE, digest=xxhash.xxh3_128_digest(body))


async def on_real_nodes(site: wires.Site, count: int = 3) -> tuple[Nodes, Cluster]:
    nodes = await Nodes.start(site, count)
    cluster = Cluster(site.world, ring=nodes.ring, proxy_id=5, name="proxy", cluster_key=KEY, settings=ClusterSettings())
    await cluster.start()
    return nodes, cluster


def test_objects_of_both_sizes_go_through_real_nodes_and_come_back() -> None:
    async def main(site: wires.Site) -> None:
        nodes, cluster = await on_real_nodes(site)
        await cluster.write(key("small"), inline(b"small"), payload=b"small")
        held = await cluster.read(key("small"), inline=True)
        assert held.payload == b"small"
        staging = await cluster.stage(key("large"), size=len(BODY))
        for at in range(0, len(BODY), 100_000):
            await staging.write(memoryview(BODY)[at : at + 100_000])
        await staging.finish()
        row = Row(Kind.OBJECT, b"", ZERO, ZERO, 0, size=len(BODY), body=BodyKind.BLOB, blob=staging.blob)
        written = await cluster.conditional(key("large"), lambda _: row, staging=staging)
        data = b"".join([bytes(piece) async for piece in cluster.read_body(key("large"), written.row, offset=1000, length=300_000)])
        assert data == BODY[1000:301_000]
        held = await cluster.read(key("small"))
        assert held.row is not None
        data = b"".join([bytes(piece) async for piece in cluster.read_body(key("small"), held.row)])
        assert data == b"small"
        page = await cluster.scan(b"bucket01", 0, limit=10)
        assert [entry.name for entry in page.rows] == [b"large", b"small"]
        await cluster.write(key("large"), Row(Kind.TOMBSTONE, b"", ZERO, ZERO, 0))
        page = await cluster.scan(b"bucket01", 0, limit=10)
        assert [entry.name for entry in page.rows] == [b"small"]
        await cluster.aclose()
        await nodes.stop()

    wires.run(main)


def test_a_proxy_knows_whether_it_can_serve() -> None:
    async def main(site: wires.Site) -> None:
        nodes, cluster = await on_real_nodes(site)
        await cluster.write(key("k"), inline(b"x"), payload=b"x")
        assert cluster.serves()
        await nodes.apps[0].stop()
        await asyncio.sleep(1)
        cluster.serves()
        await asyncio.sleep(5)
        assert cluster.serves()
        await nodes.apps[1].stop()
        with contextlib.suppress(Unavailable):
            await cluster.write(key("k"), inline(b"x"), payload=b"x")
        assert not cluster.serves()
        assert cluster.failed_writes == 1
        await cluster.aclose()
        await nodes.apps[2].stop()

    wires.run(main)


def test_a_cluster_of_real_nodes_goes_on_without_one() -> None:
    async def main(site: wires.Site) -> None:
        nodes, cluster = await on_real_nodes(site)
        for number in range(30):
            await cluster.write(key(f"k{number:02d}"), inline(b"x"), payload=b"x")
        await nodes.apps[1].stop()
        for number in range(30):
            await cluster.write(
                key(f"k{number:02d}"), Row(Kind.TOMBSTONE, b"", ZERO, ZERO, 0) if number % 3 else inline(b"y"), payload=b"y"
            )
        page = await cluster.scan(b"bucket01", 0, limit=100)
        assert [entry.name for entry in page.rows] == [f"k{number:02d}".encode() for number in range(0, 30, 3)]
        await cluster.aclose()
        await nodes.apps[0].stop()
        await nodes.apps[2].stop()

    wires.run(main)


def test_partitions_and_spread_are_the_rings() -> None:
    async def main(rig: Rig) -> None:
        where = name_of("a name")
        assert rig.cluster.partition(where) == rig.ring.partition(where.bucket + b"\0", where.name)
        spread = {rig.cluster.partition(name_of(str(number)), spread=1) for number in range(50)}
        assert len(spread) == 1

    run_rig(main, part_power=5)


def test_closing_in_the_middle_of_everything_leaves_nothing() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(name_of(), draft(b"x"), payload=b"x")
        for node in rig.nodes:
            node.trouble = lambda message: None if isinstance(message, m.StageBody) else SILENT
            node.body_trouble = lambda _: SILENT

        async def stream() -> None:
            held = await rig.cluster.read(name_of())
            assert held.row is not None
            async for _ in rig.cluster.read_body(name_of(), held.row):
                pass

        async def upload() -> None:
            staging = await rig.cluster.stage(name_of())
            await staging.write(BODY)
            await staging.finish()

        loop = asyncio.get_running_loop()
        running = [
            loop.create_task(work)  # type: ignore[arg-type]
            for work in (
                rig.cluster.read(name_of()),
                rig.cluster.write(name_of(), draft()),
                rig.cluster.conditional(name_of(), lambda _: draft()),
                rig.cluster.scan(b"bucket01", 0),
                stream(),
                upload(),
            )
        ]
        await asyncio.sleep(0.5)
        await rig.cluster.aclose()
        began_s = rig.now_s
        for task in running:
            with contextlib.suppress(asyncio.CancelledError), pytest.raises(Unavailable):
                await task
        assert rig.now_s - began_s < 10.0

    run_rig(main)


def test_every_operation_has_its_own_name_and_ballots_only_go_up() -> None:
    async def main(rig: Rig) -> None:
        rows = [(await rig.cluster.write(name_of(), draft())).row for _ in range(20)]
        assert len({row.operation for row in rows}) == 20
        assert [row.origin for row in rows] == sorted(row.origin for row in rows)

    run_rig(main)


def test_the_ballots_of_one_operation_rise_also_when_the_clock_is_set_back() -> None:
    async def main(rig: Rig) -> None:
        clock = rig.cluster._clock
        issue = clock.rising()
        ahead = clock._started_us
        clock._started_us = ahead + 3_600_000_000  # as if it had been read from a wrong clock
        first = issue(ZERO)
        quorum = rig.cluster.members.plan(0).quorum
        assert clock.heed(quorum, [(device, BallotTooFarAhead("far", wall_us=ahead)) for device in quorum.members])
        assert clock.rising()(ZERO) < first
        assert issue(ZERO) > first

    run_rig(main)
