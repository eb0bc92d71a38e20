from pathlib import Path

import pytest

from objstore.node.engine.pack_format import FILE_HEADER_BYTES, RecordType, encode_meta, encode_record, seed_of
from objstore.node.engine.packs import Packs, Record, pack_name
from objstore.runtime.disk import RealDisk

SEAL = b"device-1"


def record(pack: int, offset: int, sequence: int, name: str) -> bytes:
    meta = encode_meta([name, None])
    return encode_record(RecordType.NOTE, meta, sequence, seed_of(pack, SEAL) + offset) + meta


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    disk = RealDisk(str(tmp_path))
    disk.make_directory("packs")
    return Packs(disk, SEAL, pack_size_bytes=200)


def append(packs: Packs, *names: str) -> None:
    pack, offset, _ = packs.next_place()
    buffers = []
    end = offset
    for name in names:
        buffers.append(record(pack, end, packs.sequence + 1, name))
        end += len(buffers[-1])
    packs.write(pack, offset, packs.sequence + 1, buffers)
    packs.wrote(pack, end, packs.sequence + 1)


def test_batches_follow_one_another_and_a_full_pack_gives_way_to_the_next(packs: Packs) -> None:
    for name in ("a", "b", "c", "d", "e"):
        append(packs, name, name * 10)
    assert packs.list() == [1, 2, 3]
    found = []
    for pack in packs.list():
        for item in packs.records(pack, FILE_HEADER_BYTES, packs.sizes[pack]):
            assert isinstance(item, Record)
            assert item.intact
            found.append(item.head.sequence)
    assert found == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert packs.header(2) == 3


def test_a_bad_record_ends_the_walk_and_the_next_good_one_can_be_found(packs: Packs, tmp_path: Path) -> None:
    append(packs, "a" * 20)
    append(packs, "b" * 20)
    path = tmp_path / pack_name(1)
    data = bytearray(path.read_bytes())
    data[FILE_HEADER_BYTES + 50] ^= 1
    path.write_bytes(data)
    assert list(packs.records(1, FILE_HEADER_BYTES, packs.sizes[1])) == [FILE_HEADER_BYTES]
    beyond = packs.find_record(1, FILE_HEADER_BYTES + 1, packs.sizes[1])
    assert beyond is not None
    assert beyond.head.sequence == 2
    assert packs.find_record(1, beyond.offset + 1, packs.sizes[1]) is None


def test_a_record_is_found_wherever_it_lies_among_other_bytes(packs: Packs, tmp_path: Path) -> None:
    append(packs, "a")
    for at in (100, 1024 * 1024 - 2, 1024 * 1024 + 7, 3 * 1024 * 1024 - 3):
        (tmp_path / pack_name(1)).write_bytes(b"KR" * (at // 2) + b"K" * (at % 2) + record(1, at, 7, "found") + b"RO")
        found = packs.find_record(1, 0, packs.size_on_disk(1))
        assert found is not None
        assert found.offset == at


def test_what_found_no_room_is_cut_off_again(packs: Packs, tmp_path: Path) -> None:
    append(packs, "a")
    size = packs.sizes[1]
    packs.write(1, size, 2, [b"half a batch"])
    packs.cut(1)
    assert (tmp_path / pack_name(1)).stat().st_size == size
    append(packs, "b" * 200)
    packs.write(2, FILE_HEADER_BYTES, 3, [b"half a batch"])
    packs.cut(2)
    assert packs.list() == [1]
    append(packs, "c")
    assert packs.list() == [1, 2]


def test_a_reader_keeps_a_deleted_pack(packs: Packs) -> None:
    append(packs, "a" * 200)
    append(packs, "b")
    file = packs.file(1)
    packs.forget(1)
    packs.delete(1)
    assert packs.list() == [2]
    assert len(file.pread(FILE_HEADER_BYTES, 0)) == FILE_HEADER_BYTES
    with pytest.raises(FileNotFoundError):
        packs.file(1)


def test_bytes_in_the_page_cache_are_read_at_once_and_never_short(packs: Packs) -> None:
    append(packs, "a" * 50)
    assert packs.read_cached(1, 0, 10) is None  # not opened yet
    packs.file(1)
    for length in (10, FILE_HEADER_BYTES):
        assert packs.read_cached(1, 0, length) in (None, packs.file(1).pread(length, 0))  # None where it cannot be asked
    assert packs.read_cached(1, 0, 1 << 20) is None


def test_descriptors_are_bounded(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.node.engine.packs.OPEN_PACKS", 2)
    for name in ("a", "b", "c", "d"):
        append(packs, name * 200)
    for pack in packs.list():
        packs.file(pack)
    assert len(packs._readers) == 2
