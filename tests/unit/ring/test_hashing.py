from collections import Counter

import pytest

from ring.builder import create
from ring.hashing import partition_of
from tests.unit.ring.rings import a_spec, devices

BUCKET = bytes.fromhex("0011223344556677")


@pytest.mark.parametrize(
    ("name", "seed", "part_power", "spread", "partition"),
    [
        (b'', 0, 8, 0, 118),
        (b'a', 0, 8, 0, 60),
        (b'a', 1, 8, 0, 0),
        (b'hello/world.txt', 42, 16, 0, 1954),
        (b'k\xc3\xa4se', 18446744073709551615, 20, 0, 435987),
        (b'hello/world.txt', 42, 16, 16, 44019),
        (b'other', 42, 16, 16, 20171),
    ],
)  # fmt: skip
def test_partition_of_a_name_never_changes(name: bytes, seed: int, part_power: int, spread: int, partition: int) -> None:
    assert partition_of(BUCKET, name, seed=seed, part_power=part_power, spread=spread) == partition


def test_one_partition_takes_everything() -> None:
    assert {partition_of(BUCKET, b"%d" % i, seed=1, part_power=0) for i in range(100)} == {0}


def test_raising_the_part_power_splits_partitions_in_two() -> None:
    for i in range(200):
        name = b"%d" % i
        assert partition_of(BUCKET, name, seed=9, part_power=11) >> 1 == partition_of(BUCKET, name, seed=9, part_power=10)


def test_names_fall_evenly() -> None:
    counts = Counter(partition_of(BUCKET, b"photo/%d.jpg" % i, seed=9, part_power=4) for i in range(16_000))
    assert len(counts) == 16
    assert 850 < min(counts.values()) <= max(counts.values()) < 1150  # five standard deviations


def test_spread_keeps_a_bucket_in_few_partitions_and_another_elsewhere() -> None:
    def used(bucket: bytes) -> set[int]:
        return {partition_of(bucket, b"%d" % i, seed=9, part_power=16, spread=8) for i in range(1000)}

    assert len(used(BUCKET)) == 8
    assert used(BUCKET) != used(bytes(8))


def test_seed_and_bucket_both_matter() -> None:
    assert partition_of(BUCKET, b"n", seed=1, part_power=20) != partition_of(BUCKET, b"n", seed=2, part_power=20)
    assert partition_of(BUCKET, b"n", seed=1, part_power=20) != partition_of(bytes(8), b"n", seed=1, part_power=20)


def test_the_ring_hashes_as_the_function_does() -> None:
    ring = create(a_spec(part_power=7), devices(3))
    for i in range(50):
        for spread in (0, 5):
            expected = partition_of(BUCKET, b"%d" % i, seed=ring.spec.hash_seed, part_power=7, spread=spread)
            assert ring.partition(BUCKET, b"%d" % i, spread) == expected
