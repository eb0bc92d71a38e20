"""Merged scans over devices that disagree, die, are silent, or hold little but tombstones."""

import asyncio
import contextlib
import random

import msgspec
import pytest

from objstore.cluster.api import ScannedRow
from objstore.cluster.cluster import ClusterSettings
from objstore.core.rows import Kind, Register, RowKey, Space, decode_row, encode_row
from objstore.errors import DamagedRow, NewerEpoch, QuorumLost
from objstore.wire import messages as m
from ring import builder
from tests.support.scripted_nodes import BUCKET, SILENT, Node, Rig, ballot, draft, key, run, stored

Names = list[bytes]


async def pages(rig: Rig, *, limit: int = 1000, most: int = 1000, **query: object) -> list[list[ScannedRow]]:
    """All pages of a listing; each must go further than the one before."""
    found: list[list[ScannedRow]] = []
    start: bytes | None = query.pop("start", b"")  # type: ignore[assignment]
    while start is not None:
        page = await rig.cluster.scan(BUCKET, 0, start=start, limit=limit, **query)  # type: ignore[arg-type]
        assert len(page.rows) <= limit
        assert page.next_start is None or page.next_start > start or (page.next_start == start and not start)
        found.append(list(page.rows))
        start = page.next_start
        assert len(found) <= most
    return found


async def names(rig: Rig, **query: object) -> Names:
    return [row.name for page in await pages(rig, **query) for row in page]  # type: ignore[arg-type]


def groups(listed: Names, prefix: bytes = b"") -> Names:
    found = []
    for name in listed:
        at = name.find(b"/", len(prefix))
        found.append(name[: at + 1] if at >= 0 else name)
    return found


def fill(rig: Rig, *wanted: str, dead: tuple[str, ...] = ()) -> None:
    for number, name in enumerate((*wanted, *dead)):
        kind = Kind.TOMBSTONE if name in dead else Kind.OBJECT
        rig.put(key(name), stored(number + 1, kind=kind), ballot(number + 1))


def test_an_agreed_listing_needs_no_reads() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a", "b", "c/1", "c/2", "d", dead=("bb", "c/0"))
        assert await names(rig) == [b"a", b"b", b"c/1", b"c/2", b"d"]
        assert await names(rig, prefix=b"c/") == [b"c/1", b"c/2"]
        assert await names(rig, start=b"b\0") == [b"c/1", b"c/2", b"d"]
        assert groups(await names(rig, delimiter=b"/")) == [b"a", b"b", b"c/", b"d"]
        assert sum(len(node.seen(m.Query)) for node in rig.nodes) == 0
        assert len(await names(rig, prefix=b"nothing")) == 0

    run(main)


def test_prefixes_starts_and_delimiters_longer_than_any_name_are_answered_at_once() -> None:
    async def main(rig: Rig) -> None:
        longest = "b" * 1024
        fill(rig, "a", longest, "c")
        assert await names(rig, prefix=b"a" * 2049) == []
        assert await names(rig, delimiter=b"a" * 5000) == [b"a", longest.encode(), b"c"]
        assert await names(rig, start=b"b" * 5000) == [b"c"]
        assert await names(rig, start=b"a" * 5000) == [longest.encode(), b"c"]

    run(main)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_any_size_hold_every_name_once(limit: int) -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number:02d}" for number in range(10)), "k03/x", "k03/y", "k05/z", dead=("k00", "k04/q"))
        everything = await names(rig)
        assert await names(rig, limit=limit) == everything
        assert await names(rig, limit=limit, delimiter=b"/") == [name for name in everything if name != b"k03/y"]

    run(main)


def test_what_one_device_does_not_know_is_read() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a", "b", "c")
        for number, node in enumerate(rig.nodes):
            name = "abc"[number]
            node.registers[key(name)] = Register(accepted=ballot(50), row=stored(50, kind=Kind.TOMBSTONE))  # a newer delete, in a minority
        listed = await names(rig)
        for name in "abc":  # whatever was listed is what a read says from now on
            held = await rig.cluster.read(key(name))
            assert held.row is not None
            assert (name.encode() in listed) == (held.row.kind == Kind.OBJECT)

    run(main)


@pytest.mark.parametrize("how", ["dead", "dies midway", "damaged", "garbled", "no vote"])
def test_a_device_that_cannot_answer_is_left_out(how: str) -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number}" for number in range(20)))
        for bad in rig.nodes:
            await rig.cluster.read(key())
            if how == "dead":
                bad.stop()
            elif how == "dies midway":
                bad.trouble = lambda message, bad=bad: bad.stop() if isinstance(message, m.Scan) else None  # type: ignore[misc]
            elif how == "damaged":
                bad.trouble = lambda message: DamagedRow("rot") if isinstance(message, m.Scan) else None
            elif how == "garbled":
                bad.garbled = True
            else:
                bad.silent = set(range(4))
            began_s = rig.now_s
            assert len(await names(rig)) == 20
            assert rig.now_s - began_s < 0.5
            bad.trouble, bad.silent, bad.garbled = None, set(), False
            if not bad.host.alive:
                bad.restart()
                await asyncio.sleep(0.5)

    run(main)


def test_a_frozen_device_costs_one_listing_a_moment_and_the_next_ones_nothing() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number}" for number in range(20)))
        await names(rig)
        rig.nodes[0].host.freeze()
        took_s = []
        for _ in range(4):
            began_s = rig.now_s
            assert len(await names(rig)) == 20
            took_s.append(rig.now_s - began_s)
        assert took_s[0] < 1.7
        assert max(took_s[1:]) < 0.1

    run(main)


def test_listings_wait_for_nodes_that_restart_and_fail_when_they_do_not() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a")
        await names(rig)
        for node in rig.nodes[:2]:
            node.stop()
        rig.proxy.loop.call_later(2.0, lambda: [node.restart() for node in rig.nodes[:2]])
        began_s = rig.now_s
        assert await names(rig) == [b"a"]
        assert rig.now_s - began_s < 2.8
        for node in rig.nodes[:2]:
            node.stop()
        began_s = rig.now_s
        with pytest.raises(QuorumLost, match="device"):
            await names(rig)
        assert 2.9 < rig.now_s - began_s < 4.0

    run(main)


def test_frozen_nodes_without_a_cover_fail_within_the_deadline() -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes[:2]:
            node.trouble = lambda message: SILENT if isinstance(message, m.Scan) else None
        began_s = rig.now_s
        with pytest.raises(QuorumLost):
            await names(rig)
        assert rig.now_s - began_s <= 5.1

    run(main, settings=ClusterSettings(scan_timeout_s=5.0))


def test_a_device_that_says_we_are_behind_for_ever_is_left_out() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a", "b")
        rig.nodes[0].trouble = lambda message: NewerEpoch("behind") if isinstance(message, m.Scan) else None
        assert await names(rig) == [b"a", b"b"]
        assert len(rig.nodes[0].seen(m.Scan)) < 10

    run(main)


def test_many_tombstones_make_pages_without_rows_that_go_on() -> None:
    async def main(rig: Rig) -> None:
        dead = tuple(f"t{number:03d}" for number in range(300))
        fill(rig, "a", "z", dead=dead)
        for node in rig.nodes:
            node.examined = 20
        found = await pages(rig, limit=5)
        assert [row.name for page in found for row in page] == [b"a", b"z"]
        assert sum(not page for page in found) > 10
        assert await names(rig, limit=5, delimiter=b"/") == [b"a", b"z"]

    run(main)


# -- groups -------------------------------------------------------------------------------------------------------------------


def missed_deletes(rig: Rig, node: Node, *gone: str) -> None:
    """Deletes that a majority has and one device missed."""
    for name in gone:
        rig.put(key(name), stored(5000, kind=Kind.TOMBSTONE), ballot(5000), [other for other in rig.nodes if other is not node])


@pytest.mark.parametrize("gone", [99, 100])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_group_whose_first_keys_are_dead_is_looked_through(number: int, gone: int) -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a", *(f"g/{number:03d}" for number in range(100)), "h/1", "z")
        missed_deletes(rig, rig.nodes[number], *(f"g/{number:03d}" for number in range(gone)))
        assert groups(await names(rig, delimiter=b"/")) == [b"a", *[b"g/"] * (100 - gone), b"h/", b"z"]

    run(main)


def test_a_group_in_which_a_device_stopped_is_listed_once() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a", *(f"g/{number:02d}" for number in range(30)), "h")
        behind = rig.nodes[0]
        for number in range(30):
            name = f"g/{number:02d}"
            behind.registers[key(name)] = Register(accepted=ballot(90), row=stored(90, kind=Kind.TOMBSTONE))
        behind.examined = 10  # it stops inside of the group, of which it shows nothing
        listed = groups(await names(rig, delimiter=b"/"))
        assert listed == sorted(set(listed))
        assert listed in ([b"a", b"g/", b"h"], [b"a", b"h"])

    run(main)


def test_a_group_that_takes_too_long_ends_the_page_and_not_the_listing() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, "a", *(f"g/{number:03d}" for number in range(200)), "z")
        missed_deletes(rig, rig.nodes[0], *(f"g/{number:03d}" for number in range(200)))
        for node in rig.nodes:
            node.trouble = lambda message: 0.3 if isinstance(message, m.Scan) else None
        found = await pages(rig, delimiter=b"/")
        assert [row.name for page in found for row in page] == [b"a", b"z"]
        assert len(found) > 2

    run(main, settings=ClusterSettings(scan_timeout_s=1.0))


def test_names_of_bytes_that_end_the_order_can_be_grouped() -> None:
    async def main(rig: Rig) -> None:
        for number, name in enumerate((b"\xff\xff", b"\xff\xff\xff", b"\xff\xff1", b"a\xff", b"a\xff2")):
            rig.put(key(name), stored(number + 1), ballot(number + 1))
        listed = [row.name for page in await pages(rig, limit=1, delimiter=b"\xff") for row in page]
        assert listed == [b"a\xff", b"\xff\xff"][: len(listed)] or sorted({name[: name.find(b"\xff") + 1] for name in listed}) == [
            b"a\xff",
            b"\xff",
        ]

    run(main)


def version_of(name: str, number: int = 0) -> RowKey:
    return RowKey(BUCKET, Space.VERSIONS, name.encode(), ballot(number) if number else b"")


# -- versions, handover, races ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 1000])
@pytest.mark.parametrize("old", [0, 1, 3])
def test_pages_may_end_between_versions_which_come_newest_first(limit: int, old: int) -> None:
    """Also with nodes of an older release among the others, which show whole names."""

    async def main(rig: Rig) -> None:
        for node in rig.nodes[:old]:
            node.tears = False
        rig.put(version_of("a"), stored(3), ballot(3))
        rig.put(version_of("b"), stored(9, kind=Kind.DELETE_MARKER), ballot(9))
        for number in (5, 7, 6):
            rig.put(version_of("b", number), stored(number), ballot(number))
        rig.put(version_of("c", 8), stored(8), ballot(8))
        rig.members(version_of("b"))[0].registers.pop(version_of("b", 6))  # one replica missed a version
        found, start, version = [], b"", b""
        while start is not None:
            page = await rig.cluster.scan(BUCKET, Space.VERSIONS, start=start, start_version=version, limit=limit, versions=True)
            assert len(page.rows) <= limit
            found += [(row.name, row.version) for row in page.rows]
            start, version = page.next_start, page.next_version
        wanted = [(b"a", b""), (b"b", b""), (b"b", ballot(7)), (b"b", ballot(6)), (b"b", ballot(5)), (b"c", ballot(8))]
        assert found == wanted
        rest = await rig.cluster.scan(BUCKET, Space.VERSIONS, prefix=b"b", start=b"b", start_version=ballot(6), versions=True)
        assert [(row.name, row.version) for row in rest.rows] == wanted[3:5]

    run(main)


@pytest.mark.parametrize("away", [0, 1, 2])
def test_a_version_that_is_still_the_head_of_a_device_which_missed_the_newer_one_is_listed(away: int) -> None:
    """It was written to the first two devices, the marker over it to the last two: no scan of noncurrent versions of first and last shows it."""

    async def main(rig: Rig) -> None:
        first, second, last = rig.members(key("a"))
        old, marker = of_version(stored(7), 7), of_version(stored(9, kind=Kind.DELETE_MARKER), 9)
        rig.put(key("a"), old, ballot(7), [first])
        rig.put(key("a"), marker, ballot(9), [second, last])
        rig.put(
            version_of("a", 7), old, ballot(7), [first, second]
        )  # a device whose head it is answers so for it, and shows it as the head alone
        shown = first._shown
        first._shown = lambda name, message: [] if message.space == Space.VERSIONS else shown(name, message)  # type: ignore[method-assign]
        (first, second, last)[away].stop()
        page = await rig.cluster.scan(BUCKET, Space.VERSIONS, versions=True)
        assert (b"a", ballot(7)) in [(row.name, row.version) for row in page.rows]
        assert not (await rig.cluster.scan(BUCKET, Space.VERSIONS, start=b"a", start_version=ballot(6), versions=True)).rows

    run(main)


def of_version(encoded: bytes, number: int) -> bytes:
    return encode_row(msgspec.structs.replace(decode_row(encoded), version=ballot(number).hex()))


def test_while_partitions_move_the_previous_set_is_listed() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number}" for number in range(40)))
        moving = builder.change(rig.ring, [builder.Remove(1)], now_s=1e6)
        rig.set_ring(moving)
        rig.cluster.adopt(moving)
        for node in rig.nodes:
            node.silent = {
                p for p in moving.moving() if node.number in moving.primaries(p) and node.number not in (moving.previous(p) or ())
            }
        assert any(node.silent for node in rig.nodes)
        assert len(await names(rig)) == 40
        await rig.cluster.write(key("k40"), draft())
        assert len(await names(rig, limit=7)) == 41

    run(main, nodes=5)


def test_a_ring_adopted_while_the_scans_are_under_way_changes_nothing_about_them() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number}" for number in range(40)))
        newer = iter(range(1, 100))

        def adopt(message: m.Message) -> None:
            if isinstance(message, m.Scan) and rig.cluster.ring.epoch < 4:
                rig.proxy.loop.call_soon(rig.cluster.adopt, rig.next_ring(next(newer)))

        for node in rig.nodes:
            node.trouble = adopt
        assert len(await names(rig)) == 40

    run(main, nodes=5)


@pytest.mark.parametrize("seed", range(6))
def test_any_disagreement_of_minorities_is_settled_as_reads_settle_it(seed: int) -> None:
    async def main(rig: Rig) -> None:
        rng = random.Random(seed)
        wanted = [f"{rng.choice('abc')}{rng.choice(['', '/', '/x/'])}{rng.randrange(30)}" for _ in range(60)]
        for number, name in enumerate(wanted):
            for age, kind in enumerate(rng.sample((Kind.OBJECT, Kind.TOMBSTONE), 2)):
                chosen = rig.members(key(name))
                if age:
                    chosen = rng.sample(chosen, rng.randrange(4))
                rig.put(key(name), stored(100 * age + number + 1, kind=kind), ballot(100 * age + number + 1), chosen)
        for node in rig.nodes:
            node.examined = rng.choice((5, 1000))
        limit = rng.choice((1, 4, 1000))
        live = []
        for name in sorted(set(wanted)):  # reads first: what no read has seen yet, a later one may still bring to light
            held = await rig.cluster.read(key(name))
            if held.row is not None and held.row.kind == Kind.OBJECT:
                live.append(name.encode())
        assert await names(rig, limit=limit) == live
        assert groups(await names(rig, limit=limit, delimiter=b"/")) == sorted(set(groups(live)))

    run(main, nodes=5, part_power=3)


@pytest.mark.parametrize("after_s", [0.0, 0.0005, 0.002, 0.2])
def test_a_listing_cancelled_anywhere_leaves_nothing(after_s: float) -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number}" for number in range(50)))
        missed_deletes(rig, rig.nodes[0], *(f"k{number}" for number in range(50)))
        for node in rig.nodes:
            node.trouble = lambda message: 0.5 if isinstance(message, m.Query) else None
        task = asyncio.get_running_loop().create_task(names(rig))
        await asyncio.sleep(after_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(rig.cluster._tasks) == 0

    run(main)


def test_a_doubt_that_cannot_be_read_fails_the_page_and_stops_the_other_reads() -> None:
    async def main(rig: Rig) -> None:
        fill(rig, *(f"k{number}" for number in range(50)))
        missed_deletes(rig, rig.nodes[0], *(f"k{number}" for number in range(50)))
        for node in rig.nodes:
            node.trouble = lambda message: DamagedRow("rot") if isinstance(message, m.Query) else None
        with pytest.raises(QuorumLost):
            await names(rig)
        assert len(rig.cluster._tasks) == 0
        assert rig.cluster._tasks.failures == 0

    run(main)
