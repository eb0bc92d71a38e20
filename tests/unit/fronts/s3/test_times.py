"""Times as S3 writes them, against the library's."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.fronts.s3.times import basic_timestamp, http_time, iso_time, parse_date, parse_http_date, parse_iso_date


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_are_written_as_the_library_writes_them(us: int) -> None:
    at = datetime.fromtimestamp(us // 1_000_000, UTC)
    assert iso_time(us) == at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert http_time(us).decode() == format_datetime(at, usegmt=True)
    assert parse_http_date(http_time(us).decode()) == us // 1_000_000 * 1_000_000
    assert parse_http_date(at.strftime("%a, %d %b %Y %H:%M:%S +0000")) == us // 1_000_000 * 1_000_000
    assert parse_http_date(at.ctime()) == us // 1_000_000 * 1_000_000
    assert basic_timestamp(us) == at.strftime("%Y%m%dT%H%M%SZ")


def test_dates_are_read_in_every_http_form() -> None:
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ):
        assert parse_http_date(text) == 784111777_000_000
    for odd in (
        None,
        "",
        "x",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999999999 08:49:37 GMT",
        "Sun, 06 Nvo 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "0",
        "\x00",
        "1" * 10_000,
    ):
        assert parse_http_date(odd) is None


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "0001-01-01T00:00:00+00:01",
        "Fri, 31 Dec 9999 23:59:59 -0001",
        "Fri, 31 Dec 9999 23:59:99 GMT",
    ],
)
def test_dates_that_cannot_be_written_are_none(text: str) -> None:
    assert parse_date(text) is None


def test_where_only_iso_dates_are_taken_no_others_are() -> None:
    assert parse_iso_date("2026-01-31T23:59:59.000Z") == parse_date("Sat, 31 Jan 2026 23:59:59 GMT")
    for text in ("Sat, 31 Jan 2026 23:59:59 GMT", "Sat Jan 31 23:59:59 2026", "2026-01-31", "1769903999", ""):
        assert parse_iso_date(text) is None


def test_the_first_and_the_last_date_come_back() -> None:
    for text in ("9999-12-31T23:59:59.000Z", "1970-01-01T00:00:00.000Z"):
        at = parse_date(text)
        assert at is not None
        assert iso_time(at) == text
