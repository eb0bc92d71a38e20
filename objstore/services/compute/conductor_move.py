"""Jobs that move servers or make them larger: resize and cold migration, live migration, evacuation.

A resize has a host before and a host after, which may be the same one.  Until it is confirmed the server has room on both.
"""

from typing import Any

from sqlalchemy import Connection

from objstore.errors import Unavailable
from objstore.services.compute import records
from objstore.services.compute.agent_api import ON_THIS_HOST, ConsoleLog, Migrate, Receive, ServerSpec, Stop
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.conductor_build import request_of
from objstore.services.compute.context import Failed
from objstore.services.compute.desks import Flavor, NoValidHost
from objstore.services.compute.records import Server, json_text
from objstore.services.compute.states import (
    ACTIVE,
    ERROR,
    MIGRATING,
    POWER_OFF,
    POWER_RUNNING,
    REBUILD_SPAWNING,
    REBUILDING,
    RESIZE_CONFIRMING,
    RESIZE_FINISH,
    RESIZE_MIGRATING,
    RESIZE_PREP,
    RESIZE_REVERTING,
    RESIZED,
    STOPPED,
)
from objstore.services.compute.work import GIBIBYTE, Over, Work

RESIZES = (RESIZE_PREP, RESIZE_MIGRATING, RESIZE_FINISH)
EVACUATIONS = (REBUILDING, REBUILD_SPAWNING)
ARRIVED = "post-migrating"  # of a live migration: the guest runs on its new host
MISSING = 404


async def resize(work: Work) -> None:
    """Stop the guest, choose a host for the new size, start it there; the old place is kept until somebody confirms."""
    context = work.context
    server = await work.server(*RESIZES)
    await work.begin_event(server)
    flavor = server.as_other_flavor or server.as_flavor
    target = server.other_host or await _place_resized(work, server, flavor)
    running = server.vm_state == ACTIVE
    if server.task_state in (RESIZE_PREP, RESIZE_MIGRATING):
        await work.change(*RESIZES, task_state=RESIZE_MIGRATING)
        await _stop_here(work, server)
        await _grow(work, server, flavor)
        await work.bind_ports(server, target)
        await work.change(*RESIZES, task_state=RESIZE_FINISH)
    if running:
        await work.spawn(server, target, flavor=flavor)
        await work.tell_attached(server, target)
    now_us = context.now_us()
    await work.finish(
        *RESIZES, vm_state=RESIZED, power_state=POWER_RUNNING if running else POWER_OFF, host=target, other_host=server.host,
        other_flavor=json_text(server.as_flavor), **_sized(flavor),
        also=lambda connection: records.change_move(connection, server.id, "finished", now_us=now_us, target=target),
    )  # fmt: skip


def _sized(flavor: Flavor) -> dict[str, Any]:
    return {"flavor": flavor.id, "flavor_document": json_text(flavor), "vcpus": flavor.vcpus, "memory_mb": flavor.memory_mb}


async def _place_resized(work: Work, server: Server, flavor: Flavor) -> str:
    context, wanted = work.context, work.job.details.get("host", "")
    elsewhere = work.job.details.get("elsewhere") == "1"
    now_us = context.now_us()

    def choose(connection: Connection) -> str:
        request = request_of(
            server, vcpus=flavor.vcpus, memory_mb=flavor.memory_mb, extra_specs=flavor.extra_specs, host=wanted,
            skip=(server.host,) if elsewhere else (),
        )  # fmt: skip
        host = context.places.choose(connection, request)
        if host == server.host:  # the larger of both, so that there is room to go back
            vcpus, memory_mb = max(server.vcpus, flavor.vcpus), max(server.memory_mb, flavor.memory_mb)
            context.places.settle(connection, server.id, host, vcpus=vcpus, memory_mb=memory_mb)
        work.put(connection, *RESIZES, other_host=host)
        records.change_move(connection, server.id, "migrating", now_us=now_us, target=host)
        return host

    try:
        return await context.write(choose)
    except NoValidHost as failure:
        raise Failed(failure.message) from failure


async def _stop_here(work: Work, server: Server) -> None:
    """The guest ends, and lets go of all it has, on its own host."""
    try:
        await work.context.agents.call(server.host, Stop(server.id, timeout_s=work.context.stop_timeout_s))
    except AgentRefused as refused:
        if refused.status != MISSING:
            raise
    if not await work.destroy(server.host):
        raise Unavailable(f"host {server.host} is down")


async def _grow(work: Work, server: Server, flavor: Flavor) -> None:
    """A larger root disk.  It stays that large when the resize is taken back: what was written into it cannot be cut off."""
    root = next((disk for disk in server.disks if disk.boot_index == 0 and not disk.is_volume), None)
    if root is None or flavor.root_gb <= root.size_gb:
        return
    await work.context.store.resize(bytes.fromhex(root.volume), flavor.root_gb * GIBIBYTE)
    await work.context.write(lambda connection: records.change_disk(connection, root.id, size_gb=flavor.root_gb))


async def resize_failed(work: Work, message: str) -> None:
    """Before it was stopped the server is what it was; later somebody has to look.  It is at home, in its old size, and nowhere else."""
    server = await work.server(*RESIZES)
    touched = server.task_state != RESIZE_PREP
    if server.task_state == RESIZE_FINISH and not await work.destroy(server.other_host):
        await work.free_volumes(server)
    if touched:
        await work.return_ports(server, server.host)
    state: dict[str, Any] = {"vm_state": ERROR} if touched else {}
    await work.fail(RESIZES, message, also=lambda connection: _stays(work, connection, server), other_host="", other_flavor="", **state)


def _stays(work: Work, connection: Connection, server: Server, status: str = "error") -> None:
    """The move ends, and all that it claimed elsewhere."""
    records.change_move(connection, server.id, status, now_us=work.context.now_us())
    work.context.places.settle(connection, server.id, server.host, vcpus=server.vcpus, memory_mb=server.memory_mb)


async def confirm(work: Work) -> None:
    """The old place is given up."""
    server = await work.server(RESIZE_CONFIRMING)
    await work.begin_event(server)
    if server.other_host != server.host:
        await work.destroy(server.other_host)
    state = ACTIVE if server.power_state == POWER_RUNNING else STOPPED
    await work.finish(
        RESIZE_CONFIRMING, vm_state=state, other_host="", other_flavor="",
        also=lambda connection: _stays(work, connection, server, "confirmed"),
    )  # fmt: skip


async def confirm_failed(work: Work, message: str) -> None:
    """It can be confirmed again, or be taken back: nothing has changed."""
    await work.fail((RESIZE_CONFIRMING,), message)


async def revert(work: Work) -> None:
    """Back to the old size, on the old host, where the server's claim was kept: also where no new server would be put."""
    context = work.context
    server = await work.server(RESIZE_REVERTING)
    await work.begin_event(server)
    running = server.power_state == POWER_RUNNING
    if server.other_host:
        server = await _go_back(work, server)
    await work.bind_ports(server, server.host)
    if running:
        await work.spawn(server, server.host)
        await work.tell_attached(server, server.host)
    now_us = context.now_us()
    await work.finish(
        RESIZE_REVERTING, vm_state=ACTIVE if running else STOPPED, power_state=POWER_RUNNING if running else POWER_OFF,
        also=lambda connection: records.change_move(connection, server.id, "reverted", now_us=now_us),
    )  # fmt: skip


async def _go_back(work: Work, server: Server) -> Server:
    """The guest ends where it is; from then on the server is what it was before, where it was: there is no other host any more."""
    context, home, flavor = work.context, server.other_host, server.as_other_flavor or server.as_flavor
    if not await work.is_alive(home):
        raise Failed(f"Host {home} is down: the resize cannot be taken back before it is up again.")
    try:
        await _stop_here(work, server)
    except Unavailable:
        if await work.is_alive(server.host):
            raise
        await work.free_volumes(server)

    def leave(connection: Connection) -> None:
        work.put(connection, RESIZE_REVERTING, host=home, other_host="", other_flavor="", **_sized(flavor))
        context.places.settle(connection, server.id, home, vcpus=flavor.vcpus, memory_mb=flavor.memory_mb)

    await context.write(leave)
    return await work.server(RESIZE_REVERTING)


async def revert_failed(work: Work, message: str) -> None:
    """Before it went back the server is resized still, and can be taken back again; afterwards it is at home, and somebody has to look."""
    server = await work.server(RESIZE_REVERTING)
    if server.other_host:
        await work.fail((RESIZE_REVERTING,), message)
        return
    await work.return_ports(server, server.host)
    await work.fail((RESIZE_REVERTING,), message, also=lambda connection: _stays(work, connection, server), vm_state=ERROR)


# -- live ---------------------------------------------------------------------------------------------------------


async def live_migrate(work: Work) -> None:
    """The guest goes to another host without standing still for long."""
    server = await work.server(MIGRATING)
    await work.begin_event(server)
    if not await _has_arrived(work, server):
        target = server.other_host or await _place_live(work, server)
        spec = await work.spec(server, target)
        await work.expect_ports(server, target)
        await _send_live(work, server, target, spec)
        await _arrive(work, server, target)
        server = await work.server()  # its ports follow it, also where somebody reset its state
    await work.bind_ports(server, server.host)
    await work.tell_attached(server, server.host)
    now_us = work.context.now_us()
    await work.finish(MIGRATING, also=lambda connection: records.change_move(connection, server.id, "completed", now_us=now_us))


async def _has_arrived(work: Work, server: Server) -> bool:
    status, target = await work.context.read(lambda connection: records.last_move(connection, server.id))
    return status == ARRIVED and target == server.host


async def _arrive(work: Work, server: Server, target: str) -> None:
    """Written down at once, and whatever else was asked for meanwhile: from here on the guest is on the other host alone.  Raises Over."""
    context = work.context
    now_us = context.now_us()

    def settle(connection: Connection) -> bool:
        if not records.arrive(connection, server, target):
            return False
        records.change_move(connection, server.id, ARRIVED, now_us=now_us)
        context.places.settle(connection, server.id, target, vcpus=server.vcpus, memory_mb=server.memory_mb)
        return True

    if not await context.write(settle):
        raise Over


async def _send_live(work: Work, server: Server, target: str, spec: ServerSpec) -> None:
    """The guest is on its new host; perhaps it came there in a run before this one, which was cut off after that."""
    agents, again = work.context.agents, work.job.attempts > 0
    try:
        answer = await agents.call(target, Receive(spec))
    except AgentRefused as refused:
        if not (again and refused.message.endswith(ON_THIS_HOST)):
            raise
        return
    try:
        await agents.call(server.host, Migrate(server.id, str(answer["address"]), target_secret=str(answer.get("secret", ""))))
    except AgentRefused as refused:
        if refused.status != MISSING or not again:
            raise


async def _place_live(work: Work, server: Server) -> str:
    context, now_us = work.context, work.context.now_us()

    def choose(connection: Connection) -> str:
        host = context.places.choose(connection, request_of(server, host=work.job.details.get("host", ""), skip=(server.host,)))
        work.put(connection, MIGRATING, other_host=host)
        records.change_move(connection, server.id, "running", now_us=now_us, target=host)
        return host

    try:
        return await context.write(choose)
    except NoValidHost as failure:
        raise Failed(failure.message) from failure


async def live_failed(work: Work, message: str) -> None:
    """The guest stays where it is: at home, or where it has arrived already."""
    server = await work.server(MIGRATING)
    if server.other_host and await _has_left(work, server):
        await _arrive(work, server, server.other_host)
        server = await work.server(MIGRATING)
    if await _has_arrived(work, server):
        await work.return_ports(server, server.host)
    else:
        await work.destroy(server.other_host)
        await work.expect_ports(server, "")
    await work.fail((MIGRATING,), message, also=lambda connection: _stays(work, connection, server), other_host="")


async def _has_left(work: Work, server: Server) -> bool:
    """Whether the guest is on the other host and no more on its own: who was cut off may not have seen it arrive.  Raises Unavailable."""
    return await _is_on(work, server.host) is False and await _is_on(work, server.other_host) is True


async def _is_on(work: Work, host: str) -> bool | None:
    """Whether a host has the guest; None where it is down.  Raises Unavailable."""
    try:
        await work.context.agents.call(host, ConsoleLog(work.id, 1))
    except AgentRefused as refused:
        return refused.status != MISSING
    except Unavailable:
        if await work.is_alive(host):
            raise
        return None
    return True


# -- evacuation ---------------------------------------------------------------------------------------------------


async def evacuate(work: Work) -> None:
    """The host is dead: its volumes are taken away from it, the guest starts on another one with the same disks."""
    server = await work.server(*EVACUATIONS)
    await work.begin_event(server)
    if not server.other_host and await work.is_alive(server.host):
        raise Failed(f"Compute service of {server.host} is still in use.")
    target = server.other_host or await _place_evacuated(work, server)
    if server.task_state == REBUILDING:  # once: afterwards the volumes are the new host's
        await work.free_volumes(server)
        await work.change(*EVACUATIONS, task_state=REBUILD_SPAWNING)
    await work.bind_ports(server, target)
    running = work.job.details.get("running") == "1"
    if running:
        await work.spawn(server, target, force=True)
    await work.tell_attached(server, target)

    def there(connection: Connection) -> None:
        records.change_move(connection, server.id, "done", now_us=work.context.now_us())
        work.context.places.settle(connection, server.id, target, vcpus=server.vcpus, memory_mb=server.memory_mb)

    await work.finish(
        *EVACUATIONS,
        vm_state=ACTIVE if running else STOPPED,
        power_state=POWER_RUNNING if running else POWER_OFF,
        host=target,
        other_host="",
        also=there,
    )


async def _place_evacuated(work: Work, server: Server) -> str:
    context, now_us = work.context, work.context.now_us()

    def choose(connection: Connection) -> str:
        host = context.places.choose(connection, request_of(server, host=work.job.details.get("host", ""), skip=(server.host,)))
        work.put(connection, *EVACUATIONS, other_host=host)
        records.change_move(connection, server.id, "pre-migrating", now_us=now_us, target=host)
        return host

    try:
        return await context.write(choose)
    except NoValidHost as failure:
        raise Failed(failure.message) from failure


async def evacuate_failed(work: Work, message: str) -> None:
    """It is nowhere and can be evacuated again; where its host came back before anything was taken from it, it is what it was."""
    server = await work.server(*EVACUATIONS)
    if server.task_state == REBUILD_SPAWNING:
        if not await work.destroy(server.other_host):
            await work.free_volumes(server)
        await work.return_ports(server, server.host)
    untouched = server.task_state == REBUILDING and not server.other_host and await work.is_alive(server.host)
    state: dict[str, Any] = {} if untouched else {"vm_state": ERROR}
    await work.fail(EVACUATIONS, message, also=lambda connection: _stays(work, connection, server, "failed"), other_host="", **state)
