"""The code under test, broken on purpose, one decision each: a simulator that does not catch these proves nothing.

Each function changes the classes of this process for good, so a variant needs a process of its own.  Production code has no
flags for any of this.
"""

from collections.abc import Callable
from typing import Any

from objstore.cluster.rounds import Operation
from objstore.core import agreement
from objstore.core.agreement import ConditionalWrite, PlainWrite, ReadDecision, Step, Verdict
from objstore.daemons.compactor import Compactor
from objstore.errors import NodeUnreachable, ObjstoreError
from objstore.node.engine.packs import Packs
from objstore.node.state import LocalDevice, NodeState
from objstore.wire.messages import Accept, AcceptAnswer, Reclaim, ReclaimAnswer


def write_quorum_of_one() -> None:
    """A write is acknowledged when one replica has it."""

    def answered(machine: Any, device: int, verdict: str, *args: Any, **kwargs: Any) -> bool:
        if verdict == "yes" and machine.round.own:
            return bool(machine._end_accepted())
        return bool(agreement._Machine.answered(machine, device, verdict, *args, **kwargs))

    PlainWrite.answered = answered  # type: ignore[method-assign]
    ConditionalWrite.answered = answered  # type: ignore[method-assign]


def read_without_write_back() -> None:
    """A read answers with the highest row it saw, without making sure that a majority holds it."""

    def finish(machine: Any) -> bool:
        return bool(machine._finish(Verdict.DONE, machine._top.accepted, machine._top.row))

    ReadDecision._write_back = finish  # type: ignore[method-assign]


def answer_before_flush() -> None:
    """A batch is written, not flushed, and answered."""

    def write(self: Any, pack: int, offset: int, sequence: int, buffers: Any) -> None:
        if pack != self.current:
            kept = self._disk.sync_directory
            self._disk.sync_directory = lambda path: None
            try:
                original(self, pack, offset, sequence, buffers)
            finally:
                self._disk.sync_directory = kept
            return
        self._writer.pwrite(buffers, offset)

    original = Packs.write
    Packs.write = write  # type: ignore[method-assign]


def early_tombstone_purge() -> None:
    """A tombstone goes from whoever answers, without asking whether every primary has it."""

    async def reclaim_one(self: Compactor, item: Any, partition: int, primaries: Any, epoch: int) -> bool:
        for device in primaries:
            try:
                await self.fleet.ask(
                    Reclaim, ReclaimAnswer, device, epoch=epoch, partition=partition, key=item.key, ballot=item.register.accepted
                )
            except ObjstoreError:
                continue
        return True

    Compactor._reclaim_one = reclaim_one  # type: ignore[method-assign]


def no_epoch_check() -> None:
    """A node answers requests of epochs that are over."""
    original = NodeState.admit

    def admit(self: NodeState, request: Any) -> LocalDevice:
        if request.epoch < self.epoch:
            for device in self.devices:
                if device.incarnation == request.incarnation and device.view is not None and device.engine is not None:
                    return device
        return original(self, request)

    NodeState.admit = admit  # type: ignore[method-assign]


def handoff_counts() -> None:
    """A copy on a handoff counts for the primary that could not be reached: a sloppy quorum."""
    original = Operation._failed

    def failed(self: Any, device: int, number: int, failure: ObjstoreError) -> None:
        round_ = self._machine.round
        stand_in = next((d for d in self.plan.handoffs if not self._members.client(d).down), None)
        if round_.step is not Step.ACCEPT or not isinstance(failure, NodeUnreachable) or stand_in is None:
            original(self, device, number, failure)
            return

        def done(answer: Any, _payload: Any, _failure: Any) -> None:
            if number != self._number or self._done.done():
                return
            if isinstance(answer, AcceptAnswer) and answer.verdict == "yes":
                if self._machine.answered(device, "yes"):
                    self._go_on()
            else:
                original(self, device, number, failure)

        payload = self._payload if round_.own else None
        message = Accept(
            self.plan.epoch, stand_in, self._members.ring.devices[stand_in].incarnation, 10_000, self.partition, self.key, round_.ballot,
            round_.row, payload is not None, self._sources if round_.own else round_.sources, handoff=True,
        )  # fmt: skip
        self._members.client(stand_in).send(message, payload or b"", timeout_s=10.0, done=done)

    Operation._failed = failed  # type: ignore[method-assign]


VARIANTS: dict[str, Callable[[], None]] = {
    "handoff-counts": handoff_counts,
    "write-quorum-1": write_quorum_of_one,
    "no-write-back": read_without_write_back,
    "answer-before-flush": answer_before_flush,
    "early-purge": early_tombstone_purge,
    "no-epoch-check": no_epoch_check,
}
