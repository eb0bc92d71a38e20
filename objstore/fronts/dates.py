"""Dates as HTTP has them, in headers of both dialects."""

import re
from calendar import timegm
from datetime import UTC, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# The three forms of RFC 9110, section 5.6.7; the first one with a numeric zone as well, which some clients send.
_HTTP_DATES = (
    re.compile(
        rf"[A-Za-z]{{3}}, (?P<day>\d\d?) (?P<month>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {_CLOCK} (?:GMT|UTC|(?P<zone>[+-]\d{{4}}))", re.ASCII
    ),
    re.compile(rf"[A-Za-z]{{6,9}}, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{{2}})-(?P<year>\d\d) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Za-z]{{3}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})", re.ASCII),
)
_SECOND_US = 1_000_000
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


@lru_cache(maxsize=4096)
def _http_second(seconds: int) -> bytes:
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} {at.hour:02d}:{at.minute:02d}:{at.second:02d} GMT".encode()


def http_time(us: int) -> bytes:
    """Sat, 31 Jan 2026 23:59:59 GMT, as in headers."""
    return _http_second(us // 1_000_000)


def parse_http_date(text: str | None) -> int | None:
    """Microseconds since 1970 of an HTTP date; None for none and for anything unreadable, as HTTP demands."""
    if text is None:
        return None
    found = next((match for form in _HTTP_DATES if (match := form.fullmatch(text))), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"])
    if year < 100:
        year += 1900 if year >= 70 else 2000
    try:
        at = datetime(year, _MONTHS.index(found["month"]) + 1, int(found["day"]), int(found["hour"]), int(found["minute"]), tzinfo=UTC)
    except ValueError:
        return None
    zone = found.groupdict().get("zone")
    offset_s = (int(zone[1:3]) * 3600 + int(zone[3:]) * 60) * (-1 if zone[0] == "-" else 1) if zone else 0
    return within(timegm(at.timetuple()) + int(found["second"]) - offset_s, 0)


def within(second: int, fraction_us: int) -> int | None:
    """Microseconds since 1970; None for what zones and leap seconds push out of the years that can be written down again."""
    return second * _SECOND_US + fraction_us if _FIRST_S <= second <= _LAST_S else None
