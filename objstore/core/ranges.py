"""Byte ranges: what a Range header asks for and which bytes that is; pure."""

import re

from objstore.errors import InvalidRange

_SINGLE = re.compile(r"\s*+bytes\s*+=\s*+(\d{0,18})\s*+-\s*+(\d{0,18})\s*+", re.ASCII)  # possessive: linear on any input


def parse_range(header: str) -> tuple[int | None, int | None] | None:
    """(first, last) of a Range header, either open; (None, n) is the last n bytes.

    None when the header is to be ignored and the whole object answered: several ranges (which S3 does not support),
    another unit, a last byte before the first, or plain garbage (RFC 9110, section 14.2).
    """
    found = _SINGLE.fullmatch(header)
    if found is None or not (found[1] or found[2]):
        return None
    first = int(found[1]) if found[1] else None
    last = int(found[2]) if found[2] else None
    if first is not None and last is not None and last < first:
        return None
    return first, last


def resolve_range(first: int | None, last: int | None, size: int) -> tuple[int, int]:
    """(offset, length) of the bytes asked for in an object of `size` bytes.  Raises InvalidRange, with `size_bytes`."""
    if first is None:
        length = min(last or 0, size)
        if length == 0:
            raise InvalidRange("the range asks for no bytes", size_bytes=size)
        return size - length, length
    if first >= size:
        raise InvalidRange(f"the range begins at byte {first} of {size}", size_bytes=size)
    end = size if last is None else min(last + 1, size)
    return first, end - first
