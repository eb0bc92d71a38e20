"""Passcodes that change with time (TOTP, RFC 6238): six digits, HMAC-SHA1, a step of 30 seconds, and who guesses them.

A code is good during its step and the next one, and once: what somebody has looked over another's shoulder is worth nothing.  What was used
is known to each process for itself.  Six digits are soon guessed, so wrong ones are counted whatever the settings of passwords say.
"""

import base64
import hmac
from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

from objstore.runtime.clock import Clock

STEP_S = 30
DIGITS = 6
EARLIER_STEPS = 1  # clocks differ, and people type slowly
WRONG_MOST = 5  # in a row; then there is no guessing for `LOCK_S`
LOCK_S = 300.0
KEPT = 10_000
MAX_SECRET_CHARS = 256

K = TypeVar("K")
V = TypeVar("V")


def secret_of(blob: str) -> bytes:
    """The secret behind its base32 text, as apps are given it; empty for what is none."""
    text = blob.strip().replace(" ", "").upper()
    if not 16 <= len(text) <= MAX_SECRET_CHARS:
        return b""
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:  # binascii.Error is one; text that is not ASCII is another
        return b""


def passcode(secret: bytes, step: int) -> str:
    """The code of a step (seconds since 1970 by 30)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


class Passcodes:
    """Checks codes; knows which were used, and who guessed wrong too often."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: OrderedDict[tuple[str, bytes], int] = OrderedDict()  # user, secret -> the last step of which a code was taken
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, user_id: str, secrets: Iterable[bytes], given: str) -> bool:
        """Whether this is a code of one of the user's secrets that was not used yet."""
        now = self._clock.monotonic()
        count, since = self._wrong.get(user_id, (0, 0.0))
        if count >= WRONG_MOST and now - since < LOCK_S:
            return False
        found = self._matching(user_id, [secret for secret in secrets if secret], given)
        if found is None:
            _keep(self._wrong, user_id, (1 if now - since >= LOCK_S else count + 1, now))
            return False
        self._wrong.pop(user_id, None)
        secret, step = found
        _keep(self._used, (user_id, secret), step)
        return True

    def _matching(self, user_id: str, secrets: list[bytes], given: str) -> tuple[bytes, int] | None:
        step = self._clock.wall_us() // (STEP_S * 1_000_000)
        found: tuple[bytes, int] | None = None
        for secret in secrets:
            for at in range(step, step - EARLIER_STEPS - 1, -1):
                right = hmac.compare_digest(passcode(secret, at).encode(), given.encode("utf-8", "surrogatepass"))
                if right and at > self._used.get((user_id, secret), -1):
                    found = found or (secret, at)
        return found


def _keep(table: OrderedDict[K, V], key: K, value: V) -> None:
    table.pop(key, None)
    table[key] = value
    while len(table) > KEPT:
        table.popitem(last=False)
