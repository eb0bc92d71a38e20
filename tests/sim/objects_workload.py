"""Clients of the whole object model in plain, versioned and suspended buckets; what they see is written down per key and judged.

Every write has a label of its own in its metadata, so whoever sees an object, a version or a line of a listing knows which write made
it.  Keys come and go: each is in use for a while only, so that histories stay short enough to be searched.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from objstore.core.timestamp import wall_us_of
from objstore.core.versions import ENABLED, NULL, version_ballot
from objstore.errors import (
    ConditionalConflict,
    Damaged,
    NoSuchKey,
    NoSuchUpload,
    NoSuchVersion,
    PreconditionFailed,
    Unavailable,
    VersionIsMarker,
)
from objstore.objects.api import (
    NO_CONDITIONS,
    Attributes,
    CompletedPart,
    Conditions,
    CopySource,
    Expected,
    ListQuery,
    ObjectInfo,
)
from objstore.objects.store import ObjectStore
from tests.sim.host import HostDied, Simulation
from tests.sim.versions_judge import MARKER, NOTHING, UNSEEN, Act, Age
from tests.sim.workload import WHO, History, Seat, WrongBytes, body_of
from tests.support.bodies import content, sent

PLAIN, VERSIONED, SUSPENDED = "plain", "versioned", "suspended"
BUCKETS = (PLAIN, VERSIONED, SUSPENDED)
KEY_LASTS_S = 7.0
PAUSE_S = 1.6
_NOT_KNOWN = (Unavailable, Damaged, ConditionalConflict, HostDied, TimeoutError)

Place = tuple[str, str]  # bucket, key


@dataclass
class Family:
    """What is known of one key besides what was done to it."""

    acts: list[Act] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)  # label -> version id, from whoever saw it
    ages: dict[str, Age] = field(default_factory=dict)  # label -> age
    heads: dict[str, tuple[str, ...]] = field(default_factory=dict)  # etag -> labels that have it
    tried: set[str] = field(default_factory=set)  # labels of all writes that were begun
    observed: set[str] = field(default_factory=set)  # labels that somebody saw
    doomed: dict[str, int] = field(default_factory=dict)  # version id -> when its removal was first asked for
    removed: dict[str, int] = field(default_factory=dict)  # version id -> when a removal was first acknowledged
    kept: dict[str, int] = field(default_factory=dict)  # version id of an acknowledged write -> when that was


class ObjectHistory(History):
    """What all clients saw."""

    def __init__(self) -> None:
        super().__init__()
        self.families: dict[Place, Family] = {}
        self.bodies: dict[str, str] = {}  # label -> MD5 of its bytes, "" when that is not known
        self.copies: set[str] = set()  # labels of copies

    def family(self, place: Place) -> Family:
        """Of one key."""
        return self.families.setdefault(place, Family())

    def saw(self, place: Place, info: ObjectInfo) -> str:
        """Note what an object, a version or a line of a listing tells; its label."""
        family = self.family(place)
        if info.is_delete_marker:
            return MARKER
        label = info.metadata.get("label", "")
        if label not in self.bodies:
            self.lies.append(f"{place}: an object that nobody wrote: {info}")
            return f"unknown {label}"
        family.observed.add(label)
        if place[0] != PLAIN:
            version = info.version_id or NULL  # a listing of objects shows no id of the null version
            known = family.ids.setdefault(label, version)
            if known != version:
                self.lies.append(f"{place}: {label} has two versions, {known} and {version}")
            family.ages[label] = age_of(info)
        same = family.heads.get(info.etag, ())
        if label not in same:
            family.heads[info.etag] = (*same, label)
        return label


def resolved(history: ObjectHistory, place: Place) -> list[Act]:
    """The acts on one key with what became known only later: version ids and ages of writes, labels behind etags.

    Everything that is left must have been listed in the end: a version that nobody saw then was never there, since who removes one
    has seen it.
    """
    family = history.family(place)
    wild = history.copies - family.observed  # nobody knows what they were copies of

    def of(act: Act) -> Act:
        value = f"{UNSEEN}{act.value}" if act.value in wild else act.value
        expected = None
        if act.expected is not None:
            expected = frozenset(label for etag in act.expected for label in family.heads.get(etag, ()))
        slot, age = act.slot, act.age
        if slot == "?":
            slot = family.ids.get(act.value, f"?{act.value}")
        return replace(act, value=value, expected=expected, slot=slot, age=family.ages.get(act.value, age))

    acts = []
    for act in family.acts:
        if act.end is not None or act.slot != "?" or act.value in family.ids:
            acts.append(of(act))
    return acts


def listed(history: ObjectHistory, place: Place, infos: list[ObjectInfo]) -> object:
    """A key's part of a listing of versions, as `versions_judge.seen_in` has it."""
    mine = {act.slot for act in history.family(place).acts}

    def of(info: ObjectInfo) -> tuple[str, str]:
        label = history.saw(place, info)
        slot = "" if place[0] == PLAIN else info.version_id
        return (UNSEEN if label == MARKER and slot not in mine else slot), label

    head = next((of(info) for info in infos if info.is_latest), None)
    return head, tuple(sorted(of(info) for info in infos if not info.is_latest))


def age_of(info: ObjectInfo) -> Age:
    """Where a version stands among those of its key."""
    if info.version_id in (NULL, ""):
        return info.modified_us, ""
    return wall_us_of(version_ballot(info.version_id)), info.version_id


class ObjectClient:
    """One client; `run` goes on until `stop_s`."""

    def __init__(self, simulation: Simulation, history: ObjectHistory, seat: Seat, name: str) -> None:
        self.name = name
        self._simulation = simulation
        self._history = history
        self._seat = seat
        self._rng: random.Random = simulation.rng(f"client {name}")
        self._seen: dict[Place, str] = {}  # etag this client saw last
        self._written = 0

    async def run(self, *, stop_s: float) -> None:
        """Operate until a time."""
        loop = self._simulation.loop
        kinds: list[tuple[Callable[[Place], Coroutine[Any, Any, object]], float]] = [
            (self._put_any, 4.0), (self.delete, 1.2), (self._delete_if, 0.7), (self._remove_any, 2.2), (self._complete_any, 1.4),
            (self._copy_any, 1.2), (self.read, 3.0), (self._read_any_version, 2.0), (self._list, 0.4), (self._list_versions, 0.4),
        ]  # fmt: skip
        weights = [weight for _, weight in kinds]
        while loop.time() < stop_s:
            pause_s = 0.02 if self._rng.random() < 0.4 or self._simulation.excited else self._rng.expovariate(1.0 / PAUSE_S)
            await asyncio.sleep(pause_s)
            if self._seat.host.alive and self._seat.store is not None:
                operate = self._rng.choices(kinds, weights)[0][0]
                await operate(self._place())

    def _place(self) -> Place:
        number = int(self._simulation.loop.time() / KEY_LASTS_S)
        bucket = BUCKETS[number % 3] if self._rng.random() < 0.6 else self._rng.choice((*BUCKETS, VERSIONED))
        if self._rng.random() < 0.15:
            number -= self._rng.randint(1, 6)
        return bucket, f"k{max(0, number):03}"

    # -- writes -------------------------------------------------------------------------------------------------------

    async def _put_any(self, place: Place) -> None:
        await self.put(place, *self._condition(place))

    def _condition(self, place: Place, share: float = 0.45) -> tuple[Conditions, Act]:
        """Conditions, and what they mean."""
        act = Act("put", 0, versioned=place[0] != PLAIN, slot="?" if place[0] == VERSIONED else NULL if place[0] == SUSPENDED else "")
        if self._rng.random() >= share:
            return NO_CONDITIONS, act
        etag = self._seen.get(place, "")
        if not etag or self._rng.random() < 0.4:
            return Conditions(if_none_match=("*",)), replace(act, absent=True)
        return Conditions(if_match=(etag,)), replace(act, expected=frozenset((etag,)))

    def _label(self) -> tuple[str, bytes]:
        self._written += 1
        label = f"{self.name}.{self._written}"
        size = self._rng.randrange(131_073, 140_000) if self._rng.random() < 0.03 else self._rng.choice((12, 60, 700, 4096))
        return label, body_of(label, size)

    def _known(self, label: str, data: bytes) -> str:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self._history.bodies[label] = digest
        return digest

    async def put(self, place: Place, conditions: Conditions = NO_CONDITIONS, act: Act | None = None) -> bool:
        """PUT; whether it was acknowledged."""
        act = act or self._condition(place, 0.0)[1]
        label, data = self._label()
        etag = self._known(label, data)
        self._heads(place, etag, label)
        call = self._store().put(
            WHO, *place, sent(data), attributes=Attributes(metadata={"label": label}), expected=Expected(), conditions=conditions
        )  # fmt: skip
        return await self._write("put", place, call, replace(act, value=label)) is not None

    async def _complete_any(self, place: Place) -> None:
        """A multipart upload from beginning to end; its completion is often repeated."""
        conditions, act = self._condition(place, 0.35)
        label, data = self._label()
        cut = self._rng.randrange(1, len(data)) if self._rng.random() < 0.6 else len(data)
        self._known(label, data)
        store = self._store()
        try:
            upload = await self._seat.call(store.create_upload(WHO, *place, attributes=Attributes(metadata={"label": label})))
            parts = []
            for number, piece in enumerate((data[:cut], data[cut:]), 1):
                if piece:
                    part = await self._seat.call(store.upload_part(WHO, *place, upload.upload_id, number, sent(piece), expected=Expected()))
                    parts.append(CompletedPart(number, part.etag))
        except (*_NOT_KNOWN, NoSuchUpload) as failure:
            return self._failed("upload", place, failure)
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        self._heads(place, f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}", label)

        def complete(under: Conditions) -> Coroutine[Any, Any, ObjectInfo]:
            return self._store().complete_upload(WHO, *place, upload.upload_id, parts, conditions=under, expected=Expected())

        made = await self._write("complete", place, complete(conditions), replace(act, value=label))
        if made is None or self._rng.random() < 0.4:
            return None
        await asyncio.sleep(self._rng.random() * 0.5)
        if self._seat.store is not None and self._seat.host.alive:
            await self._complete_again(place, complete(conditions), made)
        return None

    async def _complete_again(self, place: Place, call: Coroutine[Any, Any, ObjectInfo], made: ObjectInfo) -> None:
        """It changes nothing: the same answer, or none because the object is gone."""
        try:
            again = await self._seat.call(call)
        except (NoSuchUpload, PreconditionFailed, NoSuchKey):
            return
        except _NOT_KNOWN as failure:
            self._failed("complete again", place, failure)
            return
        self._done("complete again", place, again.version_id)
        if (again.etag, again.version_id) != (made.etag, made.version_id):
            self._history.lies.append(
                f"{place}: completed as {made.version_id!r} {made.etag}, and again as {again.version_id!r} {again.etag}"
            )

    async def _copy_any(self, place: Place) -> None:
        """CopyObject under conditions, of another key or of a version."""
        others = [other for other, family in self._history.families.items() if family.heads and other != place]
        if not others:
            return
        origin = self._rng.choice(others[-6:])
        ids = sorted(self._history.family(origin).ids.items())
        version = ""
        if ids and origin[0] == VERSIONED and self._rng.random() < 0.4:
            version = self._rng.choice(ids)[1]
        conditions, act = self._condition(place)
        self._written += 1
        label = f"{self.name}.{self._written}"
        self._history.bodies[label] = ""  # not known before the answer
        self._history.copies.add(label)
        call = self._store().copy(
            WHO, CopySource(*origin, version_id=version), *place, conditions=conditions, attributes=Attributes(metadata={"label": label})
        )  # fmt: skip
        made = await self._write("copy", place, call, replace(act, value=label))
        if made is None:
            return
        history = self._history
        source = history.family(origin)
        if "-" in made.etag:  # a copy of many parts keeps their ETag, which tells nothing of its bytes
            known = made.etag in source.heads
        else:
            history.bodies[label] = made.etag
            there = {history.bodies[each] for each in source.tried}
            known = made.etag in there or "" in there
        if not known and not source.tried & history.copies:
            history.lies.append(f"{place}: a copy of {origin} has the etag {made.etag}, which nothing had there")

    def _heads(self, place: Place, etag: str, label: str) -> None:
        heads = self._history.family(place).heads
        heads[etag] = (*heads.get(etag, ()), label)

    async def _write(self, kind: str, place: Place, call: Coroutine[Any, Any, ObjectInfo], act: Act) -> ObjectInfo | None:
        """Carry out a write and note it; None when it was refused or nobody knows."""
        history, family = self._history, self._history.family(place)
        self._simulation.note(self.name, f"{kind} {'/'.join(place)} <- {act.value}{self._said(act)}")
        family.tried.add(act.value)
        start = history.now()
        made: ObjectInfo | None = None
        end: int | None = None
        try:
            made = await self._seat.call(call)
            end = history.now()
        except (PreconditionFailed, NoSuchKey, NoSuchVersion, VersionIsMarker) as refusal:
            if kind == "copy" and not isinstance(refusal, PreconditionFailed):
                return None  # of the source, or of the target: nothing was written in either case
            family.acts.append(replace(act, start=start, end=history.now(), ok=False))
            self._done(kind, place, f"{act.value} refused")
            if act.expected is None and not act.absent:
                history.lies.append(f"{place}: a {kind} without conditions was refused: {refusal!r}")
            return None
        except (*_NOT_KNOWN, NoSuchUpload) as failure:
            self._failed(kind, place, failure)
        if made is not None:
            made = _with_label(made, act.value)
            history.saw(place, made)
            self._seen[place] = made.etag
            if made.version_id not in ("", NULL):
                family.kept[made.version_id] = end or 0
            self._done(kind, place, f"{act.value} done {made.version_id}")
        family.acts.append(replace(act, start=start, end=end))
        return made

    @staticmethod
    def _said(act: Act) -> str:
        return f" if {sorted(act.expected)}" if act.expected is not None else " if absent" if act.absent else ""

    # -- deletes ------------------------------------------------------------------------------------------------------

    async def delete(self, place: Place, conditions: Conditions = NO_CONDITIONS, expected: frozenset[str] | None = None) -> None:
        """DELETE of the object: nothing remains, or a delete marker."""
        bucket = place[0]
        slot = {PLAIN: "", VERSIONED: "?", SUSPENDED: NULL}[bucket]
        act = Act("delete" if bucket == PLAIN else "put", 0, slot=slot, value=MARKER, expected=expected, versioned=bucket != PLAIN)
        self._simulation.note(self.name, f"delete {'/'.join(place)}{self._said(act)}")
        history, family = self._history, self._history.family(place)
        call = self._store().delete(WHO, *place, conditions=conditions)
        start = history.now()
        end: int | None = None
        try:
            outcome = await self._seat.call(call)
            end = history.now()
            self._seen[place] = ""
            if bucket == VERSIONED:
                marker = outcome.marker_version_id
                act = replace(act, slot=marker, age=(wall_us_of(version_ballot(marker)), marker))
                family.kept[marker] = end
            self._done("delete", place, f"done {act.slot}")
        except (PreconditionFailed, NoSuchKey) as refusal:
            end = history.now()
            if expected is None:
                history.lies.append(f"{place}: a DELETE without conditions was refused: {refusal!r}")
            act = replace(act, ok=False)
            self._done("delete", place, "refused")
        except _NOT_KNOWN as failure:
            self._failed("delete", place, failure)
            if bucket == VERSIONED:
                act = replace(act, slot=f"?{self.name}.{start}")
        family.acts.append(replace(act, start=start, end=end))

    async def _delete_if(self, place: Place) -> None:
        etag = self._seen.get(place, "")
        if etag:
            await self.delete(place, Conditions(if_match=(etag,)), frozenset((etag,)))

    async def _remove_any(self, place: Place) -> None:
        """DELETE of one version, often of the newest."""
        family = self._history.family(place)
        known = sorted({*family.ids.values(), *family.kept})
        if place[0] == PLAIN or not known:
            return
        version = known[-1] if self._rng.random() < 0.5 else self._rng.choice([*known, NULL])
        await self.remove(place, version)

    async def remove(self, place: Place, version: str) -> None:
        """DELETE of one version."""
        history, family = self._history, self._history.family(place)
        self._simulation.note(self.name, f"remove {'/'.join(place)} {version}")
        call = self._store().delete(WHO, *place, version_id=version)
        start = history.now()
        end: int | None = None
        family.doomed.setdefault(version, start)
        try:
            await self._seat.call(call)
            end = history.now()
            family.removed.setdefault(version, end)
            self._done("remove", place, version)
        except _NOT_KNOWN as failure:
            self._failed("remove", place, failure)
        family.acts.append(Act("remove", start, end, slot=version))

    # -- reads --------------------------------------------------------------------------------------------------------

    async def read(self, place: Place, version: str = "") -> str | None:
        """GET of the object or of a version; its label, NOTHING for none, None when nothing was learnt."""
        history, family = self._history, self._history.family(place)
        store = self._store()
        start = history.now()
        try:
            info, data = await self._seat.call(_read_whole(store, place, version))
            label = history.saw(place, info)
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if history.bodies.get(label) not in ("", digest):
                raise WrongBytes(f"{label} came with other bytes than were written ({len(data)})")
            if "-" not in info.etag and info.etag != digest:
                raise WrongBytes(f"{label} came with bytes that do not fit its etag")
            if not version:
                self._seen[place] = info.etag
        except NoSuchVersion as failure:
            if not version:  # the body broke off and the object had been overwritten meanwhile
                self._failed("read", place, failure)
                return None
            label = NOTHING
        except (NoSuchKey, VersionIsMarker):
            label = NOTHING
            if not version:
                self._seen[place] = ""
        except _NOT_KNOWN as failure:
            self._failed("read", place, failure)
            return None
        except WrongBytes as wrong:
            history.lies.append(f"{self.name} {place} {version}: {wrong}")
            return None
        self._done("read", place, f"{version} {label or 'nothing'}")
        family.acts.append(Act("getv" if version else "get", start, history.now(), slot=version, result=label))
        return label

    async def _read_any_version(self, place: Place) -> None:
        family = self._history.family(place)
        known = sorted(set(family.ids.values()))
        if place[0] != PLAIN and known:
            await self.read(place, self._rng.choice(known))

    async def _list(self, place: Place) -> None:
        """A listing: a read of every key in it."""
        bucket = place[0]
        history = self._history
        start = history.now()
        try:
            page = await self._seat.call(self._store().list(WHO, bucket, ListQuery(limit=1000)))
        except _NOT_KNOWN as failure:
            return self._failed("list", place, failure)
        end = history.now()
        found = {info.key: history.saw((bucket, info.key), info) for info in page.objects}
        for (home, key), family in list(history.families.items()):
            if home == bucket:
                family.acts.append(Act("get", start, end, result=found.get(key, NOTHING)))
        return self._done("list", place, f"{len(found)} objects")

    async def _list_versions(self, place: Place) -> None:
        await self.list_versions(place[0])

    async def list_versions(self, bucket: str, *, limit: int | None = None) -> dict[str, list[ObjectInfo]] | None:
        """All versions in a bucket, by key; None when it was not to be had."""
        history = self._history
        start = history.now()
        found: dict[str, list[ObjectInfo]] = {}
        after, after_version = "", ""
        limit = limit or self._rng.choice((3, 10, 1000))
        while True:
            if self._seat.store is None or not self._seat.host.alive:
                return None
            query = ListQuery(after=after, limit=limit)
            try:
                page = await self._seat.call(self._store().list_versions(WHO, bucket, query, after_version=after_version))
            except _NOT_KNOWN as failure:
                self._failed("list versions", (bucket, ""), failure)
                return None
            for info in page.objects:
                history.saw((bucket, info.key), info)
                found.setdefault(info.key, []).append(info)
            if not page.truncated:
                break
            after, after_version = page.next_after, page.next_version
        end = history.now()
        for (home, key), family in history.families.items():
            if home == bucket:
                self._check_listed(key, family, [info.version_id for info in found.get(key, ())], start, end)
        self._done("list versions", (bucket, ""), f"{sum(map(len, found.values()))} versions")
        return found

    def _check_listed(self, key: str, family: Family, ids: list[str], start: int, end: int) -> None:
        lies = self._history.lies
        if len(set(ids)) != len(ids):
            lies.append(f"{key}: a version is listed twice: {ids}")
        for version, when in family.kept.items():
            if when < start and family.doomed.get(version, end) >= end and version not in ids:
                lies.append(f"{key}: version {version} was written at {when}, nobody removed it, and it is not listed at {start}..{end}")
        for version, when in family.removed.items():
            if version != NULL and when < start and version in ids:
                lies.append(f"{key}: version {version} was removed at {when} and is listed at {start}..{end}")

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _store(self) -> ObjectStore:
        assert self._seat.store is not None
        return self._seat.store

    def _done(self, kind: str, place: Place, what: str) -> None:
        self._history.counts[kind] += 1
        self._simulation.note(self.name, f"{kind} {'/'.join(place)} -> {what}")

    def _failed(self, kind: str, place: Place, failure: BaseException) -> None:
        self._history.counts["unknown"] += 1
        self._history.counts[f"failed {type(failure).__name__}"] += 1
        self._simulation.note(self.name, f"{kind} {'/'.join(place)} failed: {failure!r}")


def _with_label(info: ObjectInfo, label: str) -> ObjectInfo:
    assert info.metadata.get("label") == label, f"a write of {label} was answered with {info}"
    return info


async def _read_whole(store: ObjectStore, place: Place, version: str) -> tuple[ObjectInfo, bytes]:
    reading = await store.get(WHO, *place, version_id=version)
    return reading.info, await content(reading)


async def prepare(seat: Seat, client: ObjectClient, keys: int) -> None:
    """Make the buckets; the suspended one has a version of every key from before it was suspended."""
    for bucket in BUCKETS:
        await _insist(seat, lambda store, bucket=bucket: store.create_bucket(WHO, bucket))
    for bucket in (VERSIONED, SUSPENDED):
        await _insist(seat, lambda store, bucket=bucket: store.set_versioning(WHO, bucket, ENABLED))
    for number in range(0, keys, 2):
        place = (SUSPENDED, f"k{number:03}")
        await client.put(place, NO_CONDITIONS, Act("put", 0, slot="?", versioned=True))
    await _insist(seat, lambda store: store.set_versioning(WHO, SUSPENDED, "Suspended"))


async def _insist(seat: Seat, operate: Callable[[ObjectStore], Coroutine[Any, Any, object]]) -> None:
    for _ in range(20):
        assert seat.store is not None
        try:
            await seat.call(operate(seat.store))
        except (Unavailable, TimeoutError, ConditionalConflict):
            await asyncio.sleep(0.5)
        else:
            return
    raise AssertionError("the buckets could not be made although nothing is wrong yet")
