"""Guests that move from one host to another while they run.

Their QEMUs never speak to the network: agents carry the stream.  The one that awaits a guest listens for one sender, who opens two connections,
each begun by a message with the agents' secret: one for words, one for QEMU's bytes.

    sender                                   receiver
    hello: spec, slots, sizes of disks  ->   starts QEMU with blank disks of these sizes, awaiting       -> ok
    QEMU's stream over the second connection; the guest runs on, then stands still (pre-switchover)
    lets go of the disks: all is in the store
    attach                              ->   attaches them, puts them in the place of the blank ones     -> ok
    QEMU sends what is left and ends
    done                                ->   the guest is this host's                                    -> ok

Until the last word of QEMU the guest can go on where it was: `cancel`, or a connection that breaks, ends the receiver's part, and the sender
attaches the disks again.  A message is four bytes of length and JSON.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from objstore.errors import InvalidArgument, ObjstoreError, Refused, Unavailable
from objstore.runtime.streams import Stream, join, listening, open_stream
from objstore.services.compute.agent.check import check_spec
from objstore.services.compute.agent.console import begin, end_of, log_of
from objstore.services.compute.agent.devices import reconnect
from objstore.services.compute.agent.doors import door, give
from objstore.services.compute.agent.guest import Guest, prepare
from objstore.services.compute.agent.host import Host
from objstore.services.compute.agent.layout import MIGRATION, RECORD_VERSION, RUN, Record, short
from objstore.services.compute.agent.qmp import QmpClosed, QmpRefused
from objstore.services.compute.agent.run import GuestBroken, Run
from objstore.services.compute.agent_api import ServerSpec

log = logging.getLogger(__name__)

MESSAGE_LIMIT_BYTES = 8 * 1024 * 1024
CONSOLE_BYTES = 256 * 1024  # of the console's log that come along
SENDER_S = 60.0  # in which a sender has to come
STRANGERS_LIMIT = 16  # connections that have not said yet who they are, each of which may send a message of the limit's length
WORD_S = 300.0  # for an answer: disks are attached meanwhile
POLL_S = 0.05
BANDWIDTH_BYTES_PER_S = 4 * 1024**3  # QEMU's own limit is that of a slow network
CAPABILITIES = ("return-path", "pause-before-switchover", "events")
_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True):
    """The first message of a connection."""

    secret: str
    kind: str  # "words" or "bytes"
    server: str
    spec: ServerSpec | None = None
    slots: dict[str, int] = {}
    sizes: dict[str, int] = {}  # volume -> bytes
    console: str = ""  # base64


class Word(msgspec.Struct, frozen=True):
    """What the sender wants next, and what the receiver answers."""

    word: str  # "attach", "done", "cancel"; "ok", "failed"
    why: str = ""


class MoveFailed(Unavailable):
    """The guest could not be moved; it is where it was."""


async def put(stream: Stream, message: msgspec.Struct) -> None:
    """Send a message.  Raises OSError."""
    data = msgspec.json.encode(message)
    stream[1].write(_LENGTH.pack(len(data)) + data)
    await stream[1].drain()


async def take(stream: Stream, kind: type[Any], *, timeout_s: float) -> Any:
    """The next message.  Raises MoveFailed."""
    try:
        async with asyncio.timeout(timeout_s):
            (length,) = _LENGTH.unpack(await stream[0].readexactly(_LENGTH.size))
            if length > MESSAGE_LIMIT_BYTES:
                raise MoveFailed(f"a message of {length} bytes: the limit is {MESSAGE_LIMIT_BYTES}")
            return msgspec.json.decode(await stream[0].readexactly(length), type=kind)
    except (asyncio.IncompleteReadError, OSError, TimeoutError, msgspec.DecodeError, RecursionError) as failure:
        raise MoveFailed(f"the other host broke off: {failure!r}") from failure


class Receiver:
    """A guest that is awaited."""

    def __init__(self, guest: Guest, secret: str) -> None:
        self.address = ""
        self.ready = asyncio.Event()  # `address` is known
        self.guest = guest
        self._secret = secret
        self._words: asyncio.Queue[tuple[Hello, Stream] | None] = asyncio.Queue()  # None: it is not awaited any more
        self._attached = False
        self._strangers = 0
        self._over = False

    async def run(self, address: str) -> bool:
        """Await it; whether it came.  The guest's turn is the caller's.  Raises OSError: there is no place to listen."""
        try:
            async with listening(address, self._greet) as self.address:
                self.ready.set()
                return await self._receive()
        finally:
            self.ready.set()
            self._over = True
            while not self._words.empty():
                if (came := self._words.get_nowait()) is not None:
                    came[1][1].close()

    def dismiss(self) -> None:
        """Await it no longer, if nobody has come with it yet: whoever wants it removed need not wait for that."""
        self._words.put_nowait(None)

    async def _receive(self) -> bool:
        guest = self.guest
        stream: Stream | None = None
        came = False
        try:
            async with asyncio.timeout(SENDER_S):
                first = await self._words.get()
            if first is None:
                raise MoveFailed("it is to be removed")
            hello, stream = first
            run = await self._begin(hello)
            await put(stream, Word("ok"))
            came = await self._obey(run, stream)
        except (ObjstoreError, OSError, TimeoutError) as failure:
            log.warning("server %s did not come: %s", guest.id, failure or "nobody sent it")
            came = await self._is_ours()
            if stream is not None and not came:
                with contextlib.suppress(OSError):
                    await put(stream, Word("failed", str(failure)))
        finally:
            if stream is not None:
                stream[1].close()
            if not came:
                await self._give_up()
        return came

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = (reader, writer)
        if self._strangers >= STRANGERS_LIMIT:
            writer.close()
            return
        self._strangers += 1
        try:
            hello: Hello = await take(stream, Hello, timeout_s=SENDER_S)
        except ObjstoreError as failure:
            log.warning("a connection of server %s broke: %s", self.guest.id, failure)
            writer.close()
            return
        finally:
            self._strangers -= 1
        try:
            if not hmac.compare_digest(hello.secret.encode(), self._secret.encode()) or hello.server != self.guest.id:
                log.error("somebody who may not do so wants to send server %s", self.guest.id)
                writer.close()
            elif self._over:
                writer.close()
            elif hello.kind == "words":
                self._words.put_nowait((hello, stream))
            else:
                with door(self.guest.directory, MIGRATION) as path:
                    qemu = await open_stream(f"unix:{path}", timeout_s=SENDER_S)
                await join(stream, qemu)
        except ObjstoreError as failure:
            log.warning("a connection of server %s broke: %s", self.guest.id, failure)
            writer.close()

    async def _begin(self, hello: Hello) -> Run:
        guest, spec = self.guest, hello.spec
        if spec is None or spec.id != guest.id:
            raise InvalidArgument("this is not the guest that is awaited")
        check_spec(spec)
        if {disk.volume for disk in spec.disks} != {disk.volume for disk in guest.spec.disks} or set(hello.sizes) != {
            d.volume for d in spec.disks
        }:
            raise InvalidArgument("the guest that comes has other disks than the one that is awaited")
        await guest.save(spec=spec, slots=hello.slots, coming=True)
        await guest.host.threads.run(prepare, spec, guest.directory, guest.host.facts.firmware)
        await guest.host.threads.run(begin, guest.directory, base64.b64decode(hello.console))
        run = await guest.launch(hello.sizes)
        await set_up(run)
        await run.ask("migrate-incoming", uri=f"unix:{MIGRATION}")
        return run

    async def _obey(self, run: Run, stream: Stream) -> bool:
        """Do what the sender says; whether the guest is ours."""
        guest = self.guest
        while True:
            word = (await take(stream, Word, timeout_s=guest.host.settings.move_timeout_s)).word
            if word == "attach":
                self._attached = True
                await asyncio.gather(*(guest.host.disks.attach(disk.volume) for disk in guest.spec.disks))
                for disk in guest.spec.disks:
                    await reconnect(guest, run, disk)
                # From the next word on it may be whole here and nowhere else; until it is, QEMU says "inmigrate", which ends it all the same.
                await guest.save(on=True)
            elif word == "done":
                if not await self._is_ours():
                    raise MoveFailed("the guest has not come")
            else:
                return False
            await put(stream, Word("ok"))
            if word == "done":
                return True

    async def _is_ours(self) -> bool:
        """Whether all of the guest came, so that it runs here (or stands still, as it did there)."""
        run = self.guest.run
        if run is None or run.ended.is_set() or not self._attached:
            return False
        with contextlib.suppress(QmpClosed, QmpRefused):
            if await run.refresh() != "inmigrate":
                await self.guest.save(on=True, coming=False)
                return True
        return False

    async def _give_up(self) -> None:
        guest = self.guest
        run, guest.run = guest.run, None
        if run is not None:
            await run.kill()
        with contextlib.suppress(ObjstoreError):
            await guest.release()


async def set_up(run: Run) -> None:
    """What both sides have to agree upon."""
    await run.ask("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in CAPABILITIES])


async def send(guest: Guest, address: str, secret: str) -> None:
    """Send a guest that runs to where it is awaited; here it is gone when this returns.  Raises MoveFailed: it is where it was; Refused."""
    run = guest.running()
    host = guest.host
    if any(disk.bus == "ide" for disk in guest.spec.disks):
        raise Refused("a guest with disks on an IDE bus cannot be moved while it runs")
    if not address.startswith("tcp:"):
        raise InvalidArgument(f"{address!r} is not where a guest is awaited")
    known = await host.disks.sizes()
    sizes = {disk.volume: known[disk.volume] for disk in guest.spec.disks if disk.volume in known}
    console = await host.threads.run(end_of, log_of(guest.directory), CONSOLE_BYTES)
    hello = Hello(secret, "words", guest.id, guest.spec, guest.record.slots, sizes, base64.b64encode(console).decode())
    async with _opened(address) as words:
        await put(words, hello)
        await _agreed(words)
        async with _carrying(guest, address, secret):
            await set_up(run)
            await run.ask("migrate-set-parameters", max_bandwidth=BANDWIDTH_BYTES_PER_S)
            await run.ask("migrate", uri=f"unix:{MIGRATION}")
            await _hand_over(guest, run, words)


async def _hand_over(guest: Guest, run: Run, words: Stream) -> None:
    """From the begin of QEMU's stream to the end of QEMU."""
    host = guest.host
    let_go = False
    try:
        await _until(guest, run, "pre-switchover")
        let_go = True
        await asyncio.gather(*(host.disks.detach(disk.volume) for disk in guest.spec.disks))
        await put(words, Word("attach"))
        await _agreed(words)
        await run.ask("migrate-continue", state="pre-switchover")
        await _until(guest, run, "completed")
    except (ObjstoreError, OSError) as failure:
        log.warning("server %s is not moved: %s", guest.id, failure)
        await _stay(guest, run, words, let_go=let_go)
        raise MoveFailed(f"server {guest.id} is where it was: {failure}") from failure
    # It is the other side's now, whatever becomes of these words: it sees that all of it has come.
    guest.moving = True
    with contextlib.suppress(ObjstoreError, OSError):
        await put(words, Word("done"))
        await _agreed(words)
    await run.kill()
    guest.run = None


async def _stay(guest: Guest, run: Run, words: Stream, *, let_go: bool) -> None:
    """Have the guest go on here.  Its receiver gives up first, so that its disks are free."""
    with contextlib.suppress(ObjstoreError, OSError):
        await put(words, Word("cancel"))
    words[1].close()
    with contextlib.suppress(QmpClosed, QmpRefused):
        await run.ask("migrate_cancel")
    if let_go:
        # The other side's QEMU has not got the whole guest, so it never wrote: its claim can be taken away.
        try:
            await asyncio.gather(*(guest.host.disks.attach(disk.volume, force=True) for disk in guest.spec.disks))
        except (ObjstoreError, OSError) as failure:
            log.warning("the disks of server %s are not attached again yet: %s", guest.id, failure)
            guest.attach_later(run, force=True)
    with contextlib.suppress(QmpClosed, QmpRefused):
        await run.refresh()


async def _until(guest: Guest, run: Run, wanted: str) -> None:
    clock = guest.host.world.clock
    deadline = clock.monotonic() + guest.host.settings.move_timeout_s
    while True:
        found = await run.ask("query-migrate")
        status = str(found.get("status", "none"))
        if status in (wanted, "completed"):
            return
        if status in ("failed", "cancelled", "cancelling", "none"):
            raise MoveFailed(f"QEMU: {status} {found.get('error-desc', '')}")
        if clock.monotonic() >= deadline:
            raise MoveFailed(f"not done within {guest.host.settings.move_timeout_s:g} s")
        if guest.hurry.is_set():
            raise MoveFailed("it is to be destroyed")
        await clock.sleep(POLL_S)


async def _agreed(words: Stream) -> None:
    answer: Word = await take(words, Word, timeout_s=WORD_S)
    if answer.word != "ok":
        raise MoveFailed(f"the other host: {answer.why or answer.word}")


@contextlib.asynccontextmanager
async def _opened(address: str) -> AsyncIterator[Stream]:
    stream = await open_stream(address, timeout_s=SENDER_S)
    try:
        yield stream
    finally:
        stream[1].close()


@contextlib.asynccontextmanager
async def _carrying(guest: Guest, address: str, secret: str) -> AsyncIterator[None]:
    """Carry what QEMU sends to the other host."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other = await open_stream(address, timeout_s=SENDER_S)
            await put(other, Hello(secret, "bytes", guest.id))
        except (ObjstoreError, OSError) as failure:
            log.warning("server %s cannot be sent: %s", guest.id, failure)
            writer.close()
            return
        await join((reader, writer), other)

    path = short(f"{guest.directory}/{RUN}/{MIGRATION}")
    Path(path).unlink(missing_ok=True)
    try:
        async with listening(f"unix:{path}", carry):
            give(guest.directory, MIGRATION, guest.host.settings.user)
            yield
    finally:
        with contextlib.suppress(OSError):  # whatever lies there now, the guest has moved or has not
            Path(path).unlink(missing_ok=True)


def awaited(host: Host, spec: ServerSpec) -> Guest:
    """A guest that is not here yet.  Raises InvalidArgument."""
    check_spec(spec)
    guest = Guest(host, Record(RECORD_VERSION, spec))
    guest.moving = True
    return guest


def broken(guest: Guest) -> GuestBroken:
    """What who waits for a place to send to is told when there is none."""
    return GuestBroken(f"server {guest.id} cannot be awaited here")
