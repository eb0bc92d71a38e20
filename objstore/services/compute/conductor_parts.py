"""Jobs that plug disks and network cards into servers and take them out."""

import contextlib

from sqlalchemy import Connection

from objstore.services.calls.problems import CallRefused
from objstore.services.compute import records
from objstore.services.compute.agent_api import AttachDisk, AttachNic, DetachDisk, DetachNic
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.guest_spec import disk_of, nic_of
from objstore.services.compute.records import ATTACHING, DETACHING, FAILED, HIDDEN, READY, RELEASING, SUCCESS, WANTED, Disk, Nic, Server
from objstore.services.compute.work import RUNNING, Over, Work

MISSING, NOT_NOW = 404, 409


def _disk(work: Work, server: Server, *states: str) -> Disk:
    found = next((disk for disk in server.disks if disk.id == work.job.details["disk"] and disk.state in states), None)
    if found is None:
        raise Over
    return found


def _nic(work: Work, server: Server, *states: str) -> Nic:
    found = next((nic for nic in server.nics if nic.id == work.job.details["nic"] and nic.state in states), None)
    if found is None:
        raise Over
    return found


async def _tell(work: Work, server: Server, message: AttachDisk | DetachDisk | AttachNic | DetachNic) -> None:
    """Tell the host, if there is a guest on it; one that does not run has nothing to be told."""
    if not server.host or server.vm_state not in RUNNING:
        return
    try:
        await work.context.agents.call(server.host, message)
    except AgentRefused as refused:
        if refused.status != MISSING:
            raise


async def attach_disk(work: Work) -> None:
    """A volume that is reserved for the server."""
    server = await work.server()
    disk = _disk(work, server, ATTACHING)
    await work.begin_event(server)
    volumes = work.context.volumes
    await _tell(work, server, AttachDisk(server.id, disk_of(disk)))
    await volumes.attached(disk.attachment, server.host, f"/dev/{disk.device}")

    def done(connection: Connection) -> None:
        records.change_disk(connection, disk.id, states=(ATTACHING,), state=READY)
        work.end_event(connection, SUCCESS)

    await work.context.write(done)


async def attach_disk_failed(work: Work, message: str) -> None:
    """The volume is free again."""
    server = await work.server()
    disk = _disk(work, server, ATTACHING)
    await _tell(work, server, DetachDisk(server.id, disk.volume))
    await _drop_disk(work, disk, FAILED, message)


async def _drop_disk(work: Work, disk: Disk, result: str, message: str = "") -> None:
    if disk.attachment:
        await work.context.volumes.end(disk.attachment)

    def done(connection: Connection) -> None:
        records.drop_disk(connection, disk.id)
        work.end_event(connection, result, message)

    await work.context.write(done)


async def detach_disk(work: Work) -> None:
    """A volume that the guest is to let go of; it is free when the host says that all is in the store."""
    server = await work.server()
    disk = _disk(work, server, DETACHING)
    await work.begin_event(server)
    with contextlib.suppress(CallRefused):  # it was ended before
        await work.context.volumes.begin_detach(disk.attachment)
    try:
        await _tell(work, server, DetachDisk(server.id, disk.volume))
    except AgentRefused as refused:
        await _keep_disk(work, disk, refused.message)
        return
    await _drop_disk(work, disk, SUCCESS)


async def detach_disk_failed(work: Work, message: str) -> None:
    """The guest has it still."""
    await _keep_disk(work, _disk(work, await work.server(), DETACHING), message)


async def _keep_disk(work: Work, disk: Disk, message: str) -> None:
    with contextlib.suppress(CallRefused):  # the volume service has given it up by itself
        await work.context.volumes.roll_detach(disk.attachment)

    def done(connection: Connection) -> None:
        records.change_disk(connection, disk.id, states=(DETACHING,), state=READY)
        work.end_event(connection, FAILED, message)

    await work.context.write(done)


async def unreserve(work: Work) -> None:
    """Who began to attach a volume never came to the end of it: nobody has it, also where the server went meanwhile."""
    try:
        server = await work.server()
    except Over:
        await work.context.volumes.end_all(work.id)
        raise
    disk = _disk(work, server, *HIDDEN)
    if not await work.context.write(lambda connection: records.change_disk(connection, disk.id, states=HIDDEN, state=RELEASING)):
        raise Over  # who began it came to the end of it after all
    # Reserving again finds the attachment that was made, or makes one that goes at once; an administrator may have named another project's volume.
    attachment = await work.context.volumes.reserve(server.project, disk.api_volume, server.id, is_admin=True)
    await work.context.volumes.end(attachment)
    await work.context.write(lambda connection: records.drop_disk(connection, disk.id))


async def unreserve_failed(work: Work, message: str) -> None:
    """The volume is gone, or was never had."""
    disk = _disk(work, await work.server(), *HIDDEN)
    await work.context.write(lambda connection: records.drop_disk(connection, disk.id))


async def attach_nic(work: Work) -> None:
    """A network card: its port, then the card."""
    server = await work.server()
    nic = _nic(work, server, WANTED, READY, ATTACHING)
    await work.begin_event(server)
    if nic.state == WANTED:
        there = (await work.context.networks.ports_of([server.id])).get(server.id, ())
        known = {other.port for other in server.nics}
        await work.make_port(server, nic, [port for port in there if port.id not in known])
        await work.context.write(lambda connection: records.change_nic(connection, nic.id, states=(READY,), state=ATTACHING))
        server = await work.server()
        nic = _nic(work, server, ATTACHING)
    await work.context.networks.bind(nic.port, server.host)
    await _tell(work, server, AttachNic(server.id, nic_of(server, nic)))

    def done(connection: Connection) -> None:
        records.change_nic(connection, nic.id, state=READY)
        work.end_event(connection, SUCCESS)

    await work.context.write(done)


async def attach_nic_failed(work: Work, message: str) -> None:
    """The port goes, or is its owner's again."""
    server = await work.server()
    nic = _nic(work, server, WANTED, READY, ATTACHING)
    if nic.port:
        await _tell(work, server, DetachNic(server.id, nic.port))
    await _drop_nic(work, nic, FAILED, message)


async def detach_nic(work: Work) -> None:
    """A network card goes, with its port if that was made for it."""
    server = await work.server()
    nic = _nic(work, server, DETACHING)
    await work.begin_event(server)
    await _tell(work, server, DetachNic(server.id, nic.port))
    await _drop_nic(work, nic, SUCCESS)


async def detach_nic_failed(work: Work, message: str) -> None:
    """The guest has it still."""
    nic = _nic(work, await work.server(), DETACHING)

    def done(connection: Connection) -> None:
        records.change_nic(connection, nic.id, states=(DETACHING,), state=READY)
        work.end_event(connection, FAILED, message)

    await work.context.write(done)


async def _drop_nic(work: Work, nic: Nic, result: str, message: str = "") -> None:
    if nic.port:
        await work.context.networks.release(nic.port, nic.server)

    def done(connection: Connection) -> None:
        records.drop_nic(connection, nic.id)
        work.end_event(connection, result, message)

    await work.context.write(done)
