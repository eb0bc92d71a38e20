"""Requests of daemons and operators: ring, refilling, scrub, upkeep, locating, the node's own report."""

from collections import Counter
from collections.abc import Awaitable, Callable

from objstore.errors import DeviceOffline, InvalidArgument, Refused
from objstore.node.checks import check_key
from objstore.node.rings import RingKeeper
from objstore.node.state import CURRENT, Condition, LocalDevice, NodeState
from objstore.runtime.disk import Disk
from objstore.runtime.tasks import Threads
from objstore.runtime.world import World
from objstore.wire.messages import (
    Audit,
    AuditAnswer,
    DeviceReport,
    Done,
    GetRing,
    InSync,
    Locate,
    Located,
    Maintain,
    Maintained,
    NodeReport,
    NodeStatus,
    PutRing,
    Request,
    RingAnswer,
    SyncState,
    SyncStateAnswer,
)
from objstore.wire.server import Call

CHORES = ("checkpoint", "compact", "purge", "sweep_staged")
MAX_AUDIT_BYTES = 256 * 1024 * 1024


class Upkeep:
    """Answers them for one node."""

    def __init__(
        self,
        world: World,
        name: str,
        state: NodeState,
        keeper: RingKeeper,
        threads: Threads,
        counters: "Counter[str]",
        *,
        full_below_bytes: int,
    ) -> None:
        self._world = world
        self._name = name
        self._state = state
        self._keeper = keeper
        self._threads = threads
        self._counters = counters
        self._full_below_bytes = full_below_bytes
        self._disks: dict[str, Disk] = {}  # each holds a descriptor, so they are opened once
        self.handlers = {
            InSync: self._in_sync,
            SyncState: self._sync_state,
            Audit: _task(self._audit),
            Maintain: _task(self._maintain),
            Locate: self._locate,
        }
        self.node_handlers: dict[type, Callable[[Call], None]] = {
            NodeStatus: lambda call: call.run(self._status, limit_s=call.timeout_s),
            GetRing: self._get_ring,
            PutRing: lambda call: call.run(self._put_ring, limit_s=call.timeout_s),
        }

    # -- ring -----------------------------------------------------------------------------------------------------

    def _get_ring(self, call: Call) -> None:
        data = self._state.ring_bytes
        call.answer(RingAnswer(self._state.epoch, bool(data)), data)

    async def _put_ring(self, call: Call) -> None:
        call.answer(RingAnswer(await self._keeper.put(bytes(call.payload))))

    def _in_sync(self, call: Call, device: LocalDevice, message: InSync) -> None:
        assert device.view is not None
        if not 0 <= message.partition < len(device.view.roles) or not device.view.roles[message.partition] & CURRENT:
            raise Refused(f"device {message.device} is no primary of partition {message.partition} in epoch {message.epoch}")
        call.run(self._mark, limit_s=call.timeout_s)

    async def _mark(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, InSync)
        await self._keeper.mark_in_sync(self._state.admit(message), message.partition, epoch=message.epoch, floor=message.floor)
        call.answer(Done())

    def _sync_state(self, call: Call, device: LocalDevice, _message: SyncState) -> None:
        call.answer(SyncStateAnswer(list(device.silent)))

    # -- one device -----------------------------------------------------------------------------------------------

    async def _audit(self, call: Call, device: LocalDevice) -> None:
        message = call.message
        assert isinstance(message, Audit)
        if not 0 < message.budget_bytes <= MAX_AUDIT_BYTES:
            raise InvalidArgument(f"a step of an audit reads 1 to {MAX_AUDIT_BYTES} bytes")
        step = await device.open().audit(message.cursor, budget_bytes=message.budget_bytes)
        call.answer(AuditAnswer(step.cursor, step.rows, step.bytes, step.damaged, step.quarantined))

    async def _maintain(self, call: Call, device: LocalDevice) -> None:
        message = call.message
        assert isinstance(message, Maintain)
        if message.what not in CHORES:
            raise InvalidArgument(f"{message.what!r} is none of {', '.join(CHORES)}")
        counts, more = await device.open().maintain(message.what)
        call.answer(Maintained(counts, more))

    def _locate(self, call: Call, device: LocalDevice, message: Locate) -> None:
        check_key(message.key)
        found = device.open().locate(message.key)
        call.answer(Located(found.register, found.file, found.offset, found.length))

    # -- report ---------------------------------------------------------------------------------------------------

    async def _status(self, call: Call) -> None:
        call.answer(await self.report())

    async def report(self) -> NodeReport:
        """The node's state, its devices in the order of the configuration."""
        devices = [await self._device(device) for device in self._state.devices]
        counters = dict(sorted(self._counters.items()))
        return NodeReport(self._name, self._state.epoch, self._world.clock.wall_us(), devices, counters)

    async def _device(self, device: LocalDevice) -> DeviceReport:
        id_ = device.view.device if device.view is not None else -1
        detail = device.detail or (device.engine.trouble if device.engine is not None else "")
        engine = device.engine
        if engine is None:
            return DeviceReport(id_, device.incarnation, device.directory, Condition.OFFLINE.value, 0, 0, 0, 0, 0, detail=detail)
        free = 0
        try:
            free = await self._threads.run(self._free_bytes, device.directory)
        except (OSError, DeviceOffline) as failure:
            detail = detail or f"{failure!r}"
        stats = engine.stats()
        state = device.condition.value
        if state == Condition.UP.value:
            state = "refilling" if device.pending else "full" if free < self._full_below_bytes else state
        return DeviceReport(
            device=id_,
            incarnation=device.incarnation,
            path=device.directory,
            state=state,
            used_bytes=stats.pack_bytes + stats.blob_bytes + stats.index_bytes,
            free_bytes=free,
            rows=stats.rows,
            quarantined=stats.quarantined,
            pending_partitions=len(device.pending),
            staged=stats.staged,
            purge_queue=stats.purge_queue,
            detail=detail,
        )

    def _free_bytes(self, directory: str) -> int:
        disk = self._disks.get(directory)
        if disk is None:
            disk = self._disks[directory] = self._world.open_disk(directory)
        return disk.usage()[1]


def _task(work: Callable[[Call, LocalDevice], Awaitable[None]]) -> Callable[[Call, LocalDevice, Request], None]:
    """A handler that runs `work` in a task; an I/O error in it ends nothing but the request."""

    def handle(call: Call, device: LocalDevice, _message: Request) -> None:
        async def perform(call: Call) -> None:
            await work(call, device)

        call.run(perform, limit_s=call.timeout_s)

    return handle
