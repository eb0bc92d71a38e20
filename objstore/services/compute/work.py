"""What the conductor's jobs are made of: a server at hand, and the steps that several of them take.

Every step can be taken again.  Between two steps the server may have been asked to go: `server()` then ends the job.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection

from objstore.errors import NoSuchKey, ObjstoreError, PreconditionFailed, Unavailable
from objstore.services.calls.problems import CallRefused
from objstore.services.compute import records
from objstore.services.compute.agent_api import Destroy, ServerSpec, Spawn
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.context import Context, Failed
from objstore.services.compute.desks import Flavor, Port
from objstore.services.compute.guest_spec import spec_of
from objstore.services.compute.records import FAILED, READY, SUCCESS, WANTED, Disk, Nic, Server
from objstore.services.compute.states import ACTIVE, ERROR, NO_TASK, PAUSED, RESIZED
from objstore.services.image import records as images
from objstore.services.image.records import ACTIVE as IMAGE_ACTIVE
from objstore.services.image.rights import may_use
from objstore.services.tables.jobs import Job
from objstore.services.volume.operations import HasSnapshots

GIBIBYTE, MEBIBYTE = 1024**3, 1024**2
POLL_S = 0.5
RUNNING = (ACTIVE, PAUSED, RESIZED, ERROR)  # there may be a guest, which has its disks
Also = Callable[[Connection], None]
VOLUME_WAIT_S = 900.0  # for a volume that is made from an image


class Over(Exception):
    """Nothing is left to do."""


@dataclass
class Work:
    """One run of a job."""

    context: Context
    job: Job

    @property
    def id(self) -> str:
        """The server's."""
        return self.job.subject

    @property
    def request(self) -> str:
        """Who asked for it: holds the server's task state for as long as nobody else took it over."""
        return self.job.details.get("request", "")

    @property
    def for_admin(self) -> bool:
        """Whether an administrator asked for it, who may have what the server's project has not."""
        return self.job.details.get("admin") == "1"

    # -- the server's record --------------------------------------------------------------------------------------

    async def server(self, *tasks: str) -> Server:
        """The server as it is now.  Raises Over when it is gone, or in none of these task states, or in one that another request holds."""
        found = await self.context.read(lambda connection: records.living(connection, self.id))
        if found is None or (tasks and (found.task_state not in tasks or found.task != self.request)):
            raise Over
        return found

    def put(self, connection: Connection, *tasks: str, **values: Any) -> None:
        """The same as `change` inside a transaction, of which nothing stays when it is Over."""
        values = {"updated_us": self.context.now_us(), **values}
        if not records.change(connection, self.id, task_states=tasks, request=self.request, **values):
            raise Over

    async def change(self, *tasks: str, **values: Any) -> None:
        """Change the server while it is in one of these task states.  Raises Over."""
        await self.context.write(lambda connection: self.put(connection, *tasks, **values))

    async def begin_event(self, server: Server) -> None:
        """Remember that this began."""
        now_us, name = self.context.now_us(), self.job.details.get("event", "")
        if name:
            await self.context.write(
                lambda connection: records.begin_event(connection, self.id, self.request, name, server.host, now_us=now_us)
            )

    async def finish(self, *tasks: str, also: Also | None = None, **values: Any) -> None:
        """The end of what was asked for, and what is true from then on: nothing is being done any more.  Raises Over."""

        def work(connection: Connection) -> None:
            self.put(connection, *tasks, task_state=NO_TASK, task="", **values)
            self.end_event(connection, SUCCESS)
            if values.get("vm_state", ERROR) != ERROR:
                records.clear_fault(connection, self.id)
            if also is not None:
                also(connection)

        await self.context.write(work)

    def end_event(self, connection: Connection, result: str, details: str = "") -> None:
        """Remember how it ended."""
        name = self.job.details.get("event", "")
        if name:
            records.end_event(connection, self.id, self.request, name, result, now_us=self.context.now_us(), details=details)

    async def fail(self, tasks: tuple[str, ...], message: str, *, also: Also | None = None, **values: Any) -> None:
        """It did not go well; `values` and `also` say what is true now."""
        now_us = self.context.now_us()

        def work(connection: Connection) -> None:
            ended: dict[str, Any] = {"task_state": NO_TASK, "task": "", "updated_us": now_us}
            if records.change(connection, self.id, task_states=tasks, request=self.request, **ended, **values):
                records.set_fault(connection, self.id, 500, message, now_us=now_us, details=self.job.kind)
                if also is not None:
                    also(connection)
            self.end_event(connection, FAILED, message)

        await self.context.write(work)

    # -- hosts ----------------------------------------------------------------------------------------------------

    async def is_alive(self, host: str) -> bool:
        """Whether a host was heard of lately."""
        return await self.context.read(lambda connection: self.context.places.is_alive(connection, host))

    async def destroy(self, host: str) -> bool:
        """End the guest on a host; False where the host is dead, and its guest perhaps is not.  Raises Unavailable."""
        if not host:
            return True
        try:
            await self.context.agents.call(host, Destroy(self.id))
        except AgentRefused as refused:
            if refused.status != 404:
                raise Unavailable(f"{host} does not end guest {self.id}: {refused.message}") from refused
        except Unavailable:
            if await self.is_alive(host):
                raise
            return False
        return True

    async def spawn(self, server: Server, host: str, *, flavor: Flavor | None = None, force: bool = False) -> None:
        """Make the guest run.  Raises Failed, Unavailable."""
        spec = await self.spec(server, host, flavor=flavor)
        force = force and not await self.shared(server)
        try:
            await self.context.agents.call(host, Spawn(spec, force=force))
        except AgentRefused as refused:
            raise Failed(f"The guest cannot be started on its host: {refused.message}") from refused

    async def spec(self, server: Server, host: str, *, flavor: Flavor | None = None) -> ServerSpec:
        """The guest as it is to be on a host."""
        server = await self.with_its_cards(server)
        zone = await self.context.read(lambda connection: self.context.places.zone_of(connection, host))
        data = await self.context.networks.network_data(self.id)
        return spec_of(server, zone=zone, network_data=data, flavor=flavor, password=self.job.details.get("password", ""))

    # -- network cards --------------------------------------------------------------------------------------------

    async def make_ports(self, server: Server, host: str) -> None:
        """Every card has its port, bound to the host.  A port that was made and not written down is found again."""
        there = (await self.context.networks.ports_of([self.id])).get(self.id, ())
        known = {nic.port for nic in server.nics}
        spare = [port for port in there if port.id not in known]
        for nic in server.nics:
            if nic.state == WANTED:
                await self.make_port(server, nic, spare)
        for nic in (await self.server()).nics:
            await self.context.networks.bind(nic.port, host)

    async def make_port(self, server: Server, nic: Nic, spare: list[Port]) -> None:
        """The port of one card."""
        addresses = {port.id: [address for _, address, _ in port.addresses] for port in spare}
        fits = [port for port in spare if port.network_id == nic.network and (not nic.fixed_ip or nic.fixed_ip in addresses[port.id])]
        if fits and not nic.port:
            port = fits[0]
            spare.remove(port)
        else:
            port = await self.context.networks.create_port(
                server.project, nic.network, server_id=self.id, fixed_ip=nic.fixed_ip, security_groups=_groups(server), zone=server.zone,
                name=server.hostname, port_id=nic.port, is_admin=self.for_admin,
            )  # fmt: skip
        await self.context.write(
            lambda connection: records.change_nic(
                connection, nic.id, states=(WANTED,), state=READY, port=port.id, mac=port.mac, network=port.network_id
            )
        )

    async def bind_ports(self, server: Server, host: str) -> None:
        """All ports are on this host now."""
        for nic in (await self.with_its_cards(server)).nics:
            if nic.port:
                await self.context.networks.bind(nic.port, host)

    async def with_its_cards(self, server: Server) -> Server:
        """Without the cards whose ports somebody removed at the network service: nothing could plug them in, anywhere."""
        there = {port.id for port in (await self.context.networks.ports_of([self.id])).get(self.id, ())}
        lost = [nic.id for nic in server.nics if nic.port and nic.state == READY and nic.port not in there]
        if not lost:
            return server

        def forget(connection: Connection) -> None:
            for id_ in lost:
                records.drop_nic(connection, id_)

        await self.context.write(forget)
        return replace(server, nics=[nic for nic in server.nics if nic.id not in lost])

    async def return_ports(self, server: Server, host: str) -> None:
        """The same where something has failed already: a port that went meanwhile is nobody's business; "" for no host."""
        for nic in server.nics:
            if nic.port:
                with contextlib.suppress(CallRefused):
                    await self.context.networks.bind(nic.port, host)

    async def expect_ports(self, server: Server, host: str) -> None:
        """A host is told of all ports before the guest is there; "" for none."""
        for nic in server.nics:
            if nic.port:
                await self.context.networks.expect(nic.port, host)

    # -- disks ----------------------------------------------------------------------------------------------------

    async def make_disk(self, server: Server, disk: Disk) -> None:
        """A disk that was asked for is there and this server's.  Raises Failed, Unavailable."""
        values = await (self._reserve(server, disk) if disk.is_volume else self._make_own(server, disk))
        await self.context.write(lambda connection: records.change_disk(connection, disk.id, states=(WANTED,), state=READY, **values))

    async def _make_own(self, server: Server, disk: Disk) -> dict[str, Any]:
        volume = bytes.fromhex(disk.volume)
        if disk.source == "image":
            await self.check_image(server, disk.source_id)
            size_bytes = disk.size_gb * GIBIBYTE or (await self.context.bases.ensure(disk.source_id)).size_bytes
            await self.context.bases.clone(disk.source_id, volume, size_bytes)
            return {}
        size_bytes = server.as_flavor.swap_mb * MEBIBYTE if disk.source == "swap" else disk.size_gb * GIBIBYTE
        with contextlib.suppress(PreconditionFailed):  # it was made before
            await self.context.store.create(size_bytes, name=f"disk {disk.device} of server {self.id}", volume=volume)
        return {}

    async def check_image(self, server: Server, image_id: str) -> None:
        """Whether the server's project, or who asked for it, may still have the image: it may be long since that was asked.  Raises Failed."""

        def look(connection: Connection) -> str:
            image = images.find_image(connection, image_id)
            if image is None or not (
                self.for_admin or may_use(server.project, image, images.member_status(connection, image_id, server.project))
            ):
                return f"Image {image_id} could not be found."
            return "" if image.status == IMAGE_ACTIVE else f"Image {image_id} is not active."

        if why := await self.context.read(look):
            raise Failed(why)

    async def _reserve(self, server: Server, disk: Disk) -> dict[str, Any]:
        volumes = self.context.volumes
        id_ = disk.api_volume
        if disk.source != "volume":
            if not id_:  # drawn and written down before it is made, so that it is made once
                id_ = self.context.new_id()
                await self.context.write(lambda connection: records.change_disk(connection, disk.id, states=(WANTED,), api_volume=id_))
            sources: dict[str, Any] = {"image": {"image_id": disk.source_id}, "snapshot": {"snapshot_id": disk.source_id}}
            await volumes.create(
                server.project, server.user_id, size_gb=disk.size_gb or None, volume_type=disk.volume_type or None, volume_id=id_,
                **sources.get(disk.source, {}),
            )  # fmt: skip
            await self._until_available(server, id_)
        attachment = await volumes.reserve(server.project, id_, self.id)
        found = await volumes.find(server.project, id_)
        return {"attachment": attachment, "volume": found.data, "read_only": bool(found.read_only), "size_gb": found.size_gb}

    async def _until_available(self, server: Server, id_: str) -> None:
        clock = self.context.world.clock
        until_s = clock.monotonic() + VOLUME_WAIT_S
        while clock.monotonic() < until_s:
            volume = await self.context.volumes.find(server.project, id_)
            if volume.status.startswith("error"):
                raise Failed(f"Volume {id_} did not finish being created: its status is {volume.status}.")
            if volume.status not in ("creating", "downloading"):
                return
            await clock.sleep(POLL_S)
            await self.server(server.task_state)
        raise Failed(f"Volume {id_} did not finish being created within {VOLUME_WAIT_S:.0f} seconds.")

    async def tell_attached(self, server: Server, host: str) -> None:
        """The volume service knows that the guest has its volumes."""
        for disk in server.disks:
            if disk.is_volume and disk.attachment and disk.state == READY:
                await self.context.volumes.attached(disk.attachment, host, f"/dev/{disk.device}")

    async def free_volumes(self, server: Server) -> None:
        """Take the disks away from a dead host: what it wrote and did not commit is given up, what it writes from now on is refused.

        One that several servers share is not had by the dead host where a guest on a living one has it.
        """
        shared = await self.shared(server)
        for disk in server.disks:
            if disk.volume and disk.volume not in shared:
                with contextlib.suppress(NoSuchKey):
                    await self.context.store.free(bytes.fromhex(disk.volume))

    async def shared(self, server: Server) -> set[str]:
        """The volumes that a guest on a living host has."""

        def look(connection: Connection) -> set[str]:
            others = records.sharers(connection, server, RUNNING)
            return {volume for volume, host in others if self.context.places.is_alive(connection, host)}

        return await self.context.read(look)

    async def drop_disk(self, server: Server, disk: Disk) -> None:
        """A disk that its server does not need any more.  A volume that the server never had is not its to remove."""
        if disk.is_volume:
            if disk.attachment:
                await self.context.volumes.end(disk.attachment)
            had = bool(disk.attachment) or disk.source != "volume"  # of any other source compute made it
            if had and disk.api_volume and disk.delete_on_termination:
                # A volume with snapshots, or one that somebody else has too, stays: it is its owner's to remove.
                with contextlib.suppress(CallRefused):
                    await self.context.volumes.delete(server.project, disk.api_volume)
        elif disk.volume:
            await self.drop_data(disk.volume)

    async def drop_data(self, volume: str) -> None:
        """Remove a volume of the store that is compute's own."""
        with contextlib.suppress(NoSuchKey):
            try:
                await self.context.store.delete(bytes.fromhex(volume), force=True)
            except HasSnapshots as failure:
                raise Unavailable(f"the disk {volume} is being copied into an image") from failure


def _groups(server: Server) -> list[str]:
    found: list[str] = msgspec.json.decode(server.security_groups)
    return found


def told(failure: ObjstoreError) -> str:
    """What a server's owner is told of a failure."""
    return str(getattr(failure, "message", "") or failure or type(failure).__name__)[: records.FAULT_CHARS]
