"""Taking in a body: small ones whole, large ones streamed to a staged blob, each byte hashed once per algorithm.

Hashing runs in threads from 64 KiB on, in batches, one batch ahead of the sending; so a large upload costs the event
loop no hashing, and waits for neither more than needed.  Nothing is durable under a name here: what comes back is ready to
be committed, or was dropped.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from objstore.cluster.api import Staging
from objstore.core import checksums
from objstore.core.encryption import plain_limit, sealed_size
from objstore.core.rows import BodyKind, RowKey
from objstore.errors import EntityTooLarge, IncompleteBody, InvalidRequest
from objstore.objects.api import Body, Expected
from objstore.objects.bodies import stage_body
from objstore.objects.context import StoreContext
from objstore.objects.encryption import Seal, Sealer, seal_whole
from objstore.runtime.tasks import TaskOwner, Threads

THREAD_FROM_BYTES = 64 * 1024  # below, a thread costs more than the hashing
BATCH_BYTES = 256 * 1024  # hashed at a time; pieces from a socket are often smaller than a thread is worth

Piece = bytes | memoryview
_DEFAULT = (checksums.DEFAULT,)


@dataclass(slots=True)
class Received:
    """A body that came whole and matched all that was promised; either `payload` or `staging`, or neither when empty."""

    size: int
    etag: str
    checksums: dict[str, bytes]
    body: BodyKind
    payload: bytes | None = None
    staging: Staging | None = None
    digest: bytes = b""  # XXH3-128 of the payload
    encryption: bytes = b""  # for the row: how it is sealed
    stored: int = -1  # bytes of the payload or blob where it is sealed
    key: RowKey | None = None  # of the row that a blob was staged for

    @property
    def blob(self) -> bytes:
        """The blob's id, empty for a payload."""
        return self.staging.blob if self.staging is not None else b""


async def receive(
    context: StoreContext, key: RowKey, spread: int, body: Body, expected: Expected, *, also: tuple[str, ...] = (), seal: Seal | None = None,
) -> Received:  # fmt: skip
    """Take in a body for the row of `key`, sealed where there is a `seal`; sizes and checksums are of what came.

    Checksums are those promised, those in `expected.wanted` and in `also`; the default one when there are none.  Raises
    IncompleteBody, BadDigest, EntityTooLarge, InvalidRequest and what the body raises; then nothing is left behind.
    """
    announced = body.size
    if announced is not None and announced > context.settings.max_put_bytes:
        raise _too_large(announced, context)
    algorithms = _algorithms(expected, also)
    limit = context.settings.inline_limit_bytes if seal is None else plain_limit(context.settings.inline_limit_bytes)
    pieces: list[Piece] = []
    size = 0
    iterator = aiter(body)
    if announced is None or announced <= limit:
        async for piece in iterator:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                break
        else:
            received = await _take_inline(context, body, pieces, expected, algorithms)
            return received if seal is None else _sealed(context, received, seal)
        if announced is not None:
            raise IncompleteBody(f"more than the announced {announced} bytes came")
    return await _take_streamed(context, key, spread, body, pieces, iterator, expected, algorithms or _DEFAULT, seal)


async def _take_inline(context: StoreContext, body: Body, pieces: list[Piece], expected: Expected, algorithms: tuple[str, ...]) -> Received:
    payload = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
    if body.size is not None and len(payload) != body.size:
        raise IncompleteBody(f"{len(payload)} of {body.size} bytes came")
    trailers = await body.finish()
    wanted = (tuple(dict.fromkeys((*algorithms, *trailers))) if trailers else algorithms) or _DEFAULT
    if len(payload) < THREAD_FROM_BYTES:
        md5, found = _digest_whole(payload, wanted)
    else:
        md5, found = await context.threads.run(_digest_whole, payload, wanted)
    _verify(md5, found, expected, trailers)
    kind = BodyKind.INLINE if payload else BodyKind.NONE
    return Received(
        size=len(payload), etag=md5.hex(), checksums=found, body=kind, payload=payload or None,
        digest=xxhash.xxh3_128_digest(payload) if payload else b"",
    )  # fmt: skip


def _sealed(context: StoreContext, received: Received, seal: Seal) -> Received:
    """The same with its payload sealed; no bytes need no sealing."""
    received.encryption = seal.description
    if seal.opaque:
        received.etag = context.rng.token(16).hex()
    if received.payload is not None:
        received.payload = bytes(seal_whole(seal.key, received.payload))
        received.stored = len(received.payload)
        received.digest = xxhash.xxh3_128_digest(received.payload)
    return received


async def _take_streamed(
    context: StoreContext, key: RowKey, spread: int, body: Body, first: list[Piece], rest: AsyncIterator[Piece],
    expected: Expected, algorithms: tuple[str, ...], seal: Seal | None,
) -> Received:  # fmt: skip
    announced = body.size if seal is None or body.size is None else sealed_size(body.size)
    key, staging = await stage_body(context, key, spread, announced)
    sealer = None if seal is None else Sealer(seal.key, staging)
    write = staging.write if sealer is None else sealer.write
    digests = Digests(context.threads, context.tasks, algorithms)
    size = 0
    try:
        for piece in first:
            size += len(piece)
            await digests.feed(piece)
            await write(piece)
        async for piece in rest:
            size += len(piece)
            if size > context.settings.max_put_bytes:
                raise _too_large(size, context)  # noqa: TRY301 the clean-up below is the point
            await digests.feed(piece)
            await write(piece)
        if body.size is not None and size != body.size:
            raise IncompleteBody(f"{size} of {body.size} bytes came")  # noqa: TRY301 the clean-up below is the point
        trailers = await body.finish()
        md5, found = await digests.finish()
        _verify(md5, found, expected, trailers)
        if sealer is not None:
            await sealer.finish()
        await staging.finish()
    except BaseException:
        await staging.abort()
        await digests.drop()
        raise
    received = Received(size=size, etag=md5.hex(), checksums=found, body=BodyKind.BLOB, staging=staging, key=key)
    if seal is not None and sealer is not None:
        received.stored = sealer.stored
        received.encryption = seal.description
        if seal.opaque:
            received.etag = context.rng.token(16).hex()
    return received


class Digests:
    """Hashes a stream in threads, at most one batch behind."""

    def __init__(self, threads: Threads, tasks: TaskOwner, algorithms: tuple[str, ...]) -> None:
        self._threads = threads
        self._tasks = tasks
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashers = {name: checksums.new_hasher(name) for name in algorithms}
        self._waiting: list[Piece] = []
        self._waiting_bytes = 0
        self._running: asyncio.Task[None] | None = None

    async def feed(self, piece: Piece) -> None:
        """Take a piece; waits while the batch before is still being hashed."""
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes >= BATCH_BYTES:
            await self._settle()
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._running = self._tasks.spawn(self._threads.run(self._update, batch), name="digest")

    async def finish(self) -> tuple[bytes, dict[str, bytes]]:
        """The MD5 and the checksums of everything fed."""
        await self._settle()
        if self._waiting_bytes >= THREAD_FROM_BYTES:
            await self._threads.run(self._update, self._waiting)
        else:
            self._update(self._waiting)
        return self._md5.digest(), {name: hasher.digest() for name, hasher in self._hashers.items()}

    async def drop(self) -> None:
        """Wait until no thread is at it."""
        self._waiting = []
        await self._settle()

    async def _settle(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await running

    def _update(self, batch: Sequence[Piece]) -> None:
        for piece in batch:
            self._md5.update(piece)
            for hasher in self._hashers.values():
                hasher.update(piece)


def _algorithms(expected: Expected, also: tuple[str, ...]) -> tuple[str, ...]:
    if not expected.checksums and not expected.wanted:
        return also
    algorithms = tuple(dict.fromkeys((*expected.checksums, *expected.wanted, *also)))
    for algorithm in algorithms:
        if algorithm not in checksums.DIGEST_BYTES:
            raise InvalidRequest(f"{algorithm!r} is not a checksum algorithm")
    return algorithms


def _digest_whole(payload: bytes, algorithms: tuple[str, ...]) -> tuple[bytes, dict[str, bytes]]:
    md5 = hashlib.md5(payload, usedforsecurity=False).digest()
    return md5, {name: checksums.digest_of(name, payload) for name in algorithms}


def _verify(md5: bytes, found: Mapping[str, bytes], expected: Expected, trailers: Mapping[str, bytes]) -> None:
    if expected.md5 is not None and expected.md5 != md5:
        raise checksums.wrong_md5(expected.md5, md5)
    for promised in (expected.checksums, trailers):
        for algorithm, digest in promised.items():
            if algorithm not in found:
                raise InvalidRequest(f"the trailer's checksum {algorithm} was not announced before the body")
            if found[algorithm] != digest:
                raise checksums.wrong_checksum(algorithm, digest, found[algorithm])


def _too_large(size: int, context: StoreContext) -> EntityTooLarge:
    limit = context.settings.max_put_bytes
    return EntityTooLarge(f"{size} bytes are more than the {limit} that one request may have", size=size, limit=limit)
