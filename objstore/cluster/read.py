"""Reads with write-back, and streams of bodies that go on from another replica."""

from collections.abc import AsyncIterator, Callable, Sequence

from objstore.cluster.api import Held
from objstore.cluster.membership import Membership
from objstore.cluster.repair import Repair
from objstore.cluster.rounds import Operation
from objstore.core.agreement import IssueBallot, ReadDecision, Settlement, Verdict
from objstore.core.placement import best_first
from objstore.core.rows import BodyKind, Row, RowKey, decode_row
from objstore.errors import Damaged, NewerEpoch, NoSuchVersion, ObjstoreError, QuorumLost, StaleEpoch
from objstore.wire.messages import ReadBody

BODY_ROUNDS = 3  # how often all sources are tried before a read gives up


async def read(operation: Operation, *, issue: IssueBallot, repair: Repair, settle: Callable[[], object]) -> Held:
    """Read a register with agreement.  Raises QuorumLost: silence is never taken for absence."""
    machine = ReadDecision(operation.plan.quorum, issue)
    await operation.run(machine)
    for device in operation.damaged:
        repair.heal(device, operation.key, operation.partition, settle)
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


async def settle(operation: Operation, *, issue: IssueBallot) -> None:
    """Bring all primaries that answer to one row.  Raises QuorumLost."""
    machine = Settlement(operation.plan.quorum, issue)
    await operation.run(machine)
    if machine.verdict is not Verdict.DONE:
        raise QuorumLost(f"too few replicas answered: {operation.why()}")


class BodyReader:
    """Verified bytes of one row, from one replica after the other."""

    def __init__(self, members: Membership, repair: Repair, *, timeout_s: float, settle: Callable[[], object]) -> None:
        self._members = members
        self._repair = repair
        self._timeout_s = timeout_s
        self._settle = settle

    async def stream(
        self, key: RowKey, partition: int, row: Row, *, offset: int, length: int, sources: Sequence[int]
    ) -> AsyncIterator[bytes | memoryview]:
        """Yield bytes [offset, offset + length).  Raises QuorumLost when no replica can go on, NoSuchVersion when it was overwritten."""
        end = row.size if length < 0 else min(row.size, offset + length)
        at = offset
        said: list[str] = []
        gone = 0
        for attempt in range(BODY_ROUNDS):
            for device in self._candidates(partition, sources):
                if at >= end:
                    return
                try:
                    async for piece in self._from(device, key, row, at, end - at):
                        at += len(piece)
                        yield piece
                except NoSuchVersion as failure:
                    gone += 1
                    said.append(f"device {device}: {failure.message}")
                except (StaleEpoch, NewerEpoch) as failure:
                    await self._catch_up(device, failure)
                except ObjstoreError as failure:
                    said.append(f"device {device}: {failure.message}")
                    if isinstance(failure, Damaged):
                        self._repair.heal(device, key, partition, self._settle)
            if at >= end:
                return
            if attempt and gone:
                raise NoSuchVersion(f"the bytes of this version are gone: it was overwritten; {'; '.join(said)}")
        raise QuorumLost(f"no replica can deliver the bytes from {at} on: {'; '.join(said)}")

    def _candidates(self, partition: int, sources: Sequence[int]) -> list[int]:
        known = self._members.ring.devices
        plan = self._members.plan(partition)
        first = best_first([d for d in dict.fromkeys(sources) if d in known], self._members.rank)
        others = [d for d in (*plan.quorum.members, *plan.handoffs) if d not in first and d in known]
        return first + best_first(others, self._members.rank)

    async def _from(self, device: int, key: RowKey, row: Row, offset: int, length: int) -> AsyncIterator[bytes | memoryview]:
        about = self._members.device(device)
        epoch = self._members.ring.epoch
        channel = await self._members.channel_of(device)
        message = ReadBody(epoch, device, about.incarnation, int(self._timeout_s * 1000), key, row.origin, offset, length)
        download = await channel.open_download(message, timeout_s=self._timeout_s)
        left = length
        try:
            async for piece in download:
                if len(piece) > left:
                    raise QuorumLost(f"device {device} sent more than was asked for")
                left -= len(piece)
                yield piece
        finally:
            await download.aclose()

    async def _catch_up(self, device: int, failure: ObjstoreError) -> None:
        if device in self._members.ring.devices:
            address = self._members.device(device).address
            if isinstance(failure, StaleEpoch):
                await self._members.fetch(address)
            else:
                await self._members.push(address)
