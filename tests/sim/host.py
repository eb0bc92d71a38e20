"""A simulated machine: its loop, clock, storage, threads and place in the network; and the simulation that owns them all.

The harness (clients, nemesis, checks) is itself a loop that never dies.  Everything that happens across hosts goes through
the network or through `Host.call`, which runs a coroutine on a host and tells the harness how it ended, or that the host
died in the middle of it.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from objstore.runtime.tasks import Threads
from objstore.runtime.world import World
from tests.sim.clock import SimClock
from tests.sim.disk import Storage
from tests.sim.kv import SimKv
from tests.sim.loop import FROZEN, HostLoop, Scheduler
from tests.sim.net import Fabric, SimNet
from tests.sim.rng import SimRng, stream
from tests.sim.threads import SimThreads

T = TypeVar("T")


class HostDied(Exception):
    """The host on which a call ran is gone; what the call did is unknown."""


class Simulation:
    """One seed: the scheduler, the network, the hosts, and what happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.scheduler = Scheduler()
        self.loop = HostLoop(self.scheduler, "harness")  # type: ignore[abstract]  # only the stubs call the unused methods abstract
        self.fabric = Fabric(self.loop, self.rng("net"))
        self.hosts: dict[str, Host] = {}
        self.happened: list[tuple[float, str, str]] = []  # seconds, who, what
        self.excited = 0  # above 0: a fault is on that shows only to clients who crowd around one key
        self.dead: list[HostLoop] = []
        self.graves: list[object] = []  # what dead hosts held: freed in mid-simulation, its cleanup would run on a living loop

    def rng(self, name: str) -> random.Random:
        """The stream for one purpose."""
        return stream(self.seed, name)

    def host(self, name: str) -> "Host":
        """A new machine, switched on, with nothing running."""
        host = self.hosts[name] = Host(self, name)
        return host

    def note(self, who: str, what: str) -> None:
        """Remember an event for the trace of a failing seed."""
        self.happened.append((self.scheduler.now_s, who, what))

    def run(self, main: Coroutine[Any, Any, T], *, limit_s: float) -> T:
        """Run the harness to its end."""
        result: T = self.scheduler.run_until(self.loop.create_task(main), limit_s=limit_s)
        return result

    def bury(self) -> None:
        """Let go of everything; afterwards nothing of this simulation may be used."""
        for host in self.hosts.values():
            if host.loop.state == FROZEN:
                host.loop.thaw()
            host.loop.kill()
            host.storage.life += 1
            self.dead.append(host.loop)
        self.loop.kill()
        for loop in [*self.dead, self.loop]:
            loop.bury()
        self.dead.clear()
        self.graves.clear()
        self.hosts.clear()
        self.scheduler.clear()


class Host:
    """One machine.  `kill` and `restart` may be repeated; storage, clock and name stay."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.name = name
        self.alive = True
        self.starts = 0
        self.storage = Storage(simulation.rng(f"disk {name}"))
        self.clock = SimClock(simulation.scheduler)
        self.loop = HostLoop(simulation.scheduler, name)  # type: ignore[abstract]  # see Simulation
        self._simulation = simulation
        self._threads: list[SimThreads] = []
        self._calls: set[asyncio.Future[Any]] = set()

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self.loop.state == FROZEN

    def world(self) -> World:
        """What the programs of this life of the host may touch."""
        name = f"{self.name} {self.starts}"
        self.starts += 1
        return World(
            clock=self.clock,
            rng=SimRng(self._simulation.rng(f"rng {name}")),
            net=SimNet(self._simulation.fabric, self.loop),
            open_disk=self.storage.disk,
            open_kv=lambda directory: SimKv(self.storage, directory),
            new_threads=self._new_threads,
        )

    def _new_threads(self, name: str, size: int) -> Threads:
        threads = SimThreads(self.storage, self._simulation.rng(f"threads {self.name} {self.starts} {len(self._threads)} {name}"), size)
        self._threads.append(threads)
        return threads

    async def call(self, start: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float = float("inf")) -> T:
        """Run a coroutine on this host, from the harness.

        Raises what it raised, HostDied when the host dies meanwhile or is dead, TimeoutError after `timeout_s`: the coroutine
        is then cancelled, as when a client hangs up.
        """
        if not self.alive:
            raise HostDied(self.name)
        harness = self._simulation.loop
        ended: asyncio.Future[T] = harness.create_future()
        self._calls.add(ended)
        running: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = loop.create_task(start())
            running.append(task)
            task.add_done_callback(lambda done: harness.call_soon(_transfer, done, ended))

        loop = self.loop
        loop.call_soon(begin)
        try:
            if timeout_s == float("inf"):
                return await ended
            async with asyncio.timeout(timeout_s):
                return await ended
        finally:
            self._calls.discard(ended)
            if not ended.done() or ended.cancelled():
                loop.call_soon(lambda: [task.cancel() for task in running])

    def kill(self, *, power: bool) -> None:
        """End everything at once; with `power` the disks forget what was not flushed and nobody answers for the host."""
        assert self.alive
        self._simulation.note(self.name, "power cut" if power else "killed")
        self.alive = False
        if self.frozen:
            self.loop.thaw()
        self.loop.kill()
        self._simulation.dead.append(self.loop)
        for threads in self._threads:
            threads.crash()
        self._simulation.graves.append(self._threads)
        self._threads = []
        if power:
            self.storage.crash()
        else:
            self.storage.process_died()
        self._simulation.graves.append(self._simulation.fabric.host_gone(self.loop, dark=power))
        calls, self._calls = self._calls, set()
        for ended in calls:
            if not ended.done():
                ended.set_exception(HostDied(self.name))

    def boot(self) -> None:
        """Switch the machine on again; nothing runs on it yet."""
        assert not self.alive
        self._simulation.note(self.name, "boots")
        self.alive = True
        self.loop = HostLoop(self._simulation.scheduler, self.name)  # type: ignore[abstract]  # see Simulation
        self._simulation.fabric.host_back(self.name)

    def freeze(self) -> None:
        """Stop the process as SIGSTOP does."""
        self._simulation.note(self.name, "frozen")
        self.loop.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._simulation.note(self.name, "thawed")
        self.loop.thaw()


def _transfer(done: "asyncio.Task[T]", ended: "asyncio.Future[T]") -> None:
    if ended.done():
        if not done.cancelled():
            done.exception()  # seen: nobody waits for it any more
        return
    if done.cancelled():
        ended.set_exception(HostDied("the call was cancelled"))
        return
    failure = done.exception()
    if failure is not None:
        ended.set_exception(failure)
    else:
        ended.set_result(done.result())
