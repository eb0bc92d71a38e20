"""Throw the index away and build it again from the packs (`rebuild-index`).

Opening does that by itself when the index is damaged; this is for the operator, and goes on where opening must not: when
the packs themselves have lost record heads.  Then nobody knows what this device has promised or accepted, so it gets a new
incarnation: no vote until it is refilled, while what it still has serves the others.  The device must not be open.
"""

from dataclasses import dataclass

from objstore.node.engine.device import Device, take
from objstore.node.engine.identity import index_generation, set_index_generation
from objstore.node.engine.settings import EngineSettings
from objstore.runtime.world import World


@dataclass(frozen=True)
class RebuildReport:
    """What was found."""

    records: int
    registers: int
    damaged_payloads: int
    lost_records: int  # above 0: the device has a new incarnation
    incarnation: bytes


async def rebuild_index(world: World, directory: str, settings: EngineSettings) -> RebuildReport:
    """Replace the index.  Raises DamagedFile when the identity is damaged, DeviceOffline while a node has it open, FileNotFoundError, OSError."""
    disk = world.open_disk(directory)
    await take(disk, directory, world.clock)
    try:
        set_index_generation(disk, index_generation(disk) + 1)
    finally:
        disk.unlock()
    device = await Device.open(world, directory, settings, salvage=True)
    found = device.recovered
    registers = device.state.totals.registers
    await device.close()
    return RebuildReport(found.records, registers, found.damaged_payloads, found.lost_heads, device.incarnation)
