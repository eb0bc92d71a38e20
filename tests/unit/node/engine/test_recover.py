"""Opening after a crash: torn tails are cut, damage is told apart from them, nothing acknowledged is lost."""

import dataclasses
from typing import Any

import pytest

from objstore.core.rows import EMPTY, Kind
from objstore.errors import DamagedBody, DamagedFile
from objstore.node.engine.engine import Engine
from objstore.node.engine.fsck import fsck
from objstore.node.engine.pack_format import FILE_HEADER_BYTES
from objstore.node.engine.packs import pack_name
from tests.support.engine_rig import BUCKET, DIRECTORY, SMALL, SimRig, ballot, delete, key, names, put, read, row

TINY_PACKS = dataclasses.replace(SMALL, pack_size_bytes=300)


def pack(rig: SimRig, number: int = 1) -> Any:
    directory, _, name = pack_name(number).partition("/")
    return rig.host.storage.volume(DIRECTORY)[0].directories[directory][name]


def change(rig: SimRig, number: int, content: bytes) -> None:
    """Set what a pack holds, durably, as if found after a power cut."""
    inode = pack(rig, number)
    inode.data[:] = content
    inode.durable[:] = content
    inode.pending.clear()


def power_off(rig: SimRig) -> None:
    rig.host.kill(power=True)
    rig.host.boot()


def test_a_tail_torn_at_any_byte_of_the_last_record_is_cut_and_the_rest_is_there() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "first", 1, b"one"))
    before = len(pack(rig).data)
    rig.run(lambda: put(rig.engine, "second", 2, b"two" * 20))
    power_off(rig)
    whole = bytes(pack(rig).data)
    for end in range(before, len(whole)):
        for torn in (whole[:end], whole[:end] + b"\x00" * (len(whole) - end)):
            if torn == whole:
                continue  # it ends with zeros itself
            change(rig, 1, torn)
            rig.open()
            assert rig.engine.query(key("second"), partition=0) == EMPTY
            assert rig.run(lambda: read(rig.engine, "first", 1)) == b"one"
            assert len(pack(rig).data) == before
            power_off(rig)
    change(rig, 1, whole)
    rig.open()
    assert rig.run(lambda: read(rig.engine, "second", 2)) == b"two" * 20


def test_after_a_cut_tail_the_journal_goes_on_where_it_was_cut() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "first", 1, b"one"))
    end = len(pack(rig).data)
    rig.run(lambda: put(rig.engine, "second", 2, b"two"))
    power_off(rig)
    change(rig, 1, bytes(pack(rig).data[: end + 30]))
    rig.open()
    rig.run(lambda: put(rig.engine, "third", 3, b"three"))
    rig.crash()
    assert names(rig.engine) == [b"first", b"third"]


def test_any_flipped_bit_before_the_last_flush_is_damage_and_no_torn_tail() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "first", 1, b"one"))
    middle = len(pack(rig).data)
    rig.run(lambda: put(rig.engine, "second", 2, b"two"))
    rig.run(lambda: put(rig.engine, "third", 3, b"three"))
    power_off(rig)
    whole = bytes(pack(rig).data)
    outcomes = set()
    for at in range(middle):
        wrong = bytearray(whole)
        wrong[at] ^= 0x10
        change(rig, 1, bytes(wrong))
        try:
            rig.open()
        except DamagedFile:
            outcomes.add("refused")
        else:
            if at < FILE_HEADER_BYTES:
                assert rig.run(lambda: read(rig.engine, "first", 1)) == b"one"
                outcomes.add("header written again")
            else:
                with pytest.raises(DamagedBody):
                    rig.run(lambda: read(rig.engine, "first", 1))
                outcomes.add("payload")
            assert rig.run(lambda: read(rig.engine, "third", 3)) == b"three"
        power_off(rig)
    assert outcomes == {"refused", "payload", "header written again"}


def test_a_pack_that_the_last_flush_only_began_is_removed() -> None:
    rig = SimRig(settings=TINY_PACKS)
    rig.run(lambda: put(rig.engine, "first", 1, b"x" * 300))
    rig.run(lambda: put(rig.engine, "second", 2, b"y" * 300))
    power_off(rig)
    whole = bytes(pack(rig, 2).data)
    for wrong in (b"", whole[:10], b"\x00" * len(whole), b"\x00" * FILE_HEADER_BYTES + whole[FILE_HEADER_BYTES:-1]):
        change(rig, 2, wrong)
        rig.open()
        assert names(rig.engine) == [b"first"]
        assert list(rig.engine._device.packs.sizes) == [1]
        power_off(rig)
        rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000002.pack"] = type(pack(rig))()
        rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000002.pack"].names = 1
    change(rig, 2, whole)
    rig.open()
    assert names(rig.engine) == [b"first", b"second"]


def test_a_bad_header_is_written_again_from_the_first_record() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, pack_size_bytes=1 << 20))
    for number in range(3):
        rig.run(lambda number=number: put(rig.engine, f"k{number}", number + 1, b"x"))
    power_off(rig)
    whole = bytes(pack(rig).data)
    for at in range(FILE_HEADER_BYTES):
        wrong = bytearray(whole)
        wrong[at] ^= 1
        change(rig, 1, bytes(wrong))
        rig.open()
        assert names(rig.engine) == [b"k0", b"k1", b"k2"]
        assert bytes(pack(rig).data) == whole
        power_off(rig)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_bad_header_before_a_bad_first_record_is_damage_only_where_that_record_is_needed(checkpoint: bool) -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, pack_size_bytes=1 << 20))
    for number in range(3):
        rig.run(lambda number=number: put(rig.engine, f"k{number}", number + 1, b"x"))
    if checkpoint:
        rig.run(lambda: rig.engine.maintain("checkpoint"))
    power_off(rig)
    wrong = bytearray(pack(rig).data)
    wrong[20] ^= 1
    wrong[FILE_HEADER_BYTES + 4] ^= 1
    change(rig, 1, bytes(wrong))
    if checkpoint:
        rig.open()
        assert names(rig.engine) == [b"k0", b"k1", b"k2"]
    else:
        with pytest.raises(DamagedFile):
            rig.open()
    assert len(pack(rig).data) == len(wrong)


def test_a_missing_pack_is_damage() -> None:
    rig = SimRig(settings=TINY_PACKS)
    rig.run(lambda: put(rig.engine, "first", 1, b"x" * 300))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    for number in (2, 3, 4):
        rig.run(lambda number=number: put(rig.engine, f"k{number}", number, b"x" * 300))
    power_off(rig)
    for number in (1, 3):
        del rig.host.storage.volume(DIRECTORY)[0].directories["packs"][pack_name(number).partition("/")[2]]
        with pytest.raises(DamagedFile):
            rig.open()
        power_off(rig)  # which brings the name back
    rig.open()
    assert len(names(rig.engine)) == 4


def test_an_older_pack_put_back_in_place_is_damage() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "first", 1, b"x"))
    old = bytes(pack(rig).data)
    rig.run(lambda: put(rig.engine, "second", 2, b"y"))
    rig.run(rig.engine.close)
    change(rig, 1, old)
    with pytest.raises(DamagedFile):
        rig.open()


def test_a_pack_of_another_device_is_refused() -> None:
    rig, other = SimRig(1), SimRig(2)
    for one in (rig, other):
        one.run(lambda one=one: put(one.engine, "k", 1, b"x"))
        one.run(lambda one=one: put(one.engine, "l", 2, b"x"))
        one.run(lambda one=one: put(one.engine, "m", 3, b"x"))
        power_off(one)
    change(rig, 1, bytes(pack(other).data))
    with pytest.raises(DamagedFile):
        rig.open()
    assert len(pack(rig).data) == len(pack(other).data)


def test_replay_brings_back_every_kind_of_record() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "kept", 1, b"x", partition=1))
    rig.run(lambda: rig.engine.prepare(key("kept"), partition=1, ballot=ballot(5)))
    rig.run(lambda: delete(rig.engine, "gone", 2, partition=1))
    rig.run(lambda: rig.engine.reclaim(key("gone"), partition=1, ballot=ballot(2)))
    rig.run(lambda: rig.engine.merge(key("floor"), partition=2, register=EMPTY, floor=ballot(3)))
    rig.run(lambda: rig.engine.set_notes({"epoch": b"9"}))
    before = rig.engine.digests([1]), rig.engine.stats().rows
    rig.crash()
    assert rig.engine.query(key("kept"), partition=1).promised == ballot(5)
    assert (rig.engine.floor(1), rig.engine.floor(2), rig.engine.note("epoch")) == (ballot(2), ballot(3), b"9")
    assert (rig.engine.digests([1]), rig.engine.stats().rows) == before


def test_a_long_replay_checkpoints_on_its_way() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=1 << 20))
    for number in range(300):
        rig.run(lambda number=number: put(rig.engine, f"k{number:03}", 1, b"x"))
    assert rig.engine._device.state.position.pack == 0
    power_off(rig)
    rig.settings = SMALL
    rig.open()
    state = rig.engine._device.state
    assert state.position.pack > 0
    assert len(state.active) < 300
    assert len(names(rig.engine)) == 300
    rig.crash()
    assert len(names(rig.engine)) == 300


def version_story(rig: SimRig) -> list[bytes]:
    """An older version is promoted, covered and promoted again; what the pack held after each change."""
    held = []
    for number, of, gone in ((1, 1, None), (2, 2, None), (3, 1, 2), (4, 4, None), (5, 1, 4)):
        at = ballot(number)
        effects = (row(at, kind=Kind.TOMBSTONE, version=ballot(gone).hex()),) if gone else ()
        head = row(at, b"one", version=ballot(of).hex(), effects=effects)
        rig.run(lambda at=at, head=head: rig.engine.accept(key("k"), partition=0, ballot=at, row=head, payload=b"one"))
        held.append(bytes(pack(rig).data))
    return held


def test_a_torn_batch_leaves_a_head_and_what_is_told_of_its_versions_or_neither() -> None:
    """A version that is the head too is counted as the head: its entry and the head must not be torn apart."""
    rig = SimRig()
    held = version_story(rig)
    for before, after, noncurrent in zip(held, held[1:], (0, 1, 0, 1), strict=False):
        for end in range(len(before), len(after), 11):
            power_off(rig)
            change(rig, 1, after[:end])
            rig.open()
            assert rig.engine.bucket_counters(BUCKET) == (1, 3)
            assert rig.engine.version_counters(BUCKET) == (noncurrent, 3 * noncurrent)
            assert len(pack(rig).data) == len(before)
            rig.run(rig.engine.close)
            assert fsck(rig.host.world(), DIRECTORY)["clean"]


def test_a_change_whose_last_record_is_damaged_and_no_torn_tail_is_damage() -> None:
    rig = SimRig()
    whole = version_story(rig)
    power_off(rig)
    wrong = bytearray(whole[-1])
    wrong[len(whole[2]) - 10] ^= 1  # in the head's record, behind those of its versions; later batches follow
    change(rig, 1, bytes(wrong))
    with pytest.raises(DamagedFile, match="damaged at offset"):
        rig.open()


def test_an_unformatted_directory_does_not_open() -> None:
    rig = SimRig()

    async def body() -> None:
        await Engine.open(rig.host.world(), "/disks/other", SMALL)

    with pytest.raises(FileNotFoundError):
        rig.run(body)
