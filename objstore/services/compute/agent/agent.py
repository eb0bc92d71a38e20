"""All guests of a host, and what may be asked of them (agent_api.py): one thing at a time with each guest."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from objstore.errors import DamagedFile, ObjstoreError, Refused, Unavailable
from objstore.runtime.tasks import TaskOwner
from objstore.services.compute import agent_api as api
from objstore.services.compute.agent import devices, layout
from objstore.services.compute.agent.check import check_server_id, check_spec, check_user_data, check_volume_id
from objstore.services.compute.agent.console import tail
from objstore.services.compute.agent.guest import Guest, slots_for
from objstore.services.compute.agent.host import Host
from objstore.services.compute.agent.layout import RECORD_VERSION, Record
from objstore.services.compute.agent.leftovers import Leftovers
from objstore.services.compute.agent.moving import Receiver, awaited, broken, send
from objstore.services.compute.agent.run import ODD
from objstore.services.network.driver.api import Metadata

log = logging.getLogger(__name__)

GUESTS_LIMIT = 1000
SEEK_S = 10.0  # for all guests of the run before to be found again; one that does not answer is waited for beside all else
MOVED_LIMIT = 1000  # servers that went away which are remembered
END_S = 15.0  # for all guests to end by their power buttons when the whole cluster goes down


class NotHere(Refused):
    """The server is not on this host."""


class Agent:
    """What a host runs."""

    def __init__(self, host: Host, *, secret: str = "", listen: str = "127.0.0.1") -> None:
        self.host = host
        self.guests: dict[str, Guest] = {}
        self.leftovers = Leftovers(host.threads, host.kept, host.directory)
        self._unread: set[str] = set()  # servers of which there is something that could not be read
        self._secret = secret
        self._listen = listen
        self._awaited: dict[str, Receiver] = {}
        self._moved: dict[str, str] = {}  # servers that went away, and to where: who asks again is told that it is done
        self._tasks = TaskOwner("agent")
        self._handlers: dict[type[msgspec.Struct], Callable[[Any], Awaitable[dict[str, Any]]]] = {
            api.Spawn: self._spawn,
            api.Stop: self._stop,
            api.Reboot: self._reboot,
            api.Pause: self._pause,
            api.Destroy: self._destroy,
            api.ConsoleLog: self._console_log,
            api.AttachDisk: self._attach_disk,
            api.DetachDisk: self._detach_disk,
            api.AttachNic: self._attach_nic,
            api.DetachNic: self._detach_nic,
            api.SnapshotVolume: self._snapshot_volume,
            api.ResizeVolume: self._resize_volume,
            api.Receive: self._receive,
            api.Migrate: self._migrate,
        }

    async def start(self) -> None:
        """Find the guests of the last run again."""
        for server in await self.host.threads.run(layout.kept, self.host.kept):
            try:
                await self._load(server)
            except (DamagedFile, OSError) as failure:
                log.error("server %s is left alone: %s", server, failure)  # noqa: TRY400 the message says all there is
                self._unread.add(server)
        seeking = [self._tasks.spawn(self._adopt(guest), name=f"seek {guest.id}") for guest in self.guests.values()]
        if seeking:  # a host that says nothing for long is taken for dead: no guest may bring that about
            await asyncio.wait(seeking, timeout=SEEK_S)
        self._tasks.spawn(self.give_up_lost())

    async def give_up_lost(self) -> None:
        """Forget guests that were coming when an agent died, and did not come whole: they are where they were, and others must not believe them here."""
        for guest in list(self.guests.values()):
            if not guest.is_lost or guest.id in self._awaited:
                continue
            async with guest.turn:
                if guest.gone or guest.sought or not guest.is_lost:
                    continue
                try:
                    await guest.release()
                except (ObjstoreError, OSError) as failure:
                    log.warning("the disks of server %s, which did not come, are not let go of yet: %s", guest.id, failure)
                    continue
                guest.gone = True
                await self._let_go(guest)
            await guest.aclose()

    async def _load(self, server: str) -> None:
        """Know a guest by its record; what has none is removed.  Raises DamagedFile, OSError."""
        try:
            record = await self.host.threads.run(layout.load, self.host.kept, server)
        except FileNotFoundError:
            await self.leftovers.forget(server)
        else:
            guest = self.guests.setdefault(server, Guest(self.host, record))
            guest.sought = guest.run is None

    async def _read_again(self, server: str) -> None:
        """Look once more at a record that could not be read.  Raises Unavailable: it still cannot, and its process may well run, and have its disks."""
        if server not in self._unread:
            return
        try:
            await self._load(server)
        except (DamagedFile, OSError) as failure:
            where = f"{self.host.directory}/{layout.SERVERS}/{server}"
            raise Unavailable(f"{failure}; end its QEMU where there is one, then remove {where}") from failure
        if server in self._unread:
            self._unread.discard(server)
            if server in self.guests:
                await self._adopt(self.guests[server])

    async def _make_room(self, server: str) -> None:
        """See to it that a guest of this id can be made: nothing is there that is not known, nor removed from now on.  Raises Unavailable."""
        await self._read_again(server)
        if server not in self.guests:
            await self.leftovers.keep(server)

    async def _adopt(self, guest: Guest) -> None:
        async with guest.turn:
            try:
                await guest.adopt()
            except (ObjstoreError, OSError):
                log.exception("server %s could not be found again", guest.id)
            finally:
                guest.sought = False
                self.host.changed()

    async def aclose(self) -> None:
        """End this object; guests run on."""
        await self._tasks.aclose()
        for guest in self.guests.values():
            await guest.aclose()

    async def end_all(self) -> None:
        """Power all guests off: the cluster that has their disks goes down."""

        async def end(guest: Guest) -> None:
            async with guest.turn:
                await guest.stop(END_S)

        done = await asyncio.gather(*map(end, list(self.guests.values())), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                log.error("a guest could not be ended in order: %s", failure)

    def power(self) -> tuple[api.Power, ...]:
        """All guests that are this host's."""
        return tuple(guest.power() for _, guest in sorted(self.guests.items()) if not guest.moving and not guest.is_lost)

    def in_use(self, volume: str, server: str) -> bool:
        """Whether a guest other than `server` uses a volume now."""
        return any(
            (guest.run is not None or guest.sought) and guest.id != server and any(disk.volume == volume for disk in guest.spec.disks)
            for guest in self.guests.values()
        )

    async def metadata(self, port: str, server: str) -> Metadata | None:
        """What the guest behind a port may read of itself."""
        guest = self.guests.get(server)
        if guest is None or all(nic.port != port for nic in guest.spec.nics):
            return None
        return metadata_of(guest)

    def find(self, server: str) -> Guest:
        """A guest of this host.  Raises NotHere."""
        guest = self.guests.get(check_server_id(server))
        if guest is None or guest.gone:
            raise NotHere(f"server {server} is not on this host")
        return guest

    @contextlib.asynccontextmanager
    async def turn(self, server: str) -> AsyncIterator[Guest]:
        """The guest, while nothing else is done with it.  Raises NotHere."""
        guest = self.find(server)
        async with guest.turn:
            if guest.gone:
                raise NotHere(f"server {server} is not on this host")
            yield guest

    async def carry_out(self, message: msgspec.Struct) -> dict[str, Any]:
        """Do what a message asks for, to its end; the answer.  Raises Refused, Unavailable."""
        # Whoever asked may go away: what was begun is brought to its end all the same.
        answer, refusal = await asyncio.shield(self._tasks.spawn(self._carried_out(message)))
        if refusal is not None:
            raise refusal
        return answer

    async def _carried_out(self, message: msgspec.Struct) -> tuple[dict[str, Any], Exception | None]:
        try:
            return await self._handlers[type(message)](message), None
        except (ObjstoreError, OSError) as refusal:
            return {}, refusal

    async def forget(self, servers: tuple[str, ...]) -> None:
        """End guests that no record knows."""

        async def end(server: str) -> None:
            log.warning("no record knows server %s: it is ended", server)
            try:
                await self.carry_out(api.Destroy(server))
            except (ObjstoreError, OSError) as failure:
                log.warning("server %s could not be ended yet: %s", server, failure)

        await asyncio.gather(*(end(server) for server in servers if server in self.guests and not self.guests[server].moving))

    # -- the calls --------------------------------------------------------------------------------------------

    async def _spawn(self, message: api.Spawn) -> dict[str, Any]:
        spec = message.server
        check_spec(spec)
        if self.host.driver.name == "user" and spec.nics and spec.metadata:
            spec = msgspec.structs.replace(spec, config_drive=True)  # there is no other way to its metadata
        await self._make_room(spec.id)
        guest = self.guests.get(spec.id)
        if guest is None:
            self._check_count()
            record = Record(RECORD_VERSION, spec, slots=slots_for(spec, {}))
            guest = self.guests[spec.id] = Guest(self.host, record)
        async with guest.turn:
            if guest.gone:
                raise Refused(f"server {spec.id} is being removed from this host")
            if guest.run is None:
                await guest.save_spec(spec)
                await guest.start(force=message.force)
        return {}

    def _check_count(self) -> None:
        if len(self.guests) >= GUESTS_LIMIT:
            raise Refused(f"this host has {GUESTS_LIMIT} guests already")

    async def _stop(self, message: api.Stop) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await guest.stop(message.timeout_s)
        return {}

    async def _reboot(self, message: api.Reboot) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await guest.reboot(hard=message.hard, timeout_s=message.timeout_s)
        return {}

    async def _pause(self, message: api.Pause) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await guest.pause(paused=message.paused)
        return {}

    async def _destroy(self, message: api.Destroy) -> dict[str, Any]:
        await self._read_again(check_server_id(message.server))
        guest = self.guests.get(message.server)
        if guest is None:
            return {}
        guest.hurry.set()
        if (receiver := self._awaited.get(guest.id)) is not None:
            receiver.dismiss()
        async with guest.turn:
            if not guest.gone:
                await guest.destroy()
            if self.guests.get(guest.id) is guest:
                await self.leftovers.forget(guest.id)
                del self.guests[guest.id]
                await guest.aclose()
        return {}

    async def _console_log(self, message: api.ConsoleLog) -> dict[str, Any]:
        guest = self.find(message.server)
        text = await self.host.threads.run(tail, guest.directory, message.lines, self.host.settings.console_bytes)
        return {"output": text}

    async def _attach_disk(self, message: api.AttachDisk) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await devices.attach_disk(guest, message.disk)
        return {}

    async def _detach_disk(self, message: api.DetachDisk) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await devices.detach_disk(guest, check_volume_id(message.volume))
        return {}

    async def _attach_nic(self, message: api.AttachNic) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await devices.attach_nic(guest, message.nic)
        return {}

    async def _detach_nic(self, message: api.DetachNic) -> dict[str, Any]:
        async with self.turn(message.server) as guest:
            await devices.detach_nic(guest, message.port)
        return {}

    def _user_of(self, volume: str) -> Guest:
        """A guest that has this volume now.  Raises NotHere."""
        check_volume_id(volume)
        for guest in self.guests.values():
            if (guest.run is not None or guest.sought) and any(disk.volume == volume for disk in guest.spec.disks):
                return guest
        raise NotHere(f"volume {volume} is not attached on this host")

    async def _snapshot_volume(self, message: api.SnapshotVolume) -> dict[str, Any]:
        check_volume_id(message.snapshot)
        async with self.turn(self._user_of(message.volume).id) as guest:
            await devices.snapshot(guest, message.volume, message.snapshot)
        return {}

    async def _resize_volume(self, message: api.ResizeVolume) -> dict[str, Any]:
        async with self.turn(self._user_of(message.volume).id) as guest:
            await self.host.disks.resize(message.volume, message.size_bytes)
            await devices.resize(guest, message.volume, message.size_bytes)
        return {}

    async def _receive(self, message: api.Receive) -> dict[str, Any]:
        server = check_server_id(message.server.id)
        if server not in self._awaited:
            await self._make_room(server)
        receiver = self._awaited.get(server)
        if receiver is None:
            if (known := self.guests.get(server)) is not None:
                if known.is_lost:
                    raise Unavailable(f"what is left of an earlier attempt to receive server {server} is still being removed")
                raise Refused(f"server {server} {api.ON_THIS_HOST}")
            self._check_count()
            guest = awaited(self.host, message.server)
            receiver = self._awaited[server] = Receiver(guest, self._secret)
            self.guests[server] = guest
            self._tasks.spawn(self._await(guest, receiver), name=f"await {server}")
        await receiver.ready.wait()
        if not receiver.address:
            raise broken(receiver.guest)
        return {"address": receiver.address}

    async def _await(self, guest: Guest, receiver: Receiver) -> None:
        """Take a guest in; it is one of this host's then, or nothing is left of it."""
        came = False
        try:
            async with guest.turn:
                try:
                    came = await receiver.run(f"tcp:{self._listen}:0")
                except ODD as failure:  # there is no place to listen, or its QEMU answers as none does
                    log.warning("server %s did not come: %.200r", guest.id, failure)
                guest.moving = False
                guest.gone = not came
                if not came:
                    await self._let_go(guest)
        finally:
            del self._awaited[guest.id]
            self.host.changed()
        if came:
            self._moved.pop(guest.id, None)
            guest.watch_again()
        else:
            await guest.aclose()

    async def _migrate(self, message: api.Migrate) -> dict[str, Any]:
        server = message.server
        if self._moved.get(server) == message.address and server not in self.guests:
            return {}
        async with self.turn(server) as guest:
            await send(guest, message.address, message.target_secret or self._secret)
            for nic in guest.spec.nics:
                await self.host.driver.unplug(nic.port)
            self._moved.pop(server, None)
            self._moved[server] = message.address
            if len(self._moved) > MOVED_LIMIT:
                del self._moved[next(iter(self._moved))]
            guest.gone = True
            await self._let_go(guest)
        self.host.changed()
        await guest.aclose()
        return {}

    async def _let_go(self, guest: Guest) -> None:
        """Forget a guest that is not here: whatever cannot be removed now, that is so."""
        with contextlib.suppress(OSError):  # it is logged, and tried again
            await self.leftovers.forget(guest.id)
        self.guests.pop(guest.id, None)


def metadata_of(guest: Guest) -> Metadata:
    """What a guest may read of itself."""
    spec = guest.spec
    return Metadata(spec.id, spec.name, spec.project, spec.metadata, check_user_data(spec.user_data), spec.network_data)
