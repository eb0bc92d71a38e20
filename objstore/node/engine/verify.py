"""Hold one register's bytes against their checksums; the scrubber, fsck and repairs share it.  All of it blocks."""

from enum import Enum

import msgspec

from objstore.errors import DamagedBody, DamagedFile, TooBusy
from objstore.node.engine.blobs import BlobReader
from objstore.node.engine.faults import is_shortage
from objstore.node.engine.keys import encode_key
from objstore.node.engine.pack_format import (
    RECORD_HEADER_BYTES,
    REGISTERS,
    checksum_of,
    decode_record_head,
    decode_state,
)
from objstore.node.engine.packs import Packs
from objstore.node.engine.records import Entry


class Health(Enum):
    """What is wrong with the record of an entry."""

    GOOD = "good"
    RECORD = "record"  # the journal's copy of the row is bad, the payload is good: it can be written again
    PAYLOAD = "payload"  # the payload is bad: only another replica has it


def check_record(packs: Packs, index_key: bytes, entry: Entry) -> Health:
    """Verify what an entry points to: the payload, and that a rebuild would find this register in its own record.

    Raises TooBusy.
    """
    try:
        data = packs.file(entry.pack).pread(RECORD_HEADER_BYTES + entry.length, entry.offset - RECORD_HEADER_BYTES)
    except OSError as failure:
        if is_shortage(failure):
            raise TooBusy(f"a record cannot be read now: {failure!r}") from failure
        return Health.PAYLOAD if entry.length else Health.RECORD
    payload = memoryview(data)[RECORD_HEADER_BYTES:]
    if len(payload) != entry.length or checksum_of(payload) != entry.checksum:
        return Health.PAYLOAD
    found = read_state(packs, *entry.place, index_key)
    return Health.GOOD if found is not None and found.row == entry.row and found.accepted == entry.accepted else Health.RECORD


def read_state(packs: Packs, pack: int, payload_offset: int, index_key: bytes) -> Entry | None:
    """The entry in the journal record at a place, if the record is valid and is of this register."""
    offset = payload_offset - RECORD_HEADER_BYTES
    try:
        file = packs.file(pack)
        raw = file.pread(RECORD_HEADER_BYTES, offset)
        head = decode_record_head(raw)
        if head is None or head.type not in REGISTERS:
            return None
        meta = file.pread(head.meta_length, payload_offset + head.payload_length)
        if not packs.is_valid(pack, offset, raw, meta):
            return None
        key, entry = decode_state(meta)
    except (OSError, msgspec.DecodeError) as failure:
        if is_shortage(failure):
            raise TooBusy(f"a record cannot be read now: {failure!r}") from failure
        return None
    return entry if encode_key(key) == index_key else None


def check_blob(reader: BlobReader, first: int, count: int) -> int:
    """Verify some blocks of a blob; bytes read.  Raises DamagedBody."""
    last = min(first + count, reader.trailer.blocks) - 1
    return len(reader.read(first, last)) if last >= first else 0


def whole_blob_is_good(reader: BlobReader, step: int = 16) -> bool:
    """Verify a whole blob."""
    try:
        for first in range(0, reader.trailer.blocks, step):
            check_blob(reader, first, step)
    except (DamagedBody, DamagedFile):
        return False
    return True
