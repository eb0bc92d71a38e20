"""The calling end of a connection: calls by request id, uploads, downloads, deadlines, and `dial`.

`call_soon` is the hot path: no task, no future, no timer of its own.  Deadlines are looked at by one coarse tick for all
calls of the channel, so an expired call fails at most `TICK_S` late.  A call whose connection is lost fails with
NodeUnreachable; whether it took effect is then unknown, and that is for the caller to judge.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from objstore.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NodeUnreachable,
    ObjstoreError,
    ProtocolMismatch,
    TooBusy,
    Unavailable,
)
from objstore.runtime.world import World
from objstore.wire.codec import CREDIT, DATA, FLAG_END, BadFrame, Buffer, decode_message, error_of, pack_message, unpack_credit
from objstore.wire.connection import Connection
from objstore.wire.handshake import HANDSHAKE_TIMEOUT_S, NONCE_BYTES, DialerHandshake, check_key
from objstore.wire.messages import BodyBegin, Failure, Message, ReadBody, StageBody
from objstore.wire.server import Call, Handler, HandlerFactory, Listener, serve
from objstore.wire.streams import BodyReceiver, BodySender

__all__ = ["Call", "Channel", "Download", "Handler", "HandlerFactory", "Listener", "Upload", "dial", "serve"]

CallDone = Callable[[Message | None, bytes | memoryview, ObjstoreError | None], None]
"""Told (answer, payload, None) or (None, b"", error), once, never from within the call that started it."""

TICK_S = 0.02
# With calls open and nothing heard for so long a PING is sent; after DEAD_AFTER_S the connection is given up.
PING_AFTER_S = 5.0
DEAD_AFTER_S = 15.0
MAX_CALLS = 8192
MAX_STREAMS = 256
CROWDED_STREAMS = 64  # from here on bodies that nobody takes in are to make room: several proxies share what a node sends at a time

_REQUEST_IDS = 1 << 32


class Upload:
    """A body on its way to a node.  The deadline counts for each wait, not for the whole."""

    def __init__(self, channel: "Channel", request: int, *, timeout_s: float) -> None:
        self._channel = channel
        self._request = request
        self._timeout_s = timeout_s
        self._sender = BodySender(channel, request, wait_s=timeout_s)
        self._answer: asyncio.Future[tuple[Message, bytes | memoryview]] = asyncio.get_running_loop().create_future()

    async def write(self, piece: bytes | memoryview) -> None:
        """Send a piece of any size, which must not change afterwards; waits for the node's credit.

        Raises what the node answered instead of taking it, NodeUnreachable, DeadlineExceeded.
        """
        await self._sender.write(piece)

    async def finish(self) -> tuple[Message, bytes | memoryview]:
        """End the body and wait for the answer.  Raises as `write` does."""
        if not self._answer.done():
            self._sender.end()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._answer
        except TimeoutError as failure:
            raise DeadlineExceeded(f"no answer to an upload for {self._timeout_s} s") from failure
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up (nothing happens when the answer is here already)."""
        self._channel.cancel_stream(self._request)
        self._answer.cancel()

    def on_frame(self, code: int, _flags: int, head: memoryview, _payload: memoryview) -> None:
        """A DATA or CREDIT frame (called by the channel)."""
        if code != CREDIT:
            raise BadFrame("a body came back on an upload")
        self._sender.grant(unpack_credit(head))

    def on_answer(self, answer: Message, payload: memoryview) -> None:
        """The node's answer (called by the channel)."""
        self._channel.forget_stream(self._request)
        self._sender.fail(InvalidRequest("the node answered before the body had ended"))
        if not self._answer.done():
            self._answer.set_result((answer, payload))

    def fail(self, failure: ObjstoreError) -> None:
        """The node's refusal, or the end of the connection (called by the channel)."""
        self._sender.fail(failure)
        if not self._answer.done():
            self._answer.set_exception(failure)
            self._answer.exception()  # write() may have told it already


class Download:
    """A body that comes from a node: an async iterator of pieces.  The deadline counts for each wait."""

    begin: BodyBegin

    def __init__(self, channel: "Channel", request: int, *, timeout_s: float) -> None:
        self._channel = channel
        self._request = request
        self._receiver = BodyReceiver(channel, request, wait_s=timeout_s)
        self._begun: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Wait for BodyBegin (called by `open_download`)."""
        answer = await self._begun
        if not isinstance(answer, BodyBegin):
            raise Unavailable(f"a {type(answer).__name__} came in place of BodyBegin")
        self.begin = answer

    def __aiter__(self) -> "Download":
        return self

    async def __anext__(self) -> bytes | memoryview:
        return await self._receiver.__anext__()

    @property
    def in_the_way(self) -> bool:
        """Whether it is under way still, and so many are that others may soon find no room."""
        return self._channel.is_crowded_with(self._request)

    def close(self) -> None:
        """Stop, and forget what came and was not taken; the node is told when it was still sending."""
        self._channel.cancel_stream(self._request)
        self._receiver.forget()

    async def aclose(self) -> None:
        """The same."""
        self.close()

    def on_frame(self, code: int, flags: int, _head: memoryview, payload: memoryview) -> None:
        """A DATA frame (called by the channel)."""
        if code != DATA or not self._begun.done():
            raise BadFrame("a download received something that is no body")
        end = bool(flags & FLAG_END)
        self._receiver.deliver(payload, end=end)
        if end:
            self._channel.forget_stream(self._request)

    def on_answer(self, answer: Message, _payload: memoryview) -> None:
        """BodyBegin (called by the channel)."""
        if self._begun.done():
            raise BadFrame("a download was answered twice")
        self._begun.set_result(answer)

    def fail(self, failure: ObjstoreError) -> None:
        """The body breaks off (called by the channel)."""
        self._receiver.fail(failure)
        if not self._begun.done():
            self._begun.set_exception(failure)


class Channel(Connection):
    """A connection to one node.  Make it with `dial`."""

    def __init__(self, address: str, handshake: DialerHandshake) -> None:
        super().__init__()
        self.address = address
        self.peer = ""  # the node's name, after the handshake
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._handshake = handshake
        self._calls: dict[int, tuple[CallDone, float]] = {}
        self._streams: dict[int, Upload | Download] = {}
        self._next_request = 1
        self._reason = "the channel is closed"
        self._tick_timer: asyncio.TimerHandle | None = None
        self._silent_since: float | None = None
        self._pinged = False

    @property
    def silent_since(self) -> float | None:
        """Since when (the loop's time) nothing was heard although something is open; None while all is well."""
        return self._silent_since

    # -- calls ----------------------------------------------------------------------------------------------------

    async def call(self, message: Message, payload: Buffer = b"", *, timeout_s: float) -> tuple[Message, bytes | memoryview]:
        """Send a request and wait for its answer.

        Raises the error that the node answered (with its facts), NodeUnreachable, DeadlineExceeded, TooBusy.
        """
        future: asyncio.Future[tuple[Message, bytes | memoryview]] = self._loop.create_future()
        request = self._start(message, payload, timeout_s, partial(_settle, future))
        try:
            return await future
        except asyncio.CancelledError:
            if self._calls.pop(request, None) is not None:
                self.send_cancel(request)
            raise

    def call_soon(self, message: Message, payload: Buffer, *, timeout_s: float, done: CallDone) -> None:
        """Send a request; `done` is called with its outcome, at the latest a tick after `timeout_s`.  Never raises for
        the state of the connection: that too is told to `done`."""
        self._start(message, payload, timeout_s, done)

    async def open_upload(self, message: StageBody, *, timeout_s: float) -> Upload:
        """Begin to send a body.  Raises NodeUnreachable, TooBusy."""
        self._check_stream()
        request = self._new_request()
        upload = Upload(self, request, timeout_s=timeout_s)
        self._streams[request] = upload
        self.send(pack_message(message, request))
        self._keep_ticking()
        return upload

    async def open_download(self, message: ReadBody, *, timeout_s: float) -> Download:
        """Ask for a body and wait until it begins.  Raises what the node answered, NodeUnreachable, DeadlineExceeded."""
        self._check_stream()
        request = self._new_request()
        download = Download(self, request, timeout_s=timeout_s)
        self._streams[request] = download
        self.send(pack_message(message, request))
        self._keep_ticking()
        try:
            async with asyncio.timeout(timeout_s):
                await download.start()
        except TimeoutError as failure:
            self.cancel_stream(request)
            raise DeadlineExceeded(f"{self.address} did not begin a body for {timeout_s} s") from failure
        except BaseException:
            self.cancel_stream(request)
            raise
        return download

    def close(self) -> None:
        """Close the connection; everything that is open fails with NodeUnreachable."""
        self.finish("the channel was closed on this side")

    def is_crowded_with(self, request: int) -> bool:
        """Whether a stream is open and one of many."""
        return len(self._streams) >= CROWDED_STREAMS and request in self._streams

    def forget_stream(self, request: int) -> None:
        """A stream has come to its end (called by it)."""
        self._streams.pop(request, None)

    def cancel_stream(self, request: int) -> None:
        """Give a stream up (called by it); the node is told if it had not ended."""
        if self._streams.pop(request, None) is not None:
            self.send_cancel(request)

    def _start(self, message: Message, payload: Buffer, timeout_s: float, done: CallDone) -> int:
        if self.closed:
            self._loop.call_soon(done, None, b"", NodeUnreachable(f"{self.address}: {self._reason}"))
            return 0
        if len(self._calls) >= MAX_CALLS or self.overloaded:
            self._loop.call_soon(done, None, b"", TooBusy(f"too many calls wait for {self.address}"))
            return 0
        request = self._new_request()
        self.send(pack_message(message, request, payload), payload)
        self._calls[request] = (done, self._loop.time() + timeout_s)
        if self._tick_timer is None:
            self._keep_ticking()
        return request

    def _check_stream(self) -> None:
        if self.closed:
            raise NodeUnreachable(f"{self.address}: {self._reason}")
        if len(self._streams) >= MAX_STREAMS or self.overloaded:
            raise TooBusy(f"too many bodies are on their way to or from {self.address}")

    def _new_request(self) -> int:
        request = self._next_request
        while request in self._calls or request in self._streams:
            request = (request + 1) % _REQUEST_IDS
        self._next_request = (request + 1) % _REQUEST_IDS
        return request

    # -- deadlines and liveness -----------------------------------------------------------------------------------

    def _keep_ticking(self) -> None:
        if self._tick_timer is None and not self.closed:
            self._tick_timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._tick_timer = None
        now = self._loop.time()
        expired = [request for request, (_, deadline) in self._calls.items() if deadline <= now]
        for request in expired:
            done, _ = self._calls.pop(request)
            self.send_cancel(request)
            done(None, b"", DeadlineExceeded(f"{self.address} did not answer in time"))
        self._watch_silence(now)
        if self._calls or self._streams or self._silent_since is not None:
            self._keep_ticking()

    def _watch_silence(self, now: float) -> None:
        """A node that is cut off or stopped answers nothing: notice it though every single call has a short deadline."""
        if self.heard:
            self.heard = False
            self._silent_since = None
            self._pinged = False
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > DEAD_AFTER_S:
            self.abort(f"nothing was heard for {DEAD_AFTER_S} s")
        elif now - self._silent_since > PING_AFTER_S and not self._pinged:
            self._pinged = True
            self.send_ping()

    # -- Connection -----------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Greet."""
        self.send(self._handshake.first())

    def on_handshake(self, code: int, head: memoryview) -> None:
        """The listener's side of the handshake."""
        try:
            answer = self._handshake.receive(code, head)
        except ProtocolMismatch as mismatch:
            if not self.ready.done():
                self.ready.set_exception(mismatch)
            self.abort(mismatch.message)
            return
        if answer:
            self.send(answer)
        if self._handshake.peer is not None:
            self.peer = self._handshake.peer
            self.admit_peer()
            if not self.ready.done():
                self.ready.set_result(None)

    def on_message(self, request: int, code: int, head: memoryview, payload: memoryview) -> None:
        """An answer; one that came too late is dropped."""
        call = self._calls.pop(request, None)
        stream = self._streams.get(request) if call is None else None
        if call is None and stream is None:
            return
        failure: ObjstoreError | None = None
        answer: Message | None = None
        try:
            answer = decode_message(code, head)
        except ObjstoreError as unknown:
            failure = unknown
        except BadFrame as bad:  # ends the connection, and this call is not among those any more that hear of it
            if call is not None:
                call[0](None, b"", NodeUnreachable(f"{self.address} gave an answer that is none: {bad}"))
            raise
        if isinstance(answer, Failure):
            failure = error_of(answer)
        if call is not None:
            if failure is None:
                call[0](answer, payload, None)
            else:
                call[0](None, b"", failure)
        elif stream is not None:
            if failure is not None:
                self._streams.pop(request, None)
                stream.fail(failure)
            elif answer is not None:
                stream.on_answer(answer, payload)

    def on_stream(self, request: int, code: int, flags: int, head: memoryview, payload: memoryview) -> None:
        """A piece of a body or credit; what came too late is dropped."""
        stream = self._streams.get(request)
        if stream is not None:
            stream.on_frame(code, flags, head, payload)

    def lost(self, reason: str) -> None:
        """Fail everything that is open."""
        self._reason = reason
        if self._tick_timer is not None:
            self._tick_timer.cancel()
            self._tick_timer = None
        failure = NodeUnreachable(f"{self.address}: {reason}")
        if not self.ready.done():
            self.ready.set_exception(failure)
        calls, self._calls = self._calls, {}
        streams, self._streams = self._streams, {}
        for done, _ in calls.values():
            done(None, b"", failure)
        for stream in streams.values():
            stream.fail(failure)


async def dial(world: World, address: str, *, cluster_key: bytes, name: str, timeout_s: float) -> Channel:
    """Connect to a node and authenticate both ways.

    Raises NodeUnreachable; ProtocolMismatch when the other side refuses, speaks another version or holds another key;
    InvalidArgument for an empty key.
    """
    check_key(cluster_key)
    handshake = DialerHandshake(cluster_key, name, world.rng.token(NONCE_BYTES))
    channel = await world.net.connect(address, lambda: Channel(address, handshake), timeout_s=timeout_s)
    assert isinstance(channel, Channel)
    try:
        async with asyncio.timeout(min(timeout_s, HANDSHAKE_TIMEOUT_S)):
            await channel.ready
    except TimeoutError as failure:
        channel.abort("the handshake took too long")
        raise NodeUnreachable(f"{address} did not finish the handshake in time") from failure
    except BaseException:
        channel.abort("the handshake failed")
        raise
    return channel


def _settle(
    future: "asyncio.Future[tuple[Message, bytes | memoryview]]",
    answer: Message | None,
    payload: bytes | memoryview,
    failure: ObjstoreError | None,
) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    elif answer is not None:
        future.set_result((answer, payload))
