"""Carries a proposer's state machine (core/machine.py) over the network: rounds out, answers in, no task per replica.

One `Operation` lives from a client's call to its outcome.  Answers that come after the outcome are no concern of the caller any
more; what failed by then is told to `missed`, so that a handoff copy can be made.

A device that cannot be reached is asked again and again while the operation is young (`patience_s`): nodes that restart, or a
proxy that starts before its nodes, cost a client a wait and no error.  Only then has the device failed in the round.  To ask
twice is safe: a repeated accept is the same proposal, a repeated prepare is refused and costs an attempt.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

from objstore.cluster.membership import Membership
from objstore.core.machine import Answer, Round, Step, Verdict
from objstore.core.placement import Plan, best_first
from objstore.core.quorum import Quorum
from objstore.core.rows import RowKey
from objstore.core.versions import version_key
from objstore.errors import Damaged, DeadlineExceeded, DeviceFull, NewerEpoch, NodeUnreachable, ObjstoreError, StaleEpoch, Unavailable
from objstore.runtime.rng import Rng
from objstore.wire.messages import Accept, AcceptAnswer, Message, Newest, NewestAnswer, Prepare, Query, RegisterAnswer

NEWEST_AT_ONCE = 4  # noncurrent versions asked of each device when the head is removed; the first is nearly always the one
RESTARTS = 6  # ring changes that one operation follows before it gives up
ASK_AGAIN_S = 0.27  # a little more than client.RETRY_AFTER_S, so that each time is a dial
BACKOFF_S = 0.004  # doubled with each attempt that a rival spoiled
BACKOFF_MOST_S = 0.25
# Somebody refused and somebody else is silent: a new attempt may get by without the silent one.  Longer where bodies must be fetched.
IMPATIENT_S = 0.4
IMPATIENT_WITH_BODIES_S = 4.0


class Machine(Protocol):
    """What the machines of core/agreement.py and core/reads.py have in common."""

    round: Round
    verdict: Verdict
    answers: list[Answer]  # to the last query or prepare
    everyone: ClassVar[bool]

    @property
    def only_waits(self) -> bool:
        """A quorum has answered; the others are waited for while that is cheap."""

    def registered(self, device: int, register: Any, *, granted: bool = True, voting: bool = True, floor: Any = ...) -> bool:
        """An answer to a query or prepare."""

    def answered(self, device: int, verdict: str, highest: Any = ..., base: Any = ..., *, voting: bool = True) -> bool:
        """An answer to an accept."""

    def listed(self, device: int, rows: Any, *, more: bool, voting: bool = True) -> bool:
        """An answer to a request for the newest versions."""

    def failed(self, device: int) -> bool:
        """No answer, or no vote."""

    def expire(self) -> bool:
        """The round ran out of time."""

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed."""


class Operation:
    """One client operation on one register."""

    __slots__ = (
        "_attempts", "_done", "_final", "_heard", "_hedge_s", "_hedged", "_impatience", "_later", "_limit_s", "_loop", "_machine", "_members", "_more_timer", "_number",
        "_patient_until_s", "_payload", "_pending", "_restarts", "_rng", "_sent_s", "_sources", "_timer", "_twice", "damaged", "failures",
        "inline", "inline_from", "key", "missed", "partition", "payloads", "plan",
    )  # fmt: skip

    def __init__(
        self, members: Membership, rng: Rng, key: RowKey, partition: int, *, timeout_s: float, patience_s: float, hedge_s: float,
        payload: bytes | memoryview | None = None, sources: Sequence[int] = (), inline: bool = False,
    ) -> None:  # fmt: skip
        self.key = key
        self.partition = partition
        self.plan: Plan = members.plan(partition)
        self.inline = inline
        self.inline_from = -1
        self.payloads: dict[bytes, bytes | memoryview] = {}  # encoded row -> the inline payload that came with it
        self.failures: dict[int, ObjstoreError] = {}  # of the round in hand, then of the last one
        self.damaged: list[int] = []
        self.missed: Callable[[int], None] | None = None
        self._members = members
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._limit_s = now + timeout_s
        self._patient_until_s = now + patience_s
        self._hedge_s = hedge_s
        self._hedged = False  # the hedge's time has come and gone
        self._payload = payload
        self._sources = tuple(sources)
        self._machine: Machine
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._number = 0  # of the round in hand
        self._final = -1  # of the round that ended the operation
        self._sent_s = now
        self._heard = False  # somebody answered in this round
        self._later: tuple[int, ...] = ()  # devices to ask when those asked are slow or fail
        self._pending: list[int] = []  # devices to ask again
        self._twice: set[int] = set()  # devices that were asked again at once
        self._attempts = 0
        self._restarts = 0
        self._timer: asyncio.TimerHandle | None = None  # hedge, then deadline
        self._more_timer: asyncio.TimerHandle | None = None  # ask again, or go on after a pause
        self._impatience: asyncio.TimerHandle | None = None

    async def run(self, machine: Machine) -> None:
        """Drive the machine to its verdict, at the latest when the time is up.  Raises what the machine's judge raises by mistake."""
        try:
            self._start(machine)
            await self._done
            self._final = self._number
        finally:
            self.stop()

    def begin(self, machine: Machine) -> "asyncio.Future[None]":
        """The same, waited for later or never: done at the machine's verdict."""
        self._start(machine)
        self._done.add_done_callback(lambda _: self.stop())
        return self._done

    def _start(self, machine: Machine) -> None:
        self._machine = machine
        self._timer = self._loop.call_later(self._hedge_s, self._hedge)
        self._send_round()

    def stop(self) -> None:
        """Want no more answers."""
        self._number += 1
        for timer in (self._timer, self._more_timer, self._impatience):
            if timer is not None:
                timer.cancel()
        self._timer = self._more_timer = self._impatience = None

    # -- a round ------------------------------------------------------------------------------------------------------

    def _send_round(self) -> None:
        self._number = number = self._number + 1
        self._heard = False
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None
        self._later = ()
        self._pending.clear()
        if self.failures:
            self.failures = {}
        round_ = self._machine.round
        self._sent_s = self._loop.time()
        if self._members.ring.epoch != self.plan.epoch:
            self._restart()  # before the choice, which asks the ring in use
            return
        for device in self._choose(round_) if round_.step is Step.QUERY and round_.version is None else round_.to:
            self._send(round_, device, number)
            if number != self._number:
                return  # all were known to be down, and the machine went on already

    def _choose(self, round_: Round) -> Sequence[int]:
        members, plan = self._members, self.plan
        if len(round_.to) == 1 or self._machine.everyone:
            self.inline_from = round_.to[0]
            return round_.to
        ranks = {device: members.client(device).rank for device in round_.to}
        if any(ranks.values()):
            now, self._later = members.split(plan, tuple(best_first(round_.to, ranks.__getitem__)))
            for other in self._later:
                members.client(other).passed_over()
        else:
            now, self._later = members.split(plan, round_.to)
        if self.inline:
            self.inline_from = self._reader(now)
        if self._hedged and self._later and self._timer is not None:
            self._hedged = False
            self._timer.cancel()
            self._timer = self._loop.call_later(self._hedge_s, self._hedge)
        return now

    def _reader(self, devices: Sequence[int]) -> int:
        """The one that sends the payload along."""
        return next((device for device in devices if device in self.plan.reading), -1)

    def _hedge(self) -> None:
        self._hedged = True
        self._timer = self._loop.call_at(self._limit_s, self._out_of_time)
        if self._later:
            for device in self._machine.round.to:
                if device not in self._later and device not in self.failures and not self._has_answered(device):
                    self._members.client(device).took(self._hedge_s)
            self._ask_the_others()

    def _has_answered(self, device: int) -> bool:
        return any(answer.device == device for answer in self._machine.answers)

    def _ask_the_others(self) -> None:
        later, self._later = self._later, ()
        if self.inline and not self._has_answered(self.inline_from):
            self.inline_from = self._reader(later)
        round_, number = self._machine.round, self._number
        self._sent_s = self._loop.time()
        for device in later:
            if number == self._number:
                self._send(round_, device, number)

    def _send(self, round_: Round, device: int, number: int) -> None:
        plan, step = self.plan, round_.step
        ring = self._members.ring
        if ring.epoch != plan.epoch:
            self._restart()
            return
        left_s = max(0.001, self._limit_s - self._loop.time())
        incarnation = ring.devices[device].incarnation
        timeout_ms = int(left_s * 1000) + 1
        message: Message
        payload: bytes | memoryview = b""
        key = self.key if round_.version is None or step is Step.NEWEST else version_key(self.key, round_.version)
        if step is Step.QUERY:
            inline = self.inline and device == self.inline_from
            message = Query(plan.epoch, device, incarnation, timeout_ms, self.partition, key, inline)
        elif step is Step.NEWEST:
            below = bytes.fromhex(round_.version or "")
            message = Newest(plan.epoch, device, incarnation, timeout_ms, self.partition, key, below, NEWEST_AT_ONCE)
        elif step is Step.PREPARE:
            message = Prepare(plan.epoch, device, incarnation, timeout_ms, self.partition, self.key, round_.ballot)
        else:
            comes_along = round_.own and self._payload is not None
            message = Accept(
                plan.epoch, device, incarnation, timeout_ms, self.partition, key, round_.ballot, round_.row, comes_along,
                (*self._sources, *round_.sources) if round_.own else round_.sources,
            )  # fmt: skip
            if comes_along and self._payload is not None:
                payload = self._payload
        self._members.client(device).send(message, payload, timeout_s=left_s, done=partial(self._answer, device, number, step))

    # -- answers ------------------------------------------------------------------------------------------------------

    def _answer(
        self, device: int, number: int, step: Step, answer: Message | None, payload: bytes | memoryview, failure: ObjstoreError | None
    ) -> None:
        if number != self._number or self._done.done():
            self._too_late(device, number, step, failure)
            return
        try:
            if failure is not None:
                self._failed(device, number, failure)
            else:
                self._feed(device, answer, payload)
        except Exception as bug:  # noqa: BLE001 raised in the connection's callback it would end the connection and tell no caller
            if not self._done.done():
                self._done.set_exception(bug)

    def _feed(self, device: int, answer: Message | None, payload: bytes | memoryview) -> None:
        machine = self._machine
        self._heard = True
        if self.failures:
            self.failures.pop(device, None)
        if isinstance(answer, RegisterAnswer):
            if machine.round.step is Step.QUERY and machine.round.version is None:
                self._members.client(device).took(self._loop.time() - self._sent_s)
            if answer.has_payload:
                self.payloads[answer.register.row] = payload
            over = machine.registered(device, answer.register, granted=answer.granted, voting=answer.voting, floor=answer.floor)
            if self._later and not answer.voting and not over:
                self._ask_the_others()
        elif isinstance(answer, NewestAnswer):
            rows = [row.row for row in answer.rows]
            over = machine.listed(device, rows, more=len(rows) >= NEWEST_AT_ONCE, voting=answer.voting)
        elif isinstance(answer, AcceptAnswer):
            over = machine.answered(device, answer.verdict, answer.highest, answer.base, voting=answer.voting)
        else:
            over = machine.failed(device)
        if over:
            self._go_on()
        elif self._impatience is None and (_refuses(answer) or machine.only_waits):
            round_ = machine.round
            wait_s = IMPATIENT_WITH_BODIES_S if round_.sources or self._sources else IMPATIENT_S
            self._impatience = self._loop.call_later(wait_s, self._impatient, self._number)

    def _impatient(self, number: int) -> None:
        self._impatience = None
        if number == self._number and not self._done.done() and self._machine.expire():
            self._go_on()

    def _too_late(self, device: int, number: int, step: Step, failure: ObjstoreError | None) -> None:
        if step is not Step.ACCEPT or number not in (self._number, self._final):
            return
        if self._final < 0:  # the operation is done, its caller does not know yet
            if failure is not None:
                self.failures[device] = failure
            else:
                self.failures.pop(device, None)
        elif failure is not None and self.missed is not None:
            self.missed(device)

    def _failed(self, device: int, number: int, failure: ObjstoreError) -> None:
        self.failures[device] = failure
        if isinstance(failure, StaleEpoch | NewerEpoch):
            if self._later and isinstance(failure, NewerEpoch):
                self._ask_the_others()  # they may know our ring already
            if number == self._number and not self._members.when_caught_up(
                device, failure, partial(self._caught_up, device, number, failure)
            ):
                self._ask_again_or_fail(device)
            return
        if isinstance(failure, Damaged):
            self.damaged.append(device)
        if isinstance(failure, NodeUnreachable) and device not in self._twice:
            # A connection may turn out to be dead only when it is used, long after its node came back.
            self._twice.add(device)
            self._send(self._machine.round, device, number)
            return
        if self._later:
            self._ask_the_others()
            if number != self._number:
                return
        if isinstance(failure, Unavailable) and not isinstance(failure, DeviceFull | DeadlineExceeded):
            self._ask_again_or_fail(device)
        elif self._machine.failed(device):
            self._go_on()

    def _ask_again_or_fail(self, device: int) -> None:
        if self._loop.time() >= self._patient_until_s:
            if self._machine.failed(device):
                self._go_on()
            return
        self._pending.append(device)
        if self._more_timer is None:
            self._more_timer = self._loop.call_later(ASK_AGAIN_S, self._ask_again)

    def _ask_again(self) -> None:
        self._more_timer = None
        devices, self._pending = self._pending, []
        round_, number = self._machine.round, self._number
        for device in devices:
            if number != self._number or self._done.done():
                return
            self._send(round_, device, number)

    def _go_on(self) -> None:
        """A round is over."""
        if self._machine.verdict is not Verdict.PENDING:
            if not self._done.done():
                self._done.set_result(None)
            return
        if self._more_timer is not None:
            self._more_timer.cancel()
            self._more_timer = None
        if self._machine.round.step is Step.PREPARE and self._heard:
            # Somebody who is alive refused: a rival's promise.  Once is usual; then the two must not go on in step for ever.
            self._attempts += 1
            if self._attempts > 1:
                self._number += 1
                most_s = min(BACKOFF_MOST_S, BACKOFF_S * 2.0 ** min(self._attempts, 10))
                self._more_timer = self._loop.call_later(self._rng.uniform(0.0, most_s), self._after_pause)
                return
        self._send_round()

    def _after_pause(self) -> None:
        # The ballot was issued before the pause and others may have gone above it: begin anew with what the machine knows.
        self._more_timer = None
        self._machine.restart(self.plan.quorum)
        self._send_round()

    def _out_of_time(self) -> None:
        # Nobody answers any more within this operation's time: let the machine say what that means for its outcome.
        self._number += 1
        while self._machine.verdict is Verdict.PENDING and self._machine.expire():
            pass
        if not self._done.done():
            self._done.set_result(None)

    # -- ring changes -------------------------------------------------------------------------------------------------

    def _caught_up(self, device: int, number: int, failure: ObjstoreError) -> None:
        if number != self._number or self._done.done():
            return
        if self._members.ring.epoch != self.plan.epoch:
            self._restart()
        elif isinstance(failure, NewerEpoch) and device not in self._twice:
            self._twice.add(device)
            self._send(self._machine.round, device, number)  # it has our ring now
        else:
            self._ask_again_or_fail(device)

    def _restart(self) -> None:
        self._restarts += 1
        if self._restarts > RESTARTS:
            self._out_of_time()
            return
        self.plan = self._members.plan(self.partition)
        self.payloads.clear()
        self._twice.clear()
        if self._more_timer is not None:
            self._more_timer.cancel()
            self._more_timer = None
        self._machine.restart(self.plan.quorum)
        self._send_round()

    def why(self) -> str:
        """What the devices that failed said, for an error message."""
        said = [f"device {device}: {failure.message}" for device, failure in sorted(self.failures.items())]
        if self._restarts > RESTARTS:
            said.append(f"the ring changed {RESTARTS} times during one operation")
        return "; ".join(said) or "no answer in time"


def _refuses(answer: Message | None) -> bool:
    """Whether a live device stood in the way, so that a higher ballot may do better."""
    return (isinstance(answer, RegisterAnswer) and not answer.granted) or (isinstance(answer, AcceptAnswer) and answer.verdict != "yes")
