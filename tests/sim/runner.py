"""Many seeds on several processes, or one seed with its trace, or broken variants.

python -m tests.sim --seeds 500 --jobs 2        exits 0 when all pass; ends with "N passed, N failed"
python -m tests.sim --workload objects ...      the object model in plain, versioned and suspended buckets (objects_workload.py)
python -m tests.sim --seed 17                   one seed, with everything that happened
python -m tests.sim --variant NAME --seeds 500  exits 0 as soon as a seed catches the variant, and prints which
python -m tests.sim --variants --seeds 500      all variants, each in a process of its own: a table; exits 1 if one gets away

A variant is caught when clients are told what cannot be true: that a device or the cluster is ill is not enough.
"""

import argparse
import gc
import logging
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from tests.sim import variants
from tests.sim.objects_seed import ObjectsSeed
from tests.sim.seed import FAULTS_S, Outcome, Run, Seed, run_seed

TRACE_LINES = 60
WORKLOADS: dict[str, Callable[..., Run]] = {"registers": Seed, "objects": ObjectsSeed}


def main(arguments: Sequence[str]) -> int:
    """Parse, run, report; returns the exit code."""
    options = _parse(arguments)
    if options.seed is not None:
        return _one(options)
    if options.variants:
        return _variants(options)
    return _variant(options) if options.variant else _many(options)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--faults-s", type=float, default=FAULTS_S, help=f"virtual seconds under faults (default {FAULTS_S:g})")
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="", help="what clients do (default registers, or the variant's)")
    parser.add_argument("--variant", default="", help="break the code under test in this way, and see that it is caught")
    parser.add_argument("--variants", action="store_true", help="all of them; --jobs is how many at a time")
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


def _play(seed: int, faults_s: float, workload: str) -> Outcome:
    outcome = run_seed(seed, faults_s=faults_s, play=WORKLOADS[workload])
    gc.collect()
    return outcome


def _workload(options: argparse.Namespace) -> str:
    return options.workload or ("objects" if options.variant in variants.OF_OBJECTS else "registers")


def _outcomes(options: argparse.Namespace) -> Generator[Outcome, None, None]:
    """Outcomes as they come; closing the iterator stops the rest."""
    seeds = iter(range(options.first, options.first + options.seeds))
    if options.jobs <= 1:
        _prepare(options.variant)
        for seed in seeds:
            yield _play(seed, options.faults_s, _workload(options))
        return
    with ProcessPoolExecutor(options.jobs, initializer=_prepare, initargs=(options.variant,)) as pool:
        running: set[Future[Outcome]] = {
            pool.submit(_play, seed, options.faults_s, _workload(options)) for seed in islice(seeds, 2 * options.jobs)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                for seed in islice(seeds, 1):
                    running.add(pool.submit(_play, seed, options.faults_s, _workload(options)))
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


@dataclass(frozen=True)
class Hunt:
    """How the hunt for one variant ended."""

    variant: str
    seed: int | None  # which caught it; None: it got away
    said: str  # by the checker
    runs: int
    only_ill: int  # seeds that failed in another way than by what clients were told
    elapsed_s: float

    def line(self) -> str:
        """A row of the table; of a bad history its last operation."""
        lines = (self.said or f"not caught; {self.only_ill} seeds failed in other ways").splitlines()
        said = lines[0] if len(lines) == 1 else f"{lines[0]} ... {' '.join(lines[-1].split())}"
        return f"{self.variant:20} {self.seed or '-':>5} {self.runs:5} {self.elapsed_s:8.1f}  {said}"


def hunt(variant: str, outcomes: Iterator[Outcome]) -> Hunt:
    """Go through outcomes of a variant until one of them catches it."""
    began = time.monotonic()
    runs = only_ill = 0
    for outcome in outcomes:
        runs += 1
        if outcome.inconsistencies:
            return Hunt(variant, outcome.seed, outcome.inconsistencies[0], runs, only_ill, time.monotonic() - began)
        only_ill += not outcome.passed
    return Hunt(variant, None, "", runs, only_ill, time.monotonic() - began)


def _hunt(options: argparse.Namespace) -> Hunt:
    with closing(_outcomes(options)) as outcomes:
        return hunt(options.variant, outcomes)


def _variant(options: argparse.Namespace) -> int:
    if options.variant not in variants.VARIANTS:
        print(f"no variant {options.variant!r}; there are: {', '.join(sorted(variants.VARIANTS))}")
        return 2
    ended = _hunt(options)
    if ended.seed is None:
        print(f"variant {ended.variant} was not caught by {ended.runs} seeds; {ended.only_ill} failed in other ways")
        return 1
    print(f"variant {ended.variant} is caught by seed {ended.seed} (run {ended.runs}): {ended.said}")
    return 0


def _variants(options: argparse.Namespace) -> int:
    def one(name: str) -> subprocess.CompletedProcess[str]:
        # A process of its own: a variant changes the classes of its process for good.
        command = [sys.executable, "-m", "tests.sim", "--variant", name, "--seeds", str(options.seeds), "--jobs", "1"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for ended in as_completed([pool.submit(one, name) for name in variants.VARIANTS]):
            said = ended.result()
            lines = said.stdout.splitlines() or said.stderr.splitlines()[-1:] or ["a variant ended without a word"]
            print(next((line for line in lines if line.startswith("variant ")), lines[-1]), flush=True)
            missed += said.returncode != 0
    print(f"{len(variants.VARIANTS) - missed} caught, {missed} not caught")
    return 1 if missed else 0


def _one(options: argparse.Namespace) -> int:
    _prepare(options.variant, quiet=not options.log)
    if options.log:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
    outcome = _play(options.seed, options.faults_s, _workload(options))
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
    print(f"\nseed {outcome.seed} failed at commit {git.stdout.strip() or 'unknown'}; again: python -m tests.sim --workload {_workload(options)} --seed {outcome.seed}"
          + (f" --variant {options.variant}" if options.variant else ""))  # fmt: skip
    for violation in outcome.violations[:10]:
        print(f"- {violation}")
    if trace:
        print("\n".join(outcome.trace[-TRACE_LINES:]))
    print(flush=True)
