"""The cluster as the object model sees it: assembles membership, operations, bodies and listings of one proxy."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from objstore.cluster import api
from objstore.cluster.client import Clients
from objstore.cluster.clock import BallotClock
from objstore.cluster.listing import Lister
from objstore.cluster.membership import Membership
from objstore.cluster.once import read_one
from objstore.cluster.read import BodyReader, look, read, settle
from objstore.cluster.repair import Repair
from objstore.cluster.rounds import Operation
from objstore.cluster.stage import Behind, Staging
from objstore.cluster.usage import bucket_holdings, holdings_of
from objstore.cluster.write import EarlyQuery, conditional_write, plain_write
from objstore.core.quota import Holdings, Usage
from objstore.core.reads import Offer
from objstore.core.rows import Row, RowKey
from objstore.core.timestamp import Ballot
from objstore.core.versions import head_key
from objstore.errors import QuorumLost, Unavailable
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from ring.lookup import Ring
from ring.model import RingError

TOKEN_BYTES = 16
BLOB_BYTES = 16
_NO_POLICIES: Mapping[str, api.ClusterApi] = MappingProxyType({})


@dataclass(frozen=True)
class ClusterSettings:
    """How long operations may take.

    `hedge_s`: after which a further replica is asked because one is slow.  `patience_s`: how long after its start an operation
    asks devices again that cannot be reached, before it takes that for their answer; nodes restart within this time.
    """

    operation_timeout_s: float = 10.0
    body_timeout_s: float = 15.0
    scan_timeout_s: float = 10.0
    hedge_s: float = 0.05
    patience_s: float = 3.0
    background_limit: int = 4096


class Cluster:
    """Implements `cluster.api.ClusterApi` for one proxy (or daemon).

    `proxy_id` is 32 bits that no other process uses, fresh at every start: ballots are unique by it.
    """

    def __init__(
        self, world: World, *, ring: Ring, proxy_id: int, name: str, cluster_key: bytes, settings: ClusterSettings | None = None
    ) -> None:
        self.settings = settings or ClusterSettings()
        self._world = world
        self._clock = BallotClock(world.clock, world.rng, proxy_id)
        self._tasks = TaskOwner(f"cluster of {name}", limit=self.settings.background_limit)
        self.members = Membership(Clients(world, cluster_key=cluster_key, name=name), ring)
        self.repair = Repair(self.members)
        self._behind = Behind()
        self.failed_writes = 0  # for want of a quorum, since the start
        self._lister = Lister(
            self.members, world.clock, self._tasks,
            read=self._read_at, timeout_s=self.settings.scan_timeout_s, patience_s=self.settings.patience_s,
        )  # fmt: skip

    @property
    def policies(self) -> Mapping[str, api.ClusterApi]:
        """This is one ring; see policies.py for several."""
        return _NO_POLICIES

    @property
    def ring(self) -> Ring:
        """The ring in use."""
        return self.members.ring

    def adopt(self, ring: Ring) -> bool:
        """Use a ring if it is newer."""
        return self.members.adopt(ring)

    def on_ring(self, listener: Callable[[Ring], None]) -> None:
        """Be told of each newer ring."""
        self.members.on_ring(listener)

    def serves(self) -> bool:
        """Whether a quorum of every partition can be reached, as far as is known; nodes that are down are dialed again."""
        try:
            self.members.placement.cover(self.members.ill())
        except RingError:
            return False
        return True

    async def start(self) -> None:
        """Nothing is opened before it is needed; a method of its own so that owners need not know."""

    async def aclose(self) -> None:
        """Give up what goes on in the background and close all channels; operations under way fail soon."""
        await self.repair.aclose()
        await self._tasks.aclose()
        await self.members.aclose()

    # -- registers ----------------------------------------------------------------------------------------------------

    def partition(self, key: RowKey, *, spread: int = 0) -> int:
        """The ring slot of a key."""
        return self.members.placement.partition(key, spread)

    def anchor(self, key: RowKey, *, spread: int = 0) -> int:
        """What places a part where the body of `key` lies."""
        return self.members.placement.anchor(key, spread)

    async def read(self, key: RowKey, *, spread: int = 0, inline: bool = False) -> api.Held:
        """The chosen row, written back where needed before this returns."""
        return await self._read_at(key, self.partition(key, spread=spread), inline=inline)

    async def read_once_written(self, key: RowKey, origin: Ballot, *, spread: int = 0) -> api.Held:
        """A row that is written once, from whichever replica has it."""
        find = partial(self.partition, key, spread=spread)
        held = await read_one(self.members, key, find, origin, timeout_s=self.settings.operation_timeout_s)
        return held or await self._read_at(key, find(), inline=True)

    def is_well(self, key: RowKey, *, spread: int = 0) -> bool:
        """Whether no replica of a partition is known to be ill; those that are down are dialed again."""
        ill = self.members.ill()
        return not ill or ill.isdisjoint(self.members.plan(self.partition(key, spread=spread)).quorum.members)

    async def settle(self, key: RowKey, partition: int, offer: Offer | None = None) -> None:
        """Give every primary that can be reached the chosen row, also one whose promise keeps a merge out.  Raises QuorumLost.

        `offer`: a row of a version that a device holds which is no primary; it is chosen when it ranks highest.
        """
        operation = self._operation(key, partition)
        try:
            await settle(operation, issue=self._clock.rising(), offer=offer)
        except Unavailable:
            self._heed_clocks(operation)
            raise

    def begin_query(self, key: RowKey, *, spread: int = 0) -> EarlyQuery:
        """Send the query of a plain write before its body is there; give it to `write`, or close it."""
        return EarlyQuery(self._operation(key, self.partition(key, spread=spread)))

    async def write(
        self, key: RowKey, draft: Row, *, spread: int = 0, payload: bytes | None = None, staging: api.Staging | None = None,
        early: EarlyQuery | None = None, holders: Sequence[int] = (),
    ) -> api.Written:  # fmt: skip
        """Plain write."""
        if early is None and isinstance(staging, Staging):
            early = staging.early
        if early is not None:
            assert early.key == key
            await early.wait()
        sources = _holders(staging) or tuple(holders)
        operation = self._operation(key, self.partition(key, spread=spread), payload=payload, sources=sources)
        survey = early.result(operation.plan) if early is not None else None
        token = self._world.rng.token(TOKEN_BYTES)
        try:
            return await plain_write(
                operation, draft, token=token, issue=self._clock.rising(), repair=self.repair, payload=payload, sources=sources,
                survey=survey,
            )  # fmt: skip
        except Unavailable:
            self.failed_writes += 1
            self._heed_clocks(operation)
            raise

    async def bury(self, key: RowKey, draft: Row, *, spread: int = 0) -> bool:
        """Plain write of a tombstone, unless a quorum agrees that there is nothing to bury."""
        early = self.begin_query(key, spread=spread)
        await early.wait()
        if early.found_nothing(self.members.plan(self.partition(key, spread=spread))):
            return False
        await self.write(key, draft, spread=spread, early=early)
        return True

    async def conditional(
        self, key: RowKey, judge: api.Judge, *, spread: int = 0, payload: bytes | None = None, staging: api.Staging | None = None
    ) -> api.Written:
        """Conditional write."""
        rest = partial(conditional_write, judge=judge, repair=self.repair, payload=payload, sources=_holders(staging))
        return await self._conditional(key, rest, spread=spread, payload=payload, staging=staging)

    async def conditional_versions(
        self, key: RowKey, judge: api.VersionsJudge, *, spread: int = 0, payload: bytes | None = None, staging: api.Staging | None = None
    ) -> api.Written:
        """Conditional write by a judge that looks at noncurrent versions."""
        rest = partial(conditional_write, judge=judge, versions=True, repair=self.repair, payload=payload, sources=_holders(staging))
        return await self._conditional(key, rest, spread=spread, payload=payload, staging=staging)

    async def _conditional(
        self, key: RowKey, write: Callable[..., Awaitable[api.Written]], *, spread: int, payload: bytes | None, staging: api.Staging | None
    ) -> api.Written:
        sources = _holders(staging)
        operation = self._operation(key, self.partition(key, spread=spread), payload=payload, sources=sources)
        try:
            return await write(operation, issue=self._clock.rising(), token=self._world.rng.token(TOKEN_BYTES))
        except Unavailable as failure:
            if not self._heed_clocks(operation) or not isinstance(failure, QuorumLost):
                self.failed_writes += 1
                raise
        # Nothing was proposed and the clock is right now, so that to begin anew is safe and does better.
        operation = self._operation(key, self.partition(key, spread=spread), payload=payload, sources=sources)
        return await write(operation, issue=self._clock.rising(), token=self._world.rng.token(TOKEN_BYTES))

    # -- bodies -------------------------------------------------------------------------------------------------------

    async def stage(self, key: RowKey, *, spread: int = 0, size: int | None = None) -> api.Staging:
        """Open a blob on all primaries."""
        partition = self.partition(key, spread=spread)
        # A body cannot be sent twice: find out first whether the ring in use is the nodes' ring.  The query of the write to
        # come says so too.
        early = self.begin_query(key, spread=spread)
        await early.wait()
        plan = self.members.plan(partition)
        if early.result(plan) is None:
            await self._read_at(key, partition)  # raises what is wrong, or finds the next ring
            plan = self.members.plan(partition)
        blob = self._world.rng.token(BLOB_BYTES)
        return Staging(
            self.members, self._world.clock, self._tasks, plan, blob,
            size=-1 if size is None else size, timeout_s=self.settings.body_timeout_s, patience_s=self.settings.patience_s, early=early,
            behind=self._behind,
        )  # fmt: skip

    def read_body(
        self, key: RowKey, row: Row, *, spread: int = 0, offset: int = 0, length: int = -1, sources: Sequence[int] = (), turn: int = 0
    ) -> AsyncIterator[bytes | memoryview]:
        """Verified bytes of an inline or blob row."""
        partition = self.partition(key, spread=spread)
        settle = partial(self.settle, key, partition)
        reader = BodyReader(self.members, self._world.clock, self.repair, timeout_s=self.settings.body_timeout_s, settle=settle)
        return reader.stream(key, partition, row, offset=offset, length=length, sources=sources, turn=turn)

    async def usage(self, bucket: bytes) -> Usage:
        """What a bucket holds at most, by the devices' counters."""
        return (await bucket_holdings(self.members, bucket, timeout_s=self.settings.operation_timeout_s, most=True)).usage

    async def holdings(self, bucket: bytes) -> Holdings:
        """What a bucket holds, and what it takes."""
        return await bucket_holdings(self.members, bucket, timeout_s=self.settings.operation_timeout_s)

    async def holdings_of(self, buckets: Sequence[bytes], *, most: bool = False) -> list[Holdings]:
        """What each of many buckets holds."""
        return await holdings_of(self.members, buckets, timeout_s=self.settings.operation_timeout_s, most=most)

    # -- listings -----------------------------------------------------------------------------------------------------

    async def scan(
        self, bucket: bytes, space: int, *, prefix: bytes = b"", start: bytes = b"", limit: int = 1000, delimiter: bytes = b"",
        versions: bool = False, markers: bool = False, start_version: bytes = b"", heads: api.WantedHead | None = None,
    ) -> api.ScanPage:  # fmt: skip
        """Merged listing of live rows."""
        return await self._lister.scan(
            bucket, space, prefix=prefix, start=start, limit=limit, delimiter=delimiter, versions=versions or markers,
            start_version=start_version, heads=heads,
        )  # fmt: skip

    # -- inside -------------------------------------------------------------------------------------------------------

    def _operation(
        self, key: RowKey, partition: int, *, payload: bytes | None = None, sources: Sequence[int] = (), inline: bool = False
    ) -> Operation:
        settings = self.settings
        return Operation(
            self.members, self._world.rng, key, partition, timeout_s=settings.operation_timeout_s, patience_s=settings.patience_s,
            hedge_s=settings.hedge_s, payload=payload, sources=sources, inline=inline,
        )  # fmt: skip

    async def _read_at(self, key: RowKey, partition: int, *, inline: bool = False) -> api.Held:
        operation = self._operation(key, partition, inline=inline)
        try:
            held = await read(operation, issue=self._clock.rising(), repair=self.repair, settle=partial(self.settle, key, partition))
            if held is not None:
                return held
            operation = self._operation(head_key(key), partition)
            token = self._world.rng.token(TOKEN_BYTES)
            return await look(operation, key.version.hex(), issue=self._clock.rising(), token=token)
        except Unavailable:
            self._heed_clocks(operation)
            raise

    def _heed_clocks(self, operation: Operation) -> bool:
        return self._clock.heed(operation.plan.quorum, operation.failures.items())


def _holders(staging: api.Staging | None) -> tuple[int, ...]:
    if staging is None:
        return ()
    assert isinstance(staging, Staging)
    return staging.holders
