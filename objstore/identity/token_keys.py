"""Which keys seal tokens: one seals, those before it still open, the next one is known everywhere before it is used.

Pure.  Key 0 is there from the start and comes from the cluster's key; all others are random and kept in one record, sealed.  A key
that no longer seals is kept for as long as any token of its could live.
"""

import msgspec

KEEP_US = 63 * 86_400_000_000  # a token lives 30 days at most, and services may ask about it some time after
MAX_KEYS = 64  # so many rotations within that time


class TokenKey(msgspec.Struct, frozen=True, array_like=True):
    """A key.  `secret` is empty for key 0."""

    number: int
    secret: bytes
    made_us: int
    retired_us: int = 0  # since when it does not seal any more; 0: it does, or will

    def __repr__(self) -> str:
        return f"TokenKey(number={self.number})"  # never the secret


class KeySet(msgspec.Struct, frozen=True, array_like=True):
    """The keys, and the number of the one that seals."""

    record_version: int
    keys: tuple[TokenKey, ...]
    primary: int

    def state(self, key: TokenKey) -> str:
        """staged, primary or secondary."""
        return "primary" if key.number == self.primary else "secondary" if key.retired_us else "staged"

    def age_us(self, now_us: int) -> int:
        """How long the key that seals is in use: since it was made, or the one before was retired."""
        retired = [key.retired_us for key in self.keys if key.retired_us]
        made = next(key.made_us for key in self.keys if key.number == self.primary)
        return now_us - max([made, *retired])


BUILT_IN = KeySet(1, (TokenKey(0, b"", 0),), 0)


def rotated(keys: KeySet, now_us: int, fresh: tuple[bytes, bytes], *, revoke: bool = False) -> KeySet:
    """The staged key seals from now on, the one that did only opens, and another one is staged.

    `fresh` are secrets for new keys: where none was staged, one of them seals at once.  With `revoke` no older token opens any more.
    """
    held = {key.number: key for key in keys.keys}
    staged = sorted(number for number in held if number > keys.primary)
    if revoke:  # whoever got at the keys has the staged one as well
        staged = []
    number = max(held) + 1
    primary = held[staged[0]] if staged else TokenKey(number, fresh[0], now_us)
    following = TokenKey(max(number, primary.number + 1), fresh[1], now_us)
    older = [
        msgspec.structs.replace(key, retired_us=key.retired_us or now_us)
        for key in keys.keys
        if key.number not in (primary.number, following.number) and not revoke
    ]
    kept = [key for key in older if now_us - key.retired_us < KEEP_US][-(MAX_KEYS - 2) :]
    return KeySet(keys.record_version, (*kept, primary, following), primary.number)
