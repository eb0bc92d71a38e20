"""The cluster's face, as the object model sees it: registers with agreement, bodies, merged scans.

`Cluster` (in `objstore/cluster/cluster.py`) implements it.  All methods raise `Unavailable` errors when too few
replicas answer within their deadline; a `judge` may raise any `Refused`, which passes through unchanged.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from objstore.core.quota import Holdings, Usage
from objstore.core.rows import Row, RowKey
from objstore.core.timestamp import Ballot
from objstore.wire.messages import ScanRow


class Held(msgspec.Struct, frozen=True):
    """A chosen head: `row` is None when there is nothing (a tombstone's row is given as it is)."""

    accepted: Ballot
    row: Row | None
    payload: bytes | None = None  # an inline body, when it was asked for and came along
    sources: tuple[int, ...] = ()  # devices known to hold the row and its bytes, best first


class Written(msgspec.Struct, frozen=True):
    """A write that took effect: the row as agreed; `previous` is what the query saw before it (for clean-up, may be None)."""

    row: Row
    previous: Row | None


Judge = Callable[[Row | None], Row | None]
"""Given the current row, the draft to write, or None to leave things as they are; or raises Refused.

Called again after each lost race, so it must be pure.  The current row may be a tombstone.
"""


class Versions(Protocol):
    """The noncurrent versions of a key while a judge looks at it: what holds under the judge's own promise, so that nothing about
    them can change before its row is written.

    What is asked for is read when it is first asked for, and the judge is then called again from its beginning: it must let
    pass whatever these methods raise, and ask for no more than it needs.
    """

    def get(self, version: str) -> Row | None:
        """The row of a version by its id ("" for the null version): OBJECT or DELETE_MARKER.  None when there is none.

        Also the current row, when that is the version named.
        """

    def newest(self) -> Row | None:
        """The version that becomes the latest when the current one is removed: of all others the newest.  None: there is none."""


VersionsJudge = Callable[[Row | None, Versions], Row | None]
"""As Judge, for a change that depends on noncurrent versions."""


class Staging(Protocol):
    """A blob on its way to the replicas of one partition, before its row."""

    blob: bytes

    async def write(self, piece: bytes | memoryview) -> None:
        """Send a piece to every replica; waits while the slower ones of the quorum are behind."""

    async def finish(self) -> None:
        """Returns when a write quorum has flushed it.  Raises QuorumLost; then nothing is left behind for long."""

    async def abort(self) -> None:
        """Drop it."""


ScannedRow = ScanRow
"""One row of a merged scan, as nodes show it; where they differed, as a read settled it."""

WantedHead = Callable[[ScannedRow], bool]
"""Whether a listing of noncurrent versions is to show this head too."""


@dataclass(frozen=True)
class ScanPage:
    """Live rows in order; `next_start` is where to go on, None at the end of the range; of that name at `next_version`."""

    rows: Sequence[ScannedRow]  # each decodes its row when that is asked for
    next_start: bytes | None
    next_version: bytes = b""


class ClusterApi(Protocol):
    """What `objects/` builds on."""

    @property
    def policies(self) -> "Mapping[str, ClusterApi]":
        """The rings of further storage policies by name (ADR 11); empty where there is one ring.

        Reads, writes and bodies find theirs by the name of the row; scans are of the default ring, or of one of these.
        """

    def partition(self, key: RowKey, *, spread: int = 0) -> int:
        """The ring slot of a key."""

    async def read(self, key: RowKey, *, spread: int = 0, inline: bool = False) -> Held:
        """The chosen row, written back where needed before this returns."""

    async def read_once_written(self, key: RowKey, origin: Ballot, *, spread: int = 0) -> Held:
        """A row that is written once and is known to have been, by `origin`, with its inline payload: from whichever replica has it.

        As `read` where none has.
        """

    def is_well(self, key: RowKey, *, spread: int = 0) -> bool:
        """Whether all replicas of a row's partition can be reached, as far as is known."""

    async def settle(self, key: RowKey, partition: int) -> None:
        """Read a register by partition, so that one row is chosen on a majority; for daemons, which know no bucket's spread."""

    def anchor(self, key: RowKey, *, spread: int = 0) -> int:
        """What `names.part_name` needs to place a part where the body of `key` lies, so that the two can share it."""

    async def write(
        self, key: RowKey, draft: Row, *, spread: int = 0, payload: bytes | None = None, staging: Staging | None = None,
        holders: Sequence[int] = (),
    ) -> Written:  # fmt: skip
        """Plain write.  `draft.origin`, `base` and `operation` are filled in here.  Raises OutcomeUnknown after bounded retries.

        `holders`: devices that hold the blob which the draft names, because a row that lies there too names it.  A replica that has
        no such blob, or that has just lost it with the last row that named it, does not take the draft.

        Of every write: `draft.version` NEW_VERSION is replaced by a new version id; `draft.effects` are encoded rows of other
        versions of the key that are stored together with it, each with `version` set ("" is the null version): a TOMBSTONE removes
        that version, an OBJECT or DELETE_MARKER (a changed copy of the version's row) replaces all of it but its bytes.  Their
        origin and operation are filled in here too.
        """

    async def bury(self, key: RowKey, draft: Row, *, spread: int = 0) -> bool:
        """Plain write of a tombstone, unless a quorum agrees that there is nothing to bury; whether it was written."""

    async def conditional(
        self, key: RowKey, judge: Judge, *, spread: int = 0, payload: bytes | None = None, staging: Staging | None = None
    ) -> Written:
        """Conditional write: atomic against every other write of the key.

        When the judge raises, the state it judged is made sure of on a majority first.  Raises ConditionalConflict when it
        cannot be known whether an own earlier attempt took effect.  When the judge returned None, `row` is the current one
        (raises NoSuchKey if there is none).
        """

    async def conditional_versions(
        self, key: RowKey, judge: VersionsJudge, *, spread: int = 0, payload: bytes | None = None, staging: Staging | None = None
    ) -> Written:
        """As `conditional`, by a judge that looks at noncurrent versions too (ADR 6).  `key` is the head's.

        Removing the current version: the judge returns `versions.newest()` (`msgspec.structs.replace` of it, so that the rest of the
        row stays as it is), or a TOMBSTONE when that is None, with a TOMBSTONE of the removed version among the effects.  The bytes
        of a version that is brought back are held by the replicas already: no payload and no staging.
        """

    async def stage(self, key: RowKey, *, spread: int = 0, size: int | None = None) -> Staging:
        """Open a blob on all primaries (and on handoffs as extra copies where a primary is unreachable)."""

    def read_body(
        self, key: RowKey, row: Row, *, spread: int = 0, offset: int = 0, length: int = -1, sources: Sequence[int] = (), turn: int = 0
    ) -> AsyncIterator[bytes | memoryview]:
        """Verified bytes of an inline or blob row; goes on from another replica when one fails or is damaged midway.

        `turn` 1, 2... begins with another replica than before: for bytes that are wrong although their checksums are good.
        """

    async def usage(self, bucket: bytes) -> Usage:
        """What a bucket holds, by the devices' counters: cheap, rather too much than too little, off by what is on its way."""

    async def holdings(self, bucket: bytes) -> Holdings:
        """The same with all that is counted, and as likely too little as too much."""

    async def holdings_of(self, buckets: Sequence[bytes], *, most: bool = False) -> list[Holdings]:
        """What each of many buckets holds, for the price of a few questions; with `most` rather too much than too little."""

    async def scan(
        self,
        bucket: bytes,
        space: int,
        *,
        prefix: bytes = b"",
        start: bytes = b"",
        limit: int = 1000,
        delimiter: bytes = b"",
        versions: bool = False,
        markers: bool = False,
        start_version: bytes = b"",
        heads: WantedHead | None = None,
    ) -> ScanPage:
        """Merged listing of live rows, as consistent as a read of each.  At most `limit` rows; may return fewer and go on.

        `markers`: heads that are delete markers too.  `versions` (with Space.VERSIONS): all noncurrent versions, delete markers
        included, by name, under one name the null version and then the newest first; a page may end between two of them, and the next
        one begins with `start_version` (inclusive; empty: the null version) of the name `start`.  Whoever lists heads and versions must
        scan the heads first: a version demoted meanwhile is then seen twice, not missed.  A version that was brought back as the
        head may be shown among the noncurrent ones too, and is for certain where `heads` wants it: replicas that missed what was above it
        have it as their head alone.
        """
