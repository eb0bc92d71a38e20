"""Rows that are written once are taken from whichever replica has them."""

import pytest

from objstore.core.placement import Placement
from objstore.core.rows import decode_row
from objstore.errors import NodeUnreachable, QuorumLost
from objstore.wire import messages as m
from ring import builder
from tests.support.scripted_nodes import SILENT, Rig, ballot, key, run, stored

ROW = stored(5, b"bytes")
ORIGIN = decode_row(ROW).origin


def test_one_replica_is_asked_when_it_has_the_row() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), ROW, ballot(5))
        held = await rig.cluster.read_once_written(key(), ORIGIN)
        assert held.row == decode_row(ROW)
        assert len(held.sources) == 1
        assert sum(len(node.seen(m.Query)) for node in rig.nodes) == 1

    run(main)


def test_replicas_that_are_away_or_have_it_not_are_passed_over() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), ROW, ballot(5))
        first, second, third = rig.members(key())
        first.trouble = lambda message: SILENT
        second.trouble = lambda message: NodeUnreachable("down")
        held = await rig.cluster.read_once_written(key(), ORIGIN)
        assert held.row == decode_row(ROW)
        assert held.sources == (third.number,)

    run(main)


def test_another_write_of_the_name_is_not_taken_for_it() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), ROW, ballot(5))
        held = await rig.cluster.read_once_written(key(), ballot(4))
        assert held.row == decode_row(ROW)  # what agreement says, for the caller to see that it is another
        assert sum(len(node.seen(m.Query)) for node in rig.nodes) == 5

    run(main)


def test_where_nobody_answers_the_read_says_so() -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes:
            node.trouble = lambda message: NodeUnreachable("down")
        with pytest.raises(QuorumLost):
            await rig.cluster.read_once_written(key(), ORIGIN)

    run(main)


def test_a_ring_whose_only_replica_has_left_is_looked_for_among_the_others() -> None:
    async def main(rig: Rig) -> None:
        (old,) = rig.members(key())
        ring = builder.finish(builder.change(rig.ring, [builder.Remove(old.number)], now_s=0))
        rig.set_ring(ring)
        old.stop()
        placed = Placement(ring)
        (device,) = placed.plan(placed.partition(key(), 0)).primaries
        rig.put(key(), ROW, ballot(5), [rig.nodes[device]])
        held = await rig.cluster.read_once_written(key(), ORIGIN)
        assert held.row == decode_row(ROW)
        assert held.sources == (device,)
        assert rig.cluster.ring.epoch == ring.epoch

    run(main, replicas=1)


def test_a_newer_ring_is_followed_at_once() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), ROW, ballot(5))
        ring = rig.next_ring()
        rig.set_ring(ring)
        held = await rig.cluster.read_once_written(key(), ORIGIN)
        assert held.row == decode_row(ROW)
        assert rig.cluster.ring.epoch == ring.epoch
        assert sum(len(node.seen(m.Query)) for node in rig.nodes) == 2

    run(main)
