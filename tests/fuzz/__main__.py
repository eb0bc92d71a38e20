"""python -m tests.fuzz --requests N --seed S [--target memory|process] [--only CASE]: hostile requests; exit 1 on any finding."""

import argparse
import asyncio
import logging
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz import memory
from tests.fuzz.judge import Tally


def _memory_share(seed: int, first: int, count: int, verbose: bool) -> tuple[Tally, int]:
    logging.disable(logging.ERROR)
    tally = Tally()
    warm = 0
    # The process's memory after a tenth of the share, and how much it grew to its end.
    for start in range(0, count, max(count // 10, memory.EPOCH_CASES)):
        size = min(max(count // 10, memory.EPOCH_CASES), count - start)
        asyncio.run(memory.play(seed, first + start, size, tally, verbose=verbose))
        warm = warm or _rss_kib()
    return tally, _rss_kib() - warm


def _rss_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def _merge(tallies: list[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.requests += tally.requests
        whole.statuses += tally.statuses
        whole.codes += tally.codes
        whole.findings += tally.findings
        whole.slowest_s = max(whole.slowest_s, tally.slowest_s)
    return whole


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sockets", action="store_true", help="with --only: over a socket")
    parser.add_argument("--process-share", type=float, default=0.15, help="part of the requests that goes over sockets to server processes")
    parser.add_argument("--only", type=int, default=None, help="one case, after those of its epoch before it")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(time.time())
    print(f"seed {seed}", flush=True)
    if options.only is not None:
        if options.sockets:
            from tests.fuzz import process

            tally, _ = process.run(seed, options.only, 1)
            print("\n".join(tally.findings) or "no finding")
            return 1 if tally.findings else 0
        first = options.only - options.only % memory.EPOCH_CASES
        tally, _ = _memory_share(seed, first, options.only - first + 1, verbose=False)
        print("\n".join(tally.findings) or "no finding")
        return 1 if tally.findings else 0
    began = time.monotonic()
    over_sockets = int(options.requests * options.process_share)
    share = -(-(options.requests - over_sockets) // options.jobs // memory.EPOCH_CASES) * memory.EPOCH_CASES
    with ProcessPoolExecutor(options.jobs) as pool:
        running = [pool.submit(_memory_share, seed, i * share, share, False) for i in range(options.jobs)]
        done = [each.result() for each in running]
    whole = _merge([tally for tally, _ in done])
    growth = max(grown for _, grown in done)
    if over_sockets:
        from tests.fuzz import process

        tally, grown = process.run(seed, options.jobs * share, over_sockets)
        whole = _merge([whole, tally])
        print(f"over sockets: {tally.requests} requests, slowest {tally.slowest_s:.2f} s, the proxy's memory grew by {grown // 1024} MiB")
        growth = max(growth, grown)
    if growth > 64 * 1024:
        whole.findings.append(f"memory grew by {growth // 1024} MiB in {share} requests")
    print(
        f"{whole.requests} requests in {time.monotonic() - began:.0f} s, slowest {whole.slowest_s:.2f} s, memory grew by {growth // 1024} MiB"
    )
    print("statuses", dict(sorted(whole.statuses.items())))
    print("codes", dict(whole.codes.most_common()))
    for finding in whole.findings[:40]:
        print("FOUND", finding)
    print(f"{len(whole.findings)} findings; replay one with: python -m tests.fuzz --seed {seed} --only CASE")
    return 1 if whole.findings else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
