"""Jobs of backups: they can run twice, and end in a state that says what became of them."""

import asyncio
from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from objstore.objects.api import ListQuery
from objstore.services.tables.jobs import Job
from objstore.services.volume.api import records
from objstore.services.volume.api.backup_data import BUCKET, WHO, Listed
from objstore.services.volume.api.backup_jobs import BACKUP, BackupWork, _reader, data_of
from objstore.services.volume.api.making import GIB, RESTORE
from objstore.services.volume.api.tables import BACKUPS, VOLUMES
from objstore.services.volume.api.work import Work
from objstore.services.volume.base_disks import HOLDER
from objstore.services.volume.readers import open_reading
from objstore.services.volume.settings import VolumeSettings
from tests.support.block_rig import BlockRig, in_virtual_time, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, PROJECTS

ID = "33333333-3333-4333-8333-333333333333"


async def begun(rig: BlockRig, volume: str, status: str) -> None:
    def work(connection: Connection) -> None:
        values = {
            "project": PROJECTS[ALICE],
            "user_id": "u",
            "snapshot": "",
            "parent": "",
            "name": "n",
            "description": "",
            "container": "c",
        }
        numbers = {"size_gb": 1, "object_count": 0, "data_us": 1, "created_us": 1, "updated_us": 0}
        more = {"fail_reason": "", "availability_zone": "nova", "restoring": ""}
        connection.execute(insert(BACKUPS).values(id=ID, volume=volume, status=status, **values, **numbers, **more))
        records.change(connection, VOLUMES, volume, status_="backing-up")

    await rig.sql.write(work)


async def status_of(rig: BlockRig) -> str:
    return str((await rig.sql.read(lambda connection: records.find(connection, BACKUPS, ID))).status)


def test_a_backup_that_runs_twice_is_written_once_and_frees_its_volume() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), BackupWork(rig.block, Work(rig.block))
        await begun(rig, id_, "creating")
        job = Job("ab" * 16, BACKUP, ID, {"before": "available"}, 0)
        # A first run died after it had taken its snapshot.
        await rig.volumes.snapshot(bytes.fromhex(id_.replace("-", "")), snapshot=bytes.fromhex(job.id))
        await work.backup(job)
        await work.backup(job)
        assert await status_of(rig) == "available"
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
        assert (await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins == ()

    on_block_rig(test)


def test_what_is_given_up_is_an_error_and_nothing_stays_busy() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), BackupWork(rig.block, Work(rig.block))
        await begun(rig, id_, "creating")
        await work.give_up(Job("ab" * 16, BACKUP, ID, {"before": "available"}, 8))
        assert (await status_of(rig), (await rig.desk.find(PROJECTS[ALICE], id_)).status) == ("error", "available")
        await rig.sql.write(lambda connection: records.change(connection, BACKUPS, ID, status_="restoring"))
        await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="restoring-backup"))
        await work.give_up(Job("ab" * 16, RESTORE, ID, {"volume": id_}, 8))
        assert (await status_of(rig), (await rig.desk.find(PROJECTS[ALICE], id_)).status) == ("available", "error_restoring")

    on_block_rig(test)


def test_a_backup_that_cannot_be_read_leaves_the_volume_as_it_was() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), BackupWork(rig.block, Work(rig.block))
        await begun(rig, id_, "restoring")  # there is nothing in the store
        await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="restoring-backup"))
        await work.restore(Job("ab" * 16, RESTORE, ID, {"volume": id_}, 0))
        found = await rig.desk.find(PROJECTS[ALICE], id_)
        assert (found.status, found.data) == ("error_restoring", id_.replace("-", ""))
        assert await rig.stored() == [id_.replace("-", "")]

    on_block_rig(test)


def test_what_a_restore_that_died_had_written_goes() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), BackupWork(rig.block, Work(rig.block))
        await begun(rig, id_, "restoring")
        await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="restoring-backup"))
        job = Job("ab" * 16, RESTORE, ID, {"volume": id_}, 2)
        for run in (0, 1):
            died = data_of(job, run)
            await rig.volumes.create(GIB, volume=died)
            at = await rig.volumes.objects.head(died)
            await rig.volumes.objects.swap(msgspec.structs.replace(at.head, holder=f"{HOLDER} {died.hex()}"), at)
        await work.restore(job)
        for _ in range(100):
            if await rig.stored() == [id_.replace("-", "")]:
                break
            await rig.world.clock.sleep(0.1)
        assert await rig.stored() == [id_.replace("-", "")]

    on_block_rig(test)


def test_a_volume_goes_although_a_job_that_was_given_up_left_a_snapshot() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.volumes.snapshot(bytes.fromhex(id_.replace("-", "")), snapshot=bytes(16))
        await rig.desk.delete(PROJECTS[ALICE], id_)
        assert await rig.stored() == []

    on_block_rig(test)


async def objects(rig: BlockRig) -> list[str]:
    """All that backups have in the store."""
    return [info.key for info in (await rig.store.list(WHO, BUCKET, ListQuery())).objects]


@in_virtual_time
def test_a_backup_that_died_before_it_dropped_its_snapshot_leaves_none() -> None:
    async def test(rig: BlockRig) -> None:
        id_, volumes_work = await rig.volume(), Work(rig.block)
        work = BackupWork(rig.block, volumes_work)
        await begun(rig, id_, "creating")
        job = Job("ab" * 16, BACKUP, ID, {"before": "available"}, 0)

        async def died(*_: object) -> None:
            return

        volumes_work.temporary.drop = died  # type: ignore[method-assign]
        await work.backup(job)
        assert (await status_of(rig), len((await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins)) == ("available", 1)
        await work.backup(job)
        await rig.stored()
        assert (await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins == ()

    on_block_rig(test)


@in_virtual_time
def test_a_backup_that_is_deleted_while_it_is_written_leaves_nothing() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk" * 1000)
        id_ = await rig.volume(image_id=image)
        backups = rig.running._backups._backups
        real, ended = backups.write, []

        async def slowly(*given: Any) -> Listed:
            await asyncio.sleep(20)  # past the first renewals of its lease
            try:
                return await real(*given)
            finally:
                ended.append(await objects(rig))

        backups.write = slowly  # type: ignore[method-assign]
        backup = (await rig.got("POST", "/backups", {"backup": {"volume_id": id_}}, 202))["backup"]["id"]
        await asyncio.sleep(2)
        await rig.got("POST", f"/backups/{backup}/action", {"os-force_delete": {}}, 202, who=ADMIN)
        await asyncio.sleep(10)
        assert (await rig.got("GET", f"/backups/{backup}"))["backup"]["status"] == "deleting"  # what is written is waited for
        await rig.stored()
        assert ended == [[]]  # it noticed
        assert await objects(rig) == []
        assert (await rig.api("GET", f"/backups/{backup}")).status == 404
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
        assert (await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins == ()

    on_block_rig(test)


def test_a_backup_that_somebody_ended_leaves_its_volume_as_it_was() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), BackupWork(rig.block, Work(rig.block))
        await begun(rig, id_, "error")  # by the administrator, while a first run had died
        await work.backup(Job("ab" * 16, BACKUP, ID, {"before": "available"}, 1))
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
        await rig.sql.write(lambda connection: records.forget(connection, BACKUPS, ID))
        for end in (work.backup, work.give_up):
            await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="backing-up"))
            await end(Job("ab" * 16, BACKUP, ID, {"before": "available", "volume": id_}, 1))
            assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"

    on_block_rig(test)


def test_a_restore_whose_backup_went_ends_in_error() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), BackupWork(rig.block, Work(rig.block))
        for end in (work.restore, work.give_up):
            await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="restoring-backup"))
            await end(Job("ab" * 16, RESTORE, ID, {"volume": id_}, 1))
            assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "error_restoring"

    on_block_rig(test)


@in_virtual_time
def test_a_backup_of_a_snapshot_that_is_deleted_and_swept_meanwhile_is_whole() -> None:
    async def test(rig: BlockRig) -> None:
        one, other = await rig.image(b"before"), await rig.image(b"after!")
        id_ = await rig.volume(image_id=one)
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"]
        await rig.stored()
        backups = rig.running._backups._backups
        real = backups.write

        async def slowly(*given: Any) -> Listed:
            await rig.act(id_, "os-reimage", {"image_id": other})
            await rig.becomes(id_, "available")
            await rig.got("DELETE", f"/snapshots/{snapshot}", None, 202)
            assert (await rig.ask("DELETE", f"/v2/images/{one}")).status == 204
            await asyncio.sleep(30)
            await rig.pieces()
            return await real(*given)

        backups.write = slowly  # type: ignore[method-assign]
        backup = (await rig.got("POST", "/backups", {"backup": {"volume_id": id_, "snapshot_id": snapshot}}, 202))["backup"]["id"]
        await rig.stored()
        assert (await rig.got("GET", f"/backups/{backup}"))["backup"]["status"] == "available"
        await rig.got("POST", f"/backups/{backup}/restore", {"restore": {"volume_id": id_}}, 202)
        assert await rig.bytes_of((await rig.becomes(id_, "available")).data, 6) == b"before"

    on_block_rig(test)


def test_a_backup_that_is_begun_again_forgets_the_reader_of_the_run_that_died() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk")
        id_, work = await rig.volume(image_id=image), BackupWork(rig.block, Work(rig.block))
        data, objects_ = bytes.fromhex(id_.replace("-", "")), rig.volumes.objects
        for status in ("creating", "error"):
            died = await open_reading(
                objects_, rig.world, data, VolumeSettings(), who=_reader(Job("ab" * 16, BACKUP, ID, {}, 0), 0), is_one=True
            )
            await died._tasks.aclose()  # it renews no more
            if status == "creating":
                await begun(rig, id_, status)
            await work.backup(Job("ab" * 16, BACKUP, ID, {"before": "available"}, 1))
            assert await objects_.readers(0) == []
            await died.device.aclose()

    on_block_rig(test)
