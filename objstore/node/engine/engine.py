"""One open device: the parts put together behind EngineApi (api.py).

Reads are answered from flushed state; every change goes through the commit loop (commit.py).  After a failed write the
device is offline: every method that touches data raises DeviceOffline.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec
import xxhash

from objstore.core.digests import digest_bytes
from objstore.core.rows import BodyKind, Register, RowKey, Space, decode_row
from objstore.core.timestamp import ZERO, Ballot, parse_version_id
from objstore.core.versions import head_key, version_key
from objstore.errors import DamagedBody, DamagedRow, InvalidArgument, NoSuchVersion
from objstore.node.engine.api import AuditStep, BodyMissing, BodyStream, EnginePage, EngineStats, Location
from objstore.node.engine.blobs import BlobWriter, blob_name
from objstore.node.engine.device import Device
from objstore.node.engine.identity import format_device, read_identity
from objstore.node.engine.keys import encode_key
from objstore.node.engine.packs import pack_name
from objstore.node.engine.read import ScanRange, newest, partition_rows, scan
from objstore.node.engine.records import Entry, RowHead, blob_of, blob_size, head_of
from objstore.node.engine.registers import NeedBody, Proposal, register_of
from objstore.node.engine.repair import Repairer
from objstore.node.engine.scrub import Scrubber
from objstore.node.engine.settings import EngineSettings
from objstore.node.engine.upkeep import Upkeep
from objstore.node.engine.versions import VersionRegisters, seen
from objstore.runtime.world import World
from objstore.wire.messages import AcceptAnswer, PartitionRow, ScanRow

__all__ = ["Engine", "EngineSettings", "format_device", "read_identity"]


class Engine:
    """Implements EngineApi."""

    def __init__(self, device: Device) -> None:
        """See `open`."""
        self._device = device
        self._state = device.state
        self._registers = device.registers
        self._versions = VersionRegisters(device.state, device.blobs.present, device.registers)
        self._committer = device.committer
        self._upkeep = Upkeep(device)
        self._scrubber = Scrubber(device, Repairer(device))
        self.incarnation = device.incarnation

    @classmethod
    async def open(cls, world: World, directory: str, settings: EngineSettings) -> "Engine":
        """Open a formatted device and recover.

        Raises FileNotFoundError when it was never formatted, DamagedFile when index or journal are not to be trusted, OSError.
        """
        return cls(await Device.open(world, directory, settings))

    @property
    def trouble(self) -> str:
        """Why the device is out of service now; empty while it serves."""
        failure = self._committer.offline
        return "" if failure is None else f"the device is out of service: {failure!r}"

    # -- registers -----------------------------------------------------------------------------------------------------

    def query(self, key: RowKey, *, partition: int, stored: bool = False) -> Register:
        """The flushed register.  Raises DamagedRow, DeviceOffline."""
        self._committer.check()
        if key.space == Space.VERSIONS and not stored:
            return seen(self._state.get, key, partition, self._state.floors.get(partition, ZERO))[0]
        entry = self._state.foresee(encode_key(key), partition)
        if entry is None:
            return Register(self._state.floors.get(partition, ZERO))
        return Register(entry.promised, entry.accepted, entry.row)

    async def query_inline(self, key: RowKey, *, partition: int) -> tuple[Register, bytes | None]:
        """The register and its inline payload, verified.  Raises DamagedRow, DamagedBody, DeviceOffline."""
        index_key = encode_key(key)
        while True:
            self._committer.check()
            floor = self._state.floors.get(partition, ZERO)
            if key.space == Space.VERSIONS:
                register, entry, index_key = seen(self._state.get, key, partition, floor)
            else:
                entry = self._state.get(index_key, partition)
                register = register_of(entry, floor)
            if entry is None or entry.body != BodyKind.INLINE:
                return register, None
            payload = await self._device.read_payload(index_key, entry)
            if payload is not None:
                return register, payload

    async def prepare(self, key: RowKey, *, partition: int, ballot: Ballot) -> tuple[bool, Register]:
        """Promise, flushed.  Raises DamagedRow, DeviceOffline, InvalidArgument."""
        if key.space == Space.VERSIONS:
            raise InvalidArgument("nothing is promised under the key of a noncurrent version")
        answer: tuple[bool, Register] = await self._committer.submit(self._registers.prepare, encode_key(key), key, partition, ballot)
        return answer

    async def accept(
        self, key: RowKey, *, partition: int, ballot: Ballot, row: bytes, payload: bytes | memoryview | None = None
    ) -> AcceptAnswer:
        """Apply an accept.  Raises BodyMissing, DeviceFull, DeviceOffline, DamagedBody, DamagedRow, InvalidArgument."""
        proposal = _proposal(key, partition, row, payload)
        if key.space == Space.VERSIONS and not row:
            raise InvalidArgument("nothing cannot be stored as a version")
        rules = self._versions if key.space == Space.VERSIONS else self._registers
        answer: AcceptAnswer | NeedBody = await self._committer.submit(rules.accept, proposal, ballot)
        if isinstance(answer, NeedBody):
            proposal = await self._with_body(proposal)
            answer = await self._committer.submit(rules.accept, proposal, ballot)
            if isinstance(answer, NeedBody):
                raise BodyMissing
        return answer

    async def merge(
        self, key: RowKey, *, partition: int, register: Register, payload: bytes | memoryview | None = None, floor: Ballot
    ) -> bool:
        """Raise what is held.  Onto a damaged register merge only the highest that a read quorum of others holds.

        Raises BodyMissing, DeviceFull, DeviceOffline, DamagedBody, DamagedRow, InvalidArgument.
        """
        proposal = _proposal(key, partition, register.row, payload)
        rules = self._versions if key.space == Space.VERSIONS else self._registers
        changed: bool | NeedBody = await self._committer.submit(rules.merge, proposal, register, floor)
        if isinstance(changed, NeedBody):
            proposal = await self._with_body(proposal)
            changed = await self._committer.submit(rules.merge, proposal, register, floor)
            if isinstance(changed, NeedBody):
                raise BodyMissing
        return changed

    async def reclaim(self, key: RowKey, *, partition: int, ballot: Ballot) -> bool:
        """Drop a tombstone and raise the floor.  Raises DamagedRow, DeviceOffline."""
        gone: bool = await self._committer.submit(self._registers.reclaim, encode_key(key), key, partition, ballot)
        return gone

    async def drop(self, items: Sequence[PartitionRow], *, partition: int) -> int:
        """Forget registers whose accepted ballot still matches.  Raises DeviceOffline."""
        dropped: int = await self._committer.submit(self._registers.drop, items, partition)
        return dropped

    async def raise_floor(self, partition: int, floor: Ballot) -> None:
        """Take over another replica's reclaim floor if it is higher.  Raises DeviceOffline."""
        await self._committer.submit(self._registers.raise_floor, partition, floor)

    def floor(self, partition: int) -> Ballot:
        """The highest tombstone ballot reclaimed in the partition."""
        return self._state.floors.get(partition, ZERO)

    async def _with_body(self, proposal: Proposal) -> Proposal:
        """Find the bytes of a row here.  Raises BodyMissing."""
        head = proposal.head
        if head.body == BodyKind.BLOB:
            if not await self._device.blobs.check(head.blob):
                raise BodyMissing
            return proposal
        key = proposal.key
        # A noncurrent version is made of the head that it was, and the head may be made of a version again.
        for other in _keys_of(key, Ballot(bytes.fromhex(head.version))):
            index_key = encode_key(other)
            try:
                entry = self._state.get(index_key, proposal.partition)
                if entry is not None and entry.body == BodyKind.INLINE and _same_bytes(head_of(entry.row), head):
                    payload = await self._device.read_payload(index_key, entry)
                    if payload is not None:
                        return msgspec.structs.replace(proposal, payload=payload)
            except (DamagedBody, DamagedRow):
                continue
        raise BodyMissing

    # -- bodies --------------------------------------------------------------------------------------------------------

    async def stage(self, blob: bytes, *, size: int) -> BlobWriter:
        """Receive a blob.  Raises DeviceFull, DeviceOffline."""
        self._committer.check()
        return await self._device.blobs.stage(blob, size)

    async def read_body(self, key: RowKey, *, origin: Ballot, offset: int, length: int, content: bytes = b"") -> BodyStream:
        """Stream verified bytes; `length` -1 means to the end, and what lies beyond the end is left out.

        Those of the row of `key` that has this origin, also where that is the head of one replica and a noncurrent version of another.
        `content`: blob id or digest of the bytes, when any row of the object that names them will do.

        Raises NoSuchVersion, DamagedRow, DamagedBody (also while streaming), DeviceOffline.
        """
        while True:
            self._committer.check()
            index_key, entry, head = self._find_body(key, origin, content)
            if head.body == BodyKind.BLOB:
                break
            data = await self._device.read_payload(index_key, entry)
            if data is not None:
                stop = len(data) if length < 0 else min(offset + length, len(data))
                piece = memoryview(data)[offset:stop]
                return BodyStream(len(data), len(piece), _one_piece(piece))
        try:
            reader = await self._device.blobs.open(head.blob, offset, length)
        except DamagedBody:
            now = self._state.get(index_key)
            if now is None or blob_of(now) != head.blob:
                # Overwritten and purged between the look at the row and the opening of its file: nothing is damaged.
                raise NoSuchVersion("the register holds another row by now") from None
            await self._set_aside(index_key, head.blob)
            raise
        size = reader.trailer.size
        begin = min(offset, size)
        stop = size if length < 0 else min(begin + length, size)
        chunks = self._device.blobs.chunks(reader, begin, stop - begin)
        return BodyStream(size, stop - begin, self._watched(index_key, head.blob, chunks))

    def _find_body(self, key: RowKey, origin: Ballot, content: bytes) -> tuple[bytes, Entry, RowHead]:
        """(index key, entry, row) of what `read_body` reads.  Raises NoSuchVersion, DamagedRow."""
        for other in _keys_of(key, origin):
            index_key = encode_key(other)
            entry = self._state.get(index_key)
            if entry is None or entry.body not in (BodyKind.INLINE, BodyKind.BLOB):
                continue
            head = head_of(entry.row)
            if content:
                if content == (head.blob if entry.body == BodyKind.BLOB else head.digest):
                    return index_key, entry, head
            elif head.origin == origin or (key.version and head.version == key.version.hex()):
                # The bytes of a version are the same whatever was changed about it since; those of the null version are not.
                return index_key, entry, head
        raise NoSuchVersion("the register holds another row, or one without bytes of its own")

    async def _watched(
        self, index_key: bytes, blob: bytes, chunks: AsyncGenerator[bytes | memoryview, None]
    ) -> AsyncIterator[bytes | memoryview]:
        try:
            async for chunk in chunks:
                yield chunk
        except DamagedBody:
            await self._set_aside(index_key, blob)
            raise
        finally:
            await chunks.aclose()

    async def _set_aside(self, index_key: bytes, blob: bytes) -> None:
        self._state.suspect(index_key)
        await self._device.blobs.quarantine(blob)

    def locate(self, key: RowKey) -> Location:
        """Where the bytes are.  Raises DamagedRow, DeviceOffline."""
        self._committer.check()
        entry = self._state.get(encode_key(key))
        register = register_of(entry, ZERO)
        if entry is not None and entry.body == BodyKind.BLOB:
            return Location(register, blob_name(blob_of(entry)), 0, blob_size(entry))
        if entry is not None and entry.length:
            return Location(register, pack_name(entry.pack), entry.offset, entry.length)
        return Location(register, "", 0, 0)

    # -- many registers ------------------------------------------------------------------------------------------------

    def scan(
        self, bucket: bytes, space: int, *, prefix: bytes, start: bytes, limit: int, delimiter: bytes, partitions: bytes, versions: bool,
        start_version: bytes = b"", torn: bool = False,
    ) -> EnginePage:  # fmt: skip
        """Live rows in byte order of name.  `partitions` covers every partition number.  Raises DamagedRow, DeviceOffline."""
        self._committer.check()
        what = ScanRange(bucket, space, prefix, start, limit, delimiter, partitions, versions, start_version, torn)
        return scan(self._state, what, examined=self._device.settings.scan_examined)

    def digests(self, partitions: Sequence[int]) -> list[tuple[bytes, int]]:
        """(digest, rows) of each partition: of registers with an accepted row.  Raises DeviceOffline."""
        self._committer.check()
        totals = [self._state.partitions.get(partition, (0, 0, 0)) for partition in partitions]
        return [(digest_bytes(total[0]), total[1]) for total in totals]

    def partitions_held(self) -> list[int]:
        """Partitions with at least one register, ascending."""
        return sorted(self._state.partitions)

    def partition_rows(self, partition: int, *, cursor: bytes, limit: int, rows: bool) -> tuple[list[PartitionRow], bytes | None]:
        """Registers of a partition, damaged ones left out.  Raises DamagedFile, DeviceOffline."""
        self._committer.check()
        return partition_rows(self._state, partition, cursor=cursor, limit=limit, rows=rows)

    def newest(self, key: RowKey, *, partition: int, below: bytes, limit: int) -> list[ScanRow]:
        """The null version and the newest others of an object, below a version id; see EngineApi.  Raises DamagedRow, DeviceOffline."""
        self._committer.check()
        return newest(self._state, key, partition, below=below, limit=limit)

    def bucket_counters(self, bucket: bytes) -> tuple[int, int]:
        """(live objects, their bytes)."""
        return self._state.buckets.get(bucket, (0, 0))

    def version_counters(self, bucket: bytes) -> tuple[int, int]:
        """(noncurrent versions, their bytes)."""
        return self._state.versions.get(bucket, (0, 0))

    def marker_counters(self, bucket: bytes) -> tuple[int, int]:
        """(current delete markers, noncurrent ones)."""
        return self._state.markers.get(bucket, (0, 0))

    # -- notes, upkeep, status -----------------------------------------------------------------------------------------

    def note(self, name: str) -> bytes | None:
        """A small durable value kept for the node."""
        return self._state.notes.get(name)

    async def set_notes(self, notes: dict[str, bytes | None]) -> None:
        """Change such values durably and at once.  Raises DeviceOffline."""
        await self._committer.submit(self._registers.set_notes, notes)

    async def audit(self, cursor: bytes, *, budget_bytes: int) -> AuditStep:
        """Verify stored bytes from `cursor` on.  Raises DeviceOffline."""
        self._committer.check()
        return await self._scrubber.step(cursor, budget_bytes)

    async def maintain(self, what: str) -> tuple[dict[str, int], bool]:
        """One bounded piece of upkeep.  Raises DeviceOffline, DeviceFull, InvalidArgument."""
        self._committer.check()
        return await self._upkeep.run(what)

    def stats(self) -> EngineStats:
        """Counts."""
        state = self._state
        return EngineStats(
            rows=state.totals.registers,
            live_bytes=state.totals.inline_bytes + state.totals.blob_bytes,
            pack_bytes=sum(self._device.packs.sizes.values()),
            blob_bytes=state.totals.blob_bytes,
            index_bytes=self._state.kv.used_bytes(),
            quarantined=self._device.blobs.quarantined + len(state.suspects),
            purge_queue=len(state.purge),
            staged=len(self._device.blobs.present),
        )

    async def close(self) -> None:
        """Checkpoint and close."""
        await self._device.close()


def _proposal(key: RowKey, partition: int, row: bytes, payload: bytes | memoryview | None) -> Proposal:
    """Decode as much of a row as the engine needs, and hold the payload against it.  Raises InvalidArgument, DamagedBody."""
    try:
        head: RowHead = head_of(row)
        if row and (head.version or head.effects or key.space == Space.VERSIONS):
            _check_family(key, head)
    except (msgspec.DecodeError, msgspec.ValidationError) as failure:
        raise InvalidArgument(f"not an encoded row: {failure}") from failure
    if payload is None or head.body != BodyKind.INLINE:
        return Proposal(encode_key(key), key, partition, row, head, None)
    # A digest fixes the length too, which is not `size` where the payload is sealed.
    if xxhash.xxh3_128_digest(payload) != head.digest if head.digest else len(payload) != head.size:
        raise DamagedBody("the payload is not the one that its row names")
    return Proposal(encode_key(key), key, partition, row, head, payload)


async def _one_piece(piece: memoryview) -> AsyncIterator[bytes | memoryview]:
    if len(piece):
        yield piece


def _check_family(key: RowKey, head: RowHead) -> None:
    """Version ids are what keys are made of.  Raises InvalidArgument, msgspec.DecodeError."""
    named = [decode_row(encoded).version for encoded in head.effects]
    for version in (head.version, *named):
        if version and parse_version_id(version) is None:
            raise InvalidArgument("a version id is 24 hexadecimal digits")
    if len(named) > 1 and len(set(named)) != len(named):
        raise InvalidArgument("two effects on one version")
    if key.space == Space.VERSIONS and head.version != key.version.hex():
        raise InvalidArgument("a row under the key of another version")


def _same_bytes(held: RowHead, wanted: RowHead) -> bool:
    if held.version and held.version == wanted.version:
        return held.digest == wanted.digest
    return held.origin == wanted.origin


def _keys_of(key: RowKey, version: Ballot) -> tuple[RowKey, ...]:
    """Where a row may lie that is, or was, under this key: a head becomes a version when it is replaced."""
    if key.space == Space.VERSIONS:
        return key, head_key(key)
    if key.space == Space.OBJECTS and version:
        return key, version_key(key, version.hex())
    return (key,)
