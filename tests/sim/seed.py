"""One seed from its beginning to its verdict: load under faults, heal, repair, read everything back, judge."""

import asyncio
import random
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

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


class Seed:
    """The parts of one run."""

    def __init__(self, seed: int, *, faults_s: float = FAULTS_S) -> None:
        self.simulation = Simulation(seed)
        self.history = History()
        self.mix = Mix()
        self.cluster = SimCluster(self.simulation, Shape.draw(self.simulation.rng("shape")))
        self.nemesis = Nemesis(self.simulation, self.cluster)
        self.clients = [
            Client(self.simulation, self.history, self.cluster.proxies[number % len(self.cluster.proxies)], f"c{number}", self.mix)
            for number in range(CLIENTS)
        ]
        self.finished = False  # everything was read back
        self._faults_s = faults_s

    async def play(self) -> None:
        """The whole story; what goes wrong is in `history.violations`."""
        loop = self.simulation.loop
        await self.cluster.start()
        stop_s = loop.time() + self._faults_s
        clients = [loop.create_task(client.run(stop_s=stop_s + QUIET_S)) for client in self.clients]
        await self.nemesis.run(stop_s=stop_s)
        await self.cluster.recover()
        self.history.violations += await self.cluster.replace_broken(self.cluster.nodes)
        await asyncio.gather(*clients)
        if self.history.violations or check_history(self.history):
            return  # this seed has failed: a cluster that lost what it acknowledged may take for ever to become whole
        await self._become_whole()
        await self._read_all()
        await self._read_without_each()
        self.finished = True

    async def _become_whole(self) -> None:
        deadline_s = self.simulation.loop.time() + WHOLE_S
        while not await self.cluster.make_whole():
            if self.simulation.loop.time() > deadline_s:
                self.history.violations.append(f"the cluster is not whole {WHOLE_S} s after the last fault")
                return
            self.history.violations += await self.cluster.replace_broken(self.cluster.nodes)
            await asyncio.sleep(2.0)

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


def run_seed(seed: int, *, faults_s: float = FAULTS_S) -> Outcome:
    """Play one seed and judge it."""
    began = time.process_time()
    random.seed(seed)
    outcome = Outcome(seed)
    run = Seed(seed, faults_s=faults_s)
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
    outcome.inconsistencies = check_history(run.history)
    if run.finished:
        outcome.inconsistencies += check_counter(run.history, run.mix.counter)
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
