"""What an agent keeps of its guests: written whole, read back, removed; slots that stay."""

import os
from pathlib import Path

import msgspec
import pytest

from objstore.errors import DamagedFile, InvalidArgument
from objstore.runtime.disk import RealDisk
from objstore.services.compute.agent import layout
from objstore.services.compute.agent.layout import RECORD_VERSION, Record, with_slots
from objstore.services.compute.agent_api import Disk, ServerSpec

ID = "11111111-2222-3333-4444-555555555555"
RECORD = Record(RECORD_VERSION, ServerSpec(ID, "n", "p", 1, 64, (Disk("a" * 32, "vda", 0),)), on=True, pid=7, started=9, slots={"d-a": 3})


def test_a_record_comes_back_and_replaces_the_one_before(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    assert layout.kept(disk) == []
    for record in (RECORD, msgspec.structs.replace(RECORD, on=False, why="guest")):
        layout.save(disk, ID, msgspec.json.encode(record))
        assert layout.load(disk, ID) == record
    assert layout.kept(disk) == [ID]
    assert [entry.name for entry in (tmp_path / "servers" / ID).iterdir()] == ["record.json"]
    assert RECORD.process.pid == 7


def test_a_write_that_was_cut_off_leaves_the_record_before(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    layout.save(disk, ID, msgspec.json.encode(RECORD))
    (tmp_path / "servers" / ID / "record.json.new").write_bytes(b'{"versi')
    assert layout.load(disk, ID) == RECORD
    layout.save(disk, ID, msgspec.json.encode(RECORD))
    assert layout.load(disk, ID) == RECORD


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"version": 2, "spec": ' + msgspec.json.encode(RECORD.spec) + b"}"])
def test_a_record_that_cannot_be_read_says_so(tmp_path: Path, data: bytes) -> None:
    disk = RealDisk(str(tmp_path))
    layout.save(disk, ID, data)
    with pytest.raises(DamagedFile, match=ID):
        layout.load(disk, ID)


def test_all_that_is_kept_of_a_guest_can_be_removed_and_again(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    layout.save(disk, ID, b"{}")
    (tmp_path / "servers" / ID / "run").mkdir()
    os.mkfifo(tmp_path / "servers" / ID / "run" / "qmp.sock")
    layout.forget(disk, str(tmp_path), ID)
    layout.forget(disk, str(tmp_path), ID)
    assert layout.kept(disk) == []
    with pytest.raises(FileNotFoundError):
        layout.load(disk, ID)


def test_directories_in_directories_are_removed_however_deep_and_no_link_is_followed(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    layout.save(disk, ID, b"{}")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    at = os.open(tmp_path / "servers" / ID, os.O_RDONLY)
    for name in ["run", *(["moved-2"] * 1500)]:
        os.mkdir(name, dir_fd=at)
        os.mkdir("moved-1", dir_fd=at)
        os.symlink(tmp_path / "kept", "link", dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    layout.forget(disk, str(tmp_path), ID)
    assert layout.kept(disk) == []
    assert (tmp_path / "kept" / "file").read_text() == "x"


def test_devices_keep_their_slots_and_new_ones_get_free_ones() -> None:
    slots = with_slots({}, ["a", "b", "c"], 3)
    assert slots == {"a": 1, "b": 2, "c": 3}
    assert with_slots(slots, ["c", "d"], 3) == {"c": 3, "d": 1}
    with pytest.raises(InvalidArgument, match="at most 3"):
        with_slots(slots, ["a", "b", "c", "d"], 3)


def test_a_socket_is_called_by_the_shorter_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert layout.short(str(tmp_path / "run" / "x.sock")) == "run/x.sock"
    with pytest.raises(InvalidArgument, match="107 bytes"):
        layout.short(str(tmp_path / ("y" * 110)))


def test_names_of_devices_fit_what_qemu_allows() -> None:
    assert len(layout.disk_name("f" * 32)) <= 31
    assert layout.nic_name(ID) == f"n-{ID}"
