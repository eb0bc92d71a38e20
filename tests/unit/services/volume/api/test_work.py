"""Jobs of volumes: they can run twice, and end in a state that says what became of them."""

import asyncio
from typing import Any

from sqlalchemy import Connection

from objstore.errors import Unavailable
from objstore.services.tables.jobs import Job
from objstore.services.volume.api import records
from objstore.services.volume.api.making import CREATE
from objstore.services.volume.api.tables import MESSAGES, VOLUMES
from objstore.services.volume.api.work import DELETE, EXTEND, Work
from objstore.services.volume.attach import attach
from objstore.services.volume.settings import VolumeSettings
from tests.support.block_rig import GIB, BlockRig, in_virtual_time, on_block_rig
from tests.support.image_rig import ALICE, PROJECTS

SERVER = "11111111-1111-4111-8111-111111111111"


class Hosts:
    """Hosts that do at the store what a host does."""

    def __init__(self, rig: BlockRig) -> None:
        self.rig = rig
        self.asked: list[tuple[Any, ...]] = []
        self.down = 0

    async def snapshot(self, host: str, data_hex: str, snapshot_hex: str) -> None:
        self._note("snapshot", host, data_hex)
        await self.rig.volumes.snapshot(bytes.fromhex(data_hex), snapshot=bytes.fromhex(snapshot_hex))

    async def resize(self, host: str, data_hex: str, size_bytes: int) -> None:
        self._note("resize", host, data_hex, size_bytes)

    async def extended(self, server_id: str, volume_id: str) -> None:
        self._note("extended", server_id, volume_id)

    def _note(self, *what: Any) -> None:
        if self.down:
            self.down -= 1
            raise Unavailable("the host is away")
        self.asked.append(what)


async def held(rig: BlockRig) -> tuple[str, Hosts, Any]:
    """A volume that a host has attached."""
    hosts = Hosts(rig)
    rig.desk.serve_hosts(hosts)
    id_ = await rig.volume()
    attachment = await rig.desk.reserve(PROJECTS[ALICE], id_, SERVER)
    settings = VolumeSettings(durability="store")
    data = bytes.fromhex(id_.replace("-", ""))
    attached = await attach(rig.volumes.objects, rig.world, data, settings, holder="host-1", directory="")
    await rig.desk.attached(attachment, "host-1", "/dev/vdb")
    return id_, hosts, attached


def test_a_volume_that_a_host_has_is_snapshotted_there_and_again_when_it_was_away() -> None:
    async def test(rig: BlockRig) -> None:
        id_, hosts, attached = await held(rig)
        try:
            hosts.down = 2
            snapshot = await rig.desk.create_snapshot(PROJECTS[ALICE], ALICE, id_)
            while (await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)).status == "creating":
                await asyncio.sleep(0.1)
            assert hosts.asked == [("snapshot", "host-1", id_.replace("-", ""))]
            assert (await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)).status == "available"
            copy = await rig.volume(source_volume_id=id_)
            assert len(hosts.asked) == 2
            assert len((await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins) == 1  # the copy's own went
            assert (await rig.desk.find(PROJECTS[ALICE], copy)).status == "available"
        finally:
            await attached.aclose()

    on_block_rig(test)


@in_virtual_time
def test_a_host_that_stays_away_ends_a_snapshot_in_error_with_a_message() -> None:
    async def test(rig: BlockRig) -> None:
        id_, hosts, attached = await held(rig)
        try:
            hosts.down = 1000
            snapshot = await rig.desk.create_snapshot(PROJECTS[ALICE], ALICE, id_)
            while (await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)).status == "creating":
                await asyncio.sleep(5)
            assert (await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)).status == "error"
            messages = await rig.sql.read(lambda connection: connection.execute(MESSAGES.select()).all())
            assert [(row.resource, row.event) for row in messages] == [(snapshot, "snapshot")]
        finally:
            await attached.aclose()

    on_block_rig(test)


def test_an_attached_volume_is_extended_by_its_host() -> None:
    async def test(rig: BlockRig) -> None:
        id_, hosts, attached = await held(rig)

        def begin(connection: Connection) -> None:
            records.change(connection, VOLUMES, id_, status_="extending", size_gb=3)
            rig.block.enqueue(connection, EXTEND, id_, details={"size_gb": "3", "old_gb": "1", "before": "in-use"})

        try:
            await rig.block.write(begin)
            await rig.becomes(id_, "in-use")
            await rig.stored()
            assert hosts.asked == [("resize", "host-1", id_.replace("-", ""), 3 * GIB), ("extended", SERVER, id_)]
        finally:
            await attached.aclose()

    on_block_rig(test)


def test_jobs_that_run_twice_do_no_more_than_once() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        await work.create(Job("j", CREATE, id_, {}, 1))
        await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="creating"))
        await work.create(Job("j", CREATE, id_, {}, 1))  # the data is there already
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
        await work.delete(Job("j", DELETE, id_, {}, 0))  # not being deleted: nothing happens
        assert len(await rig.stored()) == 1
        await rig.volumes.delete(bytes.fromhex(id_.replace("-", "")))
        await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_="deleting"))
        await work.delete(Job("j", DELETE, id_, {}, 1))  # a first run died after the data
        await work.delete(Job("j", DELETE, id_, {}, 1))
        assert await rig.sql.read(lambda connection: records.find(connection, VOLUMES, id_)) is None

    on_block_rig(test)


def test_deleted_volumes_give_their_chunks_back() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"x" * 300_000)
        id_ = await rig.volume(image_id=image)
        await rig.desk.delete(PROJECTS[ALICE], id_)
        assert len(await rig.stored()) == 1  # the base
        assert await rig.pieces() > 0
        assert (await rig.ask("DELETE", f"/v2/images/{image}")).status == 204
        await asyncio.sleep(10)
        assert await rig.stored() == []
        assert await rig.pieces() == 0

    on_block_rig(test)


def test_what_fails_for_good_is_an_error_at_once() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"no disk", disk_format="qcow2")
        id_ = await rig.desk.create(PROJECTS[ALICE], ALICE, size_gb=1, image_id=image)
        await rig.becomes(id_, "error")
        (row,) = await rig.sql.read(lambda connection: connection.execute(MESSAGES.select()).all())
        assert "it is not qcow2" in row.text
        await rig.desk.delete(PROJECTS[ALICE], id_)
        assert await rig.stored() == []

    on_block_rig(test)
