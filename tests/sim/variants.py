"""The code under test, broken on purpose, one decision each: a simulator that does not catch these proves nothing.

Each function changes the classes of this process for good, so a variant needs a process of its own.  Production code has no
flags for any of this.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from objstore.cluster.rounds import Operation
from objstore.core.agreement import ConditionalWrite, PlainWrite
from objstore.core.machine import Machine, Step, Verdict
from objstore.core.reads import ReadDecision
from objstore.daemons.compactor import Compactor
from objstore.errors import ObjstoreError
from objstore.node.engine import registers
from objstore.node.engine.packs import Packs
from objstore.node.state import LocalDevice, NodeState
from objstore.wire.messages import Accept, AcceptAnswer, Reclaim, ReclaimAnswer


def write_quorum_of_one() -> None:
    """A write is acknowledged when one replica has it."""

    def answered(machine: Any, device: int, verdict: str, *args: Any, **kwargs: Any) -> bool:
        if verdict == "yes" and machine.round.own:
            return bool(machine._end_accepted())
        return bool(Machine.answered(machine, device, verdict, *args, **kwargs))

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
    """A node answers requests of epochs that are over, for the device they mean, as that one stands now."""
    original = NodeState.admit

    def admit(self: NodeState, request: Any) -> LocalDevice:
        if request.epoch < self.epoch:
            for device in self.devices:
                if device.incarnation == request.incarnation and device.view is not None and device.engine is not None:
                    return device
        return original(self, request)

    NodeState.admit = admit  # type: ignore[method-assign]


def handoff_counts() -> None:
    """A copy on a handoff counts for a primary that does not answer soon: a sloppy quorum."""
    original = Operation._send_round

    def send_round(self: Any) -> None:
        original(self)
        if self._machine.round.step is Step.ACCEPT:
            self._loop.call_later(0.2, stand_in, self, self._number, self._machine.round)

    def stand_in(self: Any, number: int, round_: Any) -> None:
        ring = self._members.ring
        if number != self._number or self._done.done() or ring.epoch != self.plan.epoch:
            return
        silent = [d for d in round_.to if not self._machine._tally._yes & self._machine._quorum.seats(d)]
        payload = self._payload if round_.own else None
        for device, other in zip(silent, self.plan.handoffs, strict=False):
            message = Accept(
                ring.epoch, other, ring.devices[other].incarnation, 10_000, self.partition, self.key, round_.ballot, round_.row,
                payload is not None, self._sources if round_.own else round_.sources, handoff=True,
            )  # fmt: skip
            self._members.client(other).send(message, payload or b"", timeout_s=10.0, done=partial(took, self, number, device))

    def took(self: Any, number: int, device: int, answer: Any, _payload: Any, _failure: Any) -> None:
        if number != self._number or self._done.done() or not isinstance(answer, AcceptAnswer) or answer.verdict != "yes":
            return
        if self._machine.answered(device, "yes"):
            self._go_on()

    Operation._send_round = send_round  # type: ignore[method-assign]


def older_version_forgotten() -> None:
    """A head that is replaced by another version is not kept."""
    original = registers.stored_with

    def stored_with(*args: Any) -> Any:
        found = original(*args)
        return found and {version: kept for version, kept in found.items() if not kept.of_head}

    registers.stored_with = stored_with  # type: ignore[assignment]


VARIANTS: dict[str, Callable[[], None]] = {
    "handoff-counts": handoff_counts,
    "write-quorum-1": write_quorum_of_one,
    "no-write-back": read_without_write_back,
    "answer-before-flush": answer_before_flush,
    "early-purge": early_tombstone_purge,
    "no-epoch-check": no_epoch_check,
    "version-forgotten": older_version_forgotten,
}

OF_OBJECTS = frozenset({"version-forgotten"})  # variants that only the workload of objects can catch
