import os
import threading
from pathlib import Path

import pytest

from objstore.errors import DamagedFile, DeviceFull
from objstore.runtime import kv_lmdb
from objstore.runtime.kv_lmdb import LmdbKv

TABLES = ("rows", "meta")


def test_the_map_grows_when_it_is_full(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES, map_bytes=64 * 1024)
    for number in range(4):
        kv.apply([("rows", b"%d-%04d" % (number, i), b"v" * 300) for i in range(1000)])
    assert kv.get("rows", b"3-0999") == b"v" * 300
    assert kv.used_bytes() > 1_000_000
    kv.close()


def test_growing_waits_for_views_to_close(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES, map_bytes=64 * 1024)
    kv.apply([("rows", b"old", b"1")])
    view = kv.snapshot()
    writer = threading.Thread(target=kv.apply, args=([("rows", b"%04d" % i, b"v" * 300) for i in range(1000)],))
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    assert view.get("rows", b"old") == b"1"
    assert kv.get("rows", b"0001") is None
    view.close()
    writer.join(10)
    assert kv.get("rows", b"0001") == b"v" * 300
    kv.close()


def test_a_view_that_never_closes_makes_a_full_map_device_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_lmdb, "GROW_WAIT_S", 0.01)
    kv = LmdbKv(str(tmp_path), TABLES, map_bytes=64 * 1024)
    view = kv.snapshot()
    with pytest.raises(DeviceFull):
        kv.apply([("rows", b"%04d" % i, b"v" * 300) for i in range(1000)])
    view.close()
    assert kv.get("rows", b"0001") is None
    kv.apply([("rows", b"k", b"v")])
    assert kv.get("rows", b"k") == b"v"
    kv.close()


def test_a_get_after_a_commit_sees_it(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES)
    assert kv.get("rows", b"k") is None
    kv.apply([("rows", b"k", b"1")])
    assert kv.get("rows", b"k") == b"1"
    kv.apply([("rows", b"k", b"2"), ("rows", b"k", b"3"), ("meta", b"k", b"4"), ("rows", b"gone", None)])
    assert (kv.get("rows", b"k"), kv.get("meta", b"k")) == (b"3", b"4")
    kv.close()


def test_a_view_does_not_see_later_commits(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES)
    kv.apply([("rows", b"a", b"1")])
    view = kv.snapshot()
    kv.apply([("rows", b"a", None), ("rows", b"b", b"2")])
    assert list(view.scan("rows", b"")) == [(b"a", b"1")]
    view.close()
    view.close()
    kv.close()


def test_what_was_applied_survives_reopening(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES)
    kv.apply([("rows", b"%03d" % i, b"v%d" % i) for i in range(500)])
    kv.close()
    kv = LmdbKv(str(tmp_path), TABLES)
    kv.upkeep()
    view = kv.snapshot()
    assert [k for k, _ in view.scan("rows", b"100", b"103")] == [b"100", b"101", b"102"]
    view.close()
    kv.close()


def resident(path: Path) -> int:
    """KiB of a file's map that count as this process's memory."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1])
    raise AssertionError(f"{path} is not mapped")


def test_pages_that_were_looked_at_are_let_go_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_lmdb, "LET_GO_BYTES", 1 << 20)
    kv = LmdbKv(str(tmp_path), TABLES, map_bytes=8 << 20)
    for batch in range(6):  # the map is moved on the way
        kv.apply([("rows", b"%d-%05d" % (batch, i), b"%d" % i + b"v" * 1000) for i in range(2000)])
    view = kv.snapshot()
    assert sum(1 for _ in view.scan("rows", b"")) == 12_000
    looked_at = resident(tmp_path / "data.mdb")
    assert looked_at > 10_000
    kv.upkeep()
    assert resident(tmp_path / "data.mdb") < 100
    found = list(view.scan("rows", b""))
    assert [value for _, value in found] == [b"%d" % i + b"v" * 1000 for _ in range(6) for i in range(2000)]
    view.close()
    kv.apply([("rows", b"x", b"y")])
    assert resident(tmp_path / "data.mdb") < 100
    assert kv.get("rows", b"x") == b"y"
    kv.close()


def test_a_file_that_is_not_mapped_has_no_place(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    assert kv_lmdb._mapped(str(tmp_path / "f")) == (0, 0)
    assert kv_lmdb._mapped(str(tmp_path / "absent")) == (0, 0)


def test_a_file_cut_short_is_damaged_and_not_a_bus_error(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES)
    kv.apply([("rows", b"%05d" % i, b"v" * 300) for i in range(2000)])
    kv.close()
    data = tmp_path / "data.mdb"
    os.truncate(data, data.stat().st_size // 2 // 4096 * 4096)
    with pytest.raises(DamagedFile):
        LmdbKv(str(tmp_path), TABLES)


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedFile):
        LmdbKv(str(tmp_path), TABLES)


def test_keys_out_of_order_in_a_damaged_page_are_found(tmp_path: Path) -> None:
    kv = LmdbKv(str(tmp_path), TABLES)
    kv.apply([("rows", b"key-%02d" % i, b"v") for i in range(20)])
    kv.close()
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    data = data.replace(b"key-07", b"key-99")
    (tmp_path / "data.mdb").write_bytes(data)
    kv = LmdbKv(str(tmp_path), TABLES)
    view = kv.snapshot()
    with pytest.raises(DamagedFile):
        list(view.scan("rows", b""))
    view.close()
    kv.close()


def test_a_commit_without_room_on_the_disk_is_device_full_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full tmpfs makes LMDB say "Input/output error": what decides is how much room the disk has."""
    import lmdb

    kv = LmdbKv(str(tmp_path), TABLES)
    kv.apply([("rows", b"a", b"1")])

    def fail(_: object) -> None:
        raise lmdb.DiskError("mdb_txn_commit: Input/output error")

    monkeypatch.setattr(kv, "_commit", fail)
    with pytest.raises(OSError, match="LMDB"):
        kv.apply([("rows", b"a", b"2")])
    monkeypatch.setattr(kv_lmdb, "NO_ROOM_BYTES", 1 << 62)
    with pytest.raises(DeviceFull):
        kv.apply([("rows", b"a", b"2")])
    assert kv.get("rows", b"a") == b"1"
    kv.close()


@pytest.mark.parametrize("planted", ["", "data.mdb", "lock.mdb"])
def test_an_index_is_not_opened_through_a_planted_link(tmp_path: Path, planted: str) -> None:
    LmdbKv(str(tmp_path / "outside"), TABLES).close()
    if planted:
        (tmp_path / "index").mkdir()
    (tmp_path / "index" / planted).symlink_to(tmp_path / "outside" / planted)
    with pytest.raises(OSError, match="linked"):
        LmdbKv(str(tmp_path / "index"), TABLES)
