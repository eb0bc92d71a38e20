"""Messages to RabbitMQ, or whoever else speaks AMQP 0-9-1 with publisher confirms.

The address names everything: amqp://USER:PASSWORD@HOST:PORT/VHOST?exchange=NAME&routing_key=KEY, amqps:// over TLS.  Without
`exchange` it is the default one, where the routing key is a queue's name.  A message is persistent and mandatory: it is taken
when the server has confirmed it *and* found a queue for it.  What cannot be told is tried again by the caller, so a message may
come twice, and never goes missing.

Frames are pamqp's, which does no I/O.  A client library with connections of its own would bring tasks, clocks and retries beside
those of the notifier, which has all that is needed: one message at a time, a deadline, and a queue on disk behind it.
"""

import asyncio
import struct
from typing import TypeVar
from urllib.parse import unquote

from pamqp import base, body, commands, exceptions, frame, header

from objstore.runtime.dial import Place, dial, place_of, tls_context

PORTS = {"amqp": 5672, "amqps": 5671}
IDLE_S = 30.0  # a connection is kept so long after a message; there are no heartbeats, so an older one may be dead
FRAME_MAX_BYTES = 131_072  # RabbitMQ's own; what a server sends beyond it is refused unread
FRAME_OVERHEAD_BYTES = 8
CHANNEL = 1
PERSISTENT = 2

Expected = TypeVar("Expected", bound=base.Frame)


class Amqp:
    """Publishes to one exchange under one routing key, over a connection that is kept while there is something to send."""

    def __init__(self, url: str, token: str, ca_file: str) -> None:
        place = self._place = place_of(url, PORTS)
        self._exchange = place.parameter("exchange")
        self._routing_key = place.parameter("routing_key")
        if not self._exchange and not self._routing_key:
            raise ValueError(f"{place} names no queue: amqp://HOST:PORT/VHOST?routing_key=QUEUE, or ?exchange=NAME&routing_key=KEY")
        if len(self._exchange.encode()) > 127 or len(self._routing_key.encode()) > 255:
            raise ValueError(f"{place}: an exchange's name has at most 127 bytes, a routing key 255")
        self._password = token or place.password or "guest"
        self._tls = tls_context(ca_file) if place.scheme == "amqps" else None
        self._lock = asyncio.Lock()
        self._link: _Link | None = None

    async def send(self, body: bytes) -> None:
        """Returns when the server confirmed it; the caller has the deadline.  Raises OSError."""
        async with self._lock:
            link = self._link
            if link is not None and link.is_fresh:
                try:
                    await self._publish(link, body)
                except ConnectionError:
                    pass  # the server went away and may be back: a new connection tells
                else:
                    return
            self.close()
            await self._publish(await self._connect(), body)

    def close(self) -> None:
        """End the connection that is kept."""
        link, self._link = self._link, None
        if link is not None:
            link.abort()

    async def _connect(self) -> "_Link":
        reader, writer = await dial(self._place, self._tls)
        self._link = _Link(self._place, reader, writer)  # kept from here on, so that it is closed whatever happens
        try:
            await self._link.open(self._place.user or "guest", self._password)
        except BaseException:
            self.close()
            raise
        return self._link

    async def _publish(self, link: "_Link", body: bytes) -> None:
        try:
            await link.publish(self._exchange, self._routing_key, body)
        except BaseException:  # a wait that was broken off leaves its answer under way: nothing after it could be told apart
            self.close()
            raise


class _Link:
    """One connection with one channel that confirms."""

    def __init__(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._place = place
        self._reader = reader
        self._writer = writer
        self._frame_max = FRAME_MAX_BYTES
        self._published = 0  # delivery tags count from 1
        self._used_at = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether it can be expected to work still."""
        idle_s = asyncio.get_running_loop().time() - self._used_at
        return idle_s < IDLE_S and not self._reader.at_eof() and not self._writer.is_closing()

    def abort(self) -> None:
        """End it."""
        self._writer.transport.abort()

    async def open(self, user: str, password: str) -> None:
        """Greet, log in, and switch confirms on.  Raises OSError."""
        self._writer.write(header.ProtocolHeader().marshal())
        start = await self._expect(commands.Connection.Start)
        if "PLAIN" not in str(start.mechanisms).split():
            raise OSError(f"{self._place} takes no passwords (PLAIN)")
        capabilities = {"authentication_failure_close": True, "publisher_confirms": True, "basic.nack": True}
        properties: dict[str, object] = {"product": "objstore", "capabilities": capabilities}
        self._send(commands.Connection.StartOk(properties, "PLAIN", f"\0{user}\0{password}", "en_US"), channel=0)  # type: ignore[arg-type] # a table of tables is fine
        tune = await self._expect(commands.Connection.Tune)
        self._frame_max = min(tune.frame_max or FRAME_MAX_BYTES, FRAME_MAX_BYTES)
        self._send(commands.Connection.TuneOk(1, self._frame_max, 0), channel=0)
        vhost = unquote(self._place.path.removeprefix("/")) or "/"
        self._send(commands.Connection.Open(vhost), channel=0)
        await self._expect(commands.Connection.OpenOk)
        self._send(commands.Channel.Open())
        await self._expect(commands.Channel.OpenOk)
        self._send(commands.Confirm.Select())
        await self._expect(commands.Confirm.SelectOk)

    async def publish(self, exchange: str, routing_key: str, content: bytes) -> None:
        """Returns when the message is confirmed and some queue has it.  Raises OSError."""
        self._published += 1
        self._send(commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True))
        properties = commands.Basic.Properties(content_type="application/json", delivery_mode=PERSISTENT, app_id="objstore")
        self._send(header.ContentHeader(body_size=len(content), properties=properties))
        piece = self._frame_max - FRAME_OVERHEAD_BYTES
        for at in range(0, len(content), piece):
            self._send(body.ContentBody(content[at : at + piece]))
        await self._writer.drain()
        await self._confirmed()
        self._used_at = asyncio.get_running_loop().time()

    async def _confirmed(self) -> None:
        returned = ""
        while True:
            found = await self._next()
            if isinstance(found, commands.Basic.Return):
                returned = f"{found.reply_code} {found.reply_text}"  # the confirmation follows all the same
            elif isinstance(found, commands.Basic.Ack | commands.Basic.Nack):
                if (found.delivery_tag or 0) < self._published:
                    continue
                if isinstance(found, commands.Basic.Nack):
                    raise OSError(f"{self._place} could not keep the message")
                if returned:
                    raise OSError(f"{self._place} has no queue for the message: {returned}")
                return
            elif isinstance(found, base.Frame):
                raise OSError(f"{self._place} answered {found.name} to a message")

    async def _expect(self, kind: type[Expected]) -> Expected:
        await self._writer.drain()
        while True:
            found = await self._next()
            if isinstance(found, kind):
                return found
            if isinstance(found, base.Frame):
                raise OSError(f"{self._place} answered {found.name}, not {kind.name}")

    async def _next(self) -> frame.FrameTypes:
        """The next frame.  Raises OSError, also when it ends the connection or the channel."""
        try:
            head = await self._reader.readexactly(7)
            size = int.from_bytes(head[3:], "big")
            if head.startswith(b"AMQP") or size > self._frame_max:
                raise OSError(f"{self._place} does not speak AMQP 0-9-1")
            _, _, found = frame.unmarshal(head + await self._reader.readexactly(size + 1))
        except asyncio.IncompleteReadError as failure:
            raise ConnectionResetError(f"{self._place} closed the connection") from failure
        except (exceptions.PAMQPException, struct.error, ValueError, LookupError, TypeError) as failure:
            raise OSError(f"{self._place} does not answer as it should: {type(failure).__name__}") from failure
        if isinstance(found, commands.Connection.Close | commands.Channel.Close):
            told = f"{self._place} closed the {found.name.partition('.')[0].lower()}: {found.reply_code} {found.reply_text}"
            # A server that stops says 320: as good as gone, and perhaps back already.
            raise ConnectionResetError(told) if found.reply_code == 320 else OSError(told)
        return found

    def _send(self, value: frame.FrameTypes, *, channel: int = CHANNEL) -> None:
        self._writer.write(frame.marshal(value, channel))
