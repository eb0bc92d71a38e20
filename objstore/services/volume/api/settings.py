"""Settings of the block storage service."""

import msgspec

GIB = 1024**3


class BlockStorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[block_storage]` section.  Quotas of -1 are none; projects and the quota class `default` may have others."""

    quota_volumes: int = 100  # of a project
    quota_snapshots: int = 100
    quota_gigabytes: int = 10_000  # volumes and snapshots
    quota_per_volume_gigabytes: int = -1
    quota_backups: int = 100
    quota_backup_gigabytes: int = 10_000
    quota_groups: int = 0  # groups are not built
    page_limit: int = 1000
    availability_zone: str = "nova"
    default_volume_type: str = "__DEFAULT__"
    convert: str = "eager"  # images become chunks when they are active; "lazy": when they are first needed
    convert_max_bytes: int = 1024 * GIB  # of the disk in an image
    convert_timeout_s: float = 7200.0
    convert_memory_bytes: int = 2 * GIB  # address space of the converting program
    convert_uid: int = 64_055  # user that it runs as, where the service runs as root
