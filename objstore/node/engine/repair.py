"""Repair of index entries from this device's own journal, without asking anybody.

The packs hold every register in full, so a damaged or missing index entry is read again from the record that its shadow
points to, or, when both copies in the index are bad, from a search through all packs.  What is restored is exactly what was
there: promise, accepted row, place of the payload.  Payloads and blobs have one copy per device: those only other replicas
can heal.
"""

import logging
from dataclasses import dataclass

import msgspec

from objstore.errors import DamagedRow, TooBusy
from objstore.node.engine.device import Device
from objstore.node.engine.keys import decode_key, encode_key
from objstore.node.engine.pack_format import FILE_HEADER_BYTES, REGISTERS, Drop, Promise, decode_meta, decode_state
from objstore.node.engine.packs import Packs
from objstore.node.engine.records import Entry, shadow_of
from objstore.node.engine.verify import read_state

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Searched:
    """What all packs together say of a register; with `holes` some of what they said is lost."""

    entry: Entry | None
    holes: bool


class Repairer:
    """Works off suspects one at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._waiting: dict[bytes, None] = {}
        self._running = False
        self.repaired = 0
        device.state.noticed = self._notice

    def _notice(self, index_key: bytes) -> None:
        self._waiting[index_key] = None
        if not self._running:
            self._running = True
            self._device.tasks.spawn(self._run(), name="repair")

    async def _run(self) -> None:
        try:
            while self._waiting:
                index_key = next(iter(self._waiting))
                del self._waiting[index_key]
                try:
                    await self.repair(index_key)
                except (OSError, TooBusy) as failure:  # a pack was compacted away meanwhile, say: the scrubber comes by again
                    log.warning("a repair was broken off: %r", failure)
        finally:
            self._running = False

    async def repair(self, index_key: bytes) -> bool:
        """Whether the register's row is in order now."""
        state = self._device.state
        if index_key not in state.suspects:
            return True
        partition = state.suspects[index_key]
        if not self._row_is_bad(index_key, partition):
            self._restore_shadow(index_key)
            return True  # its bytes are what is damaged, or somebody was faster
        shadow = None if partition is None else state.shadow(index_key, partition)
        entry = None
        if shadow is not None:
            entry = await self._device.threads.io.run(read_state, self._device.packs, shadow.pack, shadow.offset, index_key)
            if entry is not None and entry.accepted == shadow.accepted:
                entry = msgspec.structs.replace(entry, promised=max(entry.promised, shadow.promised))
            else:
                entry = None
        holes = False
        if entry is None:
            sizes = sorted(self._device.packs.sizes.items())
            searched = await self._device.threads.io.run(search, self._device.packs, sizes, index_key)
            entry, holes = searched.entry, searched.holes
        if not self._row_is_bad(index_key, partition):
            return True
        if entry is not None:
            log.warning("repaired a damaged row from the journal")
            state.active.put(index_key, entry)
            state.suspects.pop(index_key, None)
            self.repaired += 1
            return True
        if holes or shadow is not None:
            log.error("a damaged row is not in the journal either; other replicas must heal it")
            state.lost[index_key] = None
            return False
        # No pack knows such a register: the entry itself is the damage, a key that rotted.
        state.active.put(index_key, 0 if partition is None else partition)
        state.suspects.pop(index_key, None)
        return True

    def _restore_shadow(self, index_key: bytes) -> None:
        state = self._device.state
        entry = None if state.is_newer(index_key) else state.get(index_key)
        if entry is not None and state.shadow(index_key, entry.partition) != shadow_of(entry):
            state.active.put(index_key, entry)  # the next checkpoint writes both again

    def _row_is_bad(self, index_key: bytes, partition: int | None) -> bool:
        state = self._device.state
        if state.is_newer(index_key):
            return False
        try:
            state.get_from_index(index_key, partition)
        except DamagedRow:
            return True
        return False


def search(packs: Packs, sizes: list[tuple[int, int]], index_key: bytes) -> Searched:
    """Read all packs for one register.  Blocks for as long as that takes; it is for when both index copies are bad."""
    try:
        name = decode_key(index_key).name
    except ValueError:
        name = b""  # a cut name: every record must be decoded
    entry: Entry | None = None
    holes = False
    for pack, size in sizes:
        offset = FILE_HEADER_BYTES
        while offset < size:
            for record in packs.records(pack, offset, size, payloads=False):
                if isinstance(record, int):
                    holes = True
                    beyond = packs.find_record(pack, record + 1, size)
                    offset = size if beyond is None else beyond.offset
                    break
                offset = record.end
                if name in record.meta:
                    entry = _apply(index_key, entry, record.head.type, record.meta)
    return Searched(entry, holes)


def _apply(index_key: bytes, entry: Entry | None, kind: int, meta: bytes) -> Entry | None:
    if kind in REGISTERS:
        key, found = decode_state(meta)
        return found if encode_key(key) == index_key else entry
    match decode_meta(kind, meta):
        case Promise() as promise if entry is not None and encode_key(promise.key) == index_key:
            return msgspec.structs.replace(entry, promised=max(entry.promised, promise.ballot))
        case Drop() as drop if encode_key(drop.key) == index_key:
            return None
    return entry
