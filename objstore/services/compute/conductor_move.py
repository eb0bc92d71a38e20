"""Jobs that move servers or make them larger: resize and cold migration, live migration, evacuation.

A resize has a host before and a host after, which may be the same one.  Until it is confirmed the server has room on both.
"""

from typing import Any

from sqlalchemy import Connection

from objstore.errors import Unavailable
from objstore.services.compute import records
from objstore.services.compute.agent_api import ON_THIS_HOST, Migrate, Receive, ServerSpec, Stop
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
from objstore.services.compute.work import GIBIBYTE, Work

RESIZES = (RESIZE_PREP, RESIZE_MIGRATING, RESIZE_FINISH)
EVACUATIONS = (REBUILDING, REBUILD_SPAWNING)
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
    await context.write(lambda connection: records.change_move(connection, server.id, "finished", now_us=now_us, target=target))
    await work.finish(
        *RESIZES, vm_state=RESIZED, power_state=POWER_RUNNING if running else POWER_OFF, host=target, other_host=server.host,
        other_flavor=json_text(server.as_flavor), **_sized(flavor),
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
        records.change(connection, server.id, task_states=RESIZES, other_host=host)
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
    """Before it was stopped the server is what it was; later somebody has to look."""
    server = await work.server(*RESIZES)
    now_us = work.context.now_us()

    def undo(connection: Connection) -> None:
        records.change_move(connection, server.id, "error", now_us=now_us)
        if server.other_host and server.other_host != server.host:
            work.context.places.release(connection, server.id, server.other_host)

    await work.context.write(undo)
    untouched = server.task_state == RESIZE_PREP
    state: dict[str, Any] = {} if untouched or not server.other_host else {"vm_state": ERROR}
    await work.fail(RESIZES, message, other_host="", other_flavor="", **state)


async def confirm(work: Work) -> None:
    """The old place is given up."""
    context = work.context
    server = await work.server(RESIZE_CONFIRMING)
    await work.begin_event(server)
    if server.other_host and server.other_host != server.host:
        await work.destroy(server.other_host)
        await context.write(lambda connection: context.places.release(connection, server.id, server.other_host))
    now_us = context.now_us()
    await context.write(lambda connection: records.change_move(connection, server.id, "confirmed", now_us=now_us))
    state = ACTIVE if server.power_state == POWER_RUNNING else STOPPED
    await work.finish(RESIZE_CONFIRMING, vm_state=state, other_host="", other_flavor="")


async def revert(work: Work) -> None:
    """Back to the old size, on the old host."""
    context = work.context
    server = await work.server(RESIZE_REVERTING)
    await work.begin_event(server)
    flavor = server.as_other_flavor or server.as_flavor
    running = server.power_state == POWER_RUNNING
    host = server.other_host or server.host
    if running:
        await _stop_here(work, server)
    elif not await work.destroy(server.host):
        await work.free_volumes(server)

    def claim(connection: Connection) -> None:
        request = request_of(
            server,
            vcpus=flavor.vcpus,
            memory_mb=flavor.memory_mb,
            extra_specs=flavor.extra_specs,
            host=host,
            zone="",
            hints={},
            group_id="",
        )
        context.places.choose(connection, request)

    await context.write(claim)
    await work.bind_ports(server, host)
    if running:
        await work.spawn(server, host, flavor=flavor)
        await work.tell_attached(server, host)
    now_us = context.now_us()

    def settle(connection: Connection) -> None:
        if server.host != host:
            context.places.release(connection, server.id, server.host)
        records.change_move(connection, server.id, "reverted", now_us=now_us)

    await context.write(settle)
    await work.finish(
        RESIZE_REVERTING, vm_state=ACTIVE if running else STOPPED, power_state=POWER_RUNNING if running else POWER_OFF, host=host, other_host="",
        other_flavor="", **_sized(flavor),
    )  # fmt: skip


async def second_half_failed(work: Work, message: str) -> None:
    """Neither confirmed nor taken back."""
    await work.fail((RESIZE_CONFIRMING, RESIZE_REVERTING), message, vm_state=ERROR)


# -- live ---------------------------------------------------------------------------------------------------------


async def live_migrate(work: Work) -> None:
    """The guest goes to another host without standing still for long."""
    context = work.context
    server = await work.server(MIGRATING)
    await work.begin_event(server)
    target = server.other_host or await _place_live(work, server)
    spec = await work.spec(server, target)
    await work.expect_ports(server, target)
    await _send_live(work, server, target, spec)
    await work.bind_ports(server, target)
    await work.tell_attached(server, target)
    now_us = context.now_us()

    def settle(connection: Connection) -> None:
        context.places.release(connection, server.id, server.host)
        records.change_move(connection, server.id, "completed", now_us=now_us)

    await context.write(settle)
    await work.finish(MIGRATING, host=target, other_host="")


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
        records.change(connection, server.id, task_states=(MIGRATING,), other_host=host)
        records.change_move(connection, server.id, "running", now_us=now_us, target=host)
        return host

    try:
        return await context.write(choose)
    except NoValidHost as failure:
        raise Failed(failure.message) from failure


async def live_failed(work: Work, message: str) -> None:
    """The guest stays where it is."""
    server = await work.server(MIGRATING)
    if server.other_host:
        await work.destroy(server.other_host)
    await work.expect_ports(server, "")
    now_us = work.context.now_us()

    def undo(connection: Connection) -> None:
        records.change_move(connection, server.id, "error", now_us=now_us)
        if server.other_host:
            work.context.places.release(connection, server.id, server.other_host)

    await work.context.write(undo)
    await work.fail((MIGRATING,), message, other_host="")


# -- evacuation ---------------------------------------------------------------------------------------------------


async def evacuate(work: Work) -> None:
    """The host is dead: its volumes are taken away from it, the guest starts on another one with the same disks."""
    context = work.context
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
    now_us = context.now_us()

    def settle(connection: Connection) -> None:
        context.places.release(connection, server.id, server.host)
        records.change_move(connection, server.id, "done", now_us=now_us)

    await context.write(settle)
    await work.finish(
        *EVACUATIONS,
        vm_state=ACTIVE if running else STOPPED,
        power_state=POWER_RUNNING if running else POWER_OFF,
        host=target,
        other_host="",
    )


async def _place_evacuated(work: Work, server: Server) -> str:
    context, now_us = work.context, work.context.now_us()

    def choose(connection: Connection) -> str:
        host = context.places.choose(connection, request_of(server, host=work.job.details.get("host", ""), skip=(server.host,)))
        records.change(connection, server.id, task_states=EVACUATIONS, other_host=host)
        records.change_move(connection, server.id, "pre-migrating", now_us=now_us, target=host)
        return host

    try:
        return await context.write(choose)
    except NoValidHost as failure:
        raise Failed(failure.message) from failure


async def evacuate_failed(work: Work, message: str) -> None:
    """It is nowhere; it can be evacuated again."""
    server = await work.server(*EVACUATIONS)
    now_us = work.context.now_us()

    def undo(connection: Connection) -> None:
        records.change_move(connection, server.id, "failed", now_us=now_us)
        if server.other_host:
            work.context.places.release(connection, server.id, server.other_host)

    await work.context.write(undo)
    await work.fail(EVACUATIONS, message, vm_state=ERROR, other_host="")
