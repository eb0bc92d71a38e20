"""One suite for every Kv: LMDB and the simulator's must answer alike."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.runtime.kv import MAX_KEY_BYTES, Kv
from objstore.runtime.kv_lmdb import LmdbKv
from tests.sim.disk import Storage
from tests.sim.kv import SimKv


@pytest.fixture(params=["lmdb", "simulated"])
def kv(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kv]:
    store: Kv = LmdbKv(str(tmp_path / "index"), ("t", "u")) if request.param == "lmdb" else SimKv(Storage(random.Random(1)), "/dev/index")
    yield store
    store.close()


def pairs(kv: Kv, table: str, start: bytes = b"", end: bytes | None = None) -> list[tuple[bytes, bytes]]:
    snapshot = kv.snapshot()
    try:
        return [(bytes(k), bytes(v)) for k, v in snapshot.scan(table, start, end)]
    finally:
        snapshot.close()


def test_an_empty_store_has_nothing(kv: Kv) -> None:
    assert kv.get("t", b"k") is None
    assert pairs(kv, "t") == []


def test_what_was_applied_is_there(kv: Kv) -> None:
    kv.apply([("t", b"b", b"2"), ("t", b"a", b"1"), ("u", b"a", b"other")])
    assert kv.get("t", b"a") == b"1"
    assert kv.get("u", b"a") == b"other"
    assert kv.get("u", b"b") is None
    assert pairs(kv, "t") == [(b"a", b"1"), (b"b", b"2")]


def test_a_later_change_of_the_same_key_wins_within_a_batch(kv: Kv) -> None:
    kv.apply([("t", b"k", b"1"), ("t", b"k", b"2"), ("t", b"l", b"x"), ("t", b"l", None)])
    assert pairs(kv, "t") == [(b"k", b"2")]


def test_deleting_what_is_not_there_is_nothing(kv: Kv) -> None:
    kv.apply([("t", b"k", None)])
    kv.apply([("t", b"k", b"v"), ("t", b"other", None)])
    assert pairs(kv, "t") == [(b"k", b"v")]


def test_an_empty_value_is_a_value(kv: Kv) -> None:
    kv.apply([("t", b"k", b"")])
    assert kv.get("t", b"k") == b""


def test_scans_start_inclusive_and_end_exclusive_in_byte_order(kv: Kv) -> None:
    keys = [b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff", b"\xff\xff"]
    kv.apply([("t", key, key) for key in reversed(keys)])
    assert [k for k, _ in pairs(kv, "t")] == keys
    assert [k for k, _ in pairs(kv, "t", b"a", b"b")] == [b"a", b"a\x00", b"ab"]
    assert [k for k, _ in pairs(kv, "t", b"aa", None)] == [b"ab", b"b", b"\xff", b"\xff\xff"]
    assert pairs(kv, "t", b"b", b"a") == []


def test_a_scan_may_stop_early(kv: Kv) -> None:
    kv.apply([("t", b"%04d" % i, b"") for i in range(100)])
    snapshot = kv.snapshot()
    scan = snapshot.scan("t", b"")
    assert bytes(next(scan)[0]) == b"0000"
    del scan
    snapshot.close()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 10, 11, 200, 500])
def test_pages_put_together_are_the_scan(kv: Kv, count: int) -> None:
    kv.apply([("t", b"%04d" % number, b"v%d" % number) for number in range(count)])
    snapshot = kv.snapshot()
    for start, end in (
        (b"", None),
        (b"0001", b"0009"),
        (b"0005", b"0010"),
        (b"0100", b"0299x"),
        (b"0400", None),
        (b"5", None),
        (b"0003", b"0003"),
    ):
        pages = list(snapshot.pages("t", start, end))
        assert all(pages)
        wanted = [(b"%04d" % n, b"v%d" % n) for n in range(count) if b"%04d" % n >= start and (end is None or b"%04d" % n < end)]
        assert [pair for page in pages for pair in page] == wanted == list(snapshot.scan("t", start, end))
    snapshot.close()


def test_a_snapshot_does_not_see_later_changes(kv: Kv) -> None:
    kv.apply([("t", b"a", b"1"), ("t", b"b", b"1")])
    snapshot = kv.snapshot()
    kv.apply([("t", b"a", b"2"), ("t", b"b", None), ("t", b"c", b"2")])
    assert snapshot.get("t", b"a") == b"1"
    assert [(bytes(k), bytes(v)) for k, v in snapshot.scan("t", b"")] == [(b"a", b"1"), (b"b", b"1")]
    snapshot.close()
    assert pairs(kv, "t") == [(b"a", b"2"), (b"c", b"2")]


def test_keys_up_to_the_limit_are_kept_whole(kv: Kv) -> None:
    longest = b"k" * MAX_KEY_BYTES
    kv.apply([("t", longest, b"v"), ("t", longest[:-1], b"w")])
    assert kv.get("t", longest) == b"v"
    assert kv.get("t", longest[:-1]) == b"w"


def test_large_values_come_back_whole(kv: Kv) -> None:
    value = bytes(range(256)) * 4096
    kv.apply([("t", b"k", value)])
    assert kv.get("t", b"k") == value
    assert kv.used_bytes() >= len(value)


def test_upkeep_changes_nothing(kv: Kv) -> None:
    kv.apply([("t", b"k", b"v")])
    kv.upkeep()
    assert kv.get("t", b"k") == b"v"
