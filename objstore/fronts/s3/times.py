"""Times as S3 writes them.  A listing writes a thousand, so the part down to the minute is remembered."""

from datetime import UTC, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTE_US = 60_000_000


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


def iso_time(us: int) -> str:
    """2026-01-31T23:59:59.123Z, as in XML."""
    minutes, rest = divmod(us, _MINUTE_US)
    return f"{_minute(minutes)}{rest // 1_000_000:02d}.{rest // 1000 % 1000:03d}Z"


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
