"""What runs in the background: jobs that others left, and what nobody names any more."""

from sqlalchemy import Connection, insert

from objstore.services.tables.jobs import JOBS
from objstore.services.volume.api.making import RESTORE, Wanted, write_volume
from objstore.services.volume.api.tables import MESSAGES
from objstore.services.volume.base_disks import HOLDER, NAME
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ALICE, PROJECTS


def test_a_job_that_a_dead_process_left_is_done() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = rig.block.new_id()
        await rig.sql.write(
            lambda connection: write_volume(connection, rig.block, id_, Wanted(PROJECTS[ALICE], ALICE, 1))
        )  # nobody is told
        assert (await rig.becomes(id_, "available")).data == id_.replace("-", "")

    on_block_rig(test)


def test_old_bases_without_a_record_and_old_messages_go() -> None:
    async def test(rig: BlockRig) -> None:
        kept = await rig.volume()
        old = (await rig.volumes.create(512, name=f"{NAME} x")).volume
        other = (await rig.volumes.create(512, name="somebody's")).volume

        def message(connection: Connection) -> None:
            values = {"project": "p", "resource_type": "VOLUME", "resource": "r", "request_id": "", "event": "e", "text": "t"}
            connection.execute(insert(MESSAGES).values(id="m", created_us=1, expires_us=2, **values))

        await rig.sql.write(message)
        assert await rig.running.tidy() == 0
        rig.clock.skew_us += 2 * 86_400_000_000
        assert await rig.running.tidy() == 1
        assert await rig.stored() == sorted([kept.replace("-", ""), other.hex()])
        assert old.hex() not in await rig.stored()
        rows = await rig.sql.read(lambda connection: connection.execute(MESSAGES.select()).all())
        assert rows == []

    on_block_rig(test)


def test_one_base_that_cannot_go_keeps_no_other_from_going() -> None:
    async def test(rig: BlockRig) -> None:
        held, free = bytes(16), bytes(range(16))
        for volume in (held, free):
            await rig.volumes.create(512, name=f"{NAME} x", volume=volume)
        await rig.volumes.snapshot(held)
        rig.clock.skew_us += 2 * 86_400_000_000
        assert await rig.running.tidy() == 1
        assert await rig.stored() == [held.hex()]

    on_block_rig(test)


def test_data_of_a_restore_that_takes_long_stays() -> None:
    async def test(rig: BlockRig) -> None:
        backup = "33333333-3333-4333-8333-333333333333"
        await rig.volumes.create(512, name=f"{HOLDER} {backup}", volume=bytes(16))
        rig.clock.skew_us += 2 * 86_400_000_000
        await rig.sql.write(lambda connection: rig.block.enqueue(connection, RESTORE, backup, details={"volume": "v"}, delay_s=600.0))
        assert await rig.running.tidy() == 0
        await rig.sql.write(lambda connection: connection.execute(JOBS.delete()).rowcount)
        assert await rig.running.tidy() == 1

    on_block_rig(test)
