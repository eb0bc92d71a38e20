"""The only publisher of rings: carries out what an operator asked for, replaces wiped devices, notes moved ones, ends handovers.

A ring is saved on the daemon's host first and then given to every node; a node that is down learns of it from the first
request that names the newer epoch.  No consensus service is needed, because there is one publisher (a lock file).
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from objstore.daemons.fleet import CALL_TIMEOUT_S, Fleet
from objstore.daemons.replicator import Replicator
from objstore.errors import InvalidRequest, ObjstoreError, Unavailable
from objstore.wire.messages import DeviceReport, SyncState, SyncStateAnswer
from ring import builder
from ring.lookup import Ring
from ring.model import UNASSIGNED, Device, RingError

log = logging.getLogger(__name__)


class Rebalancer:
    """Publishes rings for one policy; `save` makes a ring durable on this host before anybody hears of it."""

    def __init__(self, fleet: Fleet, replicator: Replicator, *, save: Callable[[Ring], None]) -> None:
        self.fleet = fleet
        self._replicator = replicator
        self._save = save
        self._lock = asyncio.Lock()
        self._strangers: set[bytes] = set()  # incarnations that were complained of

    async def publish(self, changes: Sequence[builder.Change]) -> Ring:
        """Make and publish the next ring.  Raises InvalidRequest with the ring builder's reason, Unavailable."""
        async with self._lock:
            now_s = self.fleet.world.clock.wall_us() / 1e6
            try:
                ring = builder.change(self.fleet.ring, changes, now_s=now_s)
            except RingError as refusal:
                raise InvalidRequest(str(refusal)) from refusal
            await self._spread(ring)
            return ring

    async def _spread(self, ring: Ring) -> None:
        """Raises Unavailable when it cannot be made durable here; then nobody hears of it."""
        try:
            self._save(ring)
        except (RingError, OSError) as failure:
            raise Unavailable(f"the ring of epoch {ring.epoch} cannot be saved on this host: {failure}") from failure
        self.fleet.adopt(ring)
        for address in self.fleet.addresses():
            try:
                await self.fleet.push_ring(address)
            except ObjstoreError as failure:
                log.warning("ring of epoch %d not yet at %s: %r", ring.epoch, address, failure)

    async def step(self) -> str:
        """One look: note moved devices and replace wiped ones, end a finished handover.  Says what was done ("" for nothing)."""
        done = await self._note_devices()
        if done:
            return done
        async with self._lock:
            # Under the lock: a ring published between the judgement and the end would put devices that nobody asked into the set.
            judged = self.fleet.ring
            if not judged.moving() or await self.pending() or self.fleet.ring is not judged:
                return ""
            await self._spread(builder.finish(judged))
        return f"handover ended with epoch {self.fleet.ring.epoch}"

    async def pending(self, *, timeout_s: float = CALL_TIMEOUT_S) -> int:
        """Partitions of moving assignments that some new device does not hold yet; every device of the new set must answer."""
        ring = self.fleet.ring

        async def waiting(device: int) -> int:
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await self.fleet.ask(SyncState, SyncStateAnswer, device, epoch=ring.epoch, timeout_s=timeout_s)
            except (ObjstoreError, TimeoutError):
                return 1
            return len(answer.pending)

        return sum(await asyncio.gather(*map(waiting, sorted({d for p in ring.moving() for d in ring.primaries(p)}))))

    async def _note_devices(self) -> str:
        ring = self.fleet.ring
        changes: list[builder.Readdress | builder.Replace] = []
        for address, report in sorted((await self.fleet.reports()).items()):
            if report is None:
                continue
            members = [device for device in ring.members() if device.address == address]
            changes += _moved(members, report.devices)
            known = {device.incarnation for device in ring.devices.values()}
            unknown = [seen for seen in report.devices if seen.incarnation and seen.incarnation not in known]
            wiped = dict(_wiped(members, report.devices, unknown))
            changes += [builder.Replace(old.id, again(old, seen.incarnation, seen.path)) for old, seen in wiped.items()]
            taken = {seen.incarnation for seen in wiped.values()}
            for seen in unknown:
                if seen.incarnation not in taken | self._strangers:
                    self._strangers.add(seen.incarnation)
                    log.warning(
                        "%s reports a device at %s that the ring does not know, and no device of that node is missing by that name; nothing is put on it",
                        report.name, seen.path,
                    )  # fmt: skip
        if not changes:
            return ""
        await self.publish(changes)
        moved = [change.device_id for change in changes if isinstance(change, builder.Readdress)]
        replaced = [change.old_id for change in changes if isinstance(change, builder.Replace)]
        return ", ".join([f"replaced {replaced}"] * bool(replaced) + [f"noted other paths of {moved}"] * bool(moved))


def _moved(members: Sequence[Device], reported: Sequence[DeviceReport]) -> Iterator[builder.Readdress]:
    """Devices of a node that are mounted elsewhere than the ring says: the cluster's directory has another name now."""
    paths = {seen.incarnation: seen.path for seen in reported}
    for device in members:
        path = paths.get(device.incarnation, device.path)
        if path != device.path:
            yield builder.Readdress(device.id, device.address, path)


def _wiped(
    members: Sequence[Device], reported: Sequence[DeviceReport], unknown: Sequence[DeviceReport]
) -> Iterator[tuple[Device, DeviceReport]]:
    """Which devices of a node that it does not report any more are those of unknown incarnation that it reports.

    At the same path, or, since the cluster's directory may have been moved meanwhile, under the same name (d1, d2...)
    where only one of each has that name.
    """
    present = {seen.incarnation for seen in reported}
    missing = [device for device in members if device.incarnation not in present]
    at = {device.path: device for device in missing}
    rest = [seen for seen in unknown if seen.path not in at]
    for seen in unknown:
        if seen.path in at:
            yield at.pop(seen.path), seen
    for seen in rest:
        name = PurePath(seen.path).name
        same = [device for path, device in at.items() if PurePath(path).name == name]
        if len(same) == 1 and sum(PurePath(other.path).name == name for other in rest) == 1:
            yield same[0], seen


def again(old: Device, incarnation: bytes, path: str | None = None) -> Device:
    """The same place in the cluster under a new incarnation; the builder gives it a new id."""
    return replace(old, id=UNASSIGNED, incarnation=incarnation, path=old.path if path is None else path)
