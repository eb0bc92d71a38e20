"""The scrubber: verify rows, both their index entries, their journal records and their bytes, a bounded piece at a time.

A pass has two walks.  *Rows*: every entry in order of key; its shadow, its record in the journal, its payload or blob.
*Partitions*: every shadow must have its row, and each partition's registers must add up to the digest that is kept of it,
which finds entries that LMDB lost from both tables at once.

What this device can put right itself it does (repair.py; a missing shadow and a bad journal record are written again).
Damaged payloads and blobs are reported, to be healed from other replicas; a blob's file is moved to quarantine.  An index
whose structure is broken, or that has lost entries, is given up: the device is offline until a new one is built from the
packs, and the pass ends there.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from objstore.core.digests import contribution
from objstore.core.rows import BUCKET_ID_BYTES, BodyKind, Register, RowKey, Space
from objstore.core.versions import head_key
from objstore.errors import DamagedBody, DamagedFile, DamagedRow, DeviceFull
from objstore.node.engine.api import AuditStep
from objstore.node.engine.commit import Batch
from objstore.node.engine.device import Device
from objstore.node.engine.family import Family, is_miscounted
from objstore.node.engine.identity import index_generation, load_identity, replace_identity, set_index_generation
from objstore.node.engine.keys import decode_key, encode_key
from objstore.node.engine.read import partition_rows
from objstore.node.engine.records import SHADOWED, Entry, blob_of, blob_size, decode_entry, head_of, shadow_of
from objstore.node.engine.repair import Repairer
from objstore.node.engine.state import State
from objstore.node.engine.verify import Health, check_blob, check_record
from objstore.runtime.disk import Disk
from objstore.wire.messages import PartitionRow

log = logging.getLogger(__name__)

_SLICE = 64  # entries looked at in one view
_ROW_BYTES = 400  # what a row counts against the budget besides its payload
_ROWS, _PARTITIONS = b"r", b"p"


@dataclass
class _Tally:
    rows: int = 0
    read_bytes: int = 0
    quarantined: int = 0
    damaged: dict[bytes, PartitionRow] = field(default_factory=dict)


@dataclass
class _Sum:
    """The digest of a partition while it is walked; `start` is what was kept of it when the walk began."""

    partition: int
    start: tuple[int, int, int]
    digest: int = 0
    registers: int = 0


class Scrubber:
    """Walks the device; see EngineApi.audit."""

    def __init__(self, device: Device, repairer: Repairer) -> None:
        self._device = device
        self._repairer = repairer
        self._sum: _Sum | None = None

    async def step(self, cursor: bytes, budget_bytes: int) -> AuditStep:
        """Verify about `budget_bytes` from `cursor` on.  Raises DeviceOffline."""
        tally = _Tally()
        if not cursor:
            # Read only when a device opens: damage would keep it from opening, perhaps years after its disk went bad.
            await self._device.threads.io.run(_check_identity, self._device, list(self._device.packs.sizes))
            # What follows looks at rows that are there.  The journal behind the checkpoint also holds promises, notes and rows
            # since overwritten, and opening reads them all: after a checkpoint it reads none of those.
            self._device.state.restate()
            with contextlib.suppress(DeviceFull):
                await self._device.checkpoint()
        await self._known_suspects(tally)
        walk, at = cursor[:1] or _ROWS, cursor[1:]
        following: bytes | None = cursor
        try:
            while tally.read_bytes < budget_bytes and following is not None:
                following = await (self._rows(at, tally) if walk == _ROWS else self._partitions(at, tally))
                if following is not None:
                    walk, at = following[:1], following[1:]
        except DamagedFile as failure:
            await self._device.renew_index(failure)
            following, tally.quarantined = None, tally.quarantined + 1
        return AuditStep(following, tally.rows, tally.read_bytes, list(tally.damaged.values()), tally.quarantined)

    # -- suspects ------------------------------------------------------------------------------------------------------

    async def _known_suspects(self, tally: _Tally) -> None:
        """What reads have found since the last step: put right or report it first."""
        state = self._device.state
        for index_key, partition in list(state.suspects.items()):
            if not await self._repairer.repair(index_key):
                self._report_lost(index_key, partition, tally)
                continue
            try:
                entry = state.get(index_key, partition)
            except DamagedRow:
                continue
            if index_key in state.suspects:
                if entry is None:
                    state.healed(index_key)
                else:
                    await self._check_bytes(index_key, entry, tally)

    def _report_lost(self, index_key: bytes, partition: int | None, tally: _Tally) -> None:
        if partition is None:
            return  # the walk over partitions meets it again and knows which it is in
        shadow = self._device.state.shadow(index_key, partition)
        try:
            key = decode_key(index_key, shadow.long_name if shadow is not None else b"")
        except ValueError:
            return  # a cut name of which nobody knows the rest
        register = Register(shadow.promised, shadow.accepted) if shadow is not None else Register()
        tally.damaged[index_key] = PartitionRow(key, register, partition)

    # -- the walk over rows --------------------------------------------------------------------------------------------

    async def _rows(self, after: bytes, tally: _Tally) -> bytes | None:
        state = self._device.state
        entries, last = self._slice(after)
        for index_key, entry in entries:
            tally.rows += 1
            tally.read_bytes += _ROW_BYTES + entry.length
            self._check_shadow(index_key)
            await self._check_bytes(index_key, entry, tally)
            if index_key[BUCKET_ID_BYTES] == Space.VERSIONS:
                await self._check_count(index_key, entry)
        if last is not None:
            return _ROWS + last
        held = sorted(state.partitions)
        return _PARTITIONS + held[0].to_bytes(4, "big") if held else None

    def _slice(self, after: bytes) -> tuple[list[tuple[bytes, Entry]], bytes | None]:
        """Some entries after a key, and the last key looked at, None at the end.  Raises DamagedFile."""
        state = self._device.state
        keys: dict[bytes, Entry | None] = {}
        end = b"\xff" * 32
        start = after + b"\x00" if after else b""
        snapshot = state.kv.snapshot()
        last: bytes | None = None
        try:
            for index_key, value in snapshot.scan("rows", start):
                if len(keys) == _SLICE:
                    last = next(reversed(keys))
                    end = last + b"\x00"
                    break
                keys[index_key] = self._decode(index_key, value)
        finally:
            snapshot.close()
        for table in (state.frozen, state.active):
            if table is not None:
                for index_key in table.keys_between(start, end):
                    newer = table.entries[index_key]
                    keys[index_key] = newer if isinstance(newer, Entry) else None
        found = sorted(keys.items())
        if len(found) > _SLICE:
            found, last = found[:_SLICE], found[_SLICE - 1][0]
        return [(index_key, entry) for index_key, entry in found if entry is not None], last

    def _decode(self, index_key: bytes, value: bytes) -> Entry | None:
        try:
            return decode_entry(index_key, value)
        except (DamagedRow, msgspec.DecodeError):
            if not self._device.state.is_newer(index_key):
                self._device.state.suspect(index_key)
            return None

    def _check_shadow(self, index_key: bytes) -> None:
        """Of the entry as it is now: what the slice was read from may have been overwritten and checkpointed since."""
        state = self._device.state
        if state.is_newer(index_key):
            return
        with contextlib.suppress(DamagedRow):
            entry = state.get(index_key)
            if entry is not None and state.shadow(index_key, entry.partition) != shadow_of(entry):
                state.active.put(index_key, entry)  # the next checkpoint writes both again

    async def _check_count(self, index_key: bytes, entry: Entry) -> None:
        """A version is counted apart from its key's head unless it is that too: what its entry says of it must be true."""
        device, key = self._device, decode_key(index_key, entry.long_name)
        head, version = head_key(key), key.version.hex()
        with contextlib.suppress(DamagedRow):
            if is_miscounted(entry, device.state.get(encode_key(head), entry.partition), version):
                await device.committer.submit(_recount, device.state, head, entry.partition, version)

    async def _check_bytes(self, index_key: bytes, entry: Entry, tally: _Tally) -> None:
        device = self._device
        health = await device.threads.io.run(check_record, device.packs, index_key, entry)
        if health is not Health.GOOD and device.state.get(index_key, entry.partition) != entry:
            return  # it changed, or compaction moved it, while it was read
        if health is Health.RECORD:
            await self._write_again(index_key, entry)
        elif health is Health.PAYLOAD:
            self._report(index_key, entry, tally)
        elif entry.body == BodyKind.BLOB:
            if await self._blob_is_good(index_key, entry, tally):
                device.state.healed(index_key)
        else:
            device.state.healed(index_key)

    async def _blob_is_good(self, index_key: bytes, entry: Entry, tally: _Tally) -> bool:
        device = self._device
        blob = blob_of(entry)
        try:
            reader = await device.blobs.open(blob)
            step = max(device.settings.read_bytes // reader.trailer.block_size_bytes, 1)
            for first in range(0, reader.trailer.blocks, step):
                tally.read_bytes += await device.threads.io.run(check_blob, reader, first, step)
            if reader.trailer.size == blob_size(entry):
                return True
        except DamagedBody:
            pass
        if device.state.get(index_key, entry.partition) == entry:
            tally.quarantined += await device.blobs.quarantine(blob)
            self._report(index_key, entry, tally)
        return False

    def _report(self, index_key: bytes, entry: Entry, tally: _Tally) -> None:
        self._device.state.suspect(index_key, entry.partition)
        register = Register(entry.promised, entry.accepted, entry.row)
        tally.damaged[index_key] = PartitionRow(decode_key(index_key, entry.long_name), register, entry.partition)

    async def _write_again(self, index_key: bytes, entry: Entry) -> None:
        """Give a row whose journal record is bad a new one, or a rebuild of the index would not find it."""
        try:
            payload = await self._device.read_payload(index_key, entry)
        except DamagedBody:
            return  # now a suspect: the next step reports it
        if payload is not None:
            await self._device.committer.submit(_rewrite, index_key, entry, payload)

    # -- the walk over partitions --------------------------------------------------------------------------------------

    async def _partitions(self, at: bytes, tally: _Tally) -> bytes | None:
        state = self._device.state
        partition, after = int.from_bytes(at[:4], "big"), at[4:]
        kept = state.partitions.get(partition, (0, 0, 0))
        if not after or self._sum is None or self._sum.partition != partition:
            self._sum = _Sum(partition, kept) if not after else None
        damaged: list[bytes] = []
        items, cursor = partition_rows(state, partition, cursor=after, limit=_SLICE, rows=False, damaged=damaged)
        tally.read_bytes += _ROW_BYTES // 4 * len(items)
        for item in items:
            index_key = encode_key(item.key)
            try:
                state.get(index_key, partition)
            except DamagedRow:
                damaged.append(index_key)
            if self._sum is not None:
                self._sum.registers += 1
                self._sum.digest ^= contribution(index_key, item.register.accepted)
        if damaged:
            self._sum = None  # what is damaged was left out: nothing to compare
            await self._known_suspects(tally)
        if cursor is not None:
            return _PARTITIONS + partition.to_bytes(4, "big") + cursor
        walked = self._sum
        self._sum = None
        unchanged = walked is not None and walked.start == state.partitions.get(partition, (0, 0, 0))
        if walked is not None and unchanged and (walked.digest, walked.registers) != (walked.start[0], walked.start[2]):
            raise DamagedFile(f"registers of partition {partition} are missing from the index")
        held = sorted(p for p in state.partitions if p > partition)
        return _PARTITIONS + held[0].to_bytes(4, "big") if held else None


def _check_identity(device: Device, packs: Sequence[int]) -> None:
    """Write what says who the device is again where it is damaged: its small files, the headers of packs.  Blocks.

    Never if they are missing or another device's: whoever wiped the directory under us must not find us in it again.
    """
    if _is_damaged(load_identity, device.disk):
        replace_identity(device.disk, device.incarnation, device.seal)
    if _is_damaged(index_generation, device.disk):
        set_index_generation(device.disk, device.generation)
    for pack in packs:
        try:
            if device.packs.header(pack) is None and device.packs.mend_header(pack):
                log.warning("the header of pack %d was damaged; it is written again", pack)
        except (FileNotFoundError, DamagedFile) as failure:  # compacted away meanwhile; or another device's, which opening refuses
            log.warning("the header of pack %d cannot be verified: %r", pack, failure)


def _is_damaged(read: Callable[[Disk], object], disk: Disk) -> bool:
    try:
        read(disk)
    except DamagedFile as damage:
        log.warning("%s; it is written again", damage)
        return True
    return False


def _recount(batch: Batch, state: State, head: RowKey, partition: int, version: str) -> bool:
    """Mend the count of one version, unless that has been done since."""
    return Family(state, batch, head, partition).recount(version)


def _rewrite(batch: Batch, index_key: bytes, entry: Entry, payload: bytes) -> bool:
    """Store a register as it is once more, unless it changed."""
    if batch.get(index_key, entry.partition) != entry:
        return False
    key = decode_key(index_key, entry.long_name)
    batch.set_state(
        index_key, key, entry, partition=entry.partition, promised=entry.promised, accepted=entry.accepted,
        row=entry.row, head=head_of(entry.row), payload=payload, shadowed=bool(entry.flags & SHADOWED),
    )  # fmt: skip
    return True
