"""Versions in another container, as Swift had them first: X-Versions-Location (a stack) and X-History-Location (a record).

What is overwritten is copied there first, as `<length of the name, three hexadecimal digits><name>/<time>`; bytes are shared. Deleting takes the
newest of a stack back; a record keeps what was deleted, and a marker that says so.  Each step is an operation of its own: a crash
in between leaves a copy too many, never one too few.
"""

from dataclasses import dataclass

from objstore.core.container import decode_container
from objstore.errors import NoSuchBucket, NoSuchKey
from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.listing import DELETED_TYPE
from objstore.fronts.swift.request import Bytes
from objstore.fronts.swift.times import timestamp
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, CopySource, Expected, ListQuery, ObjectInfo, Principal

_PAGE = 1000


@dataclass(frozen=True)
class Archive:
    """Where a container's older versions go.  It is the owner who writes there, whoever writes here."""

    container: str
    history: bool
    owner: Principal


async def archive_of(front: SwiftFront, who: Principal, container: str) -> Archive | None:
    """The archive of a container, if it has one; what is not there has none, and what is done to it says so to who may know."""
    try:
        data = (await front.store.find_bucket(who, container)).config.get("container")
    except NoSuchBucket:
        return None
    if data is None:
        return None
    found = decode_container(data)
    return Archive(found.archive, found.history, Principal(account=who.home).at(who.home)) if found.archive else None


async def keep_current(front: SwiftFront, archive: Archive, container: str, key: str) -> ObjectInfo | None:
    """Copy what is there into the archive; None when there is nothing.  Raises SwiftRefused (412) when there is no archive."""
    try:
        found = await front.store.head(archive.owner, container, key)
    except NoSuchKey:
        return None
    name = _prefix(key) + timestamp(found.modified_us)
    await _copy(front, archive.owner, container, found, archive.container, name)
    return found


async def delete(front: SwiftFront, archive: Archive, who: Principal, container: str, key: str) -> None:
    """Delete an object of a container that has an archive, for a caller who may.  Raises NoSuchKey."""
    there = Conditions(if_match=("*",))
    if archive.history:
        await keep_current(front, archive, container, key)
        await front.store.delete(who, container, key, conditions=there)
        marker = Attributes(content_type=DELETED_TYPE)
        name = _prefix(key) + timestamp(front.clock.wall_us())
        await front.store.put(archive.owner, archive.container, name, Bytes(b""), attributes=marker, expected=Expected())
        return
    newest = await _newest(front, archive, key)
    if newest is None:
        await front.store.delete(who, container, key, conditions=there)
        return
    # Over what is deleted, so that there is an object all the while, also when this ends here.
    await _copy(front, archive.owner, archive.container, newest, container, key, conditions=there)
    await front.store.delete(archive.owner, archive.container, newest.key)


def _prefix(key: str) -> str:
    return f"{len(key.encode()):03x}{key}/"


async def _newest(front: SwiftFront, archive: Archive, key: str) -> ObjectInfo | None:
    newest: ObjectInfo | None = None
    after = ""
    while True:
        try:
            page = await front.store.list(archive.owner, archive.container, ListQuery(_prefix(key), "", after, _PAGE))
        except NoSuchBucket:
            return None
        newest = page.objects[-1] if page.objects else newest
        if not page.truncated:
            break
        after = page.next_after
    return None if newest is None else await front.store.head(archive.owner, archive.container, newest.key)


async def _copy(
    front: SwiftFront, owner: Principal, container: str, found: ObjectInfo, target: str, key: str, *, conditions: Conditions = NO_CONDITIONS
) -> None:
    same = CopySource(container, found.key, conditions=Conditions(if_match=(found.etag,)))
    attributes = Attributes(found.content_type, found.headers, found.metadata)
    try:
        await front.store.copy(owner, same, target, key, conditions=conditions, attributes=attributes)
    except NoSuchBucket:
        raise SwiftRefused(412, "The container for older versions does not exist.") from None
