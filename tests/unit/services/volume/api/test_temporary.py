"""Snapshots that jobs take for themselves go with their jobs, wherever these end."""

import asyncio
from typing import Any

from sqlalchemy import delete, insert

from objstore.errors import Unavailable
from objstore.services.tables.jobs import JOBS, Job
from objstore.services.volume.api.making import CREATE
from objstore.services.volume.api.tables import SERVICE
from objstore.services.volume.api.temporary import DROP_PIN
from objstore.services.volume.api.work import Work
from tests.support.block_rig import BlockRig, in_virtual_time, on_block_rig
from tests.support.image_rig import ALICE, PROJECTS

PIN, TAKER = bytes(range(16)), "ab" * 16


async def pins(rig: BlockRig, id_: str) -> int:
    return len((await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins)


def test_a_snapshot_goes_when_its_taker_says_so_and_the_watch_with_it() -> None:
    async def test(rig: BlockRig) -> None:
        id_, temporary = await rig.volume(), Work(rig.block).temporary
        data = bytes.fromhex(id_.replace("-", ""))
        for _ in range(2):  # a second run of the same job
            await temporary.take(Job(TAKER, "backup", "x", {}, 0), id_, data, PIN)
        jobs = await rig.sql.read(lambda connection: connection.execute(JOBS.select()).all())
        assert [(row.kind, row.subject) for row in jobs] == [(DROP_PIN, PIN.hex())]
        assert await pins(rig, id_) == 1
        await temporary.drop(data, PIN)
        assert await pins(rig, id_) == 0
        assert await rig.sql.read(lambda connection: connection.execute(JOBS.select()).all()) == []

    on_block_rig(test)


@in_virtual_time
def test_a_snapshot_stays_while_its_taker_is_there_and_goes_when_it_is_not() -> None:
    async def test(rig: BlockRig) -> None:
        id_, temporary = await rig.volume(), Work(rig.block).temporary
        data = bytes.fromhex(id_.replace("-", ""))
        values = {
            "id": TAKER,
            "service": SERVICE,
            "kind": "odd",
            "subject": "x",
            "details": "{}",
            "created_us": 1,
            "attempts": 0,
            "holder": "",
        }
        await rig.sql.write(lambda connection: connection.execute(insert(JOBS).values(due_us=2**62, **values)).rowcount)
        await temporary.take(Job(TAKER, "backup", "x", {}, 0), id_, data, PIN)
        await asyncio.sleep(400)
        assert await pins(rig, id_) == 1
        await rig.sql.write(lambda connection: connection.execute(delete(JOBS).where(JOBS.c.id == TAKER)).rowcount)
        await asyncio.sleep(100)
        assert await pins(rig, id_) == 0
        assert len(await rig.stored()) == 1

    on_block_rig(test)


@in_virtual_time
def test_what_cannot_be_dropped_for_long_is_dropped_when_it_can() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        data = bytes.fromhex(id_.replace("-", ""))
        await rig.volumes.snapshot(data, snapshot=PIN)
        await work.give_up(Job("j", DROP_PIN, PIN.hex(), {"data": data.hex(), "of": TAKER}, 8))
        await asyncio.sleep(100)
        assert await pins(rig, id_) == 0
        await work.temporary.watch(Job("j", DROP_PIN, PIN.hex(), {"data": "cd" * 16, "of": TAKER}, 0))  # its volume is gone

    on_block_rig(test)


@in_virtual_time
def test_a_copy_that_is_given_up_leaves_no_snapshot_on_its_source() -> None:
    async def test(rig: BlockRig) -> None:
        source = await rig.volume()

        async def fail(*_: Any, **__: Any) -> None:
            raise Unavailable("not now")

        rig.running._work.clone = fail  # type: ignore[method-assign]
        id_ = await rig.desk.create(PROJECTS[ALICE], ALICE, size_gb=1, source_volume_id=source)
        await asyncio.sleep(2)
        assert await pins(rig, source) == 1
        await asyncio.sleep(900)
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "error"
        assert await pins(rig, source) == 0
        jobs = await rig.sql.read(lambda connection: connection.execute(JOBS.select().where(JOBS.c.kind == CREATE)).all())
        assert jobs == []

    on_block_rig(test)
