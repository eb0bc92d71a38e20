"""What buckets hold, for operators: totals from the devices' counters, exact sums below a prefix by scanning it a page at a time."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from objstore.cluster.api import ClusterApi, ScannedRow, ScanPage
from objstore.core import names
from objstore.core.rows import Kind, Space
from objstore.core.versions import version_bytes
from objstore.errors import InvalidArgument
from objstore.objects.buckets import BucketRecord, all_buckets
from objstore.objects.parts import attempts_of

PAGE_ROWS = 10_000  # looked at for one answer, so that each comes soon
BUCKETS_AT_ONCE = 100
UPLOADS_AT_ONCE = 1000
DEPTH_LIMIT = 64
_PHASES = (Space.OBJECTS, Space.VERSIONS, Space.UPLOADS)


class Counts(msgspec.Struct):
    """Sums; sizes are those that clients see.  Parts of uploads count with every attempt that lies there."""

    objects: int = 0
    bytes: int = 0
    versions: int = 0  # noncurrent, without delete markers
    version_bytes: int = 0
    markers: int = 0  # current and noncurrent
    uploads: int = 0
    upload_bytes: int = 0

    def add(self, other: "Counts") -> None:
        """Count in."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Cursor(NamedTuple):
    """How far a scan has come; as text it goes through the control socket."""

    phase: int
    start: bytes
    version: bytes

    def text(self) -> str:
        """For `parse`."""
        return f"{self.phase}:{self.start.hex()}:{self.version.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises InvalidArgument."""
        try:
            phase, start, version = text.split(":")
            found = cls(int(phase), bytes.fromhex(start), bytes.fromhex(version))
        except ValueError as malformed:
            raise InvalidArgument(f"{text!r} is no place in a scan") from malformed
        if not 0 <= found.phase < len(_PHASES):
            raise InvalidArgument(f"{text!r} is no place in a scan")
        return found


BEGIN = Cursor(0, b"", b"")


async def list_holdings(cluster: ClusterApi, bucket: str = "", after: str = "") -> dict[str, Any]:
    """Totals of buckets (of all, or of those of one name) behind the record named `after`, and where to go on.

    Objects, versions and delete markers are what the devices' counters say; uploads are looked at.
    """
    found: list[dict[str, Any]] = []
    async for record in all_buckets(cluster, after=after.encode()):
        if bucket and record.name != bucket:
            continue
        if len(found) == BUCKETS_AT_ONCE:
            return {"buckets": found, "next": after}
        found.append(await _totals(cluster, record))
        after = names.bucket_record_name(record.account, record.name).decode()
    return {"buckets": found, "next": ""}


async def _totals(cluster: ClusterApi, record: BucketRecord) -> dict[str, Any]:
    held = await cluster.holdings(record.id)
    counts = Counts(held.objects, held.bytes, held.versions, held.version_bytes, held.markers)
    cursor: Cursor | None = Cursor(_PHASES.index(Space.UPLOADS), b"", b"")
    while cursor is not None:
        groups, cursor = await scan_holdings(cluster, record.id, cursor=cursor)
        counts.add(groups[""])
    about = {"bucket": record.name, "account": record.account, "id": record.id.hex()}
    return {**about, **msgspec.to_builtins(counts), "stored_bytes": held.stored_bytes}


async def scan_holdings(
    cluster: ClusterApi, bucket: bytes, *, prefix: str = "", depth: int = 0, cursor: Cursor = BEGIN
) -> tuple[dict[str, Counts], Cursor | None]:
    """Sums of a page of a bucket's rows below `prefix`: all of them under the prefix itself, and those below each "directory" up to
    `depth` slashes further.  Raises InvalidArgument.
    """
    if not 0 <= depth <= DEPTH_LIMIT:
        raise InvalidArgument(f"a depth is from 0 to {DEPTH_LIMIT}")
    groups: dict[str, Counts] = {prefix: Counts()}
    start = names.listing_bytes(prefix)
    space = _PHASES[cursor.phase]
    limit = UPLOADS_AT_ONCE if space is Space.UPLOADS else PAGE_ROWS
    versions = space is Space.VERSIONS
    page = await cluster.scan(
        bucket, space, prefix=start, start=cursor.start, start_version=cursor.version, limit=limit, versions=versions,
        markers=space is Space.OBJECTS,
    )  # fmt: skip
    heads = await _heads_among(cluster, bucket, page) if versions else {}
    for item in page.rows:
        counted = await _upload(cluster, bucket, item) if space is Space.UPLOADS else _version(item, heads, current=not versions)
        if counted is not None:
            key = item.name.partition(b"\0")[0] if space is Space.UPLOADS else item.name
            for group in groups_of(key.decode(errors="replace"), prefix, depth):
                groups.setdefault(group, Counts()).add(counted)
    if page.next_start is not None:
        return groups, Cursor(cursor.phase, page.next_start, page.next_version)
    return groups, Cursor(cursor.phase + 1, b"", b"") if cursor.phase + 1 < len(_PHASES) else None


def groups_of(key: str, prefix: str, depth: int) -> list[str]:
    """The prefix, and the directories below it in which a key lies."""
    found, end = [prefix], len(prefix)
    for _ in range(depth):
        slash = key.find("/", end)
        if slash < 0:
            break
        end = slash + 1
        found.append(key[:end])
    return found


def _version(item: ScannedRow, heads: dict[bytes, bytes], *, current: bool) -> Counts | None:
    row = item.row
    if not current and heads.get(item.name) == item.version:
        return None  # it was brought back as the head, and is counted as that
    if row.kind == Kind.DELETE_MARKER:
        return Counts(markers=1)
    return Counts(objects=1, bytes=row.size) if current else Counts(versions=1, version_bytes=row.size)


async def _heads_among(cluster: ClusterApi, bucket: bytes, page: ScanPage) -> dict[bytes, bytes]:
    """Name to version of the heads of the names of a page of noncurrent versions."""
    if not page.rows:
        return {}
    first, last = page.rows[0].name, page.rows[-1].name
    found: dict[bytes, bytes] = {}
    start: bytes | None = first
    while start is not None and start <= last:
        heads = await cluster.scan(bucket, Space.OBJECTS, start=start, limit=PAGE_ROWS, markers=True)
        found.update((item.name, version_bytes(item.row.version)) for item in heads.rows if item.name <= last)
        start = heads.next_start
    return found


async def _upload(cluster: ClusterApi, bucket: bytes, item: ScannedRow) -> Counts | None:
    if item.row.kind != Kind.UPLOAD:
        return None
    attempts: AsyncIterator[Any] = attempts_of(cluster, bucket, item.name.rpartition(b"\0")[2].decode())
    return Counts(uploads=1, upload_bytes=sum([attempt.row.size async for attempt in attempts]))
