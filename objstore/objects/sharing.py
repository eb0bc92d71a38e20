"""Parts that several keys name: entered before they are named, asked for before they are reclaimed.

A key that is about to name the parts of another is entered in the shares of their owner, by compare-and-set, and must have written its
manifest soon after it read the one that it takes them from.  Reclaiming (reclaim.py) reads the shares before the heads, asks all keys
in them, and drops nothing while the shares are young; so it either sees the new manifest, or an entry too young, or the parts were
not garbage for as long as the grace.
"""

from objstore.core import names
from objstore.core.lineage import MAX_SHARES, Shares, encode_shares, owners_of, shares_of
from objstore.core.rows import Kind, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import ConditionalConflict
from objstore.objects.buckets import Bucket
from objstore.objects.complete import COMPLETE_WITHIN_S
from objstore.objects.context import StoreContext

_ATTEMPTS = 5


class _Full(ConditionalConflict):
    """As many keys as may share these parts do so already."""


def shares_key(bucket_id: bytes, owner: bytes, upload_id: str) -> RowKey:
    """The register of who shares the parts of an upload."""
    return RowKey(bucket_id, Space.UPLOADS, names.shares_name(owner, upload_id))


class Sharing(StoreContext):
    """Naming the parts of other keys."""

    async def share_parts(self, bucket: Bucket, row: Row, source: bytes, key: bytes) -> bool:
        """Let `key` name the parts of the object under `source`; False where their bytes must be copied instead."""
        for upload_id, owner in owners_of(row, source).items():
            if owner != key and not await self._enter(bucket, shares_key(bucket.id, owner, upload_id), key):
                return False
        return True

    async def _enter(self, bucket: Bucket, register: RowKey, key: bytes) -> bool:
        def judge(current: Row | None) -> Row:
            # Written anew even where the key is in it: the entry must be young.
            keys = {*shares_of(current), key}
            if len(keys) > MAX_SHARES:
                raise _Full("too many keys share the parts")
            return Row(
                kind=Kind.RECORD, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=bucket.account,
                record=encode_shares(Shares(keys=tuple(sorted(keys)))),
            )  # fmt: skip

        for _ in range(_ATTEMPTS):
            try:
                await self.cluster.conditional(register, judge, spread=bucket.spread)
            except _Full:
                return False
            except ConditionalConflict:
                continue
            return True
        return False

    def in_time(self, began: float) -> bool:
        """Whether parts read of at `began` (monotonic) may still be named by a manifest that is written now."""
        return self.clock.monotonic() - began <= COMPLETE_WITHIN_S
