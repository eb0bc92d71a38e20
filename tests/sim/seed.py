"""One seed from its beginning to its verdict: load under faults, heal, repair, read everything back, judge."""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.sim.checks import check_counter, check_history
from tests.sim.cluster import Shape, SimCluster
from tests.sim.faults import Nemesis
from tests.sim.host import Simulation
from tests.sim.loop import SimulationError
from tests.sim.workload import Client, History, Mix

CLIENTS = 6
FAULTS_S = 90.0
QUIET_S = 10.0  # clients go on for so long after the last fault
WHOLE_S = 240.0  # after the faults the cluster must say by then that it is whole
LIMIT_S = 3_600.0  # of virtual time: a seed that is still running then hangs


@dataclass
class Outcome:
    """What became of one seed; goes from the worker process to the runner."""

    seed: int
    violations: list[str] = field(default_factory=list)
    inconsistencies: list[str] = field(default_factory=list)  # those of the violations that are in what clients were told
    trace: list[str] = field(default_factory=list)
    digest: int = 0
    steps: int = 0
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.violations


class Run:
    """The parts of one run, whatever the clients do."""

    history: History

    def __init__(self, simulation: Simulation, shape: Shape, *, faults_s: float) -> None:
        self.simulation = simulation
        self.cluster = SimCluster(simulation, shape)
        self.nemesis = Nemesis(simulation, self.cluster)
        self.finished = False  # everything was read back
        self._faults_s = faults_s

    async def prepare(self) -> None:
        """Make what the clients need, before anything goes wrong."""

    def operate(self, stop_s: float) -> list[Coroutine[Any, Any, None]]:
        """What each client does until a time."""
        raise NotImplementedError

    async def read_back(self) -> None:
        """Read everything once the cluster is whole."""
        raise NotImplementedError

    def judge(self) -> list[str]:
        """What clients were told that cannot be true, in words."""
        raise NotImplementedError

    async def play(self) -> None:
        """The whole story; what goes wrong is in `history.violations`."""
        loop = self.simulation.loop
        await self.cluster.start()
        await self.prepare()
        stop_s = loop.time() + self._faults_s
        clients = [loop.create_task(client) for client in self.operate(stop_s + QUIET_S)]
        await self.nemesis.run(stop_s=stop_s)
        await self.cluster.recover()
        self.history.violations += await self.cluster.replace_broken(self.cluster.nodes)
        await asyncio.gather(*clients)
        if self.history.violations or self.judge():
            return  # this seed has failed: a cluster that lost what it acknowledged may take for ever to become whole
        await self._become_whole()
        await self.read_back()
        self.finished = True

    async def _become_whole(self) -> None:
        deadline_s = self.simulation.loop.time() + WHOLE_S
        while not await self.cluster.make_whole():
            if self.simulation.loop.time() > deadline_s:
                self.history.violations.append(f"the cluster is not whole {WHOLE_S} s after the last fault")
                return
            self.history.violations += await self.cluster.replace_broken(self.cluster.nodes)
            await asyncio.sleep(2.0)


class Seed(Run):
    """Clients that write and read a few keys of one bucket, see workload.py."""

    def __init__(self, seed: int, *, faults_s: float = FAULTS_S) -> None:
        simulation = Simulation(seed)
        super().__init__(simulation, Shape.draw(simulation.rng("shape")), faults_s=faults_s)
        self.history = History()
        self.mix = Mix()
        proxies = self.cluster.proxies
        self.clients = [
            Client(simulation, self.history, proxies[number % len(proxies)], f"c{number}", self.mix) for number in range(CLIENTS)
        ]

    async def prepare(self) -> None:
        """Make the bucket."""
        await self.cluster.make_bucket()

    def operate(self, stop_s: float) -> list[Coroutine[Any, Any, None]]:
        """As of every run."""
        return [client.run(stop_s=stop_s) for client in self.clients]

    async def read_back(self) -> None:
        """As of every run."""
        await self._read_all()
        await self._read_without_each()

    def judge(self) -> list[str]:
        """As of every run."""
        found = check_history(self.history)
        return found + check_counter(self.history, self.mix.counter) if self.finished else found

    async def _read_all(self) -> None:
        """Every key through every proxy, a listing, and a write; nothing may fail any more."""
        for client in self.clients[: len(self.cluster.proxies)]:
            for key in self._keys:
                await self._read(client, key, "with all nodes running")
            await client.list_some(limit=1000, prefix="")
        if await self.clients[0].write("put", self.mix.keys[0]) is None:
            self.history.violations.append("a write failed after the faults were over")
        await self._read(self.clients[1], self.mix.keys[0], "after the last write")

    async def _read_without_each(self) -> None:
        """With each node stopped in turn every key reads the same: every copy is as good as any other."""
        seen: dict[str, set[str]] = {}
        for number, seat in enumerate(self.cluster.nodes):
            client = self.clients[number % len(self.cluster.proxies)]
            seat.host.kill(power=True)
            for key in self._keys:
                label = await self._read(client, key, f"without {seat.host.name}")
                if label is not None:
                    seen.setdefault(key, set()).add(label)
            await seat.start()
            await asyncio.sleep(1.0)
        for key, labels in seen.items():
            if len(labels) > 1:
                self.history.lies.append(f"key {key} reads differently without one node or another: {sorted(labels)}")

    @property
    def _keys(self) -> tuple[str, ...]:
        return (*self.mix.keys, self.mix.counter)

    async def _read(self, client: Client, key: str, when: str) -> str | None:
        """A read that must succeed, if need be at the second try: a connection may turn out to be dead only when it is used."""
        for _ in range(2):
            label = await client.read(key, whole=True)
            if label is not None:
                return label
        self.history.violations.append(f"key {key} cannot be read {when}, after the faults were over")
        return None


def run_seed(seed: int, *, faults_s: float = FAULTS_S, play: Callable[..., Run] = Seed) -> Outcome:
    """Play one seed of a workload and judge it."""
    began = time.process_time()
    random.seed(seed)
    outcome = Outcome(seed)
    run = play(seed, faults_s=faults_s)
    simulation = run.simulation
    try:
        simulation.run(run.play(), limit_s=LIMIT_S)
    except (SimulationError, TimeoutError) as failure:
        outcome.violations.append(f"the simulation did not end: {failure!r}")
    except Exception as failure:  # noqa: BLE001 whatever escapes from the code under test is a finding
        outcome.violations.append(f"the harness was interrupted: {failure!r}\n{''.join(traceback.format_exception(failure)[-6:])}")
    for host, context in simulation.scheduler.failures:
        failure = context.get("exception")
        told = "".join(traceback.format_exception(failure)[-4:]) if failure is not None else ""
        outcome.violations.append(f"{host}: {context.get('message')}: {failure!r}\n{told}")
    outcome.violations += run.history.violations
    outcome.inconsistencies = run.judge()
    outcome.violations += outcome.inconsistencies
    outcome.digest = simulation.scheduler.digest
    outcome.steps = simulation.scheduler.steps
    outcome.virtual_s = simulation.scheduler.now_s
    outcome.counts = run.history.counts
    outcome.hits, outcome.tries = run.nemesis.hits, run.nemesis.tries
    outcome.trace = [f"{when:10.4f} {who:8} {what}" for when, who, what in simulation.happened]
    simulation.bury()
    outcome.cpu_s = time.process_time() - began
    return outcome
