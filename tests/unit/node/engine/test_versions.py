"""Registers of noncurrent versions on one device: what heads leave behind, and what is stored under version keys."""

import dataclasses

import pytest

from objstore.core.rows import EMPTY, Kind, Register, RowKey, Space, decode_row
from objstore.core.timestamp import ZERO
from objstore.errors import InvalidArgument, NoSuchVersion
from objstore.node.engine import index
from objstore.node.engine.fsck import fsck
from objstore.node.engine.keys import encode_key
from objstore.node.engine.scrub import _rewrite
from objstore.wire.messages import AcceptAnswer
from tests.support.engine_rig import BUCKET, DIRECTORY, SMALL, SimRig, ballot, key, put, put_blob, read, row

K = key("k")


@pytest.fixture
def rig() -> SimRig:
    return SimRig()


def version(number: int) -> RowKey:
    return key("k", ballot(number), space=Space.VERSIONS)


NULL = key("k", space=Space.VERSIONS)


def put_version(rig: SimRig, number: int, payload: bytes = b"", **more: object) -> str:
    return rig.run(lambda: put(rig.engine, "k", number, payload, version=ballot(number).hex(), **more))


def gone(number: int, of: int | None) -> bytes:
    return row(ballot(number), kind=Kind.TOMBSTONE, version="" if of is None else ballot(of).hex())


def stored(rig: SimRig) -> dict[RowKey, Register]:
    items, _ = rig.engine.partition_rows(0, cursor=b"", limit=1000, rows=True)
    return {item.key: item.register for item in items}


# -- what heads leave behind -----------------------------------------------------------------------------------------


def test_a_head_that_is_replaced_by_another_version_is_kept_with_its_bytes_in_place(rig: SimRig) -> None:
    put_version(rig, 1, b"first" * 100)
    size = sum(rig.engine._device.packs.sizes.values())
    put_version(rig, 2, b"x")
    assert sum(rig.engine._device.packs.sizes.values()) - size < 2 * 500  # nothing is copied
    assert rig.engine.query(version(1), partition=0).accepted == ballot(1)
    for crash in (False, True):
        if crash:
            rig.crash()
        assert rig.run(lambda: read(rig.engine, version(1), 1)) == b"first" * 100
        assert rig.run(lambda: read(rig.engine, "k", 2)) == b"x"
    assert rig.engine.version_counters(BUCKET) == (1, 500)


def totals(rig: SimRig) -> tuple[int, int, int, int]:
    return (*rig.engine.bucket_counters(BUCKET), *rig.engine.version_counters(BUCKET))


@pytest.mark.parametrize("size", [0, 7])
def test_a_version_that_becomes_the_head_again_is_counted_once(rig: SimRig, size: int) -> None:
    put_version(rig, 1, bytes(size))
    put_version(rig, 2, bytes(2 * size))
    assert totals(rig) == (1, 2 * size, 1, size)

    def promote(number: int, to: int, of: int) -> None:
        again = row(ballot(number), bytes(to * size), version=ballot(to).hex(), effects=(gone(number, of),))
        answer = rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(number), row=again))
        assert answer.verdict == "yes"

    promote(3, 1, of=2)
    for crash in (False, True):
        if crash:
            rig.crash()
        assert totals(rig) == (1, size, 0, 0)
        assert rig.run(lambda: read(rig.engine, K, 3)) == bytes(size)
    put_version(rig, 4, bytes(4 * size))
    assert totals(rig) == (1, 4 * size, 1, size)
    promote(5, 1, of=4)
    assert totals(rig) == (1, size, 0, 0)
    tombstone = row(ballot(6), kind=Kind.TOMBSTONE, effects=(gone(6, 1),))
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(6), row=tombstone))
    assert totals(rig) == (0, 0, 0, 0)
    rig.run(rig.engine.close)
    assert fsck(rig.host.world(), DIRECTORY)["clean"]


def test_a_version_that_comes_while_it_is_the_head_is_not_counted(rig: SimRig) -> None:
    put_version(rig, 1, b"data")
    rig.run(
        lambda: rig.engine.accept(
            version(1), partition=0, ballot=ballot(2), row=row(ballot(1), b"data", version=ballot(1).hex()), payload=b"data"
        )
    )
    assert version(1) in stored(rig)
    assert totals(rig) == (1, 4, 0, 0)
    put_version(rig, 3, b"other")
    assert totals(rig) == (1, 5, 1, 4)


def test_what_is_written_again_where_it_lies_is_still_counted_once() -> None:
    """Compaction and repair write records again: a version that is the head too stays that."""
    rig = SimRig(settings=dataclasses.replace(SMALL, pack_size_bytes=4000, checkpoint_rows=1 << 20))
    put_version(rig, 1, b"one" * 20)
    put_version(rig, 2, b"two" * 20)
    again = row(ballot(3), b"one" * 20, version=ballot(1).hex(), effects=(gone(3, 2),))
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(3), row=again))
    for number in range(30):
        rig.run(lambda number=number: put(rig.engine, "other", number + 1, b"x" * 1000))
    before = totals(rig)
    assert before[2:] == (0, 0)
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    moved, more = 0, True
    while more:
        counts, more = rig.run(lambda: rig.engine.maintain("compact"))
        moved += counts["records"]
    assert moved
    assert totals(rig) == before
    index_key = encode_key(version(1))
    entry = rig.engine._state.get(index_key, 0)
    assert entry is not None
    rig.run(lambda: rig.engine._device.committer.submit(_rewrite, index_key, entry, b"one" * 20))
    assert totals(rig) == before


def test_a_row_of_a_bucket_that_never_had_versions_leaves_nothing(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"first"))
    rig.run(lambda: put(rig.engine, "k", 2, b"second"))
    assert list(stored(rig)) == [K]


def test_the_null_version_is_kept_below_the_first_version_with_an_id(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"null"))
    put_version(rig, 2)
    assert rig.run(lambda: read(rig.engine, NULL, 1)) == b"null"


def test_a_null_version_over_a_version_removes_the_null_version_before_it(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"null"))
    put_version(rig, 2)
    rig.run(lambda: put(rig.engine, "k", 3, b"null again", effects=(gone(3, None),)))
    assert decode_row(rig.engine.query(NULL, partition=0).row).origin == ballot(3)
    put_version(rig, 4)
    assert rig.run(lambda: read(rig.engine, NULL, 3)) == b"null again"
    with pytest.raises(NoSuchVersion):
        rig.run(lambda: read(rig.engine, NULL, 1))


def test_a_superseded_plain_write_is_kept_and_still_superseded(rig: SimRig) -> None:
    put_version(rig, 5, b"five")
    assert put_version(rig, 3, b"three") == "superseded"
    assert rig.run(lambda: read(rig.engine, version(3), 3)) == b"three"


def test_a_superseded_row_that_does_not_count_as_done_is_not_kept(rig: SimRig) -> None:
    put_version(rig, 5, b"five", base=ballot(2))
    assert put_version(rig, 3, b"three") == "superseded"
    assert version(3) not in stored(rig)


def test_a_superseded_row_is_refused_while_a_proposer_was_promised_more(rig: SimRig) -> None:
    put_version(rig, 5)
    rig.run(lambda: rig.engine.prepare(K, partition=0, ballot=ballot(9)))
    assert put_version(rig, 3) == "no"
    assert version(3) not in stored(rig)


def test_an_effect_removes_a_version_together_with_the_head(rig: SimRig) -> None:
    put_version(rig, 1, b"one")
    put_version(rig, 2, effects=(gone(2, 1),))
    assert decode_row(rig.engine.query(version(1), partition=0).row).kind == Kind.TOMBSTONE
    assert rig.engine.version_counters(BUCKET) == (0, 0)


def test_counts_of_versions_outlive_the_restatement_of_all_totals(rig: SimRig) -> None:
    put_version(rig, 1, b"one")
    put_version(rig, 2, b"two")
    rig.reopen()  # all is in the index, and nothing changes there but what a scrub makes it write anew
    rig.call(rig.engine._state.restate)
    rig.run(rig.engine._device.checkpoint)
    assert rig.call(lambda: index.load(rig.engine._state.kv)).versions == {BUCKET: (1, 3)}


def test_delete_markers_are_counted_apart_also_by_who_has_to_count_them_anew(rig: SimRig) -> None:
    put_version(rig, 1, b"one")
    marker = row(ballot(2), kind=Kind.DELETE_MARKER, version=ballot(2).hex())
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(2), row=marker))
    assert rig.engine.version_counters(BUCKET) == (1, 3)
    assert rig.engine.marker_counters(BUCKET) == (1, 0)
    put_version(rig, 3, b"three")
    assert rig.engine.version_counters(BUCKET) == (2, 3)
    assert rig.engine.marker_counters(BUCKET) == (0, 1)
    rig.crash()
    assert rig.engine.marker_counters(BUCKET) == (0, 1)
    rig.reopen()
    assert rig.engine.marker_counters(BUCKET) == (0, 1)
    state = rig.engine._state
    state.markers.clear()
    rig.call(lambda: index._count_markers(state))  # as for an index from before they were counted
    assert rig.engine.marker_counters(BUCKET) == (0, 1)
    put_version(rig, 4, effects=(gone(4, 2),))
    assert rig.engine.marker_counters(BUCKET) == (0, 0)


def test_an_effect_changes_metadata_and_keeps_the_bytes(rig: SimRig) -> None:
    put_version(rig, 1, b"one")
    put_version(rig, 2)
    changed = row(ballot(3), b"one", version=ballot(1).hex(), tags={"a": "b"})
    put_version(rig, 3, effects=(changed,))
    assert decode_row(rig.engine.query(version(1), partition=0).row).tags == {"a": "b"}
    assert rig.run(lambda: read(rig.engine, version(1), 3)) == b"one"
    assert rig.run(lambda: read(rig.engine, version(1), 1)) == b"one"  # bytes of a version do not change


def test_who_lacks_the_bytes_of_an_effect_answers_no(rig: SimRig) -> None:
    changed = row(ballot(3), b"one", version=ballot(1).hex())
    assert put_version(rig, 3, effects=(changed,)) == "no"
    assert stored(rig) == {}


def test_a_head_as_late_as_the_reclaim_floor_is_refused(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"old"))
    rig.run(lambda: rig.engine.raise_floor(0, ballot(9)))
    assert put_version(rig, 5) == "no"
    assert put_version(rig, 10) == "yes"


def test_a_version_that_becomes_the_head_needs_no_bytes(rig: SimRig) -> None:
    put_version(rig, 1, b"one" * 50)
    put_version(rig, 2)
    size = sum(rig.engine._device.packs.sizes.values())
    back = row(ballot(3), b"one" * 50, version=ballot(1).hex(), effects=(gone(3, 2),))
    assert rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(3), row=back)).verdict == "yes"
    assert sum(rig.engine._device.packs.sizes.values()) > size
    assert rig.run(lambda: read(rig.engine, "k", 3)) == b"one" * 50
    assert decode_row(rig.engine.query(version(2), partition=0).row).kind == Kind.TOMBSTONE


def test_a_blob_is_purged_only_when_no_version_names_it(rig: SimRig) -> None:
    blob = b"b" * 16
    rig.run(lambda: put_blob(rig.engine, "k", 1, blob, b"data" * 100))
    put_version(rig, 2)
    rig.run(lambda: rig.engine.maintain("purge"))
    assert rig.run(lambda: read(rig.engine, NULL, 1)) == b"data" * 100
    put_version(rig, 3, effects=(gone(3, None),))
    assert rig.run(lambda: rig.engine.maintain("purge"))[0] == {"blobs": 1, "bytes": 480}


# -- packs -----------------------------------------------------------------------------------------------------------


def test_compaction_moves_what_versions_live_off(rig: SimRig) -> None:
    put_version(rig, 1, b"one" * 1000)
    put_version(rig, 2, b"two" * 1000)
    for number in range(3, 40):
        rig.run(lambda number=number: put(rig.engine, "other", number, b"fill" * 500))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    while rig.run(lambda: rig.engine.maintain("compact"))[1]:
        pass
    assert 1 not in rig.engine._device.packs.sizes
    assert rig.run(lambda: read(rig.engine, version(1), 1)) == b"one" * 1000
    rig.run(rig.engine.close)
    rig.host.storage.volume("/disks/a")[0].kv_stores.clear()
    rig.open()
    assert rig.run(lambda: read(rig.engine, version(1), 1)) == b"one" * 1000
    assert rig.run(lambda: rig.engine.audit(b"", budget_bytes=10**9)).damaged == []


# -- under version keys ----------------------------------------------------------------------------------------------


def test_the_head_answers_for_its_version(rig: SimRig) -> None:
    put_version(rig, 5, b"five")
    assert rig.engine.query(version(5), partition=0) == Register(ZERO, ballot(5), rig.engine.query(K, partition=0).row)
    assert rig.engine.query(version(4), partition=0) == EMPTY
    assert rig.engine.query(version(5), partition=0, stored=True) == EMPTY, "nothing lies under its own key"
    assert rig.run(lambda: read(rig.engine, version(5), 5)) == b"five"
    assert rig.run(lambda: rig.engine.query_inline(version(5), partition=0))[1] == b"five"


def test_a_replaced_head_is_still_found_under_its_old_key(rig: SimRig) -> None:
    put_version(rig, 5, b"five")
    put_version(rig, 6, b"six")
    assert rig.run(lambda: read(rig.engine, "k", 5)) == b"five"


def test_the_row_of_higher_origin_wins_whatever_the_ballots(rig: SimRig) -> None:
    put_version(rig, 1, b"one")
    put_version(rig, 2, effects=(gone(2, 1),))
    late = rig.run(
        lambda: rig.engine.accept(
            version(1), partition=0, ballot=ballot(9), row=row(ballot(1), b"one", version=ballot(1).hex()), payload=b"one"
        )
    )
    assert late.verdict == "superseded"


def test_an_unknown_version_below_the_floor_is_taken_at_a_fresh_ballot_only(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.raise_floor(0, ballot(5)))
    encoded = row(ballot(1), b"one", version=ballot(1).hex())
    for register in (Register(ZERO, ballot(1), encoded), Register(ZERO, ballot(9), encoded)):
        assert not rig.run(lambda r=register: rig.engine.merge(version(1), partition=0, register=r, payload=b"one", floor=ZERO))
    low = rig.run(lambda: rig.engine.accept(version(1), partition=0, ballot=ballot(4), row=encoded, payload=b"one"))
    assert low == AcceptAnswer("no", ballot(5))
    fresh = rig.run(lambda: rig.engine.accept(version(1), partition=0, ballot=ballot(6), row=encoded, payload=b"one"))
    assert fresh.verdict == "yes"
    assert rig.run(lambda: read(rig.engine, version(1), 1)) == b"one"


def test_an_open_promise_of_the_head_keeps_lower_ballots_out_and_is_raised_by_higher_ones(rig: SimRig) -> None:
    put_version(rig, 5)
    rig.run(lambda: rig.engine.prepare(K, partition=0, ballot=ballot(9)))
    encoded = row(ballot(1), b"", version=ballot(1).hex())
    assert rig.engine.query(version(1), partition=0).promised == ballot(9)
    for number, verdict in ((8, "no"), (9, "yes"), (12, "yes")):
        answer = rig.run(lambda number=number: rig.engine.accept(version(1), partition=0, ballot=ballot(number), row=encoded, payload=b""))
        assert answer.verdict == verdict
    assert rig.engine.query(K, partition=0).promised == ballot(12)
    assert not rig.run(
        lambda: rig.engine.merge(
            version(2),
            partition=0,
            register=Register(ZERO, ballot(2), row(ballot(2), b"", version=ballot(2).hex())),
            payload=b"",
            floor=ZERO,
        )
    )


def test_bytes_that_the_head_has_are_not_asked_for(rig: SimRig) -> None:
    put_version(rig, 5, b"five" * 10)
    head = rig.engine.query(K, partition=0)
    answer = rig.run(lambda: rig.engine.accept(version(5), partition=0, ballot=ballot(7), row=head.row))
    assert answer.verdict == "yes"
    assert stored(rig)[version(5)].accepted == ballot(7)
    put_version(rig, 8)
    assert rig.run(lambda: read(rig.engine, version(5), 5)) == b"five" * 10


def test_a_tombstone_of_the_head_is_not_reclaimed(rig: SimRig) -> None:
    put_version(rig, 5)
    dead = row(ballot(6), kind=Kind.TOMBSTONE, version=ballot(5).hex())
    assert rig.run(lambda: rig.engine.accept(version(5), partition=0, ballot=ballot(6), row=dead)).verdict == "yes"
    assert not rig.run(lambda: rig.engine.reclaim(version(5), partition=0, ballot=ballot(6)))
    put_version(rig, 7)
    assert decode_row(rig.engine.query(version(5), partition=0).row).kind == Kind.TOMBSTONE
    assert rig.run(lambda: rig.engine.reclaim(version(5), partition=0, ballot=ballot(6)))


def test_a_tombstone_of_the_null_version_stays_while_the_head_says_that_it_is_gone(rig: SimRig) -> None:
    assert rig.run(lambda: rig.engine.accept(NULL, partition=0, ballot=ballot(5), row=gone(5, None))).verdict == "yes"
    rig.run(lambda: rig.engine.accept(K, partition=0, ballot=ballot(7), row=gone(7, None)))
    assert not rig.run(lambda: rig.engine.reclaim(NULL, partition=0, ballot=ballot(5)))
    put_version(rig, 8)  # and stores its own there
    assert rig.run(lambda: rig.engine.reclaim(NULL, partition=0, ballot=stored(rig)[NULL].accepted))


def test_nothing_is_promised_and_nothing_is_nothing_under_a_version_key(rig: SimRig) -> None:
    with pytest.raises(InvalidArgument):
        rig.run(lambda: rig.engine.prepare(version(5), partition=0, ballot=ballot(6)))
    with pytest.raises(InvalidArgument):
        rig.run(lambda: rig.engine.accept(version(5), partition=0, ballot=ballot(6), row=b""))
    with pytest.raises(InvalidArgument):
        rig.run(lambda: rig.engine.accept(version(5), partition=0, ballot=ballot(6), row=row(ballot(6), version=ballot(4).hex())))


def test_the_newest_versions_come_in_order_without_tombstones(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"null"))
    for number in range(2, 8):
        put_version(rig, number)
    put_version(rig, 8, effects=(gone(8, 6),))

    def newest(limit: int, below: bytes = b"") -> list[bytes]:
        return [found.version for found in rig.engine.newest(K, partition=0, below=below, limit=limit)]

    assert newest(2) == [b"", ballot(7), ballot(5)]
    assert newest(9, below=ballot(5)) == [b"", ballot(4), ballot(3), ballot(2)]
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert newest(1) == [b"", ballot(7)]


def test_a_deletion_from_before_versioning_is_told_of_the_null_version_for_ever(rig: SimRig) -> None:
    """Else a replica that missed it makes a noncurrent version of what was deleted, and a read believes it."""
    rig.run(lambda: put(rig.engine, "k", 1, b"deleted"))
    rig.run(lambda: put(rig.engine, "k", 2, kind=Kind.TOMBSTONE))
    before = rig.engine.query(NULL, partition=0)
    assert (before.accepted, decode_row(before.row).kind) == (ballot(2), Kind.TOMBSTONE)
    put_version(rig, 3, b"new")
    after = rig.engine.query(NULL, partition=0)
    assert (after.accepted, decode_row(after.row).kind) == (ballot(2), Kind.TOMBSTONE)
    rig.crash()
    assert decode_row(rig.engine.query(NULL, partition=0).row).kind == Kind.TOMBSTONE


def test_a_damaged_version_that_is_the_head_too_is_not_counted_when_it_is_healed(rig: SimRig) -> None:
    for number, of in ((1, 1), (2, 2), (3, 1)):
        again = row(ballot(number), b"data", version=ballot(of).hex())
        rig.run(lambda n=number, again=again: rig.engine.accept(K, partition=0, ballot=ballot(n), row=again, payload=b"data"))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert totals(rig) == (1, 4, 1, 4)
    rows = rig.host.storage.volume(DIRECTORY)[0].kv_stores["index-1"].tables["rows"]
    rows[encode_key(version(1))] = bytes(len(rows[encode_key(version(1))]))
    healing = row(ballot(3), b"data", version=ballot(1).hex())
    answer = rig.run(lambda: rig.engine.accept(version(1), partition=0, ballot=ballot(9), row=healing, payload=b"data"))
    assert answer.verdict == "yes"
    assert totals(rig) == (1, 4, 1, 4)
