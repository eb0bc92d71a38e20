"""Access control of whole accounts (Swift's `X-Account-Access-Control`): who may read, write, or administer everything in one; pure.

    {"admin": ["test2:tester2"], "read-write": ["partner"], "read-only": ["test:guest", ...]}

An entry is an account, which stands for all its users, or account:user; either by id or by name.  There are no wildcards.
"""

import json
from collections.abc import Mapping, Sequence

from objstore.errors import InvalidArgument

ADMIN, READ_WRITE, READ_ONLY = "admin", "read-write", "read-only"
LEVELS = (ADMIN, READ_WRITE, READ_ONLY)  # highest first
MAX_ACL_CHARS = 8192
MAX_ENTRY_CHARS = 513  # two names of 256 characters

AccountAcl = Mapping[str, Sequence[str]]
"""Entries by level; levels without any are left out."""


def parse_account_acl(text: str) -> dict[str, list[str]]:
    """The list as it is kept; nothing from nothing.  Raises InvalidArgument with what is wrong."""
    if len(text) > MAX_ACL_CHARS:
        raise _invalid(f"it has {len(text)} characters; {MAX_ACL_CHARS} are allowed")
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("it is no JSON") from None
    if not isinstance(found, dict):
        raise _invalid("it must be an object")
    kept: dict[str, list[str]] = {}
    for level, entries in found.items():
        if level not in LEVELS:
            raise _invalid(f"Key {str(level)[:40]!r} not recognized")
        if not isinstance(entries, list):
            raise _invalid(f"Value for key {level!r} must be a list")
        for entry in entries:
            if not isinstance(entry, str):
                raise _invalid(f"Elements of {level!r} list must be strings")
            if not entry or len(entry) > MAX_ENTRY_CHARS or not entry.isprintable():
                raise _invalid(f"Elements of {level!r} list must be names of 1 to {MAX_ENTRY_CHARS} printable characters")
        if entries:
            kept[level] = list(dict.fromkeys(entries))
    return kept


def shown_account_acl(acl: AccountAcl) -> str:
    """The list as its administrators see it: JSON in ASCII."""
    return json.dumps({level: list(entries) for level, entries in acl.items()}, separators=(",", ":"), sort_keys=True)


def level_of(acl: AccountAcl, accounts: Sequence[str], users: Sequence[str]) -> str:
    """The highest level of a caller who goes by these ids and names; "" for one that no entry names."""
    names = {account for account in accounts if account}
    names |= {f"{account}:{user}" for account in accounts if account for user in users if user}
    for level in LEVELS:
        if not names.isdisjoint(acl.get(level, ())):
            return level
    return ""


def covers(level: str, needed: str) -> bool:
    """Whether a level is the one that is needed, or above it."""
    return level in LEVELS and LEVELS.index(level) <= LEVELS.index(needed)


def _invalid(why: str) -> InvalidArgument:
    return InvalidArgument(f"X-Account-Access-Control invalid: {why}")
