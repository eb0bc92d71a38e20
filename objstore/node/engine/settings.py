"""Limits of one device's engine, each with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineSettings:
    """What an operator may change; the defaults suit a disk of any size."""

    pack_size_bytes: int = 64 * 1024 * 1024  # a new pack begins above it; compaction moves at most one pack at a time
    batch_bytes: int = 8 * 1024 * 1024  # one flush takes no more, so that the first waiter is not held up for long
    checkpoint_rows: int = 8192  # about 10 MB of memory and well under a second of replay
    checkpoint_bytes: int = 24 * 1024 * 1024  # the same for few large rows
    memtable_limit: int = 8  # when checkpoints fail, writes are refused at this many times the two limits above
    block_size_bytes: int = 64 * 1024  # checksum unit of blobs: what a small range read must read and verify
    read_bytes: int = 1024 * 1024  # of a blob, per thread call
    stage_bytes: int = 1024 * 1024  # of a blob, collected before a thread call writes them: each call costs as much as writing 100 KB
    stage_waiting_bytes: int = 2 * 1024 * 1024  # per blob, before its sender must wait
    reserve_bytes: int = 64 * 1024 * 1024  # below this much free space payloads are refused; deletes go on
    ballast_bytes: int = 4 * 1024 * 1024  # kept in a file that is given up when others have filled the disk, so that deletes go on
    compact_dead_ratio: float = 0.5  # a pack is rewritten when so much of it is dead
    purge_blobs: int = 64  # per call of maintain("purge")
    staged_max_age_s: int = 3600  # a staged blob that no row names is swept after it
    scan_examined: int = 20_000  # index entries that one scan looks at before it ends its page early
    io_threads: int = 4
