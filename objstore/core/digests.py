"""Partition digests: what two replicas compare before they compare rows.

The digest of a partition is the XOR of one 128-bit contribution per register that has an accepted row, so it does not
depend on order and changes by two XORs when one register changes.  A register that holds only a promise contributes
nothing: promises differ between replicas that agree.  XXH3 is no defence against a forger: a digest only saves work,
and rows that collide by design cost their owner a late repair and nobody else anything.
"""

import xxhash

from objstore.core.timestamp import ZERO, Ballot

DIGEST_BYTES = 16


def contribution(key: bytes, accepted: Ballot) -> int:
    """What one register adds; `key` is its encoded key, the same on every replica.  0 when nothing was accepted."""
    if accepted == ZERO:
        return 0
    value: int = xxhash.xxh3_128_intdigest(accepted + key)
    return value


def digest_bytes(total: int) -> bytes:
    """The XOR of contributions as it travels: 16 bytes, zero for an empty partition."""
    return total.to_bytes(DIGEST_BYTES, "big")
