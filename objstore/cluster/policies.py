"""Several rings as one cluster: the default ring, and one for each further storage policy (ADR 11).

Every row lies in the default ring, except bodies whose name says in the ring of which policy they are (`names.policy_of`); so a
row is found by its name alone, whatever names it.  Scans are of the default ring: who looks for bodies scans `policies[...]`.
Each ring is a cluster of its own, with its own epoch, devices and quorums; this never decides anything.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from objstore.cluster import api
from objstore.core.names import policy_of
from objstore.core.quota import Holdings, Usage
from objstore.core.rows import Row, RowKey, Space
from objstore.core.timestamp import Ballot
from objstore.errors import Unavailable


class PolicyClusters:
    """Implements `cluster.api.ClusterApi` over a cluster for each ring; owns none of them."""

    def __init__(self, default: api.ClusterApi, policies: Mapping[str, api.ClusterApi]) -> None:
        self._default = default
        self.policies: Mapping[str, api.ClusterApi] = MappingProxyType(dict(policies))

    def _of(self, key: RowKey) -> api.ClusterApi:
        if key.space != Space.PARTS:
            return self._default
        policy = policy_of(key.name)
        if not policy:
            return self._default
        found = self.policies.get(policy)
        if found is None:
            raise Unavailable(f"the body lies in the ring of policy {policy!r}, which this process does not know; give it that ring's file")
        return found

    def partition(self, key: RowKey, *, spread: int = 0) -> int:
        """The slot of a key in its ring."""
        return self._of(key).partition(key, spread=spread)

    def anchor(self, key: RowKey, *, spread: int = 0) -> int:
        """What places a part of the same policy where the body of `key` lies."""
        return self._of(key).anchor(key, spread=spread)

    def is_well(self, key: RowKey, *, spread: int = 0) -> bool:
        """Whether all replicas of a row's partition can be reached, as far as is known."""
        return self._of(key).is_well(key, spread=spread)

    async def read(self, key: RowKey, *, spread: int = 0, inline: bool = False) -> api.Held:
        """The chosen row."""
        return await self._of(key).read(key, spread=spread, inline=inline)

    async def read_once_written(self, key: RowKey, origin: Ballot, *, spread: int = 0) -> api.Held:
        """A row that is written once, from whichever replica has it."""
        return await self._of(key).read_once_written(key, origin, spread=spread)

    async def settle(self, key: RowKey, partition: int) -> None:
        """Read a register by partition of its ring."""
        await self._of(key).settle(key, partition)

    async def write(
        self, key: RowKey, draft: Row, *, spread: int = 0, payload: bytes | None = None, staging: api.Staging | None = None,
        holders: Sequence[int] = (),
    ) -> api.Written:  # fmt: skip
        """Plain write; staging and holders are of the same ring."""
        return await self._of(key).write(key, draft, spread=spread, payload=payload, staging=staging, holders=holders)

    async def bury(self, key: RowKey, draft: Row, *, spread: int = 0) -> bool:
        """Plain write of a tombstone where there is something."""
        return await self._of(key).bury(key, draft, spread=spread)

    async def conditional(
        self, key: RowKey, judge: api.Judge, *, spread: int = 0, payload: bytes | None = None, staging: api.Staging | None = None
    ) -> api.Written:
        """Conditional write."""
        return await self._of(key).conditional(key, judge, spread=spread, payload=payload, staging=staging)

    async def conditional_versions(
        self, key: RowKey, judge: api.VersionsJudge, *, spread: int = 0, payload: bytes | None = None, staging: api.Staging | None = None
    ) -> api.Written:
        """Conditional write of a head, which is always in the default ring."""
        return await self._default.conditional_versions(key, judge, spread=spread, payload=payload, staging=staging)

    async def stage(self, key: RowKey, *, spread: int = 0, size: int | None = None) -> api.Staging:
        """Open a blob in the ring of its row."""
        return await self._of(key).stage(key, spread=spread, size=size)

    def read_body(
        self, key: RowKey, row: Row, *, spread: int = 0, offset: int = 0, length: int = -1, sources: Sequence[int] = (), turn: int = 0
    ) -> AsyncIterator[bytes | memoryview]:
        """Verified bytes of an inline or blob row."""
        return self._of(key).read_body(key, row, spread=spread, offset=offset, length=length, sources=sources, turn=turn)

    async def usage(self, bucket: bytes) -> Usage:
        """What a bucket holds: counted with its rows."""
        return await self._default.usage(bucket)

    async def holdings(self, bucket: bytes) -> Holdings:
        """The same with all that is counted."""
        return await self._default.holdings(bucket)

    async def holdings_of(self, buckets: Sequence[bytes], *, most: bool = False) -> list[Holdings]:
        """The same of many buckets."""
        return await self._default.holdings_of(buckets, most=most)

    async def scan(
        self, bucket: bytes, space: int, *, prefix: bytes = b"", start: bytes = b"", limit: int = 1000, delimiter: bytes = b"",
        versions: bool = False, markers: bool = False, start_version: bytes = b"", heads: api.WantedHead | None = None,
    ) -> api.ScanPage:  # fmt: skip
        """Merged listing of the default ring."""
        return await self._default.scan(
            bucket, space, prefix=prefix, start=start, limit=limit, delimiter=delimiter, versions=versions, markers=markers,
            start_version=start_version, heads=heads,
        )  # fmt: skip
