import pytest

from objstore.core.timestamp import ZERO
from objstore.errors import InvalidArgument
from objstore.node import pages
from objstore.node.engine.api import EnginePage
from objstore.node.pages import cut
from objstore.wire import messages as m
from objstore.wire.messages import ScanRow
from ring import builder
from tests.support.nodes import Nodes, ballot, key, row
from tests.support.wires import Site, run

SCAN = {"bucket": b"bucket01", "space": 0, "prefix": b"", "start": b"", "limit": 100}


async def fill(nodes: Nodes, device: int, names: str, partition: int = 0) -> None:
    for number, name in enumerate(names, 1):
        await nodes.ask(m.Accept, device, partition=partition, key=key(name), ballot=ballot(number), row=row(number), handoff=True)


def test_a_scan_lists_the_rows_of_partitions_that_the_device_is_read_for() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4)
        mine = [p for p in range(4) if 0 in nodes.ring.primaries(p)]
        foreign = next(p for p in range(4) if p not in mine)
        await fill(nodes, 0, "ace", mine[0])
        await fill(nodes, 0, "bd", foreign)
        page = await nodes.ask(m.Scan, **SCAN)
        assert [r.name for r in page.rows] == [b"a", b"c", b"e"]
        assert (page.scanned_to, page.silent) == (None, ())
        first = await nodes.ask(m.Scan, **{**SCAN, "limit": 2})
        assert [r.name for r in first.rows] == [b"a", b"c"]
        rest = await nodes.ask(m.Scan, **{**SCAN, "start": first.scanned_to})
        assert [r.name for r in rest.rows] == [b"e"]
        await nodes.stop()

    run(main)


def test_while_a_partition_moves_its_old_primaries_list_it_and_the_new_one_does_not() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4)
        moving = builder.change(nodes.ring, [builder.Remove(3)], now_s=1e9)
        partition = moving.moving()[0]
        [new] = set(moving.primaries(partition)) - set(moving.previous(partition) or ())
        await nodes.publish(moving)
        for device in range(4):
            await fill(nodes, device, "a", partition)
        listed = {device: [r.name for r in (await nodes.ask(m.Scan, device, **SCAN)).rows] for device in range(4)}
        assert listed == {device: [b"a"] if device in (moving.previous(partition) or ()) else [] for device in range(4)}
        assert partition in (await nodes.ask(m.Scan, new, **SCAN)).silent
        await nodes.publish(builder.finish(moving))
        assert [r.name for r in (await nodes.ask(m.Scan, new, **SCAN)).rows] == [b"a"]
        await nodes.stop()

    run(main)


def test_equal_partitions_have_equal_digests() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await fill(nodes, 0, "abc")
        await fill(nodes, 1, "abc")
        await fill(nodes, 2, "ab")
        zero, one, two = [await nodes.ask(m.Digests, device, partitions=[0, 1]) for device in range(3)]
        assert zero == one != two
        assert (zero.rows, two.rows) == ([3, 0], [2, 0])
        assert zero.digests[1] == bytes(16)
        await nodes.stop()

    run(main)


def test_registers_of_a_partition_come_page_by_page() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await fill(nodes, 0, "abcdefg")
        cursor, seen = b"", []
        while cursor is not None:
            page = await nodes.ask(m.PartitionRows, partition=0, cursor=cursor, limit=3)
            assert (page.epoch, page.voting, page.floor) == (nodes.ring.epoch, True, ZERO)
            seen += [(item.key.name.decode(), item.register.row != b"") for item in page.items]
            cursor = page.cursor
        assert sorted(seen) == [(name, True) for name in "abcdefg"]
        slim = await nodes.ask(m.PartitionRows, partition=0, cursor=b"", limit=10, rows=False)
        assert {item.register.row for item in slim.items} == {b""}
        await nodes.stop()

    run(main)


def test_a_page_of_registers_shrinks_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await fill(nodes, 0, "abcdefg")
        monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 500)
        cursor, seen = b"", []
        while cursor is not None:
            page = await nodes.ask(m.PartitionRows, partition=0, cursor=cursor, limit=100)
            assert len(page.items) <= 3
            seen += [item.key.name.decode() for item in page.items]
            cursor = page.cursor
        assert sorted(seen) == list("abcdefg")
        await nodes.stop()

    run(main)


def test_partitions_that_are_not_and_empty_pages_are_refused() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        for wrong in ([4], [-1], [0] * (pages.MAX_PARTITIONS + 1)):
            with pytest.raises(InvalidArgument):
                await nodes.ask(m.Digests, partitions=wrong)
        with pytest.raises(InvalidArgument):
            await nodes.ask(m.PartitionRows, partition=9, cursor=b"", limit=1)
        with pytest.raises(InvalidArgument):
            await nodes.ask(m.Scan, **{**SCAN, "limit": 0})
        await nodes.stop()

    run(main)


def listed(*names: bytes, size: int = 100) -> list[ScanRow]:
    return [ScanRow(name, b"", 0, ballot(), bytes(size)) for name in names]


def test_a_page_that_fits_is_not_cut() -> None:
    rows = listed(b"a", b"b")
    assert cut(EnginePage(rows, b"c"), torn=False) == EnginePage(rows, b"c")
    assert cut(EnginePage([], None), torn=True) == EnginePage([], None)


def test_a_large_page_ends_between_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 400)
    rows = listed(b"a", b"b", b"b", b"b", b"c")
    assert cut(EnginePage(rows, None), torn=False) == EnginePage(rows[:4], b"c")
    assert cut(EnginePage(listed(b"a", b"b", b"c", b"d"), None), torn=False) == EnginePage(listed(b"a", b"b"), b"c")


def test_versions_of_one_name_stay_together_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 10)
    rows = listed(b"a", b"a", b"a", b"b")
    assert cut(EnginePage(rows, None), torn=False) == EnginePage(rows[:3], b"b")
    assert cut(EnginePage(rows[:3], b"x"), torn=False) == EnginePage(rows[:3], b"x")


def test_a_page_that_may_be_torn_ends_between_two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 400)
    rows = [ScanRow(b"a", ballot(9 - number), 0, ballot(), bytes(100)) for number in range(4)]
    assert cut(EnginePage(rows, b"x", b"v"), torn=True) == EnginePage(rows[:2], b"a", ballot(7))
    assert cut(EnginePage(rows[:2], b"x", b"v"), torn=True) == EnginePage(rows[:2], b"x", b"v")
