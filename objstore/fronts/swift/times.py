"""Times as Swift writes them."""

from datetime import UTC, datetime

_SECOND_US = 1_000_000


def timestamp(us: int) -> str:
    """1700000000.12345: seconds with five digits behind the point."""
    return f"{us // _SECOND_US}.{us % _SECOND_US // 10:05d}"


def listing_time(us: int) -> str:
    """2026-01-31T23:59:59.123450, as in listings: steps of ten microseconds, as clusters tell each other times, and no zone."""
    return datetime.fromtimestamp(us // _SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % _SECOND_US // 10:05d}0"
