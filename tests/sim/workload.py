"""Clients of the simulated cluster: each is pinned to one proxy and does one operation after another on few keys.

Every body is unique and names itself, so a read tells which write it saw.  What an operation did is written down as the
checker wants it: its start, its end (None when nobody can know the outcome) and its result.  Nothing is ever retried.
"""

import asyncio
import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from objstore.errors import (
    ConditionalConflict,
    Damaged,
    NoSuchKey,
    NoSuchVersion,
    NotModified,
    PreconditionFailed,
    Unavailable,
)
from objstore.objects.api import Attributes, Conditions, Expected, ListQuery, Principal
from objstore.objects.store import ObjectStore
from tests.sim.host import Host, HostDied, Simulation
from tests.support.bodies import content, sent
from tests.support.linearizability import NOTHING, Operation

BUCKET = "bucket"
WHO = Principal(account="account", user="user", admin=True)
CLIENT_TIMEOUT_S = 12.0
_NOT_KNOWN = (Unavailable, Damaged, ConditionalConflict, HostDied, TimeoutError)


class WrongBytes(AssertionError):
    """A read gave bytes that nobody ever wrote, or not those that its etag names."""


def body_of(label: str, size: int) -> bytes:
    """The body that a label stands for: the label, its size, and filling."""
    start = f"{label} {size} ".encode()
    return start + (label.encode() * (size // len(label) + 1))[: max(0, size - len(start))]


def label_of(data: bytes) -> str:
    """The label of a body read back.  Raises WrongBytes."""
    head = data[:80].split(b" ", 2)
    try:
        label, size = head[0].decode(), int(head[1])
    except (IndexError, ValueError) as failure:
        raise WrongBytes(f"a body begins with {data[:40]!r}") from failure
    if body_of(label, size) != data:
        raise WrongBytes(f"the body of {label} is not what was written ({len(data)} bytes)")
    return label


@dataclass
class History:
    """What all clients saw, by key, and what it amounts to."""

    operations: dict[str, list[Operation]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # etag -> label of everything that was ever sent
    counts: Counter[str] = field(default_factory=Counter)
    lies: list[str] = field(default_factory=list)  # answers that cannot be true whatever the order of things
    violations: list[str] = field(default_factory=list)  # what else must not be
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def now(self) -> int:
        """A place in the order of all starts and ends."""
        return next(self._numbers)

    def add(self, key: str, operation: Operation) -> None:
        """Write down one operation."""
        self.operations.setdefault(key, []).append(operation)

    def label(self, etag: str) -> str:
        """The label of the body with this etag; a lie when nobody wrote it."""
        found = self.labels.get(etag)
        if found is None:
            self.lies.append(f"an etag that nobody wrote: {etag}")
            return f"unknown {etag}"
        return found


@dataclass(frozen=True)
class Mix:
    """What clients do: weights of the kinds of operation, sizes, and the pause between two operations."""

    keys: tuple[str, ...] = ("a", "b/1", "b/2", "c", "d")
    counter: str = "counter"
    weights: tuple[tuple[str, float], ...] = (
        ("put", 3.0), ("delete", 1.5), ("get", 4.0), ("head", 1.0), ("create", 1.2), ("match", 1.2), ("count", 1.0), ("list", 0.6),
    )  # fmt: skip
    blob_share: float = 0.03
    pause_s: float = 2.0
    burst_share: float = 0.12  # of pauses that end with a burst: a few operations without a pause, by all on the same hot key
    hot_s: float = 6.0  # how long a key stays hot


class Seat:
    """One proxy as a client reaches it; the cluster puts a new store in when the proxy starts again."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.store: ObjectStore | None = None

    async def call(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """Run one operation there.  Raises what it raises, HostDied, TimeoutError."""
        began = False

        async def start() -> Any:
            nonlocal began
            began = True
            return await operation

        try:
            return await self.host.call(start, timeout_s=CLIENT_TIMEOUT_S)
        finally:
            if not began:
                operation.close()


class Client:
    """One client; `run` goes on until `stop_s`."""

    def __init__(self, simulation: Simulation, history: History, seat: Seat, name: str, mix: Mix) -> None:
        self.name = name
        self._simulation = simulation
        self._history = history
        self._seat = seat
        self._mix = mix
        self._rng: random.Random = simulation.rng(f"client {name}")
        self._seen: dict[str, str] = {}  # key -> etag this client saw last
        self._written = 0

    async def run(self, *, stop_s: float) -> None:
        """Operate until a time."""
        kinds = [kind for kind, _ in self._mix.weights]
        weights = [weight for _, weight in self._mix.weights]
        loop = self._simulation.loop
        while True:
            await asyncio.sleep(self._rng.random() * 0.1)
            pause_s = self._rng.expovariate(1.0 / self._mix.pause_s)
            while pause_s > 0 and not self._simulation.excited:
                await asyncio.sleep(min(pause_s, 0.3))
                pause_s -= 0.3
            if self._simulation.excited or self._rng.random() < self._mix.burst_share:
                await self._burst(stop_s)
            if loop.time() >= stop_s:
                return
            if not self._seat.host.alive or self._seat.store is None:
                continue
            kind = self._rng.choices(kinds, weights)[0]
            if kind == "list":
                await self.list_some(limit=self._rng.choice((2, 3, 1000)), prefix=self._rng.choice(("", "", "b/", "c")))
            elif kind == "count":
                await self.count()
            else:
                await self.operate(kind, self._rng.choice(self._mix.keys))

    async def _burst(self, stop_s: float) -> None:
        loop = self._simulation.loop
        for _ in range(self._rng.randint(3, 8)):
            if loop.time() >= stop_s or not self._seat.host.alive or self._seat.store is None:
                return
            key = self._mix.keys[int(loop.time() / self._mix.hot_s) % len(self._mix.keys)]
            await self.operate(self._rng.choices(("put", "get", "delete", "create", "match"), (2, 5, 1, 1, 1))[0], key)
            await asyncio.sleep(self._rng.random() * (0.2 if self._simulation.excited else 0.01))

    async def operate(self, kind: str, key: str) -> None:
        """One operation on one key."""
        if kind in ("get", "head"):
            await self.read(key, whole=kind == "get")
        elif kind == "delete":
            await self.delete(key)
        else:
            await self.write(kind, key, expected=self._seen.get(key) if kind == "match" else None)

    # -- operations ---------------------------------------------------------------------------------------------------

    async def read(self, key: str, *, whole: bool) -> str | None:
        """GET or HEAD; the label, NOTHING for no object, None when nothing was learnt."""
        store = self._store()
        start = self._history.now()
        try:
            if whole:
                etag, data = await self._seat.call(_read_whole(store, key))
                label = label_of(data)
                if self._history.label(etag) != label:
                    raise WrongBytes(f"etag {etag} came with the body of {label}")
            else:
                etag = (await self._seat.call(store.head(WHO, BUCKET, key))).etag
                label = self._history.label(etag)
        except NoSuchKey:
            etag, label = "", NOTHING
        except (*_NOT_KNOWN, NoSuchVersion) as failure:
            # The latter: the node that sent the body hung in the middle of it, and elsewhere it was overwritten meanwhile.
            self._failed("get", key, failure)
            return None
        except WrongBytes as wrong:
            self._history.lies.append(f"{self.name} key {key}: {wrong}")
            return None
        self._seen[key] = etag
        self._history.add(key, Operation("get", start, self._history.now(), result=label))
        self._done("get", key, label)
        return label

    async def write(self, kind: str, key: str, *, expected: str | None = None, label: str = "") -> bool | None:
        """PUT, plainly or under a condition; True done, False refused by the condition, None unknown."""
        if kind == "match" and not expected:
            kind = "create" if expected == "" else "put"
        self._written += 1
        label = label or f"{self.name}.{self._written}"
        size = self._rng.randrange(131_073, 140_000) if self._rng.random() < self._mix.blob_share else self._rng.choice((12, 60, 700, 4096))
        data = body_of(label, size)
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self._history.labels[etag] = label
        conditions = Conditions()
        wanted = NOTHING
        if kind == "create":
            conditions = Conditions(if_none_match=("*",))
        elif kind == "match":
            assert expected
            conditions = Conditions(if_match=(expected,))
            wanted = self._history.label(expected)
        put = self._store().put(
            WHO, BUCKET, key, sent(data), attributes=Attributes(), expected=Expected(), conditions=conditions
        )  # fmt: skip
        start = self._history.now()
        end: int | None = None
        ok = True
        self._simulation.note(self.name, f"{kind} {key} <- {label} ({size} bytes)")
        try:
            info = await self._seat.call(put)
            end = self._history.now()
            if info.etag != etag:
                self._history.lies.append(f"{self.name} key {key}: PUT of {label} answered with etag {info.etag}")
            self._seen[key] = etag
        except (PreconditionFailed, NotModified, NoSuchKey) as refusal:
            end, ok = self._history.now(), False
            if kind == "put":
                self._history.lies.append(f"{self.name} key {key}: a plain PUT was refused: {refusal!r}")
        except _NOT_KNOWN as failure:
            self._failed(kind, key, failure)
        self._history.add(key, Operation(kind, start, end, value=label, expected=wanted, ok=ok))
        if end is not None:
            self._done(kind, key, f"{label} {'done' if ok else 'refused'}")
        return ok if end is not None else None

    async def delete(self, key: str) -> None:
        """DELETE."""
        call = self._store().delete(WHO, BUCKET, key)
        start = self._history.now()
        end: int | None = None
        self._simulation.note(self.name, f"delete {key}")
        try:
            await self._seat.call(call)
            end = self._history.now()
            self._seen[key] = ""
            self._done("delete", key, "done")
        except _NOT_KNOWN as failure:
            self._failed("delete", key, failure)
        self._history.add(key, Operation("delete", start, end))

    async def count(self) -> None:
        """Add one to the counter by If-Match (or create it)."""
        key = self._mix.counter
        label = await self.read(key, whole=True)
        if label is None:
            return
        number = int(label.split("-")[1]) if label else 0
        self._written += 1
        expected = self._seen[key]
        await self.write("match" if expected else "create", key, expected=expected, label=f"{self.name}.{self._written}-{number + 1}")

    async def list_some(self, *, limit: int, prefix: str) -> None:
        """A listing, page by page; each page is a read of every key in its range."""
        after = ""
        keys = sorted((*self._mix.keys, self._mix.counter))
        while self._seat.store is not None and self._seat.host.alive:
            start = self._history.now()
            try:
                page = await self._seat.call(self._store().list(WHO, BUCKET, ListQuery(prefix=prefix, after=after, limit=limit)))
            except _NOT_KNOWN as failure:
                self._failed("list", prefix, failure)
                return
            end = self._history.now()
            found = {info.key: self._history.label(info.etag) for info in page.objects}
            names = [info.key for info in page.objects]
            if names != sorted(set(names)) or len(names) > limit or not set(names) <= set(keys):
                self._history.lies.append(f"{self.name}: a page of {names} for limit {limit}, prefix {prefix!r}, after {after!r}")
            upto = page.next_after if page.truncated else "\U0010ffff"
            for key in keys:
                if after < key <= upto and key.startswith(prefix):
                    self._history.add(key, Operation("get", start, end, result=found.get(key, NOTHING)))
                elif key in found:
                    self._history.lies.append(f"{self.name}: {key!r} on a page from {after!r} to {upto!r}, prefix {prefix!r}")
            self._done("list", prefix, " ".join(f"{k}={v}" for k, v in found.items()) + (f" to {upto}" if page.truncated else ""))
            if not page.truncated:
                return
            if page.next_after <= after:
                self._history.lies.append(f"{self.name}: a listing does not go on after {after!r}")
                return
            after = page.next_after

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _store(self) -> ObjectStore:
        assert self._seat.store is not None
        return self._seat.store

    def _done(self, kind: str, key: str, what: str) -> None:
        self._history.counts[kind] += 1
        self._simulation.note(self.name, f"{kind} {key} -> {what or 'nothing'}")

    def _failed(self, kind: str, key: str, failure: BaseException) -> None:
        self._history.counts["unknown"] += 1
        self._history.counts[f"failed {type(failure).__name__}"] += 1
        self._simulation.note(self.name, f"{kind} {key} failed: {failure!r}")


async def _read_whole(store: ObjectStore, key: str) -> tuple[str, bytes]:
    reading = await store.get(WHO, BUCKET, key)
    return reading.info.etag, await content(reading)
