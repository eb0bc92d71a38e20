"""Bulk delete: many objects and containers by one request, told one by one in the answer."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from html import escape
from urllib.parse import unquote_to_bytes

from objstore.errors import NoSuchBucket, NoSuchKey, NoSuchVersion, ObjstoreError
from objstore.fronts.swift import archive as archiving
from objstore.fronts.swift.answers import JSON, TEXT, XML, Answer, Header, SwiftRefused, refusal, status_line, unauthorized
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.heartbeat import kept_alive
from objstore.fronts.swift.request import SwiftRequest
from objstore.objects.actions import Action
from objstore.objects.api import Conditions, DeleteOutcome, DeleteTarget

MAX_NAME_BYTES = 3 * 1024 + 512  # percent-encoded
MAX_ERRORS_TOLD = 1000
_AT_ONCE = 500
_KEPT_AT_ONCE = 8  # of a container that keeps older versions elsewhere: each is several operations


class Tally:
    """How it went so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[tuple[str, str]] = []
        self.failure = 400  # the status, should there be errors

    @property
    def status(self) -> int:
        """Of all: as Swift has it, what was not there to be deleted is no failure."""
        return self.failure if self.errors else 200

    def facts(self, status: str, body: str) -> dict[str, object]:
        """What the report says: its status stands inside, as Swift has it."""
        counts = {name: self.counts[name] for name in ("Number Deleted", "Number Not Found")}
        return {"Response Status": status, "Response Body": body, **counts}

    def failed(self, path: str, error: ObjstoreError) -> None:
        """One that was not deleted."""
        if isinstance(error, NoSuchBucket | NoSuchKey | NoSuchVersion):
            self.counts["Number Not Found"] += 1
            return
        status = refusal(error, known=True, realm="").status
        self.failure = 502 if status >= 500 else self.failure
        if len(self.errors) < MAX_ERRORS_TOLD:
            self.errors.append((path, status_line(status)))


async def bulk_delete(front: SwiftFront, request: SwiftRequest) -> Answer:
    """POST or DELETE `?bulk-delete`: a line for each `container/object` or `container`, percent-encoded."""
    if request.who.anonymous:  # ten thousand names are 35 MB: not for everybody to have them held
        raise SwiftRefused(401, headers=unauthorized(request.account).headers[1:])
    most = front.settings.max_bulk_deletes
    data = await request.document(most * MAX_NAME_BYTES)
    lines = [line.strip() for line in data.split(b"\n")]
    names = [unquote_to_bytes(line).decode("utf-8", "replace").lstrip("/") for line in lines if line]
    if len(names) > most:
        raise SwiftRefused(413, f"Maximum Bulk Deletes: {most} per request")
    if not names:
        kind = report_type(request)
        return Answer(200, [kind], report(kind, Tally().facts("400 Bad Request", "Invalid bulk delete."), [], "delete"))
    return await delete_names(front, request, names)


async def delete_names(front: SwiftFront, request: SwiftRequest, names: list[str], version: str = "") -> Answer:
    """Delete objects, of the first one this `version`, then containers, by their names; the report."""
    kind = report_type(request)

    async def work() -> bytes:
        tally = Tally()
        if version:
            await _delete_version(front, request, names[0], version, tally)
        await delete_all(front, request, names[1:] if version else names, tally)
        return report(kind, tally.facts(status_line(tally.status), ""), tally.errors, "delete")

    return await kept_alive(work(), [kind], every_s=front.settings.yield_frequency_s)


async def _delete_version(front: SwiftFront, request: SwiftRequest, name: str, version: str, tally: Tally) -> None:
    container, _, key = name.partition("/")
    try:
        await front.store.delete(request.who, container, key, version_id=version, conditions=Conditions(if_match=("*",)))
        tally.counts["Number Deleted"] += 1
    except ObjstoreError as error:
        tally.failed(name, error)


async def delete_all(front: SwiftFront, request: SwiftRequest, names: list[str], tally: Tally) -> None:
    """The same, as `tally` tells."""
    by_container: dict[str, list[str]] = {}
    containers: list[str] = []
    for name in names:
        container, slash, key = name.partition("/")
        if slash and key:
            by_container.setdefault(container, []).append(key)
        else:
            containers.append(container)
    for container, keys in by_container.items():
        async for key, error in _delete_all(front, request, container, keys):
            if error is None:
                tally.counts["Number Deleted"] += 1
            else:
                tally.failed(f"{container}/{key}", error)
    for container in containers:  # last, so that what was to be deleted in them is gone
        try:
            await front.store.delete_bucket(request.who, container)
            tally.counts["Number Deleted"] += 1
        except ObjstoreError as error:
            tally.failed(container, error)


async def _delete_all(
    front: SwiftFront, request: SwiftRequest, container: str, keys: list[str]
) -> AsyncIterator[tuple[str, ObjstoreError | None]]:
    there = Conditions(if_match=("*",))
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        try:
            archive = await archiving.archive_of(front, request.who, container)
            if archive is not None:
                outcomes = await _delete_kept(front, request, archive, container, some)
            else:
                outcomes = await front.store.delete_many(request.who, container, [DeleteTarget(key, conditions=there) for key in some])
        except ObjstoreError as error:
            for key in some:
                yield key, error
            continue
        for outcome in outcomes:
            assert outcome.error is None or isinstance(outcome.error, ObjstoreError)
            yield outcome.key, outcome.error


async def _delete_kept(
    front: SwiftFront, request: SwiftRequest, archive: archiving.Archive, container: str, keys: list[str]
) -> list[DeleteOutcome]:
    """Delete from a container whose older versions are kept in another one, some keys at a time; one named twice goes twice."""
    outcomes: list[DeleteOutcome] = []
    waiting: dict[str, int] = {}
    for key in keys:
        waiting[key] = waiting.get(key, 0) + 1
    left = iter(waiting.items())

    async def worker() -> None:
        for key, times in left:
            for _ in range(times):
                error: ObjstoreError | None = None
                try:
                    await front.store.check_access(request.who, container, Action.DELETE_OBJECT, key)
                    await archiving.delete(front, archive, request.who, container, key)
                except ObjstoreError as failure:
                    error = failure
                outcomes.append(DeleteOutcome(key=key, error=error))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_KEPT_AT_ONCE, len(waiting))):
            group.create_task(worker())
    return outcomes


def report_type(request: SwiftRequest) -> Header:
    """The type of the report of a bulk operation that a request asks for."""
    accept = request.headers.get("accept", "")
    return JSON if "application/json" in accept else XML if "xml" in accept else TEXT


def report(kind: Header, facts: Mapping[str, object], errors: Sequence[tuple[str, str]], root: str) -> bytes:
    """The report: facts, then what could not be done and why."""
    if kind is JSON:
        return json.dumps({**facts, "Errors": [list(error) for error in errors]}).encode()
    if kind is XML:
        lines = "".join(f"<{_element(name)}>{escape(str(value))}</{_element(name)}>" for name, value in facts.items())
        failed = "".join(f"<object><name>{escape(name)}</name><status>{why}</status></object>" for name, why in errors)
        return f"<{root}>{lines}<errors>{failed}</errors></{root}>".encode()
    text = "".join(f"{name}: {value}\n" for name, value in facts.items())
    return (text + "Errors:\n" + "".join(f"{name}, {why}\n" for name, why in errors)).encode()


def _element(name: str) -> str:
    return name.lower().replace(" ", "_")
