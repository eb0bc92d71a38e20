"""A blob on its way to all primaries of a partition, before its row: one lane per replica, each at its own speed.

The client waits for the quorum, never for the slowest: a lane that falls too far behind is given up, and that replica gets the
blob from another one when the row comes (or from the replicator).
"""

import asyncio
from collections import deque
from collections.abc import Callable

import xxhash

from objstore.cluster.client import SUSPECT_RANK
from objstore.cluster.membership import Membership
from objstore.cluster.write import EarlyQuery
from objstore.core.placement import Plan
from objstore.core.quorum import Tally
from objstore.errors import NewerEpoch, NodeUnreachable, ObjstoreError, QuorumLost, StaleEpoch, TooBusy
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner
from objstore.wire.channel import Channel
from objstore.wire.messages import StageBody, Staged
from objstore.wire.streams import WINDOW_BYTES

BEHIND_BYTES = 2 * 1024 * 1024  # how far ahead of the quorum's lanes the client may run
GIVE_UP_BYTES = 16 * 1024 * 1024  # how far a lane may fall behind before it is given up; one whose node is silent, BEHIND_BYTES
OPEN_AGAIN_S = 0.27  # see cluster.rounds.ASK_AGAIN_S
CATCH_UPS = 3  # ring changes that one lane follows
BEHIND_OF_ALL_BYTES = 128 * 1024 * 1024  # how far the slow lanes of all bodies may be behind together; then none may be any further
GRACE_RATIO = 0.1  # once a quorum has it, the others get this part of the time that it took
GRACE_LEAST_S = 0.05
GRACE_MOST_S = 1.0


class Behind:
    """How many bytes of all bodies wait for replicas that are slower than their quorum: what one slow disk may take of a proxy's memory."""

    def __init__(self) -> None:
        self.bytes = 0

    @property
    def too_far(self) -> bool:
        """Whether there is no room for more."""
        return self.bytes > BEHIND_OF_ALL_BYTES


class _Lane:
    """One replica's share: pieces queue here and leave as its credit allows."""

    __slots__ = ("_ended", "_first", "_pieces", "_pushed", "_wake", "_written", "device", "failure", "staged", "task")

    def __init__(self, device: int) -> None:
        self.device = device
        self.staged = False
        self.failure: ObjstoreError | None = None
        self.task: asyncio.Task[None] | None = None
        self._pushed = 0
        self._written = 0
        self._pieces: deque[bytes | memoryview] = deque()
        # What was sent before the node can have given credit: it may yet refuse the body for its sender's epoch, and then
        # gets it again.
        self._first: list[bytes | memoryview] = []
        self._ended = False
        self._wake = asyncio.Event()

    @property
    def backlog(self) -> int:
        """Bytes that the node has not taken."""
        return 0 if self.failure is not None else self._pushed - self._written

    @property
    def open(self) -> bool:
        """Whether it may still get there."""
        return self.failure is None and not self.staged

    def push(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self._pushed += len(piece)
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    async def next(self) -> bytes | memoryview | None:
        """The next piece to send, None at the end."""
        while not self._pieces:
            if self._ended:
                return None
            self._wake.clear()
            await self._wake.wait()
        piece = self._pieces.popleft()
        if self._written <= WINDOW_BYTES:
            self._first.append(piece)
        else:
            self._first.clear()
        return piece

    def wrote(self, size_bytes: int) -> None:
        """The node has taken a piece, or there was credit for it."""
        self._written += size_bytes

    def begin_again(self) -> bool:
        """Put back what was sent; False when it is not all here any more."""
        if self._written > WINDOW_BYTES:
            return False
        self._pieces.extendleft(reversed(self._first))
        self._first.clear()
        self._written = 0
        return True

    def done(self) -> None:
        """The node has all of it on disk.  What was kept for a second try goes now, not when the collector finds the request."""
        self.staged = True
        self._first.clear()

    def give_up(self, why: ObjstoreError) -> None:
        """It does not get there."""
        self.failure = why
        self._pieces.clear()
        self._first.clear()


class Staging:
    """Implements cluster.api.Staging.  The caller must come to `finish` or `abort`."""

    def __init__(
        self, members: Membership, clock: Clock, tasks: TaskOwner, plan: Plan, blob: bytes, *, size: int, timeout_s: float, patience_s: float,
        early: EarlyQuery | None = None, behind: Behind | None = None,
    ) -> None:  # fmt: skip
        """Raises TooBusy.  `early`: the query of a plain write of the same key, made before; `behind`: shared by all bodies of a process."""
        self.blob = blob
        self.early = early
        self.plan = plan
        self._members = members
        self._clock = clock
        self._size = size
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._begun_s = clock.monotonic()
        self._hash = xxhash.xxh3_128()
        self._sent = 0
        self._behind = behind or Behind()
        self._mine = 0  # bytes of these that are this body's
        self._changed = asyncio.Event()
        self._lanes = [_Lane(device) for device in plan.quorum.members]
        try:
            for lane in self._lanes:
                lane.task = tasks.spawn(self._run(lane), name=f"stage to {lane.device}")
        except BaseException:
            self._stop()
            raise

    @property
    def holders(self) -> tuple[int, ...]:
        """Devices that have the whole blob on disk."""
        return tuple(lane.device for lane in self._lanes if lane.staged)

    async def write(self, piece: bytes | memoryview) -> None:
        """Queue a piece, which must not change afterwards, on every lane; wait while the quorum's lanes are behind.  Raises QuorumLost."""
        self._hash.update(piece)
        self._sent += len(piece)
        for lane in self._lanes:
            if lane.failure is None:
                lane.push(piece)
        self._count_behind()
        for lane in self._lanes:
            if lane.backlog > BEHIND_BYTES and (lane.backlog > GIVE_UP_BYTES or self._behind.too_far or self._is_ill(lane)):
                self._give_up(lane, NodeUnreachable("it fell too far behind"))
                self._count_behind()
        await self._until(_keeps_up, self._timeout_s)

    async def finish(self) -> None:
        """Wait until a quorum has flushed the blob, and a moment for the rest.  Raises QuorumLost; then the lanes are stopped."""
        for lane in self._lanes:
            lane.end()
        try:
            await self._until(_is_staged, 4 * self._timeout_s)
            # A replica that is left behind fetches all of the blob from another one: worth a moment's wait.
            grace_s = min(GRACE_MOST_S, max(GRACE_LEAST_S, GRACE_RATIO * (self._clock.monotonic() - self._begun_s)))
            await self._wait(lambda: not any(lane.open and not self._is_ill(lane) for lane in self._lanes), grace_s)
        finally:
            self._stop()

    async def abort(self) -> None:
        """Stop all lanes; nodes drop what is not complete and sweep what no row names."""
        self._stop()

    def _stop(self) -> None:
        for lane in self._lanes:
            if lane.open:
                self._give_up(lane, NodeUnreachable("the body was given up"))
        self._count_behind()

    def _count_behind(self) -> None:
        mine = sum(lane.backlog - BEHIND_BYTES for lane in self._lanes if lane.backlog > BEHIND_BYTES)
        self._behind.bytes += mine - self._mine
        self._mine = mine

    def _is_ill(self, lane: _Lane) -> bool:
        return lane.device not in self._members.ring.devices or self._members.rank(lane.device) >= SUSPECT_RANK

    # -- waiting --------------------------------------------------------------------------------------------------------

    async def _until(self, good: Callable[[_Lane], bool], timeout_s: float) -> None:
        if not self._have_quorum(good) and not await self._wait(lambda: self._have_quorum(good), timeout_s):
            raise QuorumLost(f"a body could not be stored on a quorum within {timeout_s:g} s: {self._why()}")

    async def _wait(self, come_true: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it came true in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not come_true():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _have_quorum(self, good: Callable[[_Lane], bool]) -> bool:
        tally = Tally(self.plan.quorum)
        for lane in self._lanes:
            if lane.failure is not None:
                tally.no(lane.device)
            elif good(lane):
                tally.yes(lane.device)
        if tally.lost:
            raise QuorumLost(f"too few replicas take the body: {self._why()}")
        return tally.reached

    def _why(self) -> str:
        return "; ".join(f"device {lane.device}: {lane.failure.message}" for lane in self._lanes if lane.failure is not None) or "no answer"

    # -- lanes ----------------------------------------------------------------------------------------------------------

    def _give_up(self, lane: _Lane, why: ObjstoreError) -> None:
        lane.give_up(why)
        if lane.task is not None:
            lane.task.cancel()
        self._changed.set()

    async def _run(self, lane: _Lane) -> None:
        try:
            catch_ups = 0
            while catch_ups < CATCH_UPS:
                try:
                    await self._send(lane)
                except (StaleEpoch, NewerEpoch) as failure:
                    catch_ups += 1
                    if not lane.begin_again():
                        raise
                    await self._members.catch_up(lane.device, failure)
                except TooBusy:
                    # It takes so many bodies at a time, and some of those that it has will have ended soon.
                    if self._clock.monotonic() >= self._begun_s + self._patience_s or not lane.begin_again():
                        raise
                    await self._clock.sleep(OPEN_AGAIN_S)
                else:
                    lane.done()
                    return
            lane.give_up(NodeUnreachable("the ring keeps changing"))
        except ObjstoreError as failure:
            lane.give_up(failure)
        finally:
            self._changed.set()

    async def _send(self, lane: _Lane) -> None:
        channel = await self._channel(lane.device)
        ring = self._members.ring
        about = ring.devices.get(lane.device)
        if about is None:
            raise NodeUnreachable("it is not in the ring any more")
        timeout_ms = int(self._timeout_s * 1000)
        message = StageBody(ring.epoch, lane.device, about.incarnation, timeout_ms, self.plan.partition, self.blob, self._size)
        upload = await channel.open_upload(message, timeout_s=self._timeout_s)
        try:
            while (piece := await lane.next()) is not None:
                await upload.write(piece)
                lane.wrote(len(piece))
                self._changed.set()
            answer, _ = await upload.finish()
        finally:
            upload.abort()
        if not isinstance(answer, Staged) or answer.size != self._sent or answer.digest != self._hash.digest():
            raise NodeUnreachable("it stored other bytes than were sent")

    async def _channel(self, device: int) -> Channel:
        """An open channel; a node that cannot be reached is dialed again for a while, as it may be restarting."""
        patient_until_s = self._begun_s + self._patience_s
        while True:
            try:
                return await self._members.channel_of(device)
            except NodeUnreachable:
                if self._clock.monotonic() >= patient_until_s:
                    raise
            await self._clock.sleep(OPEN_AGAIN_S)


def _keeps_up(lane: _Lane) -> bool:
    return lane.backlog <= BEHIND_BYTES


def _is_staged(lane: _Lane) -> bool:
    return lane.staged
