"""Plain and conditional writes: the machines of core/agreement.py carried out, outcomes as errors."""

from collections.abc import Sequence

from objstore.cluster.api import Judge, Written
from objstore.cluster.repair import Repair
from objstore.cluster.rounds import Operation
from objstore.core.agreement import ConditionalWrite, IssueBallot, PlainWrite, Verdict
from objstore.core.rows import Row, decode_row, encode_row
from objstore.errors import ConditionalConflict, NoSuchKey, OutcomeUnknown, QuorumLost, Unavailable


async def plain_write(operation: Operation, draft: Row, *, token: bytes, issue: IssueBallot, repair: Repair, after: "Copies") -> Written:
    """Carry out a plain write.  Raises QuorumLost (nothing was proposed) or OutcomeUnknown."""
    machine = PlainWrite(operation.plan.quorum, draft, token, issue)
    await operation.run(machine)
    if machine.verdict is Verdict.DONE:
        after.make(operation, machine.accepted, machine.row, repair)
        return Written(row=machine.mine, previous=decode_row(machine.previous) if machine.previous else None)
    raise _failure(operation, machine.verdict)


async def conditional_write(
    operation: Operation, judge: Judge, *, token: bytes, issue: IssueBallot, repair: Repair, after: "Copies"
) -> Written:
    """Carry out a conditional write.  Raises what the judge raised, ConditionalConflict, QuorumLost, OutcomeUnknown."""
    machine = ConditionalWrite(operation.plan.quorum, judge, token, issue)
    await operation.run(machine)
    if machine.verdict is Verdict.REFUSED:
        assert machine.refusal is not None
        raise machine.refusal
    if machine.verdict is Verdict.DONE:
        if machine.mine is None:
            raise NoSuchKey("there is nothing under this key, and the write was to leave it so")
        if not machine.left_alone:
            after.make(operation, machine.accepted, encode_row(machine.mine), repair)
        return Written(row=machine.mine, previous=machine.judged)
    raise _failure(operation, machine.verdict)


def _failure(operation: Operation, verdict: Verdict) -> Unavailable | ConditionalConflict:
    if verdict is Verdict.CONFLICT:
        return ConditionalConflict("a concurrent write got in between; it cannot be told whether this one took effect first")
    if verdict is Verdict.UNKNOWN:
        return OutcomeUnknown(f"the write may or may not have taken effect: {operation.why()}; read before writing again")
    return QuorumLost(f"too few replicas answered, nothing was written: {operation.why()}")


class Copies:
    """Extra copies on handoffs for primaries that missed an acknowledged row, at once or when their answer fails later."""

    __slots__ = ("_payload", "_sources")

    def __init__(self, payload: bytes | None, sources: Sequence[int]) -> None:
        self._payload = payload
        self._sources = tuple(sources)

    def make(self, operation: Operation, ballot: bytes, row: bytes, repair: Repair) -> None:
        """Called once the row is acknowledged at `ballot`."""
        if len(operation.plan.quorum.members) == 1:
            return

        def one_more(_device: int) -> None:
            repair.hand_off(operation.key, operation.partition, ballot, row, self._payload, self._sources, 1)  # type: ignore[arg-type]  # a Ballot is bytes

        operation.missed = one_more
        missing = [d for d in operation.failures if d in operation.plan.quorum]
        if missing:
            repair.hand_off(operation.key, operation.partition, ballot, row, self._payload, self._sources, len(missing))  # type: ignore[arg-type]  # as above
