"""The block storage service whose process is killed at any moment, over a store that does not always answer: nothing stays busy, nothing is left.

A client makes, changes and removes volumes, snapshots and backups at random, the administrator by force.  When all has come to rest every
state is one that a client can go on from, the store has what records name and no more, and once all is removed it is empty.
"""

import asyncio
import os
import random
from typing import Any

import pytest
from sqlalchemy import select, text

from objstore.errors import OutcomeUnknown, QuorumLost
from objstore.objects.api import ListQuery
from objstore.services.image.tables import IMAGES
from objstore.services.volume.api import limits
from objstore.services.volume.api.backup_data import BUCKET, WHO
from objstore.services.volume.api.running import Running
from objstore.services.volume.api.tables import BACKUPS, BASES, SNAPSHOTS, VOLUMES
from objstore.services.volume.api.work import uuid_like
from objstore.services.volume.layout import SNAPSHOT
from objstore.services.volume.operations import CLONE_PATIENCE_S
from objstore.services.volume.sweep import Sweeper, end_old_clones
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, DATABASE, MEMORY, PROJECTS

SEEDS = int(os.environ.get("BLOCK_SEEDS", "3"))
FIRST = int(os.environ.get("BLOCK_SEED", "1"))
STEPS = int(os.environ.get("BLOCK_STEPS", "60"))
AT_REST = ("available", "error", "error_deleting", "error_extending", "error_restoring")
KINDS = (("volumes", VOLUMES), ("snapshots", SNAPSHOTS), ("backups", BACKUPS))


class Play:
    """One seed."""

    def __init__(self, rig: BlockRig, seed: int) -> None:
        self.rig = rig
        self.rng = random.Random(seed)
        self.faults = True
        self.image = ""
        self.done: dict[str, int] = {}
        self._make_store_unsure()
        real = rig.block.bases.to_image

        async def to_image(*given: Any, **named: Any) -> None:  # of the beginning alone: the rest is zeros, which take long to hash
            await real(*given, **{**named, "size_bytes": 4096})

        rig.block.bases.to_image = to_image  # type: ignore[method-assign]

    def _make_store_unsure(self) -> None:
        objects = self.rig.volumes.objects
        real = objects._put

        async def put(key: str, *rest: Any) -> Any:
            draw = self.rng.random() if self.faults else 1.0
            if draw < 0.02:
                raise QuorumLost("for this test")
            info = await real(key, *rest)
            if draw < 0.04:
                raise OutcomeUnknown("for this test")
            return info

        objects._put = put  # type: ignore[method-assign]

    async def ids(self, table: Any) -> list[str]:
        return list(await self.rig.sql.read(lambda connection: connection.execute(select(table.c.id).order_by(table.c.id)).scalars().all()))

    async def some(self, table: Any) -> str:
        found = await self.ids(table)
        return self.rng.choice(found) if found else "00000000-0000-4000-8000-000000000000"

    async def ask(self, method: str, path: str, body: Any = None, who: str = ALICE) -> None:
        reply = await self.rig.api(method, path, body, who=who, project=PROJECTS[ALICE] if who == ALICE else None)
        assert reply.status < 500, (method, path, body, reply.raw)
        key = f"{method} {path.split('/')[1]} {next(iter(body or {''}))}"
        if reply.status < 300:
            self.done[key] = self.done.get(key, 0) + 1

    async def step(self) -> None:
        rng = self.rng
        volume, snapshot, backup = await self.some(VOLUMES), await self.some(SNAPSHOTS), await self.some(BACKUPS)
        origin = rng.choice([{}, {"imageRef": self.image}, {"snapshot_id": snapshot}, {"source_volid": volume}, {"backup_id": backup}])
        act = f"/volumes/{volume}/action"
        likely: list[tuple[Any, ...]] = [
            ("POST", "/volumes", {"volume": {"size": rng.choice([1, 2]), **origin}}),
            ("POST", "/volumes", {"volume": {"size": 1, "imageRef": self.image}}),
            ("POST", "/snapshots", {"snapshot": {"volume_id": volume}}),
            ("POST", "/backups", {"backup": {"volume_id": volume, "incremental": rng.random() < 0.3}}),
            ("POST", "/backups", {"backup": {"volume_id": volume, "snapshot_id": snapshot}}),
            ("POST", f"/backups/{backup}/restore", {"restore": rng.choice([{}, {"volume_id": volume}])}),
            ("POST", act, {"os-extend": {"new_size": rng.choice([2, 3])}}),
            ("POST", act, {"revert": {"snapshot_id": snapshot}}),
            ("POST", act, {"os-reimage": {"image_id": self.image}}),
        ]
        seldom: list[tuple[Any, ...]] = [
            ("POST", act, {"os-volume_upload_image": {"image_name": "i"}}),
            ("DELETE", f"/volumes/{volume}" + rng.choice(["", "?cascade=true"])),
            ("DELETE", f"/snapshots/{snapshot}"),
            ("DELETE", f"/backups/{backup}"),
            ("POST", act, {"os-force_delete": {}}, ADMIN),
            ("POST", f"/snapshots/{snapshot}/action", {"os-force_delete": {}}, ADMIN),
            ("POST", f"/backups/{backup}/action", {"os-force_delete": {}}, ADMIN),
        ]
        await self.ask(*rng.choice(likely if rng.random() < 0.75 else seldom))
        draw = rng.random()
        if draw < 0.5:
            for _ in range(rng.randrange(400)):
                await asyncio.sleep(0)
        elif draw < 0.75:
            await asyncio.sleep(rng.choice([0.1, 3.0, 40.0]))
        if rng.random() < 0.3:
            await self.kill()

    async def kill(self) -> None:
        """Everything that runs ends where it is; another process begins."""
        self.done["kill"] = self.done.get("kill", 0) + 1
        for worker in self.rig.running.workers:
            await worker.aclose()
        await self.rig.running.aclose()
        self.rig.running = self.rig.block_app.running = Running(self.rig.block)
        self.rig.running.start()

    async def rest(self) -> None:
        self.faults = False
        for _ in range(100):
            await asyncio.sleep(60.0)
            if not await self.rig.sql.read(lambda connection: connection.execute(text("SELECT count(*) FROM jobs")).scalar_one()):
                break
        else:
            rows = await self.rig.sql.read(lambda connection: connection.execute(text("SELECT * FROM jobs")).all())
            raise AssertionError(f"jobs without end: {rows}")
        self.rig.clock.skew_us += 2 * 86_400_000_000  # what restores left that were killed goes after a day
        await self.rig.running.tidy()
        await self.sweep()
        await asyncio.sleep(CLONE_PATIENCE_S)
        await self.sweep()

    async def sweep(self) -> None:
        swept = await Sweeper(self.rig.volumes.objects, grace_s=-1.0).run()
        await end_old_clones(self.rig.volumes, list(swept.heads.values()))

    async def check(self) -> None:
        named: set[str] = set()
        for name, table in KINDS:
            for row in await self.rig.sql.read(lambda connection, table=table: connection.execute(select(table)).all()):  # type: ignore[misc]
                assert row.status in AT_REST, (name, row)
                if name != "backups":
                    named.add(row.data)
        for row in await self.rig.sql.read(lambda connection: connection.execute(select(BASES)).all()):
            named.add(row.data)
        for row in await self.rig.sql.read(lambda connection: connection.execute(select(IMAGES)).all()):
            assert row.status in ("active", "deleted"), row
        snapshots = await self.ids(SNAPSHOTS)
        for head in await self.rig.volumes.list():
            assert head.volume.hex() in named, head
            assert not head.maker
            for pin in head.pins:
                assert pin.kind == SNAPSHOT
                assert uuid_like(pin.id) in snapshots, head
        backups = await self.ids(BACKUPS)
        for info in (await self.rig.store.list(WHO, BUCKET, ListQuery())).objects:
            assert info.key.split("/")[1] in backups, info.key

    async def remove_all(self) -> None:
        for _ in range(6):  # backups that others go on from go after these
            for name, table in reversed(KINDS):
                for id_ in await self.ids(table):
                    await self.rig.api("DELETE", f"/{name}/{id_}")
            await asyncio.sleep(60.0)
        for _, table in KINDS:
            assert await self.ids(table) == []
        used = await self.rig.sql.read(lambda connection: limits.used_by(connection, PROJECTS[ALICE]))
        assert set(used.values()) == {0}
        for id_ in await self.ids(IMAGES):  # the first one, and what volumes were uploaded to
            await self.rig.ask("DELETE", f"/v2/images/{id_}")
        await asyncio.sleep(60.0)
        assert await self.rig.stored() == []
        assert await self.rig.pieces() == 0


@pytest.mark.skipif(DATABASE != MEMORY, reason="it waits for days")
@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_what_is_killed_at_any_moment_comes_to_rest_and_leaves_nothing(seed: int) -> None:
    async def test(rig: BlockRig) -> None:
        play = Play(rig, seed)
        play.image = await rig.image(b"disk" * 100_000)
        for _ in range(STEPS):
            await play.step()
        await play.rest()
        await play.check()
        await play.remove_all()

    on_block_rig(test)
