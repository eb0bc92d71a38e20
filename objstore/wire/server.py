"""The answering end: `serve` accepts connections, authenticates them and hands each request to a handler.

A handler is called synchronously and answers through the `Call` it was given, at once or later, so that a request costs
no task unless it wants one (`Call.run`).  What a peer can make this side hold is limited: requests and streams in
flight, bytes of a body by its window, strangers by number and time; and while answers cannot be sent, nothing is read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from objstore.errors import DeadlineExceeded, NodeUnreachable, ObjstoreError, ProtocolMismatch, TooBusy, Unavailable
from objstore.runtime import net
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.wire.codec import (
    CANCEL,
    CREDIT,
    DATA,
    FLAG_END,
    BadFrame,
    Buffer,
    decode_message,
    failure_of,
    pack_message,
    unpack_credit,
)
from objstore.wire.connection import Connection
from objstore.wire.handshake import HANDSHAKE_TIMEOUT_S, NONCE_BYTES, ListenerHandshake, check_key
from objstore.wire.messages import Message, ReadBody, Request, StageBody
from objstore.wire.streams import BodyReceiver, BodySender

log = logging.getLogger(__name__)

# Requests of one connection that may be in flight; a proxy worker has fewer clients than this.
MAX_IN_FLIGHT = 4096
# Bodies of one connection under way; each may hold a window (1 MiB) here.
MAX_STREAMS = 256
# Connections that have not yet proved themselves; each holds a kilobyte for at most five seconds.
MAX_STRANGERS = 256
MAX_CONNECTIONS = 4096
# Answers that wait for a peer that does not read them; then nothing more is read from it.
MAX_WAITING_ANSWERS_BYTES = 4 * 1024 * 1024
# A request that names no limit of its own.
DEFAULT_TIMEOUT_S = 30.0
# A body may pause this long between two pieces: its source is a client of ours with a time limit of its own.
BODY_IDLE_S = 120.0
# A peer that has said nothing for this long is asked for a sign of life, and dropped after another such time.
IDLE_CHECK_S = 60.0

DRAIN_POLL_S = 0.01


class Handler(Protocol):
    """What a connection's requests are given to."""

    def on_request(self, call: "Call") -> None:
        """Answer `call` now, or keep it and answer later.  An ObjstoreError raised here is the answer."""

    def on_closed(self) -> None:
        """The connection has ended; answers go nowhere from now on."""


HandlerFactory = Callable[[str], Handler]
"""Makes the handler of one authenticated connection from the peer's name."""


class Call:
    """One request, and the way to answer it exactly once."""

    __slots__ = ("_connection", "_request", "_task", "body", "message", "payload", "sender")

    def __init__(self, connection: "ServerConnection", request: int, message: Message, payload: memoryview) -> None:
        self.message = message
        self.payload = payload
        self.body: BodyReceiver | None = None  # of a StageBody: the pieces as they come
        self.sender: BodySender | None = None  # of a ReadBody
        self._connection = connection
        self._request = request
        self._task: asyncio.Task[None] | None = None

    @property
    def peer(self) -> str:
        """Name of who asks."""
        return self._connection.peer

    @property
    def timeout_s(self) -> float:
        """Seconds that the caller waits, counted from the request's arrival."""
        message = self.message
        if isinstance(message, Request) and message.timeout_ms > 0:
            return message.timeout_ms / 1000
        return DEFAULT_TIMEOUT_S

    @property
    def abandoned(self) -> bool:
        """Whether an answer would go nowhere: answered already, given up by the caller, or connection lost."""
        return self._connection.calls.get(self._request) is not self

    def answer(self, message: Message, payload: Buffer = b"") -> None:
        """Send the answer.  It is dropped when the caller is gone."""
        if self._connection.calls.get(self._request) is self:
            frame = pack_message(message, self._request, payload)
            if self.sender is None:
                self._connection.end_call(self._request, self)
            self._connection.send(frame, payload)

    def fail(self, failure: ObjstoreError) -> None:
        """Answer with an error; in the middle of a body it breaks the body off."""
        if self._connection.calls.get(self._request) is self:
            self._connection.end_call(self._request, self)
            self._connection.send(pack_message(failure_of(failure), self._request))

    def fail_with(self, failure: BaseException) -> None:
        """Answer with whatever went wrong: what is no ObjstoreError is a bug, logged whole and told in general terms."""
        if isinstance(failure, ObjstoreError):
            self.fail(failure)
        else:
            self._connection.report_bug(self, failure)

    def end_body(self) -> None:
        """Mark the end of the body that is the answer to a ReadBody."""
        assert self.sender is not None
        if self._connection.calls.get(self._request) is self:
            self._connection.end_call(self._request, self)
            self.sender.end()

    def run(self, work: Callable[["Call"], Awaitable[None]], *, limit_s: float | None = None) -> None:
        """Let `work` answer in a task, which is cancelled when the caller gives up or `limit_s` is over.

        Errors that `work` raises become the answer.  Raises TooBusy when too many tasks run.
        """
        self._task = self._connection.tasks.spawn(self._perform(work, limit_s))

    def stop(self) -> None:
        """The caller has given up (called by the connection)."""
        if self._task is not None:
            self._task.cancel()

    async def _perform(self, work: Callable[["Call"], Awaitable[None]], limit_s: float | None) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await work(self)
        except ObjstoreError as failure:
            self.fail(failure)
        except TimeoutError:
            self.fail(DeadlineExceeded(f"{type(self.message).__name__} took longer than its {limit_s} s"))
        except Exception as bug:  # noqa: BLE001 the edge of the process: one request must not end the others
            self.fail_with(bug)


class ServerConnection(Connection):
    """One accepted connection."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__()
        self.peer = ""
        self.calls: dict[int, Call] = {}
        self.tasks = listener.tasks
        self._listener = listener
        self._handler: Handler | None = None
        self._handshake = ListenerHandshake(listener.cluster_key, listener.name, listener.nonce())
        self._streams = 0
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False  # for a sign of life
        self._deaf = False  # reading is paused

    def end_call(self, request: int, call: Call) -> None:
        """Forget a call that is being answered (called by it)."""
        del self.calls[request]
        if call.body is not None or call.sender is not None:
            self._streams -= 1

    def report_bug(self, call: Call, bug: BaseException) -> None:
        """An unexpected exception: log it whole, tell the caller no more than that it happened."""
        name = type(call.message).__name__
        log.error("bug in %s asked by %r", name, self.peer, exc_info=bug)
        call.fail(Unavailable(f"{name} failed for a reason that is in the log of {self._listener.name}"))

    # -- Connection -----------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Wait for the greeting, not for long."""
        if not self._listener.take(self):
            self.abort("too many connections")
            return
        self._timer = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self.abort, "no handshake in time")

    def on_handshake(self, code: int, head: memoryview) -> None:
        """The dialer's side of the handshake."""
        try:
            answer = self._handshake.receive(code, head)
        except ProtocolMismatch as mismatch:
            log.warning("refused a connection: %s", mismatch.message)
            self.send(self._handshake.refusal(mismatch))
            self.finish(mismatch.message)
            return
        self.send(answer)
        if self._handshake.peer is not None:
            self.peer = self._handshake.peer
            self.admit_peer()
            self._listener.admit(self)
            self._handler = self._listener.handler_factory(self.peer)
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(IDLE_CHECK_S, self._check_idle)

    def on_message(self, request: int, code: int, head: memoryview, payload: memoryview) -> None:
        """A request."""
        assert self._handler is not None
        if request in self.calls:
            raise BadFrame("a request id is used twice")
        try:
            message = decode_message(code, head)
            call = Call(self, request, message, payload)
            self._admit_call(request, call)
        except ObjstoreError as refusal:
            self.send(pack_message(failure_of(refusal), request))
            return
        try:
            self._handler.on_request(call)
        except ObjstoreError as refusal:
            call.fail(refusal)
        except Exception as bug:  # noqa: BLE001 the edge of the process: one request must not end the others
            self.report_bug(call, bug)

    def _admit_call(self, request: int, call: Call) -> None:
        if self._listener.closing:
            raise NodeUnreachable(f"{self._listener.name} is stopping")
        if len(self.calls) >= MAX_IN_FLIGHT:
            raise TooBusy(f"{MAX_IN_FLIGHT} requests of this connection are in flight already")
        kind = type(call.message)
        if kind is StageBody or kind is ReadBody:
            if self._streams >= MAX_STREAMS:
                raise TooBusy(f"{MAX_STREAMS} bodies of this connection are under way already")
            self._streams += 1
            if kind is StageBody:
                call.body = BodyReceiver(self, request, wait_s=BODY_IDLE_S)
            else:
                call.sender = BodySender(self, request, wait_s=BODY_IDLE_S)
        self.calls[request] = call

    def on_stream(self, request: int, code: int, flags: int, head: memoryview, payload: memoryview) -> None:
        """A piece of a body, credit, or the caller giving up; what is about a request that has ended is dropped."""
        call = self.calls.get(request)
        if call is None:
            return
        if code == DATA:
            if call.body is None:
                raise BadFrame("a body came with a request that takes none")
            call.body.deliver(payload, end=bool(flags & FLAG_END))
        elif code == CREDIT:
            if call.sender is None:
                raise BadFrame("credit for a request that sends no body")
            call.sender.grant(unpack_credit(head))
        elif code == CANCEL:
            self.end_call(request, call)
            call.stop()

    def backed_up(self, queued_bytes: int) -> None:
        """While answers cannot leave, take no more requests (the dialer always reads, so this cannot lock up)."""
        if queued_bytes > MAX_WAITING_ANSWERS_BYTES and not self._deaf and self._transport is not None:
            self._deaf = True
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Answers leave again."""
        super().resume_writing()
        if self._deaf and not self.congested and not self.closed and self._transport is not None:
            self._deaf = False
            self._transport.resume_reading()

    def lost(self, reason: str) -> None:
        """Cancel what runs for the peer."""
        if self._timer is not None:
            self._timer.cancel()
        self._listener.release(self)
        calls, self.calls = self.calls, {}
        failure = Unavailable(f"the caller is gone: {reason}")
        for call in calls.values():
            if call.sender is not None:
                call.sender.fail(failure)
            if call.body is not None:
                call.body.fail(failure)
            call.stop()
        if self._handler is not None:
            self._handler.on_closed()

    def _check_idle(self) -> None:
        if not self.heard:
            if self._asked:
                self.abort(f"nothing was heard for {2 * IDLE_CHECK_S} s")
                return
            self.send_ping()
        self._asked = not self.heard
        self.heard = False
        self._timer = self._loop.call_later(IDLE_CHECK_S, self._check_idle)


class Listener:
    """Accepts connections for one node."""

    def __init__(self, world: World, *, cluster_key: bytes, name: str, handler_factory: HandlerFactory) -> None:
        check_key(cluster_key)
        self.cluster_key = cluster_key
        self.name = name
        self.handler_factory = handler_factory
        self.closing = False
        self.tasks = TaskOwner(f"requests of {name}")
        self._world = world
        self._sockets: list[net.Listener] = []
        self._strangers: dict[ServerConnection, None] = {}  # dicts, not sets: they keep an order
        self._connections: dict[ServerConnection, None] = {}

    async def listen(self, address: str) -> None:
        """Accept connections on one more address.  Raises OSError when it is taken."""
        self._sockets.append(await self._world.net.listen(address, lambda: ServerConnection(self)))

    async def aclose(self, *, grace_s: float = 0.0) -> None:
        """Stop listening, let what is in flight come to its end for `grace_s`, close every connection, cancel the rest.

        Requests that come meanwhile are refused with NodeUnreachable, so that their senders turn to other nodes.
        """
        for listening in self._sockets:
            await listening.aclose()
        self._sockets.clear()
        self.closing = True
        until = self._world.clock.monotonic() + grace_s
        while any(connection.calls for connection in self._connections) and self._world.clock.monotonic() < until:
            await self._world.clock.sleep(DRAIN_POLL_S)
        for connection in [*self._strangers, *self._connections]:
            connection.finish("the node is stopping")
        await self.tasks.aclose()

    def nonce(self) -> bytes:
        """Random bytes for one handshake."""
        return self._world.rng.token(NONCE_BYTES)

    def take(self, connection: ServerConnection) -> bool:
        """A connection was opened; False when there are too many."""
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        if len(self._strangers) >= MAX_STRANGERS:
            # A peer is done with the handshake within milliseconds: who has been at it for longest is most likely none.
            next(iter(self._strangers)).abort("others want to introduce themselves too")
        self._strangers[connection] = None
        return True

    def admit(self, connection: ServerConnection) -> None:
        """A connection has authenticated."""
        del self._strangers[connection]
        self._connections[connection] = None

    def release(self, connection: ServerConnection) -> None:
        """A connection has ended."""
        self._strangers.pop(connection, None)
        self._connections.pop(connection, None)

    def __len__(self) -> int:
        return len(self._connections)


async def serve(world: World, address: str, *, cluster_key: bytes, name: str, handler_factory: HandlerFactory) -> Listener:
    """Listen on `address`.  Raises InvalidArgument for an empty key, OSError when the address is taken."""
    listener = Listener(world, cluster_key=cluster_key, name=name, handler_factory=handler_factory)
    await listener.listen(address)
    return listener
