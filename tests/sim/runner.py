"""Many seeds on several processes, or one seed with its trace, or one broken variant.

python -m tests.sim --seeds 500 --jobs 2        exits 0 when all pass; ends with "N passed, N failed"
python -m tests.sim --seed 17                   one seed, with everything that happened
python -m tests.sim --variant NAME --seeds 500  exits 0 as soon as a seed catches the variant, and prints which
"""

import argparse
import gc
import logging
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice

from tests.sim import variants
from tests.sim.seed import FAULTS_S, Outcome, run_seed

TRACE_LINES = 60


def main(arguments: Sequence[str]) -> int:
    """Parse, run, report; returns the exit code."""
    options = _parse(arguments)
    if options.seed is not None:
        return _one(options)
    return _variant(options) if options.variant else _many(options)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--faults-s", type=float, default=FAULTS_S, help=f"virtual seconds under faults (default {FAULTS_S:g})")
    parser.add_argument("--variant", default="", help="break the code under test in this way, and see that it is caught")
    parser.add_argument("--log", action="store_true", help="with --seed: print the warnings of the code under test too")
    return parser.parse_args(arguments)


def _prepare(variant: str, *, quiet: bool = True) -> None:
    """Once in every process: no logs, no collector in mid-seed, and the variant if there is one."""
    if quiet:
        logging.disable(logging.CRITICAL)
    # A killed host's coroutines are never awaited and its generators never closed; that is what a crash is.
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    if variant:
        variants.VARIANTS[variant]()
    gc.collect()
    gc.freeze()
    gc.disable()


def _play(seed: int, faults_s: float) -> Outcome:
    outcome = run_seed(seed, faults_s=faults_s)
    gc.collect()
    return outcome


def _outcomes(options: argparse.Namespace) -> Iterator[Outcome]:
    """Outcomes as they come; closing the iterator stops the rest."""
    seeds = iter(range(options.first, options.first + options.seeds))
    if options.jobs <= 1:
        _prepare(options.variant)
        for seed in seeds:
            yield _play(seed, options.faults_s)
        return
    with ProcessPoolExecutor(options.jobs, initializer=_prepare, initargs=(options.variant,)) as pool:
        running: set[Future[Outcome]] = {pool.submit(_play, seed, options.faults_s) for seed in islice(seeds, 2 * options.jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                for seed in islice(seeds, 1):
                    running.add(pool.submit(_play, seed, options.faults_s))
                yield future.result()


def _many(options: argparse.Namespace) -> int:
    began = time.monotonic()
    step = max(1, min(50, options.seeds // 10))
    total = Totals()
    for outcome in _outcomes(options):
        total.add(outcome)
        if not outcome.passed:
            _report(outcome, options)
        if total.runs % step == 0:
            rate = total.runs / (time.monotonic() - began)
            print(f"{total.runs}/{options.seeds} seeds, {total.failed} failed, {rate:.2f} seeds/s", flush=True)
    total.print()
    print(f"{total.runs - total.failed} passed, {total.failed} failed")
    return 1 if total.failed else 0


def _variant(options: argparse.Namespace) -> int:
    if options.variant not in variants.VARIANTS:
        print(f"no variant {options.variant!r}; there are: {', '.join(sorted(variants.VARIANTS))}")
        return 2
    runs = 0
    outcomes = _outcomes(options)
    for outcome in outcomes:
        runs += 1
        if not outcome.passed:
            print(f"variant {options.variant} is caught by seed {outcome.seed} (run {runs}): {outcome.violations[0]}", flush=True)
            outcomes.close()  # type: ignore[attr-defined]
            return 0
    print(f"variant {options.variant} was not caught by {runs} seeds")
    return 1


def _one(options: argparse.Namespace) -> int:
    _prepare(options.variant, quiet=not options.log)
    if options.log:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
    outcome = _play(options.seed, options.faults_s)
    print("\n".join(outcome.trace))
    total = Totals()
    total.add(outcome)
    total.print()
    print(f"digest {outcome.digest:016x}, {outcome.steps} steps, {outcome.virtual_s:.0f} s of virtual time")
    if not outcome.passed:
        _report(outcome, options, trace=False)
    print(f"{int(outcome.passed)} passed, {int(not outcome.passed)} failed")
    return 0 if outcome.passed else 1


class Totals:
    """Sums over seeds."""

    def __init__(self) -> None:
        self.runs = self.failed = self.steps = 0
        self.cpu_s = self.virtual_s = 0.0
        self.counts: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.runs += 1
        self.failed += not outcome.passed
        self.steps += outcome.steps
        self.cpu_s += outcome.cpu_s
        self.virtual_s += outcome.virtual_s
        self.counts += outcome.counts
        self.hits += outcome.hits
        self.tries += outcome.tries

    def print(self) -> None:
        """A few lines."""
        print("operations: " + ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items())))
        print("faults that hit: " + ", ".join(f"{name} {self.hits[name]}/{self.tries[name]}" for name in sorted(self.tries)))
        runs = max(self.runs, 1)
        print(f"a seed: {self.cpu_s / runs:.2f} s of CPU, {self.virtual_s / runs:.0f} s of virtual time, {self.steps // runs} steps")


def _report(outcome: Outcome, options: argparse.Namespace, *, trace: bool = True) -> None:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(f"\nseed {outcome.seed} failed at commit {git.stdout.strip() or 'unknown'}; again: python -m tests.sim --seed {outcome.seed}"
          + (f" --variant {options.variant}" if options.variant else ""))  # fmt: skip
    for violation in outcome.violations[:10]:
        print(f"- {violation}")
    if trace:
        print("\n".join(outcome.trace[-TRACE_LINES:]))
    print(flush=True)
