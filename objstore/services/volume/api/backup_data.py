"""Backups in the store: extents of a volume as objects of the service's own bucket, and a list that says which there are.

    CONTAINER/BACKUP/list                       the list: msgpack, then XXH3-64 of it
    CONTAINER/BACKUP/extent-NUMBER              the bytes of one extent (the last may be shorter)

An extent is `EXTENT_BYTES` of the volume; zeros have none.  Its print is a digest of the references to the chunks in it, which name bytes that
never change: a backup that goes on from another one takes over what has the same print, without reading it.  So it depends on that other
one, and keeps nothing of the volume's own chunks: volumes may go.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import xxhash

from objstore.errors import BucketAlreadyOwnedByYou, DamagedFile
from objstore.objects.api import Attributes, Expected, ListQuery, ObjectStoreApi, Principal
from objstore.services.volume.chunk_map import ChunkMap
from objstore.services.volume.device import Device
from objstore.services.volume.layout import FANOUT_BITS, HOLE, Tree
from objstore.services.volume.objects import VolumeObjects, WholeBody

ACCOUNT = ".volume-backups"  # no project has such an id
BUCKET = "volume-backups"
WHO = Principal(account=ACCOUNT, user="volume", tenant=ACCOUNT)
EXTENT_BYTES = 4 * 1024 * 1024
PRINT_BYTES = 16
LIST_LIMIT_BYTES = 512 * 1024 * 1024
_SUM_BYTES = 8
_ZEROS = bytes(EXTENT_BYTES)
_PLAIN = Attributes(content_type="application/octet-stream")


class Extent(msgspec.Struct, frozen=True, array_like=True):
    """A part of the volume that is not zeros."""

    number: int
    print: bytes  # of the chunks that it was made of
    digest: bytes  # SHA-256 of its bytes
    length: int
    prefix: str = ""  # where it lies, when it is another backup's


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A backup, complete in itself but for the extents that lie with others."""

    version: int
    size_bytes: int
    extents: tuple[Extent, ...]
    metadata: dict[str, str]  # of the volume
    image: dict[str, str]  # what it kept of its image
    bootable: bool
    name: str
    description: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Listed).decode


class Backups:
    """The service's bucket."""

    def __init__(self, store: ObjectStoreApi, objects: VolumeObjects) -> None:
        self._store = store
        self._objects = objects

    async def start(self) -> None:
        """Make the bucket where it is not there yet.  Raises Unavailable."""
        try:
            await self._store.create_bucket(WHO, BUCKET)
        except BucketAlreadyOwnedByYou:
            return

    async def write(
        self, prefix: str, device: Device, tree: Tree, listed: Listed, parent: "tuple[str, Listed] | None", go_on: Callable[[], Awaitable[None]]
    ) -> Listed:  # fmt: skip
        """Write what a device shows; `listed` says all but the extents.  `parent`: where the backup lies that this one goes on from.

        `go_on` is asked before each extent, and raises what ends it.
        """
        before = {extent.number: extent for extent in parent[1].extents} if parent is not None else {}
        found: list[Extent] = []
        async for number, print_ in self._prints(tree, device.chunk_bytes):
            await go_on()
            known = before.get(number)
            start = number * EXTENT_BYTES
            if start >= device.size_bytes:
                break  # the last chunk is longer than the volume
            length = min(EXTENT_BYTES, device.size_bytes - start)
            if known is not None and known.print == print_ and known.length == length and parent is not None:
                found.append(msgspec.structs.replace(known, prefix=known.prefix or parent[0]))
                continue
            data = b"".join(await device.read(start, length))
            if data == _ZEROS[:length]:
                continue
            await self._put(f"{prefix}/extent-{number:08x}", data)
            found.append(Extent(number, print_, hashlib.sha256(data).digest(), length))
        done = msgspec.structs.replace(listed, extents=tuple(found))
        body = _encode(done)
        await self._put(f"{prefix}/list", body + xxhash.xxh3_64_digest(body))
        return done

    async def _prints(self, tree: Tree, chunk_bytes: int) -> AsyncIterator[tuple[int, bytes]]:
        """(number, print) of the extents that hold something, in order."""
        chunks = max(1, EXTENT_BYTES // chunk_bytes)
        each = max(1, chunk_bytes // EXTENT_BYTES)  # extents of one chunk, where chunks are longer
        current, digest = -1, hashlib.blake2b(digest_size=PRINT_BYTES)
        async for index, ref in self._refs(tree):
            number = index // chunks if each == 1 else index * each
            if number != current:
                if current >= 0:
                    for more in range(each):
                        yield current + more, digest.digest()
                current, digest = number, hashlib.blake2b(digest_size=PRINT_BYTES)
            digest.update(index.to_bytes(8, "big") + ref)
        if current >= 0:
            for more in range(each):
                yield current + more, digest.digest()

    async def _refs(self, tree: Tree) -> AsyncIterator[tuple[int, bytes]]:
        """(number of a chunk, reference) of all chunks, in order."""
        if tree.root == HOLE:
            return
        waiting: list[tuple[int, int]] = [(tree.levels, 0)]
        below: dict[tuple[int, int], bytes] = {(tree.levels, 0): tree.root}
        while waiting:
            place = waiting.pop()
            level, number = place
            node = ChunkMap(Tree(tree.size_bytes, level, below.pop(place)))
            missing = node.missing(0)
            if missing is not None:
                node.load((level, 0), await self._objects.get_node(missing[0]))
            entries = list(node.entries((level, 0)))
            if level == 1:
                for slot, ref in entries:
                    yield (number << FANOUT_BITS) + slot, ref.pack()
            else:
                for slot, ref in reversed(entries):
                    waiting.append((level - 1, (number << FANOUT_BITS) + slot))
                    below[waiting[-1]] = ref.pack()

    async def read_list(self, prefix: str) -> Listed:
        """What a backup holds.  Raises NoSuchKey, DamagedFile."""
        data = await self._get(f"{prefix}/list")
        body, checksum = data[:-_SUM_BYTES], data[-_SUM_BYTES:]
        if xxhash.xxh3_64_digest(body) != checksum:
            raise DamagedFile(f"the checksum of the backup {prefix} does not match")
        return _decode(body)

    async def restore(self, prefix: str, listed: Listed, device: Device) -> None:
        """Write a backup to a device of zeros.  Raises NoSuchKey, DamagedFile."""
        for extent in listed.extents:
            data = await self._get(f"{extent.prefix or prefix}/extent-{extent.number:08x}")
            if len(data) != extent.length or hashlib.sha256(data).digest() != extent.digest:
                raise DamagedFile(f"extent {extent.number} of the backup {prefix} has other bytes than were written")
            await write_sparse(device, extent.number * EXTENT_BYTES, data)

    async def drop(self, prefix: str) -> None:
        """Remove all that a backup has itself."""
        while True:
            page = await self._store.list(WHO, BUCKET, ListQuery(prefix=f"{prefix}/"))
            for info in page.objects:
                await self._store.delete(WHO, BUCKET, info.key)
            if not page.truncated:
                return

    async def _put(self, key: str, data: bytes) -> None:
        await self._store.put(WHO, BUCKET, key, WholeBody(data), attributes=_PLAIN, expected=Expected())

    async def _get(self, key: str) -> bytes:
        reading = await self._store.get(WHO, BUCKET, key)
        if reading.info.size > LIST_LIMIT_BYTES:
            raise DamagedFile(f"{key} has {reading.info.size} bytes")
        return b"".join([bytes(piece) async for piece in reading.chunks])


async def write_sparse(device: Device, offset: int, data: bytes, *, step: int = 65_536) -> None:
    """Write what is not zeros."""
    view, zeros = memoryview(data), bytes(step)
    for start in range(0, len(view), step):
        piece = view[start : start + step]
        if piece != zeros[: len(piece)]:
            await device.write(offset + start, piece)
