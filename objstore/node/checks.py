"""Are the fields of a request what they must be?  Pure.

A peer that holds the cluster key may still have a bug or another version.  The engine asserts its preconditions, and what
it was given wrong it would keep; so everything that becomes part of a stored key or record is looked at here first.  All
functions raise InvalidArgument.
"""

from collections.abc import Sequence

from objstore.core.names import ROW_NAME_LIMIT_BYTES
from objstore.core.rows import BUCKET_ID_BYTES, RowKey
from objstore.core.timestamp import BALLOT_BYTES
from objstore.errors import InvalidArgument
from objstore.wire.messages import PartitionRow, Scan

MAX_SPACE = 255  # one byte in an index key
MAX_ITEMS = 100_000


def check_key(key: RowKey) -> None:
    """A register's key."""
    if (
        len(key.bucket) != BUCKET_ID_BYTES
        or not 0 <= key.space <= MAX_SPACE
        or len(key.name) > ROW_NAME_LIMIT_BYTES
        or (key.version and len(key.version) != BALLOT_BYTES)
    ):
        raise InvalidArgument("the key of a register has a field of the wrong length")


def check_ballots(*ballots: bytes) -> None:
    """Ballots, ZERO included."""
    for ballot in ballots:
        if len(ballot) != BALLOT_BYTES:
            raise InvalidArgument(f"a ballot has {BALLOT_BYTES} bytes")


def check_partition(partition: int, count: int) -> None:
    """A partition of a ring with `count` of them."""
    if not 0 <= partition < count:
        raise InvalidArgument(f"partition {partition} is not in the ring: it has {count}")


def check_items(items: Sequence[PartitionRow]) -> None:
    """Keys with the ballots that they are expected to have."""
    if len(items) > MAX_ITEMS:
        raise InvalidArgument(f"at most {MAX_ITEMS} registers at a time")
    for item in items:
        check_key(item.key)
        check_ballots(item.register.accepted)


def check_scan(scan: Scan) -> None:
    """Bounds of a listing."""
    if len(scan.bucket) != BUCKET_ID_BYTES or not 0 <= scan.space <= MAX_SPACE:
        raise InvalidArgument("the bucket id or space of a scan is wrong")
    if max(len(scan.prefix), len(scan.start), len(scan.delimiter)) > ROW_NAME_LIMIT_BYTES:
        raise InvalidArgument(f"prefix, start and delimiter have at most {ROW_NAME_LIMIT_BYTES} bytes")
    if scan.start_version and len(scan.start_version) != BALLOT_BYTES:
        raise InvalidArgument(f"a version to start at has {BALLOT_BYTES} bytes")
    if scan.torn and scan.delimiter:
        raise InvalidArgument("versions are not listed in groups")
    if scan.limit < 1:
        raise InvalidArgument("a page has at least one row")
