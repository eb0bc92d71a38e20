"""Heads, nodes and chunks as objects: the only module here that speaks to the store.

All of it lies in one bucket of an account that no user has.  A head is swapped by a conditional PUT; whether a swap whose answer
was lost took effect is found out by reading the head again.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import msgspec

from objstore.errors import ConditionalConflict, DamagedFile, NoSuchBucket, NoSuchKey, OutcomeUnknown, PreconditionFailed
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, Expected, ListQuery, ObjectInfo, ObjectStoreApi, Principal
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng
from objstore.services.volume.layout import (
    READERS,
    Head,
    Reader,
    Ref,
    chunk_key,
    decode_head,
    decode_reader,
    encode_head,
    encode_reader,
    head_key,
    node_key,
    parse_head,
    reader_key,
    verify,
)

ACCOUNT = "objstore.volumes"
BUCKET = "volumes"
SERVICE = Principal(account=ACCOUNT, user="volume", tenant="objstore.services", home=ACCOUNT)
WRITE_BYTES = 8
SWAP_ATTEMPTS = 8  # after answers that leave the outcome open; each but the last is followed by a pause
PAUSE_S = 0.2
_PLAIN = Attributes(content_type="application/octet-stream")
_NOTHING = Expected()


class Swapped(NamedTuple):
    """A head as it is in the store, with the ETag that the next swap must name."""

    head: Head
    etag: str


class WholeBody:
    """A body that is all here."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.size: int | None = len(data)

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        yield self._data

    async def finish(self) -> Mapping[str, bytes]:
        """There is nothing more to say."""
        return {}


class VolumeObjects:
    """Every object of every volume."""

    def __init__(self, store: ObjectStoreApi, clock: Clock, rng: Rng) -> None:
        self._store = store
        self.clock = clock
        self.rng = rng

    async def start(self) -> None:
        """Make the bucket where there is none yet."""
        try:
            await self._store.bucket(SERVICE, BUCKET)
        except NoSuchBucket:
            with contextlib.suppress(PreconditionFailed, ConditionalConflict):
                await self._store.create_bucket(SERVICE, BUCKET)

    async def put_chunk(self, ref: Ref, data: bytes | memoryview) -> None:
        """Write a chunk; durable when it returns."""
        await self._put(chunk_key(ref), data)

    async def put_node(self, ref: Ref, data: bytes) -> None:
        """Write a map node; durable when it returns."""
        await self._put(node_key(ref), data)

    async def get_chunk(self, ref: Ref) -> bytearray:
        """A chunk's bytes, verified.  Raises NoSuchKey, DamagedFile, Unavailable."""
        return await self._get(chunk_key(ref), ref)

    async def get_node(self, ref: Ref) -> bytes:
        """A node's bytes, verified.  Raises NoSuchKey, DamagedFile, Unavailable."""
        return bytes(await self._get(node_key(ref), ref))

    async def head(self, volume: bytes) -> Swapped:
        """Read a head.  Raises NoSuchKey, DamagedFile."""
        reading = await self._store.get(SERVICE, BUCKET, head_key(volume))
        head = decode_head(b"".join([bytes(piece) async for piece in reading.chunks]))
        if head.volume != volume:
            raise DamagedFile(f"the head of volume {volume.hex()} is that of {head.volume.hex()}")
        return Swapped(head, reading.info.etag)

    async def create(self, head: Head) -> Swapped:
        """Write the head of a new volume.  Raises PreconditionFailed when that volume was there before."""
        return await self._swap(head, Conditions(if_none_match=("*",)))

    async def swap(self, head: Head, before: Swapped) -> Swapped:
        """Replace `before`.  Raises PreconditionFailed when it is not the head any more.

        Where answers were lost, the head may have been replaced by this one and then by another's: callers look at what is there.
        """
        return await self._swap(head, Conditions(if_match=(before.etag,)))

    async def _swap(self, head: Head, conditions: Conditions) -> Swapped:
        head = msgspec.structs.replace(head, write=self.rng.token(WRITE_BYTES))
        data = encode_head(head)
        for attempt in range(SWAP_ATTEMPTS):
            if attempt:
                await self.clock.sleep(PAUSE_S * attempt)
            try:
                return Swapped(head, (await self._put(head_key(head.volume), data, conditions)).etag)
            except (ConditionalConflict, OutcomeUnknown):
                continue  # the same again: if this one took effect, the condition fails and the head tells
            except (PreconditionFailed, NoSuchKey) as failure:
                found = await self._reread(head.volume)
                if found is not None and found.head.write == head.write:
                    return found
                raise PreconditionFailed(f"the head of volume {head.volume.hex()} is another by now", condition="if-match") from failure
        raise OutcomeUnknown(f"whether the head of volume {head.volume.hex()} was written is not known: too few devices answer")

    async def _reread(self, volume: bytes) -> Swapped | None:
        try:
            return await self.head(volume)
        except NoSuchKey:
            return None

    async def remove(self, before: Swapped) -> None:
        """Delete a head.  Raises PreconditionFailed when it is not the head any more."""
        conditions = Conditions(if_match=(before.etag,))
        await self._store.delete(SERVICE, BUCKET, head_key(before.head.volume), conditions=conditions)

    async def volumes(self) -> AsyncIterator[bytes]:
        """The ids of all volumes."""
        async for info in self.listed("head/"):
            if (volume := parse_head(info.key)) is not None:
                yield volume

    async def put_reader(self, reader: Reader) -> None:
        """Write a reader, or write it anew."""
        await self._put(reader_key(reader.id), encode_reader(reader))

    async def drop_reader(self, reader: bytes) -> None:
        """Its reader has ended."""
        await self.drop(reader_key(reader))

    async def readers(self, since_us: int) -> list[Reader]:
        """All readers that were written since then; the others are removed.  Raises DamagedFile."""
        found = []
        async for info in self.listed(READERS):
            with contextlib.suppress(NoSuchKey, PreconditionFailed):  # it ended, or was written anew, at this moment
                if info.modified_us < since_us:
                    await self._store.delete(SERVICE, BUCKET, info.key, conditions=Conditions(if_match=(info.etag,)))
                    continue
                reading = await self._store.get(SERVICE, BUCKET, info.key)
                found.append(decode_reader(b"".join([bytes(piece) async for piece in reading.chunks])))
        return found

    async def listed(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Everything whose name begins so."""
        after = ""
        while True:
            page = await self._store.list(SERVICE, BUCKET, ListQuery(prefix=prefix, after=after))
            for info in page.objects:
                yield info
            if not page.truncated:
                return
            after = page.next_after

    async def drop(self, key: str) -> None:
        """Delete a chunk or a node."""
        await self._store.delete(SERVICE, BUCKET, key)

    async def read_object(self, who: Principal, bucket: str, key: str) -> tuple[int, AsyncIterator[bytes | memoryview]]:
        """(size, bytes) of any object that `who` may read: an image."""
        reading = await self._store.get(who, bucket, key)
        return reading.info.size, reading.chunks

    async def _put(self, key: str, data: bytes | memoryview, conditions: Conditions = NO_CONDITIONS) -> ObjectInfo:
        body = WholeBody(data)
        return await self._store.put(SERVICE, BUCKET, key, body, attributes=_PLAIN, expected=_NOTHING, conditions=conditions)

    async def _get(self, key: str, ref: Ref) -> bytearray:
        reading = await self._store.get(SERVICE, BUCKET, key)
        if reading.info.size != ref.length:
            await close(reading.chunks)
            raise DamagedFile(f"{key} has {reading.info.size} bytes instead of {ref.length}")
        data = bytearray(ref.length)
        at = 0
        async for piece in reading.chunks:
            data[at : at + len(piece)] = piece
            at += len(piece)
        assert len(data) == ref.length
        verify(ref, data)
        return data


async def close(chunks: object) -> None:
    """Let go of a body that was not read to its end."""
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()
