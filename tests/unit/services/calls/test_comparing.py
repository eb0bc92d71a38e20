"""Filters as queries write them."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from objstore.services.calls.comparing import compared, items_of, split_operator, time_text, time_us
from objstore.services.calls.problems import CallRefused

N = Table("t", MetaData(), Column("n", Integer)).c.n


def test_operators_are_split_off() -> None:
    assert split_operator("gt:5") == ("gt", "5")
    assert split_operator("5") == ("eq", "5")
    assert split_operator("2026-01-01T00:00:00Z") == ("eq", "2026-01-01T00:00:00Z")


def test_each_operator_is_its_condition() -> None:
    assert [str(compared(N, name, 5)).split()[1] for name in ("eq", "neq", "gt", "gte", "lt", "lte")] == ["=", "!=", ">", ">=", "<", "<="]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a\\"b"', ['a"b']),
        ("", [""]),
        ("a,,b", ["a", "", "b"]),
        ('""', [""]),
        ("a,", ["a", ""]),
    ],
)
def test_items_may_be_quoted(text: str, items: list[str]) -> None:
    assert items_of(text) == items


@pytest.mark.parametrize("text", ['"a', 'a"b', '"a"b', "a," * 300])
def test_lists_that_do_not_end_are_refused(text: str) -> None:
    with pytest.raises(CallRefused):
        items_of(text)


def test_times_go_there_and_back() -> None:
    assert time_text(time_us("2026-11-23T01:02:03Z")) == "2026-11-23T01:02:03Z"
    assert time_us("2026-11-23T01:02:03") == time_us("2026-11-23T02:02:03+01:00")
    for text in ("", "soon", "9" * 500, "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:59"):
        with pytest.raises(CallRefused):
            time_us(text)
