"""Reading of fields, times, queries; lists with filters and pages."""

from typing import Any, cast

import pytest

from objstore.fronts.identity.call import (
    MAX_EXTRA_BYTES,
    Call,
    called,
    fields,
    filtered,
    flag,
    identifier,
    listed,
    nullable,
    parse_query,
    parse_time,
    table,
    time_text,
    with_extra,
)
from objstore.fronts.identity.call import text as any_text
from objstore.fronts.identity.errors import IdentityProblem

VIEWS = [{"id": f"{n}", "name": f"Name {n}", "enabled": n % 2 == 0, "parent": None} for n in range(5)]


class Asked:
    """As much of a call as lists need."""

    def __init__(self, **query: str) -> None:
        self.query = query

    def link(self, path: str) -> str:
        return f"http://x{path}"


def asked(**query: str) -> Call:
    return cast("Call", Asked(**query))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "01234"),
        ({"name": "Name 3"}, "3"),
        ({"name": "name 3"}, ""),
        ({"name__icontains": "NAME"}, "01234"),
        ({"name__contains": " 2"}, "2"),
        ({"name__startswith": "N"}, "01234"),
        ({"name__endswith": "4"}, "4"),
        ({"name__iexact": "nAME 0"}, "0"),
        ({"enabled": "true"}, "024"),
        ({"enabled": "False"}, "13"),
        ({"enabled": "0"}, "13"),
        ({"id": "1"}, "01234"),
        ({"name__sounds": "x"}, "01234"),
        ({"parent": "x"}, ""),
        ({"parent": ""}, "01234"),
    ],
)
def test_filters(query: dict[str, str], found: str) -> None:
    assert "".join(str(view["id"]) for view in filtered(asked(**query), VIEWS, ("name", "enabled", "parent"))) == found


def test_pages_lead_through_the_whole_list() -> None:
    seen: list[str] = []
    query = {"limit": "2", "enabled": "1"}
    for _ in range(5):
        body: Any = listed(asked(**query), "things", VIEWS, "/things").body
        seen += [view["id"] for view in body["things"]]
        if body["links"]["next"] is None:
            break
        query = parse_query(body["links"]["next"].partition("?")[2].encode())
    assert seen == ["0", "1", "2", "3", "4"]
    for bad in ({"marker": "x"}, {"limit": "-1"}, {"limit": "x"}, {"limit": "1" * 20}):
        with pytest.raises(IdentityProblem):
            listed(asked(**bad), "things", VIEWS, "/things")


def test_fields_are_checked_and_unknown_ones_kept_apart() -> None:
    spec = {"name": called, "enabled": flag, "parent": nullable(identifier)}
    assert fields({"name": "a", "parent": None, "color": 1, "id": "x", "links": {}}, spec) == {
        "name": "a",
        "parent": None,
        "extra": {"color": 1},
    }
    with pytest.raises(IdentityProblem, match="required"):
        fields({}, spec, required=("name",))
    with pytest.raises(IdentityProblem, match="Additional"):
        fields({"x": 1}, spec, closed=True)
    with pytest.raises(IdentityProblem):
        fields({"x": "y" * 20_000}, spec)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (called, ""), (called, "  "), (called, "x" * 256), (called, None), (called, 1), (called, "a\x00"), (flag, "true"), (flag, 1),
        (identifier, ""), (identifier, "a/b"), (identifier, {}), (any_text, 1), (any_text, "x" * 70_000), (table, []),
    ],
)  # fmt: skip
def test_bad_values_are_400(check: Any, value: Any) -> None:
    with pytest.raises(IdentityProblem) as caught:
        check("field", value)
    assert caught.value.status == 400


def test_unknown_attributes_are_bounded_together_and_those_held_bind_no_other_change() -> None:
    assert with_extra({"a": 1, "b": 2}, {"b": 3}) == {"a": 1, "b": 3}
    full = {"a": "x" * MAX_EXTRA_BYTES}
    assert with_extra(full, {}) == full
    with pytest.raises(IdentityProblem, match="together"):
        with_extra(full, {"b": 1})


def test_times_there_and_back() -> None:
    assert time_text(1_000_000_000_123_456) == "2001-09-09T01:46:40.123456Z"
    assert parse_time("t", "2001-09-09T01:46:40.123456Z") == 1_000_000_000_123_456
    assert parse_time("t", "2001-09-09T03:46:40.123456+02:00") == 1_000_000_000_123_456
    assert parse_time("t", "2001-09-09T01:46:40") == 1_000_000_000_000_000
    assert time_text(parse_time("t", "9999-12-31T23:59:59Z")) == "9999-12-31T23:59:59.000000Z"
    never = ("1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01")
    for bad in ("", "tomorrow", None, 5, "9999-99-99T00:00:00", "x" * 100, *never):
        with pytest.raises(IdentityProblem):
            parse_time("t", bad)
