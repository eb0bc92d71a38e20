"""Passwords are checked at one pace, guesses are locked out, what was right is remembered."""

import asyncio
from typing import Any

from objstore.errors import TooBusy
from objstore.identity.passwords import MAX_PASSWORD_BYTES, MAX_WHO_CHARS, REMEMBER_S, REMEMBERED, Passwords, hash_password
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import InlineThreads, LoopClock, run


class CountingThreads(InlineThreads):
    """Counts what is run."""

    calls = 0

    async def run(self, call: Any, *args: Any) -> Any:
        self.calls += 1
        return await super().run(call, *args)


def passwords(failures: int = 3) -> tuple[Passwords, CountingThreads]:
    threads = CountingThreads()
    return Passwords(LoopClock(), SystemRng(), threads, failures=failures, lock_s=60.0, memory_kib=64), threads


def test_the_right_password_is_right_and_costs_one_hash_a_while() -> None:
    async def test() -> None:
        checker, threads = passwords()
        hashed = await checker.hash("pw")
        assert hashed.startswith("$argon2id$")
        assert "pw" not in hashed.split("$")
        assert await checker.check("joe", "pw", hashed)
        assert threads.calls == 2
        assert await checker.check("joe", "pw", hashed)
        assert threads.calls == 2
        assert not await checker.check("joe", "pw2", hashed)
        await asyncio.sleep(REMEMBER_S + 1)
        assert await checker.check("joe", "pw", hashed)
        assert threads.calls == 4
        assert not await checker.check("joe", "x" * (MAX_PASSWORD_BYTES + 1), hashed)
        assert await checker.check("jane", "\ud800é", await checker.hash("\ud800é"))

    run(test())


def test_nobody_costs_as_much_as_somebody() -> None:
    async def test() -> None:
        checker, threads = passwords()
        assert not await checker.check("nobody", "pw", "")
        before = threads.calls
        assert not await checker.check("nobody", "pw", "")
        assert threads.calls == before + 1

    run(test())


def test_of_the_names_that_strangers_guess_for_so_much_is_kept_and_no_more() -> None:
    async def test() -> None:
        checker, _ = passwords()
        hashed = await checker.hash("pw")
        long = "x" * MAX_WHO_CHARS
        assert await checker.check(long + "2", "pw", hashed)
        for _ in range(3):
            assert not await checker.check(long + "1", "no", "")
        assert not await checker.check(long + "2", "pw", hashed)
        assert await checker.check("x", "pw", hashed)

    run(test())


def test_too_many_wrong_guesses_lock_a_name_for_a_while_and_cost_the_same() -> None:
    async def test() -> None:
        checker, threads = passwords()
        hashed = await checker.hash("pw")
        assert await checker.check("joe", "pw", hashed)
        for _ in range(3):
            assert not await checker.check("joe", "guess", hashed)
        before = threads.calls
        assert not await checker.check("joe", "pw", hashed)
        assert threads.calls == before + 1
        await asyncio.sleep(59)
        assert not await checker.check("joe", "pw", hashed)
        await asyncio.sleep(2)
        assert await checker.check("joe", "pw", hashed)
        for _ in range(3):
            await checker.check("joe", "guess", hashed)
        checker.forget("joe")
        assert await checker.check("joe", "pw", hashed)

    run(test())


def test_too_many_at_once_are_sent_away() -> None:
    async def test() -> None:
        checker, _ = passwords(failures=0)
        hashed = await checker.hash("pw")
        found = await asyncio.gather(*(checker.check("joe", f"guess {n}", hashed) for n in range(200)), return_exceptions=True)
        assert any(isinstance(answer, TooBusy) for answer in found)
        assert any(answer is False for answer in found)
        assert await checker.check("joe", "pw", hashed)

    run(test())


def test_what_is_remembered_is_bounded() -> None:
    async def test() -> None:
        checker, _ = passwords()
        hashed = hash_password("pw", SystemRng(), memory_kib=64)
        checker._right.update({bytes([n % 256, n // 256]): 0.0 for n in range(REMEMBERED)})
        assert await checker.check("joe", "pw", hashed)
        assert len(checker._right) == REMEMBERED

    run(test())
