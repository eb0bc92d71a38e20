"""What proxies, nodes and daemons say to each other: one frozen struct per message.

Every request that touches data names the sender's ring `epoch`, the `device` it is for and the device's `incarnation`
as the ring records it; a node refuses any that does not match its own (StaleEpoch, NewerEpoch, WrongIncarnation).  A
frame's header names the message type by its code in REQUESTS or ANSWERS below; bodies (`payload`) travel raw behind the
head in the same frame, or as DATA frames of the same request id.  New fields go last, with a default.
"""

from collections.abc import Sequence

import msgspec

from objstore.core.rows import EMPTY, Register, Row, RowKey, decode_row
from objstore.core.timestamp import ZERO, Ballot

PROTOCOL_VERSION = 1


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages."""


class Request(Message, frozen=True, array_like=True):
    """Base of requests for one device."""

    epoch: int
    device: int
    incarnation: bytes
    timeout_ms: int


# -- registers ------------------------------------------------------------------------------------------------


class Query(Request, frozen=True, array_like=True):
    """Read a register.  With `inline` an inline payload follows in the answer's frame.

    `stored`: of a version key what lies under that very key, although the head is that version and answers for it else; for repair.
    """

    partition: int
    key: RowKey
    inline: bool = False
    stored: bool = False


class Prepare(Request, frozen=True, array_like=True):
    """Promise to accept nothing below `ballot`."""

    partition: int
    key: RowKey
    ballot: Ballot


class Accept(Request, frozen=True, array_like=True):
    """Store `row` (encoded) at `ballot`.

    Its bytes: an inline payload follows in this frame (`has_payload`), or were staged before under the row's blob id, or
    are held already under the same origin; else the node pulls them from one of `sources` (device ids) before it commits.
    """

    partition: int
    key: RowKey
    ballot: Ballot
    row: bytes
    has_payload: bool = False
    sources: tuple[int, ...] = ()
    handoff: bool = False  # an extra copy on a device that is no primary: it never counts


class RegisterAnswer(Message, frozen=True, array_like=True):
    """Answer to Query and to a granted or refused Prepare.  `voting` is False while the device is being refilled."""

    register: Register = EMPTY
    granted: bool = True  # Prepare only
    voting: bool = True
    has_payload: bool = False
    floor: Ballot = ZERO  # Prepare, and Query of a version: tombstones of the partition up to this ballot may be reclaimed here


class AcceptAnswer(Message, frozen=True, array_like=True):
    """Answer to Accept.  `verdict`: "yes", "superseded" (accepted is higher; `base` is its row's base) or "no"."""

    verdict: str
    highest: Ballot = ZERO
    base: Ballot = ZERO
    voting: bool = True


class Reclaim(Request, frozen=True, array_like=True):
    """Drop a tombstone that every primary has confirmed, if it is still what is accepted, at exactly `ballot`."""

    partition: int
    key: RowKey
    ballot: Ballot


class ReclaimAnswer(Message, frozen=True, array_like=True):
    """Whether the register was dropped (or was absent already)."""

    dropped: bool


class Newest(Request, frozen=True, array_like=True):
    """The null version and the newest noncurrent versions of the object whose head `key` is, tombstones left out.

    Below the version `below`, or all when that is empty; at most `limit` besides the null version.
    """

    partition: int
    key: RowKey
    below: bytes = b""
    limit: int = 4


class NewestAnswer(Message, frozen=True, array_like=True):
    """Answer to Newest: the null version first if there is one, then newest first; `rows` below the limit: there are no more."""

    rows: list["ScanRow"]
    voting: bool = True


# -- bodies ---------------------------------------------------------------------------------------------------


class StageBody(Request, frozen=True, array_like=True):
    """Receive a blob under `blob` before its row: DATA frames follow, the last with the END flag.

    Answered by Staged once the bytes are flushed and linked.  A staged blob that no row names is swept after an hour.
    """

    partition: int
    blob: bytes
    size: int  # announced size, or -1


class Staged(Message, frozen=True, array_like=True):
    """A blob is durable; `size` and `digest` (XXH3-128 of all of it) let the sender check the whole path."""

    size: int
    digest: bytes


class ReadBody(Request, frozen=True, array_like=True):
    """Stream verified bytes [offset, offset + length) of the row of `key` whose origin is `origin`; length -1: to the end.

    Answered by BodyBegin, then DATA frames, the last with the END flag; a Failure frame instead of END when it breaks off.
    """

    key: RowKey
    origin: Ballot
    offset: int = 0
    length: int = -1
    content: bytes = b""  # blob id or payload digest: these bytes, of whatever version or state of the object names them


class BodyBegin(Message, frozen=True, array_like=True):
    """Bytes follow: `length` of them; the whole body has `size`."""

    size: int
    length: int


# -- listing, repair ------------------------------------------------------------------------------------------


class Scan(Request, frozen=True, array_like=True):
    """Rows of one bucket and space in byte order of name, of partitions for which this device is a voting primary.

    `start` is inclusive.  Tombstones are left out.  With a delimiter, names that share a prefix up to and including its
    first occurrence after `prefix` are represented by the first of them.

    Under one name the head (or null version) comes first, then the newest version.  `start_version` is inclusive too: of the name
    `start` this version and older ones.  With `torn` (and no delimiter) a page may end between two versions of a name; a node that
    does not know these two fields answers with whole names.
    """

    bucket: bytes
    space: int
    prefix: bytes
    start: bytes
    limit: int
    delimiter: bytes = b""
    versions: bool = False  # noncurrent versions too
    start_version: bytes = b""
    torn: bool = False


class ScanRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of a scan: name, version (empty: the head), partition, accepted ballot, encoded row."""

    name: bytes
    version: bytes
    partition: int
    accepted: Ballot
    encoded: bytes

    @property
    def row(self) -> Row:
        """The row, decoded anew each time: most rows of a page are decoded where they are shown, and nothing is kept in between.

        Raises msgspec.MsgspecError.
        """
        return decode_row(self.encoded)


_encode_rows = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[ScanRow]).decode


class ScanAnswer(Message, frozen=True, array_like=True):
    """`scanned_to`: every name below it was looked at; None when the end of the range was reached.

    `scanned_version`: of the name `scanned_to` everything before this version was looked at too; empty: nothing of it.
    `silent`: partitions of which this device is a primary in the ring but for which it has no vote now.
    """

    encoded: msgspec.Raw  # list[ScanRow]: devices that agree send the same bytes, which need decoding only once
    scanned_to: bytes | None = None
    silent: tuple[int, ...] = ()
    scanned_version: bytes = b""

    @classmethod
    def of(
        cls, rows: Sequence[ScanRow], scanned_to: bytes | None = None, silent: tuple[int, ...] = (), scanned_version: bytes = b""
    ) -> "ScanAnswer":
        """The answer that shows `rows`."""
        return cls(msgspec.Raw(_encode_rows(rows)), scanned_to, silent, scanned_version)

    @property
    def rows(self) -> list[ScanRow]:
        """The rows, decoded anew each time.  Raises msgspec.MsgspecError."""
        return _decode_rows(self.encoded)


class Digests(Request, frozen=True, array_like=True):
    """Digest of each named partition, over (key, accepted ballot) of all registers in it."""

    partitions: list[int]


class DigestsAnswer(Message, frozen=True, array_like=True):
    """In the order asked: digest (16 bytes, zero when empty) and number of rows."""

    digests: list[bytes]
    rows: list[int]


class BucketUsage(Request, frozen=True, array_like=True):
    """What the device holds of a bucket, by its counters, and of `more` buckets."""

    bucket: bytes
    more: list[bytes] = []


class BucketUsageAnswer(Message, frozen=True, array_like=True):
    """Live heads and noncurrent versions (delete markers among these), and their bytes; delete markers, current and noncurrent."""

    objects: int
    bytes: int
    versions: int = 0
    version_bytes: int = 0
    markers: int = 0
    version_markers: int = 0
    more: list[tuple[int, int, int, int, int, int]] = []  # the same for each of `more`; a peer that does not know these answers for one


class PartitionRows(Request, frozen=True, array_like=True):
    """Registers of one partition after `cursor` (opaque, empty at first)."""

    partition: int
    cursor: bytes
    limit: int
    rows: bool = True  # False: keys and ballots only (Register.row empty)


class PartitionRow(msgspec.Struct, frozen=True, array_like=True):
    """One register with its key; `partition` is set where the context does not say it (audit)."""

    key: RowKey
    register: Register
    partition: int = -1


class PartitionRowsAnswer(Message, frozen=True, array_like=True):
    """`cursor` is None at the end.  `epoch` is the ring epoch that the node has durably seen."""

    items: list[PartitionRow]
    cursor: bytes | None
    epoch: int
    voting: bool
    floor: Ballot = ZERO  # the partition's reclaim floor (engine): an absent register counts as promised this far


class Merge(Request, frozen=True, array_like=True):
    """Give a register what another replica holds: the row under the accept rule, then promise and floor if higher.

    A missing body is pulled from `sources` first.  See `EngineApi.merge`.
    """

    partition: int
    key: RowKey
    register: Register
    sources: tuple[int, ...] = ()
    floor: Ballot = ZERO


class Merged(Message, frozen=True, array_like=True):
    """Whether anything changed, bytes of body pulled, and what the register holds afterwards.

    `promised` counts the partition's floor for an absent register.
    """

    changed: bool
    bytes_pulled: int = 0
    accepted: Ballot = ZERO
    promised: Ballot = ZERO


class DropPartition(Request, frozen=True, array_like=True):
    """Remove rows of a partition from a device that is no primary of it, or none with a vote yet.

    Only rows that all primaries confirmed, or that a read quorum of them has forgotten.
    """

    partition: int
    items: list[PartitionRow]  # key and accepted ballot; dropped only where the ballot still matches


class Dropped(Message, frozen=True, array_like=True):
    """How many rows went."""

    rows: int


# -- node and ring --------------------------------------------------------------------------------------------


class NodeStatus(Message, frozen=True, array_like=True):
    """Ask a node for its state; needs no epoch."""


class DeviceReport(msgspec.Struct, frozen=True, array_like=True):
    """One device as its node sees it.  `state`: "up", "refilling", "offline", "full"."""

    device: int
    incarnation: bytes
    path: str
    state: str
    used_bytes: int
    free_bytes: int
    rows: int
    quarantined: int
    pending_partitions: int  # partitions of the current ring not yet in sync here
    staged: int = 0
    purge_queue: int = 0
    detail: str = ""


class NodeReport(Message, frozen=True, array_like=True):
    """Answer to NodeStatus."""

    name: str
    epoch: int
    wall_us: int
    devices: list[DeviceReport]
    counters: dict[str, int] = {}


class GetRing(Message, frozen=True, array_like=True):
    """Ask for the ring file that the peer uses."""


class PutRing(Message, frozen=True, array_like=True):
    """Give the peer a ring file (the payload, `ring/codec.py` format); it keeps the one with the higher epoch."""


class RingAnswer(Message, frozen=True, array_like=True):
    """The epoch in use; the ring file follows as payload when it was asked for."""

    epoch: int
    has_payload: bool = False


class InSync(Request, frozen=True, array_like=True):
    """Tell a device that it now holds partition `partition` completely for the ring `epoch`; it keeps that durably.

    `floor`: the highest reclaim floor of those it was refilled from, which it takes over.
    """

    partition: int
    floor: Ballot = ZERO


class SyncState(Request, frozen=True, array_like=True):
    """Ask which partitions of the current ring the device does not yet hold completely."""


class SyncStateAnswer(Message, frozen=True, array_like=True):
    """Partitions that still need refilling."""

    pending: list[int]


class Audit(Request, frozen=True, array_like=True):
    """Verify stored bytes from `cursor` on, for at most `budget_bytes`; damaged rows are quarantined."""

    cursor: bytes
    budget_bytes: int


class AuditAnswer(Message, frozen=True, array_like=True):
    """`cursor` None: a full pass ended.  `damaged`: rows whose bytes or row were bad here and must be healed."""

    cursor: bytes | None
    rows: int
    bytes: int
    damaged: list[PartitionRow]
    quarantined: int = 0


class Maintain(Request, frozen=True, array_like=True):
    """Run one bounded piece of upkeep: "checkpoint", "compact", "purge", "sweep_staged"."""

    what: str


class Maintained(Message, frozen=True, array_like=True):
    """What upkeep did: counts by name, and whether more is waiting."""

    counts: dict[str, int]
    more: bool = False


class Locate(Request, frozen=True, array_like=True):
    """Where a register's bytes are on this device."""

    key: RowKey


class Located(Message, frozen=True, array_like=True):
    """File (relative to the device's directory), offset and length; empty file when there are none."""

    register: Register
    file: str = ""
    offset: int = 0
    length: int = 0


class Done(Message, frozen=True, array_like=True):
    """An answer that says no more than that it was done."""


class Failure(Message, frozen=True, array_like=True):
    """The request was refused or failed: the class name from `objstore.errors`, its message and plain facts."""

    error: str
    message: str
    facts: dict[str, str | int] = {}


# codes on the wire: never reuse one
TYPES: dict[int, type[Message]] = {
    1: Query, 2: Prepare, 3: Accept, 4: RegisterAnswer, 5: AcceptAnswer, 6: Reclaim, 7: ReclaimAnswer, 8: Newest, 9: NewestAnswer,
    10: StageBody, 11: Staged, 12: ReadBody, 13: BodyBegin,
    20: Scan, 21: ScanAnswer, 22: Digests, 23: DigestsAnswer, 24: PartitionRows, 25: PartitionRowsAnswer,
    26: Merge, 27: Merged, 28: DropPartition, 29: Dropped, 30: BucketUsage, 31: BucketUsageAnswer,
    40: NodeStatus, 41: NodeReport, 42: GetRing, 43: PutRing, 44: RingAnswer, 45: InSync, 46: SyncState, 47: SyncStateAnswer,
    48: Audit, 49: AuditAnswer, 50: Maintain, 51: Maintained, 52: Locate, 53: Located,
    60: Done, 61: Failure,
}  # fmt: skip
