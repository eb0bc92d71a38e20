"""The operator's door into a running process: one JSON object a line asked, one a line answered, over a Unix socket.

The daemon process serves the requests below, the supervisor its own set through the same server.  Who may call is
decided by the socket's directory (mode 0700); nothing here is reachable over the network.  An answer is
`{"result": {...}}` or `{"error": "QuorumLost", "message": "..."}`; calls on one connection are answered in order.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from objstore.errors import DeadlineExceeded, InvalidArgument, NodeUnreachable, ObjstoreError, Unavailable
from objstore.runtime.net import Listener
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

log = logging.getLogger(__name__)

LINE_LIMIT_BYTES = 4 << 20  # a `where` of a large manifest fits; anything longer is no request of ours


class ControlRequest(msgspec.Struct, frozen=True, tag_field="call", forbid_unknown_fields=True):
    """Base of all requests; the tag names the call."""


class Status(ControlRequest, frozen=True, tag="status"):
    """How far repair, audit and ring changes are; answered by StatusResult from facts gathered for this call."""

    timeout_s: float = 5.0


class Repair(ControlRequest, frozen=True, tag="repair"):
    """Replicate until all replicas of all partitions are equal or the time is over; answered by WorkResult."""

    timeout_s: float = 600.0


class Audit(ControlRequest, frozen=True, tag="audit"):
    """Verify every stored byte once and heal what is damaged; answered by WorkResult."""

    timeout_s: float = 3600.0


class NewDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A formatted device that shall join the ring; `incarnation` in hexadecimal, as formatting wrote it."""

    node: str
    address: str
    zone: str
    path: str
    incarnation: str
    weight: float = 1.0


class AddDevices(ControlRequest, frozen=True, tag="add_devices"):
    """Publish a ring with these devices too; answered by RingResult once published, long before the data has moved."""

    devices: list[NewDevice]


class DrainNode(ControlRequest, frozen=True, tag="drain_node"):
    """Publish a ring in which the node's devices have weight 0; answered by RingResult."""

    node: str


class RemoveNode(ControlRequest, frozen=True, tag="remove_node"):
    """Publish a ring without the node's devices; answered by RingResult."""

    node: str


class ReplaceDevice(ControlRequest, frozen=True, tag="replace_device"):
    """Publish a ring in which a device has a new incarnation (it was wiped or swapped); answered by RingResult."""

    device: int
    incarnation: str


DaemonRequest = Status | Repair | Audit | AddDevices | DrainNode | RemoveNode | ReplaceDevice


class StatusResult(msgspec.Struct, frozen=True):
    """What the daemons know for certain now.  Rows: registers that some primary does not hold as the others do.

    Counts of rows are None where every look at the cluster was broken off: nothing is known of them then.
    """

    epoch: int
    under_replicated: int | None
    misplaced: int | None  # rows on devices that are no primaries of their partition
    queued_repairs: int | None
    quarantined: int
    changing: bool  # a ring change is being carried out
    detail: str = ""


class WorkResult(msgspec.Struct, frozen=True):
    """What a repair or an audit did."""

    finished: bool
    healed: int
    quarantined: int
    rows_sent: int
    bytes_sent: int
    detail: str = ""


class RingResult(msgspec.Struct, frozen=True):
    """The published ring: its epoch, the ids of added devices, how many replicas of partitions move."""

    epoch: int
    devices: list[int] = []
    moves: int = 0


Handlers = Mapping[type[Any], Callable[[Any], Awaitable[object]]]
R = TypeVar("R")


class ControlFailed(ObjstoreError):
    """A control call was answered by an error.  Fact: error, its class name."""


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    result: msgspec.Raw = msgspec.Raw()
    error: str = ""
    message: str = ""


class ControlServer:
    """Answers the requests of one union of ControlRequest types by a table of async handlers.

    A handler's exception becomes an error answer; the server goes on.  A handler is not
    cancelled when its caller goes away: what was begun is carried to its end.
    """

    def __init__(self, world: World, *, requests: Any, handlers: Handlers) -> None:
        self._world = world
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(requests)
        self._handlers = handlers
        self._owner = TaskOwner("control", limit=256)
        self._listener: Listener | None = None

    async def start(self, address: str) -> None:
        """Listen.  Raises OSError."""
        self._listener = await self._world.net.listen(address, lambda: _ServerProtocol(self._owner, self._answer))

    async def aclose(self) -> None:
        """Stop listening and cancel what runs."""
        if self._listener is not None:
            await self._listener.aclose()
        await self._owner.aclose()

    async def _answer(self, line: bytes) -> bytes:
        try:
            request = self._decoder.decode(line)
            result = await self._handlers[type(request)](request)
        except msgspec.MsgspecError as failure:
            return msgspec.json.encode({"error": "InvalidArgument", "message": f"not a request of this process: {failure}"})
        except (ObjstoreError, OSError, ValueError) as failure:
            return msgspec.json.encode({"error": type(failure).__name__, "message": str(failure)})
        except Exception as bug:
            # The edge of the process: whoever asked must not wait for ever for an answer that a bug swallowed.
            log.exception("a control call failed: %s", line[:200])
            return msgspec.json.encode({"error": "Bug", "message": f"this is a bug: {bug!r}; its log says more"})
        return msgspec.json.encode({"result": result})


class _LineProtocol(asyncio.Protocol):
    """Splits a byte stream into lines."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's Unix transports are not of asyncio's class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        for line in lines:
            self.line_received(bytes(line))
        if len(self._buffer) > LINE_LIMIT_BYTES and self.transport is not None:
            self.transport.close()

    def line_received(self, line: bytes) -> None:
        raise NotImplementedError


class _ServerProtocol(_LineProtocol):
    def __init__(self, owner: TaskOwner, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        super().__init__()
        self._owner = owner
        self._answer = answer
        self._turn = asyncio.Lock()  # answers leave in the order of the questions

    def line_received(self, line: bytes) -> None:
        self._owner.spawn(self._serve(line))

    async def _serve(self, line: bytes) -> None:
        async with self._turn:
            answer = await self._answer(line)
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(answer + b"\n")


class _ClientProtocol(_LineProtocol):
    def __init__(self) -> None:
        super().__init__()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def line_received(self, line: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(NodeUnreachable(f"the process hung up before it answered ({exc!r})"))


async def ask(world: World, address: str, request: ControlRequest, kind: type[R], *, timeout_s: float) -> R:
    """One call to a control socket, decoded as `kind`.

    Raises NodeUnreachable, DeadlineExceeded, ControlFailed (or InvalidArgument, Unavailable where that is what was answered).
    """
    protocol = await world.net.connect(address, _ClientProtocol, timeout_s=timeout_s)
    assert isinstance(protocol, _ClientProtocol)
    assert protocol.transport is not None
    try:
        protocol.transport.write(msgspec.json.encode(request) + b"\n")
        async with asyncio.timeout(timeout_s):
            line = await protocol.answer
    except TimeoutError as late:
        raise DeadlineExceeded(f"{type(request).__name__} was not answered within {timeout_s:g} s") from late
    finally:
        protocol.transport.close()
    answer = msgspec.json.decode(line, type=_Answer)
    if answer.error:
        kinds: dict[str, type[ObjstoreError]] = {"InvalidArgument": InvalidArgument, "Unavailable": Unavailable}
        raise kinds.get(answer.error, ControlFailed)(answer.message or answer.error, error=answer.error)
    return msgspec.json.decode(answer.result, type=kind)
