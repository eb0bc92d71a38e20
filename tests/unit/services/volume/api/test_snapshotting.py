"""Snapshots begin and end inside transactions."""

import asyncio

import pytest
from sqlalchemy import Connection

from objstore.services.calls.problems import CallRefused
from objstore.services.volume.api import records
from objstore.services.volume.api.snapshotting import write_deletion, write_snapshot
from objstore.services.volume.api.tables import SNAPSHOTS, VOLUMES
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ALICE, PROJECTS


def test_a_snapshot_counts_goes_and_is_not_made_of_a_busy_volume() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        snapshot = await rig.desk.create_snapshot(PROJECTS[ALICE], ALICE, id_)
        while (await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)).status != "available":
            await asyncio.sleep(0.05)
        assert len((await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins) == 1
        with pytest.raises(CallRefused) as caught:
            await rig.desk.create_snapshot(PROJECTS[ALICE], ALICE, id_)
        assert caught.value.status == 413

        def end(connection: Connection) -> None:
            write_deletion(connection, rig.block, records.find(connection, SNAPSHOTS, snapshot))

        await rig.block.write(end)
        with pytest.raises(CallRefused, match="it is deleting"):
            await rig.block.write(end)
        await rig.stored()
        assert (await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins == ()

        def busy(connection: Connection) -> None:
            records.change(connection, VOLUMES, id_, status_="uploading")
            volume = records.find(connection, VOLUMES, id_)
            write_snapshot(connection, rig.block, "s", volume, user="u", name=None, description=None, force=True)

        with pytest.raises(CallRefused, match="current status is: uploading"):
            await rig.block.write(busy)

    on_block_rig(test, quota_snapshots=1)
