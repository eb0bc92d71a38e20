"""Delivery of events: durable before the write that caused them is acknowledged, then sent until the target took them.

The guarantee: when a client was told that its write took effect, its event is on this proxy's disk and will be sent at
least once, over restarts of the proxy, as long as that disk lives and the target is named in the configuration.  A proxy
that dies between write and event has told nobody that the write took effect; then there may be no event.  Events of one
proxy reach a target in order; those of several are ordered by their sequencer.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping

import msgspec
import xxhash

from objstore.fronts.s3.event_queue import Entry, EventQueue, Pending
from objstore.runtime.clock import Clock
from objstore.runtime.disk import Disk
from objstore.runtime.outgoing import Message, Outgoing, open_sender
from objstore.runtime.tasks import TaskOwner, Threads

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
SAVE_EVERY_S = 1.0
_DIRECTORY = "target-"
_TAKEN_AT_ONCE = 1000


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[notifications.targets.NAME]`; runtime/outgoing.py knows the schemes."""

    url: str
    token: str = ""  # Authorization: Bearer TOKEN; NATS's auth_token; RabbitMQ's password
    ca_file: str = ""  # certificates that the server's is checked against; "" takes the system's


class NotificationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[notifications]` section."""

    targets: dict[str, Target] = {}
    limit_bytes: int = 64 * 1024 * 1024  # of events that wait for a target, in each proxy; beyond, writes that cause more are answered 503
    timeout_s: float = 10.0
    longest_pause_s: float = 60.0  # between attempts
    give_up_after_s: float = 7 * 86_400.0


class Notifier:
    """Queues and senders of one proxy."""

    def __init__(self, disk: Disk, threads: Threads, clock: Clock, outgoing: Outgoing, settings: NotificationSettings) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()  # (target, "sent" "failed" "given_up") -> how many
        self._clock = clock
        self._outgoing = outgoing
        self._settings = settings
        self._disk = disk
        self._threads = threads
        self._queues = {name: self._queue_in(_directory_of(name)) for name in settings.targets}
        self._tasks = TaskOwner("notifier")
        self._waiting: dict[str, deque[Entry]] = {name: deque() for name in settings.targets}
        self._wake = {name: asyncio.Event() for name in settings.targets}
        for target in settings.targets.values():
            open_sender(target.url, target.token, target.ca_file)

    @property
    def targets(self) -> Mapping[str, Target]:
        """Whom events can be sent to."""
        return self._settings.targets

    def pending(self) -> dict[str, int]:
        """How many events wait, by target."""
        return {name: len(waiting) for name, waiting in self._waiting.items()}

    async def start(self) -> None:
        """Take up what an earlier run left.  Raises OSError."""
        for queue in self._queues.values():
            for entry in await queue.open():
                self._accept(entry)
        for directory in await self._threads.run(self._left_behind):
            await self._take_over(self._queue_in(directory))
        for name in self._waiting:
            self._tasks.spawn(self._deliver(name), name=f"events to {name}")
        self._tasks.spawn(self._save(), name="save")

    async def aclose(self) -> None:
        """Stop sending; what waits is sent after the next start."""
        await self._tasks.aclose()
        await self._outgoing.aclose()
        for queue in self._queues.values():
            await queue.aclose()

    async def record(self, target: str, body: bytes) -> None:
        """Returns when the event is durable.  Raises TooBusy."""
        if target not in self._waiting:
            return  # taken out of the configuration since the bucket's rules were set
        self._accept(await self._queues[target].add(Pending(target, self._clock.wall_us(), body)))

    def _accept(self, entry: Entry) -> None:
        self._waiting[entry.pending.target].append(entry)
        self._wake[entry.pending.target].set()

    def _queue_in(self, directory: str) -> EventQueue:
        return EventQueue(self._disk, self._threads, limit_bytes=self._settings.limit_bytes, directory=directory)

    def _left_behind(self) -> list[str]:
        """Queues of targets that the configuration names no more, and ".", where earlier releases had one for all targets."""
        ours = {_directory_of(name) for name in self._settings.targets}
        return [".", *(name for name in self._disk.list(".") if name.startswith(_DIRECTORY) and name not in ours)]

    async def _take_over(self, old: EventQueue) -> None:
        found = await old.open()
        for batch in (found[at : at + _TAKEN_AT_ONCE] for at in range(0, len(found), _TAKEN_AT_ONCE)):
            ours = [entry.pending for entry in batch if entry.pending.target in self._queues]
            for entry in await asyncio.gather(*(self._queues[pending.target].add(pending, taken_over=True) for pending in ours)):
                self._accept(entry)
        for target, count in Counter(entry.pending.target for entry in found if entry.pending.target not in self._queues).items():
            log.warning("%d events for %s are dropped: the configuration names no such target", count, target)
        await old.discard()

    async def _deliver(self, name: str) -> None:
        waiting, wake, target = self._waiting[name], self._wake[name], self._settings.targets[name]
        message = Message(target.url, b"", target.token, target.ca_file)
        pause_s = 0.0
        while True:
            if not waiting:
                wake.clear()
                await wake.wait()
            entry = waiting[0]
            try:
                await self._outgoing.send(message._replace(body=entry.pending.body), timeout_s=self._settings.timeout_s)
            except (
                Exception
            ) as failure:  # whatever it was: without this task nothing is sent there any more, and writes that cause events fail
                self.counts[name, "failed"] += 1
                if not pause_s:
                    expected = isinstance(failure, OSError)
                    log.warning("events for %s wait: %r; will try again", name, failure, exc_info=None if expected else failure)
                if self._clock.wall_us() - entry.pending.time_us < self._settings.give_up_after_s * 1e6:
                    pause_s = min(self._settings.longest_pause_s, max(FIRST_PAUSE_S, 2 * pause_s))
                    await self._clock.sleep(pause_s)
                    continue
                self.counts[name, "given_up"] += 1
            else:
                pause_s = 0.0
                self.counts[name, "sent"] += 1
            waiting.popleft()
            self._queues[name].delivered(entry)

    async def _save(self) -> None:
        while True:
            await self._clock.sleep(SAVE_EVERY_S)
            for queue in self._queues.values():
                try:
                    await queue.save()
                except OSError as failure:
                    log.warning("how far events were delivered could not be kept: %r", failure)


def _directory_of(target: str) -> str:
    """Any string may be the name of a target."""
    return _DIRECTORY + xxhash.xxh3_64_hexdigest(target.encode())
