"""Jobs of backups: they can run twice, and end in a state that says what became of them."""

import msgspec
from sqlalchemy import Connection, insert

from objstore.services.tables.jobs import Job
from objstore.services.volume.api import records
from objstore.services.volume.api.backup_jobs import BACKUP, BackupWork, data_of
from objstore.services.volume.api.making import GIB, RESTORE
from objstore.services.volume.api.tables import BACKUPS, VOLUMES
from objstore.services.volume.api.work import Work
from objstore.services.volume.base_disks import HOLDER
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ALICE, PROJECTS

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
