"""Merge of registers and of replicas' holdings: laws and examples."""

from hypothesis import given
from hypothesis import strategies as st

from objstore.core.merge import merge_holdings, merge_registers, top_of
from objstore.core.rows import EMPTY, Register, RowKey
from objstore.core.timestamp import ZERO, Ballot, ballot_at

ballots = st.integers(0, 6).map(lambda n: ZERO if n == 0 else ballot_at(n, n % 2))
registers = st.builds(Register, promised=ballots, accepted=ballots, row=st.sampled_from([b"", b"a", b"b"]))
keys = st.builds(RowKey, st.just(b"bucket00"), st.just(0), st.sampled_from([b"x", b"y", b"z"]), st.sampled_from([b"", b"v"]))
holdings = st.dictionaries(keys, registers, max_size=4)


def ballot(number: int) -> Ballot:
    return ballot_at(number, 1)


@given(holdings, holdings)
def test_merge_is_commutative(one: dict[RowKey, Register], other: dict[RowKey, Register]) -> None:
    assert merge_holdings(one, other) == merge_holdings(other, one)


@given(holdings, holdings, holdings)
def test_merge_is_associative(one: dict[RowKey, Register], two: dict[RowKey, Register], three: dict[RowKey, Register]) -> None:
    assert merge_holdings(merge_holdings(one, two), three) == merge_holdings(one, merge_holdings(two, three))


@given(holdings, holdings)
def test_merge_is_idempotent(one: dict[RowKey, Register], other: dict[RowKey, Register]) -> None:
    merged = merge_holdings(one, other)
    assert merge_holdings(merged, other) == merged
    assert merge_holdings(merged, one) == merged


@given(registers, registers)
def test_merging_loses_no_promise_and_no_accepted_row(one: Register, other: Register) -> None:
    merged = merge_registers(one, other)
    assert merged.promised == max(one.promised, other.promised)
    assert merged.accepted == max(one.accepted, other.accepted)


def test_the_higher_ballot_brings_its_row_and_the_higher_promise_stays() -> None:
    low, high = Register(ballot(9), ballot(1), b"old"), Register(ballot(2), ballot(2), b"new")
    assert merge_registers(low, high) == Register(ballot(9), ballot(2), b"new")


def test_versions_of_one_key_are_merged_each_for_itself() -> None:
    head, version = RowKey(b"bucket00", 0, b"k"), RowKey(b"bucket00", 0, b"k", b"v" * 12)
    merged = merge_holdings({head: Register(accepted=ballot(1), row=b"1")}, {version: Register(accepted=ballot(2), row=b"2")})
    assert merged == {head: Register(accepted=ballot(1), row=b"1"), version: Register(accepted=ballot(2), row=b"2")}


def test_top_is_the_highest_accepted_and_empty_when_there_is_none() -> None:
    assert top_of([]) is EMPTY
    assert top_of([Register(promised=ballot(5))]) is EMPTY
    high = Register(accepted=ballot(3), row=b"r")
    assert top_of([Register(promised=ballot(9), accepted=ballot(2)), high, EMPTY]) is high
