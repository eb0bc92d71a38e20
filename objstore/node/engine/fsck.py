"""Offline check of a device's directory: everything that must hold, verified from the files, nothing changed.

The device must not be open.  The report is plain data, ready for JSON: what was counted, and one line per finding.  `clean`
is true when there is no finding; a torn tail or blobs that no row names are normal after a crash and are only counted.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from objstore.core.digests import contribution
from objstore.core.rows import BodyKind, Kind, Space
from objstore.core.timestamp import ZERO
from objstore.core.versions import head_key
from objstore.errors import Damaged, DamagedFile, DamagedRow, DeviceOffline
from objstore.node.engine.blobs import DIRECTORY as BLOBS
from objstore.node.engine.blobs import BlobReader, blob_name, blob_of_name
from objstore.node.engine.commit import is_counted
from objstore.node.engine.family import is_miscounted
from objstore.node.engine.identity import index_directory, index_generation, load_identity
from objstore.node.engine.index import load
from objstore.node.engine.keys import decode_key, encode_key
from objstore.node.engine.pack_format import FILE_HEADER_BYTES, REGISTERS, TIED, decode_meta, decode_state
from objstore.node.engine.packs import Packs
from objstore.node.engine.read import merged_entries
from objstore.node.engine.records import LIVE_KINDS, SHADOWED, Entry, blob_of, blob_size, counts_as_version, shadow_of
from objstore.node.engine.recover import apply_record, changes, later_record
from objstore.node.engine.state import State
from objstore.node.engine.verify import Health, check_record, whole_blob_is_good
from objstore.runtime.disk import Disk
from objstore.runtime.world import World

_END = b"\xff" * 32
MAX_FINDINGS = 1000  # the report of a device that is wholly broken must still be readable


@dataclass
class Report:
    """What fsck found."""

    incarnation: str = ""
    packs: int = 0
    records: int = 0
    torn_bytes: int = 0
    registers: int = 0
    blobs: int = 0
    unnamed_blobs: int = 0
    findings: list[str] = field(default_factory=list)

    def found(self, what: str) -> None:
        """Add a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(what)


def fsck(world: World, directory: str) -> dict[str, Any]:
    """Check a device.  Blocks for as long as reading everything takes.  Raises OSError; DeviceOffline while a node has it open."""
    report = Report()
    disk = world.open_disk(directory)
    try:
        disk.lock()
    except BlockingIOError as failure:
        raise DeviceOffline(f"{directory} is in use by another process, and changes while it is looked at") from failure
    try:
        identity = load_identity(disk)
        if identity is None:
            report.found("the directory was never formatted")
        else:
            report.incarnation = identity[0].hex()
            packs = Packs(disk, identity[1], pack_size_bytes=0)
            _check_packs(packs, report)
            kv = world.open_kv(index_directory(directory, index_generation(disk)))
            try:
                state = load(kv)
                _apply_tail(state, packs, report)
                _check_rows(state, packs, disk, report)
            finally:
                kv.close()
    except Damaged as failure:
        report.found(f"{type(failure).__name__}: {failure}")
    finally:
        disk.unlock()
    return {"clean": not report.findings, **asdict(report)}


def _check_packs(packs: Packs, report: Report) -> None:
    ids = packs.list()
    sequence = 0
    for pack in ids:
        report.packs += 1
        size = packs.size_on_disk(pack)
        last = pack == ids[-1]
        if packs.header(pack) is None and not (last and later_record(packs, pack, 0, size, sequence + 1) is None):
            report.found(f"pack {pack}: bad header, or of another device")
        offset = FILE_HEADER_BYTES
        while offset < size:
            for record in packs.records(pack, offset, size):
                if isinstance(record, int):
                    beyond = packs.find_record(pack, record + 1, size)
                    if last and later_record(packs, pack, record + 1, size, sequence + 1) is None:
                        report.torn_bytes += size - record
                        offset = size
                        break
                    report.found(f"pack {pack}: damaged record at {record}")
                    offset = size if beyond is None else beyond.offset
                    break
                report.records += 1
                offset = record.end
                sequence = record.head.sequence
                try:
                    decode_state(record.meta) if record.head.type in REGISTERS else decode_meta(record.head.type, record.meta)
                except (msgspec.DecodeError, KeyError):
                    report.found(f"pack {pack}: undecodable record at {record.offset}")


def _apply_tail(state: State, packs: Packs, report: Report) -> None:
    """What opening would replay, in memory only."""
    start = state.position
    ids = packs.list()
    if start.pack and start.pack not in ids:
        raise DamagedFile(f"pack {start.pack}, from which the index goes on, is missing")
    for pack in ids:
        if pack < start.pack:
            continue
        size = packs.size_on_disk(pack)
        offset = start.offset if pack == start.pack else FILE_HEADER_BYTES
        if size < offset:
            report.found(f"pack {pack}: shorter than what was flushed to it")
        for change in changes(packs.records(pack, offset, size)):
            if not change or change[-1].head.flags & TIED:
                break
            for record in change:
                apply_record(state, pack, record)


@dataclass
class _Sums:
    partitions: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    buckets: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    versions: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    markers: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    named: dict[bytes, None] = field(default_factory=dict)


def _check_rows(state: State, packs: Packs, disk: Disk, report: Report) -> None:
    sums = _Sums()
    snapshot = state.kv.snapshot()
    try:
        for index_key, entry in merged_entries(state, snapshot, b"\x00", _END):
            report.registers += 1
            _add(sums, index_key, entry)
            if not state.is_newer(index_key) and state.shadow(index_key, entry.partition) != shadow_of(entry):
                report.found(f"row {index_key.hex()}: its entry by partition is missing or differs")
            health = check_record(packs, index_key, entry)
            if health is not Health.GOOD:
                report.found(f"row {index_key.hex()}: bad {health.value} in pack {entry.pack} at {entry.offset}")
            key = decode_key(index_key, entry.long_name)
            if key.space == Space.VERSIONS and is_miscounted(entry, state.get(encode_key(head_key(key))), key.version.hex()):
                report.found(f"row {index_key.hex()}: it is not told rightly whether this version is the head too")
            if entry.body == BodyKind.BLOB:
                _check_blob(disk, index_key, entry, report)
    except DamagedRow as failure:
        report.found(f"index: {failure} {failure.facts}")
        return
    finally:
        snapshot.close()
    _check_totals(state, sums, report)
    _check_unnamed(disk, sums, report)


def _add(sums: _Sums, index_key: bytes, entry: Entry) -> None:
    digest, rows, registers = sums.partitions.get(entry.partition, (0, 0, 0))
    sums.partitions[entry.partition] = (
        digest ^ contribution(index_key, entry.accepted),
        rows + (entry.accepted != ZERO),
        registers + 1,
    )
    key = decode_key(index_key, entry.long_name)
    if is_counted(key) and entry.kind in LIVE_KINDS:
        objects, size = sums.buckets.get(key.bucket, (0, 0))
        sums.buckets[key.bucket] = (objects + 1, size + entry.size)
    if key.space == Space.VERSIONS and counts_as_version(entry):
        versions, size = sums.versions.get(key.bucket, (0, 0))
        sums.versions[key.bucket] = (versions + 1, size + entry.size)
    if entry.kind == Kind.DELETE_MARKER and not entry.flags & SHADOWED:
        current, noncurrent = sums.markers.get(key.bucket, (0, 0))
        is_old = key.space == Space.VERSIONS
        sums.markers[key.bucket] = (current + 1 - is_old, noncurrent + is_old)
    blob = blob_of(entry)
    if blob:
        sums.named[blob] = None


def _check_blob(disk: Disk, index_key: bytes, entry: Entry, report: Report) -> None:
    blob = blob_of(entry)
    try:
        reader = BlobReader(disk.open(blob_name(blob)), blob)
        good = reader.trailer.size == blob_size(entry) and whole_blob_is_good(reader)
    except (DamagedFile, OSError):
        good = False
    if not good:
        report.found(f"row {index_key.hex()}: blob {blob.hex()} is missing or damaged")


def _check_totals(state: State, sums: _Sums, report: Report) -> None:
    everything = (
        ("partition", state.partitions, sums.partitions),
        ("bucket", state.buckets, sums.buckets),
        ("bucket of noncurrent versions", state.versions, sums.versions),
        ("bucket of delete markers", state.markers, sums.markers),
    )
    for name, kept, counted in everything:
        if kept != counted:
            report.found(f"the sums kept by {name} differ from the rows")
    if state.totals.registers != report.registers:
        report.found(f"{state.totals.registers} registers are kept count of, {report.registers} are there")
    for blob in sums.named:
        if not state.is_named(blob):
            report.found(f"blob {blob.hex()}: its reference is missing, so that it could be purged")


def _check_unnamed(disk: Disk, sums: _Sums, report: Report) -> None:
    for fan_out in disk.list(BLOBS) if disk.exists(BLOBS) else []:
        for name in disk.list(f"{BLOBS}/{fan_out}"):
            blob = blob_of_name(name)
            report.blobs += 1
            report.unnamed_blobs += blob is None or blob not in sums.named
