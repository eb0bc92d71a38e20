"""What happens after the answer: extra copies for primaries that missed a write, damaged registers healed.

Bounded and best effort: what does not get done here, the replicator and the auditor do later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from objstore.cluster.membership import Membership
from objstore.core.quorum import majority, overlap
from objstore.core.rows import Register, RowKey
from objstore.core.timestamp import Ballot
from objstore.core.versions import winner
from objstore.errors import ObjstoreError, QuorumLost, TooBusy
from objstore.runtime.tasks import TaskOwner
from objstore.wire.messages import Accept, Merge, Merged, Message, Query, RegisterAnswer

REPAIRS_AT_ONCE = 64
HEAL_TIMEOUT_S = 30.0
HANDOFF_TIMEOUT_S = 10.0
HANDOFF_BYTES = 64 * 1024 * 1024  # payloads of extra copies under way; beyond it none are made

Settle = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Copy:
    """A row as it was acknowledged, and its bytes or who has them."""

    key: RowKey
    partition: int
    ballot: Ballot
    row: bytes
    payload: bytes | None
    sources: tuple[int, ...]


class Repair:
    """Background repairs of one proxy."""

    def __init__(self, members: Membership) -> None:
        self._members = members
        self._tasks = TaskOwner("repairs", limit=REPAIRS_AT_ONCE)
        self._healing: set[tuple[int, RowKey]] = set()
        self._closed = False
        self._handing_off_bytes = 0
        self.handoffs = 0  # extra copies made
        self.healed = 0
        self.dropped = 0  # left to the daemons

    async def aclose(self) -> None:
        """Give up what is under way."""
        self._closed = True
        await self._tasks.aclose()

    async def drain(self) -> None:
        """Wait for the healing that is under way."""
        await self._tasks.drain()

    # -- extra copies -------------------------------------------------------------------------------------------------

    def hand_off(self, copy: Copy, candidates: Iterator[int]) -> None:
        """Put an extra copy on the first of the candidates that takes it; it never counts."""
        size_bytes = len(copy.row) + len(copy.payload or b"")
        if self._closed or self._handing_off_bytes + size_bytes > HANDOFF_BYTES:
            self.dropped += 1
            return
        for device in candidates:
            about = self._members.ring.devices.get(device)
            if about is None or self._members.client(device).down:
                continue
            message = Accept(
                self._members.ring.epoch, device, about.incarnation, int(HANDOFF_TIMEOUT_S * 1000), copy.partition, copy.key, copy.ballot,
                copy.row, copy.payload is not None, copy.sources, handoff=True,
            )  # fmt: skip
            self._handing_off_bytes += size_bytes
            done = partial(self._handed_off, copy, candidates, size_bytes)
            self._members.client(device).send(message, copy.payload or b"", timeout_s=HANDOFF_TIMEOUT_S, done=done)
            return
        self.dropped += 1

    def _handed_off(
        self, copy: Copy, candidates: Iterator[int], size_bytes: int, _answer: Message | None, _: bytes | memoryview, failure: object
    ) -> None:
        self._handing_off_bytes -= size_bytes
        if failure is None:
            self.handoffs += 1
        else:
            self.hand_off(copy, candidates)

    # -- healing ------------------------------------------------------------------------------------------------------

    def heal(self, device: int, key: RowKey, partition: int, settle: Settle) -> None:
        """Give a damaged register back what a read quorum of the others holds, with their highest promise."""
        if (device, key) in self._healing or self._closed:
            return
        try:
            self._tasks.spawn(self._heal(device, key, partition, settle), name="heal")
        except TooBusy:
            self.dropped += 1
        else:
            self._healing.add((device, key))

    async def _heal(self, device: int, key: RowKey, partition: int, settle: Settle) -> None:
        try:
            try:
                await settle()
            except QuorumLost:
                # Two replicas without one of them cannot settle anything; what the other holds is then all that may be right.
                reading = self._members.plan(partition).reading
                if len([other for other in reading if other != device]) >= majority(len(reading)):
                    raise
            if await self._merge(device, key, partition):
                self.healed += 1
            else:
                self.dropped += 1
        except ObjstoreError:
            self.dropped += 1
        finally:
            self._healing.discard((device, key))

    async def _merge(self, device: int, key: RowKey, partition: int) -> bool:
        """Whether the others were enough and the device took it."""
        ring = self._members.ring
        plan = self._members.plan(partition)
        about = ring.devices.get(device)
        others = [other for other in plan.quorum.members if other != device]
        if about is None or not others:
            return False
        timeout_ms = int(HEAL_TIMEOUT_S * 1000)
        asked = [
            self._call(other, Query(plan.epoch, other, ring.devices[other].incarnation, timeout_ms, partition, key)) for other in others
        ]
        registers: dict[int, Register] = {}
        voters = 0
        for other, answered in zip(others, asked, strict=True):
            answer = await answered
            if isinstance(answer, RegisterAnswer):
                registers[other] = answer.register
                voters += answer.voting and other in plan.reading
        if voters < overlap(len(plan.reading)):
            return False  # too few others: the auditor tries again
        best, sources = winner(registers, key.space)
        promised = max(register.promised for register in registers.values())
        merged = Register(promised, best.accepted, best.row)
        message = Merge(plan.epoch, device, about.incarnation, timeout_ms, partition, key, merged, sources)
        return isinstance(await self._call(device, message), Merged)

    def _call(self, device: int, message: Message) -> "asyncio.Future[Message | None]":
        """A call that is under way; None when it failed."""
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._members.client(device).send(message, b"", timeout_s=HEAL_TIMEOUT_S, done=partial(_settle_future, future))
        return future


def _settle_future(
    future: "asyncio.Future[Message | None]", answer: Message | None, _payload: bytes | memoryview, _failure: ObjstoreError | None
) -> None:
    if not future.done():
        future.set_result(answer)
