"""One device's engine, as the node sees it.

`Engine` (in `objstore/node/engine/engine.py`) implements it.  It applies the replica's side of the register rules
(`core/agreement.py`) to what it holds, and answers only after a flush.  It knows no ring and no network: whether the
device has a vote, which epoch counts, where a missing body can be pulled from is the node's business (`node/state.py`).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from objstore.core.rows import Register, RowKey
from objstore.core.timestamp import Ballot
from objstore.wire.messages import AcceptAnswer, PartitionRow, ScanRow


class BodyMissing(Exception):
    """Accept or merge of a row whose bytes are neither in the call nor held here; pull them, then call again."""


@dataclass(frozen=True)
class EnginePage:
    """Rows of one scan and the name up to which everything was looked at (None: end of range).

    `scanned_version`: of that name, the version up to which everything was looked at; empty: nothing of it.
    """

    rows: list[ScanRow]
    scanned_to: bytes | None
    scanned_version: bytes = b""


@dataclass(frozen=True)
class BodyStream:
    """Verified bytes: `length` of them will come, from a body of `size`."""

    size: int
    length: int
    chunks: AsyncIterator[bytes | memoryview]


@dataclass(frozen=True)
class StagedBody:
    """A durable blob not yet named by a row."""

    size: int
    digest: bytes  # XXH3-128 of the whole


class StageWriter(Protocol):
    """Receives one blob."""

    async def write(self, piece: bytes | memoryview) -> None:
        """Take a piece; waits while too much is unwritten."""

    async def finish(self) -> StagedBody:
        """Flush, link and flush the directory."""

    async def abort(self) -> None:
        """Forget it."""


@dataclass(frozen=True)
class AuditStep:
    """One bounded piece of a scrub."""

    cursor: bytes | None
    rows: int
    bytes: int
    damaged: list[PartitionRow]
    quarantined: int


@dataclass(frozen=True)
class EngineStats:
    """Counts for status and metrics."""

    rows: int
    live_bytes: int
    pack_bytes: int
    blob_bytes: int
    index_bytes: int
    quarantined: int
    purge_queue: int
    staged: int


@dataclass(frozen=True)
class Location:
    """Where a register's bytes are, relative to the device's directory; empty file when nowhere."""

    register: Register
    file: str
    offset: int
    length: int


class EngineApi(Protocol):
    """One open device.  Every method that changes something returns after its flush."""

    incarnation: bytes  # 8 random bytes made when the device was formatted

    @property
    def trouble(self) -> str:
        """Why the device is out of service now; empty while it serves."""

    def query(self, key: RowKey, *, partition: int, stored: bool = False) -> Register:
        """The flushed register.  An absent one counts as promised up to the partition's reclaim floor.

        Of a version key: the head, while that is the version (not with `stored`); an open promise of the head is one of the version too.
        """

    async def query_inline(self, key: RowKey, *, partition: int) -> tuple[Register, bytes | None]:
        """The register and its inline payload, verified.  Raises DamagedBody."""

    async def prepare(self, key: RowKey, *, partition: int, ballot: Ballot) -> tuple[bool, Register]:
        """Promise, flushed.  (granted, the register with that promise or with what stands above)."""

    async def accept(
        self, key: RowKey, *, partition: int, ballot: Ballot, row: bytes, payload: bytes | memoryview | None = None
    ) -> AcceptAnswer:
        """Apply an accept, flushed when "yes".  Raises BodyMissing, DeviceFull, DeviceOffline, DamagedBody."""

    async def merge(
        self, key: RowKey, *, partition: int, register: Register, payload: bytes | memoryview | None = None, floor: Ballot
    ) -> bool:
        """Take over what another replica holds; True when something changed.  Raises BodyMissing.

        First `register.row` as an accept at `register.accepted` under the accept rule (a promise above it refuses it: a proposer
        may have judged a condition without this row), then the promise is raised to `register.promised` and the partition's floor
        to `floor`.  A damaged register takes row and promise as they come, also at a ballot that it held before.
        """

    async def reclaim(self, key: RowKey, *, partition: int, ballot: Ballot) -> bool:
        """Drop a tombstone at exactly `ballot` and raise the partition's floor to it.  True when it is gone."""

    async def drop(self, items: Sequence[PartitionRow], *, partition: int) -> int:
        """Forget registers whose accepted ballot still matches, without raising the floor."""

    async def raise_floor(self, partition: int, floor: Ballot) -> None:
        """Take over another replica's reclaim floor if it is higher."""

    def floor(self, partition: int) -> Ballot:
        """The highest tombstone ballot reclaimed in the partition."""

    async def stage(self, blob: bytes, *, size: int) -> StageWriter:
        """Receive a blob.  Raises DeviceFull, DeviceOffline."""

    async def read_body(self, key: RowKey, *, origin: Ballot, offset: int, length: int, content: bytes = b"") -> BodyStream:
        """Stream verified bytes.  Raises NoSuchVersion when no row of the object has this origin, DamagedBody.

        A version's bytes are found under its own key and under the head's, whichever is asked for.  `content` (blob id or digest)
        asks for these bytes, of whatever row.  A stream that has begun stays readable after the row is overwritten.
        """

    def scan(
        self, bucket: bytes, space: int, *, prefix: bytes, start: bytes, limit: int, delimiter: bytes, partitions: bytes, versions: bool,
        start_version: bytes = b"", torn: bool = False,
    ) -> EnginePage:  # fmt: skip
        """Live rows whose partition p has partitions[p] != 0, in byte order of name.  See wire.messages.Scan."""

    def digests(self, partitions: Sequence[int]) -> list[tuple[bytes, int]]:
        """(digest, rows) of each partition."""

    def partitions_held(self) -> list[int]:
        """Partitions with at least one register, ascending."""

    def partition_rows(self, partition: int, *, cursor: bytes, limit: int, rows: bool) -> tuple[list[PartitionRow], bytes | None]:
        """Registers of a partition in a stable order."""

    def note(self, name: str) -> bytes | None:
        """A small durable value kept for the node (ring epoch seen, partitions in sync)."""

    async def set_notes(self, notes: dict[str, bytes | None]) -> None:
        """Change such values durably and at once."""

    def locate(self, key: RowKey) -> Location:
        """Where the bytes are."""

    async def audit(self, cursor: bytes, *, budget_bytes: int) -> AuditStep:
        """Verify rows, index entries and bytes from `cursor` (empty: the beginning); quarantine what is damaged.

        A damaged register is removed from service: until it is healed by `merge` or `accept` it answers DamagedRow.
        """

    async def maintain(self, what: str) -> tuple[dict[str, int], bool]:
        """One bounded piece of "checkpoint", "compact", "purge" or "sweep_staged"; (counts, more waiting)."""

    def newest(self, key: RowKey, *, partition: int, below: bytes, limit: int) -> list[ScanRow]:
        """The null version and the newest `limit` others of an object's noncurrent versions, below a version id (empty: of all)."""

    def bucket_counters(self, bucket: bytes) -> tuple[int, int]:
        """(live objects, their bytes) that this device holds of the bucket's OBJECTS space."""

    def version_counters(self, bucket: bytes) -> tuple[int, int]:
        """(noncurrent versions with delete markers, their bytes) that this device holds of a bucket.

        A version that was brought back as the head may be counted as both until it is replaced.
        """

    def marker_counters(self, bucket: bytes) -> tuple[int, int]:
        """(delete markers that are heads, noncurrent ones) that this device holds of a bucket."""

    def stats(self) -> EngineStats:
        """Counts."""

    async def close(self) -> None:
        """Checkpoint and close."""
