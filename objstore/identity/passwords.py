"""Passwords: argon2id in threads, few at once; guesses are slowed down; a password that was right a moment ago costs nothing.

A refusal takes as long for a user who is not there, is locked out, or has no password.  What was verified is remembered as a
keyed digest, with a key that only this process ever had, so that clients that log in for each of their threads cost one hash.
"""

import hmac
from collections import OrderedDict

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from objstore.errors import TooBusy
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng
from objstore.runtime.tasks import Threads

MAX_PASSWORD_BYTES = 4096
MEMORY_KIB = 19_456  # with two passes and one lane, OWASP's first recommendation: 20 ms
PASSES = 2
MAX_WAITING = 64  # hashes that wait or run
REMEMBERED = 1024
REMEMBER_S = 300.0
FAILURES_KEPT = 10_000  # users with wrong guesses
MAX_WHO_CHARS = 600  # of a name: strangers choose them, and they are kept


def hash_password(password: str, rng: Rng, *, memory_kib: int = MEMORY_KIB) -> str:
    """The hash in PHC form; some 20 ms of a processor."""
    hasher = Argon2id(salt=rng.token(16), length=32, iterations=PASSES, lanes=1, memory_cost=memory_kib)
    return hasher.derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


def _matches(password: bytes, hashed: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, hashed)
    except InvalidKey:
        return False
    return True


class Passwords:
    """Makes and checks hashes; knows who guessed wrong too often.  After `failures` wrong ones in a row a name is locked for `lock_s`."""

    def __init__(self, clock: Clock, rng: Rng, threads: Threads, *, failures: int, lock_s: float, memory_kib: int = MEMORY_KIB) -> None:
        self._clock = clock
        self._rng = rng
        self._threads = threads
        self._failures = failures
        self._lock_s = lock_s
        self._memory_kib = memory_kib
        self._key = rng.token(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._busy = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """A new hash.  Raises TooBusy."""
        self._enter()
        try:
            return await self._threads.run(lambda: hash_password(password, self._rng, memory_kib=self._memory_kib))
        finally:
            self._busy -= 1

    def _enter(self) -> None:
        if self._busy >= MAX_WAITING:
            raise TooBusy("too many passwords are being checked at once; try again in a moment")
        self._busy += 1

    async def check(self, who: str, password: str, hashed: str, *, locks: bool = True) -> bool:
        """Whether this is the password of `who`; `hashed` is empty for somebody who is not there.  Raises TooBusy.

        Without `locks` wrong ones are not counted, and who is locked out is let in.
        """
        who = who[:MAX_WHO_CHARS]
        data = password.encode("utf-8", "surrogatepass")
        if len(data) > MAX_PASSWORD_BYTES:
            return False
        now = self._clock.monotonic()
        seal = hmac.digest(self._key, b"%d:%s%s" % (len(data), data, hashed.encode()), "sha256")
        if hashed and not (locks and self._locked(who, now)) and self._right.get(seal, 0.0) > now:
            return True
        if not hashed and not self._nobody:
            self._nobody = await self.hash(self._rng.token(16).hex())
        self._enter()
        try:
            right = await self._threads.run(_matches, data, hashed or self._nobody)
        finally:
            self._busy -= 1
        if not hashed or not right or (locks and self._locked(who, now)):
            if locks:
                self._note_wrong(who, now)
            return False
        self._wrong.pop(who, None)
        self._right[seal] = now + REMEMBER_S
        while len(self._right) > REMEMBERED:
            self._right.popitem(last=False)
        return True

    def forget(self, who: str) -> None:
        """Let somebody guess again: the password was set anew."""
        self._wrong.pop(who, None)

    def _locked(self, who: str, now: float) -> bool:
        count, since = self._wrong.get(who, (0, 0.0))
        return bool(self._failures) and count >= self._failures and now - since < self._lock_s

    def _note_wrong(self, who: str, now: float) -> None:
        if self._locked(who, now):
            return  # guesses while it is locked do not make it longer
        count, since = self._wrong.pop(who, (0, now))
        self._wrong[who] = (1 if now - since >= self._lock_s else count + 1, now)
        while len(self._wrong) > FAILURES_KEPT:
            self._wrong.popitem(last=False)
