"""An object store over a cluster in memory, with one bucket, for unit tests; everything on virtual time."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from objstore.cluster.policies import PolicyClusters
from objstore.core.rows import BucketId, Row, RowKey, Space, decode_row
from objstore.identity.kms import CachedKeys, KmsSettings, LocalKeys
from objstore.objects.api import Attributes, CompletedPart, Expected, ObjectInfo, Principal
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.world import World
from tests.sim.loop import run
from tests.support.bodies import content, sent
from tests.support.memory_cluster import LoopClock, MemoryCluster, Registers, memory_world

ALICE = Principal(account="alice", user="alice")
BOB = Principal(account="bob", user="bob")
MASTER_KEYS = {name: {1: bytes([number]) * 32} for number, name in enumerate(("objstore-s3", "objstore-default", "testkey-1", "testkey-2"))}
SETTINGS = ObjectSettings(min_part_bytes=1000, inline_limit_bytes=4096)


def noise(size: int) -> bytes:
    return os.urandom(size)


def local_keys(world: World) -> CachedKeys:
    """A key service that holds MASTER_KEYS."""
    return CachedKeys(LocalKeys(lambda: MASTER_KEYS, world.rng, world.clock), KmsSettings(), world.rng, world.clock)


class Rig:
    """One proxy's store; `peer` makes another proxy on the same registers."""

    def __init__(self, registers: Registers | None = None, *, proxy_id: int = 1, settings: ObjectSettings = SETTINGS) -> None:
        self.clock = LoopClock()
        self.registers = registers or Registers()
        self.cluster = MemoryCluster(self.registers, clock=self.clock, proxy_id=proxy_id)
        self.settings = settings
        self.rings = {policy: MemoryCluster(clock=self.clock, proxy_id=proxy_id) for policy in settings.storage_classes.values()}
        self.whole = PolicyClusters(self.cluster, self.rings) if self.rings else self.cluster
        world = memory_world(self.clock)
        self.store = ObjectStore(self.whole, world, settings, local_keys(world))
        self.bucket = "photos"

    def peer(self) -> "Rig":
        return Rig(self.registers, proxy_id=2, settings=self.settings)

    async def put(
        self, key: str, data: bytes = b"data", *, attributes: Attributes | None = None, who: Principal = ALICE, **rest: Any
    ) -> ObjectInfo:
        rest.setdefault("expected", Expected())
        return await self.store.put(who, self.bucket, key, sent(data, piece=1000), attributes=attributes or Attributes(), **rest)

    async def get(self, key: str, **rest: Any) -> bytes:
        return await content(await self.store.get(ALICE, self.bucket, key, **rest))

    async def id(self) -> BucketId:
        return (await self.store.bucket(ALICE, self.bucket)).id

    async def row(self, key: str) -> Row | None:
        found = self.registers.get(RowKey(await self.id(), Space.OBJECTS, key.encode()))
        return decode_row(found[1]) if found else None

    async def upload(self, key: str, parts: list[bytes], **rest: Any) -> tuple[str, list[CompletedPart]]:
        """Begin an upload and send parts 1, 2...; (upload id, the list that completes it)."""
        upload = await self.store.create_upload(ALICE, self.bucket, key, attributes=Attributes(), **rest)
        return upload.upload_id, [await self.part(key, upload.upload_id, i, data) for i, data in enumerate(parts, 1)]

    async def part(self, key: str, upload_id: str, number: int, data: bytes, *, expected: Expected | None = None) -> CompletedPart:
        part = await self.store.upload_part(
            ALICE, self.bucket, key, upload_id, number, sent(data, piece=1000), expected=expected or Expected()
        )
        return CompletedPart(number=part.number, etag=part.etag)

    async def complete(self, key: str, upload_id: str, parts: list[CompletedPart], **rest: Any) -> ObjectInfo:
        rest.setdefault("expected", Expected())
        return await self.store.complete_upload(ALICE, self.bucket, key, upload_id, parts, **rest)

    async def live_parts(self) -> int:
        return len(self.registers.live_names(await self.id(), Space.PARTS))


def with_rig(test: Callable[[Rig], Awaitable[None]], *, settings: ObjectSettings = SETTINGS) -> None:
    """Run `test` with a rig whose bucket exists."""

    async def main() -> None:
        rig = Rig(settings=settings)
        await rig.store.start()
        await rig.store.create_bucket(ALICE, rig.bucket)
        await test(rig)
        await rig.store.aclose()

    run(main(), limit_s=1e7)
