"""Plain and conditional writes: the machines of core/agreement.py carried out, outcomes as errors."""

from collections.abc import Iterator, Sequence
from typing import Any

from objstore.cluster.api import Judge, VersionsJudge, Written
from objstore.cluster.repair import Copy, Repair
from objstore.cluster.rounds import Operation
from objstore.core.agreement import ConditionalWrite, FamilyWrite, PlainWrite, Survey
from objstore.core.machine import IssueBallot, Verdict
from objstore.core.placement import Plan
from objstore.core.rows import Row, decode_row
from objstore.errors import ConditionalConflict, NoSuchKey, OutcomeUnknown, QuorumLost, Unavailable


async def plain_write(
    operation: Operation, draft: Row, *, token: bytes, issue: IssueBallot, repair: Repair, payload: bytes | None, sources: Sequence[int],
    survey: Survey | None = None,
) -> Written:  # fmt: skip
    """Carry out a plain write.  Raises QuorumLost (nothing was proposed) or OutcomeUnknown."""
    machine = PlainWrite(operation.plan.quorum, draft, token, issue, survey=survey)
    await operation.run(machine)
    if machine.verdict is not Verdict.DONE:
        raise _failure(operation, machine.verdict)
    round_ = machine.round
    if round_.own:
        Copies(operation, repair, Copy(operation.key, operation.partition, machine.accepted, machine.row, payload, tuple(sources)))
    else:  # ours was overwritten already; what was made sure of is the row of somebody else, whose bytes others hold
        Copies(operation, repair, Copy(operation.key, operation.partition, machine.accepted, machine.row, None, round_.sources))
    return Written(row=machine.mine, previous=decode_row(machine.previous) if machine.previous else None)


class EarlyQuery:
    """The query of a plain write to come: sent when the headers of a request are there, so that it hides behind the body."""

    def __init__(self, operation: Operation) -> None:
        self.key = operation.key
        self._operation = operation
        self._survey = Survey(operation.plan.quorum)
        self._done = operation.begin(self._survey)

    async def wait(self) -> None:
        """Wait for its end."""
        await self._done

    def result(self, plan: Plan) -> Survey | None:
        """What it found; None when it is of no use to a write by this plan: it failed, or the ring has changed since."""
        return self._survey if self._survey.verdict is Verdict.DONE and self._operation.plan is plan else None

    def found_nothing(self, plan: Plan) -> bool:
        """Whether a quorum by this plan agrees that there is nothing under the key."""
        survey = self.result(plan)
        return survey is not None and survey.is_empty

    def close(self) -> None:
        """There will be no write."""
        self._operation.stop()


async def conditional_write(
    operation: Operation,
    judge: Judge | VersionsJudge,
    *,
    versions: bool = False,
    token: bytes,
    issue: IssueBallot,
    repair: Repair,
    payload: bytes | None,
    sources: Sequence[int],
) -> Written:
    """Carry out a conditional write; `versions`: by a judge of these.

    Raises what the judge raised, ConditionalConflict, QuorumLost, OutcomeUnknown.
    """
    make: Any = FamilyWrite if versions else ConditionalWrite
    machine: ConditionalWrite = make(operation.plan.quorum, judge, token, issue)
    await operation.run(machine)
    if machine.verdict is Verdict.REFUSED:
        assert machine.refusal is not None
        raise machine.refusal
    if machine.verdict is not Verdict.DONE:
        raise _failure(operation, machine.verdict)
    if machine.mine is None:
        raise NoSuchKey("there is nothing under this key, and the write was to leave it so")
    if not machine.left_alone:
        holders = (*sources, *machine.round.sources)
        Copies(operation, repair, Copy(operation.key, operation.partition, machine.accepted, machine.row, payload, holders))
    return Written(row=machine.mine, previous=machine.judged)


def _failure(operation: Operation, verdict: Verdict) -> Unavailable | ConditionalConflict:
    if verdict is Verdict.CONFLICT:
        return ConditionalConflict("a concurrent write got in between; it cannot be told whether this one took effect first")
    if verdict is Verdict.UNKNOWN:
        return OutcomeUnknown(f"the write may or may not have taken effect: {operation.why()}; read before writing again")
    return QuorumLost(f"too few replicas answered, nothing was written: {operation.why()}")


class Copies:
    """One extra copy on a handoff for each primary that missed an acknowledged row, at once or when its answer fails later."""

    __slots__ = ("_candidates", "_copy", "_made_for", "_plan", "_repair")

    def __init__(self, operation: Operation, repair: Repair, copy: Copy) -> None:
        self._plan = operation.plan  # not the operation: the two would hold each other until a garbage collection
        self._repair = repair
        self._copy = copy
        self._candidates: Iterator[int] | None = None
        self._made_for: set[int] | None = None
        operation.missed = self.make
        if operation.failures:
            for device in sorted(operation.failures):
                self.make(device)

    def make(self, device: int) -> None:
        """A primary missed the row; told twice of one, only the first counts."""
        if self._made_for is None or self._candidates is None:
            # One iterator for all: no handoff gets the copies of two primaries.
            self._made_for = set()
            self._candidates = iter(self._plan.handoffs)
        if device not in self._made_for and device in self._plan.quorum:
            self._made_for.add(device)
            self._repair.hand_off(self._copy, self._candidates)
