"""Queries of plain writes that are sent before the body is there."""

import asyncio

from objstore.core.rows import Kind
from objstore.core.timestamp import ZERO
from objstore.wire import messages as m
from tests.support.scripted_nodes import Rig, ballot, draft, key, run, stored


def queries(rig: Rig) -> int:
    return sum(len(node.seen(m.Query)) for node in rig.nodes)


def test_a_write_with_an_early_query_is_one_round_and_lies_above_what_the_query_saw() -> None:
    async def main(rig: Rig) -> None:
        seen = ballot(1 << 40)
        rig.put(key(), stored(1, b"old"), seen, body=b"old")
        early = rig.cluster.begin_query(key())
        await asyncio.sleep(0.2)
        asked = queries(rig)
        written = await rig.cluster.write(key(), draft(b"new"), payload=b"new", early=early)
        assert queries(rig) == asked == 2
        assert written.row.origin > seen
        assert written.previous is not None
        assert written.previous.etag == "1"
        assert (await rig.cluster.read(key(), inline=True)).payload == b"new"

    run(main)


def test_a_body_that_is_there_at_once_waits_for_the_query() -> None:
    async def main(rig: Rig) -> None:
        written = await rig.cluster.write(key(), draft(), early=rig.cluster.begin_query(key()))
        assert written.row.origin != ZERO
        assert queries(rig) == 2

    run(main)


def test_an_early_query_of_a_past_epoch_or_without_an_answer_is_made_again() -> None:
    async def main(rig: Rig) -> None:
        early = rig.cluster.begin_query(key())
        await asyncio.sleep(0.2)
        rig.set_ring(rig.next_ring())
        rig.cluster.adopt(rig.next_ring())
        await rig.cluster.write(key(), draft(), early=early)
        assert queries(rig) == 4
        for node in rig.nodes[:2]:
            node.stop()
        early = rig.cluster.begin_query(key())
        await asyncio.sleep(4.0)
        for node in rig.nodes[:2]:
            node.restart()
        await rig.cluster.write(key(), draft(note="again"), early=early)
        held = await rig.cluster.read(key())
        assert held.row is not None
        assert held.row.etag == "again"

    run(main)


def test_a_staged_body_and_its_row_need_one_query() -> None:
    async def main(rig: Rig) -> None:
        staging = await rig.cluster.stage(key(), size=5)
        assert queries(rig) == 2
        await staging.write(b"large")
        await staging.finish()
        await rig.cluster.write(key(), draft(blob=staging.blob), staging=staging)
        assert queries(rig) == 2

    run(main)


def test_a_tombstone_is_written_after_one_query_and_only_where_something_may_be() -> None:
    async def main(rig: Rig) -> None:
        tombstone = draft(kind=Kind.TOMBSTONE)
        assert not await rig.cluster.bury(key("nothing"), tombstone)
        rig.put(key("gone"), stored(1, kind=Kind.TOMBSTONE), ballot(9))
        assert not await rig.cluster.bury(key("gone"), tombstone)
        assert rig.accepts() == 0
        rig.put(key("there"), stored(1, b"x"), ballot(9), body=b"x")
        before = queries(rig)
        assert await rig.cluster.bury(key("there"), tombstone)
        assert queries(rig) == before + 2

    run(main)


def test_a_tombstone_that_not_all_hold_is_written_again() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), stored(1, b"x"), ballot(3), body=b"x")
        rig.put(key(), stored(2, kind=Kind.TOMBSTONE), ballot(5), nodes=rig.nodes[:1])
        assert await rig.cluster.bury(key(), draft(kind=Kind.TOMBSTONE))
        held = await rig.cluster.read(key())
        assert held.row is not None
        assert held.row.kind == Kind.TOMBSTONE

    run(main)


def test_a_request_that_ends_before_its_write_leaves_nothing_behind() -> None:
    async def main(rig: Rig) -> None:
        rig.cluster.begin_query(key()).close()
        rig.cluster.begin_query(key("other"))
        await asyncio.sleep(11.0)

    run(main)
