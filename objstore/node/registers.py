"""Requests about single registers: query, prepare, accept, merge, reclaim, drop.

The first three are the hot path and cost no task.  Every change is counted on its device from admission to its flushed
end, also when its caller has given up by then: the barrier between two epochs waits for exactly these (`node/state.py`).
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import msgspec

from objstore.core.rows import BodyKind, Space, decode_row
from objstore.core.timestamp import BALLOT_BYTES
from objstore.errors import InvalidArgument, Unavailable
from objstore.node.checks import check_ballots, check_items, check_key
from objstore.node.drive import Drive
from objstore.node.engine.api import BodyMissing, EngineApi
from objstore.node.pull import Puller
from objstore.node.state import LocalDevice, NodeState
from objstore.wire.messages import (
    Accept,
    AcceptAnswer,
    DropPartition,
    Dropped,
    Merge,
    Merged,
    Newest,
    NewestAnswer,
    Prepare,
    Query,
    Reclaim,
    ReclaimAnswer,
    RegisterAnswer,
    Request,
)
from objstore.wire.server import Call

T = TypeVar("T")
MAX_NEWEST = 64  # rows of versions in one answer


class Registers:
    """Answers them for all devices of a node."""

    def __init__(self, state: NodeState, puller: Puller, counters: "Counter[str]") -> None:
        self._state = state
        self._puller = puller
        self._counters = counters
        self.handlers = {
            Query: self._query,
            Prepare: self._prepare,
            Accept: self._accept,
            Merge: self._merge,
            Newest: self._newest,
            Reclaim: self._reclaim,
            DropPartition: self._drop,
        }

    # -- the hot path ---------------------------------------------------------------------------------------------

    def _query(self, call: Call, device: LocalDevice, message: Query) -> None:
        partition = message.partition
        self._state.check_primary(device, partition)
        check_key(message.key)
        engine = device.open()
        if message.inline:
            Drive(engine.query_inline(message.key, partition=partition), partial(self._queried, call, device, partition)).step()
        else:
            register = engine.query(message.key, partition=partition, stored=message.stored)
            if message.key.space == Space.VERSIONS:
                call.answer(RegisterAnswer(register, voting=device.votes(partition), floor=engine.floor(partition)))
            else:
                call.answer(RegisterAnswer(register, voting=device.votes(partition)))

    def _queried(self, call: Call, device: LocalDevice, partition: int, result: Any, failure: BaseException | None) -> None:
        if failure is not None:
            self._failed(call, device, failure)
            return
        register, payload = result
        if payload is None:
            call.answer(RegisterAnswer(register, voting=device.votes(partition)))
        else:
            call.answer(RegisterAnswer(register, voting=device.votes(partition), has_payload=True), payload)

    def _prepare(self, call: Call, device: LocalDevice, message: Prepare) -> None:
        partition = message.partition
        self._state.check_primary(device, partition)
        self._state.check_ballot(message.ballot)
        check_key(message.key)
        engine = device.open()
        device.change_begins()
        work = engine.prepare(message.key, partition=partition, ballot=message.ballot)
        Drive(work, partial(self._prepared, call, device, engine, partition)).step()

    def _prepared(
        self, call: Call, device: LocalDevice, engine: EngineApi, partition: int, result: Any, failure: BaseException | None
    ) -> None:
        device.change_ends()
        if failure is not None:
            self._failed(call, device, failure)
            return
        granted, register = result
        call.answer(RegisterAnswer(register, granted, device.votes(partition), floor=engine.floor(partition)))

    def _accept(self, call: Call, device: LocalDevice, message: Accept) -> None:
        if message.handoff:
            self._state.check_partition(message.partition)
        else:
            self._state.check_primary(device, message.partition)
        self._state.check_ballot(message.ballot)
        check_key(message.key)
        engine = device.open()
        device.change_begins(len(call.payload))
        work = engine.accept(
            message.key,
            partition=message.partition,
            ballot=message.ballot,
            row=message.row,
            payload=call.payload if message.has_payload else None,
        )
        Drive(work, partial(self._accepted, call, device, message.partition)).step()

    def _accepted(
        self, call: Call, device: LocalDevice, partition: int, answer: AcceptAnswer | None, failure: BaseException | None
    ) -> None:
        device.change_ends(len(call.payload))
        if answer is not None:
            call.answer(answer if device.votes(partition) else msgspec.structs.replace(answer, voting=False))
        elif isinstance(failure, BodyMissing) and not call.abandoned:
            call.run(self._accept_pulled, limit_s=call.timeout_s)
        elif failure is not None:
            self._failed(call, device, failure)

    def _failed(self, call: Call, device: LocalDevice, failure: BaseException) -> None:
        if isinstance(failure, BodyMissing):
            failure = Unavailable("the row came without its body, and its caller has given up")
        self._counters[f"failed_{type(failure).__name__}"] += 1
        call.fail_with(failure)

    # -- with a body to fetch -------------------------------------------------------------------------------------

    async def _accept_pulled(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, Accept)
        answer, _ = await self._with_body(call, message, message.row, partial(self._accept_once, message))
        voting = self._admit_again(message).votes(message.partition)
        call.answer(msgspec.structs.replace(answer, voting=voting))

    def _accept_once(self, message: Accept, device: LocalDevice, payload: bytes | None) -> Coroutine[Any, Any, AcceptAnswer]:
        return device.open().accept(message.key, partition=message.partition, ballot=message.ballot, row=message.row, payload=payload)

    def _merge(self, call: Call, _device: LocalDevice, message: Merge) -> None:
        register = message.register
        self._state.check_partition(message.partition)
        check_key(message.key)
        check_ballots(register.promised, register.accepted, message.floor)
        if register.row:
            decode(register.row)
        call.run(self._merge_pulled, limit_s=call.timeout_s)

    async def _merge_pulled(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, Merge)
        changed, pulled = await self._with_body(call, message, message.register.row, partial(self._merge_once, message))
        after = self._admit_again(message).open().query(message.key, partition=message.partition)
        call.answer(Merged(changed, pulled, after.accepted, after.promised))

    def _merge_once(self, message: Merge, device: LocalDevice, payload: bytes | None) -> Coroutine[Any, Any, bool]:
        return device.open().merge(
            message.key, partition=message.partition, register=message.register, payload=payload, floor=message.floor
        )

    async def _with_body(self, call: Call, message: Accept | Merge, encoded: bytes, once: Any) -> tuple[Any, int]:
        """Do `once`; when the body is missing pull it and do it again.  Every time the request is admitted anew, because
        the ring may have changed while the body came."""
        try:
            return await self._change(message, once, None), 0
        except BodyMissing:
            row = decode(encoded)
        if row.body not in (BodyKind.INLINE, BodyKind.BLOB):
            raise InvalidArgument("a row came without its body and has none that could be fetched")
        device = self._admit_again(message)
        async with self._puller.turn(device, message.key, row):
            try:
                return await self._change(message, once, None), 0
            except BodyMissing:
                payload, pulled = await self._puller.pull(device, message.key, row, message.sources, timeout_s=call.timeout_s)
            try:
                return await self._change(message, once, payload), pulled
            except BodyMissing as failure:
                raise Unavailable("the body was fetched and is gone again") from failure

    # -- versions -----------------------------------------------------------------------------------------------------

    def _newest(self, call: Call, device: LocalDevice, message: Newest) -> None:
        self._state.check_primary(device, message.partition)
        check_key(message.key)
        if message.below and len(message.below) != BALLOT_BYTES:
            raise InvalidArgument("a version id has the wrong length")
        limit = min(max(message.limit, 1), MAX_NEWEST)
        rows = device.open().newest(message.key, partition=message.partition, below=message.below, limit=limit)
        call.answer(NewestAnswer(rows, device.votes(message.partition)))

    # -- other changes --------------------------------------------------------------------------------------------

    def _reclaim(self, call: Call, device: LocalDevice, message: Reclaim) -> None:
        self._state.check_primary(device, message.partition)
        self._state.check_ballot(message.ballot)
        check_key(message.key)
        call.run(self._reclaim_now, limit_s=call.timeout_s)

    async def _reclaim_now(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, Reclaim)
        call.answer(ReclaimAnswer(await self._change(message, self._reclaim_once, message)))

    def _reclaim_once(self, device: LocalDevice, message: Reclaim) -> Coroutine[Any, Any, bool]:
        return device.open().reclaim(message.key, partition=message.partition, ballot=message.ballot)

    def _drop(self, call: Call, device: LocalDevice, message: DropPartition) -> None:
        self._state.check_droppable(device, message.partition)
        check_items(message.items)
        call.run(self._drop_now, limit_s=call.timeout_s)

    async def _drop_now(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, DropPartition)
        call.answer(Dropped(await self._change(message, self._drop_once, message)))

    def _drop_once(self, device: LocalDevice, message: DropPartition) -> Coroutine[Any, Any, int]:
        # Looked at again in the very turn of the change: the ring may have made the device a primary since admission.
        self._state.check_droppable(device, message.partition)
        return device.open().drop(message.items, partition=message.partition)

    # -- below ----------------------------------------------------------------------------------------------------

    def _admit_again(self, message: Request) -> LocalDevice:
        """The device, if the request may still be answered in its epoch."""
        device = self._state.admit(message)
        if device.held is not None:
            raise Unavailable(f"{device.directory} is between two epochs")
        return device

    async def _change(self, message: Request, once: Any, argument: object) -> Any:
        """One change by the engine, admitted now; it comes to its end and is counted until then even when we are cancelled."""
        device = self._admit_again(message)
        end: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        device.change_begins()
        try:
            work = once(device, argument)
        except BaseException:
            device.change_ends()
            raise
        Drive(work, partial(_end_change, device, end)).step()
        return await end


def _end_change(device: LocalDevice, end: "asyncio.Future[Any]", result: object, failure: BaseException | None) -> None:
    device.change_ends()
    if end.done():
        return
    if failure is None:
        end.set_result(result)
    elif isinstance(failure, asyncio.CancelledError):
        end.cancel()
    else:
        end.set_exception(failure)


def decode(encoded: bytes) -> Any:
    """The row of a request.  Raises InvalidArgument."""
    try:
        return decode_row(encoded)
    except msgspec.MsgspecError as failure:
        raise InvalidArgument(f"the row does not decode: {failure}") from failure
