"""Reading a row that is written once: any replica that has it will do.

The bodies of objects (parts) have names that are never used twice, and whoever names one knows by which write it was made.  A
replica that holds that very row tells all there is to know: no agreement is needed, so such a row can be read while most of its
replicas are away, as is needed in a ring of two.  It must never be used for a row that may be written again.
"""

import asyncio
from collections.abc import Callable

from objstore.cluster.api import Held
from objstore.cluster.membership import Membership
from objstore.core.placement import best_first
from objstore.core.rows import Kind, RowKey, decode_row
from objstore.core.timestamp import Ballot
from objstore.errors import NewerEpoch, NodeUnreachable, ObjstoreError, StaleEpoch
from objstore.wire.messages import Query, RegisterAnswer

RINGS_TRIED = 4  # a ring change is two epochs
NODES_ASKED = 4  # for a newer ring
SOON_S = 2.0  # a replica that says nothing for so long is left for the next one


async def read_one(
    members: Membership, key: RowKey, find: Callable[[], int], origin: Ballot, *, timeout_s: float
) -> Held | None:  # fmt: skip
    """The row of that origin from the first replica that has it, with its inline payload; None when none of those that answer has.

    `find` gives its partition.  Where no replica can tell, nodes of other partitions are asked for a newer ring: in a ring of few
    replicas all that are known of may have left it meanwhile.
    """
    looked = False
    for _ in range(RINGS_TRIED):
        epoch = members.ring.epoch
        held = await _pass(members, key, find(), origin, epoch, timeout_s=timeout_s)
        if held is not None:
            return held
        if members.ring.epoch == epoch and not looked:
            looked = True
            await _look_for_ring(members, find())
        if members.ring.epoch == epoch:
            return None
    return None


async def _pass(members: Membership, key: RowKey, partition: int, origin: Ballot, epoch: int, *, timeout_s: float) -> Held | None:
    order = best_first(members.plan(partition).quorum.members, members.rank)
    for device in order:
        wait_s = timeout_s if device == order[-1] else min(SOON_S, timeout_s)
        try:
            held = await _ask(members, key, partition, device, origin, timeout_s=wait_s)
        except (StaleEpoch, NewerEpoch) as failure:
            await members.catch_up(device, failure)
        except ObjstoreError:
            continue  # another replica may have it; if none has, the read with agreement says what is wrong
        else:
            if held is not None:
                return held
        if members.ring.epoch != epoch:
            return None
    return None


async def _look_for_ring(members: Membership, partition: int) -> None:
    known = members.plan(partition).quorum.members
    others = {about.address: device for device, about in members.ring.devices.items() if device not in known}
    asked = best_first(others.values(), members.rank)[:NODES_ASKED]
    await asyncio.gather(*(members.catch_up(device, StaleEpoch("perhaps")) for device in asked))


async def _ask(members: Membership, key: RowKey, partition: int, device: int, origin: Ballot, *, timeout_s: float) -> Held | None:
    ring = members.ring
    about = ring.devices.get(device)
    if about is None:
        raise NodeUnreachable(f"device {device} is not in the ring any more")
    message = Query(ring.epoch, device, about.incarnation, int(timeout_s * 1000), partition, key, inline=True)
    channel = await members.channel_of(device)
    answer, payload = await channel.call(message, timeout_s=timeout_s)
    if not isinstance(answer, RegisterAnswer) or not answer.register.row:
        return None
    row = decode_row(answer.register.row)
    if row.origin != origin or row.kind == Kind.TOMBSTONE:
        return None
    return Held(answer.register.accepted, row, bytes(payload) if answer.has_payload else None, (device,))
