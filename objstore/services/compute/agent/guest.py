"""A guest's life on this host: started, stopped, started anew, halted, ended, found again after the agent itself was.

One thing is done with a guest at a time (`turn`).  What is to be is written down before it is done, so that an agent that is started anew
goes on; every act can be repeated.  Whatever ends a guest, its disks are let go of: another host may start it then.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec

from objstore.errors import InvalidArgument, ObjstoreError, Refused, Unavailable
from objstore.runtime import commands
from objstore.runtime.commands import Running
from objstore.runtime.tasks import TaskOwner
from objstore.services.compute.agent import config_drive, layout
from objstore.services.compute.agent.check import DEVICES_LIMIT
from objstore.services.compute.agent.command import NAME_PREFIX, HostFacts, command_line
from objstore.services.compute.agent.confinement import confine
from objstore.services.compute.agent.console import begin
from objstore.services.compute.agent.host import Host
from objstore.services.compute.agent.layout import Record, disk_name, nic_name, with_slots
from objstore.services.compute.agent.qmp import QmpClosed, QmpRefused
from objstore.services.compute.agent.run import ODD, GuestBroken, Run, find_again, launch
from objstore.services.compute.agent_api import Power, ServerSpec
from objstore.services.network.driver.api import NotTold, Tap

log = logging.getLogger(__name__)
PRESS_S = 5.0  # between presses of a power button

AGAIN_S = 1.0  # between attempts to let go of disks that cannot be brought into the store now
SETTLE_AGAIN_S = 10.0  # between attempts to go on with a guest that was found again
RESTART_S = 10.0  # for a guest that was told to start anew to be seen running


class Guest:
    """A guest that this host knows."""

    def __init__(self, host: Host, record: Record) -> None:
        self.host = host
        self.record = record
        self.run: Run | None = None
        self.turn = asyncio.Lock()
        self.hurry = asyncio.Event()  # it is to be destroyed: nobody waits for it any more
        self.moving = False  # it comes from another host and is not this one's yet
        self.gone = False  # it was destroyed
        self.sought = False  # the agent is new, and does not know yet whether it runs
        self._told = False  # to end
        self._tasks = TaskOwner(f"guest {record.spec.id}")

    @property
    def id(self) -> str:
        """The server's."""
        return self.record.spec.id

    @property
    def spec(self) -> ServerSpec:
        """What it should be."""
        return self.record.spec

    @property
    def directory(self) -> str:
        """Where its files are."""
        return self.host.path(self.id)

    @property
    def facts(self) -> HostFacts:
        """The host's, as its process sees them."""
        return replace(self.host.facts, nbd=self.record.nbd or self.host.facts.nbd)

    def power(self) -> Power:
        """As reports tell it; while it is sought, as it should be."""
        if self.sought and self.record.on:
            return Power(self.id, "running")
        if self.run is None:
            return Power(self.id, "off", self.record.why)
        return Power(self.id, "crashed" if self.run.crashed else self.run.state)

    @property
    def is_lost(self) -> bool:
        """Whether it was coming from another host and did not come whole: it is still there, or nowhere."""
        return self.record.coming and self.run is None

    def running(self) -> Run:
        """The run.  Raises Refused when it is off."""
        if self.run is None:
            raise Refused(f"server {self.id} is off")
        return self.run

    async def save(self, **changes: object) -> None:
        """Write down what has changed."""
        self.record = msgspec.structs.replace(self.record, **changes)
        await self.host.threads.run(layout.save, self.host.kept, self.id, msgspec.json.encode(self.record))

    async def save_spec(self, spec: ServerSpec) -> None:
        """Write down another spec, with slots for its devices."""
        await self.save(spec=spec, slots=slots_for(spec, self.record.slots))

    # -- on and off -------------------------------------------------------------------------------------------

    async def start(self, *, force: bool = False) -> None:
        """Have it run; nothing happens where it does.  Raises Refused, Unavailable."""
        if self.run is not None:
            return
        await self.save(on=True, why="", halted=False, coming=False)
        try:
            await asyncio.gather(*(self.host.disks.attach(disk.volume, force=force) for disk in self.spec.disks))
            await self.launch()
        except BaseException:
            if self.run is not None:  # nobody would know of one that runs all the same, and the next agent would end it
                await self.power_off(self.run, 0)
            self.release_later()
            await self.save(on=False)
            raise
        self.host.changed()

    async def launch(self, blank: dict[str, int] | None = None) -> Run:
        """Start QEMU, with the network cards plugged in; with `blank` it awaits a guest.  Raises Refused, Unavailable, OSError."""
        spec, host = self.spec, self.host
        await host.threads.run(prepare, spec, self.directory, host.facts.firmware)
        if spec.config_drive:
            await config_drive.make(spec, f"{self.directory}/{layout.CONFIG_DRIVE}")
        if (stray := await host.threads.run(unwritten, self.id, self.directory)) is not None:
            # By whatever fault: two that write to the same disks are the one thing that must never be.
            log.error("server %s has a process %d that nobody knew of; it is ended", self.id, stray.pid)
            await commands.end(stray)
        netdevs: dict[str, str] = {}
        confined = await host.threads.run(confine, host.settings.user, self.directory, host.facts.nbd)
        descriptors = [] if confined.descriptor is None else [confined.descriptor]
        self._told = False
        try:
            await self.save(nbd=confined.nbd)
            for nic in spec.nics:
                netdevs[nic.port], descriptor = await self.plug(nic.port)
                descriptors += [] if descriptor is None else [descriptor]
            arguments = command_line(spec, self.facts, self.record.slots, netdevs, blank)
            run = await launch(
                host.world.net, host.world.clock, self.directory, arguments, host.changed, descriptors=descriptors, wrapper=confined.wrapper
            )
        finally:
            for descriptor in descriptors:
                commands.close(descriptor)
        self.watch(run)
        await self.save(pid=run.process.pid, started=run.process.started, boot_id=host.boot_id)
        await run.refresh()
        return run

    async def plug(self, port: str) -> tuple[str, int | None]:
        """What stands behind a card, for -netdev; and a descriptor that is to be closed."""
        try:
            plugged = await self.host.driver.plug(port, self.id)
        except NotTold:  # the port is newer than what is known here
            await self.host.ask_networks()
            plugged = await self.host.driver.plug(port, self.id)
        if isinstance(plugged, Tap):
            descriptor = await self.host.driver.open_tap(plugged)
            return f"tap,fd={descriptor}", descriptor
        return plugged.netdev, None

    async def stop(self, timeout_s: float) -> None:
        """Power it off: by its button, after `timeout_s` by force.  Everything it wrote is in the store when this returns.  Raises Unavailable."""
        if self.run is not None:
            await self.save(on=False, why="host")
            await self.power_off(self.run, timeout_s)
        await self.release()
        self.host.changed()

    async def power_off(self, run: Run, timeout_s: float) -> None:
        """End its process."""
        self._told = True
        if timeout_s > 0 and run.state == "running" and not run.ended.is_set():
            left_s = timeout_s
            with contextlib.suppress(QmpClosed, QmpRefused):
                while left_s > 0 and not run.ended.is_set() and not self.hurry.is_set():
                    await run.ask("system_powerdown")  # again and again: a guest that was starting did not see it
                    await self._ended_or_hurried(run, min(left_s, PRESS_S))
                    left_s -= PRESS_S
        if not run.ended.is_set():
            await run.quit()
        self.run = None

    async def _ended_or_hurried(self, run: Run, timeout_s: float) -> None:
        waits = [self._tasks.spawn(run.ended.wait()), self._tasks.spawn(self.hurry.wait())]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def release(self) -> None:
        """Let go of disks and network cards.  Raises Unavailable."""
        assert self.run is None
        for nic in self.spec.nics:
            await self.host.driver.unplug(nic.port)
        volumes = [disk.volume for disk in self.spec.disks if not self.host.in_use(disk.volume, self.id)]
        await asyncio.gather(*map(self.host.disks.detach, volumes))

    def release_later(self) -> None:
        """The same as soon as it can be done; not when it runs again before."""

        async def work() -> None:
            while True:
                async with self.turn:
                    if self.run is not None or self.gone:
                        return
                    try:
                        await self.release()
                    except (ObjstoreError, OSError) as failure:
                        log.warning("the disks of server %s are not let go of yet: %s", self.id, failure)
                    else:
                        return
                await self.host.world.clock.sleep(AGAIN_S)

        self._tasks.spawn(work())

    async def reboot(self, *, hard: bool, timeout_s: float) -> None:
        """Start it anew; it runs when this returns.  Raises Refused, Unavailable."""
        run = self.run
        if run is None:
            await self.start()
            return
        if not hard and run.state == "running" and timeout_s > 0:
            await self._reboot_in_order(run, timeout_s)
            if self.run is None:
                await self.start()
                return
        await run.ask("system_reset")
        if run.state != "running":
            await run.ask("cont")
        await run.refresh()
        self.host.changed()

    async def _reboot_in_order(self, run: Run, timeout_s: float) -> None:
        """Press the button; QEMU stays, with its disks, when the guest has powered itself off."""
        await run.ask("set-action", shutdown="pause")
        try:
            await run.ask("system_powerdown")
            deadline = self.host.world.clock.monotonic() + timeout_s
            while run.shutdown is None and not run.ended.is_set() and not self.hurry.is_set():
                if self.host.world.clock.monotonic() >= deadline:
                    log.info("server %s does not end within %g s of its power button; it is reset", self.id, timeout_s)
                    break
                await self.host.world.clock.sleep(0.05)
            run.shutdown = None
        finally:
            with contextlib.suppress(QmpClosed, QmpRefused):
                await run.ask("set-action", shutdown="poweroff")
        await run.refresh()

    async def pause(self, *, paused: bool) -> None:
        """Halt its processors, or let them go on.  Raises Refused when it is off, Unavailable."""
        run = self.running()
        if self.record.halted:
            await self.save(halted=False)  # if it stands still from now on, it was asked to
        await run.ask("stop" if paused else "cont")
        await run.refresh()
        self.host.changed()

    @contextlib.asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """Its processors are halted for the length of the block, where they run.  Raises Unavailable.

        That is written down before: an agent that finds it so after its own end knows that it is to go on.
        """
        run = self.run
        if run is None or run.state != "running":
            yield
            return
        await self.save(halted=True)
        try:
            await run.ask("stop")
            yield
        finally:
            if not run.ended.is_set():
                await self._let_go_on(run)

    async def _let_go_on(self, run: Run) -> None:
        try:
            await run.ask("cont")
            await self.save(halted=False)
        except (ObjstoreError, OSError):
            self._tasks.spawn(self._settle_later(run))
            raise

    async def destroy(self) -> None:
        """End it; what is kept of it can be removed then.  Raises Unavailable: it could not be let go of yet."""
        if self.run is not None:
            await self._note_end("host")
            await self.power_off(self.run, 0)
        await self.release()
        self.gone = True
        self.host.changed()

    # -- ends that nobody asked for, and new beginnings ---------------------------------------------------------

    def watch(self, run: Run) -> None:
        """See to it that the end of a run is noticed."""
        self.run = run
        self._tasks.spawn(self._watch(run), name=f"watch {self.id}")

    def watch_again(self) -> None:
        """The same for a run that began while the guest was not this host's yet."""
        if self.run is not None:
            self._tasks.spawn(self._see_to_the_end(self.run), name=f"watch {self.id}")

    async def _watch(self, run: Run) -> None:
        await run.wait_for_end()
        if not self.moving:
            await self._see_to_the_end(run)

    async def _see_to_the_end(self, run: Run) -> None:
        await run.ended.wait()
        async with self.turn:
            if self.run is not run:
                return  # who ended it sees to the rest
            self.run = None
            why = run.why(told=self._told)
            if why == "gone":
                log.error("QEMU of server %s is gone", self.id)
            else:
                log.info("server %s powered itself off", self.id)
            await self._note_end(why)
            self.host.changed()
        self.release_later()

    async def _note_end(self, why: str) -> None:
        """Write down that it is off.  A disk that is full keeps nothing from ending: the next agent sees by itself what runs."""
        try:
            await self.save(on=False, why=why)
        except OSError as failure:
            log.error("it cannot be written down that server %s is off: %s", self.id, failure)  # noqa: TRY400 the message says all there is

    async def adopt(self) -> None:
        """After the agent was started: find the process again, or see that it is gone."""
        record = self.record
        process: Running | None = record.process
        if record.boot_id != self.host.boot_id or not commands.is_running(record.process):
            # It may have been started and not written down yet.
            process = unwritten(self.id, self.directory)
        if process is not None:
            for nic in self.spec.nics:
                self.host.driver.hold(nic.port)
            try:
                run = await find_again(self.host.world.net, self.host.world.clock, self.directory, process, self.host.changed)
            except GuestBroken as broken:
                log.error("server %s does not answer and is ended: %s", self.id, broken)  # noqa: TRY400 the message says all there is
                await commands.end(process)
            else:
                self.watch(run)
                if not await self._settled(run):
                    self._tasks.spawn(self._settle_later(run))
                self.attach_later(run)
                return
        if record.on:
            await self._note_end("gone")
        self.release_later()

    async def _settled(self, run: Run) -> bool:
        """Whether a guest that was found again is what it should be: one that answers oddly keeps neither the agent nor other guests."""
        try:
            await self._go_on(run)
        except ODD as failure:
            log.warning("server %s is not in order yet: %.200r", self.id, failure)
            return False
        return True

    async def _settle_later(self, run: Run) -> None:
        while True:
            await self.host.world.clock.sleep(SETTLE_AGAIN_S)
            async with self.turn:
                if self.run is not run or await self._settled(run):
                    return

    async def _go_on(self, run: Run) -> None:
        status = await run.refresh()
        if status in ("inmigrate", "postmigrate"):  # it did not come whole, or is on another host by now
            await self.save(on=False, why="gone")
            await self.power_off(run, 0)
            self.release_later()
            return
        if not self.record.on:
            await self.power_off(run, 0)
            self.release_later()
            return
        await run.stay()
        await run.ask("set-action", shutdown="poweroff")  # it was to be started anew, if it had powered itself off already
        if status == "shutdown":
            await run.ask("system_reset")
        if status == "shutdown" or (status == "paused" and self.record.halted):
            await run.ask("cont")
        if self.record.halted or self.record.coming:
            await self.save(halted=False, coming=False)
        await run.refresh()

    def attach_later(self, run: Run, *, force: bool = False) -> None:
        """Have the disks of a run attached as soon as it can be done: an agent that died while the guest moved may have let go of them."""

        async def work() -> None:
            told = False
            while True:
                async with self.turn:
                    if self.run is not run or self.gone:
                        return
                    try:
                        there = await run.nodes()
                        volumes = [disk.volume for disk in self.spec.disks if disk_name(disk.volume) in there]
                        await asyncio.gather(*(self.host.disks.attach(volume, force=force) for volume in volumes))
                    except ODD as failure:
                        if not told:
                            log.warning("the disks of server %s are not attached yet: %.200r", self.id, failure)
                        told = True
                    else:
                        return
                await self.host.world.clock.sleep(SETTLE_AGAIN_S)

        self._tasks.spawn(work())

    async def aclose(self) -> None:
        """End this object; the guest runs on."""
        await self._tasks.aclose()
        if self.run is not None:
            self.run.monitor.close()


def unwritten(server: str, directory: str) -> Running | None:
    """The guest's process by its looks.  A guest that moves has one more, of another agent, on machines with several of those."""
    for process in commands.processes_with(f"{NAME_PREFIX}{server}"):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/cwd").readlink() == Path(directory, layout.RUN).resolve():
                return process
    return None


def slots_for(spec: ServerSpec, slots: dict[str, int]) -> dict[str, int]:
    """Where a guest's devices are plugged in.  Raises InvalidArgument."""
    names = [disk_name(disk.volume) for disk in spec.disks if disk.bus != "ide"] + [nic_name(nic.port) for nic in spec.nics]
    return with_slots(slots, names, DEVICES_LIMIT)


def prepare(spec: ServerSpec, directory: str, firmware: str) -> None:
    """Files that QEMU wants to find.  Raises InvalidArgument, Unavailable."""
    Path(directory, layout.RUN).mkdir(mode=0o700, exist_ok=True)
    begin(directory)
    if spec.firmware == "uefi":
        if not firmware:
            raise Unavailable("guests with UEFI need its firmware: apt-get install ovmf")
        variables = Path(firmware.replace("_CODE", "_VARS"))
        if not variables.exists():
            raise InvalidArgument(f"{variables}, which belongs to {firmware}, is not there")
        own = Path(directory, layout.RUN, layout.FIRMWARE)
        if not os.path.lexists(own):
            with own.open("xb") as file:
                file.write(variables.read_bytes())
