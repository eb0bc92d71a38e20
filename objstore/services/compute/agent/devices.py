"""Disks and network cards of a guest, plugged in and taken out while it runs; its volumes, made longer or kept as they are under it.

What a guest is to have is written down first.  Each step looks at what is there already, so that one that was cut off can be repeated.
"""

import contextlib
import logging

import msgspec

from objstore.errors import InvalidArgument, ObjstoreError, Refused
from objstore.runtime import commands
from objstore.services.compute.agent.check import check_disk, check_nic
from objstore.services.compute.agent.command import disk_device, disk_node, machine_of, nbd_node, nic_device
from objstore.services.compute.agent.guest import Guest
from objstore.services.compute.agent.layout import disk_name, nic_name
from objstore.services.compute.agent.qmp import QmpRefused
from objstore.services.compute.agent.run import GuestBroken, Run
from objstore.services.compute.agent_api import Disk, Nic

log = logging.getLogger(__name__)

GENERATIONS = 10  # of connections to one volume: 0 is the first, each change of its size makes the next


async def attach_disk(guest: Guest, disk: Disk) -> None:
    """Plug a disk in; nothing happens where it is in.  Raises Refused, Unavailable."""
    check_disk(disk)
    spec = guest.spec
    known = next((one for one in spec.disks if one.volume == disk.volume), None)
    if known is None:
        if any(one.device == disk.device for one in spec.disks):
            raise Refused(f"server {guest.id} has a disk {disk.device} already")
        if disk.bus != "virtio" and guest.run is not None and not (disk.bus == "scsi" and any(one.bus == "scsi" for one in spec.disks)):
            raise InvalidArgument(f"a disk cannot be plugged into a bus of kind {disk.bus} while the guest runs")
        await guest.save_spec(msgspec.structs.replace(spec, disks=(*spec.disks, disk)))
    run = guest.run
    if run is None:
        return
    try:
        await guest.host.disks.attach(disk.volume)
        await _plug_disk(guest, run, disk)
    except BaseException:
        if known is None:
            with contextlib.suppress(ObjstoreError):
                await _unplug_disk(guest, disk)
                await _without(guest, disk)
        raise


async def _plug_disk(guest: Guest, run: Run, disk: Disk) -> None:
    facts = guest.facts
    name = disk_name(disk.volume)
    if name not in await run.nodes():
        await run.monitor.ask("blockdev-add", disk_node(disk, facts))
    if not await run.has(name):
        await run.monitor.ask("device_add", disk_device(disk, machine_of(guest.spec, facts), guest.record.slots))


async def detach_disk(guest: Guest, volume: str) -> None:
    """Take a disk out.  Everything that was written to it is in the store when this returns.  Raises Refused (the guest keeps it), Unavailable."""
    disk = next((one for one in guest.spec.disks if one.volume == volume), None)
    if disk is None:
        return
    await _unplug_disk(guest, disk)
    await _without(guest, disk)


async def _unplug_disk(guest: Guest, disk: Disk) -> None:
    run = guest.run
    if run is not None:
        if disk.bus == "ide":
            raise Refused("a disk on an IDE bus cannot be taken out while the guest runs")
        await run.unplug(disk_name(disk.volume), timeout_s=guest.host.settings.unplug_timeout_s)
        await remove_node(run, disk_name(disk.volume))
        for number in range(1, GENERATIONS):
            await remove_node(run, connection(disk.volume, number))
    if not guest.host.in_use(disk.volume, guest.id):
        await guest.host.disks.detach(disk.volume)


async def _without(guest: Guest, disk: Disk) -> None:
    disks = tuple(one for one in guest.spec.disks if one.volume != disk.volume)
    await guest.save_spec(msgspec.structs.replace(guest.spec, disks=disks))


def connection(volume: str, number: int) -> str:
    """The name of a connection to a volume; see `nbd_node`."""
    return f"c{number}-{volume[:26]}"


async def remove_node(run: Run, name: str) -> None:
    """Remove a block node that may be there."""
    with contextlib.suppress(QmpRefused):
        await run.ask("blockdev-del", node_name=name)


async def attach_nic(guest: Guest, nic: Nic) -> None:
    """Plug a network card in; nothing happens where it is in.  Raises Refused, Unavailable."""
    check_nic(nic)
    known = any(one.port == nic.port for one in guest.spec.nics)
    if not known:
        await guest.save_spec(msgspec.structs.replace(guest.spec, nics=(*guest.spec.nics, nic)))
    run = guest.run
    if run is None:
        return
    try:
        await _plug_nic(guest, run, nic)
    except BaseException:
        if not known:
            with contextlib.suppress(ObjstoreError):
                await detach_nic(guest, nic.port)
        raise


async def _plug_nic(guest: Guest, run: Run, nic: Nic) -> None:
    name = nic_name(nic.port)
    if await run.has(name):
        return
    await _remove_netdev(run, name)  # of an attempt that was cut off
    netdev, descriptor = await guest.plug(nic.port)
    try:
        if descriptor is None:
            said = await run.ask("human-monitor-command", command_line=f"netdev_add {netdev},id={name}")
            if said:  # that command's errors are text
                raise GuestBroken(f"QEMU: {said}")
        else:
            await run.monitor.ask("getfd", {"fdname": name}, descriptor=descriptor)
            await run.monitor.ask("netdev_add", {"type": "tap", "id": name, "fd": name})
    finally:
        if descriptor is not None:
            commands.close(descriptor)
    await run.monitor.ask("device_add", nic_device(nic, machine_of(guest.spec, guest.facts), guest.record.slots))


async def detach_nic(guest: Guest, port: str) -> None:
    """Take a network card out.  Raises Refused (the guest keeps it), Unavailable."""
    if all(nic.port != port for nic in guest.spec.nics):
        return
    if guest.run is not None:
        await guest.run.unplug(nic_name(port), timeout_s=guest.host.settings.unplug_timeout_s)
        await _remove_netdev(guest.run, nic_name(port))
    await guest.host.driver.unplug(port)
    await guest.save_spec(msgspec.structs.replace(guest.spec, nics=tuple(nic for nic in guest.spec.nics if nic.port != port)))


async def _remove_netdev(run: Run, name: str) -> None:
    with contextlib.suppress(QmpRefused):
        await run.ask("netdev_del", id=name)


async def snapshot(guest: Guest, volume: str, snapshot_id: str) -> None:
    """A snapshot of a volume; the guest stands still meanwhile, with all that it has written on the volume.  Raises Refused, Unavailable."""
    async with guest.standing_still():
        await guest.host.disks.snapshot(volume, snapshot_id)


async def resize(guest: Guest, volume: str, size_bytes: int) -> None:
    """Tell a guest of a volume that became longer: a new connection takes the place of the one that knows the old size.  Raises Refused, Unavailable."""
    run = guest.run
    disk = next((one for one in guest.spec.disks if one.volume == volume), None)
    if run is None or disk is None:
        return
    await reconnect(guest, run, disk)
    await run.ask("block_resize", node_name=disk_name(volume), size=size_bytes)


async def reconnect(guest: Guest, run: Run, disk: Disk) -> None:
    """Put another connection to its volume under a guest's disk.  Raises QmpRefused, QmpClosed."""
    there = await run.nodes()
    old = [number for number in range(GENERATIONS) if connection(disk.volume, number) in there]
    number = next(number for number in range(1, GENERATIONS) if number not in old)
    facts = guest.facts
    await run.monitor.ask("blockdev-add", nbd_node(disk.volume, facts, number=number, read_only=disk.read_only))
    await run.monitor.ask("blockdev-reopen", {"options": [disk_node(disk, facts, connection(disk.volume, number))]})
    for one in old:
        await remove_node(run, connection(disk.volume, one))
    await remove_node(run, f"b-{disk.volume[:26]}")
