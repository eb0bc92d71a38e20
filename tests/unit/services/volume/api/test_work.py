"""Jobs of volumes: they can run twice, and end in a state that says what became of them."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from objstore.errors import Unavailable
from objstore.services.image import records as image_records
from objstore.services.image.records import Image
from objstore.services.tables.jobs import Job
from objstore.services.volume.api import records
from objstore.services.volume.api.making import CREATE
from objstore.services.volume.api.tables import MESSAGES, SNAPSHOTS, VOLUMES
from objstore.services.volume.api.work import DELETE, EXTEND, MESSAGES_LIMIT, REIMAGE, REVERT, UPLOAD, Work, add_message
from objstore.services.volume.attach import VolumeInUse, attach
from objstore.services.volume.base_disks import HOLDER
from objstore.services.volume.settings import VolumeSettings
from tests.support.block_rig import GIB, BlockRig, in_virtual_time, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, PROJECTS

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


async def image_of(rig: BlockRig, status: str) -> str:
    """An image that a volume is to become, in some state."""
    id_ = rig.block.new_id()
    await rig.sql.write(lambda connection: image_records.add_image(connection, Image(id_, PROJECTS[ALICE], status, "private", 1, 1)))
    return id_


async def set_status(rig: BlockRig, id_: str, status: str, **values: Any) -> None:
    await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, status_=status, **values))


async def snapshot_of(rig: BlockRig, id_: str) -> str:
    snapshot = await rig.desk.create_snapshot(PROJECTS[ALICE], ALICE, id_)
    while (await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)).status != "available":
        await asyncio.sleep(0.05)
    return snapshot


def test_an_upload_that_is_given_up_or_that_somebody_ended_leaves_no_image() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        for status, end, attempts in (("queued", work.give_up, 8), ("saving", work.give_up, 8), ("queued", work.upload, 1)):
            image = await image_of(rig, status)
            await set_status(rig, id_, "uploading" if attempts == 8 else "available")
            await end(Job("ab" * 16, UPLOAD, id_, {"image": image, "before": "available"}, attempts))
            assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
            assert (await rig.ask("GET", f"/v2/images/{image}")).status == 404
        kept = await rig.image(b"x")
        await work.upload(Job("ab" * 16, UPLOAD, id_, {"image": kept, "before": "available"}, 1))  # a first run was through
        assert (await rig.ask("GET", f"/v2/images/{kept}")).body["status"] == "active"

    on_block_rig(test)


def test_a_volume_goes_back_to_what_follows_from_its_attachments_and_not_to_what_it_was() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        image = await image_of(rig, "queued")
        attachment = await rig.desk.reserve(PROJECTS[ALICE], id_, SERVER)
        await rig.desk.attached(attachment, "host-1", "/dev/vdb")
        await set_status(rig, id_, "uploading")
        await rig.desk.end(attachment)
        await work.give_up(Job("ab" * 16, UPLOAD, id_, {"image": image, "before": "in-use"}, 8))
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
        base = await rig.image(b"disk")
        await rig.desk.bases.ensure(base)
        await set_status(rig, id_, "downloading")
        await work.reimage(Job("cd" * 16, REIMAGE, id_, {"image": base, "before": "reserved"}, 0))
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"

    on_block_rig(test)


def test_a_revert_frees_its_snapshot_wherever_it_ends_and_leaves_no_data() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        snapshot = await snapshot_of(rig, id_)
        data, made = id_.replace("-", ""), "ab" * 16
        job = Job(made, REVERT, id_, {"snapshot": snapshot, "before": "available"}, 1)

        async def begin(status: str) -> None:
            await set_status(rig, id_, status)
            await rig.sql.write(lambda connection: records.change(connection, SNAPSHOTS, snapshot, status_="restoring"))

        async def ended() -> tuple[str, str]:
            found = await rig.desk.find_snapshot(PROJECTS[ALICE], snapshot)
            return found.status, (await rig.desk.find(PROJECTS[ALICE], id_)).status

        for status, end, after in (("available", work.revert, "available"), ("reverting", work.give_up, "error")):
            await begin(status)
            # A run before this one had made the data, and died.
            await rig.volumes.clone(bytes.fromhex(data), clone=bytes.fromhex(made))
            await end(job)
            assert await ended() == ("available", after)
            assert await rig.stored() == [data]
        await begin("reverting")
        await work.revert(job)
        assert await ended() == ("available", "available")
        await rig.sql.write(lambda connection: records.change(connection, SNAPSHOTS, snapshot, status_="restoring"))
        await work.revert(job)  # the run before this one died after the exchange
        assert await ended() == ("available", "available")
        assert await rig.stored() == sorted([data, made])

    on_block_rig(test)


def test_data_of_a_reimage_that_nobody_waits_for_goes() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        data, made = id_.replace("-", ""), "ab" * 16
        for details in ({}, {"data": made}):
            await rig.volumes.clone(bytes.fromhex(data), clone=bytes.fromhex(made))
            await work.reimage(Job(made if not details else "ee" * 16, REIMAGE, id_, {"image": "i", "before": "available", **details}, 1))
            assert await rig.stored() == [data]

    on_block_rig(test)


@in_virtual_time
def test_a_volume_or_snapshot_that_is_deleted_by_force_while_it_is_made_leaves_nothing() -> None:
    async def test(rig: BlockRig) -> None:
        go_on, work = asyncio.Event(), rig.running._work
        kept = await rig.volume()
        blank, take = work.blank, work.take_snapshot

        async def slowly(*given: Any) -> None:
            await go_on.wait()
            await blank(*given)

        async def taken(*given: Any) -> None:
            await go_on.wait()
            await take(*given)

        work.blank, work.take_snapshot = slowly, taken  # type: ignore[method-assign]
        id_ = await rig.desk.create(PROJECTS[ALICE], ALICE, size_gb=1)
        snapshot = await rig.desk.create_snapshot(PROJECTS[ALICE], ALICE, kept)
        await asyncio.sleep(1)
        await rig.act(id_, "os-force_delete", {}, who=ADMIN)
        await rig.got("POST", f"/snapshots/{snapshot}/action", {"os-force_delete": {}}, 202, who=ADMIN)
        await asyncio.sleep(20)
        go_on.set()
        assert await rig.stored() == [kept.replace("-", "")]
        assert (await rig.volumes.head(bytes.fromhex(kept.replace("-", "")))).pins == ()
        assert (await rig.api("GET", f"/volumes/{id_}")).status == (await rig.api("GET", f"/snapshots/{snapshot}")).status == 404

    on_block_rig(test)


def test_an_extension_that_is_given_up_counts_what_the_volume_has() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        job = Job("ab" * 16, EXTEND, id_, {"size_gb": "3", "old_gb": "1", "before": "available"}, 8)
        await set_status(rig, id_, "extending", size_gb=3)
        await work.give_up(job)
        found = await rig.desk.find(PROJECTS[ALICE], id_)
        assert (found.status, found.size_gb) == ("error_extending", 1)
        await set_status(rig, id_, "extending", size_gb=3)
        await rig.volumes.resize(bytes.fromhex(id_.replace("-", "")), 3 * GIB)  # the answers alone were lost
        await work.give_up(job)
        found = await rig.desk.find(PROJECTS[ALICE], id_)
        assert (found.status, found.size_gb) == ("available", 3)

    on_block_rig(test)


def test_a_project_has_so_many_messages_the_newest() -> None:
    async def test(rig: BlockRig) -> None:
        def fill(connection: Connection) -> list[str]:
            for number in range(MESSAGES_LIMIT + 3):
                rig.clock.skew_us += 1
                add_message(connection, rig.block, "p", "VOLUME", str(number), "", "e", "t")
            add_message(connection, rig.block, "other", "VOLUME", "1", "", "e", "t")
            rows = connection.execute(MESSAGES.select().where(MESSAGES.c.project == "p").order_by(MESSAGES.c.created_us)).all()
            return [row.resource for row in rows]

        kept = await rig.sql.write(fill)
        assert (len(kept), kept[0], kept[-1]) == (MESSAGES_LIMIT, "3", str(MESSAGES_LIMIT + 2))

    on_block_rig(test)


def test_a_host_whose_name_begins_like_the_services_holds_its_volumes() -> None:
    async def test(rig: BlockRig) -> None:
        id_, work = await rig.volume(), Work(rig.block)
        data = bytes.fromhex(id_.replace("-", ""))
        for holder in ("services1-rack", f"{HOLDER} {data.hex()}"):
            at = await rig.volumes.objects.head(data)
            await rig.volumes.objects.swap(msgspec.structs.replace(at.head, holder=holder), at)
            if holder != f"{HOLDER} {data.hex()}":
                with pytest.raises(VolumeInUse):
                    await work.remove_data(data)
        await work.remove_data(data)
        assert await rig.stored() == []

    on_block_rig(test)
