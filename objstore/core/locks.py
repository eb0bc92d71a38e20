"""Object lock: what holds a version in place, until when, and who may change that; pure.

Two holds on a version: a retention (mode and end) and a legal hold (until it is taken away).  GOVERNANCE can be lifted by those who
may bypass it; COMPLIANCE by nobody, only prolonged.  A lock protects a version from being removed or changed, never a key from
getting newer versions or a delete marker.
"""

from typing import Any

import msgspec

from objstore.core.rows import Kind, Row
from objstore.errors import AccessDenied, InvalidArgument, InvalidRetentionPeriod

GOVERNANCE = "GOVERNANCE"
COMPLIANCE = "COMPLIANCE"
MODES = (GOVERNANCE, COMPLIANCE)
CONFIG_VERSION = 1
MAX_DAYS = 36_500
MAX_YEARS = 100
_DAY_US = 86_400_000_000
_HINT_HOLD = "The version is under legal hold: take that off first (PutObjectLegalHold)."
_HINTS = {
    GOVERNANCE: "The version is under GOVERNANCE retention: who may bypass it says x-amz-bypass-governance-retention: true.",
    COMPLIANCE: "The version is under COMPLIANCE retention, which nobody can lift or shorten before its end.",
}
DAYS_OF_A_YEAR = 365  # a default retention of years is counted in days, as nothing says from which calendar


class LockConfig(msgspec.Struct, frozen=True, array_like=True):
    """Object lock of a bucket: it is on, with a retention that new versions get when they name none (no mode: there is none)."""

    config_version: int = CONFIG_VERSION
    mode: str = ""
    days: int = 0
    years: int = 0


class ObjectLock(msgspec.Struct, frozen=True):
    """What a writer asks for one version; no mode: the bucket's default."""

    mode: str = ""
    retain_until_us: int = 0
    legal_hold: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LockConfig).decode


def encode_config(config: LockConfig) -> bytes:
    """As it is kept in a bucket's record."""
    return _encode(config)


def decode_config(data: bytes) -> LockConfig:
    """The reverse."""
    return _decode(data)


def check_config(config: LockConfig) -> None:
    """Raises InvalidRetentionPeriod, InvalidArgument."""
    if not config.mode:
        return
    if config.mode not in MODES:
        raise InvalidArgument(f"{config.mode!r} is no mode of retention")
    if (config.days == 0) == (config.years == 0) or config.days < 0 or config.years < 0:
        raise InvalidRetentionPeriod("Default retention period must be a positive integer value.")
    if config.days > MAX_DAYS or config.years > MAX_YEARS:
        raise InvalidRetentionPeriod(f"Default retention is at most {MAX_DAYS} days or {MAX_YEARS} years.")


def lock_fields(config: LockConfig, asked: ObjectLock | None, now_us: int) -> dict[str, Any]:
    """The fields of a new version's row.  Raises InvalidArgument."""
    hold = asked is not None and asked.legal_hold
    if asked is not None and asked.mode:
        check_end(asked.mode, asked.retain_until_us, now_us)
        return {"lock_mode": asked.mode, "retain_until_us": asked.retain_until_us, "legal_hold": hold}
    if config.mode:
        until_us = now_us + (config.days + config.years * DAYS_OF_A_YEAR) * _DAY_US
        return {"lock_mode": config.mode, "retain_until_us": until_us, "legal_hold": hold}
    return {"legal_hold": hold}


def check_end(mode: str, until_us: int, now_us: int) -> None:
    """Whether a retention may be set at all.  Raises InvalidArgument."""
    if mode not in MODES:
        raise InvalidArgument("Unknown wormMode directive.")
    if until_us <= now_us:
        raise InvalidArgument("The retain until date must be in the future!")


def is_locked(row: Row, now_us: int) -> bool:
    """Whether object lock keeps a version."""
    return row.legal_hold or (bool(row.lock_mode) and row.retain_until_us > now_us)


def check_removable(row: Row, now_us: int, *, bypass: bool) -> None:
    """Whether a version may be removed.  `bypass`: the caller may lift GOVERNANCE and says so.  Raises AccessDenied."""
    if row.kind != Kind.OBJECT:
        return
    if row.legal_hold:
        raise AccessDenied("the version is under legal hold", hint=_HINT_HOLD)
    if row.retain_until_us > now_us and not (bypass and row.lock_mode == GOVERNANCE):
        raise AccessDenied(f"the version is under {row.lock_mode} retention", hint=_HINTS[row.lock_mode])


def check_overwritten(current: Row | None, draft: Row, now_us: int) -> None:
    """Whether a draft may take the place of a key's head, which it removes if both are the null version.  Raises AccessDenied.

    Where a bucket has locks that happens to writes alone that went by what the bucket was before.
    """
    if current is not None and not current.version and not draft.version:
        check_removable(current, now_us, bypass=False)


def check_retention_change(row: Row, mode: str, until_us: int, now_us: int, *, bypass: bool) -> None:
    """Whether a version's retention may become another one; no mode: none.  Raises InvalidArgument, AccessDenied."""
    if mode:
        check_end(mode, until_us, now_us)
    if row.retain_until_us <= now_us:
        return
    if mode == row.lock_mode and until_us >= row.retain_until_us:
        return
    if row.lock_mode == COMPLIANCE or not bypass:
        raise AccessDenied(f"the version is under {row.lock_mode} retention", hint=_HINTS[row.lock_mode])
