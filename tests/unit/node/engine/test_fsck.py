import json
from typing import Any

import pytest

from objstore.node.engine.blobs import blob_name
from objstore.node.engine.fsck import fsck
from objstore.node.engine.keys import encode_key
from tests.support.engine_rig import DIRECTORY, SimRig, delete, key, put, put_blob

BLOB = b"b" * 16


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig()
    for i in range(60):
        rig.run(lambda i=i: put(rig.engine, f"k{i}", 1, b"x" * 200, partition=i % 4))
    rig.run(lambda: put_blob(rig.engine, "blob", 1, BLOB, b"y" * 3000))
    rig.run(lambda: delete(rig.engine, "k1", 2, partition=1))
    return rig


def check(rig: SimRig) -> dict[str, Any]:
    report = fsck(rig.host.world(), DIRECTORY)
    assert json.loads(json.dumps(report)) == report
    return report


def volume(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0]


def power_off(rig: SimRig) -> None:
    rig.host.kill(power=True)
    rig.host.boot()


def tables(rig: SimRig) -> Any:
    return volume(rig).kv_stores["index-1"].tables


@pytest.mark.parametrize("closed", [True, False])
def test_a_sound_device_is_clean_after_a_stop_and_after_a_power_cut(rig: SimRig, closed: bool) -> None:
    if closed:
        rig.run(rig.engine.close)
    power_off(rig)
    report = check(rig)
    assert report["findings"] == []
    assert report["clean"]
    assert (report["incarnation"], report["registers"], report["blobs"]) == (rig.incarnation.hex(), 61, 1)
    assert report["packs"] == 2


def test_it_changes_nothing(rig: SimRig) -> None:
    power_off(rig)
    last = volume(rig).directories["packs"]["0000000000000002.pack"]
    last.data += b"torn tail"
    last.durable += b"torn tail"
    before = {path: bytes(inode.data) for path, inode in volume(rig).files()}
    report = check(rig)
    assert (report["clean"], report["torn_bytes"]) == (True, 9)
    assert {path: bytes(inode.data) for path, inode in volume(rig).files()} == before


def test_a_directory_that_is_no_device_is_a_finding(rig: SimRig) -> None:
    assert not fsck(rig.host.world(), "/disks/none")["clean"]


def test_each_kind_of_damage_is_a_finding(rig: SimRig) -> None:
    rig.run(rig.engine.close)
    power_off(rig)
    packs = volume(rig).directories["packs"]
    directory, _, name = blob_name(BLOB).rpartition("/")
    first = packs["0000000000000001.pack"].data
    for data, at in (
        (first, 3),
        (first, 80),
        (first, len(first) // 2),
        (first, len(first) - 1),
        (volume(rig).directories[directory][name].data, 5),
        (volume(rig).directories[directory][name].data, -1),
        (volume(rig).directories[""]["identity"].data, 20),
    ):
        data[at] ^= 1
        assert not check(rig)["clean"], at
        data[at] ^= 1
    assert check(rig)["clean"]
    lost = volume(rig).directories[directory].pop(name)
    assert not check(rig)["clean"]
    volume(rig).directories[directory][name] = lost
    for table in ("rows", "partitions", "blobs", "meta"):
        entries = tables(rig)[table]
        for change in (None, b"?"):
            at = next(iter(entries))
            value = entries.pop(at)
            if change is not None:
                entries[at] = value[:-1] + change
            report = check(rig)
            assert not report["clean"] or (table == "blobs" and change is not None), (table, change)
            entries[at] = value
    assert check(rig)["clean"]


def test_a_missing_pack_is_a_finding(rig: SimRig) -> None:
    rig.run(rig.engine.close)
    power_off(rig)
    del volume(rig).directories["packs"]["0000000000000002.pack"]
    assert not check(rig)["clean"]


def test_a_blob_that_no_row_names_is_counted(rig: SimRig) -> None:
    async def stage() -> None:
        writer = await rig.engine.stage(b"s" * 16, size=-1)
        await writer.write(b"staged")
        await writer.finish()

    rig.run(stage)
    power_off(rig)
    report = check(rig)
    assert (report["clean"], report["blobs"], report["unnamed_blobs"]) == (True, 2, 1)


def test_the_row_is_named_in_the_finding(rig: SimRig) -> None:
    rig.run(rig.engine.close)
    power_off(rig)
    index_key = encode_key(key("k7"))
    del tables(rig)["partitions"][(3).to_bytes(4, "big") + index_key]
    assert any(index_key.hex() in finding for finding in check(rig)["findings"])
