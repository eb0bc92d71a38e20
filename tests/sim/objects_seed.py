"""One seed of the workload of objects: two proxies over three nodes, every bucket read back and counted in the end."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from objstore.core.versions import NULL
from objstore.objects.api import ObjectInfo
from tests.sim.cluster import NodeSeat, Shape
from tests.sim.host import Simulation
from tests.sim.objects_workload import BUCKETS, KEY_LASTS_S, PLAIN, WHO, ObjectClient, ObjectHistory, listed, prepare, resolved
from tests.sim.seed import CLIENTS, FAULTS_S, QUIET_S, Run
from tests.sim.versions_judge import Act, explain, is_explained

NODES = 3
PROXIES = 2
Listing = dict[str, list[ObjectInfo]]


class ObjectsSeed(Run):
    """Clients of the object model, see objects_workload.py."""

    def __init__(self, seed: int, *, faults_s: float = FAULTS_S) -> None:
        simulation = Simulation(seed)
        super().__init__(simulation, Shape.draw(simulation.rng("shape"), nodes=NODES, proxies=PROXIES), faults_s=faults_s)
        self.history: ObjectHistory = ObjectHistory()
        self.clients = [
            ObjectClient(simulation, self.history, self.cluster.proxies[number % PROXIES], f"c{number}") for number in range(CLIENTS)
        ]
        self._listings: dict[str, Listing] = {}

    async def prepare(self) -> None:
        """As of every run."""
        keys = int((self.simulation.loop.time() + self._faults_s + QUIET_S) / KEY_LASTS_S) + 2
        await prepare(self.cluster.proxies[0], self.clients[0], keys)

    def operate(self, stop_s: float) -> list[Coroutine[Any, Any, None]]:
        """As of every run."""
        return [client.run(stop_s=stop_s) for client in self.clients]

    def judge(self) -> list[str]:
        """As of every run."""
        history = self.history
        found = list(history.lies)
        if not self._listings:
            return found  # which versions there are is not known yet
        for place in sorted(history.families):
            acts = resolved(history, place)
            explained = is_explained(acts)
            history.counts["undecided" if explained is None else "judged"] += 1
            if explained is False:
                found.append(f"{'/'.join(place)} is not linearizable:\n" + explain(acts))
        return found

    async def read_back(self) -> None:
        """List everything through every proxy and without each node, read all versions, count."""
        for bucket in BUCKETS:
            await self._list(bucket)
        for bucket, listing in self._listings.items():
            await self._read(bucket, listing)
        await self._without_each()
        await self._count()

    async def _list(self, bucket: str) -> None:
        """The same through every proxy, whole and in small pages; it is what each key must be explained to have become."""
        history = self.history
        shown = {}
        for client, limit in ((self.clients[0], 1000), (self.clients[1], 7)):
            start = history.now()
            listing = await self._insist(client, bucket, limit)
            if listing is None:
                return
            shown[client.name] = listing
            for place, family in history.families.items():
                if place[0] == bucket:
                    infos = listing.get(place[1], [])
                    family.acts.append(Act("list", start, history.now(), result=listed(history, place, infos)))
        first, second = shown.values()
        if first != second:
            history.lies.append(f"two proxies list {bucket} differently: {_difference(first, second)}")
        self._listings[bucket] = first

    async def _insist(self, client: ObjectClient, bucket: str, limit: int = 1000) -> Listing | None:
        for _ in range(2):
            listing = await client.list_versions(bucket, limit=limit)
            if listing is not None:
                return listing
        self.history.violations.append(f"bucket {bucket} cannot be listed after the faults were over")
        return None

    async def _read(self, bucket: str, listing: Listing) -> None:
        """Every listed version has its bytes, and the latest is what a GET shows."""
        for number, key in enumerate(sorted(listing)):
            client = self.clients[number % PROXIES]
            await self._get(client, (bucket, key), "")
            for info in listing[key]:
                if bucket != PLAIN and not info.is_delete_marker:
                    await self._get(client, (bucket, key), info.version_id)

    async def _get(self, client: ObjectClient, place: tuple[str, str], version: str) -> None:
        for _ in range(2):
            if await client.read(place, version) is not None:
                return
        self.history.violations.append(f"{place} {version} cannot be read after the faults were over")

    async def _without_each(self) -> None:
        """With each node stopped in turn the listings are the same: every copy is as good as any other."""
        for number, seat in enumerate(self.cluster.nodes):
            client = self.clients[number % PROXIES]
            seat.host.kill(power=True)
            for bucket, whole in self._listings.items():
                listing = await self._insist(client, bucket)
                if listing is not None and listing != whole:
                    self.history.lies.append(f"without {seat.host.name} {bucket} is listed differently: {_difference(whole, listing)}")
            await seat.start()
            await asyncio.sleep(1.0)

    async def _count(self) -> None:
        """What the devices have counted is what the listings show, once for each replica."""
        if not await self.cluster.make_whole():
            return  # a node came back a moment ago and something is still on its way; the listings were compared
        store = self.cluster.proxies[0].store
        assert store is not None
        for bucket, listing in self._listings.items():
            info = await self.cluster.proxies[0].call(store.bucket(WHO, bucket))
            counted = [sum(figures) for figures in zip(*(_counters(seat, info.id) for seat in self.cluster.nodes), strict=True)]
            infos = [info for infos in listing.values() for info in infos]
            latest = [info for info in infos if info.is_latest and not info.is_delete_marker]
            others = [info for info in infos if not info.is_latest]
            heads = [len(latest), sum(info.size for info in latest)]
            shown = [*heads, len(others), sum(info.size for info in others)]
            # A version that became the latest again may lie among the noncurrent ones besides, and is counted there too.
            most = [heads[0], heads[1], shown[2] + heads[0], shown[3] + heads[1]]
            if not all(NODES * low <= figure <= NODES * high for low, figure, high in zip(shown, counted, most, strict=True)):
                self.history.violations.append(
                    f"{bucket} is listed with (objects, bytes, noncurrent versions, bytes) {shown}, {NODES} nodes counted {counted}"
                )


def _counters(seat: NodeSeat, bucket: bytes) -> tuple[int, int, int, int]:
    assert seat.app is not None
    engines = [device.engine for device in seat.app.state.devices if device.engine is not None]
    each = [(*engine.bucket_counters(bucket), *engine.version_counters(bucket)) for engine in engines]
    objects, size, versions, version_size = (sum(figures) for figures in zip(*each, strict=True))
    return objects, size, versions, version_size


def _difference(one: Listing, other: Listing) -> str:
    """The first keys that differ, as short as possible."""
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    return "; ".join(f"{key}: {_ids(one.get(key, []))} and {_ids(other.get(key, []))}" for key in keys[:3])


def _ids(infos: list[ObjectInfo]) -> str:
    return (
        " ".join(f"{info.version_id or NULL}{'*' if info.is_latest else ''}={info.metadata.get('label', 'marker')}" for info in infos)
        or "nothing"
    )
