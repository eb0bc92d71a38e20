from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from objstore.core.replica import Kept, decide_accept, decide_prepare, stored_with
from objstore.core.rows import EMPTY, BodyKind, Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, ballot_at


def at(number: int) -> Ballot:
    return ballot_at(number, 1)


def test_a_promise_above_everything_is_granted_and_keeps_what_was_accepted() -> None:
    held = Register(at(1), at(2), b"row")
    granted, new = decide_prepare(held, at(3))
    assert granted
    assert new == Register(at(3), at(2), b"row")


def test_a_promise_must_be_higher_than_the_promise_and_than_the_accepted_ballot() -> None:
    for held in (Register(at(5), at(2), b"row"), Register(at(2), at(5), b"row"), Register(at(5))):
        for number in (1, 4, 5):
            granted, new = decide_prepare(held, at(number))
            assert not granted
            assert new is held


def test_the_first_accept_of_an_empty_register_is_stored() -> None:
    assert decide_accept(EMPTY, at(1), b"row") == ("yes", Register(EMPTY.promised, at(1), b"row"))


def test_an_accept_at_the_promised_ballot_is_stored_and_keeps_the_promise() -> None:
    assert decide_accept(Register(at(4), at(2), b"old"), at(4), b"new") == ("yes", Register(at(4), at(4), b"new"))


def test_a_repeated_accept_is_yes_and_changes_nothing() -> None:
    held = Register(at(1), at(3), b"row")
    verdict, new = decide_accept(held, at(3), b"row")
    assert verdict == "yes"
    assert new is held


def test_a_repeated_accept_is_yes_also_under_a_higher_promise() -> None:
    held = Register(at(9), at(3), b"row")
    assert decide_accept(held, at(3), b"row")[0] == "yes"


def test_an_accept_below_the_accepted_ballot_is_superseded_whatever_was_promised() -> None:
    for promised in (0, 3, 9):
        held = Register(at(promised), at(5), b"row")
        verdict, new = decide_accept(held, at(4), b"late")
        assert verdict == "superseded"
        assert new is held


def test_an_accept_between_the_accepted_ballot_and_the_promise_is_refused() -> None:
    held = Register(at(9), at(3), b"row")
    verdict, new = decide_accept(held, at(5), b"late")
    assert verdict == "no"
    assert new is held


def merged(held: Register, others: list[Register]) -> Register:
    """What a replica holds that nobody was promised anything by, after it took over what others accepted."""
    for other in others:
        if other.accepted != ZERO:
            held = decide_accept(held, other.accepted, other.row)[1]
    return held


accepted = st.integers(0, 6).map(lambda number: Register(ZERO, at(number), b"row %d" % number) if number else EMPTY)


@given(st.lists(accepted, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_replicas_that_exchange_rows_in_any_order_and_any_number_of_times_end_equal(rows: list[Register], order: Random) -> None:
    again = [*rows, *order.choices(rows, k=3)]
    order.shuffle(again)
    assert merged(EMPTY, again) == merged(EMPTY, rows) == max(rows, key=lambda register: register.accepted)


def test_effects_of_a_head_that_is_proposed_again_outrank_what_heads_in_between_did() -> None:
    def version(kind: Kind, origin: int) -> Row:
        return Row(kind, b"", at(origin), ZERO, 0, version=at(1).hex())

    removal = Row(Kind.OBJECT, b"", at(5), at(2), 0, version=at(2).hex(), effects=(encode_row(version(Kind.TOMBSTONE, 5)),))
    tagged = version(Kind.OBJECT, 7)  # by a head at 7 that was not chosen
    held = {at(1).hex(): Kept(at(7), tagged, encode_row(tagged))}
    assert stored_with(None, at(5), removal, held.get, ZERO) == {}
    stored = stored_with(None, at(9), removal, held.get, ZERO)
    assert stored is not None
    kept = stored[at(1).hex()]
    assert (kept.accepted, kept.row.kind, kept.row.origin) == (at(9), Kind.TOMBSTONE, at(9))
    assert decode_row(kept.encoded) == kept.row


@pytest.mark.parametrize(
    "other", [{"digest": b"d" * 16}, {"body": BodyKind.BLOB, "blob": b"b" * 16, "digest": b""}, {"body": BodyKind.MANIFEST, "digest": b""}]
)
@pytest.mark.parametrize("where", ["head", "version"])
def test_an_effect_on_the_null_version_needs_the_bytes_that_it_was_made_of(other: dict[str, Any], where: str) -> None:
    """The null version is overwritten in place: a replica that missed that holds other bytes under the same key."""
    changed = Row(Kind.OBJECT, b"", at(5), at(3), 0, size=9, body=BodyKind.INLINE, digest=b"m" * 16, tags={"a": "b"})

    def stored(held: Row, effect: Row) -> dict[str, Kept] | None:
        kept = Kept(at(3), held, encode_row(held))
        head = Row(Kind.OBJECT, b"", at(5), at(2), 0, version=at(2).hex(), effects=(encode_row(effect),))
        versions = {"": kept} if where == "version" else {}
        return stored_with(kept if where == "head" else None, at(5), head, versions.get, ZERO)

    same = replace(changed, origin=at(3), tags={})
    assert stored(replace(same, **other), changed) is None
    found = stored(same, changed)
    assert found is not None
    assert (found[""].row, found[""].of_head) == (changed, where == "head")
    moved = replace(changed, body=BodyKind.MANIFEST, digest=b"")  # its bytes are in other rows
    assert stored(replace(same, **other), moved) is not None
