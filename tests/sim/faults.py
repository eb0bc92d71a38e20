"""The nemesis: a seeded schedule of faults, each with a beginning, an end and a proof that it hit something.

Two limits keep what it does within what the store promises to survive.  Harm to bytes that were flushed (wipe, bit rot) is
done to one node at a time, and another node is harmed only after the cluster says that it is whole again.  Machines that are
down or out of reach may be many, since that costs availability only.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.sim.disk import CAPACITY_BYTES
from tests.sim.host import Host, Simulation

if TYPE_CHECKING:
    from tests.sim.cluster import NodeSeat, SimCluster

MEAN_PAUSE_S = 3.0
AT_ONCE = 3
REPLICAS = 3
Fault = Callable[[], Awaitable[bool]]


class Nemesis:
    """Runs faults until a time; `hits` counts those that did hit, `tries` all."""

    def __init__(self, simulation: Simulation, cluster: "SimCluster") -> None:
        self.hits: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self._simulation = simulation
        self._cluster = cluster
        self._fabric = simulation.fabric
        self._rng: random.Random = simulation.rng("nemesis")
        self._busy: set[str] = set()  # hosts that some fault has in hand
        self._harmed = ""  # the node whose flushed bytes were harmed
        self._faults: list[tuple[str, Fault, float]] = [
            ("stall", self._stall, 1.0),
            ("slow link", self._slow_link, 1.0),
            ("one-way cut", self._one_way_cut, 1.5),
            ("isolation", self._isolate, 1.5),
            ("split", self._split, 0.8),
            ("flapping", self._flap, 0.5),
            ("partial reach", self._partial_reach, 2.0),
            ("reset", self._reset, 1.0),
            ("garble", self._garble, 0.7),
            ("kill node", self._kill_node, 1.5),
            ("power cut", self._power_cut, 1.5),
            ("power cut of all", self._blackout, 0.3),
            ("kill proxy", self._kill_proxy, 1.0),
            ("kill daemons", self._kill_daemons, 0.5),
            ("freeze node", self._freeze_node, 1.0),
            ("freeze proxy", self._freeze_proxy, 1.0),
            ("clock jump", self._clock_jump, 1.0),
            ("slow disk", self._slow_disk, 0.8),
            # Where there is somebody else to store it: with three nodes the writes merely wait.
            *([("two slow disks", self._slow_disks, 0.7)] if len(cluster.nodes) > REPLICAS else []),
            ("disk full", self._disk_full, 0.7),
            ("flush error", self._flush_error, 0.5),
            ("read error", self._read_error, 0.3),
            ("bit rot", self._bit_rot, 0.7),
            ("wipe", self._wipe, 0.5),
            ("ring change", self._ring_change, 0.7),
            ("uneven ring change", self._uneven_ring_change, 0.7),
        ]

    async def run(self, *, stop_s: float) -> None:
        """Begin faults until `stop_s`, then wait for those that are on to end."""
        loop = self._simulation.loop
        # Every seed has a mood: a few kinds of fault that it prefers, so that pairs of faults meet often.
        favourites = self._rng.sample(self._faults, 5)
        running: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(self._rng.expovariate(1.0 / MEAN_PAUSE_S))
            if loop.time() >= stop_s:
                break
            running = {task for task in running if not task.done()}
            if len(running) < AT_ONCE:
                pool = favourites if self._rng.random() < 0.7 else self._faults
                name, fault, _ = self._rng.choices(pool, [weight for _, _, weight in pool])[0]
                running.add(loop.create_task(self._one(name, fault)))
        if running:
            await asyncio.wait(running)
        self._fabric.heal_all()

    async def _one(self, name: str, fault: Fault) -> None:
        self.tries[name] += 1
        if await fault():
            self.hits[name] += 1

    # -- the network --------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [host.name for host in self._cluster.hosts()]

    def _pair(self) -> tuple[str, str]:
        """A link that matters: one end is a node."""
        node = self._rng.choice(self._cluster.nodes).host.name
        other = self._rng.choice([name for name in self._names() if name != node])
        return (node, other) if self._rng.random() < 0.5 else (other, node)

    async def _stall(self) -> bool:
        before = self._fabric.counters.stalled
        links = [self._fabric.link(*self._pair()) for _ in range(self._rng.randint(1, 6))]
        for link in links:
            link.stall = self._rng.choice((0.02, 0.1, 0.4))
        await self._last(3.0, 20.0)
        for link in links:
            link.stall = 0.0
        return self._fabric.counters.stalled > before

    async def _slow_link(self) -> bool:
        before = self._fabric.counters.deliveries
        links = [self._fabric.link(*self._pair()) for _ in range(self._rng.randint(1, 6))]
        for link in links:
            link.slow_s = self._rng.choice((0.02, 0.2, 1.5))
        await self._last(3.0, 20.0)
        for link in links:
            link.slow_s = 0.0
        return self._fabric.counters.deliveries > before

    async def _cut_for(self, cuts: list[tuple[str, str]], low_s: float, high_s: float) -> bool:
        before = self._fabric.counters.held + self._fabric.counters.unreachable
        for source, target in cuts:
            self._fabric.cut(source, target)
        self._simulation.note("network", "cut " + " ".join(f"{a}>{b}" for a, b in cuts))
        await self._last(low_s, high_s)
        for source, target in cuts:
            self._fabric.heal(source, target)
        self._simulation.note("network", "healed " + " ".join(f"{a}>{b}" for a, b in cuts))
        return self._fabric.counters.held + self._fabric.counters.unreachable > before

    async def _one_way_cut(self) -> bool:
        return await self._cut_for([self._pair() for _ in range(self._rng.randint(1, 3))], 0.2, 40.0)

    async def _isolate(self) -> bool:
        alone = self._rng.choice(self._names())
        return await self._cut_for(_both(alone, [n for n in self._names() if n != alone]), 0.5, 40.0)

    async def _split(self) -> bool:
        names = self._names()
        self._rng.shuffle(names)
        middle = self._rng.randint(1, len(names) - 1)
        return await self._cut_for([pair for name in names[:middle] for pair in _both(name, names[middle:])], 0.5, 30.0)

    async def _flap(self) -> bool:
        alone = self._rng.choice(self._names())
        cuts = _both(alone, [n for n in self._names() if n != alone])
        hit = False
        for _ in range(self._rng.randint(2, 6)):
            hit |= await self._cut_for(cuts, 0.1, 2.0)
            await self._last(0.1, 2.0)
        return hit

    async def _partial_reach(self) -> bool:
        """Every proxy reaches some nodes only, each others, and soon others again: writes get half-way, readers ask other pairs."""
        hit = False
        nodes = [seat.host.name for seat in self._cluster.nodes]
        for _ in range(self._rng.randint(2, 5)):
            cuts: list[tuple[str, str]] = []
            for seat in self._cluster.proxies:
                for node in nodes:
                    if self._rng.random() < 0.4:
                        both = _both(seat.host.name, [node])
                        cuts += both if self._rng.random() < 0.6 else both[:1]
            self._simulation.excited += 1
            hit |= await self._cut_for(cuts, 0.1, 2.5)
            self._simulation.excited -= 1
        return hit

    async def _reset(self) -> bool:
        hit = False
        for _ in range(self._rng.randint(1, 8)):
            hit |= self._fabric.reset_one(self._rng)
            await self._last(0.0, 0.5)
        return hit

    async def _garble(self) -> bool:
        before = self._fabric.counters.garbled
        links = [self._fabric.link(*self._pair()) for _ in range(self._rng.randint(1, 4))]
        for link in links:
            link.garble = self._rng.choice((0.005, 0.05))
        await self._last(3.0, 15.0)
        for link in links:
            link.garble = 0.0
        return self._fabric.counters.garbled > before

    # -- machines -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _hold(self, host: Host) -> Iterator[bool]:
        """Keep other faults away from a host; False when one has it already."""
        if host.name in self._busy:
            yield False
            return
        self._busy.add(host.name)
        try:
            yield True
        finally:
            self._busy.discard(host.name)

    async def _down(self, seat: "NodeSeat", *, power: bool) -> bool:
        with self._hold(seat.host) as free:
            if not free:
                return False
            seat.host.kill(power=power)
            await self._last(0.05, 30.0)
            await seat.start()
            return True

    async def _kill_node(self) -> bool:
        return await self._down(self._rng.choice(self._cluster.nodes), power=False)

    async def _power_cut(self) -> bool:
        return await self._down(self._rng.choice(self._cluster.nodes), power=True)

    async def _blackout(self) -> bool:
        """All nodes at the very same moment; they come back one after another."""
        victims = [seat for seat in self._cluster.nodes if seat.host.name not in self._busy]
        if len(victims) < len(self._cluster.nodes):
            return False
        await asyncio.gather(*(self._down(seat, power=True) for seat in victims))
        return True

    async def _kill_proxy(self) -> bool:
        seat = self._rng.choice(self._cluster.proxies)
        with self._hold(seat.host) as free:
            if free:
                seat.host.kill(power=self._rng.random() < 0.3)
                await self._last(0.05, 10.0)
                await seat.start()
            return free

    async def _kill_daemons(self) -> bool:
        seat = self._cluster.daemons
        with self._hold(seat.host) as free:
            if free:
                seat.host.kill(power=self._rng.random() < 0.3)
                await self._last(0.5, 20.0)
                await seat.start()
            return free

    async def _freeze(self, host: Host) -> bool:
        with self._hold(host) as free:
            if free:
                host.freeze()
                await self._last(0.3, 45.0)
                host.thaw()
            return free

    async def _freeze_node(self) -> bool:
        return await self._freeze(self._rng.choice(self._cluster.nodes).host)

    async def _freeze_proxy(self) -> bool:
        return await self._freeze(self._rng.choice(self._cluster.proxies).host)

    async def _clock_jump(self) -> bool:
        host = self._rng.choice(self._cluster.hosts())
        clock = host.clock
        jump_s = self._rng.choice((0.001, 0.5, 5.0, 55.0, 300.0, 86_400.0)) * self._rng.choice((-1, 1))
        self._simulation.note(host.name, f"clock jumps by {jump_s} s")
        clock.skew_us += int(jump_s * 1e6)
        await self._last(1.0, 30.0)
        if self._rng.random() < 0.7:
            clock.skew_us -= int(jump_s * 1e6)
        elif abs(clock.skew_us) > 50_000_000:
            clock.skew_us = 0
        return True

    # -- disks --------------------------------------------------------------------------------------------------------

    async def _slow_disk(self) -> bool:
        volume = self._rng.choice(self._rng.choice(self._cluster.nodes).volumes())
        volume.slow_s = self._rng.choice((0.05, 0.5, 3.0))
        await self._last(2.0, 20.0)
        volume.slow_s = 0.0
        return True

    async def _slow_disks(self) -> bool:
        """Of two nodes: they answer what they hold at once and store nothing for a while, so that whoever makes do with others is found out."""
        volumes = [volume for seat in self._rng.sample(self._cluster.nodes, 2) for volume in seat.volumes()]
        for volume in volumes:
            volume.slow_s = self._rng.choice((0.5, 1.5, 3.0))
        self._simulation.excited += 1
        await self._last(2.0, 10.0)
        self._simulation.excited -= 1
        for volume in volumes:
            volume.slow_s = 0.0
        return True

    async def _disk_full(self) -> bool:
        seat = self._rng.choice(self._cluster.nodes)
        volume = self._rng.choice(seat.volumes())
        volume.capacity_bytes = volume.used_bytes + self._rng.choice((0, 100, 5000, 200_000))
        refused = volume.refusals
        self._simulation.note(seat.host.name, f"disk full: {volume.root}")
        await self._last(2.0, 20.0)
        volume.capacity_bytes = CAPACITY_BYTES
        return volume.refusals > refused

    async def _flush_error(self) -> bool:
        """The device goes out of service; the operator starts the node again after a while."""
        seat = self._rng.choice(self._cluster.nodes)
        volume = self._rng.choice(seat.volumes())
        with self._hold(seat.host) as free:
            if not free:
                return False
            volume.datasync_failures = self._rng.choice((1, 1, 3))
            await self._last(2.0, 20.0)
            hit = volume.datasync_failures == 0
            volume.datasync_failures = 0
            if hit:
                self._simulation.note(seat.host.name, f"a flush failed: {volume.root}")
            seat.host.kill(power=False)
            await self._last(0.05, 2.0)
            await seat.start()
            return hit

    async def _read_error(self) -> bool:
        volume = self._rng.choice(self._rng.choice(self._cluster.nodes).volumes())
        volume.read_failures = self._rng.choice((1, 5))
        await self._last(1.0, 10.0)
        hit = volume.read_failures < 5
        volume.read_failures = 0
        return hit

    def _may_harm(self, seat: "NodeSeat") -> bool:
        if self._harmed and self._harmed != seat.host.name:
            return False
        self._harmed = seat.host.name
        self._cluster.harmed.add(seat.host.name)
        return True

    async def _mend(self, seat: "NodeSeat") -> None:
        """Often the operator sees to it before anything else is harmed."""
        if self._rng.random() < 0.3:
            return
        with self._hold(seat.host) as free:
            if free:
                await self._cluster.replace_broken([seat])
        if await self._cluster.make_whole():
            self._harmed = ""

    async def _bit_rot(self) -> bool:
        seat = self._rng.choice(self._cluster.nodes)
        if not self._may_harm(seat):
            return False
        volume = self._rng.choice(seat.volumes())
        places = [volume.rot(self._rng) for _ in range(self._rng.choice((1, 1, 3, 20)))]
        if self._rng.random() < 0.3:
            places += [store.rot(self._rng) for _, store in sorted(volume.kv_stores.items())]
        self._simulation.note(seat.host.name, f"bit rot: {' '.join(places)}")
        await self._last(0.0, 20.0)
        await self._mend(seat)
        return any(places)

    async def _wipe(self) -> bool:
        seat = self._rng.choice(self._cluster.nodes)
        with self._hold(seat.host) as free:
            if not free or not self._may_harm(seat):
                return False
            volume = self._rng.choice(seat.volumes())
            seat.host.kill(power=self._rng.random() < 0.5)
            volume.wipe()
            self._simulation.note(seat.host.name, f"wiped {volume.root}")
            await self._last(0.05, 10.0)
            await seat.start()
        await self._last(0.0, 20.0)
        await self._mend(seat)
        return True

    async def _ring_change(self) -> bool:
        return await self._cluster.change_ring(self._rng)

    async def _uneven_ring_change(self) -> bool:
        """Some proxies are given the new ring at once, one is not, and that one and the daemons reach only some nodes.

        Whoever still acts by the old ring does so while the others are done with it.
        """
        late = self._rng.choice(self._cluster.proxies)
        nodes = [seat.host.name for seat in self._cluster.nodes]
        cuts = _both(late.host.name, [self._rng.choice(nodes)])
        for node in nodes:
            if self._rng.random() < 0.2:
                cuts += _both(self._cluster.daemons.host.name, [node])
        if not await self._cluster.change_ring(self._rng):
            return False
        self._simulation.excited += 1
        apart = self._simulation.loop.create_task(self._cut_for(cuts, 1.0, 15.0))
        for _ in range(self._rng.randint(1, 4)):
            await self._last(0.0, 3.0)
            for seat in self._cluster.proxies:
                if seat is not late and self._rng.random() < 0.7:
                    seat.take_newest_ring()
        await apart
        self._simulation.excited -= 1
        return True

    async def _last(self, low_s: float, high_s: float) -> None:
        # Mostly short: a long outage is one case, a short one in the right moment is many.
        await asyncio.sleep(low_s + (high_s - low_s) * self._rng.random() ** 2)


def _both(one: str, others: list[str]) -> list[tuple[str, str]]:
    return [pair for other in others for pair in ((one, other), (other, one))]
