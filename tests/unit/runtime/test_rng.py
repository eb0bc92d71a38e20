"""Randomness, real and seeded."""

import pytest

from objstore.runtime.rng import Rng, SystemRng
from tests.sim.rng import SimRng, stream


@pytest.mark.parametrize("rng", [SystemRng(), SimRng(stream(1, "test"))], ids=["real", "simulated"])
def test_tokens_have_their_size_and_differ(rng: Rng) -> None:
    assert len(rng.token(16)) == 16
    assert rng.token(0) == b""
    assert len({rng.token(16) for _ in range(100)}) == 100


@pytest.mark.parametrize("rng", [SystemRng(), SimRng(stream(1, "test"))], ids=["real", "simulated"])
def test_uniform_stays_between_its_ends(rng: Rng) -> None:
    draws = [rng.uniform(2.0, 3.0) for _ in range(200)]
    assert 2.0 <= min(draws) < max(draws) <= 3.0


def test_a_seed_repeats_itself_and_its_streams_are_independent() -> None:
    assert SimRng(stream(7, "a")).token(8) == SimRng(stream(7, "a")).token(8)
    assert SimRng(stream(7, "a")).token(8) != SimRng(stream(7, "b")).token(8)
    assert SimRng(stream(7, "a")).token(8) != SimRng(stream(8, "a")).token(8)
