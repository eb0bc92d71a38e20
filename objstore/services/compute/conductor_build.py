"""Jobs that make servers and remove them: build, delete, rebuild."""

import contextlib
from typing import Any

import msgspec
from sqlalchemy import Connection

from objstore.errors import Unavailable
from objstore.services.compute import records
from objstore.services.compute.context import Failed
from objstore.services.compute.desks import NoValidHost, PlaceRequest
from objstore.services.compute.records import WANTED, Server
from objstore.services.compute.states import (
    ACTIVE,
    DELETING,
    ERROR,
    MAPPING,
    NETWORKING,
    POWER_NONE,
    POWER_OFF,
    POWER_RUNNING,
    REBUILD_DISKS,
    REBUILD_SPAWNING,
    REBUILDING,
    SCHEDULING,
    SPAWNING,
    STOPPED,
)
from objstore.services.compute.work import GIBIBYTE, Over, Work, told

BUILD_TASKS = (SCHEDULING, NETWORKING, MAPPING, SPAWNING)
REBUILD_TASKS = (REBUILDING, REBUILD_DISKS, REBUILD_SPAWNING)
PATIENCE = 5  # attempts, about a minute, for a host that is alive and does not start the guest


def request_of(server: Server, **values: Any) -> PlaceRequest:
    """What a server needs of a host."""
    flavor = server.as_flavor
    disks_gb = sum(disk.size_gb for disk in server.disks if not disk.is_volume)
    request = PlaceRequest(
        server.id, server.project, flavor.vcpus, flavor.memory_mb, disks_gb, server.zone, server.wanted_host, (), msgspec.json.decode(server.hints),
        server.group_id, server.properties, flavor.extra_specs,
    )  # fmt: skip
    return msgspec.structs.replace(request, **values)


# -- build --------------------------------------------------------------------------------------------------------


async def build(work: Work) -> None:
    """A host, ports, disks, a guest that runs."""
    context = work.context
    host, force = await _place(work)
    await work.begin_event(await work.server(*BUILD_TASKS))
    await work.change(*BUILD_TASKS, task_state=NETWORKING)
    await work.make_ports(await work.server(*BUILD_TASKS), host)
    await work.change(*BUILD_TASKS, task_state=MAPPING)
    for disk in (await work.server(*BUILD_TASKS)).disks:
        if disk.state == WANTED:
            await work.make_disk(await work.server(*BUILD_TASKS), disk)
    await work.change(*BUILD_TASKS, task_state=SPAWNING)
    server = await work.server(*BUILD_TASKS)
    try:
        await work.spawn(server, host, force=force)
    except Unavailable as failure:
        if work.job.attempts < PATIENCE or not await work.is_alive(host):
            raise
        raise Failed(f"The guest cannot be started on its host: {told(failure)}") from failure
    await work.tell_attached(server, host)
    await work.finish(
        *BUILD_TASKS, vm_state=ACTIVE, power_state=POWER_RUNNING, launched_us=context.now_us(), progress=0 if server.progress else 100
    )


async def _place(work: Work) -> tuple[str, bool]:
    """The server's host; another one when that died meanwhile.  And whether disks have to be taken away from the dead one."""
    context = work.context
    server = await work.server(*BUILD_TASKS)
    skip: tuple[str, ...] = ()
    if server.host:
        if work.job.attempts == 0 or await work.is_alive(server.host):
            return server.host, False
        skip = (server.host,)
        await work.free_volumes(server)

    def choose(connection: Connection) -> str:
        if skip:
            context.places.release(connection, server.id, server.host)
        host = context.places.choose(connection, request_of(server, skip=skip))
        work.put(connection, *BUILD_TASKS, host=host)
        return host

    try:
        return await context.write(choose), bool(skip)
    except NoValidHost as failure:
        raise Failed(failure.message) from failure


async def build_failed(work: Work, message: str) -> None:
    """The server stays, in ERROR, for its owner to see why; it is on no host."""
    server = await work.server(*BUILD_TASKS)
    if not await work.destroy(server.host):
        await work.free_volumes(server)
    await work.return_ports(server, "")
    nowhere: dict[str, Any] = {"vm_state": ERROR, "power_state": POWER_NONE, "host": ""}
    await work.fail(BUILD_TASKS, message, also=lambda connection: work.context.places.release(connection, server.id), **nowhere)


# -- delete -------------------------------------------------------------------------------------------------------


async def remove(work: Work) -> None:
    """Everything that the server has goes, then the server."""
    context = work.context
    server = await work.server(DELETING)
    await work.begin_event(server)
    for host in dict.fromkeys((server.host, server.other_host)):
        if not await work.destroy(host):
            await work.free_volumes(server)

    # From here on somebody else may have the volumes: a second run must not take them away from their host again.
    def leave(connection: Connection) -> None:
        work.put(connection, DELETING, host="", other_host="")
        context.places.release(connection, server.id)

    await context.write(leave)
    await context.networks.release_all(server.id)
    await context.volumes.end_all(server.id)
    for disk in (await work.server(DELETING)).disks:
        await work.drop_disk(server, disk)
        await context.write(lambda connection, id_=disk.id: records.drop_disk(connection, id_))  # type: ignore[misc] # one disk a turn

    now_us = context.now_us()

    def bury(connection: Connection) -> None:
        records.end_moves(connection, server.id, "cancelled", now_us=now_us)
        records.bury(connection, server.id, now_us=now_us)
        work.end_event(connection, records.SUCCESS)

    await context.write(bury)


async def remove_failed(work: Work, message: str) -> None:
    """It can be asked to go again."""
    await work.fail((DELETING,), message, vm_state=ERROR)


# -- rebuild ------------------------------------------------------------------------------------------------------


async def rebuild(work: Work) -> None:
    """The same server with a new root disk, made of the image that its record names by now.  Raises Failed, Unavailable, Over."""
    try:
        await _rebuild(work)
    except Over:
        await _drop_unused(work)
        raise


async def _drop_unused(work: Work) -> None:
    """Of the root disk that was and the one that was to be only that stays which the server has."""
    server = await work.context.read(lambda connection: records.living(connection, work.id))
    used = {disk.volume for disk in server.disks} if server is not None else set()
    for volume in sorted({work.job.details["old"], work.job.details["volume"]} - used):
        await work.drop_data(volume)


async def _rebuild(work: Work) -> None:
    context, details = work.context, work.job.details
    server = await work.server(*REBUILD_TASKS)
    await work.begin_event(server)
    root = next((disk for disk in server.disks if disk.boot_index == 0 and not disk.is_volume), None)
    if root is not None and root.volume != details["volume"]:
        await work.check_image(server, server.image)
    if not await work.destroy(server.host):
        raise Unavailable(f"host {server.host} is down")
    await work.change(*REBUILD_TASKS, task_state=REBUILD_DISKS)
    if root is not None and server.image:
        fresh = details["volume"]
        if root.volume != fresh:
            size_bytes = root.size_gb * GIBIBYTE or (await context.bases.ensure(server.image)).size_bytes
            await context.bases.clone(server.image, bytes.fromhex(fresh), size_bytes)
            await context.write(lambda connection: records.change_disk(connection, root.id, volume=fresh, source_id=server.image))
        await work.drop_data(details["old"])
    await work.change(*REBUILD_TASKS, task_state=REBUILD_SPAWNING)
    server = await work.server(*REBUILD_TASKS)
    if details.get("running") != "1":
        await work.finish(*REBUILD_TASKS, vm_state=STOPPED, power_state=POWER_OFF)
        return
    await work.spawn(server, server.host)
    await work.tell_attached(server, server.host)
    await work.finish(*REBUILD_TASKS, vm_state=ACTIVE, power_state=POWER_RUNNING, launched_us=context.now_us())


async def rebuild_failed(work: Work, message: str) -> None:
    """What was is gone, what was to be is not."""
    await work.server(*REBUILD_TASKS)
    with contextlib.suppress(Unavailable):  # a disk that cannot be removed does not keep the server from being told
        await _drop_unused(work)
    await work.fail(REBUILD_TASKS, message, vm_state=ERROR)
