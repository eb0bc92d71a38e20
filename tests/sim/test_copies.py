"""Copies by reference on the whole cluster: clients copy, rename, replace and delete while machines, disks, links and proxies fail and the
ring changes.  Every body must be read back as long as it has a name, and no file may be left when all names are gone."""

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from objstore.core.rows import Space
from objstore.errors import ConditionalConflict, Damaged, NoSuchKey, NoSuchUpload, Unavailable
from objstore.objects.api import Attributes, CompletedPart, CopySource, Expected
from objstore.objects.context import ObjectSettings
from objstore.objects.reclaim import PartReclaimer
from objstore.objects.store import ObjectStore
from tests.sim.cluster import BUCKET, WHO, Shape, SimCluster
from tests.sim.faults import Nemesis
from tests.sim.host import HostDied, Simulation
from tests.sim.workload import Seat
from tests.support.bodies import content, sent

SETTINGS = ObjectSettings(bucket_cache_s=1.0, inline_limit_bytes=4096, min_part_bytes=1)
GRACE_S = 200.0  # well above the minute within which parts must be named
ABSENT = b""
NOT_KNOWN = (Unavailable, Damaged, ConditionalConflict, HostDied, TimeoutError)
Work = Callable[[ObjectStore], Coroutine[Any, Any, Any]]


class Copier:
    """One client with keys of its own; `held` is what each may hold, ABSENT for nothing.

    A key is used no more once an outcome is not known: what was given up may still go on somewhere.
    """

    def __init__(self, seat: Seat, name: str, rng: random.Random) -> None:
        self.held: dict[str, set[bytes]] = {}
        self.done = 0
        self._lost: set[str] = set()
        self._seat = seat
        self._name = name
        self._rng = rng
        self._numbers = 0

    async def run(self, stop_s: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < stop_s:
            await asyncio.sleep(self._rng.expovariate(2.0))
            if self._seat.store is None or not self._seat.host.alive:
                continue
            await self._rng.choice((self._put, self._parts, self._copy, self._copy, self._copy, self._rename, self._delete, self._race))()

    def _key(self) -> str:
        """One of a few keys in use, or a new one."""
        usable = [key for key in self.held if key not in self._lost][-6:]
        if len(usable) >= 6 or (usable and self._rng.random() < 0.5):
            return self._rng.choice(usable)
        self._numbers += 1
        return f"{self._name}/{self._numbers}"

    def _body(self) -> bytes:
        self._numbers += 1
        return f"{self._name} {self._numbers} ".encode() * self._rng.choice((600, 1200, 5000))

    async def _change(self, changes: dict[str, set[bytes]], work: Work) -> None:
        """Do something to keys, which hold the new bodies then, or one of old and new when the outcome is not known."""
        before = {key: self.held.get(key, {ABSENT}) for key in changes}
        assert self._seat.store is not None
        try:
            await self._seat.call(work(self._seat.store))
        except NoSuchKey:
            raise
        except NOT_KNOWN:
            for key, new in changes.items():
                self.held[key] = before[key] | new
                self._lost.add(key)
            return
        self.done += 1
        self.held |= changes

    async def _put(self) -> None:
        key, data = self._key(), self._body()
        await self._change(
            {key: {data}}, lambda store: store.put(WHO, BUCKET, key, sent(data, piece=4000), attributes=Attributes(), expected=Expected())
        )

    async def _parts(self) -> None:
        """An upload, the first part of which is a copy where there is something to copy."""
        key, source = self._key(), self._key()
        held = {data for data in self.held.get(source, {ABSENT}) if data}
        pieces = [self._body() for _ in range(self._rng.choice((1, 18)))]

        async def make(store: ObjectStore) -> None:
            upload = await store.create_upload(WHO, BUCKET, key, attributes=Attributes())
            parts = []
            if held:
                copied = await store.copy_part(WHO, CopySource(BUCKET, source), BUCKET, key, upload.upload_id, 1)
                parts.append(CompletedPart(1, copied.etag))
            for number, data in enumerate(pieces, 2):
                body = sent(data, piece=4000)
                part = await store.upload_part(WHO, BUCKET, key, upload.upload_id, number, body, expected=Expected())
                parts.append(CompletedPart(number, part.etag))
            await store.complete_upload(WHO, BUCKET, key, upload.upload_id, parts, expected=Expected())

        rest = b"".join(pieces)
        try:
            await self._change({key: {first + rest for first in held} or {rest}}, make)
        except NoSuchKey:
            assert ABSENT in self.held[source]

    async def _copy(self) -> None:
        source, key = self._key(), self._key()
        held = self.held.get(source, {ABSENT})
        try:
            await self._change(
                {key: held - {ABSENT}}, lambda store: store.copy(WHO, CopySource(BUCKET, source), BUCKET, key, attributes=Attributes())
            )
        except NoSuchKey:
            assert ABSENT in held, source

    async def _rename(self) -> None:
        source, key = self._key(), self._key()
        held = self.held.get(source, {ABSENT})
        if source == key:
            return
        try:
            await self._change({source: {ABSENT}, key: held - {ABSENT}}, lambda store: store.rename(WHO, BUCKET, source, key))
        except NoSuchKey:
            assert ABSENT in held, source

    async def _delete(self) -> None:
        key = self._key()
        await self._change({key: {ABSENT}}, lambda store: store.delete(WHO, BUCKET, key))

    async def _race(self) -> None:
        """A copy while its source goes."""
        source, key = self._key(), self._key()
        if source == key:
            return
        held, before = self.held.get(source, {ABSENT}), self.held.get(key, {ABSENT})

        async def both(store: ObjectStore) -> None:
            copied, deleted = await asyncio.gather(
                store.copy(WHO, CopySource(BUCKET, source), BUCKET, key), store.delete(WHO, BUCKET, source), return_exceptions=True
            )
            for failure in (copied, deleted):
                if isinstance(failure, BaseException) and not isinstance(failure, NoSuchKey):
                    raise failure

        await self._change({source: {ABSENT}, key: (held | before)}, both)


class Story:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.simulation = Simulation(seed)
        shape = Shape.draw(self.simulation.rng("shape"))
        self.cluster = SimCluster(self.simulation, dataclasses.replace(shape, objects=SETTINGS))
        self.nemesis = Nemesis(self.simulation, self.cluster)
        proxies = self.cluster.proxies
        self.copiers = [
            Copier(proxies[number % len(proxies)], f"c{number}", self.simulation.rng(f"copier {number}")) for number in range(4)
        ]

    async def play(self, faults_s: float) -> None:
        loop = self.simulation.loop
        await self.cluster.start()
        await self.cluster.make_bucket()
        stop_s = loop.time() + faults_s
        clients = [loop.create_task(copier.run(stop_s + 5)) for copier in self.copiers]
        reclaiming = loop.create_task(self._reclaim_meanwhile())
        await self.nemesis.run(stop_s=stop_s)
        await self.cluster.recover()
        assert not await self.cluster.replace_broken(self.cluster.nodes)
        await asyncio.gather(*clients)
        reclaiming.cancel()
        await self._become_whole()
        assert sum(copier.done for copier in self.copiers) > 50
        await self._reclaim()
        await self._read_all()
        await self._delete_all()
        await self._reclaim()
        await self._is_empty()

    async def _become_whole(self) -> None:
        deadline_s = self.simulation.loop.time() + 300
        while not await self.cluster.make_whole():
            assert self.simulation.loop.time() < deadline_s, "the cluster does not become whole"
            assert not await self.cluster.replace_broken(self.cluster.nodes)
            await asyncio.sleep(2.0)

    async def _on(self, number: int, work: Callable[[ObjectStore], Awaitable[Any]]) -> Any:
        seat = self.cluster.proxies[number % len(self.cluster.proxies)]
        store = seat.store
        assert store is not None

        async def run() -> Any:
            return await work(store)

        return await seat.call(run())

    async def _reclaim_meanwhile(self) -> None:
        """Every proxy looks for garbage, as daemons come and go."""
        reclaimers: dict[ObjectStore, PartReclaimer] = {}
        number = 0
        while True:
            await asyncio.sleep(15)
            number += 1

            async def run(store: ObjectStore) -> None:
                reclaimer = reclaimers.setdefault(store, PartReclaimer(store.cluster, store.clock, grace_s=100.0))
                await reclaimer.run()

            try:
                if self.cluster.proxies[number % 3].store is not None:
                    await self._on(number, run)
            except NOT_KNOWN:
                continue

    async def _reclaim(self) -> None:
        store = self.cluster.proxies[0].store
        assert store is not None
        reclaimer = PartReclaimer(store.cluster, store.clock, grace_s=GRACE_S)
        for _ in range(4):
            for _ in range(60):
                await self._on(0, lambda store: store.clock.sleep((GRACE_S + 10) / 60))
            await self._on(0, lambda _: reclaimer.run())
        for _ in range(2):
            await self._become_whole()

    async def _read_all(self) -> None:
        for copier in self.copiers:
            for number, (key, held) in enumerate(copier.held.items()):
                try:
                    data = await self._on(number, lambda store, key=key: _get(store, key))  # type: ignore[misc]  # bound now
                except NoSuchKey:
                    data = ABSENT
                assert data in held, f"{key} holds {data[:60]!r}, of {sorted(one[:60] for one in held)}"

    async def _delete_all(self) -> None:
        async def delete(store: ObjectStore) -> None:
            bucket = await store.directory.find(WHO, BUCKET)
            for space in (Space.OBJECTS, Space.UPLOADS):
                page = await store.cluster.scan(bucket.id, space, limit=100_000)
                for item in page.rows:
                    name = item.name.decode()
                    if space == Space.OBJECTS:
                        await store.delete(WHO, BUCKET, name)
                    elif len(name.split("\0")[-1]) == 32:  # of a client that gave up
                        try:
                            await store.abort_upload(WHO, BUCKET, *name.split("\0"))
                        except NoSuchUpload:
                            continue

        await self._on(0, delete)

    async def _is_empty(self) -> None:
        async def look(store: ObjectStore) -> list[bytes]:
            bucket = await store.directory.find(WHO, BUCKET)
            spaces = (Space.OBJECTS, Space.PARTS, Space.UPLOADS)
            return [item.name for space in spaces for item in (await store.cluster.scan(bucket.id, space)).rows]

        assert await self._on(0, look) == []
        for _ in range(80):  # what was staged for nothing goes too, one directory of 256 a round of upkeep, 20 s apart at most
            files = [
                name for seat in self.cluster.nodes for volume in seat.volumes() for name, _ in volume.files() if name.startswith("blobs/")
            ]
            if not files:
                return
            await asyncio.sleep(100)
        pytest.fail(f"{len(files)} blobs are left: {files[:5]}")


async def _get(store: ObjectStore, key: str) -> bytes:
    return await content(await store.get(WHO, BUCKET, key))


@pytest.mark.parametrize("seed", range(1, 5))
def test_bodies_live_as_long_as_their_names(seed: int) -> None:
    story = Story(seed)
    try:
        story.simulation.run(story.play(150.0), limit_s=20_000)
    finally:
        story.simulation.bury()
