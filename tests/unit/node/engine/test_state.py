from objstore.core.timestamp import ZERO
from objstore.node.engine.keys import encode_key
from objstore.node.engine.state import weight
from tests.support.engine_rig import SimRig, ballot, delete, key, put, put_blob

BLOB = b"b" * 16


def test_live_bytes_of_a_pack_are_those_of_its_registers() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "a", 1, b"x" * 100))
    rig.run(lambda: put(rig.engine, "b", 1, b"x" * 200))
    state = rig.engine._state
    entries = [state.get(encode_key(key(name))) for name in "ab"]
    assert state.live[1] == sum(weight(entry) for entry in entries if entry is not None)
    rig.run(lambda: delete(rig.engine, "a", 2))
    rig.run(lambda: rig.engine.reclaim(key("a"), partition=0, ballot=ballot(2)))
    assert entries[1] is not None
    assert state.live[1] == weight(entries[1])


def test_the_highest_ballot_ever_seen_is_remembered() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "a", 5, b""))
    rig.run(lambda: rig.engine.prepare(key("a"), partition=0, ballot=ballot(9)))
    rig.run(lambda: put(rig.engine, "b", 7, b""))
    assert rig.engine._state.totals.highest == ballot(9)
    rig.reopen()
    assert rig.engine._state.totals.highest == ballot(9)


def test_names_of_blobs_are_counted_over_memtable_and_index() -> None:
    rig = SimRig()
    state = rig.engine._state
    assert not state.is_named(BLOB)
    rig.run(lambda: put_blob(rig.engine, "a", 1, BLOB, b"x"))
    assert state.is_named(BLOB)
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert state.is_named(BLOB)
    rig.run(lambda: put(rig.engine, "a", 2, b""))
    assert not state.is_named(BLOB)
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert not state.is_named(BLOB)
    assert list(state.purge) == [BLOB]


def test_a_suspect_is_told_of_once_and_forgotten_when_healed() -> None:
    rig = SimRig()
    state = rig.engine._state
    told: list[bytes] = []
    state.noticed = told.append
    state.suspect(b"k")
    state.suspect(b"k")
    state.suspect(b"k", 3)  # now its partition is known: worth another look
    state.suspect(b"k", 3)
    assert told == [b"k", b"k"]
    assert state.suspects == {b"k": 3}
    state.healed(b"k")
    assert state.suspects == {}


def test_floors_only_rise() -> None:
    rig = SimRig()
    state = rig.engine._state
    state.set_floor(1, ballot(5))
    state.set_floor(1, ballot(3))
    assert state.floors == {1: ballot(5)}
    assert state.floors.get(2, ZERO) == ZERO
