"""Ranges against a set of numbers."""

import random

from objstore.services.volume.extents import Extents


def test_ranges_say_what_a_set_of_numbers_says() -> None:
    rng = random.Random(3)
    for _ in range(200):
        extents, model = Extents(), set[int]()
        for _ in range(rng.randrange(1, 20)):
            start = rng.randrange(60)
            end = rng.randrange(start + 1, 64)
            extents.add(start, end)
            model |= set(range(start, end))
            for _ in range(10):
                low = rng.randrange(60)
                high = rng.randrange(low + 1, 64)
                assert extents.covers(low, high) == (set(range(low, high)) <= model)
        assert {n for start, end in extents for n in range(start, end)} == model
        assert {n for start, end in extents.gaps(64) for n in range(start, end)} == set(range(64)) - model
        assert len(extents) == len(list(extents))


def test_ranges_that_touch_are_one() -> None:
    extents = Extents()
    for start in range(0, 100, 10):
        extents.add(start, start + 10)
    assert list(extents) == [(0, 100)]
