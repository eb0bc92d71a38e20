"""How room is shared out."""

from hypothesis import given
from hypothesis import strategies as st

from objstore.core import escrow
from objstore.core.escrow import NOTHING, UNLIMITED, Ledger, Portion, Standing, growth, limit_of, never_fits, plan
from objstore.core.quota import QuotaConfig, Usage

USAGE = st.builds(Usage, st.integers(0, 100), st.integers(0, 10_000))


def standing(free: int, *, others: int = 0, pending: int = 0, unspent: int = 0, holders: int = 1, wanted: bool = False) -> Standing:
    """Of a quota in bytes alone that leaves `free` beyond all that is named."""
    limit = Usage(UNLIMITED, free + others + pending + 1000)
    return Standing(limit, Usage(0, 1000), Usage(0, others), holders, Usage(0, pending), Usage(0, unspent), wanted)


def test_a_ledger_comes_back_as_it_was_stored() -> None:
    ledger = Ledger(1, {"b": Portion(1, 2, 3), "a": Portion(0, 0, 1, wants=True)})
    assert escrow.decode(escrow.encode(ledger)) == ledger
    assert ledger.portions["b"].size == Usage(1, 2)


def test_what_waits_is_covered_and_some_more() -> None:
    found = plan(standing(10_000, holders=2), [Usage(0, 100)], NOTHING)
    assert found == (Usage(0, 1700), False)
    assert plan(standing(10_000, holders=2), [Usage(0, 100)], Usage(0, 50_000)).unspent == Usage(0, 100 + 9900 // 4)


def test_near_the_limit_no_more_than_a_share_is_held_ahead() -> None:
    assert plan(standing(100), [Usage(0, 100)], NOTHING) == (Usage(0, 100), False)
    assert plan(standing(99), [Usage(0, 100)], NOTHING) == (Usage(0, 0), True)
    assert plan(standing(150), [Usage(0, 100), Usage(0, 60), Usage(0, 50)], NOTHING) == (Usage(0, 150), True)


def test_whoever_others_wait_for_keeps_nothing_ahead() -> None:
    assert plan(standing(500, unspent=400, wanted=True), [Usage(0, 10)], Usage(0, 99)) == (Usage(0, 10), False)
    assert plan(standing(0, unspent=400), [], NOTHING) == (Usage(0, 400), False)


def test_what_is_not_limited_does_not_count() -> None:
    assert limit_of(QuotaConfig(1, None, 5)) == Usage(5, UNLIMITED)
    assert growth(QuotaConfig(1, None, 5), 1, 10**15) == Usage(1, 0)
    assert growth(QuotaConfig(1, 100, None), 1, -7) == NOTHING


def test_only_the_counters_refuse_for_good() -> None:
    assert never_fits(Usage(5, 100), Usage(5, 0), Usage(1, 0))
    assert never_fits(Usage(5, 100), Usage(0, 90), Usage(1, 11))
    assert not never_fits(Usage(5, 100), Usage(0, 90), Usage(1, 10))
    assert not never_fits(Usage(5, 100), Usage(9, 900), NOTHING)


@given(
    limit=USAGE,
    held=USAGE,
    others=USAGE,
    pending=USAGE,
    waiting=st.lists(USAGE, max_size=5),
    rate=USAGE,
    holders=st.integers(1, 9),
    wanted=st.booleans(),
)
def test_no_plan_passes_the_limit(
    limit: Usage, held: Usage, others: Usage, pending: Usage, waiting: list[Usage], rate: Usage, holders: int, *, wanted: bool
) -> None:  # fmt: skip
    found = plan(Standing(limit, held, others, holders, pending, NOTHING, wanted), waiting, rate)
    total = held.plus(others).plus(pending).plus(found.unspent)
    assert found.unspent.objects <= 0 or total.objects <= limit.objects
    assert found.unspent.bytes <= 0 or total.bytes <= limit.bytes
    assert min(found.unspent) >= 0
