"""What a bucket holds, from the counters that every device keeps: one small question to each, no scan.

The sum over all devices counts every object once for each replica.  While replicas differ, or partitions move, it is off by
what is on its way; a device that does not answer is taken to hold what the others hold on average.
"""

import asyncio
from functools import partial

from objstore.cluster.membership import Membership
from objstore.core.quota import Usage
from objstore.errors import ObjstoreError, QuorumLost
from objstore.wire.messages import BucketUsage, BucketUsageAnswer, Message


async def bucket_usage(members: Membership, bucket: bytes, *, timeout_s: float) -> Usage:
    """Objects and bytes, noncurrent versions among them, rounded up.  Raises QuorumLost when fewer than half of the devices answer."""
    ring = members.ring
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[BucketUsageAnswer | None]] = []
    for device in sorted(ring.devices):
        future: asyncio.Future[BucketUsageAnswer | None] = loop.create_future()
        answers.append(future)
        message = BucketUsage(
            epoch=ring.epoch, device=device, incarnation=ring.devices[device].incarnation, timeout_ms=int(timeout_s * 1000), bucket=bucket
        )
        members.client(device).send(message, b"", timeout_s=timeout_s, done=partial(_note, future))
    await asyncio.wait(answers, timeout=timeout_s + 1.0)
    found = [answer for future in answers if future.done() and (answer := future.result()) is not None]
    if 2 * len(found) <= len(answers):
        raise QuorumLost(f"only {len(found)} of {len(answers)} devices say what the bucket holds")
    shares = ring.spec.replica_count * len(found)
    objects = sum(answer.objects + answer.versions for answer in found) * len(answers)
    size = sum(answer.bytes + answer.version_bytes for answer in found) * len(answers)
    return Usage(-(-objects // shares), -(-size // shares))


def _note(future: "asyncio.Future[BucketUsageAnswer | None]", answer: Message | None, _: object, failure: ObjstoreError | None) -> None:
    if not future.done():
        future.set_result(answer if isinstance(answer, BucketUsageAnswer) and failure is None else None)
