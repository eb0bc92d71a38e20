"""`ctl where`: the copies of one object, device by device, as the devices themselves tell it.

Asked of the daemon process, which has a view of the cluster; it changes nothing, and reads no quorum: each device's own
word is shown, also where they differ.
"""

import asyncio
import contextlib
import os
from typing import Any

from objstore.cli.requests import FindCopies
from objstore.cluster.api import ClusterApi
from objstore.core.placement import Placement
from objstore.core.rows import Kind, RowKey, Space, decode_row
from objstore.core.timestamp import ZERO
from objstore.core.versions import modified_us
from objstore.daemons.fleet import Fleet
from objstore.errors import InvalidArgument, NoSuchBucket, ObjstoreError
from objstore.objects.api import Principal
from objstore.objects.buckets import LIVE, Bucket, BucketDirectory, all_buckets
from objstore.wire.messages import Locate, Located
from ring.model import Device

LOCATE_TIMEOUT_S = 2.0
HANDOFFS_ASKED = 16  # handoffs hold extra copies near the start of their order; the rest of a large ring is not asked
ACCOUNTS_SHOWN = 10


async def find(directory: BucketDirectory, cluster: ClusterApi, fleet: Fleet, request: FindCopies) -> dict[str, Any]:
    """The answer that `ctl where` prints.  Raises NoSuchBucket, InvalidArgument; a key that is nowhere is shown as absent."""
    bucket, name = await _bucket(directory, cluster, request)
    key = RowKey(bucket=bucket.id, space=Space.OBJECTS, name=name.encode())
    ring = fleet.ring
    partition = Placement(ring).partition(key, bucket.spread)
    primaries = list(ring.primaries(partition))
    previous = ring.previous(partition)
    handoffs = [device for device, _ in zip(ring.handoffs(partition), range(HANDOFFS_ASKED), strict=False)]
    answers = await asyncio.gather(*(_locate(fleet, ring.devices[d], key, ring.epoch) for d in [*primaries, *handoffs]))
    found = {
        "bucket": bucket.info.name,
        "key": name,
        "account": bucket.account,
        "bucket_id": bucket.id.hex(),
        "partition": partition,
        "epoch": ring.epoch,
        "primaries": answers[: len(primaries)],
        "handoffs": answers[len(primaries) :],
    }
    if previous is not None:
        found["previous"] = list(previous)
    return found


async def _bucket(directory: BucketDirectory, cluster: ClusterApi, request: FindCopies) -> tuple[Bucket, str]:
    """The bucket that is meant, and the key in it: BUCKET/KEY, by S3's names first, or ACCOUNT/BUCKET/KEY."""
    # The directory itself is asked, without authorization: who may use the control socket may look at every disk anyway.
    for tenant in request.tenants:
        with contextlib.suppress(NoSuchBucket):
            who = Principal(account="", user="operator", tenant=tenant, admin=True)
            return await directory.find(who, request.bucket), request.key
    # Containers made through Swift have a name in their account alone.
    accounts = [record.account async for record in all_buckets(cluster) if record.name == request.bucket and record.state == LIVE]
    if len(accounts) == 1:
        return await directory.find(Principal(account=accounts[0]), request.bucket), request.key
    if accounts:
        shown = ", ".join(f"{account}/{request.bucket}" for account in accounts[:ACCOUNTS_SHOWN])
        raise InvalidArgument(f"{len(accounts)} accounts have a container {request.bucket!r}; say which, as ACCOUNT/BUCKET/KEY: {shown}")
    name, slash, key = request.key.partition("/")
    if slash and key:
        with contextlib.suppress(NoSuchBucket):
            return await directory.find(Principal(account=request.bucket), name), key
    raise NoSuchBucket(f"there is no bucket or container {request.bucket!r} in any account", bucket=request.bucket)


async def _locate(fleet: Fleet, device: Device, key: RowKey, epoch: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "device": device.id, "node": device.node, "zone": device.zone, "path": device.path, "state": "absent", "accepted": None, "promised": None,
        "etag": None, "size": None, "file": None, "offset": None, "length": None,
    }  # fmt: skip
    try:
        located = await fleet.ask(Locate, Located, device.id, epoch=epoch, timeout_s=LOCATE_TIMEOUT_S, key=key)
    except ObjstoreError as failure:
        return {**answer, "state": type(failure).__name__, "detail": str(failure)}
    register = located.register
    answer["promised"] = register.promised.hex() if register.promised != ZERO else None
    if not register.row:
        return answer
    row = decode_row(register.row)
    answer |= {
        "state": Kind(row.kind).name.lower(), "accepted": register.accepted.hex(), "etag": row.etag, "size": row.size,
        "timestamp": modified_us(row), "version_id": row.version or "null", "origin": row.origin.hex(),
    }  # fmt: skip
    if located.file:
        answer |= {"file": os.path.join(device.path, located.file), "offset": located.offset, "length": located.length}
    if row.parts:
        answer["parts"] = [{"number": part.number, "name": part.name.decode(), "size": part.size, "etag": part.etag} for part in row.parts]
    return answer
