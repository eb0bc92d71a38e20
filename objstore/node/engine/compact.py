"""Reclaim packs that are mostly dead: move what lives to the end of the journal, then delete the file.

Safe at every step: a moved record is an ordinary record of the current state, decided and flushed by the commit loop; the
old file goes only after the last of them is durable, and only if opening never starts in it (it lies before the
checkpoint).  What a pack holds besides registers must survive for a rebuild of the index: floors and notes that still
stand are written again, and a DROP as long as another pack may hold records of the life that it ended.
"""

import itertools
from collections.abc import Iterator

import msgspec

from objstore.core.rows import RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.core.versions import head_key, version_key
from objstore.errors import DamagedBody, DamagedRow
from objstore.node.engine.commit import Batch
from objstore.node.engine.device import Device
from objstore.node.engine.keys import encode_key
from objstore.node.engine.pack_format import FILE_HEADER_BYTES, REGISTERS, Drop, Floor, Note, Promise, decode_meta, decode_state
from objstore.node.engine.packs import Record
from objstore.node.engine.records import SHADOWED, Entry, head_of

_SLICE_BYTES = 1024 * 1024  # moved per flush, so that writers wait no longer than for each other
_SLICE_RECORDS = 256
_RECONSIDER = 16  # packs deleted until carried records are looked at again: what they stand for may be gone


class Living(msgspec.Struct, frozen=True):
    """A payload to write again, for every one of `keys` that lives off it when that is decided.

    A version that is demoted or promoted in between takes the place of its payload along from one of the keys to another; where none of them
    lived off it when it was read, none ever will again.
    """

    keys: tuple[RowKey, ...]
    partition: int
    place: tuple[int, int]  # (pack, offset of the payload)
    payload: bytes
    born: int | None = None  # what the life of the key is to begin with; None: as it is


class Compactor:
    """Moves the living out of one pack at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stuck: dict[int, None] = {}  # packs with damage in what lives: they stay until it is healed
        self._kept: dict[int, tuple[int, int]] = {}  # pack -> (bytes of carried records, packs deleted when they were written)
        self._deleted = 0

    def candidates(self) -> list[int]:
        """Packs worth compacting, the deadest first."""
        device = self._device
        dead = []
        for pack, size in device.packs.sizes.items():
            if pack >= device.state.position.pack or pack in self._stuck:
                continue
            ratio = 1 - (device.state.live.get(pack, 0) + self._kept_bytes(pack)) / max(size, 1)
            if ratio >= device.settings.compact_dead_ratio:
                dead.append((-ratio, pack))
        return [pack for _, pack in sorted(dead)]

    def _kept_bytes(self, pack: int) -> int:
        """Carried records count as alive for a while, or a pack full of them would be moved again and again."""
        size, deleted = self._kept.get(pack, (0, 0))
        return size if self._deleted - deleted < _RECONSIDER else 0

    async def run(self) -> tuple[dict[str, int], bool]:
        """Compact one pack, also when the caller gives up.  Raises DeviceFull, DeviceOffline, OSError."""
        return await self._device.to_its_end(self._run(), name="compact")

    async def _run(self) -> tuple[dict[str, int], bool]:
        async with self._device.upkeep:
            return await self._compact()

    async def _compact(self) -> tuple[dict[str, int], bool]:
        candidates = self.candidates()
        counts = {"packs": 0, "records": 0, "bytes": 0}
        if not candidates:
            self._stuck = {}
            return counts, False
        pack = candidates[0]
        device = self._device
        size = device.packs.sizes[pack]
        try:
            counts["records"], clean = await self._move(pack, size)
            device.committer.check()  # nothing is deleted on the word of a state that is being built anew
            if clean:
                await device.threads.io.run(device.packs.delete, pack)
        except OSError:
            self._stuck[pack] = None  # others get their turn
            raise
        if clean:
            # Only now: as long as the file is there, what was dropped of it must stay dropped when an index is built.
            device.packs.forget(pack)
            device.state.forget_pack(pack)
            self._kept.pop(pack, None)
            self._deleted += 1
            counts["packs"], counts["bytes"] = 1, size
        else:
            self._stuck[pack] = None
        return counts, len(candidates) > 1

    async def _move(self, pack: int, size: int) -> tuple[int, bool]:
        """(records written again, whether nothing that lives is left)."""
        device = self._device
        records = device.packs.records(pack, FILE_HEADER_BYTES, size, payloads=False)
        moved, clean = 0, True
        while True:
            slice_ = await device.threads.io.run(_some_records, records)
            if not slice_:
                return moved, clean
            living: list[Living] = []
            others: list[Promise | Drop | Note | Floor] = []
            for record in slice_:
                if isinstance(record, int):
                    # What lay behind the bad head is not known; the pack stays.
                    clean = False
                elif record.head.type in REGISTERS:
                    clean &= await self._collect(record, living)
                else:
                    other = decode_meta(record.head.type, record.meta)
                    others.append(other)
                    if isinstance(other, Drop):
                        clean &= await self._outlive(pack, other, living)
            written, carried = await device.committer.submit(self._write, pack, living, others)
            moved += written
            clean &= carried

    async def _collect(self, record: Record, living: list[Living]) -> bool:
        """Read the payload of this record, or the one that it names, if any register lives off it; False when it cannot be read."""
        key, entry = decode_state(record.meta)
        keys = _may_live_off(key, entry)
        place = (entry.pack, entry.offset)
        try:
            for key_ in keys:
                index_key = encode_key(key_)
                current = self._device.state.get(index_key, entry.partition)
                # Whose record this is, and whose payload; it gets one record again that holds both.
                if current is None or (current.pack, current.offset) != place:
                    continue
                payload = await self._device.read_payload(index_key, current)
                if payload is None:
                    return False
                living.append(Living(keys, entry.partition, place, payload))
                break
        except (DamagedBody, DamagedRow):
            return False
        return True

    async def _outlive(self, pack: int, drop: Drop, living: list[Living]) -> bool:
        """A key that lives again stands for the drop of its earlier life: it was born when that one was."""
        if not self._other_pack_between(pack, drop):
            return True
        index_key = encode_key(drop.key)
        try:
            current = self._device.state.get(index_key, drop.partition)
            if current is None or current.born <= drop.born:
                return True
            payload = await self._device.read_payload(index_key, current)
        except (DamagedBody, DamagedRow):
            return False
        if payload is None:
            return False  # it changed while it was read; the next pass finds it at rest
        living.append(Living((drop.key,), drop.partition, (current.pack, current.offset), payload, drop.born))
        return True

    def _other_pack_between(self, pack: int, drop: Drop) -> bool:
        return any(drop.born <= other <= drop.until for other in self._device.packs.sizes if other != pack)

    def _write(self, batch: Batch, pack: int, living: list[Living], others: list[Promise | Drop | Note | Floor]) -> tuple[int, bool]:
        """(registers written again, whether everything that has to survive was)."""
        written, clean = 0, True
        for item in living:
            for key in item.keys:
                try:
                    written += self._write_living(batch, item, key)
                except DamagedRow:
                    clean = False
        before = batch.size_bytes
        for other in others:
            try:
                clean &= self._carry(batch, pack, other)
            except DamagedRow:
                clean = False
        if batch.size_bytes > before:
            self._kept[batch.pack] = (self._kept.get(batch.pack, (0, 0))[0] + batch.size_bytes - before, self._deleted)
        return written, clean

    @staticmethod
    def _write_living(batch: Batch, item: Living, key: RowKey) -> bool:
        """Write a register again if it lives off the payload now.  Raises DamagedRow."""
        index_key = encode_key(key)
        current = batch.get(index_key, item.partition)
        # Another place: somebody wrote it anew since it was read.  Its promise may have been raised where it was.
        if current is None or (current.pack, current.offset) != item.place:
            return False
        born = current.born if item.born is None else item.born
        batch.set_state(
            index_key, key, msgspec.structs.replace(current, born=born), partition=current.partition,
            promised=current.promised, accepted=current.accepted, row=current.row, head=head_of(current.row), payload=item.payload,
            shadowed=bool(current.flags & SHADOWED),
        )  # fmt: skip
        return True

    def _carry(self, batch: Batch, pack: int, record: Promise | Drop | Note | Floor) -> bool:
        """Write a record again if it still says something; False when the pack must stay for now."""
        match record:
            case Promise():
                index_key = encode_key(record.key)
                current = batch.get(index_key, record.partition)
                if current is not None and current.promised == record.ballot and current.place[0] < pack:
                    batch.set_promise(index_key, record.key, current, record.ballot)
            case Drop():
                current = batch.get(encode_key(record.key), record.partition)
                needed = self._other_pack_between(pack, record)
                if current is None and needed:
                    batch.carry_drop(record)
                elif record.floor != ZERO and record.floor == batch.floor(record.partition):
                    batch.set_floor(record.partition, record.floor)
                # Born again after `_outlive` had looked: the next pass finds it.
                return current is None or not needed or current.born <= record.born
            case Floor():
                if record.ballot == batch.floor(record.partition):
                    batch.set_floor(record.partition, record.ballot)
            case Note():
                value = batch.notes.get(record.name, batch.state.notes.get(record.name))
                if value == record.value and (record.value is not None or min(self._device.packs.sizes) < pack):
                    batch.set_note(record.name, record.value)
        return True


def _may_live_off(key: RowKey, entry: Entry) -> tuple[RowKey, ...]:
    """Registers that may point at the payload of a record: its own, and where its row has gone when it became a version, or head."""
    if key.space == Space.OBJECTS:
        if not entry.length:
            return (key,)
        return key, version_key(key, head_of(entry.row).version)
    if key.space == Space.VERSIONS:
        return key, head_key(key)
    return (key,)


def _some_records(records: Iterator[Record | int]) -> list[Record | int]:
    """The next records, up to a slice.  Blocks."""
    found: list[Record | int] = []
    size = 0
    for record in itertools.islice(records, _SLICE_RECORDS):
        found.append(record)
        size += 0 if isinstance(record, int) else record.head.length
        if size >= _SLICE_BYTES:
            break
    return found
