"""Requests for many rows at once: listings, digests, rows of a partition.  Every answer fits well into a frame."""

from collections.abc import Sequence

from objstore.errors import InvalidArgument
from objstore.node.checks import check_scan
from objstore.node.engine.api import EnginePage
from objstore.node.state import LocalDevice, NodeState
from objstore.wire.messages import (
    BucketUsage,
    BucketUsageAnswer,
    Digests,
    DigestsAnswer,
    PartitionRow,
    PartitionRows,
    PartitionRowsAnswer,
    Scan,
    ScanAnswer,
)
from objstore.wire.server import Call

MAX_ROWS = 10_000
MAX_PARTITIONS = 65_536
# Rows with long manifests can be large; a page ends early above this, and a single row is always smaller than the rest.
MAX_PAGE_BYTES = 8 * 1024 * 1024


class Pages:
    """Answers them for all devices of a node."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self.handlers = {Scan: self._scan, Digests: self._digests, PartitionRows: self._partition_rows, BucketUsage: self._bucket_usage}

    def _scan(self, call: Call, device: LocalDevice, message: Scan) -> None:
        assert device.view is not None
        check_scan(message)
        page = device.open().scan(
            message.bucket,
            message.space,
            prefix=message.prefix,
            start=message.start,
            limit=min(message.limit, MAX_ROWS),
            delimiter=message.delimiter,
            partitions=device.view.reading,
            versions=message.versions,
            start_version=message.start_version,
            torn=message.torn,
        )
        answer = _answer_of(page, device)
        if memoryview(answer.encoded).nbytes > MAX_PAGE_BYTES:
            answer = _answer_of(cut(page, torn=message.torn), device)
        call.answer(answer)

    def _digests(self, call: Call, device: LocalDevice, message: Digests) -> None:
        self._check_partitions(device, message.partitions)
        found = device.open().digests(message.partitions)
        call.answer(DigestsAnswer([digest for digest, _ in found], [rows for _, rows in found]))

    def _bucket_usage(self, call: Call, device: LocalDevice, message: BucketUsage) -> None:
        engine = device.open()
        if len(message.more) > MAX_ROWS:
            raise InvalidArgument(f"counters of {MAX_ROWS} buckets are told at a time")

        def counters(bucket: bytes) -> tuple[int, int, int, int, int, int]:
            return (*engine.bucket_counters(bucket), *engine.version_counters(bucket), *engine.marker_counters(bucket))

        call.answer(BucketUsageAnswer(*counters(message.bucket), [counters(bucket) for bucket in message.more]))

    def _partition_rows(self, call: Call, device: LocalDevice, message: PartitionRows) -> None:
        self._check_partitions(device, [message.partition])
        engine = device.open()
        if message.limit < 1:
            raise InvalidArgument("a page has at least one row")
        limit = min(message.limit, MAX_ROWS)
        items, cursor = engine.partition_rows(message.partition, cursor=message.cursor, limit=limit, rows=message.rows)
        while len(items) > 1 and _size(items) > MAX_PAGE_BYTES:
            limit = len(items) // 2
            items, cursor = engine.partition_rows(message.partition, cursor=message.cursor, limit=limit, rows=message.rows)
        call.answer(
            PartitionRowsAnswer(
                items,
                cursor,
                self._state.epoch,
                voting=device.votes(message.partition),
                floor=engine.floor(message.partition),
            )
        )

    def _check_partitions(self, device: LocalDevice, partitions: Sequence[int]) -> None:
        assert device.view is not None
        count = len(device.view.roles)
        if len(partitions) > MAX_PARTITIONS or not all(0 <= partition < count for partition in partitions):
            raise InvalidArgument(f"at most {MAX_PARTITIONS} partitions, each below {count}")


def _answer_of(page: EnginePage, device: LocalDevice) -> ScanAnswer:
    return ScanAnswer.of(page.rows, page.scanned_to, device.silent, page.scanned_version)


def cut(page: EnginePage, *, torn: bool) -> EnginePage:
    """End a page early when it is too large, so that the next one begins with the first row left out.

    Unless it may be `torn` between versions, rows of the one name that it would have to be cut in stay together, however large.
    """
    size = 0
    rows = page.rows
    for index, row in enumerate(rows):
        size += len(row.encoded) + len(row.name) + 64
        if size > MAX_PAGE_BYTES and index and (torn or rows[index - 1].name != row.name):
            return EnginePage(rows[:index], row.name, row.version)
    return page


def _size(items: list[PartitionRow]) -> int:
    return sum(len(item.register.row) + len(item.key.name) + 64 for item in items)
