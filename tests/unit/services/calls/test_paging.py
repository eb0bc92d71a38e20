"""Limits, orders, links."""

import pytest

from objstore.services.calls.call import Call
from objstore.services.calls.paging import limit_of, link, query_without, sort_of
from objstore.services.calls.problems import CallRefused
from tests.unit.services.calls.test_call import call

KEYS = ("id", "name")


def asked(query: str) -> Call:
    return call(query=query)


def test_limits_are_numbers_within_bounds() -> None:
    assert [limit_of(asked(query), default=25, most=100) for query in ("", "limit=7", "limit=700", "limit=0")] == [25, 7, 100, 0]
    for query in ("limit=-1", "limit=x", "limit=", "limit=1.0", f"limit={'1' * 30}"):
        with pytest.raises(CallRefused):
            limit_of(asked(query), default=25, most=100)


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("", [("id", "asc")]), ("sort=name", [("name", "desc")]), ("sort=name:asc,id:desc", [("name", "asc"), ("id", "desc")]),
        ("sort_key=name", [("name", "desc")]), ("sort_key=name&sort_key=id&sort_dir=asc", [("name", "asc"), ("id", "asc")]),
        ("sort_key=name&sort_key=id&sort_dir=asc&sort_dir=desc", [("name", "asc"), ("id", "desc")]), ("sort_dir=desc", [("id", "desc")]),
    ],
)  # fmt: skip
def test_both_ways_to_sort(query: str, order: list[tuple[str, str]]) -> None:
    assert sort_of(asked(query), KEYS, default=[("id", "asc")]) == order


@pytest.mark.parametrize(
    "query",
    ["sort=shoe", "sort=name:up", "sort=name&sort_key=id", "sort_key=name&sort_dir=asc&sort_dir=asc", "sort=" + ",".join(["id"] * 9)],
)
def test_orders_that_are_none_are_refused(query: str) -> None:
    with pytest.raises(CallRefused):
        sort_of(asked(query), KEYS, default=[("id", "asc")])


def test_links_keep_the_rest_of_the_query() -> None:
    assert link("/x", query_without(asked("a=1&marker=m&b=%26"), "marker")) == "/x?a=1&b=%26"
    assert link("/x", []) == "/x"
