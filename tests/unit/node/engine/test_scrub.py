"""The scrubber finds every damage there is, puts right what it can, and reports the rest until it is healed."""

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from objstore.core.rows import Register, Space
from objstore.core.timestamp import ZERO
from objstore.errors import DamagedBody, DamagedRow
from objstore.node.engine.api import BodyMissing
from objstore.node.engine.blobs import blob_name
from objstore.node.engine.fsck import fsck
from objstore.node.engine.keys import encode_key
from objstore.node.engine.records import SHADOWED, shadow_key
from objstore.wire.messages import PartitionRow
from tests.support.engine_rig import BUCKET, DIRECTORY, SMALL, SimRig, ballot, key, names, put, put_blob, read, row

BLOB = b"b" * 16
DATA = b"0123456789" * 500
P = 3


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=1 << 20))
    for name in ("a", "b", "c"):
        rig.run(lambda name=name: put(rig.engine, name, 1, name.encode() * 500, partition=P))
    rig.run(lambda: put_blob(rig.engine, "blob", 1, BLOB, DATA, partition=P))
    rig.run(lambda: rig.engine.prepare(key("a"), partition=P, ballot=ballot(8)))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    return rig


def volume(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0]


def table(rig: SimRig, name: str) -> Any:
    return volume(rig).kv_stores["index-1"].tables[name]


def flip(entries: Any, at: bytes) -> None:
    value = bytearray(entries[at])
    value[len(value) // 2] ^= 1
    entries[at] = bytes(value)


def pack(rig: SimRig) -> bytearray:
    data: bytearray = volume(rig).directories["packs"]["0000000000000001.pack"].data
    return data


def audit(rig: SimRig, budget_bytes: int = 1500) -> list[PartitionRow]:
    found: dict[bytes, PartitionRow] = {}
    cursor: bytes | None = b""
    steps = 0
    while cursor is not None:
        at = cursor
        step = rig.run(lambda at=at: rig.engine.audit(at, budget_bytes=budget_bytes))
        found.update({item.key.name: item for item in step.damaged})
        cursor = step.cursor
        steps += 1
        assert steps < 1000
    return list(found.values())


A = encode_key(key("a"))


def test_a_sound_device_is_clean_whatever_the_budget(rig: SimRig) -> None:
    for budget in (1, 1000, 1 << 30):
        assert audit(rig, budget) == []
    rig.run(lambda: put(rig.engine, "new", 1, b"x", partition=P))
    assert audit(rig) == []
    assert rig.engine.stats().quarantined == 0


def test_a_pass_reads_everything(rig: SimRig) -> None:
    step = rig.run(lambda: rig.engine.audit(b"", budget_bytes=1 << 30))
    assert (step.cursor, step.rows) == (None, 4)
    assert step.bytes > 1500 + len(DATA)


def test_a_damaged_row_is_repaired_from_the_journal(rig: SimRig) -> None:
    before = rig.engine.query(key("a"), partition=P)
    flip(table(rig, "rows"), A)
    with pytest.raises(DamagedRow):
        rig.call(lambda: rig.engine.query(key("a"), partition=P))
    rig.run(lambda: asyncio.sleep(1))
    assert rig.engine.query(key("a"), partition=P) == before
    assert before.promised == ballot(8)
    assert audit(rig) == []
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    rig.crash()
    assert rig.engine.query(key("a"), partition=P) == before
    assert rig.run(lambda: read(rig.engine, "a", 1)) == b"a" * 500


def test_a_lost_row_is_found_and_repaired(rig: SimRig) -> None:
    before = rig.engine.query(key("b"), partition=P)
    del table(rig, "rows")[encode_key(key("b"))]
    assert audit(rig) == []
    assert rig.engine.query(key("b"), partition=P) == before
    assert names(rig.engine) == [b"a", b"b", b"blob", b"c"]


def test_a_row_under_a_rotten_key_is_put_back_under_its_own(rig: SimRig) -> None:
    rows = table(rig, "rows")
    wrong = encode_key(key("zzz"))
    rows[wrong] = rows.pop(encode_key(key("b")))
    assert audit(rig) == []
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert names(rig.engine) == [b"a", b"b", b"blob", b"c"]
    assert wrong not in rows


@pytest.mark.parametrize("lost", [True, False])
def test_a_bad_shadow_is_written_again(rig: SimRig, lost: bool) -> None:
    shadows = table(rig, "partitions")
    if lost:
        del shadows[shadow_key(P, A)]
    else:
        flip(shadows, shadow_key(P, A))
    assert audit(rig) == []
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert rig.engine._state.shadow(A, P) is not None
    assert audit(rig) == []


def test_a_register_damaged_in_both_tables_is_found_by_a_search_of_the_packs(rig: SimRig) -> None:
    before = rig.engine.query(key("a"), partition=P)
    flip(table(rig, "rows"), A)
    flip(table(rig, "partitions"), shadow_key(P, A))
    with pytest.raises(DamagedRow):
        rig.run(lambda: rig.engine.merge(key("a"), partition=P, register=before, payload=b"a" * 500, floor=ZERO))
    assert audit(rig) == []
    assert rig.engine.query(key("a"), partition=P) == before


def test_a_row_damaged_in_index_and_journal_is_reported_until_others_heal_it(rig: SimRig) -> None:
    before = rig.engine.query(key("a"), partition=P)
    flip(table(rig, "rows"), A)
    at = bytes(pack(rig)).index(b"operation")
    pack(rig)[at] ^= 1
    damaged = audit(rig)
    assert [(i.key, i.register.accepted, i.partition) for i in damaged] == [(key("a"), ballot(1), P)]
    for attempt in (
        lambda: rig.engine.query_inline(key("a"), partition=P),
        lambda: rig.engine.prepare(key("a"), partition=P, ballot=ballot(20)),
    ):
        with pytest.raises(DamagedRow):
            rig.run(attempt)
    assert audit(rig) != []
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.merge(key("a"), partition=P, register=before, floor=ZERO))
    assert rig.run(lambda: rig.engine.merge(key("a"), partition=P, register=before, payload=b"a" * 500, floor=ZERO))
    assert rig.engine.query(key("a"), partition=P) == before
    assert audit(rig) == []
    assert rig.engine.stats().rows == 4
    assert rig.engine.bucket_counters(b"bucket-1") == (4, 1500 + len(DATA))


def test_a_damaged_row_keeps_its_promise_and_is_not_healed_by_an_older_row(rig: SimRig) -> None:
    """The packs are whole here, but the repair has not run yet: what the shadow knows already counts."""
    rig.run(lambda: put(rig.engine, "b", 5, b"five", partition=P))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    flip(table(rig, "rows"), encode_key(key("b")))
    rig.engine._state.noticed = lambda _: None
    old = Register(ZERO, ballot(1), b"")
    with pytest.raises(DamagedRow):
        rig.run(lambda: rig.engine.merge(key("b"), partition=P, register=old, floor=ZERO))


def test_an_accept_above_all_heals_a_damaged_row(rig: SimRig) -> None:
    flip(table(rig, "rows"), A)
    rig.engine._state.noticed = lambda _: None
    assert rig.run(lambda: put(rig.engine, "a", 7, b"x", partition=P)) == "no"  # the shadow knows of the promise of 8
    assert rig.run(lambda: put(rig.engine, "a", 9, b"nine", partition=P)) == "yes"
    assert rig.run(lambda: read(rig.engine, "a", 9)) == b"nine"
    assert rig.engine.stats().rows == 4


def test_a_damaged_payload_is_reported_and_healed_at_its_own_ballot(rig: SimRig) -> None:
    pack(rig)[bytes(pack(rig)).index(b"aaaa")] ^= 1
    with pytest.raises(DamagedBody):
        rig.run(lambda: read(rig.engine, "a", 1))
    damaged = audit(rig)
    register = rig.engine.query(key("a"), partition=P)
    assert damaged == [PartitionRow(key("a"), register, P)]
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.merge(key("a"), partition=P, register=register, floor=ZERO))
    assert rig.run(lambda: rig.engine.merge(key("a"), partition=P, register=register, payload=b"a" * 500, floor=ZERO))
    assert rig.run(lambda: read(rig.engine, "a", 1)) == b"a" * 500
    assert audit(rig) == []
    assert not rig.run(lambda: rig.engine.merge(key("a"), partition=P, register=register, payload=b"a" * 500, floor=ZERO))


def test_a_damaged_payload_is_healed_by_an_accept_at_its_own_ballot(rig: SimRig) -> None:
    pack(rig)[bytes(pack(rig)).index(b"bbbb")] ^= 1
    assert len(audit(rig)) == 1
    assert rig.run(lambda: put(rig.engine, "b", 1, b"b" * 500, partition=P)) == "yes"
    assert rig.run(lambda: read(rig.engine, "b", 1)) == b"b" * 500
    assert audit(rig) == []


@pytest.mark.parametrize("at", [0, 2000, -1, -100])
def test_a_damaged_blob_goes_to_quarantine_and_is_healed_by_staging_it_again(rig: SimRig, at: int) -> None:
    directory, _, name = blob_name(BLOB).rpartition("/")
    volume(rig).directories[directory][name].data[at] ^= 1
    damaged = audit(rig)
    register = rig.engine.query(key("blob"), partition=P)
    assert damaged == [PartitionRow(key("blob"), register, P)]
    assert list(volume(rig).directories["quarantine"]) == [BLOB.hex() + ".0"]
    with pytest.raises(DamagedBody):
        rig.run(lambda: read(rig.engine, "blob", 1))
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.merge(key("blob"), partition=P, register=register, floor=ZERO))

    async def stage() -> None:
        writer = await rig.engine.stage(BLOB, size=len(DATA))
        await writer.write(DATA)
        await writer.finish()

    rig.run(stage)
    assert rig.run(lambda: rig.engine.merge(key("blob"), partition=P, register=register, floor=ZERO))
    assert rig.run(lambda: read(rig.engine, "blob", 1)) == DATA
    assert audit(rig) == []


def test_a_row_whose_journal_record_rotted_is_written_again_so_that_a_rebuild_finds_it(rig: SimRig) -> None:
    at = bytes(pack(rig)).index(b"operation")  # in the row of "a"
    pack(rig)[at] ^= 1
    assert audit(rig) == []
    entry = rig.engine._state.get(A, P)
    assert entry is not None
    assert entry.offset > at
    assert rig.run(lambda: read(rig.engine, "a", 1)) == b"a" * 500


def test_entries_lost_from_both_tables_make_the_device_build_a_new_index(rig: SimRig) -> None:
    before = rig.engine.query(key("b"), partition=P)
    del table(rig, "rows")[encode_key(key("b"))]
    del table(rig, "partitions")[shadow_key(P, encode_key(key("b")))]
    assert audit(rig) == []
    assert rig.engine._device.generation == 2
    assert rig.engine.query(key("b"), partition=P) == before
    assert audit(rig) == []


def test_damage_found_while_listing_is_repaired_without_an_audit(rig: SimRig) -> None:
    flip(table(rig, "rows"), encode_key(key("c")))
    with pytest.raises(DamagedRow):
        rig.call(lambda: names(rig.engine))
    rig.run(lambda: asyncio.sleep(1))
    assert names(rig.engine) == [b"a", b"b", b"blob", b"c"]


def test_after_an_audit_the_device_opens_whatever_in_the_journal_was_damaged(rig: SimRig) -> None:
    start = len(pack(rig))
    rig.run(lambda: rig.engine.prepare(key("b"), partition=P, ballot=ballot(9)))
    rig.run(lambda: put(rig.engine, "c", 3, b"overwritten", partition=P))
    rig.run(lambda: put(rig.engine, "c", 4, b"the last", partition=P))
    damaged = volume(rig).directories["packs"]["0000000000000001.pack"]
    for content in (damaged.data, damaged.durable):
        content[start + 10] ^= 1  # of the promise, which no row's health depends upon
    assert audit(rig) == []
    rig.crash()
    assert rig.engine.query(key("b"), partition=P).promised == ballot(9)
    assert rig.run(lambda: read(rig.engine, "c", 4)) == b"the last"


def test_an_audit_writes_a_damaged_identity_again_but_none_that_is_gone(rig: SimRig) -> None:
    identity = volume(rig).directories[""]["identity"]
    before = bytes(identity.data)
    identity.data[20] ^= 1
    identity.durable[20] ^= 1
    audit(rig)
    assert bytes(volume(rig).directories[""]["identity"].data) == before
    del volume(rig).directories[""]["identity"]
    audit(rig)
    assert "identity" not in volume(rig).directories[""]


def test_an_audit_writes_a_damaged_header_of_a_pack_again_also_when_its_first_record_is_dead_and_damaged(rig: SimRig) -> None:
    audit(rig)  # a checkpoint: what lies before it is not replayed
    packs = volume(rig).directories["packs"]
    file = packs["0000000000000001.pack"]
    header = bytes(file.data[:64])
    for at in (29, 70):
        file.data[at] ^= 1
        file.durable[at] ^= 1
    audit(rig)
    assert bytes(file.data[:32]) == header[:32]
    rig.crash()
    rig.reopen()


@pytest.mark.parametrize("lose", [False, True])
def test_an_audit_writes_damaged_totals_again(rig: SimRig, lose: bool) -> None:
    audit(rig)
    meta = table(rig, "meta")
    for name in sorted(meta):
        value = meta.pop(name)
        if not lose:
            meta[name[:-1] + b"~"] = value  # the key itself rotted
    if not lose:
        meta[b"totals"] = b"rot"
    audit(rig)
    rig.crash()
    assert names(rig.engine) == [b"a", b"b", b"blob", b"c"]
    assert list(volume(rig).kv_stores) == ["index-1"]


@pytest.mark.parametrize("is_head", [True, False])
def test_a_version_that_is_counted_wrongly_is_counted_anew(rig: SimRig, is_head: bool) -> None:
    """As a device may have it whose batch was torn apart by a release that did not tie records."""
    for number, of in ((10, 10), (11, 11), (12, 10)):
        at, head = ballot(number), row(ballot(number), b"data", version=ballot(of).hex())
        rig.run(lambda at=at, head=head: rig.engine.accept(key("v"), partition=P, ballot=at, row=head, payload=b"data"))
    counted = rig.engine.version_counters(BUCKET)
    assert counted == (1, 4)
    wrong = encode_key(key("v", ballot(10 if is_head else 11), space=Space.VERSIONS))
    state = rig.engine._state
    entry = state.get(wrong, P)
    assert entry is not None
    assert bool(entry.flags & SHADOWED) is is_head
    state.put(wrong, entry, msgspec.structs.replace(entry, flags=entry.flags ^ SHADOWED), counted=False)
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert rig.engine.version_counters(BUCKET) == ((2, 8) if is_head else (0, 0))
    assert audit(rig) == []
    assert rig.engine.version_counters(BUCKET) == counted
    rig.crash()
    assert rig.engine.version_counters(BUCKET) == counted
    rig.run(rig.engine.close)
    assert fsck(rig.host.world(), DIRECTORY)["clean"]


def test_what_is_overwritten_and_checkpointed_while_rows_are_looked_at_stays_overwritten(rig: SimRig) -> None:
    """The walk reads a slice of entries and then waits for the disk at each: one that is old by then must not come back."""
    for number in range(50):
        rig.run(lambda number=number: put(rig.engine, f"k{number}", 1, b"x" * 500, partition=P))
    rig.run(lambda: put(rig.engine, "z", 1, b"old", partition=P))
    rig.run(lambda: rig.engine.maintain("checkpoint"))

    async def overwrite_meanwhile() -> None:
        walk = asyncio.get_running_loop().create_task(rig.engine.audit(b"r" + A, budget_bytes=1 << 20))
        await asyncio.sleep(0.01)  # it has read the slice, and waits for the bytes of the first row
        await put(rig.engine, "z", 7, b"new", partition=P)
        await rig.engine.maintain("checkpoint")
        assert not walk.done()
        await walk

    volume(rig).slow_s = 0.1
    rig.run(overwrite_meanwhile)
    assert rig.engine._device.generation == 1  # else sums did not add up, and the index was built anew
    assert rig.engine.query(key("z"), partition=P).accepted == ballot(7)
