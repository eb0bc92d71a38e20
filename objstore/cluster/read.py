"""Reads with write-back, and streams of bodies that go on from another replica."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from objstore.cluster.api import Held
from objstore.cluster.client import SUSPECT_RANK
from objstore.cluster.membership import Membership
from objstore.cluster.repair import Repair, Settle
from objstore.cluster.rounds import Operation
from objstore.core.machine import IssueBallot, Verdict
from objstore.core.placement import best_first
from objstore.core.quorum import majority
from objstore.core.reads import LookAtVersion, Offer, ReadDecision, Settlement, VersionRead, VersionSettlement
from objstore.core.rows import BodyKind, Row, RowKey, Space, decode_row, stored_size
from objstore.errors import Damaged, NewerEpoch, NodeUnreachable, NoSuchVersion, ObjstoreError, QuorumLost, StaleEpoch
from objstore.runtime.clock import Clock
from objstore.wire.channel import Download
from objstore.wire.messages import ReadBody

BODY_ROUNDS = 3  # how often all sources are tried before a read gives up
SOON_S = 2.0  # in the first round a source that says nothing for so long is left for the next one
HOLD_S = 2.0  # whose reader takes nothing for so long lets go of its stream where many are under way: slow clients must not keep others out
PAUSE_S = 0.3  # between rounds, for nodes that restart


async def read(operation: Operation, *, issue: IssueBallot, repair: Repair, settle: Settle) -> Held | None:
    """Read a register with agreement.  Raises QuorumLost: silence is never taken for absence.

    None: a noncurrent version on which no quorum agrees; `look` at it then.
    """
    machine: ReadDecision | VersionRead = (VersionRead if operation.key.space == Space.VERSIONS else ReadDecision)(
        operation.plan.quorum, issue
    )
    await operation.run(machine)
    for device in operation.damaged:
        repair.heal(device, operation.key, operation.partition, settle)
    if machine.verdict is Verdict.UNSETTLED:
        return None
    if machine.verdict is not Verdict.DONE:
        raise QuorumLost(f"too few replicas answered: {operation.why()}")
    holders = machine.holders(machine.accepted)
    row = decode_row(machine.row) if machine.row else None
    payload = None
    if row is not None and row.body == BodyKind.INLINE:
        # By row, not by device: a later round may have found a newer row where an older payload had come from.
        found = operation.payloads.get(machine.row)
        payload = None if found is None else bytes(found)
    return Held(machine.accepted, row, payload, holders or operation.plan.reading)


async def look(operation: Operation, version: str, *, issue: IssueBallot, token: bytes) -> Held:
    """Read a noncurrent version under a promise of the head; `operation` is one on the head.  Raises QuorumLost."""
    machine = LookAtVersion(operation.plan.quorum, version, token, issue)
    await operation.run(machine)
    if machine.verdict is not Verdict.DONE:
        raise QuorumLost(f"too few replicas answered: {operation.why()}")
    return Held(machine.accepted, machine.found, None, machine.sources or operation.plan.reading)


async def settle(operation: Operation, *, issue: IssueBallot, offer: Offer | None = None) -> None:
    """Bring all primaries that answer to one row, of a version also to one that is offered.  Raises QuorumLost."""
    quorum = operation.plan.quorum
    is_version = operation.key.space == Space.VERSIONS
    machine = VersionSettlement(quorum, issue, offer) if is_version else Settlement(quorum, issue)
    await operation.run(machine)
    if machine.verdict is not Verdict.DONE:
        raise QuorumLost(f"too few replicas answered: {operation.why()}")


class BodyReader:
    """Verified bytes of one row, from one replica after the other."""

    def __init__(self, members: Membership, clock: Clock, repair: Repair, *, timeout_s: float, settle: Settle) -> None:
        self._members = members
        self._clock = clock
        self._repair = repair
        self._timeout_s = timeout_s
        self._settle = settle
        self._said: dict[int, ObjstoreError] = {}  # device -> what it said last instead of bytes
        self._download: Download | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # while a piece is being taken

    async def stream(
        self, key: RowKey, partition: int, row: Row, *, offset: int, length: int, sources: Sequence[int], turn: int = 0
    ) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield bytes [offset, offset + length), going on elsewhere when a replica fails or turns out to be damaged midway.

        Raises NoSuchVersion when a majority of the replicas has another row by now, QuorumLost when no replica can go on.
        """
        size = stored_size(row)
        end = size if length < 0 else min(size, offset + length)
        at = offset
        try:
            for attempt in range(BODY_ROUNDS):
                if attempt:
                    await self._clock.sleep(PAUSE_S)
                for device in self._candidates(partition, sources, turn):
                    if at >= end:
                        return
                    try:
                        while at < end:
                            pieces = await self._open(device, key, row, at, end - at, SOON_S if attempt == 0 else self._timeout_s)
                            async for piece in pieces:
                                if len(piece) > end - at:
                                    raise QuorumLost(f"device {device} sent more than was asked for")
                                at += len(piece)
                                self._hold()
                                yield piece
                                if not self._taken():
                                    break  # it was let go of meanwhile, and is opened again where it ended
                            else:
                                if at < end:
                                    raise QuorumLost(f"device {device} sent less than was asked for")
                    except ObjstoreError as failure:
                        await self._after(device, failure, key, partition)
                    finally:
                        await self._close()
                if at >= end:
                    return
                if self._gone(partition):
                    raise NoSuchVersion(f"the bytes of this version are gone: it was overwritten; {self._why()}")
            raise QuorumLost(f"no replica can deliver the bytes from {at} on: {self._why()}")
        finally:
            await self._close()

    def _candidates(self, partition: int, sources: Sequence[int], turn: int) -> list[int]:
        """Known holders first, then the other primaries, then handoffs; those that are ill at the end of all.

        The first `turn` of the holders and primaries come behind the others of them.
        """
        plan = self._members.plan(partition)
        known = self._members.ring.devices
        holders = list(dict.fromkeys((*sources, *plan.quorum.members)))
        begin = turn % max(len(holders), 1)
        order = [device for device in dict.fromkeys((*holders[begin:], *holders[:begin], *plan.handoffs)) if device in known]
        return best_first(order, lambda device: self._members.rank(device) >= SUSPECT_RANK)

    async def _open(self, device: int, key: RowKey, row: Row, offset: int, length: int, wait_s: float) -> Download:
        ring = self._members.ring
        about = ring.devices.get(device)
        if about is None:
            raise NodeUnreachable(f"device {device} is not in the ring any more")
        message = ReadBody(ring.epoch, device, about.incarnation, int(self._timeout_s * 1000), key, row.origin, offset, length)
        channel = await self._members.channel_of(device)
        self._download = await channel.open_download(message, timeout_s=wait_s)
        return self._download

    async def _close(self) -> None:
        self._taken()
        self._let_go()

    def _let_go(self) -> None:
        download, self._download = self._download, None
        if download is not None:
            download.close()

    def _hold(self) -> None:
        """Watch how long whoever reads has enough with the piece that is given now."""
        self._timer = self._loop.call_later(HOLD_S, self._look)

    def _taken(self) -> bool:
        """More is wanted; whether the stream that it came from is still open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._download is not None

    def _look(self) -> None:
        if self._download is not None and self._download.in_the_way:
            self._let_go()
        else:
            self._hold()

    async def _after(self, device: int, failure: ObjstoreError, key: RowKey, partition: int) -> None:
        self._said[device] = failure
        if isinstance(failure, StaleEpoch | NewerEpoch):
            await self._members.catch_up(device, failure)
        elif isinstance(failure, Damaged):
            self._repair.heal(device, key, partition, self._settle)

    def _gone(self, partition: int) -> bool:
        """Whether so many have another row that this one cannot be the agreed one any more."""
        reading = self._members.plan(partition).reading
        return sum(isinstance(self._said.get(device), NoSuchVersion) for device in reading) >= majority(len(reading))

    def _why(self) -> str:
        return "; ".join(f"device {device}: {failure.message}" for device, failure in sorted(self._said.items()))
