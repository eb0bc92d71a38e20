"""What each operation does to one register, beyond the pure rules: bodies, floors, reclaiming, dropping, merging."""

import pytest

from objstore.core.rows import EMPTY, Kind, Register
from objstore.core.timestamp import ZERO
from objstore.errors import DamagedBody
from objstore.node.engine.api import BodyMissing
from objstore.wire.messages import AcceptAnswer, PartitionRow
from tests.support.engine_rig import SimRig, ballot, delete, key, put, put_blob, read, row, tombstone

K = key("k")
BLOB = b"b" * 16


@pytest.fixture
def rig() -> SimRig:
    return SimRig()


def test_an_absent_register_is_empty(rig: SimRig) -> None:
    assert rig.engine.query(K, partition=0) == EMPTY


def test_superseded_names_the_base_of_what_stands_above(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(9), row=row(ballot(9), b"", base=ballot(3)), payload=b""))
    answer = rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(5), row=row(ballot(5), b""), payload=b""))
    assert answer == AcceptAnswer("superseded", ballot(9), ballot(3))


def test_no_names_the_promise_that_stands_in_the_way(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.prepare(K, partition=0, ballot=ballot(9)))
    answer = rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(5), row=row(ballot(5), b""), payload=b""))
    assert answer == AcceptAnswer("no", ballot(9))
    assert rig.engine.query(K, partition=0) == Register(ballot(9))


def test_an_inline_row_without_its_bytes_is_body_missing(rig: SimRig) -> None:
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(1), row=row(ballot(1), b"bytes")))
    assert rig.engine.query(K, partition=0) == EMPTY


def test_bytes_are_not_missed_by_a_row_that_is_not_stored(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 9, b"nine"))
    answer = rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(1), row=row(ballot(1), b"bytes")))
    assert answer.verdict == "superseded"


def test_a_payload_that_is_not_the_rows_is_refused(rig: SimRig) -> None:
    for wrong in (b"bytez", b"byte", b""):
        with pytest.raises(DamagedBody):
            rig.run(lambda wrong=wrong: rig.engine.accept(K, partition=0, ballot=ballot(1), row=row(ballot(1), b"bytes"), payload=wrong))


def test_a_row_proposed_again_keeps_the_bytes_that_are_here(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"bytes"))
    answer = rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(2), row=row(ballot(1), b"bytes")))
    assert answer.verdict == "yes"
    assert rig.run(lambda: read(rig.engine, "k", 1)) == b"bytes"


def test_a_head_that_becomes_a_version_and_a_version_that_becomes_the_head_keep_their_bytes(rig: SimRig) -> None:
    first = ballot(1).hex()
    rig.run(lambda: put(rig.engine, "k", 1, b"first", version=first))
    rig.run(lambda: put(rig.engine, "k", 2, b"second", version=ballot(2).hex()))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert rig.run(lambda: read(rig.engine, key("k", ballot(1), space=3), 1)) == b"first"
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(3), row=row(ballot(3), b"first", version=first)))
    assert rig.run(lambda: read(rig.engine, "k", 3)) == b"first"


def test_bytes_of_another_write_of_the_key_are_not_taken(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"bytes"))
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(2), row=row(ballot(2), b"bytes")))


def test_a_blob_row_needs_its_blob(rig: SimRig) -> None:
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(1), row=row(ballot(1), blob=BLOB, size=3)))
    assert rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, b"abc")) == "yes"
    assert rig.run(lambda: read(rig.engine, "k", 1)) == b"abc"


def test_a_blob_staged_before_a_restart_is_found(rig: SimRig) -> None:
    async def stage() -> None:
        writer = await rig.engine.stage(BLOB, size=-1)
        await writer.write(b"abc")
        await writer.finish()

    rig.run(stage)
    rig.crash()
    answer = rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(1), row=row(ballot(1), blob=BLOB, size=3)))
    assert answer.verdict == "yes"


def test_a_promise_survives_a_power_cut(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.prepare(K, partition=0, ballot=ballot(3)))
    rig.run(lambda: put(rig.engine, "l", 1, b"x"))
    rig.run(lambda: rig.engine.prepare(key("l"), partition=0, ballot=ballot(4)))
    rig.crash()
    assert rig.engine.query(K, partition=0) == Register(ballot(3))
    assert rig.engine.query(key("l"), partition=0).promised == ballot(4)


# -- reclaim, drop ---------------------------------------------------------------------------------------------------


def test_a_tombstone_is_reclaimed_only_at_its_ballot_and_leaves_a_floor(rig: SimRig) -> None:
    rig.run(lambda: delete(rig.engine, "k", 5, partition=7))
    for wrong in (4, 6):
        assert not rig.run(lambda wrong=wrong: rig.engine.reclaim(K, partition=7, ballot=ballot(wrong)))
    assert rig.engine.floor(7) == ZERO
    assert rig.run(lambda: rig.engine.reclaim(K, partition=7, ballot=ballot(5)))
    assert rig.engine.query(K, partition=7) == Register(ballot(5))
    assert rig.engine.query(key("other"), partition=7) == Register(ballot(5))
    assert rig.engine.query(key("other"), partition=8) == EMPTY
    rig.crash()
    assert rig.engine.floor(7) == ballot(5)
    late = rig.run(lambda: rig.engine.accept(K, partition=7, ballot=ballot(4), row=row(ballot(4), b""), payload=b""))
    assert late.verdict == "no"


def test_what_is_no_tombstone_is_not_reclaimed(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 5, b"x"))
    assert not rig.run(lambda: rig.engine.reclaim(K, partition=0, ballot=ballot(5)))
    marker = row(ballot(6), kind=Kind.DELETE_MARKER)
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(6), row=marker))
    assert not rig.run(lambda: rig.engine.reclaim(K, partition=0, ballot=ballot(6)))


def test_a_tombstone_under_a_higher_promise_stays_since_the_floor_would_not_keep_that_promise(rig: SimRig) -> None:
    rig.run(lambda: delete(rig.engine, "k", 5))
    rig.run(lambda: rig.engine.prepare(K, partition=0, ballot=ballot(9)))
    assert not rig.run(lambda: rig.engine.reclaim(K, partition=0, ballot=ballot(5)))
    assert rig.engine.query(K, partition=0).promised == ballot(9)


def test_reclaiming_what_is_absent_raises_the_floor_all_the_same(rig: SimRig) -> None:
    assert rig.run(lambda: rig.engine.reclaim(K, partition=3, ballot=ballot(5)))
    assert rig.engine.floor(3) == ballot(5)
    assert rig.run(lambda: rig.engine.reclaim(K, partition=3, ballot=ballot(4)))
    assert rig.engine.floor(3) == ballot(5)


def test_drop_forgets_what_still_matches_and_raises_no_floor(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 5, b"x"))
    rig.run(lambda: put(rig.engine, "l", 6, b"x"))
    items = [
        PartitionRow(K, Register(ZERO, ballot(5))),
        PartitionRow(key("l"), Register(ZERO, ballot(5))),
        PartitionRow(key("absent"), Register()),
    ]
    assert rig.run(lambda: rig.engine.drop(items, partition=0)) == 1
    assert rig.engine.query(K, partition=0) == EMPTY
    assert rig.engine.query(key("l"), partition=0).accepted == ballot(6)
    rig.crash()
    assert rig.engine.query(K, partition=0) == EMPTY


# -- merge -----------------------------------------------------------------------------------------------------------


def merge(rig: SimRig, register: Register, payload: bytes | None = None, floor: int = 0) -> bool:
    return rig.run(lambda: rig.engine.merge(K, partition=0, register=register, payload=payload, floor=ballot(floor) if floor else ZERO))


def test_merge_takes_a_higher_row_promise_and_floor(rig: SimRig) -> None:
    assert merge(rig, Register(ballot(7), ballot(5), row(ballot(5), b"five")), b"five", floor=3)
    assert rig.engine.query(K, partition=0) == Register(ballot(7), ballot(5), row(ballot(5), b"five"))
    assert rig.engine.floor(0) == ballot(3)
    assert not merge(rig, Register(ballot(7), ballot(5), row(ballot(5), b"five")), b"five", floor=3)
    assert not merge(rig, Register(ballot(6), ballot(4), row(ballot(4), b"four")), b"four", floor=2)


def test_merge_respects_a_promise_above_the_row(rig: SimRig) -> None:
    """A proposer may have judged a condition here without that row."""
    rig.run(lambda: rig.engine.prepare(K, partition=0, ballot=ballot(9)))
    assert not merge(rig, Register(ballot(5), ballot(5), row(ballot(5), b"five")), b"five")
    assert rig.engine.query(K, partition=0) == Register(ballot(9))
    assert merge(rig, Register(ballot(10), ballot(5), row(ballot(5), b"five")), b"five")
    assert rig.engine.query(K, partition=0) == Register(ballot(10))


def test_merge_of_nothing_but_a_floor_makes_no_register(rig: SimRig) -> None:
    assert merge(rig, EMPTY, floor=3)
    assert not merge(rig, EMPTY, floor=3)
    assert rig.engine.stats().rows == 0
    assert rig.engine.query(K, partition=0) == Register(ballot(3))


def test_merge_of_a_promise_onto_nothing_keeps_it(rig: SimRig) -> None:
    assert merge(rig, Register(ballot(4)))
    rig.crash()
    assert rig.engine.query(K, partition=0) == Register(ballot(4))


def test_merge_without_the_bytes_is_body_missing(rig: SimRig) -> None:
    with pytest.raises(BodyMissing):
        merge(rig, Register(ZERO, ballot(5), row(ballot(5), b"five")))
    with pytest.raises(BodyMissing):
        merge(rig, Register(ZERO, ballot(5), row(ballot(5), blob=BLOB, size=3)))
    assert merge(rig, Register(ZERO, ballot(5), tombstone(ballot(5))))


def test_notes_are_kept_changed_and_removed(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.set_notes({"epoch": b"7", "sync": b"x"}))
    rig.run(lambda: rig.engine.set_notes({"epoch": b"8", "sync": None, "absent": None}))
    rig.crash()
    assert (rig.engine.note("epoch"), rig.engine.note("sync"), rig.engine.note("absent")) == (b"8", None, None)
