"""What does encryption at rest cost a proxy: CPU of sealing and opening bodies, and of making and opening their keys.

Baseline: one call of AES-256-GCM over the same bytes, and the MD5 that every body pays anyway.
Run: .venv/bin/python -m benchmarks.sealing [--mib 64]
"""

import argparse
import asyncio
import hashlib
import os
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.core.encryption import AES256, CUSTOMER, Wish, content_key
from objstore.identity.kms import CachedKeys, KmsSettings, LocalKeys
from objstore.objects.api import BucketInfo
from objstore.objects.encryption import new_description, open_whole, seal_of, seal_whole, unlock
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng

KEY = os.urandom(32)
BUCKET = BucketInfo(b"bucketid", "bench", "bench", 0)  # type: ignore[arg-type]


def cpu_us(call: Callable[[], object], times: int) -> float:
    """CPU of one call, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _ in range(times):
            call()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


def bodies(mib: int) -> None:
    print(f"{'body':12}{'seal us':>10}{'open us':>10}{'one GCM us':>12}{'MD5 us':>10}{'seal us/MiB':>13}")
    cipher = AESGCM(KEY)
    for size in (4096, 65_520, 256 * 1024, 1 << 20):
        data = os.urandom(size)
        sealed = bytes(seal_whole(KEY, data))
        times = max(mib * (1 << 20) // size // 3, 3)
        seal = cpu_us(lambda data=data: seal_whole(KEY, data), times)  # type: ignore[misc]
        opened = cpu_us(lambda sealed=sealed, size=size: open_whole(KEY, sealed, size, 0, size), times)  # type: ignore[misc]
        whole = cpu_us(lambda data=data: cipher.encrypt(bytes(12), data, None), times)  # type: ignore[misc]
        digest = cpu_us(lambda data=data: hashlib.md5(data, usedforsecurity=False).digest(), times)  # type: ignore[misc]
        print(f"{size:<12}{seal:>10.1f}{opened:>10.1f}{whole:>12.1f}{digest:>10.1f}{seal * (1 << 20) / size:>13.1f}")


def keys() -> None:
    rng, clock = SystemRng(), SystemClock()
    service = CachedKeys(LocalKeys(lambda: {"objstore-s3": {1: KEY}}, rng, clock), KmsSettings(), rng, clock)

    def run(wish: Wish) -> tuple[float, float]:
        made = asyncio.run(new_description(service, rng, BUCKET, wish, None))
        assert made is not None

        async def make() -> None:
            for _ in range(1000):
                described = await new_description(service, rng, BUCKET, wish, None)
                assert described is not None
                seal_of(*described, rng)

        async def reopen() -> None:
            for _ in range(1000):
                AESGCM(content_key(await unlock(service, made[0], wish.customer_key), b"s" * 32))

        return cpu_us(lambda: asyncio.run(make()), 2) / 1000, cpu_us(lambda: asyncio.run(reopen()), 2) / 1000

    print(f"\n{'keys of one object':22}{'make us':>10}{'open us':>10}")
    for name, wish in ((AES256, Wish(AES256)), (CUSTOMER, Wish(customer_key=KEY))):
        make, reopen = run(wish)
        print(f"{name:22}{make:>10.1f}{reopen:>10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=64, help="bytes sealed for each line")
    bodies(parser.parse_args().mib)
    keys()


if __name__ == "__main__":
    main()
