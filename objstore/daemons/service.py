"""All daemons of one host in one process, and the questions that an operator asks them.

What `status` says is looked up when it is asked, never remembered: digests of all partitions on all devices, and each node's
own report.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from objstore.daemons import control
from objstore.daemons.auditor import Auditor
from objstore.daemons.compactor import Compactor
from objstore.daemons.container_sync import ContainerSync
from objstore.daemons.expirer import ObjectExpirer
from objstore.daemons.fleet import Fleet
from objstore.daemons.late_deletes import INTERVAL_S, LateDeletes
from objstore.daemons.lifecycle import Lifecycle
from objstore.daemons.rebalancer import Rebalancer, again
from objstore.daemons.replicator import RepairCounts, Replicator, Settle
from objstore.daemons.worker import Worker
from objstore.errors import DeadlineExceeded, InvalidRequest, ObjstoreError, StaleEpoch
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from ring import builder
from ring.lookup import Ring
from ring.model import Device

STALE_RETRIES = 10
WAIT_STEP_S = 0.1
AUDIT_TIMEOUT_S = 3600.0
STATUS_TIMEOUT_S = 5.0  # a scrape of metrics must have its answer within 10
DEVICE_TIMEOUT_S = 1.5  # for status: one that answers later is silent for whoever watches
FIRST_AUDIT_S = 3600.0  # after the start: a host that is started anew every few days would never come to the end of an interval of a week
HANDOVER_PAUSE_S = 1.0  # between two looks at a ring change that makes no progress


@dataclass(frozen=True)
class DaemonSettings:
    """How often each daemon looks, and how old a tombstone must be before it is asked about."""

    replicate_interval_s: float = 10.0
    audit_interval_s: float = 7 * 86_400.0
    audit_pause_s: float = 0.05  # between steps of the background scrub, so that clients come first
    upkeep_interval_s: float = 5.0
    reclaim_interval_s: float = 30.0
    reclaim_age_s: float = 3600.0
    rebalance_interval_s: float = 1.0


class Daemons:
    """Builds the workers; `start` lets them run by themselves, the other methods run them now."""

    def __init__(
        self,
        world: World,
        fleet: Fleet,
        *,
        settle: Settle,
        save_ring: Callable[[Ring], None],
        settings: DaemonSettings,
        sweep_uploads: Callable[[], Awaitable[int]] | None = None,
        lifecycle: Lifecycle | None = None,
        expirer: ObjectExpirer | None = None,
        sync: ContainerSync | None = None,
        late_deletes: LateDeletes | None = None,
    ) -> None:
        self.world = world
        self.fleet = fleet
        self.settings = settings
        self.replicator = Replicator(fleet, settle=settle)
        self.rebalancer = Rebalancer(fleet, self.replicator, save=save_ring)
        self.compactor = Compactor(fleet, reclaim_age_s=settings.reclaim_age_s, settle=settle)
        self.auditor = Auditor(fleet, settle=settle)
        self._background_auditor = Auditor(fleet, settle=settle, pause_s=settings.audit_pause_s)
        self._sweep_uploads = sweep_uploads
        self._moved_rows = False  # the last replication found something to do
        self._behind_since_s: float | None = None  # when rows out of their place were first seen, since all were in place
        self._owner = TaskOwner("daemons", limit=64)
        self.lifecycle = lifecycle
        self.expirer = expirer
        self.sync = sync
        self.workers = {
            name: Worker(world, self._owner, name=name, interval_s=interval_s, step=step, first_s=FIRST_AUDIT_S)
            for name, interval_s, step in (
                ("replicator", settings.replicate_interval_s, self._replicate),
                ("rebalancer", settings.rebalance_interval_s, self._rebalance),
                ("upkeep", settings.upkeep_interval_s, self.compactor.upkeep),
                ("reclaim", settings.reclaim_interval_s, self._reclaim),
                ("auditor", settings.audit_interval_s, self._background_auditor.run),
            )
        }

        if lifecycle is not None:
            poll_s = lifecycle.settings.poll_s
            self.workers["lifecycle"] = Worker(world, self._owner, name="lifecycle", interval_s=poll_s, step=lifecycle.run)
        if expirer is not None:
            self.workers["expirer"] = Worker(world, self._owner, name="expirer", interval_s=expirer.settings.poll_s, step=expirer.run)
        if late_deletes is not None:
            self.workers["late deletes"] = Worker(world, self._owner, name="late deletes", interval_s=INTERVAL_S, step=late_deletes.run)
        if sync is not None:
            interval_s = sync.settings.interval_s
            self.workers["container sync"] = Worker(world, self._owner, name="container sync", interval_s=interval_s, step=sync.run)

    def start(self) -> None:
        """Let all workers run by themselves."""
        for worker in self.workers.values():
            worker.start()

    async def aclose(self) -> None:
        """Stop all workers."""
        await self._owner.aclose()

    async def _replicate(self) -> RepairCounts:
        counts = await self.replicator.run()
        self._moved_rows = counts.rows_sent + counts.dropped > 0
        if self.fleet.ring.moving():
            self.workers["rebalancer"].wake()
        return counts

    async def _rebalance(self) -> str:
        done = await self.rebalancer.step()
        if self.fleet.ring.moving() and not done and not self._moved_rows:
            await self.world.clock.sleep(HANDOVER_PAUSE_S)  # a move that waits for a dead device must not be looked at without pause
        if done or self.fleet.ring.moving():
            self.workers["replicator"].wake()  # after the end of a handover too: what the old devices hold is to be let go
        return done

    async def _reclaim(self) -> int:
        gone = await self.compactor.reclaim_due()
        if self._sweep_uploads is not None:
            gone += await self._sweep_uploads()
        return gone

    # -- what an operator asks ----------------------------------------------------------------------------------------

    def handlers(self) -> control.Handlers:
        """The control socket's table."""
        return {
            control.Status: lambda request: self.status(timeout_s=request.timeout_s),
            control.Repair: lambda request: self.repair(timeout_s=request.timeout_s),
            control.Audit: lambda request: self.audit(timeout_s=request.timeout_s),
            control.AddDevices: self._add_devices,
            control.DrainNode: self._drain,
            control.RemoveNode: self._remove,
            control.ReplaceDevice: self._replace,
        }

    async def repair(self, *, timeout_s: float) -> control.WorkResult:
        """Replicate and rebalance until everything is in its place, or the time is over (`finished` is False then)."""
        deadline = self.world.clock.monotonic() + timeout_s
        total = RepairCounts()
        before = await self._quarantined()
        detail = "the ring kept changing"
        while True:
            try:
                await self.workers["rebalancer"].run_once()
                counts = await self.workers["replicator"].run_once()
                assert isinstance(counts, RepairCounts)
                total.add(counts)
                await self.compactor.reclaim()
                left = await self.replicator.verify()
                if left.clean and not self.fleet.ring.moving():
                    await self.compactor.upkeep()
                    return _work(total, finished=True, quarantined=_grown(before, await self._quarantined()))
                detail = (
                    f"{left.under_replicated} rows under-replicated, {left.misplaced} misplaced, "
                    f"{len(self.fleet.ring.moving())} partitions moving, devices silent: {sorted(left.silent)}"
                )
            except StaleEpoch:
                detail = "the ring kept changing"
            if self.world.clock.monotonic() > deadline:
                return _work(total, finished=False, quarantined=_grown(before, await self._quarantined()), detail=detail)
            await self.world.clock.sleep(WAIT_STEP_S)

    async def _quarantined(self) -> dict[bytes, int]:
        """What each device that is reported has taken out of service, by incarnation."""
        reports = (await self.fleet.reports()).values()
        return {device.incarnation: device.quarantined for report in reports if report for device in report.devices}

    async def audit(self, *, timeout_s: float = AUDIT_TIMEOUT_S) -> control.WorkResult:
        """A full scrub of all devices, or as much of it as the time allows; damage found is healed on the way."""
        deadline = self.world.clock.monotonic() + timeout_s
        for _ in range(STALE_RETRIES):
            try:
                counts = await self.auditor.run(timeout_s=max(0.0, deadline - self.world.clock.monotonic()))
            except StaleEpoch:
                continue
            detail = "" if counts.clean else f"damaged {counts.damaged}, not healed {counts.failed}, silent {sorted(counts.silent)}"
            if counts.late:
                detail = f"out of time after {counts.rows} rows; {detail}"
            return control.WorkResult(
                finished=counts.clean, healed=counts.healed, quarantined=counts.quarantined, rows_sent=counts.rows_sent,
                bytes_sent=counts.bytes_sent, detail=detail,
            )  # fmt: skip
        raise DeadlineExceeded("the ring kept changing while the audit ran; run it again when the change is done")

    async def status(self, *, timeout_s: float = STATUS_TIMEOUT_S) -> control.StatusResult:
        """Facts looked up now; a device that keeps silent for a third of the time is told of as silent."""
        device_s = min(DEVICE_TIMEOUT_S, timeout_s / 3)
        left, reports, pending = await asyncio.gather(
            self._verified(timeout_s, device_s), self.fleet.reports(timeout_s=device_s), self.rebalancer.pending(timeout_s=device_s)
        )
        ring = self.fleet.ring
        moving = len(ring.moving())
        queued = None if left is None else left.under_replicated + left.misplaced + pending
        if queued == 0:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = self.world.clock.monotonic()
        detail = f"{moving} partitions moving, {pending} not yet in sync" if moving else ""
        if left is None or left.silent:
            seen = (
                "counts of rows are not known: the ring or the nodes kept changing, or counting takes too long"
                if left is None
                else f"devices silent: {sorted(left.silent)}"
            )
            detail = (detail + "; " if detail else "") + seen
        return control.StatusResult(
            epoch=ring.epoch,
            under_replicated=left.under_replicated if left is not None else None,
            misplaced=left.misplaced if left is not None else None,
            queued_repairs=queued,
            quarantined=sum(device.quarantined for report in reports.values() if report for device in report.devices),
            changing=bool(moving),
            detail=detail,
        )

    async def _verified(self, timeout_s: float, device_s: float) -> RepairCounts | None:
        """What is out of its place, or None where every look was broken off or more is to be counted than the time allows."""
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(STALE_RETRIES):
                    try:
                        return await self.replicator.verify(timeout_s=device_s)
                    except ObjstoreError:  # a node died or the ring changed in the middle of it: look again
                        await self.world.clock.sleep(WAIT_STEP_S)
        except TimeoutError:
            pass
        return None

    def behind_s(self) -> float:
        """For how long every look at the cluster, since the last that found all in place, has found rows that are not."""
        since_s = self._behind_since_s
        return 0.0 if since_s is None else self.world.clock.monotonic() - since_s

    async def _publish(self, changes: list[builder.Change]) -> control.RingResult:
        before = set(self.fleet.ring.devices)
        ring = await self.rebalancer.publish(changes)
        self.workers["replicator"].wake()
        return control.RingResult(epoch=ring.epoch, devices=sorted(set(ring.devices) - before), moves=len(ring.moving()))

    async def _add_devices(self, request: control.AddDevices) -> control.RingResult:
        region = next(iter(self.fleet.ring.devices.values())).region
        return await self._publish([builder.Add(_device(new, region)) for new in request.devices])

    def _devices_of(self, node: str) -> list[Device]:
        found = [device for device in self.fleet.ring.members() if device.node == node]
        if not found:
            names = ", ".join(sorted({device.node for device in self.fleet.ring.members()}))
            raise InvalidRequest(f"the ring has no device on a node {node!r}; its nodes are {names}")
        return found

    async def _drain(self, request: control.DrainNode) -> control.RingResult:
        return await self._publish([builder.Weigh(device.id, 0.0) for device in self._devices_of(request.node)])

    async def _remove(self, request: control.RemoveNode) -> control.RingResult:
        return await self._publish([builder.Remove(device.id) for device in self._devices_of(request.node)])

    async def _replace(self, request: control.ReplaceDevice) -> control.RingResult:
        old = self.fleet.ring.devices.get(request.device)
        if old is None:
            raise InvalidRequest(f"the ring has no device {request.device}")
        return await self._publish([builder.Replace(old.id, again(old, bytes.fromhex(request.incarnation)))])


def _device(new: control.NewDevice, region: str) -> Device:
    return Device(
        id=-1, node=new.node, address=new.address, region=region, zone=new.zone, weight=new.weight,
        incarnation=bytes.fromhex(new.incarnation), path=new.path,
    )  # fmt: skip


def _grown(before: dict[bytes, int], after: dict[bytes, int]) -> int:
    """How much more there is on the devices that were there both times."""
    return sum(max(0, count - before.get(device, count)) for device, count in after.items())


def _work(counts: RepairCounts, *, finished: bool, quarantined: int, detail: str = "") -> control.WorkResult:
    return control.WorkResult(
        finished=finished, healed=counts.healed, quarantined=quarantined, rows_sent=counts.rows_sent, bytes_sent=counts.bytes_sent,
        detail=detail,
    )  # fmt: skip
