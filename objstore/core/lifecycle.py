"""Lifecycle rules: what is due for which version of a key at a time; pure.

A day is a parameter, so that a test need not wait for one.  Real days end at midnight UTC, as on Amazon: what was written on
Monday at noon with a rule of one day is due at the beginning of Wednesday.  Of several rules the earliest date wins.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

MAX_RULES = 1000
MAX_ID = 255
LEAST_BYTES = 128 * 1024  # smaller objects keep their class, unless a rule speaks of sizes or the configuration takes them in
# Transitions go down this list, never up; names that it does not have are free.
WATERFALL = ("STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
DAY_US = 86_400_000_000
FORM_PREFIX = 0  # <Prefix> in the rule itself, the older form
FORM_FILTER = 1  # <Filter> with at most one predicate
FORM_AND = 2  # <Filter><And>


class Transition(msgspec.Struct, frozen=True, array_like=True):
    """To which storage class a version goes and when: one of `days` and `date_us` for current versions, `days` for noncurrent ones."""

    storage_class: str
    days: int | None = None
    date_us: int | None = None
    newer: int | None = None  # noncurrent versions that are kept as they are


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """A rule as the client wrote it; None where it said nothing.  New fields go last, with a default."""

    id: str
    enabled: bool
    form: int = FORM_FILTER
    prefix: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    larger_than: int | None = None
    smaller_than: int | None = None
    days: int | None = None
    date_us: int | None = None
    expired_marker: bool | None = None
    noncurrent_days: int | None = None
    newer_noncurrent: int | None = None
    abort_days: int | None = None
    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[Transition, ...] = ()


class LifecycleConfig(msgspec.Struct, frozen=True, array_like=True):
    """The configuration as stored.  New fields go last, with a default."""

    record_version: int
    rules: tuple[Rule, ...]
    any_size: bool = False  # transitions of small objects too, also by rules that say nothing of sizes


class Version(NamedTuple):
    """What rules ask of a version, or of a delete marker."""

    size: int
    tags: Mapping[str, str]
    modified_us: int
    is_marker: bool = False
    storage_class: str = ""


class Action(Enum):
    """What is done about a version that is due."""

    EXPIRE = "expire the current version"
    REMOVE = "remove a noncurrent version"
    REMOVE_MARKER = "remove a delete marker that hides nothing any more"
    TRANSITION = "give a version another storage class"


class Due(NamedTuple):
    """One thing to do: the version by its place in what was asked, what, and by which rule."""

    place: int
    action: Action
    rule_id: str
    storage_class: str = ""  # of a TRANSITION


_DECODER = msgspec.msgpack.Decoder(LifecycleConfig)


def encode(config: LifecycleConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> LifecycleConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)


def due_at_us(since_us: int, days: int, day_us: int) -> int:
    """When a number of days is over, microseconds since 1970."""
    at = since_us + days * day_us
    return -(-at // DAY_US) * DAY_US if day_us == DAY_US else at


def applies(rule: Rule, key: str, version: Version) -> bool:
    """Whether a rule's filter takes in a version."""
    if not key.startswith(rule.prefix or ""):
        return False
    if rule.larger_than is not None and version.size <= rule.larger_than:
        return False
    if rule.smaller_than is not None and version.size >= rule.smaller_than:
        return False
    return all(version.tags.get(name) == value for name, value in rule.tags)


def expiry(config: LifecycleConfig, key: str, version: Version, day_us: int) -> tuple[int, str] | None:
    """When the current version expires and by which rule; None: never."""
    found: tuple[int, str] | None = None
    for rule in config.rules:
        if not rule.enabled or (rule.days is None and rule.date_us is None) or not applies(rule, key, version):
            continue
        at = due_at_us(version.modified_us, rule.days, day_us) if rule.days is not None else rule.date_us
        if at is not None and (found is None or at < found[0]):
            found = (at, rule.id)
    return found


def due(config: LifecycleConfig, key: str, versions: Sequence[Version], now_us: int, day_us: int, *, before: int = 0) -> list[Due]:
    """What is due among all versions of a key, the current one first and the others newest first.

    `before`: so many of them were looked at already, and the first given is the last of those.
    """
    found = []
    current = versions[0]
    if before:
        pass
    elif not current.is_marker:
        expires = expiry(config, key, current, day_us)
        if expires is not None and expires[0] <= now_us:
            found.append(Due(0, Action.EXPIRE, expires[1]))
        else:
            found += _transition(config, key, versions, 0, now_us, day_us)
    elif len(versions) == 1:
        rule_id = _marker_due(config, key, current, now_us, day_us)
        if rule_id is not None:
            found.append(Due(0, Action.REMOVE_MARKER, rule_id))
    newer = max(before, 1) - 2  # noncurrent versions that are newer than the one at place 0
    for index in range(1, len(versions)):
        # A version is noncurrent since the next newer one was written.
        since_us = versions[index - 1].modified_us
        for rule in config.rules:
            if rule.enabled and _noncurrent_due(rule, since_us, newer + index, now_us, day_us) and applies(rule, key, versions[index]):
                found.append(Due(index, Action.REMOVE, rule.id))
                break
        else:
            found += _transition(config, key, versions, index, now_us, day_us, newer=newer + index)
    return found


def _transition(
    config: LifecycleConfig, key: str, versions: Sequence[Version], place: int, now_us: int, day_us: int, *, newer: int = -1
) -> list[Due]:
    """The transition of one version that is due last, if it is down from where the version is; `newer` -1: it is current."""
    version = versions[place]
    since_us = version.modified_us if newer < 0 else versions[place - 1].modified_us
    best: tuple[int, int, Due] | None = None
    for rule in config.rules:
        steps = rule.transitions if newer < 0 else rule.noncurrent_transitions
        if not steps or not rule.enabled or version.is_marker or not applies(rule, key, version):
            continue
        if version.size < LEAST_BYTES and not config.any_size and rule.larger_than is None and rule.smaller_than is None:
            continue
        for step in steps:
            at = due_at_us(since_us, step.days, day_us) if step.days is not None else step.date_us or 0
            rank = WATERFALL.index(step.storage_class) if step.storage_class in WATERFALL else -1
            if at > now_us or 0 <= newer < (step.newer or 0):
                continue
            if best is None or (at, rank) > best[:2]:
                best = at, rank, Due(place, Action.TRANSITION, rule.id, step.storage_class)
    if best is None or not _is_down(version.storage_class or WATERFALL[0], best[2].storage_class):
        return []
    return [best[2]]


def _is_down(now: str, asked: str) -> bool:
    if now in WATERFALL and asked in WATERFALL:
        return WATERFALL.index(asked) > WATERFALL.index(now)
    return asked != now


def _marker_due(config: LifecycleConfig, key: str, marker: Version, now_us: int, day_us: int) -> str | None:
    for rule in config.rules:
        if rule.enabled and rule.expired_marker and applies(rule, key, marker):
            return rule.id
    expires = expiry(config, key, marker, day_us)
    return expires[1] if expires is not None and expires[0] <= now_us else None


def _noncurrent_due(rule: Rule, since_us: int, newer: int, now_us: int, day_us: int) -> bool:
    if rule.noncurrent_days is None or newer < (rule.newer_noncurrent or 0):
        return False
    return due_at_us(since_us, rule.noncurrent_days, day_us) <= now_us


def abort_at_us(config: LifecycleConfig, key: str, initiated_us: int, day_us: int) -> tuple[int, str] | None:
    """When a multipart upload is given up and by which rule; None: never."""
    found: tuple[int, str] | None = None
    for rule in config.rules:
        if rule.enabled and rule.abort_days is not None and key.startswith(rule.prefix or ""):
            at = due_at_us(initiated_us, rule.abort_days, day_us)
            if found is None or at < found[0]:
                found = (at, rule.id)
    return found


def common_prefix(prefixes: Sequence[str]) -> str:
    """The longest prefix that all of them begin with."""
    if not prefixes:
        return ""
    first, last = min(prefixes), max(prefixes)
    length = next((place for place, char in enumerate(first) if last[place : place + 1] != char), len(first))
    return first[:length]
