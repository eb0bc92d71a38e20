"""Carries a proposer's state machine (core/agreement.py) over the network: rounds out, answers in, no task per replica.

One `Operation` lives from a client's call to its outcome.  Answers that come after the outcome are no concern of the caller any
more; what failed by then is told to `missed`, so that a handoff copy can be made.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from objstore.cluster.membership import Membership
from objstore.core.agreement import Round, Step, Verdict
from objstore.core.placement import Plan, best_first, smallest_quorum
from objstore.core.quorum import Quorum
from objstore.core.rows import RowKey
from objstore.errors import Damaged, NewerEpoch, NodeUnreachable, ObjstoreError, QuorumLost, StaleEpoch, TooBusy
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.wire.messages import Accept, AcceptAnswer, Message, Prepare, Query, RegisterAnswer

RESTARTS = 6  # ring changes that one operation follows before it gives up


class Machine(Protocol):
    """What the three machines of core/agreement.py have in common."""

    round: Round
    verdict: Verdict

    def registered(self, device: int, register: Any, *, granted: bool = True, voting: bool = True) -> bool:
        """An answer to a query or prepare."""

    def answered(self, device: int, verdict: str, highest: Any = ..., base: Any = ..., *, voting: bool = True) -> bool:
        """An answer to an accept."""

    def failed(self, device: int) -> bool:
        """No answer, or no vote."""

    def expire(self) -> bool:
        """The round ran out of time."""

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed."""


class Operation:
    """One client operation on one register."""

    __slots__ = (
        "_again", "_carried", "_catching_up", "_done", "_hedge", "_hedge_timer", "_later", "_limit_s", "_loop", "_machine", "_members", "_number",
        "_payload", "_restarts", "_round_timer", "_sources", "_started", "_tasks", "_world", "damaged", "failures", "inline",
        "inline_from", "key", "missed", "partition", "payloads", "plan",
    )  # fmt: skip

    def __init__(
        self, world: World, members: Membership, tasks: TaskOwner, key: RowKey, partition: int, *,
        timeout_s: float, hedge_s: float, payload: bytes | memoryview | None = None, sources: Sequence[int] = (), inline: bool = False,
    ) -> None:  # fmt: skip
        self.key = key
        self.partition = partition
        self.plan: Plan = members.plan(partition)
        self.inline = inline
        self.inline_from = -1
        self.payloads: dict[bytes, bytes | memoryview] = {}  # encoded row -> the inline payload that came with it
        self.failures: dict[int, ObjstoreError] = {}
        self.damaged: list[int] = []
        self.missed: Callable[[int], None] | None = None
        self._world = world
        self._members = members
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._limit_s = self._loop.time() + timeout_s
        self._hedge = hedge_s
        self._payload = payload
        self._sources = tuple(sources)
        self._machine: Machine
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._number = 0
        self._started = 0.0
        self._later: tuple[int, ...] = ()
        self._carried: Message | None = None
        self._catching_up = False
        self._restarts = 0
        self._again: set[int] = set()  # devices asked a second time
        self._round_timer: asyncio.TimerHandle | None = None
        self._hedge_timer: asyncio.TimerHandle | None = None

    async def run(self, machine: Machine) -> None:
        """Drive the machine to its verdict.  Raises QuorumLost only when the ring kept changing."""
        self._machine = machine
        self._send_round()
        self._round_timer = self._loop.call_at(self._limit_s, self._out_of_time)
        try:
            await self._done
        finally:
            self._number += 1
            self._cancel_timers()

    def _cancel_timers(self) -> None:
        for timer in (self._round_timer, self._hedge_timer):
            if timer is not None:
                timer.cancel()
        self._round_timer = self._hedge_timer = None

    # -- a round ------------------------------------------------------------------------------------------------------

    def _send_round(self) -> None:
        self._number += 1
        round_ = self._machine.round
        self._started = self._loop.time()
        if self._hedge_timer is not None:
            self._hedge_timer.cancel()
            self._hedge_timer = None
        now: Sequence[int] = round_.to
        self._later = ()
        if round_.step is Step.QUERY and len(now) > 1:
            order = best_first(now, self._members.rank)
            now, self._later = smallest_quorum(self.plan.quorum, order)
            self.inline_from = next((d for d in now if d in self.plan.reading), -1)
            if self._later:
                self._hedge_timer = self._loop.call_later(self._hedge, self._ask_the_others)
        elif round_.step is Step.QUERY:
            self.inline_from = now[0]
        number = self._number
        for device in now:
            self._send(round_, device, number)
            if number != self._number:
                return  # all were known to be down: the machine went on already

    def _ask_the_others(self) -> None:
        later, self._later = self._later, ()
        number = self._number
        for device in later:
            if number == self._number:
                self._send(self._machine.round, device, number)

    def _message(self, round_: Round, device: int, timeout_ms: int) -> tuple[Message, bytes | memoryview]:
        epoch = self.plan.epoch
        incarnation = self._members.ring.devices[device].incarnation
        if round_.step is Step.QUERY:
            inline = self.inline and device == self.inline_from
            return Query(epoch, device, incarnation, timeout_ms, self.partition, self.key, inline), b""
        if round_.step is Step.PREPARE:
            return Prepare(epoch, device, incarnation, timeout_ms, self.partition, self.key, round_.ballot), b""
        payload = self._payload if round_.own else None
        sources = self._sources if round_.own else round_.sources
        message = Accept(
            epoch, device, incarnation, timeout_ms, self.partition, self.key, round_.ballot, round_.row, payload is not None, sources
        )
        return message, b"" if payload is None else payload

    def _send(self, round_: Round, device: int, number: int) -> None:
        left_s = max(0.001, self._limit_s - self._loop.time())
        if device not in self._members.ring.devices or self._members.ring.epoch != self.plan.epoch:
            self._restart()
            return
        message, payload = self._message(round_, device, int(left_s * 1000) + 1)
        self._members.client(device).send(message, payload, timeout_s=left_s, done=partial(self._answer, device, number, round_.step))

    def _answer(
        self, device: int, number: int, step: Step, answer: Message | None, payload: bytes | memoryview, failure: ObjstoreError | None
    ) -> None:
        if number != self._number or self._done.done():
            if failure is not None and step is Step.ACCEPT and self.missed is not None and self._done.done():
                self.missed(device)
            return
        if failure is not None:
            self._failed(device, number, failure)
            return
        self._members.client(device).took(self._loop.time() - self._started)
        machine = self._machine
        if isinstance(answer, RegisterAnswer):
            if answer.has_payload:
                self.payloads[answer.register.row] = payload
            over = machine.registered(device, answer.register, granted=answer.granted, voting=answer.voting)
        elif isinstance(answer, AcceptAnswer):
            over = machine.answered(device, answer.verdict, answer.highest, answer.base, voting=answer.voting)
        else:
            over = machine.failed(device)
        self._went_on(over)

    def _failed(self, device: int, number: int, failure: ObjstoreError) -> None:
        if isinstance(failure, StaleEpoch | NewerEpoch):
            self._tasks.spawn(self._catch_up(device, number, failure), name="catch up")
            return
        if isinstance(failure, NodeUnreachable) and number == self._number and device not in self._again:
            # A connection may turn out to be dead only when it is used, long after its node came back.  Asking twice is safe.
            self._again.add(device)
            self._send(self._machine.round, device, number)
            return
        self.failures[device] = failure
        if isinstance(failure, Damaged):
            self.damaged.append(device)
        if self._later:
            self._ask_the_others()
        if number == self._number:
            self._went_on(self._machine.failed(device))

    def _went_on(self, over: bool) -> None:  # noqa: FBT001 what the machine returned, passed on
        if not over:
            return
        if self._machine.verdict is Verdict.PENDING:
            self._send_round()
        elif not self._done.done():
            self._done.set_result(None)

    def _out_of_time(self) -> None:
        # Nobody answers any more within this operation's time: let the machine say what that means for its outcome.
        while self._machine.verdict is Verdict.PENDING:
            if not self._machine.expire():
                break
        if not self._done.done():
            self._done.set_result(None)

    # -- ring changes -------------------------------------------------------------------------------------------------

    async def _catch_up(self, device: int, number: int, failure: ObjstoreError) -> None:
        ring = self._members.ring
        if device in ring.devices and ring.epoch == self.plan.epoch:
            address = ring.devices[device].address
            if isinstance(failure, StaleEpoch):
                await self._members.fetch(address)
            else:
                await self._members.push(address)
        if number != self._number or self._done.done():
            return
        if self._members.ring.epoch != self.plan.epoch:
            self._restart()
        elif isinstance(failure, NewerEpoch):
            self._send(self._machine.round, device, number)  # it has our ring now, or says so again within the time that is left
        else:
            self._went_on(self._machine.failed(device))

    def _restart(self) -> None:
        self._restarts += 1
        self.plan = self._members.plan(self.partition)
        self.payloads.clear()
        if self._restarts > RESTARTS:
            if not self._done.done():
                self._done.set_exception(QuorumLost(f"the ring changed {RESTARTS} times during one operation; try again"))
            return
        self._machine.restart(self.plan.quorum)
        self._send_round()

    def why(self) -> str:
        """What the devices that failed said, for an error message."""
        said = [f"device {device}: {failure.message}" for device, failure in sorted(self.failures.items())]
        return "; ".join(said) or "no answer in time"

    @property
    def busy(self) -> bool:
        """Whether too much load was among the reasons."""
        return any(isinstance(failure, TooBusy) for failure in self.failures.values())
