"""`ctl where`: the copies of one object, device by device, as the devices themselves tell it.

Asked of the daemon process, which has a view of the cluster; it changes nothing, and reads no quorum: each device's own
word is shown, also where they differ.
"""

import asyncio
import os
from typing import Any

from objstore.cli.requests import FindCopies
from objstore.core.placement import Placement
from objstore.core.rows import Kind, RowKey, Space, decode_row
from objstore.core.timestamp import ZERO
from objstore.core.versions import modified_us
from objstore.daemons.fleet import Fleet
from objstore.errors import NoSuchBucket, ObjstoreError
from objstore.objects.api import Principal
from objstore.objects.buckets import Bucket, BucketDirectory
from objstore.wire.messages import Locate, Located
from ring.model import Device

LOCATE_TIMEOUT_S = 2.0
HANDOFFS_ASKED = 16  # handoffs hold extra copies near the start of their order; the rest of a large ring is not asked


async def find(directory: BucketDirectory, fleet: Fleet, request: FindCopies) -> dict[str, Any]:
    """The answer that `ctl where` prints.  Raises NoSuchBucket; a key that is nowhere is shown as absent."""
    bucket = await _bucket(directory, request)
    key = RowKey(bucket=bucket.id, space=Space.OBJECTS, name=request.key.encode())
    ring = fleet.ring
    partition = Placement(ring).partition(key, bucket.spread)
    primaries = list(ring.primaries(partition))
    previous = ring.previous(partition)
    handoffs = [device for device, _ in zip(ring.handoffs(partition), range(HANDOFFS_ASKED), strict=False)]
    answers = await asyncio.gather(*(_locate(fleet, ring.devices[d], key, ring.epoch) for d in [*primaries, *handoffs]))
    found = {
        "bucket": request.bucket,
        "key": request.key,
        "bucket_id": bucket.id.hex(),
        "partition": partition,
        "epoch": ring.epoch,
        "primaries": answers[: len(primaries)],
        "handoffs": answers[len(primaries) :],
    }
    if previous is not None:
        found["previous"] = list(previous)
    return found


async def _bucket(directory: BucketDirectory, request: FindCopies) -> Bucket:
    # The directory itself is asked, without authorization: who may use the control socket may look at every disk anyway.
    for tenant in request.tenants:
        try:
            return await directory.find(Principal(account="", user="operator", tenant=tenant, admin=True), request.bucket)
        except NoSuchBucket:
            continue
    raise NoSuchBucket(f"there is no bucket {request.bucket!r} in any of the tenants {', '.join(request.tenants)}", bucket=request.bucket)


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
