"""What a bucket holds, from the counters that every device keeps: one small question to each, no scan.

Devices are taken together into as many failure domains as there are replicas, where the ring allows it: then each domain holds
one copy of everything, and the middle one of what they say is right also while one of them lags behind, or misses a deletion;
the highest is never too little while one of them has everything.  Where the ring does not allow it the sum over all devices is
divided by the number of replicas, and is off by what lags.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from functools import partial

from objstore.cluster.membership import Membership
from objstore.core.quota import Holdings
from objstore.errors import ObjstoreError, QuorumLost
from objstore.wire.messages import BucketUsage, BucketUsageAnswer, Message
from ring.lookup import Ring

BUCKETS_AT_ONCE = 500  # a node answers within a millisecond, and its loop is not held up
NOTHING = Holdings(0, 0, 0, 0, 0, 0)
_domains: list[tuple[Ring, list[list[int]]]] = []  # of the ring that was last asked for: to find them looks at the whole table


async def bucket_holdings(members: Membership, bucket: bytes, *, timeout_s: float, most: bool = False) -> Holdings:
    """What clients see of a bucket, and the bytes of all copies; with `most` rather too much than too little.  Raises QuorumLost when fewer than half of the devices answer."""
    return (await _ask(members, [bucket], timeout_s, most=most))[0]


async def holdings_of(members: Membership, buckets: Sequence[bytes], *, timeout_s: float, most: bool = False) -> list[Holdings]:
    """The same of many buckets, in their order, with one question to each device for BUCKETS_AT_ONCE of them."""
    found: list[Holdings] = []
    for first in range(0, len(buckets), BUCKETS_AT_ONCE):
        found += await _ask(members, buckets[first : first + BUCKETS_AT_ONCE], timeout_s, most=most)
    return found


async def _ask(members: Membership, buckets: Sequence[bytes], timeout_s: float, *, most: bool) -> list[Holdings]:
    ring = members.ring
    loop = asyncio.get_running_loop()
    answers: dict[int, asyncio.Future[list[Holdings] | None]] = {}
    for device in sorted(ring.devices):
        future: asyncio.Future[list[Holdings] | None] = loop.create_future()
        answers[device] = future
        message = BucketUsage(
            epoch=ring.epoch, device=device, incarnation=ring.devices[device].incarnation, timeout_ms=int(timeout_s * 1000),
            bucket=buckets[0], more=list(buckets[1:]),
        )  # fmt: skip
        members.client(device).send(message, b"", timeout_s=timeout_s, done=partial(_note, future))
    await asyncio.wait(answers.values(), timeout=timeout_s + 1.0)
    found = {device: answer for device, future in answers.items() if future.done() and (answer := future.result()) is not None}
    if 2 * len(found) <= len(answers):
        raise QuorumLost(f"only {len(found)} of {len(answers)} devices say what the bucket holds")
    if any(len(answer) < len(buckets) for answer in found.values()):
        # A node of before, which knows one bucket a question.
        return [(await _ask(members, [bucket], timeout_s, most=most))[0] for bucket in buckets]
    domains, pick = domains_of(ring), max if most else _middle
    return [
        settle(domains, {device: answer[index] for device, answer in found.items()}, len(answers), ring.spec.replica_count, pick)
        for index in range(len(buckets))
    ]


def settle(
    domains: Sequence[Sequence[int]], found: dict[int, Holdings], devices: int, replicas: int, pick: Callable[[list[int]], int]
) -> Holdings:
    """One view of what the devices say: `domains` as `domains_of` gives them, `found` by device, of `devices` in all."""
    stored = sum(answer.stored_bytes for answer in found.values())
    whole = [_sum([found[device] for device in domain]) for domain in domains if all(device in found for device in domain)]
    if 2 * len(whole) > len(domains):
        chosen = Holdings(*(pick([getattr(held, name) for held in whole]) for name in Holdings._fields))
    else:
        shares = replicas * len(found)
        chosen = Holdings(*(-(-field * devices // shares) for field in _sum(list(found.values()))))
    return chosen._replace(stored_bytes=stored)


def domains_of(ring: Ring) -> list[list[int]]:
    """The devices in as many groups as there are replicas, one copy of each partition in each; else none."""
    if not _domains or _domains[0][0] is not ring:
        _domains[:] = [(ring, _find_domains(ring))]
    return _domains[0][1]


def _find_domains(ring: Ring) -> list[list[int]]:
    devices = sorted(ring.devices)
    for tier in range(4):
        names: dict[int, Hashable] = {d: ring.devices[d].tiers[tier] if tier < 3 else d for d in devices}
        groups = dict.fromkeys(names.values())
        if len(groups) > ring.spec.replica_count:
            break
        if len(groups) == ring.spec.replica_count and all(
            len({names[device] for device in ring.primaries(partition)}) == len(groups) for partition in range(ring.partition_count)
        ):
            return [[device for device in devices if names[device] == group] for group in groups]
    return []


def _sum(parts: Sequence[Holdings]) -> Holdings:
    return Holdings(*(sum(column) for column in zip(*parts, strict=True))) if parts else NOTHING


def _middle(values: list[int]) -> int:
    """Of an even number the higher of the two in the middle: rather too much than too little."""
    return sorted(values)[len(values) // 2]


def _note(future: "asyncio.Future[list[Holdings] | None]", answer: Message | None, _: object, failure: ObjstoreError | None) -> None:
    if future.done():
        return
    if not isinstance(answer, BucketUsageAnswer) or failure is not None:
        future.set_result(None)
        return
    first = (answer.objects, answer.bytes, answer.versions, answer.version_bytes, answer.markers, answer.version_markers)
    future.set_result([_holdings(*counters) for counters in (first, *answer.more)])


def _holdings(objects: int, size: int, versions: int, version_bytes: int, markers: int, version_markers: int) -> Holdings:
    return Holdings(objects, size, versions - version_markers, version_bytes, markers + version_markers, size + version_bytes)
