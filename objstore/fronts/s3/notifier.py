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

from objstore.fronts.s3.event_queue import Entry, EventQueue, Pending
from objstore.runtime.clock import Clock
from objstore.runtime.disk import Disk
from objstore.runtime.outgoing import Message, Outgoing, open_sender
from objstore.runtime.tasks import TaskOwner, Threads

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
SAVE_EVERY_S = 1.0


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[notifications.targets.NAME]`; runtime/outgoing.py knows the schemes."""

    url: str
    token: str = ""  # Authorization: Bearer TOKEN; NATS's auth_token; RabbitMQ's password
    ca_file: str = ""  # certificates that the server's is checked against; "" takes the system's


class NotificationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[notifications]` section."""

    targets: dict[str, Target] = {}
    limit_bytes: int = 64 * 1024 * 1024  # of events that wait, in each proxy; beyond, writes that cause more are answered 503
    timeout_s: float = 10.0
    longest_pause_s: float = 60.0  # between attempts
    give_up_after_s: float = 7 * 86_400.0


class Notifier:
    """Queue and senders of one proxy."""

    def __init__(self, disk: Disk, threads: Threads, clock: Clock, outgoing: Outgoing, settings: NotificationSettings) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()  # (target, "sent" "failed" "given_up") -> how many
        self._clock = clock
        self._outgoing = outgoing
        self._settings = settings
        self._queue = EventQueue(disk, threads, limit_bytes=settings.limit_bytes)
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
        for entry in await self._queue.open():
            self._accept(entry)
        for name in self._waiting:
            self._tasks.spawn(self._deliver(name), name=f"events to {name}")
        self._tasks.spawn(self._save(), name="save")

    async def aclose(self) -> None:
        """Stop sending; what waits is sent after the next start."""
        await self._tasks.aclose()
        await self._outgoing.aclose()
        await self._queue.aclose()

    async def record(self, target: str, body: bytes) -> None:
        """Returns when the event is durable.  Raises TooBusy."""
        if target not in self._waiting:
            return  # taken out of the configuration since the bucket's rules were set
        self._accept(await self._queue.add(Pending(target, self._clock.wall_us(), body)))

    def _accept(self, entry: Entry) -> None:
        target = entry.pending.target
        waiting = self._waiting.get(target)
        if waiting is None:
            log.warning("an event for %s is dropped: the configuration names no such target", target)
            self._queue.delivered(entry)
            return
        waiting.append(entry)
        self._wake[target].set()

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
            except (OSError, TimeoutError) as failure:
                self.counts[name, "failed"] += 1
                if not pause_s:
                    log.warning("events for %s wait: %r; will try again", name, failure)
                if self._clock.wall_us() - entry.pending.time_us < self._settings.give_up_after_s * 1e6:
                    pause_s = min(self._settings.longest_pause_s, max(FIRST_PAUSE_S, 2 * pause_s))
                    await self._clock.sleep(pause_s)
                    continue
                self.counts[name, "given_up"] += 1
            else:
                pause_s = 0.0
                self.counts[name, "sent"] += 1
            waiting.popleft()
            self._queue.delivered(entry)

    async def _save(self) -> None:
        while True:
            await self._clock.sleep(SAVE_EVERY_S)
            try:
                await self._queue.save()
            except OSError as failure:
                log.warning("how far events were delivered could not be kept: %r", failure)
