"""The judge of keys with versions: what it must accept, what it must not."""

from dataclasses import replace

from tests.sim.versions_judge import MARKER, Act, explain, is_explained


def put(slot: str, start: int, end: int | None, **more: object) -> Act:
    return Act("put", start, end, slot=slot, value=f"in {slot}", age=(int(slot), slot), versioned=True, **more)  # type: ignore[arg-type]


def test_a_version_is_there_until_it_is_removed_and_never_again() -> None:
    history = [put("1", 0, 1), put("2", 2, 3), Act("remove", 4, 5, slot="1")]
    assert is_explained([*history, Act("getv", 6, 7, slot="1"), Act("getv", 8, 9, slot="2", result="in 2")])
    assert not is_explained([*history, Act("getv", 6, 7, slot="1", result="in 1")])
    assert not is_explained([*history[:2], Act("getv", 6, 7, slot="1")])


def test_a_removal_of_unknown_outcome_may_come_at_any_later_time_but_not_be_undone() -> None:
    history = [put("1", 0, 1), put("2", 2, 3), Act("remove", 4, None, slot="1"), Act("getv", 5, 6, slot="1", result="in 1")]
    gone = Act("getv", 7, 8, slot="1")
    assert is_explained([*history, gone])
    wrong = [*history, gone, Act("getv", 9, 10, slot="1", result="in 1")]
    assert not is_explained(wrong)
    assert "9..10" in explain(wrong)


def test_the_newest_succeeds_a_removed_head() -> None:
    history = [put("1", 0, 1), put("2", 2, 3), put("3", 4, 5), Act("remove", 6, 7, slot="3")]
    assert is_explained([*history, Act("get", 8, 9, result="in 2")])
    assert not is_explained([*history, Act("get", 8, 9, result="in 1")])


def test_a_null_version_replaces_a_null_version_and_a_marker_hides_what_is_there() -> None:
    null = replace(put("1", 2, 3), slot="null", value="first")
    history = [put("1", 0, 1), null, replace(null, start=4, end=5, value="second")]
    shown = Act("list", 6, 7, result=(("null", "second"), (("1", "in 1"),)))
    assert is_explained([*history, shown])
    assert not is_explained([*history, replace(shown, result=(("null", "second"), (("1", "in 1"), ("null", "first"))))])
    marker = replace(null, start=8, end=9, value=MARKER)
    assert is_explained([*history, shown, marker, Act("get", 10, 11), Act("getv", 12, 13, slot="null")])


def test_conditions_are_judged_by_the_head() -> None:
    history = [put("1", 0, 1)]
    assert is_explained([*history, put("2", 2, 3, absent=True, ok=False)])
    assert not is_explained([*history, put("2", 2, 3, absent=True)])
    assert is_explained([*history, put("2", 2, 3, expected=frozenset({"in 1"}))])
    assert not is_explained([*history, put("2", 2, 3, expected=frozenset({"in 0"}))])


def test_a_search_that_takes_too_long_says_so() -> None:
    assert is_explained([put("1", 0, 1), put("2", 2, 3)], steps=2) is None
