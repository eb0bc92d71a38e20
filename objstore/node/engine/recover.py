"""Start after a crash: the index as of its last checkpoint, then the packs from there on, record by record.

A bad record is the torn tail of the last flush, cut off here, or damage to bytes that were acknowledged.  It is damage
when a later batch was flushed behind it: a batch is written only after the one before it was durable.  Records that are tied
together (pack_format.TIED) are applied together, and cut off together.  A damaged payload
costs that payload (reads of it raise DamagedBody until it is healed); a damaged record head means that nobody knows what
this device has promised: opening raises DamagedFile, and the device is refilled under a new incarnation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from objstore.core.timestamp import ZERO
from objstore.errors import DamagedFile
from objstore.node.engine.commit import is_counted
from objstore.node.engine.keys import encode_key
from objstore.node.engine.pack_format import (
    FILE_HEADER_BYTES,
    REGISTERS,
    TIED,
    Drop,
    Floor,
    Note,
    Promise,
    decode_meta,
    decode_state,
)
from objstore.node.engine.packs import Packs, Record
from objstore.node.engine.state import Position, State


@dataclass
class Replay:
    """What replaying found; `position` is where the next batch goes on."""

    records: int = 0
    damaged_payloads: int = 0
    lost_heads: int = 0  # only ever above 0 with `salvage`
    cut_bytes: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    position: Position = field(default_factory=Position)


def replay(state: State, packs: Packs, *, salvage: bool = False) -> Iterator[Replay]:
    """Apply what the packs hold beyond the index; yields now and then so that a full memtable can be checkpointed.

    `salvage`: step over damaged heads instead of raising, for rebuilding an index; what was lost is counted.
    Blocks.  Raises DamagedFile, OSError.
    """
    found = Replay(position=state.position)
    ids = packs.list()
    start = state.position
    if start.pack and ids and start.pack not in ids:
        raise DamagedFile(f"pack {start.pack}, from which the index goes on, is missing")
    if start.pack and not ids:
        raise DamagedFile("the packs are missing")
    tail = [pack for pack in ids if pack >= start.pack]
    if start.pack and tail != list(range(start.pack, start.pack + len(tail))) and not salvage:
        raise DamagedFile(f"a pack after {start.pack} is missing")
    for pack in ids:
        if pack < start.pack:
            found.sizes[pack] = packs.size_on_disk(pack)
    for pack in tail:
        offset = start.offset if pack == start.pack else FILE_HEADER_BYTES
        yield from _replay_pack(state, packs, found, pack, offset, last=pack == tail[-1], salvage=salvage)
    yield found


def _replay_pack(state: State, packs: Packs, found: Replay, pack: int, offset: int, *, last: bool, salvage: bool) -> Iterator[Replay]:
    end = packs.size_on_disk(pack)
    if packs.header(pack) is None and not packs.mend_header(pack):
        # Not the pack that the index goes on from: that one was flushed, whatever its header looks like now.
        if last and pack > found.position.pack and later_record(packs, pack, 0, end, found.position.sequence + 1) is None:
            # Created by the last flush, of which some sectors may have arrived: nothing in it was acknowledged.
            packs.forget(pack)
            packs.delete(pack)
            found.cut_bytes = end
            return
        if not salvage:
            raise DamagedFile(f"the header of pack {pack} is damaged, or it belongs to another device")
        found.lost_heads += 1
    if end < offset:
        raise DamagedFile(f"pack {pack} is shorter than what was flushed to it")
    while offset < end:
        for change in changes(packs.records(pack, offset, end)):
            missing = not change or change[-1].head.flags & TIED
            if last and (missing or not all(record.intact for record in change)):
                sequence = change[0].head.sequence if change else found.position.sequence + 1
                if later_record(packs, pack, offset + 1, end, sequence) is None:
                    found.cut_bytes = end - offset
                    packs.trim(pack, offset)
                    end = offset
                    break
            for record in change:
                found.damaged_payloads += not record.intact
                apply_record(state, pack, record)
                found.records += 1
                offset = record.end
                found.position = Position(pack, offset, record.head.sequence)
            if missing:
                if not salvage:
                    raise DamagedFile(f"pack {pack} is damaged at offset {offset}")
                found.lost_heads += 1
                beyond = packs.find_record(pack, offset + 1, end)
                offset = end if beyond is None else beyond.offset
                break
            yield found
    found.sizes[pack] = end
    found.position = Position(pack, end, found.position.sequence)


def changes(records: Iterator[Record | int]) -> Iterator[list[Record]]:
    """Records that are tied together, each time; the last ones lack their end, or there are none, where a bad record comes next."""
    change: list[Record] = []
    for record in records:
        if isinstance(record, int):
            yield change
            return
        change.append(record)
        if not record.head.flags & TIED:
            yield change
            change = []
    if change:
        yield change


def later_record(packs: Packs, pack: int, start: int, end: int, sequence: int) -> Record | None:
    """A valid record of a batch above `sequence`."""
    while True:
        record = packs.find_record(pack, start, end)
        if record is None or record.head.sequence > sequence:
            return record
        start = record.offset + 1


def apply_record(state: State, pack: int, record: Record) -> None:
    """Make one record state."""
    kind = record.head.type
    if kind in REGISTERS:
        key, entry = decode_state(record.meta)
        assert entry.place == (pack, record.payload_offset)
        index_key = encode_key(key)
        state.put(index_key, state.get(index_key), entry, counted=is_counted(key))
        return
    match decode_meta(kind, record.meta):
        case Promise() as promise:
            index_key = encode_key(promise.key)
            old = state.get(index_key)
            # Absent only while an index is rebuilt from packs of which a later life of the key remains.
            if old is not None and promise.ballot > old.promised:
                state.put(index_key, old, msgspec.structs.replace(old, promised=promise.ballot), counted=is_counted(promise.key))
        case Drop() as drop:
            index_key = encode_key(drop.key)
            old = state.get(index_key)
            if old is not None:
                state.put(index_key, old, None, counted=is_counted(drop.key))
            if drop.floor != ZERO:
                state.set_floor(drop.partition, drop.floor)
        case Note() as note:
            state.set_note(note.name, note.value)
        case Floor() as floor:
            state.set_floor(floor.partition, floor.ballot)
