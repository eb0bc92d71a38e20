"""[volume]: how a volume's process caches, commits and answers."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class VolumeSettings:
    """Of each volume that a process serves."""

    durability: str = "journal"  # "journal": a flush waits for the local disk; "store": for the store
    clean_bytes: int = 256 * MEBIBYTE  # of chunks kept in memory that the store has as well
    changed_bytes: int = 256 * MEBIBYTE  # of chunks that the store has not; a write that would go beyond waits
    journal_bytes: int = 512 * MEBIBYTE  # on the local disk; a write that would go beyond waits
    commit_interval_s: float = 5.0  # a change is in the store after so long and the time to upload it
    uploads: int = 16  # chunks on their way to the store at once
    read_ahead_chunks: int = 16  # fetched before they are asked for, where reads go on in order; 0 is none
    watch_interval_s: float = 2.0  # how soon a volume that was attached elsewhere stops here
    patience_s: float = 30.0  # a read that cannot be served for so long fails
    sweep_interval_s: float = 3600.0  # between rounds that remove what no volume names, over all serving processes; 0 is never
    sweep_grace_s: float = 3600.0  # for which that is kept all the same, for readers that opened it before
