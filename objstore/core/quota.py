"""Quotas of buckets as stored, and what they are compared with; pure.  Whether a write fits is decided in escrow.py."""

from typing import NamedTuple

import msgspec


class QuotaConfig(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket may hold, all versions together; None is no limit.  New fields go last, with a default."""

    record_version: int
    max_bytes: int | None = None
    max_objects: int | None = None


class Usage(NamedTuple):
    """What a bucket holds, or what is to be added to it."""

    objects: int
    bytes: int

    def plus(self, other: "Usage") -> "Usage":
        """The sum."""
        return Usage(self.objects + other.objects, self.bytes + other.bytes)

    def minus(self, other: "Usage") -> "Usage":
        """The difference."""
        return Usage(self.objects - other.objects, self.bytes - other.bytes)

    def covers(self, other: "Usage") -> bool:
        """Whether `other` can be had from this; what is not positive always can."""
        return (other.objects <= 0 or other.objects <= self.objects) and (other.bytes <= 0 or other.bytes <= self.bytes)


class Holdings(NamedTuple):
    """All that is counted of a bucket: current objects, noncurrent versions without delete markers, all delete markers, and the
    bytes of all copies of objects and versions on all devices.
    """

    objects: int
    bytes: int
    versions: int
    version_bytes: int
    markers: int
    stored_bytes: int

    @property
    def usage(self) -> Usage:
        """What a quota limits: objects and versions; delete markers are free."""
        return Usage(self.objects + self.versions, self.bytes + self.version_bytes)


_DECODER = msgspec.msgpack.Decoder(QuotaConfig)


def encode(config: QuotaConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> QuotaConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)
