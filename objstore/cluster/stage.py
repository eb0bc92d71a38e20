"""A blob on its way to all primaries of a partition, before its row: one lane per replica, each at its own speed.

The client waits for the quorum, never for the slowest: a lane that falls too far behind is given up, and that replica gets the
blob from another one when the row comes (or from the replicator).
"""

import asyncio
from collections import deque

import xxhash

from objstore.cluster.membership import Membership
from objstore.core.placement import Plan
from objstore.core.quorum import Tally
from objstore.core.rows import RowKey
from objstore.errors import NewerEpoch, NodeUnreachable, ObjstoreError, QuorumLost, StaleEpoch
from objstore.runtime.tasks import TaskOwner
from objstore.wire.channel import Upload
from objstore.wire.messages import StageBody, Staged

BEHIND_BYTES = 2 * 1024 * 1024  # how far ahead of the quorum's lanes the client may run
GIVE_UP_BYTES = 32 * 1024 * 1024  # how far a lane may fall behind before it is given up


class _Lane:
    """One replica's share: pieces queue here and leave as its credit allows."""

    __slots__ = ("_end", "_pieces", "_wake", "backlog", "device", "failure", "staged", "task")

    def __init__(self, device: int) -> None:
        self.device = device
        self.backlog = 0
        self.staged = False
        self.failure: ObjstoreError | None = None
        self.task: asyncio.Task[None] | None = None
        self._pieces: deque[bytes | memoryview] = deque()
        self._end = False
        self._wake = asyncio.Event()

    def push(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self.backlog += len(piece)
        self._wake.set()

    def end(self) -> None:
        self._end = True
        self._wake.set()

    async def drain(self, upload: Upload, on_progress: "Staging") -> None:
        """Send until the end mark."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                await upload.write(piece)
                self.backlog -= len(piece)
                on_progress.progressed()
            if self._end:
                return
            self._wake.clear()
            await self._wake.wait()

    def give_up(self, why: ObjstoreError) -> None:
        self.failure = why
        self._pieces.clear()
        self.backlog = 0


class Staging:
    """Implements cluster.api.Staging."""

    def __init__(self, members: Membership, tasks: TaskOwner, plan: Plan, key: RowKey, blob: bytes, *, size: int, timeout_s: float) -> None:
        self.blob = blob
        self.plan = plan
        self._members = members
        self._key = key
        self._size = size
        self._timeout_s = timeout_s
        self._hash = xxhash.xxh3_128()
        self._sent = 0
        self._changed = asyncio.Event()
        self._lanes = [_Lane(device) for device in plan.quorum.members]
        for lane in self._lanes:
            lane.task = tasks.spawn(self._run(lane), name=f"stage to {lane.device}")

    @property
    def holders(self) -> tuple[int, ...]:
        """Devices that have the whole blob on disk."""
        return tuple(lane.device for lane in self._lanes if lane.staged)

    def progressed(self) -> None:
        """Something moved (called by lanes)."""
        self._changed.set()

    async def write(self, piece: bytes | memoryview) -> None:
        """Queue a piece on every lane; wait while the quorum's lanes are behind.  Raises QuorumLost."""
        self._hash.update(piece)
        self._sent += len(piece)
        for lane in self._lanes:
            if lane.failure is None:
                lane.push(piece)
                if lane.backlog > GIVE_UP_BYTES:
                    self._give_up(lane, NodeUnreachable(f"device {lane.device} fell too far behind"))
        await self._until(lambda lane: lane.backlog <= BEHIND_BYTES, self._timeout_s)

    async def finish(self) -> None:
        """Wait until a quorum has flushed the blob.  Raises QuorumLost."""
        for lane in self._lanes:
            lane.end()
        try:
            await self._until(lambda lane: lane.staged, 4 * self._timeout_s)
        except QuorumLost:
            await self.abort()
            raise

    async def abort(self) -> None:
        """Stop all lanes; nodes sweep what they hold."""
        for lane in self._lanes:
            if lane.task is not None:
                lane.task.cancel()

    async def _until(self, good: "object", timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not self._have_quorum(good):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as failure:
            raise QuorumLost(f"a body could not be stored on a quorum within {timeout_s:g} s: {self._why()}") from failure

    def _have_quorum(self, good: "object") -> bool:
        tally = Tally(self.plan.quorum)
        for lane in self._lanes:
            if lane.failure is not None:
                tally.no(lane.device)
            elif good(lane):  # type: ignore[operator]  # a predicate of lanes
                tally.yes(lane.device)
        if tally.lost:
            raise QuorumLost(f"too few replicas take the body: {self._why()}")
        return tally.reached

    def _why(self) -> str:
        return "; ".join(f"device {lane.device}: {lane.failure.message}" for lane in self._lanes if lane.failure is not None) or "no answer"

    def _give_up(self, lane: _Lane, why: ObjstoreError) -> None:
        lane.give_up(why)
        if lane.task is not None:
            lane.task.cancel()
        self.progressed()

    async def _run(self, lane: _Lane) -> None:
        try:
            upload = await self._open(lane.device)
            try:
                await lane.drain(upload, self)
                answer, _ = await upload.finish()
            finally:
                upload.abort()
            if not isinstance(answer, Staged) or answer.size != self._sent or answer.digest != self._hash.digest():
                raise NodeUnreachable(f"device {lane.device} stored other bytes than were sent")
            lane.staged = True
        except ObjstoreError as failure:
            lane.give_up(failure)
        finally:
            self.progressed()

    async def _open(self, device: int) -> Upload:
        for _ in range(2):
            try:
                about = self._members.device(device)
                channel = await self._members.channel_of(device)
                message = StageBody(
                    self._members.ring.epoch,
                    device,
                    about.incarnation,
                    int(self._timeout_s * 1000),
                    self.plan.partition,
                    self.blob,
                    self._size,
                )
                return await channel.open_upload(message, timeout_s=self._timeout_s)
            except StaleEpoch:
                await self._members.fetch(about.address)
            except NewerEpoch:
                await self._members.push(about.address)
            except KeyError:
                break
        raise NodeUnreachable(f"device {device} is not in the ring any more, or the ring keeps changing")
