"""Sealing bodies on their way in, opening them on their way out (ADR 7; decisions in `core/encryption.py`).

A request's wish becomes a `Seal`: a key for one body, and the description that its row keeps.  Ciphers run on the event loop, a batch
of blocks at a time: that takes less of a core than the way to a thread and back.  A block that does not open is read again
from the other replicas; plain bytes of it are never handed out.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.cluster.api import Staging
from objstore.core import encryption as core
from objstore.core.encryption import AES256, AWS_KMS, CUSTOMER, NO_WISH, BucketEncryption, Description, Wish
from objstore.core.rows import Row
from objstore.errors import DamagedBody, KeyNotFound, NotImplementedHere
from objstore.objects.api import BucketInfo
from objstore.runtime.rng import Rng

BATCH_BLOCKS = 4  # sealed or opened at a time: 256 KiB, some 40 microseconds of a core
_NO_NONCE = bytes(12)  # for keys that seal one thing only

Chunk = bytes | memoryview


class KeyService(Protocol):
    """Where data keys are wrapped under master keys, by name.

    Methods raise KeyNotFound for a name that there is not, KeyServiceUnavailable, and AccessDenied where the service refuses.
    """

    store_key: str  # the master key of SSE-S3
    default_key: str  # the master key of SSE-KMS where no name is given

    async def new_key(self, key_id: str, context: str, *, scope: bytes = b"") -> tuple[bytes, bytes]:
        """A new data key, plain and wrapped; within a `scope` that is not empty one may be given out for some minutes."""

    async def open_key(self, key_id: str, context: str, wrapped: bytes) -> bytes:
        """The data key again.  Raises DamagedBody when it is not one of that name and context."""


class NoKeyService:
    """Where none is configured: customer keys work, all else is refused."""

    store_key = ""
    default_key = ""

    async def new_key(self, key_id: str, context: str, *, scope: bytes = b"") -> tuple[bytes, bytes]:
        """Refuse."""
        raise NotImplementedHere("Server side encryption needs a key service, and none is configured.")

    async def open_key(self, key_id: str, context: str, wrapped: bytes) -> bytes:
        """Refuse."""
        raise NotImplementedHere("The object is encrypted under a key service, and none is configured.")


@dataclass(frozen=True, slots=True)
class Seal:
    """How one body is to be sealed."""

    description: bytes  # encoded, for its row
    key: bytes = field(repr=False)
    opaque: bool  # its ETag is not its MD5


# -- from wishes to keys --------------------------------------------------------------------------------------------------


async def new_description(
    keys: KeyService, rng: Rng, bucket: BucketInfo, wish: Wish, default: BucketEncryption | None
) -> tuple[Description, bytes] | None:
    """A description without a seed, and its data key; None when nothing is to be encrypted.  Raises refusals of the wish."""
    wish = core.settled(wish, default)
    if wish.customer_key:
        salt, data_key = rng.token(core.SEED_BYTES), rng.token(core.KEY_BYTES)
        sealing, verifier = core.customer_keys(wish.customer_key, salt)
        wrapped = AESGCM(sealing).encrypt(_NO_NONCE, data_key, None)
        return Description(core.RECORD_VERSION, CUSTOMER, wrapped=wrapped, salt=salt, verifier=verifier), data_key
    if wish.algorithm == AES256:
        data_key, wrapped = await keys.new_key(keys.store_key, "")
        return Description(core.RECORD_VERSION, AES256, wrapped=wrapped, key_id=keys.store_key), data_key
    if wish.algorithm == AWS_KMS:
        key_id, reused = wish.key_id or keys.default_key, bool(wish.bucket_key)
        if not key_id or key_id == keys.store_key:
            raise KeyNotFound(f"there is no key {key_id!r} for clients to use", key_id=key_id)
        data_key, wrapped = await keys.new_key(key_id, wish.context, scope=bucket.id if reused else b"")
        description = Description(core.RECORD_VERSION, AWS_KMS, wrapped=wrapped, key_id=key_id, context=wish.context, bucket_key=reused)
        return description, data_key
    return None


async def unlock(keys: KeyService, description: Description, customer_key: bytes) -> bytes:
    """The data key of an object or upload.  Raises InvalidRequest, AccessDenied for a wrong customer's key; DamagedBody."""
    core.check_customer_key(description, customer_key)
    if description.algorithm != CUSTOMER:
        return await keys.open_key(description.key_id, description.context, description.wrapped)
    try:
        return AESGCM(core.customer_keys(customer_key, description.salt)[0]).decrypt(_NO_NONCE, description.wrapped, None)
    except InvalidTag:
        raise DamagedBody("the object's wrapped key does not open although the customer's key is the right one") from None


def seal_of(description: Description, data_key: bytes, rng: Rng) -> Seal:
    """The seal of a body that has a row of its own."""
    seed = rng.token(core.SEED_BYTES)
    own = msgspec.structs.replace(description, seed=seed)
    return Seal(core.encode_description(own), core.content_key(data_key, seed), core.is_opaque(description))


def part_seal(upload: Description, data_key: bytes, rng: Rng) -> Seal:
    """The seal of one part: its own key, made of the upload's."""
    seed = rng.token(core.SEED_BYTES)
    return Seal(
        core.encode_description(Description(core.RECORD_VERSION, "", seed)), core.content_key(data_key, seed), core.is_opaque(upload)
    )


def description_of(row: Row) -> Description | None:
    """How a row is encrypted; None: it is not."""
    return core.decode_description(row.encryption) if row.encryption else None


# -- sealing --------------------------------------------------------------------------------------------------------------


class _Pieces:
    """Bytes that came in pieces of any size, taken out in blocks; copied only where a block lies across a border."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self.size = 0

    def add(self, piece: Chunk) -> None:
        """Put a piece behind the others."""
        self._pieces.append(memoryview(piece))
        self.size += len(piece)

    def take(self, size: int) -> Chunk:
        """The next `size` bytes, of which there are as many."""
        assert size <= self.size
        self.size -= size
        first = self._pieces[0]
        if len(first) > size:
            self._pieces[0] = first[size:]
            return first[:size]
        if len(first) == size:
            return self._pieces.popleft()
        out = bytearray()
        while len(out) < size:
            first = self._pieces.popleft()
            missing = size - len(out)
            out += first[:missing]
            if len(first) > missing:
                self._pieces.appendleft(first[missing:])
        return memoryview(out)


def _seal_pieces(cipher: AESGCM, first: int, pieces: _Pieces, size: int, *, last: bool) -> memoryview:
    """Seal the next `size` bytes, which begin with block `first`; all blocks are full, but for the last one of the body."""
    blocks = core.block_count(size)
    sealed = memoryview(bytearray(core.sealed_size(size)))
    for index in range(blocks):
        plain = pieces.take(min(core.BLOCK_BYTES, size - index * core.BLOCK_BYTES))
        begin = index * core.SEALED_BLOCK_BYTES
        nonce = core.nonce_of(first + index, last=last and index == blocks - 1)
        cipher.encrypt_into(nonce, plain, None, sealed[begin : begin + len(plain) + core.TAG_BYTES])
    return sealed


def _open_pieces(cipher: AESGCM, first: int, pieces: _Pieces, size: int, total: int) -> memoryview:
    """Open the next `size` sealed bytes, blocks `first` on of a body of `total`.  Raises InvalidTag when any is not what was sealed."""
    blocks, rest = divmod(size, core.SEALED_BLOCK_BYTES)
    if 0 < rest < core.TAG_BYTES:
        raise InvalidTag
    blocks += rest > 0
    plain = memoryview(bytearray(size - core.TAG_BYTES * blocks))
    for index in range(blocks):
        sealed = pieces.take(min(core.SEALED_BLOCK_BYTES, size - index * core.SEALED_BLOCK_BYTES))
        begin = index * core.BLOCK_BYTES
        nonce = core.nonce_of(first + index, last=first + index == total - 1)
        cipher.decrypt_into(nonce, sealed, None, plain[begin : begin + len(sealed) - core.TAG_BYTES])
    return plain


def seal_whole(key: bytes, payload: Chunk) -> memoryview:
    """A body that is all here, sealed."""
    pieces = _Pieces()
    pieces.add(payload)
    return _seal_pieces(AESGCM(key), 0, pieces, len(payload), last=True)


def open_whole(key: bytes, payload: Chunk, size: int, offset: int, length: int) -> Chunk | None:
    """Plain bytes [offset, offset + length) of a sealed body of `size` that is all here; None when it does not open."""
    window = core.window_of(size, offset, length)
    pieces = _Pieces()
    pieces.add(memoryview(payload)[window.offset : window.offset + window.length])
    if pieces.size != window.length:
        return None
    try:
        plain = _open_pieces(AESGCM(key), window.first, pieces, window.length, core.block_count(size))
    except InvalidTag:
        return None
    return plain[window.skip : window.skip + length]


class Sealer:
    """Puts a body into a staged blob, sealed.  A block is sealed when another byte follows it: only then it is not the last."""

    def __init__(self, key: bytes, staging: Staging) -> None:
        self.stored = 0
        self._cipher = AESGCM(key)
        self._staging = staging
        self._pieces = _Pieces()
        self._block = 0

    async def write(self, piece: Chunk) -> None:
        """Take a piece; waits while the replicas are behind."""
        self._pieces.add(piece)
        while self._pieces.size > BATCH_BLOCKS * core.BLOCK_BYTES:
            await self._put(BATCH_BLOCKS * core.BLOCK_BYTES, last=False)

    async def finish(self) -> None:
        """Seal what is left; the staged blob is still to be finished."""
        await self._put(self._pieces.size, last=True)

    async def _put(self, size: int, *, last: bool) -> None:
        sealed = _seal_pieces(self._cipher, self._block, self._pieces, size, last=last)
        self._block += core.block_count(size)
        self.stored += len(sealed)
        await self._staging.write(sealed)


# -- opening --------------------------------------------------------------------------------------------------------------

ReadSealed = Callable[[int, int, int], AsyncIterator[Chunk]]
"""(offset, length, attempt) -> sealed bytes; each further attempt prefers another replica."""


class Opener:
    """Plain bytes [offset, offset + length) of a sealed body of `size`; an asynchronous iterator that can be closed."""

    def __init__(self, key: bytes, size: int, offset: int, length: int, *, read: ReadSealed, attempts: int) -> None:
        window = core.window_of(size, offset, length)
        self._cipher = AESGCM(key)
        self._total = core.block_count(size)
        self._read = read
        self._attempts = attempts
        self._attempt = 0
        self._failures = 0  # to open the batch that is next
        self._block = window.first
        self._offset = window.offset  # of the sealed bytes that come next
        self._end = window.offset + window.length
        self._skip = window.skip
        self._left = length
        self._source: AsyncIterator[Chunk] | None = None
        self._pieces = _Pieces()

    def __aiter__(self) -> "Opener":
        return self

    async def __anext__(self) -> Chunk:
        if not self._left:
            await self.aclose()
            raise StopAsyncIteration
        plain = await self._next_batch()
        piece = plain[self._skip : self._skip + self._left]
        self._skip = 0
        self._left -= len(piece)
        return piece

    async def aclose(self) -> None:
        """Stop early."""
        source, self._source = self._source, None
        self._pieces = _Pieces()
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()

    async def _next_batch(self) -> memoryview:
        while True:
            size = await self._gather()
            try:
                plain = _open_pieces(self._cipher, self._block, self._pieces, size, self._total)
            except InvalidTag:
                await self.aclose()
                self._attempt += 1
                self._failures += 1
                if self._failures >= self._attempts:
                    raise DamagedBody(f"block {self._block} of the body was not sealed under its key", block=self._block) from None
                continue
            self._failures = 0
            self._block += core.block_count(len(plain))
            self._offset += size
            return plain

    async def _gather(self) -> int:
        """Wait for a batch of sealed blocks, or for all that is left of them; how many bytes that is."""
        wanted = min(BATCH_BLOCKS * core.SEALED_BLOCK_BYTES, self._end - self._offset)
        if self._source is None:
            self._source = self._read(self._offset, self._end - self._offset, self._attempt)
        while self._pieces.size < wanted:
            try:
                self._pieces.add(await anext(self._source))
            except StopAsyncIteration:
                raise DamagedBody("a sealed body ended early") from None
        return wanted


def wants_nothing(wish: Wish, bucket: BucketInfo) -> bool:
    """Whether nothing is asked for and the bucket has no default: by far most requests."""
    return wish is NO_WISH and "encryption" not in bucket.config
