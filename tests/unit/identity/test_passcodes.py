"""Passcodes that change with time: RFC 6238's own values, once each, and not to be guessed."""

import asyncio

import pytest

from objstore.identity.passcodes import LOCK_S, STEP_S, WRONG_MOST, Passcodes, passcode, secret_of
from tests.sim.loop import run
from tests.support.memory_cluster import LoopClock

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert passcode(SECRET, seconds // STEP_S) == code


def test_a_secret_is_read_as_apps_are_given_it() -> None:
    assert secret_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") == SECRET
    assert secret_of(" gezd gnbv gy3t qojq gezd gnbv gy3t qojq ") == SECRET
    assert [secret_of(blob) for blob in ("", "short", "1" * 32, "{}" * 16, "A" * 300)] == [b""] * 5


def test_a_code_is_good_for_two_steps_and_once() -> None:
    async def main() -> None:
        clock = LoopClock()
        found = Passcodes(clock)
        step = clock.wall_us() // (STEP_S * 1_000_000)
        assert found.check("jane", [b"", SECRET], passcode(SECRET, step - 1))
        assert not found.check("jane", [SECRET], passcode(SECRET, step - 1))
        assert found.check("jane", [SECRET], passcode(SECRET, step))
        assert not found.check("jane", [SECRET], passcode(SECRET, step))
        assert found.check("joe", [SECRET], passcode(SECRET, step))
        for wrong in (passcode(SECRET, step - 2), passcode(SECRET, step + 1), "", "\ud800"):
            assert not Passcodes(clock).check("jane", [SECRET], wrong)
        assert not found.check("jane", [], passcode(b"", step))

    run(main())


def test_who_guesses_is_locked_out_for_a_while() -> None:
    async def main() -> None:
        clock = LoopClock()
        found = Passcodes(clock)

        def now() -> str:
            return passcode(SECRET, clock.wall_us() // (STEP_S * 1_000_000))

        for _ in range(WRONG_MOST):
            assert not found.check("jane", [SECRET], "wrong")
        assert not found.check("jane", [SECRET], now())
        assert found.check("joe", [SECRET], now())
        await asyncio.sleep(LOCK_S + 1)
        assert found.check("jane", [SECRET], now())

    run(main())
