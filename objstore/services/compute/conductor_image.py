"""The job that makes an image of a server's root disk: a snapshot of the volume, its bytes as an image, the snapshot dropped."""

import contextlib

from sqlalchemy import Connection

from objstore.errors import NoSuchKey, Unavailable
from objstore.services.compute import records
from objstore.services.compute.agent_api import SnapshotVolume
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.context import Failed
from objstore.services.compute.records import Disk, Server
from objstore.services.compute.server_backups import rotate
from objstore.services.compute.states import ACTIVE, PAUSED, SNAPSHOT, SNAPSHOT_PENDING, SNAPSHOT_UPLOADING
from objstore.services.compute.work import Over, Work
from objstore.services.image import records as images
from objstore.services.image.records import ACTIVE as WHOLE
from objstore.services.image.records import KILLED, QUEUED
from objstore.services.volume.operations import HasSnapshots

SNAPSHOTS = (SNAPSHOT, SNAPSHOT_PENDING, SNAPSHOT_UPLOADING)
MISSING = 404


async def snapshot(work: Work) -> None:
    """Raises Failed, Unavailable, Over."""
    try:
        await _make(work)
    except Over:
        # The server is being deleted, which waits until nothing stands in the way of deleting its disk.
        await _give_up(work, await work.context.read(lambda connection: records.find(connection, work.id)))
        raise


async def _make(work: Work) -> None:
    server = await work.server(*SNAPSHOTS)
    await work.begin_event(server)
    image_id, kept = work.job.details["image"], bytes.fromhex(work.job.details["snapshot"])
    root = _root(server)
    volume = bytes.fromhex(root.volume)
    status = await _status(work, image_id)
    if status != WHOLE:
        if server.task_state != SNAPSHOT_UPLOADING:
            await _keep(work, server, root, kept)
            await work.change(*SNAPSHOTS, task_state=SNAPSHOT_UPLOADING)
        if status == "":
            await _drop(work, volume, kept)
            raise Failed(f"The image {image_id} was deleted while it was made.")
        if status != QUEUED:
            raise Unavailable(f"image {image_id} is {status}: an upload that died has it still")
        await work.context.bases.to_image(volume, image_id, snapshot=kept)
    await _drop(work, volume, kept)
    kind = work.job.details.get("backup_type")
    if kind:
        context, keep = work.context, int(work.job.details["rotation"])
        now_us = context.now_us()
        await context.write(lambda connection: rotate(connection, context.world.rng, server, kind, keep, now_us=now_us))
    await work.finish(*SNAPSHOTS)


def _root(server: Server) -> Disk:
    found = next((disk for disk in server.disks if disk.boot_index == 0 and not disk.is_volume), None)
    if found is None:
        raise Failed("The server has no root disk of its own.")
    return found


async def _status(work: Work, image_id: str) -> str:
    found = await work.context.read(lambda connection: images.find_image(connection, image_id))
    return found.status if found is not None else ""


async def _keep(work: Work, server: Server, root: Disk, kept: bytes) -> None:
    """With all that the guest has written, where it runs; otherwise all is in the store."""
    if server.vm_state in (ACTIVE, PAUSED) and server.host:
        try:
            await work.context.agents.call(server.host, SnapshotVolume(root.volume, kept.hex()))
        except AgentRefused as refused:
            if refused.status != MISSING:
                raise
        else:
            return
    head = await work.context.store.head(bytes.fromhex(root.volume))
    if head.holder:  # by a guest that has just ended, or a process that has not taken its volumes up yet
        raise Unavailable(f"the disk {root.volume} is held by {head.holder!r}, who may have writes that are not in the store")
    await work.context.store.snapshot(bytes.fromhex(root.volume), name=f"image of server {server.id}", snapshot=kept)


async def _drop(work: Work, volume: bytes, kept: bytes) -> None:
    with contextlib.suppress(NoSuchKey):  # NoSuchSnapshot is one
        await work.context.store.drop_snapshot(volume, kept)


async def snapshot_failed(work: Work, message: str) -> None:
    """The server is as it was, the image is none."""
    await _give_up(work, await work.context.read(lambda connection: records.find(connection, work.id)))
    await work.fail(SNAPSHOTS, message)


async def _give_up(work: Work, server: Server | None) -> None:
    """No image comes of it, and no snapshot stays."""
    image_id, kept = work.job.details["image"], bytes.fromhex(work.job.details["snapshot"])
    now_us = work.context.now_us()

    def kill(connection: Connection) -> None:
        images.change(connection, image_id, status=(QUEUED,), status_=KILLED, updated_us=now_us)

    await work.context.write(kill)
    if server is not None:
        with contextlib.suppress(Failed, HasSnapshots):
            await _drop(work, bytes.fromhex(_root(server).volume), kept)
