"""Filters of lists as queries write them: OP:VALUE with `gt gte lt lte eq neq`, `in:` with a list that knows quotes, times."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement

from objstore.services.calls.problems import bad_request

OPERATORS = ("gte", "gt", "lte", "lt", "neq", "eq")
MAX_ITEMS = 200
MAX_TIME_CHARS = 64


def split_operator(value: str) -> tuple[str, str]:
    """(operator, threshold); without an operator it is "eq"."""
    name, colon, rest = value.partition(":")
    return (name, rest) if colon and name in OPERATORS else ("eq", value)


def compared(column: ColumnElement[Any], operator: str, threshold: object) -> ColumnElement[bool]:
    """The condition of one of the operators."""
    conditions: dict[str, Any] = {
        "eq": column == threshold, "neq": column != threshold, "gt": column > threshold, "gte": column >= threshold, "lt": column < threshold,
        "lte": column <= threshold,
    }  # fmt: skip
    found: ColumnElement[bool] = conditions[operator]
    return found


def items_of(text: str) -> list[str]:
    """The items of `in:`: parted by commas, in double quotes where they hold commas.  Raises 400."""
    found: list[str] = []
    at = 0
    while True:
        if text[at : at + 1] == '"':
            end = at + 1
            piece: list[str] = []
            while end < len(text) and text[end] != '"':
                end += 1 if text[end] == "\\" and end + 1 < len(text) else 0
                piece.append(text[end])
                end += 1
            if end >= len(text) or text[end + 1 : end + 2] not in ("", ","):
                raise bad_request("A list of values in a filter has a quote that does not end.")
            found.append("".join(piece))
            at = end + 1
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            if '"' in text[at:end]:
                raise bad_request("A list of values in a filter has a quote in the middle of a value.")
            found.append(text[at:end])
            at = end
        if len(found) > MAX_ITEMS:
            raise bad_request(f"A list of values in a filter has {MAX_ITEMS} values at most.")
        if at >= len(text):
            return found
        at += 1  # over the comma


def time_us(text: str) -> int:
    """Microseconds since 1970 of a time in ISO 8601, in UTC where it names no zone.  Raises 400."""
    try:
        found = datetime.fromisoformat(text[:MAX_TIME_CHARS])
        # In UTC too it is of the years 1 to 9999, or could not be shown again.
        return int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise bad_request("A time is needed in ISO 8601, such as 2026-11-23T01:02:03Z.") from None


def time_text(us: int) -> str:
    """2026-11-23T01:02:03Z."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
