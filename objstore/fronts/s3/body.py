"""A request's body on its way into the store: unframed, bound to its signature, never held whole.

Implements `objects.api.Body` over ASGI's `receive`.  Slices come from the socket as they are and go on as they are;
signed bodies are hashed on the way, large pieces in a thread.
"""

import hmac
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256

from objstore.core.aws_chunked import TRAILER_SIGNATURE, ChunkDecoder, ChunkEnd
from objstore.core.sigv4 import CHUNKED_MODES, ChunkChain, PayloadMode
from objstore.errors import EntityTooLarge, IncompleteBody, InvalidArgument
from objstore.fronts.s3 import checksums
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.objects.api import Expected
from objstore.runtime.tasks import Threads

_MAX_LENGTH_DIGITS = 15


def _parse_length(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_LENGTH_DIGITS:
        raise InvalidArgument(f"The header {name} is not a number of bytes.")
    return int(text)


class RequestBody:
    """One body.  Raises MissingContentLength, EntityTooLarge and InvalidArgument when it is made, before anything is read."""

    __slots__ = (
        "_chain", "_decoded", "_decoder", "_mode", "_more", "_receive", "_request", "_sha256", "_signed_digest", "_thread_from", "_threads",
        "_trailer", "size",
    )  # fmt: skip

    def __init__(self, request: S3Request, *, threads: Threads | None, thread_from_bytes: int, limit_bytes: int) -> None:
        headers = request.headers
        self._request = request
        self._receive = request.receive
        self._threads = threads
        self._thread_from = thread_from_bytes if threads is not None else 1 << 62
        self._mode = request.payload_mode
        self._signed_digest = request.payload
        self._sha256 = sha256() if self._mode is PayloadMode.SIGNED else None
        self._chain: ChunkChain | None = None
        self._decoder: ChunkDecoder | None = None
        self._decoded: deque[bytes | memoryview | ChunkEnd] = deque()
        self._trailer = ""
        self._more = True
        self.size: int | None = None
        length = headers.get("content-length")
        if self._mode in CHUNKED_MODES:
            self._open_chunks(request)
        elif length is not None:
            self.size = _parse_length(length, "content-length")
        elif "transfer-encoding" not in headers:
            raise S3Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        if self.size is not None and self.size > limit_bytes:
            raise EntityTooLarge(f"{self.size} bytes are more than one request may have", size=self.size, limit=limit_bytes)

    def _open_chunks(self, request: S3Request) -> None:
        decoded = request.headers.get("x-amz-decoded-content-length")
        if decoded is None:
            raise S3Refused(411, "MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
        self.size = _parse_length(decoded, "x-amz-decoded-content-length")
        signed = self._mode is not PayloadMode.CHUNKS_UNSIGNED_TRAILER
        trailer = self._mode is not PayloadMode.CHUNKS_SIGNED
        self._decoder = ChunkDecoder(self.size, signed=signed, trailer=trailer)
        if signed:
            self._chain = request.signer.chain()
        if trailer:
            self._trailer = checksums.trailer_algorithm(request.headers)

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        # No generator: the event loop registers every one of them, which costs as much as reading a small body.
        if self._decoder is not None:
            return await self._next_unframed(self._decoder)
        while self._more:
            piece = await self._next()
            if piece:
                if self._sha256 is not None:
                    if len(piece) < self._thread_from:
                        self._sha256.update(piece)
                    else:
                        await self._hash(self._sha256.update, piece)
                return piece
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        """The next slice as received; empty slices may come, `_more` tells whether others follow."""
        message = await self._receive()
        if message["type"] != "http.request":
            raise IncompleteBody("You did not provide the number of bytes specified by the Content-Length HTTP header")
        self._more = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self._request.bytes_in += len(body)
        return body

    async def _next_unframed(self, decoder: ChunkDecoder) -> bytes | memoryview:
        chain = self._chain
        while True:
            while self._decoded:
                piece = self._decoded.popleft()
                if not isinstance(piece, ChunkEnd):
                    if chain is not None:
                        await self._hash(chain.update, piece)
                    return piece
                if chain is not None:
                    chain.end_chunk(piece.signature)
            if not self._more:
                raise StopAsyncIteration
            self._decoded.extend(decoder.feed(await self._next()))

    async def _hash(self, update: Callable[[bytes | memoryview], None], piece: bytes | memoryview) -> None:
        if len(piece) >= self._thread_from:
            assert self._threads is not None
            await self._threads.run(update, piece)
        else:
            update(piece)

    async def finish(self) -> Mapping[str, bytes]:
        """Verify what was signed; returns the trailer's checksum."""
        if self._sha256 is not None and not hmac.compare_digest(self._sha256.hexdigest(), self._signed_digest):
            raise S3Refused(
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                elements={"ClientComputedContentSHA256": self._signed_digest, "S3ComputedContentSHA256": self._sha256.hexdigest()},
            )
        decoder = self._decoder
        if decoder is None:
            return {}
        decoder.finish()
        trailers = decoder.trailers
        signature = trailers.pop(TRAILER_SIGNATURE, "")
        if self._chain is not None and self._mode is PayloadMode.CHUNKS_SIGNED_TRAILER:
            self._chain.end_trailer(decoder.trailer_lines, signature)
        announced = f"x-amz-checksum-{self._trailer}" if self._trailer else ""
        if set(trailers) != ({announced} if announced else set()):
            raise S3Refused(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not match.")
        return {self._trailer: checksums.parse_value(self._trailer, trailers[announced])} if announced else {}


async def read_document(body: RequestBody, expected: Expected, limit_bytes: int) -> bytes:
    """A small body whole, verified against its signature and everything promised of it."""
    pieces: list[bytes | memoryview] = []
    size = 0
    async for piece in body:
        size += len(piece)
        if size > limit_bytes:
            raise S3Refused(400, "MaxMessageLengthExceeded", "Your request was too big.")
        pieces.append(piece)
    data = b"".join(pieces)
    checksums.check_document(data, expected, await body.finish())
    return data
