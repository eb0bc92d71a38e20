import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from ring.builder import Readdress, Weigh, change, create
from ring.codec import encode
from ring.files import load, save
from ring.lookup import Ring
from ring.model import RingError
from tests.unit.ring.rings import a_spec, devices

NOW_S = 1_700_000_000


@pytest.fixture
def ring() -> Ring:
    return create(a_spec(part_power=4), devices(3))


@pytest.fixture
def newer(ring: Ring) -> Ring:
    return change(ring, [Weigh(0, 2.0)], now_s=NOW_S)


def test_a_saved_ring_is_loaded_again(tmp_path: Path, ring: Ring) -> None:
    save(tmp_path / "a.ring", ring)
    assert load(tmp_path / "a.ring") == ring
    assert load(str(tmp_path / "a.ring")) == ring
    assert stat.S_IMODE((tmp_path / "a.ring").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.ring"]


def test_a_newer_epoch_replaces_an_older_one(tmp_path: Path, ring: Ring, newer: Ring) -> None:
    save(tmp_path / "a.ring", ring)
    save(tmp_path / "a.ring", newer)
    assert load(tmp_path / "a.ring").epoch == 2


def test_an_older_epoch_is_refused(tmp_path: Path, ring: Ring, newer: Ring) -> None:
    save(tmp_path / "a.ring", newer)
    with pytest.raises(RingError, match="epoch 1 cannot replace epoch 2: the epoch of a ring only grows"):
        save(tmp_path / "a.ring", ring)
    assert load(tmp_path / "a.ring") == newer


def test_the_same_epoch_is_taken_only_with_the_same_bytes(tmp_path: Path, ring: Ring, newer: Ring) -> None:
    save(tmp_path / "a.ring", newer)
    before = (tmp_path / "a.ring").stat()
    save(tmp_path / "a.ring", newer)
    after = (tmp_path / "a.ring").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    rival = change(ring, [Readdress(0, "tcp:elsewhere:1")], now_s=NOW_S)
    with pytest.raises(RingError, match="it is another ring of the same epoch; somebody else published"):
        save(tmp_path / "a.ring", rival)


def test_a_damaged_file_is_replaced_only_when_asked(tmp_path: Path, ring: Ring) -> None:
    (tmp_path / "a.ring").write_bytes(encode(ring)[:-1])
    with pytest.raises(RingError, match="the file there is damaged"):
        save(tmp_path / "a.ring", ring)
    save(tmp_path / "a.ring", ring, replace_damaged=True)
    assert load(tmp_path / "a.ring") == ring


def test_a_damaged_file_is_not_loaded_and_the_error_names_it(tmp_path: Path, ring: Ring) -> None:
    for data in (b"", encode(ring)[:100], b"\x80\x04." * 100):
        (tmp_path / "a.ring").write_bytes(data)
        with pytest.raises(RingError, match=r"a\.ring: this is no valid ring file"):
            load(tmp_path / "a.ring")


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path, ring: Ring) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "a.ring")
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / "a.ring", ring)


def test_what_a_crash_left_behind_is_overwritten(tmp_path: Path, ring: Ring) -> None:
    (tmp_path / ".a.ring.new").write_bytes(b"half a ri" * 10_000)
    save(tmp_path / "a.ring", ring)
    assert load(tmp_path / "a.ring") == ring
    assert os.listdir(tmp_path) == ["a.ring"]


def test_a_planted_link_is_not_followed(tmp_path: Path, ring: Ring) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".a.ring.new").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        save(tmp_path / "a.ring", ring)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, ring: Ring, newer: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.ring", ring)

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        save(tmp_path / "a.ring", newer)
    assert load(tmp_path / "a.ring") == ring
    assert os.listdir(tmp_path) == ["a.ring"]


def test_file_and_directory_are_flushed_around_the_rename(tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    flush, rename = os.fsync, os.rename

    def seen_flush(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        flush(descriptor)

    def seen_rename(*arguments: object, **options: object) -> None:
        steps.append("rename")
        rename(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", seen_flush)
    monkeypatch.setattr(os, "rename", seen_rename)
    save(tmp_path / "a.ring", ring)
    assert steps == ["file", "rename", "directory"]


def test_only_one_writer_at_a_time_compares_and_replaces(tmp_path: Path, ring: Ring, newer: Ring) -> None:
    save(tmp_path / "a.ring", ring)
    other_command = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other_command, fcntl.LOCK_EX)
    writer = threading.Thread(target=save, args=(tmp_path / "a.ring", newer))
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert load(tmp_path / "a.ring") == ring
    os.close(other_command)
    writer.join(10)
    assert load(tmp_path / "a.ring") == newer
