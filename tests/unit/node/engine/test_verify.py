import dataclasses
from typing import Any

import msgspec
import pytest

from objstore.node.engine.blobs import BlobReader, blob_name
from objstore.node.engine.keys import encode_key
from objstore.node.engine.records import Entry
from objstore.node.engine.verify import Health, check_blob, check_record, read_state, whole_blob_is_good
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, key, put, put_blob

BLOB = b"b" * 16
K = encode_key(key("k"))


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=1 << 20))
    rig.run(lambda: put(rig.engine, "k", 1, b"payload"))
    rig.run(lambda: put_blob(rig.engine, "blob", 1, BLOB, b"x" * 5000))
    return rig


def entry(rig: SimRig) -> Entry:
    found = rig.engine._state.get(K)
    assert found is not None
    return found


def pack(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000001.pack"].data


def test_a_sound_record_is_good(rig: SimRig) -> None:
    assert check_record(rig.engine._device.packs, K, entry(rig)) is Health.GOOD


def test_a_bad_payload_and_a_bad_record_are_told_apart(rig: SimRig) -> None:
    packs = rig.engine._device.packs
    at = entry(rig).offset
    pack(rig)[at] ^= 1
    assert check_record(packs, K, entry(rig)) is Health.PAYLOAD
    pack(rig)[at] ^= 1
    for wrong in (at - 1, at - 40, at + 8):  # checksum, magic, row
        pack(rig)[wrong] ^= 1
        assert check_record(packs, K, entry(rig)) is Health.RECORD
        assert read_state(packs, 1, at, K) is None
        pack(rig)[wrong] ^= 1


def test_a_record_of_another_register_is_not_this_ones(rig: SimRig) -> None:
    packs = rig.engine._device.packs
    assert read_state(packs, 1, entry(rig).offset, K) == entry(rig)
    assert read_state(packs, 1, entry(rig).offset, encode_key(key("other"))) is None
    assert read_state(packs, 1, entry(rig).offset + 1, K) is None
    assert read_state(packs, 9, entry(rig).offset, K) is None
    assert check_record(packs, K, msgspec.structs.replace(entry(rig), row=b"other")) is Health.RECORD


def test_a_missing_pack_is_a_bad_payload_or_a_bad_record(rig: SimRig) -> None:
    packs = rig.engine._device.packs
    lost = msgspec.structs.replace(entry(rig), pack=9)
    assert check_record(packs, K, lost) is Health.PAYLOAD
    assert check_record(packs, K, msgspec.structs.replace(lost, length=0)) is Health.RECORD


def test_blobs_are_verified_in_pieces_and_whole(rig: SimRig) -> None:
    disk = rig.host.storage.disk(DIRECTORY)
    reader = BlobReader(disk.open(blob_name(BLOB)), BLOB)
    assert [check_blob(reader, first, 2) for first in (0, 2, 4, 6)] == [2048, 2048, 904, 0]
    assert whole_blob_is_good(reader)
    directory, _, name = blob_name(BLOB).rpartition("/")
    rig.host.storage.volume(DIRECTORY)[0].directories[directory][name].data[4999] ^= 1
    assert not whole_blob_is_good(reader)
