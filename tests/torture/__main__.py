"""`make torture`: the long fault runs on real processes.  `python -m tests.torture crash --rounds 5` runs one of them."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture import change, counts, crash, histories, race, realinput, volumes
from tests.torture.harness import install

RUNS: dict[str, tuple[Callable[[Path, int, int], str], int]] = {
    "crash": (lambda d, n, p: crash.kill_all_under_load(d, rounds=n, load_s=1.5, port_base=p), 50),
    "powercut": (lambda d, n, p: crash.power_cuts(d, rounds=n, load_s=2.0, port_base=p), 50),
    "control": (lambda d, n, p: crash.power_cut_control(d, rounds=n, load_s=2.0, port_base=p), 5),
    "race": (lambda d, n, p: race.one_winner(d, rounds=n, port_base=p), 1000),
    "histories": (lambda d, n, p: histories.histories(d, rounds=n, port_base=p), 60),
    "listing": (lambda d, n, p: race.listing_is_right(d, keys=n, port_base=p), 5000),
    "change": (lambda d, n, p: change.grow_and_shrink(d, port_base=p, stale_s=float(n)), 30),
    "files-http": (lambda d, n, p: realinput.real_input(d, files=n, large_bytes=realinput.LARGE_BYTES, port_base=p, tls=False), 5000),
    "files-tls": (lambda d, n, p: realinput.real_input(d, files=n, large_bytes=realinput.LARGE_BYTES, port_base=p, tls=True), 5000),
    "counts": (lambda d, n, p: counts.huge_counts(d, rounds=n, port_base=p), 100_000),
    "volume-kill": (lambda d, n, p: volumes.kills(d, rounds=n, load_s=2.0, port_base=p), 50),
    "volume-cut": (lambda d, n, p: volumes.power_cuts(d, rounds=n, load_s=2.0, port_base=p), 50),
    "volume-control": (lambda d, n, p: volumes.power_cut_control(d, rounds=n, load_s=2.0, port_base=p), 3),
    "bitflip": (lambda d, n, p: change.bit_flips(d, flips=n, port_base=p), 300),
}
NEED_MOUNTS = {"powercut", "control", "volume-cut", "volume-control"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", choices=[*RUNS, []], help="which (default: all)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds, keys, flips or seconds, as the run counts")
    parser.add_argument("--port-base", type=int, default=23000)
    arguments = parser.parse_args()
    chosen = arguments.runs or list(RUNS)
    if NEED_MOUNTS & set(chosen) and os.environ.get("OBJSTORE_PRIVATE_MOUNTS") != "1":
        # A mount namespace of our own: a process of anybody's in another one would pin our mounts.
        os.environ["OBJSTORE_PRIVATE_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "tests.torture", *sys.argv[1:]])
    if {"control", "volume-control"} & set(chosen) and install("eatmydata"):
        parser.error("the control run needs eatmydata, which is not installed")
    failed = 0
    for name in chosen:
        run, rounds = RUNS[name]
        directory = Path(tempfile.mkdtemp(prefix=f"objstore-{name}-"))
        begun = time.monotonic()
        try:
            said = run(directory, arguments.rounds or rounds, arguments.port_base)
        except AssertionError as failure:
            failed += 1
            print(f"{name}: FAILED after {time.monotonic() - begun:.0f} s: {failure}\n  kept: {directory}")
        else:
            print(f"{name}: passed in {time.monotonic() - begun:.0f} s: {said}")
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
