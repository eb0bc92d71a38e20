"""Removes what requests asked to have removed later (objects/doomed.py); one host of the cluster at a time, under a lease."""

import logging

from objstore.daemons.worker import BACK_OFF_LIMIT_S
from objstore.errors import ConditionalConflict, NoSuchBucket, NoSuchKey, OutcomeUnknown, PreconditionFailed, Unavailable
from objstore.objects.api import Conditions, DeleteTarget, Principal
from objstore.objects.doomed import DoomedRow, doomed_rows, forget
from objstore.objects.store import ObjectStore
from objstore.records.store import Leases
from objstore.runtime.world import World

log = logging.getLogger(__name__)

INTERVAL_S = 5.0
LEASE_TTL_S = 30.0
RENEW_EVERY_S = 10.0
RECORDS_PER_PAGE = 4  # of 128 KiB each
AT_ONCE = 100  # keys of one call


class LateDeletes:
    """Goes through the records, the oldest first."""

    def __init__(self, store: ObjectStore, world: World, *, holder: str) -> None:
        self.removed = 0
        self._store = store
        self._clock = world.clock
        self._leases = Leases(store.cluster, world.clock, "doomed")
        self._holder = f"{holder}-{world.rng.token(4).hex()}"
        self._renewed_at = 0.0
        self._again: dict[bytes, float] = {}  # records of which something could not be removed: when to try again

    async def run(self) -> int:
        """Remove all that is to be removed; how many were.  Raises Unavailable."""
        before, self._renewed_at = self.removed, 0.0
        start: bytes | None = b""
        while start is not None:
            rows, start = await doomed_rows(self._store.cluster, start, RECORDS_PER_PAGE)
            for row in rows:
                if self._clock.monotonic() < self._again.get(row.name, 0.0):
                    continue
                if not await self._remove(row):
                    return self.removed - before
        return self.removed - before

    async def _renew(self) -> bool:
        if self._clock.monotonic() - self._renewed_at < RENEW_EVERY_S:
            return True
        self._renewed_at = self._clock.monotonic()
        return await self._leases.acquire("round", self._holder, LEASE_TTL_S) is not None

    async def _remove(self, row: DoomedRow) -> bool:
        """Remove the objects of a record; False when another host does."""
        doomed = row.doomed
        owner = Principal(account=doomed.account).at(doomed.account)
        conditions = Conditions(as_of_us=doomed.as_of_us)
        left = False
        for first in range(0, len(doomed.keys), AT_ONCE):
            if not await self._renew():
                return False
            targets = [DeleteTarget(key, conditions=conditions) for key in doomed.keys[first : first + AT_ONCE]]
            try:
                if (await self._store.find_bucket(owner, doomed.bucket)).id != doomed.bucket_id:
                    break
                outcomes = await self._store.delete_many(owner, doomed.bucket, targets)
            except NoSuchBucket:
                break  # gone with all that was in it
            for outcome in outcomes:
                error = outcome.error
                self.removed += error is None
                # Written since, or removed already: both are as they should be.
                if error is None or isinstance(error, PreconditionFailed | NoSuchKey):
                    continue
                if isinstance(error, ConditionalConflict | OutcomeUnknown | Unavailable):
                    left = True
                else:  # a policy or a lock keeps it: nobody waits for an answer
                    log.warning("object %r of %s/%s is not removed: %s", outcome.key, doomed.account, doomed.bucket, error)
        if left:
            self._again[row.name] = self._clock.monotonic() + BACK_OFF_LIMIT_S
            return True
        self._again.pop(row.name, None)
        await forget(self._store.cluster, row)
        return True
