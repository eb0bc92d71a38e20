"""Quotas of buckets as stored, and whether a write fits; pure."""

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


_DECODER = msgspec.msgpack.Decoder(QuotaConfig)


def encode(config: QuotaConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> QuotaConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)


def fits(config: QuotaConfig, held: Usage, added: Usage) -> bool:
    """Whether a write may go on.  What does not grow the bucket always may, also beyond its quota."""
    total = held.plus(added)
    if config.max_bytes is not None and added.bytes > 0 and total.bytes > config.max_bytes:
        return False
    return config.max_objects is None or added.objects <= 0 or total.objects <= config.max_objects
