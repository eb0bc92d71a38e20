"""Listings and reads while partitions move: both sets must agree, and who does not know the next ring finds out."""

from objstore.core.rows import EMPTY
from ring import builder
from ring.lookup import Ring
from tests.support.scripted_nodes import BUCKET, Rig, ballot, draft, key, run, stored


def leave_first_three(rig: Rig) -> tuple[Ring, Ring]:
    """A change from devices 0 to 2 to devices 3 to 5, which have nothing in common, and the ring after it."""
    before = builder.create(rig.ring.spec, [rig.device(node) for node in rig.nodes[:3]])
    additions = [builder.Add(rig.device(node)) for node in rig.nodes[3:]]
    moving = builder.change(before, [*additions, *(builder.Remove(device) for device in range(3))], now_s=1e9)
    return moving, builder.finish(moving)


def newcomers(ring: Ring, partition: int) -> set[int]:
    return set(ring.primaries(partition)) - set(ring.previous(partition) or ring.primaries(partition))


async def names(rig: Rig) -> list[bytes]:
    return [row.name for row in (await rig.cluster.scan(BUCKET, 0)).rows]


def test_a_proxy_that_does_not_know_the_next_ring_lists_what_was_written_there() -> None:
    async def main(rig: Rig) -> None:
        moving, after = leave_first_three(rig)
        rig.set_ring(moving)
        rig.cluster.adopt(moving)
        assert await names(rig) == []
        rig.set_ring(after, nodes=(3, 4, 5))  # 0 to 2 have not heard of it, and would go on answering
        for name in (b"a", b"b", b"c"):
            rig.put(key(name), stored(1), ballot(1), nodes=rig.nodes[3:])
        assert await names(rig) == [b"a", b"b", b"c"]
        assert rig.cluster.ring.epoch == after.epoch

    run(main, nodes=6)


def test_a_row_that_only_the_previous_set_holds_is_given_to_the_new_one_before_it_is_listed() -> None:
    async def main(rig: Rig) -> None:
        moving, _ = leave_first_three(rig)
        rig.set_ring(moving)
        rig.cluster.adopt(moving)
        rig.put(key(), stored(1), ballot(1), nodes=rig.nodes[:3])
        for node in rig.nodes[3:]:
            node.silent.update(moving.moving())
        assert await names(rig) == [key().name]
        assert sum(node.registers.get(key(), EMPTY).accepted == ballot(1) for node in rig.nodes[3:]) >= 2

    run(main, nodes=6)


def test_a_move_of_one_replica_costs_a_listing_no_reads() -> None:
    async def main(rig: Rig) -> None:
        moving = builder.change(rig.ring, [builder.Remove(0)], now_s=1e9)
        rig.set_ring(moving)
        rig.cluster.adopt(moving)
        expected = []
        for number in range(20):
            name = b"n%02d" % number
            partition = moving.partition(BUCKET + b"\0", name)
            rig.put(
                key(name), stored(1), ballot(1), nodes=[rig.nodes[d] for d in moving.previous(partition) or moving.primaries(partition)]
            )
            for device in newcomers(moving, partition):
                rig.nodes[device].silent.add(partition)
            expected.append(name)
        accepts = rig.accepts()
        assert await names(rig) == expected
        assert rig.accepts() == accepts

    run(main, nodes=4)


def test_reads_and_writes_go_on_through_a_whole_move() -> None:
    async def main(rig: Rig) -> None:
        moving, after = leave_first_three(rig)
        rig.put(key(), stored(1, b"1"), ballot(1), nodes=rig.nodes[:3], body=b"1")
        for ring in (moving, after):
            rig.set_ring(ring)
            held = await rig.cluster.read(key(), inline=True)  # gives the new set what it lacks
            assert held.payload is not None
            await rig.cluster.write(key(), draft(b"2"), payload=b"2")
            assert (await rig.cluster.read(key(), inline=True)).payload == b"2"

    run(main, nodes=6)
