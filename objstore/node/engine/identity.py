"""The identity of a device: who it is, and which packs are its own.

File `identity`, 40 bytes, little endian, written once under a temporary name and linked into place:

    0       8     magic "objdev\\0\\0"
    8       2     format version, 1
    10      6     zero
    16      8     incarnation: made anew whenever the device may have forgotten something; has a vote only while the ring names it
    24      8     seal: bound into every pack, stays the same for the life of the files
    32      8     XXH3-64 of bytes 0 to 31

File `generation`: which index directory is in use, as text ("index-1"); absent means the first.
"""

import struct

import xxhash

from objstore.errors import DamagedFile
from objstore.node.engine.blobs import DIRECTORY as BLOBS
from objstore.node.engine.blobs import QUARANTINE
from objstore.node.engine.packs import DIRECTORY as PACKS
from objstore.runtime.disk import Disk
from objstore.runtime.world import World

IDENTITY = "identity"
GENERATION = "generation"
FIRST_GENERATION = 1
MAGIC = b"objdev\x00\x00"
VERSION = 1
INCARNATION_BYTES = 8
_IDENTITY = struct.Struct("<8sH6x8s8s")
_LENGTH = _IDENTITY.size + 8


async def format_device(world: World, directory: str) -> bytes:
    """Make an empty device; its incarnation.  Raises FileExistsError when there is one already, OSError."""
    threads = world.new_threads("format", 1)
    try:
        return await threads.run(_format, world, directory)
    finally:
        threads.close()


def _format(world: World, directory: str) -> bytes:
    disk = world.open_disk(directory)
    for name in (PACKS, BLOBS, QUARANTINE):
        disk.make_directory(name)
    incarnation = world.rng.token(INCARNATION_BYTES)
    file = disk.create_unlinked(".")
    file.pwrite([_encode(incarnation, incarnation)], 0)
    file.datasync()
    disk.link(file, IDENTITY)
    disk.sync_directory(".")
    file.close()
    return incarnation


def _encode(incarnation: bytes, seal: bytes) -> bytes:
    head = _IDENTITY.pack(MAGIC, VERSION, incarnation, seal)
    digest: int = xxhash.xxh3_64_intdigest(head)
    return head + digest.to_bytes(8, "little")


def read_identity(world: World, directory: str) -> bytes | None:
    """The incarnation of a device, None when the directory was never formatted.  Blocks briefly.  Raises DamagedFile."""
    found = load_identity(world.open_disk(directory))
    return None if found is None else found[0]


def load_identity(disk: Disk) -> tuple[bytes, bytes] | None:
    """(incarnation, seal), None when there is no identity.  Blocks.  Raises DamagedFile."""
    if not disk.exists(IDENTITY):
        return None
    file = disk.open(IDENTITY)
    data = file.pread(_LENGTH + 1, 0)
    file.close()
    if len(data) != _LENGTH or xxhash.xxh3_64_intdigest(data[:-8]) != int.from_bytes(data[-8:], "little"):
        raise DamagedFile("the identity of the device is damaged")
    magic, version, incarnation, seal = _IDENTITY.unpack_from(data)
    if (magic, version) != (MAGIC, VERSION):
        raise DamagedFile("the identity of the device has an unknown format")
    return incarnation, seal


def replace_identity(disk: Disk, incarnation: bytes, seal: bytes) -> None:
    """Give the device a new incarnation, since it may have forgotten something; its packs stay its own.  Blocks."""
    _replace(disk, IDENTITY, _encode(incarnation, seal))


def index_generation(disk: Disk) -> int:
    """Which index directory is in use.  Blocks.  Raises DamagedFile."""
    if not disk.exists(GENERATION):
        return FIRST_GENERATION
    file = disk.open(GENERATION)
    text = file.pread(64, 0)
    file.close()
    name, _, number = text.decode("ascii", "replace").strip().partition("-")
    if name != "index" or not number.isdigit():
        raise DamagedFile("the name of the index in use is damaged")
    return int(number)


def set_index_generation(disk: Disk, generation: int) -> None:
    """Switch to another index directory, atomically and durably.  Blocks."""
    _replace(disk, GENERATION, f"index-{generation}\n".encode())


def index_directory(directory: str, generation: int) -> str:
    """Where the index is kept."""
    return f"{directory}/index-{generation}"


def remove_old_indexes(disk: Disk, generation: int) -> None:
    """Free the room of indexes that were replaced.  Blocks."""
    for number in range(FIRST_GENERATION, generation):
        directory = f"index-{number}"
        if disk.exists(directory):
            for name in disk.list(directory):
                disk.unlink(f"{directory}/{name}")


def _replace(disk: Disk, name: str, data: bytes) -> None:
    file = disk.open(f"{name}.new", create=True, write=True)
    file.truncate(0)
    file.pwrite([data], 0)
    file.datasync()
    file.close()
    disk.rename(f"{name}.new", name)
    disk.sync_directory(".")
