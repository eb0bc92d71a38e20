"""Range headers of GET: one range, several, or nothing that is to be obeyed."""

import re
from itertools import pairwise

from objstore.core.ranges import resolve_range
from objstore.errors import InvalidRange

_UNIT = "bytes="
_RANGE = re.compile(r"\s*+(\d{0,18})\s*+-\s*+(\d{0,18})\s*+", re.ASCII)  # possessive: linear on any input
MAX_HEADER_CHARS = 4096
# As in Swift (RFC 9110, section 14.2: many small or overlapping ranges are an attack, or a mistake).
MAX_OVERLAPS = 2
MAX_DISORDERED = 8


def parse_ranges(header: str, most: int) -> list[tuple[int | None, int | None]] | None:
    """(first, last) of each range, either open; None when the header is to be ignored: another unit, garbage, or more than `most`."""
    if not header.startswith(_UNIT) or len(header) > MAX_HEADER_CHARS:
        return None
    specs = header[len(_UNIT) :].split(",")
    if len(specs) > most:
        return None
    found: list[tuple[int | None, int | None]] = []
    for spec in specs:
        match = _RANGE.fullmatch(spec)
        if match is None or not (match[1] or match[2]):
            return None
        first = int(match[1]) if match[1] else None
        last = int(match[2]) if match[2] else None
        if first is not None and last is not None and last < first:
            return None
        found.append((first, last))
    return found


def resolve(ranges: list[tuple[int | None, int | None]], size: int) -> list[tuple[int, int]]:
    """(offset, length) of those that lie within `size` bytes.

    Raises InvalidRange when none does, more than two overlap the one before them, or eight and more are out of order.
    """
    found: list[tuple[int, int]] = []
    for first, last in ranges:
        try:
            found.append(resolve_range(first, last, size))
        except InvalidRange:
            continue
    if not found:
        raise InvalidRange(f"no range lies within the object's {size} bytes", size_bytes=size)
    overlaps = sum(left[0] < right[0] + right[1] and right[0] < left[0] + left[1] for left, right in pairwise(found))
    if overlaps > MAX_OVERLAPS or (len(found) >= MAX_DISORDERED and any(left[0] > right[0] for left, right in pairwise(found))):
        raise InvalidRange("the ranges overlap, or are out of order", size_bytes=size)
    return found
