"""`make bench-peers`: objstore beside OpenStack Swift and Ceph's RADOS Gateway, on this machine, in this run.

All stores are started for the run, each with three replicas and its own durable settings, and take turns: every case is measured on one
store after the other, round after round, by the same generator of signed S3 requests.  What is compared is the CPU of all server processes
of a store for one operation, the median over the rounds; operations a second and latency are those of a generator that shares the cores.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.__main__ import load
from benchmarks.peers.ceph import Ceph
from benchmarks.peers.own import Objstore
from benchmarks.peers.store import Store, Unobtainable
from benchmarks.peers.swift import Swift

STORES: dict[str, Callable[[Path, int], Store]] = {"objstore": Objstore, "swift": Swift, "ceph": Ceph}
PORTS_EACH = 1000

# name, what prepares it, load.  {r} is the round.
CASES: list[tuple[str, str, str]] = [
    ("PUT 4 KiB c16", "", "--mix put=1 --size 4096 --concurrency 16 --prefix a{r} --keys 100000 --seconds 3"),
    ("PUT 4 KiB c1", "", "--mix put=1 --size 4096 --concurrency 1 --prefix b{r} --keys 100000 --seconds 2"),
    ("GET 4 KiB c16", "", "--mix get=1 --size 4096 --concurrency 16 --prefix k --keys 10000 --order rand --verify --seconds 3"),
    ("HEAD c16", "", "--mix head=1 --concurrency 16 --prefix k --keys 10000 --order rand --seconds 2"),
    ("LIST 1000 of 10,000", "", "--mix list=1 --concurrency 1 --prefix k --keys 10000 --verify --seconds 2"),
    ("DELETE c16", "--mix put=1 --size 4096 --concurrency 16 --prefix d{r} --keys 2000", "--mix delete=1 --concurrency 16 --prefix d{r} --keys 2000 --count 2000"),
    ("PUT 1 MiB c16", "", "--mix put=1 --size 1048576 --concurrency 16 --prefix m --keys 64 --seconds 3"),
    ("GET 1 MiB c16", "", "--mix get=1 --size 1048576 --concurrency 16 --prefix m --keys 64 --order rand --seconds 3"),
    ("PUT 16 MiB c4", "", "--mix put=1 --size 16777216 --concurrency 4 --prefix x --keys 16 --count 16"),
    ("GET 16 MiB c4", "", "--mix get=1 --size 16777216 --concurrency 4 --prefix x --keys 16 --count 32"),
    ("multipart 16 MiB, 5 MiB parts", "", "--mix multipart=1 --size 16777216 --concurrency 2 --prefix p --keys 8 --count 8"),
]  # fmt: skip


# What must be there before, by prefix.
FILLS = {
    "k": "--mix put=1 --size 4096 --concurrency 16 --prefix k --keys 10000",
    "m": "--mix put=1 --size 1048576 --concurrency 8 --prefix m --keys 64",
    "x": "--mix put=1 --size 16777216 --concurrency 2 --prefix x --keys 16",
}
Results = dict[str, dict[str, list[dict[str, Any]]]]  # case, store, rounds


def measure(store: Store, arguments: str, round_: int) -> dict[str, Any] | None:
    """One run of the load; None, and why is told, where requests were refused or lost: half a case is no figure."""
    words = arguments.format(r=round_).split()
    try:
        return load(store.endpoint, store.access, store.secret, words, store.processes)
    except SystemExit as why:
        print(f"{store.name} failed: {why}", flush=True)
        return None


def bring_up(names: list[str], directory: Path, port_base: int, stores: list[Store]) -> None:
    """Start them, into `stores`; of those that cannot be started it is told why not."""
    for number, name in enumerate(names):
        place = directory / name
        place.mkdir()
        try:
            store = STORES[name](place, port_base + number * PORTS_EACH)
        except Unobtainable as why:
            print(f"{name} is left out: {why}", flush=True)
            continue
        stores.append(store)
        try:
            store.up()
            print(f"{name} {store.version}: {store.durability}", flush=True)
        except Unobtainable as why:
            print(f"{name} is left out: {why}", flush=True)
            store.down()
            stores.remove(store)


def table(results: Results, stores: list[Store]) -> list[dict[str, Any]]:
    """The medians, printed and returned; a case that failed on a store has none there."""
    names = [store.name for store in stores]
    others = [name for name in names if name != "objstore"]
    rows = [medians(case, by_store) for case, by_store in results.items()]
    heads = "".join(f"{name:>12}" for name in names)
    costs = "".join(f"{name + ' costs':>14}" for name in others)
    print(f"\n{'CPU of all servers, an operation':34}{heads}{costs}")
    for row in rows:
        cost = row["cpu_us"]
        cells = "".join(f"{shown_us(cost[name]) if name in cost else '-':>12}" for name in names)
        ratios = "".join(
            f"{cost[name] / cost['objstore']:>12.1f} x" if name in cost and "objstore" in cost else f"{'-':>14}" for name in others
        )
        print(f"{row['case']:34}{cells}{ratios}")
    for title, key, form in (("operations a second", "ops_s", "{:,.0f}"), ("p50, ms", "p50_ms", "{:,.1f}")):
        print(f"\n{title:34}{heads}")
        for row in rows:
            print(f"{row['case']:34}" + "".join(f"{form.format(row[key][name]) if name in row[key] else '-':>12}" for name in names))
    return rows


def medians(case: str, by_store: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """One row."""
    return {
        "case": case,
        "cpu_us": {name: median(run["srv_all"]["cpu_us_op"] for run in runs) for name, runs in by_store.items()},
        "ops_s": {name: median(run["ops_s"] for run in runs) for name, runs in by_store.items()},
        "p50_ms": {name: median(next(iter(run["per"].values()))["p50_ms"] for run in runs) for name, runs in by_store.items()},
    }


def shown_us(cost: float) -> str:
    """Microseconds, or milliseconds where they are many."""
    return f"{cost:,.0f} us" if cost < 10_000 else f"{cost / 1000:,.1f} ms"


def run(stores: list[Store], rounds: int, only: str) -> Results:
    """Every case on every store, in turn, round after round."""
    chosen = [case for case in CASES if only.lower() in case[0].lower()]
    for prefix, fill in FILLS.items():
        if any(f"--prefix {prefix} " in arguments for _, _, arguments in chosen):
            for store in stores:
                print(f"filling {store.name}: {fill}", flush=True)
                measure(store, fill, 0)
    results: Results = {}
    for round_ in range(rounds):
        for case, before, arguments in chosen:
            print(f"round {round_ + 1} of {rounds}: {case}", flush=True)
            for store in stores if round_ % 2 == 0 else reversed(stores):
                if before:
                    measure(store, before, round_)
                found = measure(store, arguments, round_)
                if found is not None:
                    results.setdefault(case, {}).setdefault(store.name, []).append(found)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", default="objstore,swift,ceph", help="which, with commas; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="the cases whose name holds this text")
    parser.add_argument("--port-base", type=int, default=22000, help="each store takes 1,000 ports from here on")
    parser.add_argument("--directory", help="where the stores keep their data; default: a temporary directory, which is removed")
    parser.add_argument("--out", default="benchmarks/out")
    arguments = parser.parse_args()
    names = arguments.stores.split(",")
    if unknown := [name for name in names if name not in STORES]:
        parser.error(f"no such store: {', '.join(unknown)}; there are {', '.join(STORES)}")
    directory = Path(tempfile.mkdtemp(prefix="objstore-peers-", dir=arguments.directory))
    stores: list[Store] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # what was started ends with this process
    try:
        bring_up(names, directory, arguments.port_base, stores)
        rows = table(run(stores, arguments.rounds, arguments.only), stores)
    finally:
        for store in stores:
            store.down()
        subprocess.run(["rm", "-rf", str(directory)], check=False)
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    path = Path(arguments.out) / f"peers-{time.strftime('%Y%m%d-%H%M%S')}.json"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    facts = {"commit": commit, "python": platform.python_version(), "cores": os.cpu_count(), "rounds": arguments.rounds}
    path.write_text(json.dumps({**facts, "rows": rows}, indent=1))
    print(f"\nkept in {path}")


if __name__ == "__main__":
    main()
