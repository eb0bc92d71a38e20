"""Dates in headers."""

import pytest

from objstore.fronts.dates import http_time, parse_http_date


@pytest.mark.parametrize("text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_the_three_forms_of_a_date_mean_the_same(text: str) -> None:
    assert parse_http_date(text) == 784_111_777_000_000


def test_a_date_is_written_in_the_first_form() -> None:
    assert http_time(784_111_777_999_999) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("text", [None, "", "soon", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "x" * 10_000])
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert parse_http_date(text) is None
