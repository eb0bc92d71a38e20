"""Times as S3 writes them.  A listing writes a thousand, so they are put together from tables."""

from datetime import UTC, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECOND_US = 1_000_000
_MINUTES = tuple(f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60))
_SECONDS = tuple(f"{second:02d}.000Z" for second in range(60))


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return datetime.fromtimestamp(days * 86400, UTC).strftime("%Y-%m-%dT")


def iso_time(us: int) -> str:
    """2026-01-31T23:59:59.000Z, as in XML: whole seconds, so that it equals the Last-Modified header."""
    days, second = divmod(us // _SECOND_US, 86400)
    return f"{_day(days)}{_MINUTES[second // 60]}{_SECONDS[second % 60]}"


@lru_cache(maxsize=4096)
def _http_second(seconds: int) -> bytes:
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} {at.hour:02d}:{at.minute:02d}:{at.second:02d} GMT".encode()


def http_time(us: int) -> bytes:
    """Sat, 31 Jan 2026 23:59:59 GMT, as in headers."""
    return _http_second(us // 1_000_000)


def basic_timestamp(us: int) -> str:
    """20260131T235959Z, as in signatures."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
