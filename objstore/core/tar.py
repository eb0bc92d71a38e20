"""The heads of tar archives: v7, ustar, GNU and pax (POSIX.1-2001); pure.

    offset  size  field of a head of 512 bytes
    0       100   name
    124     12    size of the data that follows: octal digits, or from 0x80 on a number of 95 bits
    148     8     checksum: the sum of all bytes of the head, with blanks here
    156     1     kind
    257     8     "ustar" NUL "00" (POSIX) or "ustar  " NUL (GNU)
    345     155   prefix of the name (POSIX)

Whatever is wrong raises TarBroken.  Sizes that are told are not believed here: whoever reads the data bounds them.
"""

from typing import NamedTuple

BLOCK_BYTES = 512
MAX_EXTENDED_BYTES = 256 * 1024  # of one pax or long-name member
MAX_RECORDS = 1000  # in one pax member

FILES = frozenset(b"0\x007")  # plain files; "7" is one that wanted its blocks in a row
DIRECTORY = ord("5")
LONG_NAME, LONG_LINK = ord("L"), ord("K")
PAX, PAX_GLOBAL, PAX_SOLARIS = ord("x"), ord("g"), ord("X")

SPARSE = ord("S")  # GNU's of old: its map may go on in blocks behind the head
MORE_OF_HEAD, MORE_OF_MAP = 482, 504  # offset of the byte in a head, and in such a block, that says whether one follows

_POSIX = b"ustar\0"


class TarBroken(ValueError):
    """These bytes are no tar archive."""


class Head(NamedTuple):
    """A member: its name as bytes, the size of its data, its kind."""

    name: bytes
    size: int
    kind: int

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file; of old archives, where directories are files whose names end in a slash, too."""
        return self.kind in FILES and not self.name.endswith(b"/")


def padded(size: int) -> int:
    """What data of this size takes in the archive."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def parse_head(block: bytes) -> Head | None:
    """A head; None for the block of zeros that ends an archive.  Raises TarBroken."""
    assert len(block) == BLOCK_BYTES
    if not any(block):
        return None
    plain = sum(block) - sum(block[148:156]) + 8 * 0x20
    odd = plain - 256 * sum(byte >= 0x80 for byte in block[:148] + block[156:])  # some old writers summed signed bytes
    if _number(block[148:156]) not in (plain, odd):
        raise TarBroken("bad checksum")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == _POSIX:
        prefix = block[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return Head(name, _number(block[124:136]), block[156])


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise TarBroken("a negative or endless number")
        return int.from_bytes(field[1:], "big")
    text = field.partition(b"\0")[0].strip()
    if not text:
        return 0
    if len(text) > 12 or any(byte not in b"01234567" for byte in text):
        raise TarBroken("a number that is not octal")
    return int(text, 8)


def parse_pax(data: bytes) -> dict[str, bytes]:
    """The records of a pax member: `<length> <keyword>=<value>` and a newline each.  Raises TarBroken."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data) and data[at]:
        blank = data.find(b" ", at, at + 12)
        digits = data[at:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise TarBroken("a pax record without a length")
        end = at + int(digits)
        equals = data.find(b"=", blank + 1, end)
        if end > len(data) or equals < 0 or data[end - 1 : end] != b"\n":
            raise TarBroken("a pax record that is cut off")
        if len(found) >= MAX_RECORDS:
            raise TarBroken(f"more than {MAX_RECORDS} pax records")
        try:
            found[data[blank + 1 : equals].decode()] = data[equals + 1 : end - 1]
        except UnicodeDecodeError:
            raise TarBroken("a pax keyword that is not UTF-8") from None
        at = end
    return found


def with_pax(head: Head, records: dict[str, bytes]) -> Head:
    """A head as the records before it say.  Raises TarBroken."""
    size = head.size
    told = records.get("size")
    if told is not None:
        if not told.isdigit() or len(told) > 20:
            raise TarBroken("a pax size that is no number")
        size = int(told)
    return Head(records.get("path", head.name), size, head.kind)


def is_sparse(head: Head, records: dict[str, bytes]) -> bool:
    """Whether the data that follows is not the file itself but a map of its pieces."""
    return head.kind == SPARSE or any(keyword.startswith("GNU.sparse.") for keyword in records)
