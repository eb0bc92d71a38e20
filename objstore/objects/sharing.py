"""Parts that several keys name: entered before they are named, asked for before they are reclaimed.

A key that is about to name the parts of another is entered in the shares of their owner, by a row of its own, and must have written its
manifest soon after it read the one that it takes them from.  Reclaiming (reclaim.py) reads the shares before the heads, asks the keys
in them, and drops nothing while one is young; so it either sees the new manifest, or an entry too young, or the parts were
not garbage for as long as the grace.  It drops entries of keys that name none of the parts any more, unless they were written anew meanwhile.
"""

from objstore.core import names
from objstore.core.lineage import Shares, encode_shares, owners_of
from objstore.core.rows import Kind, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.objects.buckets import Bucket
from objstore.objects.complete import COMPLETE_WITHIN_S
from objstore.objects.context import StoreContext


def share_key(bucket_id: bytes, owner: bytes, upload_id: str, sharer: bytes) -> RowKey:
    """The register that says that `sharer` may name parts of an upload of `owner`."""
    return RowKey(bucket_id, Space.UPLOADS, names.share_name(owner, upload_id, sharer))


class Sharing(StoreContext):
    """Naming the parts of other keys."""

    async def share_parts(self, bucket: Bucket, row: Row, source: bytes, key: bytes) -> None:
        """Let `key` name the parts of the object under `source`; any number of keys may."""
        # Written anew even where it is there: the entry must be young.
        draft = Row(
            kind=Kind.RECORD, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=bucket.account,
            record=encode_shares(Shares(keys=(key,))),
        )  # fmt: skip
        for upload_id, owner in owners_of(row, source).items():
            if owner != key:
                await self.cluster.write(share_key(bucket.id, owner, upload_id, key), draft, spread=bucket.spread)

    def in_time(self, began: float) -> bool:
        """Whether parts read of at `began` (monotonic) may still be named by a manifest that is written now."""
        return self.clock.monotonic() - began <= COMPLETE_WITHIN_S
