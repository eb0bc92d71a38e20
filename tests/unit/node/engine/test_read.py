"""Scans and walks, with rows in the index, in a memtable, in both, and half-way through a checkpoint."""

import asyncio
import dataclasses
from typing import Any

import pytest

from objstore.core.rows import Kind, Register
from objstore.core.timestamp import ZERO
from objstore.errors import DamagedRow
from objstore.node.engine import read as read_module
from objstore.node.engine.api import EnginePage
from tests.support.engine_rig import BUCKET, DIRECTORY, SMALL, SimRig, ballot, delete, key, names, put, row


@pytest.fixture
def rig() -> SimRig:
    return SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=1 << 20))


def page(rig: SimRig, **changes: Any) -> EnginePage:
    query: dict[str, Any] = {
        "prefix": b"", "start": b"", "limit": 1000, "delimiter": b"", "partitions": b"\x01" * 8, "versions": False, **changes,
    }  # fmt: skip
    space = query.pop("space", 0)
    return rig.call(lambda: rig.engine.scan(BUCKET, space, **query))


def fill(rig: SimRig, *wanted: str, number: int = 1, partition: int = 0) -> None:
    async def body() -> None:
        await asyncio.gather(*(put(rig.engine, name, number, b"x", partition=partition) for name in wanted))

    rig.run(body)


def checkpoint(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.maintain("checkpoint"))


def test_a_page_merges_the_index_and_the_memtable(rig: SimRig) -> None:
    fill(rig, "a", "c", "e", "g")
    checkpoint(rig)
    fill(rig, "b", "d", "f", "h")
    fill(rig, "c", number=2)
    rig.run(lambda: delete(rig.engine, "e", 2))
    assert names(rig.engine) == [b"a", b"b", b"c", b"d", b"f", b"g", b"h"]
    assert next(r for r in page(rig).rows if r.name == b"c").accepted == ballot(2)


def test_reads_go_on_while_a_checkpoint_is_under_way(rig: SimRig) -> None:
    fill(rig, "a", "b", "c")
    checkpoint(rig)
    fill(rig, "b", "d", number=2)
    volume = rig.host.storage.volume(DIRECTORY)[0]
    volume.slow_s = 1.0

    async def body() -> None:
        running = asyncio.ensure_future(rig.engine.maintain("checkpoint"))
        while rig.engine._state.frozen is None:
            await asyncio.sleep(0.0001)
        await asyncio.sleep(0.01)  # the transaction is on its way and takes a second
        volume.slow_s = 0.0
        await put(rig.engine, "e", 3, b"x")
        await delete(rig.engine, "d", 3)
        assert rig.engine._state.frozen is not None
        assert names(rig.engine) == [b"a", b"b", b"c", b"e"]
        assert rig.engine.query(key("b"), partition=0).accepted == ballot(2)
        assert [i.key.name for i in rig.engine.partition_rows(0, cursor=b"", limit=10, rows=True)[0]] == [b"a", b"b", b"c", b"d", b"e"]
        await running

    rig.run(body)
    assert rig.engine._state.frozen is None
    assert names(rig.engine) == [b"a", b"b", b"c", b"e"]


def test_pages_follow_one_another_without_gap_or_repeat(rig: SimRig) -> None:
    wanted = [f"{i:03}" for i in range(50)]
    fill(rig, *wanted[::2])
    checkpoint(rig)
    fill(rig, *wanted[1::2])
    for limit in (1, 3, 7, 50):
        got: list[bytes] = []
        start: bytes | None = b""
        while start is not None:
            found = page(rig, start=start, limit=limit)
            got += [r.name for r in found.rows]
            assert len(found.rows) <= limit
            start = found.scanned_to
        assert got == [name.encode() for name in wanted]


def test_prefix_and_start_bound_a_page(rig: SimRig) -> None:
    fill(rig, "a", "b", "b/1", "b/2", "b/3", "c")
    assert [r.name for r in page(rig, prefix=b"b/").rows] == [b"b/1", b"b/2", b"b/3"]
    assert [r.name for r in page(rig, prefix=b"b/", start=b"b/2").rows] == [b"b/2", b"b/3"]
    assert [r.name for r in page(rig, prefix=b"b/", start=b"a").rows] == [b"b/1", b"b/2", b"b/3"]
    assert page(rig, prefix=b"b/", start=b"c") == EnginePage([], None)
    assert page(rig, prefix=b"absent") == EnginePage([], None)


def test_names_behind_a_delimiter_are_stood_for_by_the_first(rig: SimRig) -> None:
    fill(rig, "a", "b/1", "b/2", "b/sub/1", "c/1", "d")
    checkpoint(rig)
    fill(rig, "b/0", "c/0")
    assert names(rig.engine, delimiter=b"/") == [b"a", b"b/0", b"c/0", b"d"]
    assert names(rig.engine, delimiter=b"/", prefix=b"b/") == [b"b/0", b"b/1", b"b/2", b"b/sub/1"]
    assert names(rig.engine, delimiter=b"/", start=b"b/1") == [b"b/1", b"c/0", b"d"]


def test_a_page_that_ends_at_a_common_prefix_goes_on_behind_it(rig: SimRig) -> None:
    fill(rig, "a/1", "a/2", "b")
    found = page(rig, delimiter=b"/", limit=1)
    assert ([r.name for r in found.rows], found.scanned_to) == ([b"a/1"], b"a0")


def test_a_common_prefix_is_stood_for_by_something_that_lives_and_is_wanted(rig: SimRig) -> None:
    fill(rig, "a/1", "a/3")
    fill(rig, "a/2", partition=5)
    rig.run(lambda: delete(rig.engine, "a/1", 2))
    assert names(rig.engine, delimiter=b"/") == [b"a/2"]
    assert names(rig.engine, delimiter=b"/", partitions=b"\x01\0\0\0\0\0\0\0") == [b"a/3"]


def test_a_delimiter_at_the_end_of_the_alphabet_ends_the_page(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, b"\xff\xff1", 1, b""))
    rig.run(lambda: put(rig.engine, b"\xff\xff2", 1, b""))
    assert page(rig, delimiter=b"\xff").scanned_to is None
    assert len(page(rig, delimiter=b"\xff").rows) == 1


def test_only_wanted_partitions_are_listed(rig: SimRig) -> None:
    fill(rig, "a", "b", partition=1)
    fill(rig, "c", partition=2)
    assert names(rig.engine, partitions=b"\0\1\0") == [b"a", b"b"]
    assert names(rig.engine, partitions=b"\0\0\1") == [b"c"]


def test_tombstones_markers_promises_and_versions_are_left_out(rig: SimRig) -> None:
    fill(rig, "a", "b", "c")
    rig.run(lambda: delete(rig.engine, "b", 2))
    rig.run(lambda: rig.engine.accept(key("c"), partition=0, ballot=ballot(2), row=row(ballot(2), kind=Kind.DELETE_MARKER)))
    rig.run(lambda: rig.engine.prepare(key("d"), partition=0, ballot=ballot(2)))
    rig.run(lambda: put(rig.engine, key("a", ballot(9)), 9, b"old"))
    assert names(rig.engine) == [b"a"]
    listed = [(r.name, r.version) for r in page(rig, versions=True).rows]
    assert listed == [(b"a", b""), (b"a", ballot(9)), (b"c", b"")]


def test_all_versions_of_a_name_come_in_one_page(rig: SimRig) -> None:
    for number in range(1, 31):
        rig.run(lambda number=number: put(rig.engine, key("a", ballot(number)), number, b"x"))
    fill(rig, "a", "b", number=40)
    found = page(rig, versions=True, limit=5)
    assert [r.version for r in found.rows] == [b""] + [ballot(n) for n in range(30, 0, -1)]
    assert found.scanned_to == b"a\x00"
    heads = page(rig, limit=5)  # many versions in a row are jumped over
    assert [r.name for r in heads.rows] == [b"a", b"b"]


def walk(rig: SimRig, **changes: Any) -> list[tuple[bytes, bytes]]:
    """(name, version) of all pages that may be torn."""
    found: list[tuple[bytes, bytes]] = []
    start: bytes | None = changes.pop("start", b"")
    version = changes.pop("start_version", b"")
    while start is not None:
        before = len(found), start, version
        got = page(rig, start=start, start_version=version, versions=True, torn=True, **changes)
        found += [(r.name, r.version) for r in got.rows]
        start, version = got.scanned_to, got.scanned_version
        assert (len(found), start, version) != before
    return found


@pytest.mark.parametrize("stem", ["k", "\0k", "x" * 463 + "\0", "x" * 600])
def test_a_page_may_end_between_two_versions_and_the_next_one_goes_on_there(rig: SimRig, stem: str) -> None:
    numbers = {"": 12, "b": 3, "c": 20, "d": 1}
    for index, (tail, count) in enumerate(numbers.items()):
        for number in range(1, count + 1):
            rig.run(
                lambda number=number, tail=tail: put(
                    rig.engine, key(stem + tail, ballot(number), space=3), number, b"x", version=ballot(number).hex()
                )
            )
        if index == 1:
            checkpoint(rig)
    rig.run(lambda: put(rig.engine, key(stem + "c", space=3), 50, b"null"))
    wanted = []
    for tail, count in numbers.items():
        versions = [ballot(number) for number in range(count, 0, -1)]
        wanted += [((stem + tail).encode(), version) for version in ([b"", *versions] if tail == "c" else versions)]
    for limit in (1, 2, 7, 1000):
        assert walk(rig, space=3, limit=limit) == wanted
    for place, (name, version) in enumerate(wanted):
        assert walk(rig, space=3, limit=5, start=name, start_version=version) == wanted[place:]
    assert walk(rig, space=3, limit=5, prefix=(stem + "c").encode()) == wanted[15:36]
    short = SimRig(settings=dataclasses.replace(SMALL, scan_examined=4))
    for number in range(1, 30):
        short.run(lambda number=number: put(short.engine, key("k", ballot(number), space=3), number, b"x", version=ballot(number).hex()))
    assert page(short, space=3, versions=True, torn=True).scanned_version == ballot(25)
    assert len(walk(short, space=3)) == 29


def test_versions_of_a_long_name_are_not_all_in_memory_at_once(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "x" * 600
    for number in range(1, 301):
        rig.run(lambda number=number: put(rig.engine, key(name, ballot(number), space=3), number, b"x", version=ballot(number).hex()))
    checkpoint(rig)
    looked = 0
    decode = read_module.decode_entries

    def counted(pairs: Any) -> Any:
        nonlocal looked
        looked += len(pairs)
        return decode(pairs)

    monkeypatch.setattr(read_module, "decode_entries", counted)
    assert len(page(rig, space=3, versions=True, torn=True, limit=10).rows) == 10
    assert looked < 50


def test_what_the_memtable_holds_replaces_adds_and_removes_within_the_index(rig: SimRig) -> None:
    names_of = [f"{number:03}" for number in range(40)]
    fill(rig, *names_of)
    checkpoint(rig)
    for name in ("000", "007", "020", "039"):
        rig.run(lambda name=name: delete(rig.engine, name, 90))
    fill(rig, "0065", "0205", "04", "05")
    left = sorted({*names_of, "0065", "0205", "04", "05"} - {"000", "007", "020", "039"})
    assert names(rig.engine) == [name.encode() for name in left]
    for limit in (1, 3, 7):
        start: bytes | None = b""
        got: list[bytes] = []
        while start is not None:
            found = page(rig, start=start, limit=limit)
            assert len(found.rows) <= limit
            got += [row.name for row in found.rows]
            start = found.scanned_to
        assert got == [name.encode() for name in left]


def test_a_version_behind_plain_heads_is_left_out_and_costs_no_row(rig: SimRig) -> None:
    fill(rig, "a", "b")
    rig.run(lambda: put(rig.engine, key("b", ballot(3)), 3, b"x", version=ballot(3).hex()))
    fill(rig, "b\0c", "c", "d" * 600, "e")
    checkpoint(rig)
    assert names(rig.engine) == [b"a", b"b", b"b\0c", b"c", b"d" * 600, b"e"]
    assert names(rig.engine, limit=3) == [b"a", b"b", b"b\0c"]


def test_a_page_ends_early_when_it_had_to_look_at_too_much() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, scan_examined=10))
    fill(rig, *(f"{i:03}" for i in range(40)), partition=3)
    fill(rig, "zzz")
    start: bytes | None = b""
    pages = 0
    got: list[bytes] = []
    while start is not None:
        found = page(rig, start=start, partitions=b"\x01\0\0\0")
        got += [r.name for r in found.rows]
        start = found.scanned_to
        pages += 1
    assert got == [b"zzz"]
    assert pages >= 4


def test_long_names_that_share_a_prefix_are_in_order_of_the_whole_name(rig: SimRig) -> None:
    shared = "x" * 600
    wanted = sorted([shared + c for c in "qwertyuiop"] + [shared, "x" * 464, "x" * 463, "x" * 465, "y"])
    fill(rig, *wanted[::2])
    checkpoint(rig)
    fill(rig, *wanted[1::2])
    assert names(rig.engine) == [w.encode() for w in wanted]
    assert names(rig.engine, prefix=(shared + "q").encode()) == [(shared + "q").encode()]
    assert names(rig.engine, start=(shared + "r").encode()) == [w.encode() for w in wanted if w >= shared + "r"]
    for limit in (1, 4):
        got: list[bytes] = []
        start: bytes | None = b""
        while start is not None:
            found = page(rig, start=start, limit=limit)
            got += [r.name for r in found.rows]
            start = found.scanned_to
        assert got == [w.encode() for w in wanted]


def test_names_with_zero_bytes_are_in_order(rig: SimRig) -> None:
    wanted = [b"a", b"a\x00", b"a\x00b", b"a\x01", b"aa"]
    for name in reversed(wanted):
        rig.run(lambda name=name: put(rig.engine, name, 1, b""))
    assert names(rig.engine) == wanted


def test_buckets_and_spaces_do_not_mix(rig: SimRig) -> None:
    fill(rig, "a")
    rig.run(lambda: put(rig.engine, key("part", space=2), 1, b""))
    rig.run(lambda: put(rig.engine, key("other", bucket=b"bucket-2"), 1, b""))
    assert names(rig.engine) == [b"a"]
    assert [r.name for r in page(rig, space=2).rows] == [b"part"]


def test_a_damaged_row_fails_the_page_that_it_is_in_and_no_other(rig: SimRig) -> None:
    fill(rig, "a", "b", "c")
    checkpoint(rig)
    rows = rig.host.storage.volume(DIRECTORY)[0].kv_stores["index-1"].tables["rows"]
    index_key = next(k for k in rows if b"b" in k[9:])
    rows[index_key] = rows[index_key][:-1] + b"\x01"
    with pytest.raises(DamagedRow):
        page(rig)
    assert [r.name for r in page(rig, start=b"c").rows] == [b"c"]
    assert index_key in rig.engine._state.suspects


# -- by partition ------------------------------------------------------------------------------------------------------


def test_a_walk_over_a_partition_meets_every_register_once(rig: SimRig) -> None:
    wanted = [f"{i:03}" for i in range(40)]
    fill(rig, *wanted[::2], partition=3)
    fill(rig, "elsewhere", partition=4)
    checkpoint(rig)
    fill(rig, *wanted[1::2], partition=3)
    rig.run(lambda: rig.engine.prepare(key("promised"), partition=3, ballot=ballot(9)))
    rig.run(lambda: delete(rig.engine, wanted[7], 2, partition=3))
    for limit in (1, 7, 100):
        for rows in (False, True):
            got = {}
            cursor: bytes | None = b""
            while cursor is not None:
                items, cursor = rig.engine.partition_rows(3, cursor=cursor, limit=limit, rows=rows)
                assert len(items) <= limit
                got.update({item.key.name.decode(): item.register for item in items})
            assert sorted(got) == [*wanted, "promised"]
            assert got["promised"] == Register(ballot(9))
            assert got[wanted[7]].accepted == ballot(2)
            assert bool(got[wanted[0]].row) is rows
    assert rig.engine.partitions_held() == [3, 4]


def test_digests_are_equal_for_equal_registers_however_they_came_about() -> None:
    one, two = SimRig(1), SimRig(2)
    fill(one, "a", "b", "c", partition=1)
    fill(two, "c", partition=1)
    checkpoint(two)
    fill(two, "a", "b", number=1, partition=1)
    assert one.engine.digests([1]) == two.engine.digests([1])
    one.run(lambda: one.engine.prepare(key("a"), partition=1, ballot=ballot(9)))
    assert one.engine.digests([1]) == two.engine.digests([1])
    fill(one, "b", number=2, partition=1)
    assert one.engine.digests([1])[0][0] != two.engine.digests([1])[0][0]
    item = two.engine.partition_rows(1, cursor=b"", limit=10, rows=True)[0]
    two.run(lambda: two.engine.drop(item, partition=1))
    assert two.engine.digests([1, 9]) == [(bytes(16), 0), (bytes(16), 0)]
    assert two.engine.partitions_held() == []


def test_a_register_that_moved_to_another_partition_is_listed_there_only(rig: SimRig) -> None:
    fill(rig, "a", partition=1)
    checkpoint(rig)
    fill(rig, "a", number=2, partition=2)
    for _ in range(2):
        assert rig.engine.partition_rows(1, cursor=b"", limit=9, rows=True)[0] == []
        assert len(rig.engine.partition_rows(2, cursor=b"", limit=9, rows=True)[0]) == 1
        assert rig.engine.digests([1]) == [(bytes(16), 0)]
        checkpoint(rig)
    assert rig.engine.floor(1) == ZERO
