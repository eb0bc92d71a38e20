"""A whole simulated cluster with one versioned bucket, for tests of what versions need of it: real engines, nodes, daemons, proxies."""

import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import Any

from objstore.daemons.service import DaemonSettings
from objstore.node.engine.settings import EngineSettings
from objstore.objects.api import Attributes, Expected, ListQuery, ObjectInfo
from objstore.objects.store import ObjectStore
from tests.sim.cluster import Shape, SimCluster
from tests.sim.host import Simulation
from tests.sim.workload import BUCKET, WHO
from tests.support.bodies import content, sent

RESTING = DaemonSettings(
    replicate_interval_s=1e6, audit_interval_s=1e6, upkeep_interval_s=1e6, reclaim_interval_s=1e6, reclaim_age_s=3600.0, rebalance_interval_s=1e6
)  # fmt: skip


class SimStore:
    """What a test works with; every call goes to a proxy on its own host."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster

    async def call(self, do: Callable[[ObjectStore], Awaitable[Any]], proxy: int = 0) -> Any:
        seat = self.cluster.proxies[proxy]
        store = seat.store
        assert store is not None

        async def body() -> Any:
            return await do(store)

        return await seat.host.call(body)

    async def put(self, key: str, data: bytes = b"data", *, proxy: int = 0, **rest: Any) -> ObjectInfo:
        rest.setdefault("attributes", Attributes())
        rest.setdefault("expected", Expected())
        info: ObjectInfo = await self.call(lambda store: store.put(WHO, BUCKET, key, sent(data), **rest), proxy)
        return info

    async def delete(self, key: str, version_id: str = "", *, proxy: int = 0) -> Any:
        return await self.call(lambda store: store.delete(WHO, BUCKET, key, version_id=version_id), proxy)

    async def read(self, key: str, version_id: str = "", *, proxy: int = 0) -> bytes:
        async def do(store: ObjectStore) -> bytes:
            return await content(await store.get(WHO, BUCKET, key, version_id=version_id))

        data: bytes = await self.call(do, proxy)
        return data

    async def versions(self, *, proxy: int = 0, limit: int = 1000) -> list[tuple[str, str, bool, bool]]:
        """(key, version id, is latest, is a marker) of everything, page by page."""
        found: list[tuple[str, str, bool, bool]] = []
        after = version = ""
        while True:
            query = ListQuery(after=after, limit=limit)
            page = await self.call(lambda s, q=query, v=version: s.list_versions(WHO, BUCKET, q, after_version=v), proxy)
            found += [(info.key, info.version_id or "null", info.is_latest, info.is_delete_marker) for info in page.objects]
            if not page.truncated:
                return found
            after, version = page.next_after, page.next_version

    async def daemons(self, do: Callable[[Any], Awaitable[Any]]) -> Any:
        """Something with the daemons, on their host."""
        daemons = self.cluster.daemons.daemons
        assert daemons is not None

        async def body() -> Any:
            return await do(daemons)

        return await self.cluster.daemons.host.call(body)


def with_sim_store(
    test: Callable[[SimStore], Awaitable[None]], *, seed: int = 1, nodes: int = 4, in_ring: int = 3, daemons: DaemonSettings = RESTING
) -> None:  # fmt: skip
    """Run a test on a simulated cluster of two proxies whose bucket is versioned."""
    random.seed(seed)
    simulation = Simulation(seed)
    shape = dataclasses.replace(
        Shape.draw(simulation.rng("shape")), nodes=nodes, in_ring=in_ring, devices=1, proxies=2, part_power=1, daemons=daemons,
        engine=EngineSettings(pack_size_bytes=64 * 1024, checkpoint_rows=40, reserve_bytes=16 * 1024, stage_bytes=64 * 1024),
    )  # fmt: skip
    cluster = SimCluster(simulation, shape)

    async def main() -> None:
        await cluster.start()
        await cluster.make_bucket()
        store = SimStore(cluster)
        await store.call(lambda s: s.set_versioning(WHO, BUCKET, "Enabled"))
        await test(store)

    try:
        simulation.run(main(), limit_s=100_000.0)
        assert simulation.scheduler.failures == []
    finally:
        simulation.bury()
