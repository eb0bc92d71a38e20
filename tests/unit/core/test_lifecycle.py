"""When which version is due."""

from typing import Any

import msgspec
import pytest

from objstore.core.lifecycle import (
    DAY_US,
    FORM_PREFIX,
    LEAST_BYTES,
    Action,
    Due,
    LifecycleConfig,
    Rule,
    Transition,
    Version,
    abort_at_us,
    applies,
    common_prefix,
    decode,
    due,
    due_at_us,
    encode,
    expiry,
)

HOUR_US = DAY_US // 24
NOON = 20_000 * DAY_US + 12 * HOUR_US  # of some day
SECOND = 1_000_000


def config(*rules: Rule) -> LifecycleConfig:
    return LifecycleConfig(1, rules)


def version(at: int = NOON, size: int = 10, marker: bool = False, **tags: str) -> Version:
    return Version(size, tags, at, marker)


def test_days_end_at_midnight_and_short_days_when_they_are_over() -> None:
    assert due_at_us(NOON, 1, DAY_US) == 20_002 * DAY_US
    assert due_at_us(20_000 * DAY_US, 1, DAY_US) == 20_001 * DAY_US
    assert due_at_us(NOON, 3, 10 * SECOND) == NOON + 30 * SECOND


def test_a_filter_is_all_of_its_predicates() -> None:
    rule = Rule("r", True, prefix="a/", tags=(("k", "v"),), larger_than=5, smaller_than=20)
    assert applies(rule, "a/x", version(k="v", other="x"))
    assert not applies(rule, "b/x", version(k="v"))
    assert not applies(rule, "a/x", version(k="w"))
    assert not applies(rule, "a/x", version())
    assert not applies(rule, "a/x", version(size=5, k="v"))
    assert not applies(rule, "a/x", version(size=20, k="v"))
    assert applies(Rule("r", True, FORM_PREFIX, ""), "anything", version())
    assert decode(encode(config(rule))) == config(rule)


def test_the_earliest_of_all_rules_that_apply_counts() -> None:
    found = config(
        Rule("late", True, days=9),
        Rule("off", False, days=1),
        Rule("elsewhere", True, prefix="b", days=1),
        Rule("soon", True, days=2),
        Rule("date", True, date_us=20_100 * DAY_US),
        Rule("noncurrent", True, noncurrent_days=1),
    )
    assert expiry(found, "a", version(), DAY_US) == (20_003 * DAY_US, "soon")
    assert expiry(config(), "a", version(), DAY_US) is None
    assert expiry(config(Rule("date", True, date_us=5)), "a", version(), DAY_US) == (5, "date")


def test_the_current_version_is_due_and_not_a_moment_before() -> None:
    found = config(Rule("r", True, days=1))
    at = 20_002 * DAY_US
    assert due(found, "a", [version()], at - 1, DAY_US) == []
    assert due(found, "a", [version()], at, DAY_US) == [Due(0, Action.EXPIRE, "r")]


def test_noncurrent_versions_count_from_when_they_were_replaced() -> None:
    found = config(Rule("r", True, noncurrent_days=1))
    versions = [version(NOON + 5 * DAY_US), version(NOON + 2 * DAY_US), version(NOON)]
    assert due(found, "a", versions, NOON + 2 * DAY_US + 12 * HOUR_US, DAY_US) == []
    assert due(found, "a", versions, NOON + 3 * DAY_US + 12 * HOUR_US, DAY_US) == [Due(2, Action.REMOVE, "r")]
    assert [item.place for item in due(found, "a", versions, NOON + 9 * DAY_US, DAY_US)] == [1, 2]
    kept = config(Rule("r", True, noncurrent_days=1, newer_noncurrent=1))
    assert [item.place for item in due(kept, "a", versions, NOON + 9 * DAY_US, DAY_US)] == [2]


@pytest.mark.parametrize("first", range(1, 7))
def test_what_is_due_may_be_asked_in_pieces(first: int) -> None:
    found = config(Rule("r", True, days=1, noncurrent_days=1, newer_noncurrent=2), Rule("m", True, noncurrent_days=4))
    versions = [version(NOON - number * DAY_US) for number in range(8)]
    now_us = NOON + 2 * DAY_US
    pieces = due(found, "a", versions[:first], now_us, DAY_US)
    rest = due(found, "a", versions[first - 1 :], now_us, DAY_US, before=first)
    assert [*pieces, *(item._replace(place=item.place + first - 1) for item in rest)] == due(found, "a", versions, now_us, DAY_US)


def test_a_marker_goes_when_it_is_alone() -> None:
    by_word = config(Rule("r", True, expired_marker=True))
    marker = version(marker=True, size=0)
    assert due(by_word, "a", [marker], NOON, DAY_US) == [Due(0, Action.REMOVE_MARKER, "r")]
    assert due(by_word, "a", [marker, version()], NOON, DAY_US) == []
    by_age = config(Rule("r", True, days=1))
    assert due(by_age, "a", [marker], NOON, DAY_US) == []
    assert due(by_age, "a", [marker], NOON + 2 * DAY_US, DAY_US) == [Due(0, Action.REMOVE_MARKER, "r")]
    assert due(config(Rule("r", True, expired_marker=False)), "a", [marker], NOON, DAY_US) == []


def test_uploads_are_given_up_by_the_earliest_rule() -> None:
    found = config(Rule("a", True, prefix="x/", abort_days=3), Rule("b", True, abort_days=7), Rule("c", False, abort_days=1))
    assert abort_at_us(found, "x/1", NOON, SECOND) == (NOON + 3 * SECOND, "a")
    assert abort_at_us(found, "y", NOON, SECOND) == (NOON + 7 * SECOND, "b")
    assert abort_at_us(config(Rule("a", True, days=1)), "y", NOON, SECOND) is None


def test_the_common_prefix_narrows_what_is_looked_at() -> None:
    assert common_prefix([]) == common_prefix([""]) == common_prefix(["a", "b"]) == common_prefix(["a", ""]) == ""
    assert common_prefix(["a/b", "a/c", "a/"]) == "a/"
    assert common_prefix(["abc"]) == "abc"


LARGE = 1 << 20


def moves(*steps: Transition, **rule: Any) -> LifecycleConfig:
    return config(Rule("r", True, transitions=steps, **rule))


def asked(config_: LifecycleConfig, *versions: Version, at: int) -> list[tuple[int, str]]:
    found = due(config_, "k", versions, at, DAY_US)
    assert all(item.action is Action.TRANSITION for item in found)
    return [(item.place, item.storage_class) for item in found]


def test_a_version_goes_down_the_classes_as_its_days_pass() -> None:
    rules = moves(Transition("STANDARD_IA", days=1), Transition("GLACIER_IR", days=3))
    day = NOON + HOUR_US * 12
    plain = Version(LARGE, {}, NOON)
    for days, wanted in (
        (0.9, []),
        (1, [(0, "STANDARD_IA")]),
        (2.9, [(0, "STANDARD_IA")]),
        (3, [(0, "GLACIER_IR")]),
        (90, [(0, "GLACIER_IR")]),
    ):
        assert asked(rules, plain, at=day + int(days * DAY_US)) == wanted
    for there, wanted in (("STANDARD_IA", [(0, "GLACIER_IR")]), ("GLACIER_IR", []), ("DEEP_ARCHIVE", []), ("COLD", [(0, "GLACIER_IR")])):
        assert asked(rules, Version(LARGE, {}, NOON, storage_class=there), at=day + 9 * DAY_US) == wanted
    assert asked(rules, Version(LARGE, {}, NOON, is_marker=True), at=day + 9 * DAY_US) == []


def test_of_two_transitions_at_once_the_lower_class_counts_and_an_end_comes_before_both() -> None:
    both = config(
        Rule("a", True, transitions=(Transition("GLACIER_IR", days=1),)), Rule("b", True, transitions=(Transition("STANDARD_IA", days=1),)),
        Rule("off", False, transitions=(Transition("DEEP_ARCHIVE", days=1),)),
    )  # fmt: skip
    assert asked(both, Version(LARGE, {}, NOON), at=NOON + 3 * DAY_US) == [(0, "GLACIER_IR")]
    ended = config(*both.rules, Rule("c", True, days=2))
    assert [found.action for found in due(ended, "k", [Version(LARGE, {}, NOON)], NOON + 3 * DAY_US, DAY_US)] == [Action.EXPIRE]


def test_small_objects_stay_unless_a_rule_or_the_configuration_takes_them_in() -> None:
    small, step = Version(LEAST_BYTES - 1, {}, NOON), Transition("STANDARD_IA", date_us=NOON)
    assert asked(moves(step), small, at=NOON) == []
    assert asked(moves(step), Version(LEAST_BYTES, {}, NOON), at=NOON) == [(0, "STANDARD_IA")]
    assert asked(moves(step), Version(LARGE, {}, NOON), at=NOON - 1) == []
    assert asked(moves(step, larger_than=10), small, at=NOON) == [(0, "STANDARD_IA")]
    assert asked(msgspec.structs.replace(moves(step), any_size=True), small, at=NOON) == [(0, "STANDARD_IA")]


def test_noncurrent_versions_move_by_rules_of_their_own_and_the_newest_of_them_may_stay() -> None:
    rules = config(Rule("r", True, noncurrent_transitions=(Transition("ONEZONE_IA", days=1, newer=1),), noncurrent_days=9))
    versions = [Version(LARGE, {}, NOON + number * HOUR_US) for number in (3, 2, 1, 0)]
    assert asked(rules, *versions, at=NOON + 3 * DAY_US) == [(2, "ONEZONE_IA"), (3, "ONEZONE_IA")]
    assert [found.action for found in due(rules, "k", versions, NOON + 30 * DAY_US, DAY_US)] == [Action.REMOVE] * 3


def test_a_configuration_of_before_is_read() -> None:
    old = msgspec.msgpack.encode([1, [["r", True, 1, "p", [], None, None, 3]]])
    assert decode(old) == config(Rule("r", True, prefix="p", days=3))
