"""What happens after the answer: extra copies for primaries that missed a write, damaged registers healed.

Bounded and best effort: what does not get done here, the replicator and the auditor do later.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from objstore.cluster.membership import Membership
from objstore.core.rows import EMPTY, Register, RowKey
from objstore.core.timestamp import Ballot
from objstore.errors import ObjstoreError, TooBusy
from objstore.runtime.tasks import TaskOwner
from objstore.wire.channel import CallDone
from objstore.wire.messages import Accept, Merge, Message, Query, RegisterAnswer

REPAIRS_AT_ONCE = 64
HEAL_TIMEOUT_S = 30.0
HANDOFF_TIMEOUT_S = 10.0


class Repair:
    """Background repairs of one proxy."""

    def __init__(self, members: Membership) -> None:
        self._members = members
        self._tasks = TaskOwner("repairs", limit=REPAIRS_AT_ONCE)
        self._healing: set[tuple[int, RowKey]] = set()
        self.handoffs = 0
        self.healed = 0
        self.dropped = 0

    async def aclose(self) -> None:
        """Give up what is under way."""
        await self._tasks.aclose()

    async def drain(self) -> None:
        """Wait for what is under way."""
        await self._tasks.drain()

    def hand_off(
        self,
        key: RowKey,
        partition: int,
        ballot: Ballot,
        row: bytes,
        payload: bytes | memoryview | None,
        sources: Sequence[int],
        copies: int,
    ) -> None:
        """Put `copies` extra copies of a row on the first handoffs that can be reached; they never count."""
        plan = self._members.plan(partition)
        candidates = [device for device in plan.handoffs if not self._members.client(device).down]
        for device in candidates[:copies]:
            about = self._members.device(device)
            message = Accept(
                plan.epoch, device, about.incarnation, int(HANDOFF_TIMEOUT_S * 1000), partition, key, ballot, row,
                payload is not None, tuple(sources), handoff=True,
            )  # fmt: skip
            self.handoffs += 1
            body = b"" if payload is None else payload
            self._members.client(device).send(message, body, timeout_s=HANDOFF_TIMEOUT_S, done=_whatever)

    def heal(self, device: int, key: RowKey, partition: int, settle: Callable[[], object]) -> None:
        """Give a damaged register back what a read quorum of the others holds, with their highest promise."""
        if (device, key) in self._healing:
            return
        self._healing.add((device, key))
        try:
            self._tasks.spawn(self._heal(device, key, partition, settle), name="heal")
        except TooBusy:
            self.dropped += 1
            self._healing.discard((device, key))

    async def _heal(self, device: int, key: RowKey, partition: int, settle: Callable[[], object]) -> None:
        try:
            await settle()  # type: ignore[misc]  # a coroutine function
            plan = self._members.plan(partition)
            others = [d for d in plan.quorum.members if d != device]
            answers = await asyncio.gather(*(self._query(d, key, partition, plan.epoch) for d in others))
            registers = {d: r for d, r in zip(others, answers, strict=True) if r is not None}
            needed = len(plan.reading) // 2 + 1
            if len(set(registers) & set(plan.reading)) < needed:
                return  # too few others: the auditor tries again
            best = max(registers.values(), key=lambda register: register.accepted, default=EMPTY)
            promised = max(register.promised for register in registers.values())
            sources = tuple(d for d, r in registers.items() if r.accepted == best.accepted)
            about = self._members.device(device)
            merged = Register(promised, best.accepted, best.row)
            message = Merge(plan.epoch, device, about.incarnation, int(HEAL_TIMEOUT_S * 1000), partition, key, merged, sources)
            if await self.call(device, message, b"", timeout_s=HEAL_TIMEOUT_S) is not None:
                self.healed += 1
        except ObjstoreError:
            self.dropped += 1
        finally:
            self._healing.discard((device, key))

    async def _query(self, device: int, key: RowKey, partition: int, epoch: int) -> Register | None:
        about = self._members.device(device)
        message = Query(epoch, device, about.incarnation, int(HEAL_TIMEOUT_S * 1000), partition, key)
        answer = await self.call(device, message, b"", timeout_s=HEAL_TIMEOUT_S)
        return answer.register if isinstance(answer, RegisterAnswer) else None

    async def call(self, device: int, message: Message, payload: bytes, *, timeout_s: float) -> Message | None:
        """One call; None when it failed."""
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        done: CallDone = partial(_settle_future, future)
        self._members.client(device).send(message, payload, timeout_s=timeout_s, done=done)
        return await future


def _settle_future(
    future: "asyncio.Future[Message | None]", answer: Message | None, _payload: bytes | memoryview, _failure: ObjstoreError | None
) -> None:
    if not future.done():
        future.set_result(answer)


def _whatever(_answer: Message | None, _payload: bytes | memoryview, _failure: ObjstoreError | None) -> None:
    """An extra copy that was not made is made later by the replicator."""
