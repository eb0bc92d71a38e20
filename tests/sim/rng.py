"""Seeded randomness: one seed, many independent streams, so that a change in one part does not reshuffle the others."""

import random


def stream(seed: int, name: str) -> random.Random:
    """The generator for one purpose of one seed."""
    return random.Random(f"{seed}/{name}")


class SimRng:
    """runtime.rng.Rng from a stream."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def token(self, size: int) -> bytes:
        """`size` bytes; unlike the real one, the same for the same seed."""
        return self._source.randbytes(size)

    def uniform(self, low: float, high: float) -> float:
        """A float for jitter."""
        return self._source.uniform(low, high)
