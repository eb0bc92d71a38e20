"""What buckets hold, for metrics: only where `metrics.buckets` asks for it, since each bucket is a time series and shows its name."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from objstore.cluster.api import ClusterApi
from objstore.errors import ObjstoreError
from objstore.objects.buckets import LIVE, BucketRecord, all_buckets

TIMEOUT_S = 5.0  # a scrape must have its answer within 10


class Held(NamedTuple):
    """What one bucket holds by the devices' counters: current objects, and bytes of them and of noncurrent versions."""

    account: str
    bucket: str
    objects: int
    bytes: int


async def held_by_buckets(cluster: ClusterApi, limit: int) -> Sequence[Held]:
    """Of the first `limit` buckets by account and name; of none where the cluster does not say it in time."""
    if limit <= 0:
        return []
    records: list[BucketRecord] = []
    try:
        async with asyncio.timeout(TIMEOUT_S):
            async for record in all_buckets(cluster):
                if record.state == LIVE:
                    records.append(record)
                if len(records) == limit:
                    break
            holdings = await cluster.holdings_of([record.id for record in records]) if records else []
    except (ObjstoreError, TimeoutError):
        return []
    return [
        Held(record.account, record.name, held.objects, held.bytes + held.version_bytes)
        for record, held in zip(records, holdings, strict=True)
    ]
