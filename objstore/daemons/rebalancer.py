"""The only publisher of rings: carries out what an operator asked for, replaces wiped devices, ends handovers.

A ring is saved on the daemon's host first and then given to every node; a node that is down learns of it from the first
request that names the newer epoch.  No consensus service is needed, because there is one publisher (a lock file).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from objstore.daemons.fleet import Fleet
from objstore.daemons.replicator import Replicator
from objstore.errors import InvalidRequest, ObjstoreError
from objstore.wire.messages import SyncState, SyncStateAnswer
from ring import builder
from ring.lookup import Ring
from ring.model import Device, RingError

log = logging.getLogger(__name__)


class Rebalancer:
    """Publishes rings for one policy; `save` makes a ring durable on this host before anybody hears of it."""

    def __init__(self, fleet: Fleet, replicator: Replicator, *, save: Callable[[Ring], None]) -> None:
        self.fleet = fleet
        self._replicator = replicator
        self._save = save
        self._lock = asyncio.Lock()

    async def publish(self, changes: Sequence[builder.Change]) -> Ring:
        """Make and publish the next ring.  Raises InvalidRequest with the ring builder's reason."""
        async with self._lock:
            now_s = self.fleet.world.clock.wall_us() / 1e6
            try:
                ring = builder.change(self.fleet.ring, changes, now_s=now_s)
            except RingError as refusal:
                raise InvalidRequest(str(refusal)) from refusal
            await self._spread(ring)
            return ring

    async def _spread(self, ring: Ring) -> None:
        self._save(ring)
        self.fleet.adopt(ring)
        for address in self.fleet.addresses():
            try:
                await self.fleet.push_ring(address)
            except ObjstoreError as failure:
                log.warning("ring of epoch %d not yet at %s: %r", ring.epoch, address, failure)

    async def step(self) -> str:
        """One look: replace wiped devices, end a finished handover.  Says what was done ("" for nothing)."""
        replaced = await self._replace_wiped()
        if replaced:
            return f"replaced {replaced}"
        async with self._lock:
            # Under the lock: a ring published between the judgement and the end would put devices that nobody asked into the set.
            judged = self.fleet.ring
            if not judged.moving() or await self.pending() or self.fleet.ring is not judged:
                return ""
            await self._spread(builder.finish(judged))
        return f"handover ended with epoch {self.fleet.ring.epoch}"

    async def pending(self) -> int:
        """Partitions of moving assignments that some new device does not hold yet; every device of the new set must answer."""
        ring = self.fleet.ring
        waiting = 0
        for device in sorted({d for p in ring.moving() for d in ring.primaries(p)}):
            try:
                answer = await self.fleet.ask(SyncState, SyncStateAnswer, device, epoch=ring.epoch)
            except ObjstoreError:
                waiting += 1
            else:
                waiting += len(answer.pending)
        return waiting

    async def _replace_wiped(self) -> list[int]:
        ring = self.fleet.ring
        known = {device.incarnation for device in ring.devices.values()}
        changes: list[builder.Change] = []
        for address, report in sorted((await self.fleet.reports()).items()):
            for seen in report.devices if report else ():
                if seen.incarnation in known or not seen.incarnation:
                    continue
                old = next((d for d in ring.members() if d.address == address and d.path == seen.path), None)
                if old is not None:
                    changes.append(builder.Replace(old.id, again(old, seen.incarnation)))
        if changes:
            await self.publish(changes)
        return [change.old_id for change in changes if isinstance(change, builder.Replace)]


def again(old: Device, incarnation: bytes) -> Device:
    """The same place in the cluster under a new incarnation; the builder gives it a new id."""
    return Device(
        id=-1,
        node=old.node,
        address=old.address,
        region=old.region,
        zone=old.zone,
        weight=old.weight,
        incarnation=incarnation,
        path=old.path,
    )
