"""Reading a row that is written once: any replica that has it will do.

The bodies of objects (parts) have names that are never used twice, and whoever names one knows by which write it was made.  A
replica that holds that very row tells all there is to know: no agreement is needed, so such a row can be read while most of its
replicas are away, as is needed in a ring of two.  It must never be used for a row that may be written again.
"""

from objstore.cluster.api import Held
from objstore.cluster.membership import Membership
from objstore.core.placement import best_first
from objstore.core.rows import Kind, RowKey, decode_row
from objstore.core.timestamp import Ballot
from objstore.errors import NewerEpoch, NodeUnreachable, ObjstoreError, StaleEpoch
from objstore.wire.messages import Query, RegisterAnswer

SOON_S = 2.0  # a replica that says nothing for so long is left for the next one


async def read_one(members: Membership, key: RowKey, partition: int, origin: Ballot, *, timeout_s: float) -> Held | None:
    """The row of that origin from the first replica that has it, with its inline payload; None when none of those that answer has."""
    plan = members.plan(partition)
    order = best_first(plan.quorum.members, members.rank)
    for device in order:
        wait_s = timeout_s if device == order[-1] else min(SOON_S, timeout_s)
        try:
            held = await _ask(members, key, partition, device, origin, timeout_s=wait_s)
        except (StaleEpoch, NewerEpoch) as failure:
            await members.catch_up(device, failure)
            continue
        except ObjstoreError:
            continue  # another replica may have it; if none has, the read with agreement says what is wrong
        if held is not None:
            return held
    return None


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
