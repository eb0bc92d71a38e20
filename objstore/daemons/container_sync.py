"""Container sync, the sending side: keeps the peers of containers in step with them (ADR 18).

What changed is told by notes, which whoever changes a key writes first (objects/notes.py); the daemon sends what is there *now* under
each noted key, or its removal, with the time at which that was done, and drops the note.  A peer takes nothing that is older than what it
has, so whatever is sent twice, late, or back to where it came from ends there.  A container whose peer was just named is besides compared
with it as a whole, and again now and then.  One host of the cluster does this, under a lease.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import quote

import msgspec

from objstore.core.container_sync import (
    SYNC_KEY,
    SYNC_TO,
    Realms,
    SyncPeer,
    SyncSettings,
    SyncState,
    is_newer,
    parse_stamp,
    peer_of,
    sign,
    stamp_of,
)
from objstore.core.etag import is_md5_etag
from objstore.core.rows import Kind, Space
from objstore.core.timestamp import CLOCKS_APART_US
from objstore.core.versions import modified_us
from objstore.errors import ConditionalConflict, InvalidRequest, NoSuchKey, PreconditionFailed, Refused
from objstore.objects.api import ObjectInfo, Principal, Reading
from objstore.objects.buckets import Bucket
from objstore.objects.context import is_expired, object_key
from objstore.objects.expire import Expirer
from objstore.objects.notes import SETTLED_S, Noted, change_prefix, drop, note_change, notes
from objstore.objects.store import ObjectStore
from objstore.records.store import Entry, Leases, Records
from objstore.runtime.http_client import Answer, Http
from objstore.runtime.world import World

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_TTL_S = 30.0
RENEW_EVERY_S = 10.0
BEGIN_AFTER_S = 5.0  # from naming a peer to comparing with it: by then every proxy leaves notes
FORGET_AFTER_S = 60.0  # a state whose container is gone, or has no peer
NOTES_PER_PAGE = 200
PAGES_PER_RUN = 10  # so that every container has its turn
ASK_FIRST_BYTES = 64 * 1024  # of larger ones the peer is asked first whether it has them
MAX_OBJECT_BYTES = 5 * 1024**3  # that a peer takes in one piece
BACK_OFF_MOST_S = 300.0
SEEN_KEPT = 100_000
# Of an object's headers, what a peer is told.
_TOLD = (
    "content-encoding", "content-disposition", "content-language", "cache-control", "expires", "x-object-manifest", "x-delete-at",
    "x-symlink-target", "x-symlink-target-account", "x-symlink-target-etag", "x-symlink-target-bytes",
)  # fmt: skip


class Peers(Protocol):
    """The way to peers."""

    async def ask(self, base: str, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """A request without a body.  Raises OSError."""

    async def put(self, base: str, path: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes | memoryview], size: int) -> Answer:
        """A PUT.  Raises OSError."""


class HttpPeers:
    """Over HTTP; no answer leads elsewhere."""

    def __init__(self, settings: SyncSettings) -> None:
        self._settings = settings
        self._known: dict[str, Http] = {}  # as many as the operator names

    def _http(self, base: str) -> Http:
        found = self._known.get(base)
        if found is None:
            found = self._known[base] = Http(base, timeout_s=self._settings.timeout_s, ca_file=self._settings.ca_file)
        return found

    async def ask(self, base: str, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """A request without a body.  Raises OSError."""
        return await self._http(base).request(method, path, headers=headers, head_only=True)

    async def put(self, base: str, path: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes | memoryview], size: int) -> Answer:
        """A PUT.  Raises OSError."""
        return await self._http(base).upload(path, pieces, size, headers=headers)


class PeerFailed(Exception):
    """The peer cannot be reached, or refuses everything: nothing else need be tried now.

    What it says is shown to the container's owner, `detail` is logged: how the operator's network looks is not the owner's to know.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


@dataclass
class _Job:
    """A container at work."""

    bucket: Bucket
    peer: SyncPeer
    key: str = field(repr=False)
    state: SyncState = field(repr=False)
    puts: int = 0
    deletes: int = 0
    skipped: int = 0
    failures: int = 0
    answers: int = 0  # with which the peer was content
    error: str = ""

    @property
    def owner(self) -> Principal:
        """Who reads here."""
        return Principal(account=self.bucket.account).at(self.bucket.account)


class ContainerSync:
    """Sends what changed in containers to their peers."""

    def __init__(
        self, store: ObjectStore, world: World, settings: SyncSettings, realms: Realms, *, holder: str, peers: Peers | None = None
    ) -> None:
        self.settings = settings
        self.counts = {"put": 0, "delete": 0, "skipped": 0, "failed": 0}
        self._store = store
        self._cluster = store.cluster
        self._clock, self._rng = world.clock, world.rng
        self._realms = realms
        self._peers = peers or HttpPeers(settings)
        self._expirer = Expirer(store)
        self._leases = Leases(store.cluster, world.clock, "sync")
        self._states = Records(store.cluster, "sync", SyncState)
        self._holder = f"{holder}-{world.rng.token(4).hex()}"
        self._renewed_at = 0.0
        self._failing: dict[str, tuple[int, float]] = {}  # container -> failures in a row, when to try again
        self._refused: dict[bytes, set[bytes]] = {}  # bucket -> notes of what its peer does not take
        self._seen: dict[bytes, tuple[bytes, float]] = {}  # note -> its version that was dealt with, or when to try that again

    async def run(self) -> int:
        """One look at every container with a peer; how much was sent.  Raises Unavailable."""
        entries = await self._states.list()
        if not entries or not await self._renew(at_once=True):
            return 0
        sent = 0
        for entry in entries:
            if self._clock.monotonic() >= self._failing.get(entry.name, (0, 0.0))[1]:
                sent += await self._container(entry)
                if not await self._renew():
                    break
        return sent

    async def _renew(self, *, at_once: bool = False) -> bool:
        if not at_once and self._clock.monotonic() - self._renewed_at < RENEW_EVERY_S:
            return True
        self._renewed_at = self._clock.monotonic()
        return await self._leases.acquire("round", self._holder, LEASE_TTL_S) is not None

    async def _container(self, entry: Entry[SyncState]) -> int:
        state = entry.value
        bucket = await self._expirer.find(state.account, state.bucket, bytes.fromhex(entry.name))
        if bucket is None or SYNC_TO not in bucket.info.config:
            await self._forget(entry)
            return 0
        job = _Job(bucket, SyncPeer("", ""), bucket.info.config.get(SYNC_KEY, b"").decode(), state)
        try:
            job.peer = self._peer_of(job)
            await self._changes(job)
            await self._walk(job)
        except PeerFailed as failure:
            job.failures += 1
            job.error = str(failure)
            self._back_off(entry.name, job, failure.detail)
        else:
            self._failing.pop(entry.name, None)
        await self._keep(entry, job)
        return job.puts + job.deletes

    def _peer_of(self, job: _Job) -> SyncPeer:
        if not job.key:
            raise PeerFailed("the container has no X-Container-Sync-Key")
        try:
            return peer_of(job.bucket.info.config[SYNC_TO].decode(), self._realms, self.settings.hosts)
        except InvalidRequest as refusal:  # the operator has taken a realm or host away
            raise PeerFailed(refusal.message) from None

    def _back_off(self, name: str, job: _Job, detail: str) -> None:
        times = self._failing.get(name, (0, 0.0))[0] + 1
        pause_s = min(BACK_OFF_MOST_S, max(1.0, self.settings.interval_s) * 2.0 ** min(times, 10))
        self._failing[name] = (times, self._clock.monotonic() + pause_s)
        if times == 1:
            log.warning("container %s/%s is not sent to its peer: %s; will try again", job.bucket.account, job.bucket.info.name, detail)

    async def _keep(self, entry: Entry[SyncState], job: _Job) -> None:
        self.counts["put"] += job.puts
        self.counts["delete"] += job.deletes
        self.counts["skipped"] += job.skipped
        self.counts["failed"] += job.failures
        state, before = job.state, entry.value
        well = not job.failures and job.answers > 0 and not self._refused.get(job.bucket.id)
        state = msgspec.structs.replace(
            state, puts=state.puts + job.puts, deletes=state.deletes + job.deletes, skipped=state.skipped + job.skipped,
            failures=state.failures + job.failures, error=job.error if job.failures else "" if well else state.error,
            success_us=self._clock.wall_us() if well else state.success_us,
        )  # fmt: skip
        if state == before:
            return
        try:
            await self._states.put_if(entry.name, state, entry.version)
        except (PreconditionFailed, ConditionalConflict):
            return  # the peer was named anew meanwhile: it is compared with from the beginning

    async def _forget(self, entry: Entry[SyncState]) -> None:
        """Drop the state and the notes of a container that is gone or has no peer any more."""
        if self._clock.wall_us() - entry.value.begun_us < FORGET_AFTER_S * 1e6:
            return
        left = False
        start: bytes | None = b""
        while start is not None:
            found, start = await notes(self._cluster, change_prefix(bytes.fromhex(entry.name)), start, NOTES_PER_PAGE)
            for noted in found:
                left |= not await drop(self._cluster, noted, self._clock.wall_us())
        if not left:
            try:
                await self._states.delete_if(entry.name, entry.version)
                self._refused.pop(bytes.fromhex(entry.name), None)
            except (PreconditionFailed, ConditionalConflict):
                return

    # -- what changed ---------------------------------------------------------------------------------------------

    async def _changes(self, job: _Job) -> None:
        start: bytes | None = b""
        for _ in range(PAGES_PER_RUN):
            if start is None or not await self._renew():
                return
            found, start = await notes(self._cluster, change_prefix(job.bucket.id), start, NOTES_PER_PAGE)
            due = [noted for noted in found if self._is_due(noted)]
            await _each(due, partial(self._look_at, job), at_once=self.settings.puts_at_once)

    def _is_due(self, noted: Noted) -> bool:
        version, again_at = self._seen.get(noted.name, (b"", 0.0))
        return version != noted.version or self._clock.monotonic() >= again_at

    async def _look_at(self, job: _Job, noted: Noted) -> None:
        again = self._seen.get(noted.name, (b"", 0.0))[0] == noted.version
        young_s = SETTLED_S - (self._clock.wall_us() - noted.note.written_us) / 1e6
        refused = self._refused.setdefault(job.bucket.id, set())
        if not await self._send(job, noted.note.key, noted.note.written_us, asks=again):
            refused.add(noted.name)
            self._see(noted, BACK_OFF_MOST_S)
            return
        refused.discard(noted.name)
        if young_s > 0:
            # The write that the note announced may yet come: look once more when it cannot, the peer knows what it has.
            self._see(noted, young_s + 1)
        else:
            await drop(self._cluster, noted, self._clock.wall_us())
            self._seen.pop(noted.name, None)

    def _see(self, noted: Noted, again_s: float) -> None:
        if len(self._seen) >= SEEN_KEPT:
            self._seen.clear()
        self._seen[noted.name] = (noted.version, self._clock.monotonic() + again_s)

    # -- the whole ------------------------------------------------------------------------------------------------

    async def _walk(self, job: _Job) -> None:
        now_us, state = self._clock.wall_us(), job.state
        if not state.walking:
            if -CLOCKS_APART_US <= now_us - state.walked_us < self.settings.walk_interval_s * 1e6:
                return
            state = msgspec.structs.replace(state, walking=True, walk_start=b"")
        elif now_us - state.begun_us < BEGIN_AFTER_S * 1e6:
            return
        if not state.walk_start:
            state = msgspec.structs.replace(state, walked_us=now_us)
        start: bytes | None = state.walk_start
        for _ in range(PAGES_PER_RUN):
            if start is None or not await self._renew():
                break
            page = await self._cluster.scan(job.bucket.id, Space.OBJECTS, start=start, limit=NOTES_PER_PAGE)
            await _each([item.name for item in page.rows], partial(self._compare, job), at_once=self.settings.puts_at_once)
            start = page.next_start
            job.state = msgspec.structs.replace(state, walk_start=start or b"", walking=start is not None)

    # -- one key --------------------------------------------------------------------------------------------------

    async def _compare(self, job: _Job, key: bytes) -> None:
        if not await self._send(job, key, None, asks=True):
            await note_change(self._cluster, job.bucket, key, self._clock.wall_us())  # tried again as other changes are

    async def _send(self, job: _Job, key: bytes, noted_us: int | None, *, asks: bool) -> bool:
        """Tell the peer what is there, or where that was noted, that nothing is; False when it does not take that.

        `asks`: whether it has it, first.  Raises PeerFailed, Unavailable.
        """
        row = (await self._cluster.read(object_key(job.bucket, key), spread=job.bucket.spread)).row
        path = f"{job.peer.path}/{quote(key)}"
        if row is not None and row.kind == Kind.OBJECT:
            return is_expired(row, self._clock.wall_us()) or await self._send_object(job, key.decode(), path, asks=asks)
        if noted_us is None:
            return True
        # A tombstone that was reclaimed tells no time: the note was written right before it.
        stamp = stamp_of(noted_us if row is None else modified_us(row))
        answer = await self._ask(job, "DELETE", path, stamp)
        if answer.status in (404, 409):
            job.answers += 1
        elif not self._took(job, answer, path):
            return False
        job.deletes += 200 <= answer.status < 300
        return True

    async def _send_object(self, job: _Job, key: str, path: str, *, asks: bool) -> bool:
        try:
            reading = await self._store.get(job.owner, job.bucket.info.name, key)
        except NoSuchKey:
            return True  # removed meanwhile: there is a note of that
        except Refused as refusal:  # sealed with a key that only its owner has
            return self._skip(job, key, refusal.message)
        try:
            info = reading.info
            if info.size > MAX_OBJECT_BYTES:
                return self._skip(job, key, "it is larger than a peer takes in one piece")
            stamp = stamp_of(info.modified_us)
            if (asks or info.size > ASK_FIRST_BYTES) and await self._has(job, path, info, stamp):
                return True
            return await self._put(job, path, stamp, reading)
        finally:
            closing = getattr(reading.chunks, "aclose", None)
            if closing is not None:
                await closing()

    async def _has(self, job: _Job, path: str, info: ObjectInfo, stamp: str) -> bool:
        answer = await self._ask(job, "HEAD", path, stamp, query="?symlink=get")
        found = parse_stamp(answer.headers.get("x-timestamp", "")) if answer.status == 200 else None
        job.answers += answer.status == 200
        return found is not None and not is_newer(info.modified_us, found)

    async def _put(self, job: _Job, path: str, stamp: str, reading: Reading) -> bool:
        headers = {**self._signed(job, "PUT", path, stamp), **_headers_of(reading.info)}
        try:
            answer = await self._peers.put(job.peer.base, path, headers, reading.chunks, reading.info.size)
        except OSError as failure:
            raise PeerFailed("the peer cannot be reached", f"{job.peer.base}: {failure!r}") from None
        if not self._took(job, answer, path):
            return False
        job.puts += answer.status == 201
        return True

    async def _ask(self, job: _Job, method: str, path: str, stamp: str, query: str = "") -> Answer:
        try:
            return await self._peers.ask(job.peer.base, method, path + query, self._signed(job, method, path, stamp))
        except OSError as failure:
            raise PeerFailed("the peer cannot be reached", f"{job.peer.base}: {failure!r}") from None

    def _signed(self, job: _Job, method: str, path: str, stamp: str) -> dict[str, str]:
        if not job.peer.realm:
            return {"X-Timestamp": stamp, "X-Container-Sync-Key": job.key}
        nonce = self._rng.token(16).hex()
        signed = sign(method, path, stamp, nonce, realm_key=job.peer.realm_key, user_key=job.key)
        return {"X-Timestamp": stamp, "X-Container-Sync-Auth": f"{job.peer.realm} {nonce} {signed}"}

    def _took(self, job: _Job, answer: Answer, path: str) -> bool:
        """Whether the peer did it; counts what it refuses of this object alone.  Raises PeerFailed for what concerns all."""
        if 200 <= answer.status < 300:
            job.answers += 1
            return True
        if answer.status in (400, 411, 412, 413, 422, 501):
            job.failures += 1
            job.error = f"the peer answered {answer.status} for {path[len(job.peer.path) + 1 :]}"
            return False
        raise PeerFailed(f"the peer answered {answer.status}", f"{job.peer.base}{job.peer.path} answered {answer.status}")

    def _skip(self, job: _Job, key: str, why: str) -> bool:
        job.skipped += 1
        log.warning("object %r of %s/%s is not sent: %s", key, job.bucket.account, job.bucket.info.name, why)
        return True


def _headers_of(info: ObjectInfo) -> dict[str, str]:
    headers = {"Content-Type": info.content_type or "application/octet-stream"}
    headers.update({name: info.headers[name] for name in _TOLD if name in info.headers})
    headers.update({f"X-Object-Meta-{name}": value for name, value in info.metadata.items()})
    if not info.part_count and not info.encryption and is_md5_etag(info.etag):
        headers["ETag"] = info.etag
    return headers


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Work on items, some at a time; the first failure ends all of it.  Raises what it was, not a group."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
