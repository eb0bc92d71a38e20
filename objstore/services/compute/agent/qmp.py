"""QEMU's monitor (QMP): one JSON object a line, commands answered by their id, events in between.

A client is of one connection.  When QEMU ends, or hangs up, `closed` is set, and what waits for an answer fails with QmpClosed.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec

from objstore.errors import Refused, Unavailable
from objstore.runtime.net import Net, send_descriptor

log = logging.getLogger(__name__)

LINE_LIMIT_BYTES = 4 * 1024 * 1024  # what is asked here is answered by some kilobytes
TIMEOUT_S = 30.0
WHY_LIMIT = 1000  # characters of why it refuses

OnEvent = Callable[[str, dict[str, Any]], None]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class QmpClosed(Unavailable):
    """QEMU's monitor hung up, or does not answer."""


class QmpRefused(Refused):
    """QEMU refuses a command.  Fact: kind, QEMU's class of the error."""


class Qmp(asyncio.Protocol):
    """A connection to a monitor, made by `connect`."""

    def __init__(self, on_event: OnEvent) -> None:
        self.closed = asyncio.Event()
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._greeting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def execute(self, command: str, *, timeout_s: float = TIMEOUT_S, descriptor: int | None = None, **arguments: Any) -> Any:
        """What QEMU answers.  Underscores in the arguments' names stand for hyphens; `descriptor` is handed over with the command.

        Raises QmpRefused, QmpClosed.
        """
        return await self.ask(command, {name.replace("_", "-"): value for name, value in arguments.items()}, timeout_s, descriptor)

    async def ask(self, command: str, arguments: dict[str, Any], timeout_s: float = TIMEOUT_S, descriptor: int | None = None) -> Any:
        """As `execute`, with the arguments as they are."""
        if self._transport is None or self.closed.is_set():
            raise QmpClosed(f"{command}: QEMU hung up")
        self._last += 1
        number = self._last
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = _encode({"execute": command, "arguments": arguments, "id": number}) + b"\n"
        try:
            if descriptor is None:
                self._transport.write(line)
            else:
                send_descriptor(self._transport, line, descriptor)
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise QmpClosed(f"{command}: QEMU did not answer within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    async def greet(self, *, timeout_s: float) -> None:
        """Take the greeting and begin.  Raises QmpClosed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._greeting
        except TimeoutError:
            raise QmpClosed(f"QEMU's monitor said nothing within {timeout_s:g} s") from None
        await self.execute("qmp_capabilities", timeout_s=timeout_s)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    # -- asyncio ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's Unix transports are not of asyncio's class

    def connection_lost(self, exc: Exception | None) -> None:
        """Everybody who waits is told."""
        self.closed.set()
        failure = QmpClosed("QEMU hung up")
        if not self._greeting.done():
            self._greeting.set_exception(failure)
            self._greeting.exception()  # nobody may be waiting for it
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(failure)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into lines."""
        self._buffer += data
        if b"\n" in data:
            *lines, rest = self._buffer.split(b"\n")
            self._buffer = rest
            for line in lines:
                self._take(bytes(line))
        if len(self._buffer) > LINE_LIMIT_BYTES:
            log.error("a line of QEMU's monitor is longer than %d bytes; it is given up", LINE_LIMIT_BYTES)
            self.close()

    def _take(self, line: bytes) -> None:
        try:
            said = _decode(line) if line.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            said = None
        if not isinstance(said, dict):
            log.error("QEMU's monitor says what is no JSON object: %r", line[:200])
            self.close()
        elif "event" in said:
            data = said.get("data")
            self._on_event(str(said["event"]), data if isinstance(data, dict) else {})
        elif "QMP" in said:
            if not self._greeting.done():
                self._greeting.set_result(None)
        else:
            self._answered(said)

    def _answered(self, said: dict[str, Any]) -> None:
        number = said.get("id")
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            return
        error = said.get("error")
        if isinstance(error, dict):
            said_why, kind = str(error.get("desc", ""))[:WHY_LIMIT], str(error.get("class", ""))[:WHY_LIMIT]
            answer.set_exception(QmpRefused(f"QEMU: {said_why}", kind=kind))
        else:
            answer.set_result(said.get("return"))


async def connect(net: Net, path: str, on_event: OnEvent, *, timeout_s: float) -> Qmp:
    """A monitor that takes commands.  Raises NodeUnreachable, QmpClosed."""
    monitor = await net.connect(f"unix:{path}", lambda: Qmp(on_event), timeout_s=timeout_s)
    assert isinstance(monitor, Qmp)
    try:
        await monitor.greet(timeout_s=timeout_s)
    except BaseException:
        monitor.close()
        raise
    return monitor
