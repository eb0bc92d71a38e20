"""Names to partitions: the top bits of XXH3-64 over bucket id and name, keyed by the cluster's seed.

The mapping is part of the cluster's data: it never changes for a given seed and part power.  A bucket id has a fixed
length (8 bytes), so bucket + name cannot be read in two ways.
"""

from xxhash import xxh3_64_intdigest

HASH_BITS = 64
SPREAD_BYTES = 8


def partition_of(bucket: bytes, name: bytes, *, seed: int, part_power: int, spread: int = 0) -> int:
    """The partition of a name, 0 to 2**part_power - 1.

    With `spread` > 0 the names of one bucket lie in at most `spread` partitions, so that a listing asks fewer devices:
    H(bucket, H(name) mod spread).  The inner number is hashed as 8 bytes, big-endian.
    """
    if spread:
        name = (xxh3_64_intdigest(name, seed) % spread).to_bytes(SPREAD_BYTES, "big")
    return xxh3_64_intdigest(bucket + name, seed) >> (HASH_BITS - part_power)
