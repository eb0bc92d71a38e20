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


def test_what_was_foreseen_is_recalled_once_without_a_look_into_the_index() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "a", 1, b"x"))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    state, there, absent = rig.engine._state, encode_key(key("a")), encode_key(key("b"))
    entry = state.foresee(there, 0)
    assert entry is not None
    assert state.foresee(absent, 0) is None
    looked: list[bytes] = []
    state.get_from_index = lambda index_key, _: looked.append(index_key)  # type: ignore[assignment,method-assign,func-returns-value]
    assert state.recall(there, 0) is entry
    assert state.recall(absent, 0) is None
    assert looked == []
    state.recall(there, 0)
    assert looked == [there]


def test_what_was_put_since_it_was_foreseen_is_recalled_also_behind_a_checkpoint() -> None:
    rig = SimRig()
    state, index_key = rig.engine._state, encode_key(key("a"))
    assert state.foresee(index_key, 0) is None
    rig.run(lambda: put(rig.engine, "b", 1, b"x"))
    state.foreseen[index_key] = 0, None  # as if it had been asked for again
    rig.run(lambda: put(rig.engine, "a", 1, b"x"))
    assert state.foresee(index_key, 0) is not None
    state.foreseen[index_key] = 0, None
    found = state.recall(index_key, 0)
    assert found is not None
    assert found.accepted == ballot(1)
    state.foreseen[index_key] = 0, None
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert state.foreseen == {}
    found = state.recall(index_key, 0)
    assert found is not None
    assert found.accepted == ballot(1)


def test_what_was_foreseen_of_another_partition_does_not_count_and_few_are_kept() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "a", 1, b"x"))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    state, index_key = rig.engine._state, encode_key(key("a"))
    state.foreseen[index_key] = 7, None
    assert state.recall(index_key, 0) is not None
    for number in range(2000):
        state.foresee(encode_key(key(f"n{number}")), 0)
    assert len(state.foreseen) <= 256
