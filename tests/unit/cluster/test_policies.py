"""Two rings behind one face, on real nodes: three for rows, three for the bodies of a class, each of those on two."""

import asyncio

import pytest

from objstore.cluster.cluster import Cluster, ClusterSettings
from objstore.cluster.policies import PolicyClusters
from objstore.core.names import part_name
from objstore.core.rows import RowKey, Space
from objstore.errors import Unavailable
from objstore.objects.api import Attributes, CompletedPart, Expected, Principal
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from tests.support import wires
from tests.support.bodies import content, sent
from tests.support.nodes import Nodes
from tests.support.scripted_nodes import KEY

ALICE = Principal(account="alice", user="alice")
IA = Attributes(storage_class="STANDARD_IA")
SETTINGS = ObjectSettings(min_part_bytes=1, storage_classes={"STANDARD_IA": "cold"})
BODY = bytes(range(256)) * 2000


class TwoRings:
    """A store over both."""

    def __init__(self, site: wires.Site, nodes: Nodes, cold: Nodes) -> None:
        self.nodes, self.cold = nodes, cold
        self.clusters = [
            Cluster(site.world, ring=ring.ring, proxy_id=number, name="proxy", cluster_key=KEY, settings=ClusterSettings())
            for number, ring in enumerate((nodes, cold), 5)
        ]
        self.both = PolicyClusters(self.clusters[0], {"cold": self.clusters[1]})
        self.store = ObjectStore(self.both, site.world, SETTINGS)

    @classmethod
    async def start(cls, site: wires.Site) -> "TwoRings":
        rings = cls(site, await Nodes.start(site), await Nodes.start(site, part_power=5, replicas=2, first=10))
        await rings.store.create_bucket(ALICE, "photos")
        return rings

    async def put(self, key: str, data: bytes = BODY) -> None:
        await self.store.put(ALICE, "photos", key, sent(data), attributes=IA, expected=Expected())

    async def get(self, key: str) -> bytes:
        return await content(await self.store.get(ALICE, "photos", key))

    async def blobs(self, ring: Nodes) -> int:
        """Rows with bodies of their own, by the devices' own count of partitions' rows."""
        page = await self.clusters[(self.nodes, self.cold).index(ring)].scan((await self.store.bucket(ALICE, "photos")).id, Space.PARTS)
        return len(page.rows)

    async def stop(self) -> None:
        await self.store.aclose()
        for cluster in self.clusters:
            await cluster.aclose()
        await self.nodes.stop()
        await self.cold.stop()


def test_bodies_are_read_and_written_while_a_device_of_their_ring_is_away() -> None:
    async def main(site: wires.Site) -> None:
        rings = await TwoRings.start(site)
        for number in range(8):
            await rings.put(f"k{number}")
        assert (await rings.blobs(rings.nodes), await rings.blobs(rings.cold)) == (0, 8)
        await rings.cold.apps[0].stop()
        await asyncio.sleep(1)
        for number in range(8):
            assert await rings.get(f"k{number}") == BODY
        for number in range(8, 12):
            await rings.put(f"k{number}", BODY + b"new")
            assert await rings.get(f"k{number}") == BODY + b"new"
        upload = await rings.store.create_upload(ALICE, "photos", "m", attributes=IA)
        parts = []
        for number in (1, 2):
            part = await rings.store.upload_part(ALICE, "photos", "m", upload.upload_id, number, sent(BODY), expected=Expected())
            parts.append(CompletedPart(number=number, etag=part.etag))
        await rings.store.complete_upload(ALICE, "photos", "m", upload.upload_id, parts, expected=Expected())
        assert await rings.get("m") == BODY + BODY
        await rings.stop()

    wires.run(main)


def test_rows_and_small_bodies_do_not_need_the_ring_of_a_policy() -> None:
    async def main(site: wires.Site) -> None:
        rings = await TwoRings.start(site)
        await rings.put("large")
        for app in rings.cold.apps:
            await app.stop()
        await asyncio.sleep(1)
        await rings.put("small", b"few bytes")
        assert await rings.get("small") == b"few bytes"
        assert (await rings.store.head(ALICE, "photos", "large")).size == len(BODY)
        with pytest.raises(Unavailable):
            await rings.put("another")
        with pytest.raises(Unavailable):
            await rings.get("large")
        await rings.store.delete(ALICE, "photos", "large")
        await rings.stop()

    wires.run(main)


def test_a_body_of_a_policy_that_is_not_known_is_not_looked_for_elsewhere() -> None:
    async def main(site: wires.Site) -> None:
        rings = await TwoRings.start(site)
        key = RowKey(b"bucket01", Space.PARTS, part_name("0" * 32, 1, b"12345678", policy="glass"))
        with pytest.raises(Unavailable, match="glass"):
            rings.both.is_well(key)
        with pytest.raises(Unavailable, match="glass"):
            await rings.both.read(key)
        await rings.stop()

    wires.run(main)
