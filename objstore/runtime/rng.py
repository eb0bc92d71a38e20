"""Randomness: the only door to it."""

import os
import random
from typing import Protocol


class Rng(Protocol):
    """Identifiers and jitter."""

    def token(self, size: int) -> bytes:
        """Random bytes, unguessable outside the simulator."""

    def uniform(self, low: float, high: float) -> float:
        """A float for jitter."""


class SystemRng:
    """The operating system's generator for tokens, a fast one for jitter."""

    def token(self, size: int) -> bytes:
        """Random bytes, unguessable."""
        return os.urandom(size)

    def uniform(self, low: float, high: float) -> float:
        """A float for jitter."""
        return random.uniform(low, high)
