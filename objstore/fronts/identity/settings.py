"""Settings of the identity service."""

import re

import msgspec


class IdentitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[identity]` section."""

    token_s: float = 3600.0  # life of a token; at most 30 days
    expired_token_s: float = 172_800.0  # how long services may still ask about an expired token (allow_expired)
    lockout_failures: int = 10  # wrong passwords in a row that lock a user; 0: never
    lockout_s: float = 300.0
    password_days: float = 0.0  # life of a password; 0: for ever
    password_min_chars: int = 0
    password_history: int = 0  # a new password is none of so many last ones, the present one among them
    password_regex: str = ""  # what a new password must match, from its beginning; empty: anything
    password_regex_description: str = ""  # the same in words, for whoever is refused
    password_min_age_s: float = 0.0  # a user may change a password that it has set itself not sooner than this
    password_first_change: bool = False  # a password that an administrator has set must be changed before it is good
    hash_threads: int = 2
    hash_memory_kib: int = 19_456
    max_project_depth: int = 5
    max_redelegation: int = 3  # so often a trust may be lent on
    token_key_days: float = 0.0  # age at which the key that seals tokens is changed by itself; 0: never
    signature_age_s: float = 900.0  # signatures that ec2tokens and s3tokens are asked about may be this old

    def __post_init__(self) -> None:
        """Raises ValueError where an expression cannot be read."""
        try:
            re.compile(self.password_regex)
        except re.error as wrong:
            raise ValueError(f"identity.password_regex is no regular expression: {wrong}") from wrong
