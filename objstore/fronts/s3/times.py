"""Times as S3 writes and reads them.  A listing writes a thousand, so they are put together from tables."""

import re
from calendar import timegm
from datetime import UTC, datetime
from functools import lru_cache

from objstore.fronts.dates import http_time, parse_http_date, within

__all__ = ["basic_timestamp", "http_time", "iso_time", "parse_date", "parse_http_date", "parse_iso_date"]

_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_SECOND_US = 1_000_000
_MINUTES = tuple(f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60))
_SECONDS = tuple(f"{second:02d}.000Z" for second in range(60))


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return datetime.fromtimestamp(days * 86400, UTC).strftime("%Y-%m-%dT")


def iso_time(us: int) -> str:
    """2026-01-31T23:59:59.000Z, as in XML: whole seconds, so that it equals the Last-Modified header."""
    return iso_second(us // _SECOND_US)


@lru_cache(maxsize=4096)
def iso_second(seconds: int) -> str:
    """The same of whole seconds; a listing calls it a thousand times."""
    days, second = divmod(seconds, 86400)
    return f"{_day(days)}{_MINUTES[second // 60]}{_SECONDS[second % 60]}"


def basic_timestamp(us: int) -> str:
    """20260131T235959Z, as in signatures."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")


_ISO = re.compile(
    rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)T{_CLOCK}(?:\.(?P<fraction>\d{{1,9}}))?(?:Z|(?P<zone>[+-]\d\d:?\d\d))", re.ASCII
)


def parse_date(text: str) -> int | None:
    """Microseconds since 1970 of a date as XML has it (2026-01-31T23:59:59.000Z) or as HTTP has it; None for anything else."""
    return parse_iso_date(text) if _ISO.fullmatch(text) is not None else parse_http_date(text)


def parse_iso_date(text: str) -> int | None:
    """The same of a date as XML has it alone."""
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    try:
        at = datetime(int(found["year"]), int(found["month"]), int(found["day"]), int(found["hour"]), int(found["minute"]), tzinfo=UTC)
    except ValueError:
        return None
    zone = (found["zone"] or "+0000").replace(":", "")
    offset_s = (int(zone[1:3]) * 3600 + int(zone[3:]) * 60) * (-1 if zone[0] == "-" else 1)
    fraction_us = int((found["fraction"] or "").ljust(6, "0")[:6])
    return within(timegm(at.timetuple()) + int(found["second"]) - offset_s, fraction_us)
