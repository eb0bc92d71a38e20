"""Containers: PUT, HEAD, GET (its objects), POST (metadata, lists, versioning), DELETE."""

import re
from urllib.parse import unquote

from objstore.core.acl import NO_BLOCK, Ownership, encode_block
from objstore.core.container import NOTHING, OWNERS_NAMES, QUOTA_NAMES, ContainerChange, changed, decode_container
from objstore.core.names import BUCKET_NAME_LIMIT_BYTES, could_be_bucket
from objstore.core.quota import Usage
from objstore.errors import BucketAlreadyOwnedByYou
from objstore.fronts.dates import http_time
from objstore.fronts.swift import container_sync, etags, links
from objstore.fronts.swift.answers import TEXT, Answer, Headers, SwiftRefused, empty
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import changes_of, shown_metadata
from objstore.fronts.swift.listing import Item, Wanted, object_item, rendered, version_item, wanted_of, within
from objstore.fronts.swift.policies import check_same, class_of, first_config, policy_of
from objstore.fronts.swift.request import SwiftRequest, header_bytes, header_text, is_true
from objstore.fronts.swift.times import timestamp
from objstore.objects.access import owns_home
from objstore.objects.api import BucketInfo, ListQuery, ObjectInfo

_PAGE = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# A container has lists of Swift's alone, and these may be public.
FIRST_CONFIG = {"ownershipControls": Ownership.ENFORCED.value.encode(), "publicAccessBlock": encode_block(NO_BLOCK)}


async def put_container(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Make a container, or change the one that is there."""
    length = len(request.container.encode())
    if length > BUCKET_NAME_LIMIT_BYTES:
        raise SwiftRefused(400, f"Container name length of {length} longer than {BUCKET_NAME_LIMIT_BYTES}")
    change = _change(front, request)
    changed(NOTHING, change)  # what no container could be makes none
    policy = request.headers.get("x-storage-policy", "")
    status = 201
    try:
        await front.store.create_bucket(request.who, request.container, config={**FIRST_CONFIG, **first_config(front, policy)})
    except BucketAlreadyOwnedByYou:
        status = 202
        if policy:
            check_same(front, policy, await front.store.bucket(request.who, request.container))
    await _apply(front, request, change)
    return empty(status, [TEXT])


async def post_container(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Change metadata, lists, versioning."""
    change = _change(front, request)
    class_of(front, request.headers.get("x-storage-policy", ""))
    await front.store.bucket(request.who, request.container)
    await _apply(front, request, change)
    return empty(204, [TEXT])


def _change(front: SwiftFront, request: SwiftRequest) -> ContainerChange:
    headers = request.headers
    changes = changes_of(headers, "container")
    for name in QUOTA_NAMES:
        value = changes.get(name, "")
        if value and not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise SwiftRefused(400, f"Invalid {name.replace('-', ' ')}: a number is needed.")
    archive, history = _archive_of(request)
    change = ContainerChange(
        _list_of(request, "read"), _list_of(request, "write"), changes, archive, history, etags.change_of(front, headers, "container"),
        *container_sync.change_of(front, headers),
    )  # fmt: skip
    # Whom the account's list lets write may not let others in.
    return change.without_owners() if request.who.levels and not owns_home(request.who) else change


def _archive_of(request: SwiftRequest) -> tuple[str | None, bool]:
    """Where older versions go (None: nothing is said), and whether that is a record.  Raises SwiftRefused."""
    headers = request.headers
    stack, record = headers.get("x-versions-location"), headers.get("x-history-location")
    if stack and record:
        raise SwiftRefused(400, "Only one of X-Versions-Location and X-History-Location may be given.")
    value = stack or record
    if value:
        name = unquote(header_text(value))
        if "/" in name or not could_be_bucket(name) or _CONTROL.search(name):  # it is shown in a header
            raise SwiftRefused(400, "X-Versions-Location and X-History-Location must be container names.")
        return name, bool(record)
    removed = "x-remove-versions-location" in headers or "x-remove-history-location" in headers
    return ("" if removed or stack == "" or record == "" else None), False


def _list_of(request: SwiftRequest, kind: str) -> str | None:
    if f"x-remove-container-{kind}" in request.headers:
        return ""
    value = request.headers.get(f"x-container-{kind}")
    return None if value is None else header_text(value)


async def _apply(front: SwiftFront, request: SwiftRequest, change: ContainerChange) -> None:
    nothing = request.method == "POST" and not change and "x-versions-enabled" not in request.headers
    if change or nothing:  # a change of nothing needs the same right
        await front.store.set_container(request.who, request.container, change)
    enabled = request.headers.get("x-versions-enabled")
    if enabled is not None:
        status = "Enabled" if is_true(enabled) else "Suspended"
        info = await front.store.bucket(request.who, request.container)
        if info.versioning != status and (info.versioning or status == "Enabled"):
            await front.store.set_versioning(request.who, request.container, status)


async def delete_container(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Remove an empty container."""
    await front.store.delete_bucket(request.who, request.container)
    return empty(204, [TEXT])


async def head_container(front: SwiftFront, request: SwiftRequest) -> Answer:
    """What a container holds, and what was said of it."""
    info = await front.store.bucket(request.who, request.container)
    usage = await front.store.container_usage(request.who, request.container)
    return empty(204, [TEXT, *_facts(front, request, info, usage), *await container_sync.shown(front, request, info)])


async def get_container(front: SwiftFront, request: SwiftRequest) -> Answer:
    """The objects of a container, by name."""
    info = await front.store.bucket(request.who, request.container)
    wanted = wanted_of(request, front.settings.container_listing_limit)
    usage = await front.store.container_usage(request.who, request.container)
    items = await (_versions if "versions" in request.query else list_items)(front, request, wanted)
    headers = [*_facts(front, request, info, usage), *await container_sync.shown(front, request, info)]
    return rendered(wanted, items, root="container", name=request.container, element="object", headers=headers)


async def list_items(front: SwiftFront, request: SwiftRequest, wanted: Wanted) -> list[Item]:
    """One page.  Turned round, a listing is read from its beginning all the same: markers are the way to keep that short."""
    if wanted.limit == 0:
        return []
    prefix, delimiter = wanted.prefix, wanted.delimiter
    if wanted.path is not None:
        prefix, delimiter = (wanted.path.rstrip("/") + "/" if wanted.path else ""), "/"
    found: list[Item] = []
    after = wanted.end_marker if wanted.reverse else wanted.marker
    last = wanted.marker if wanted.reverse else wanted.end_marker
    while True:
        whole = wanted.reverse or wanted.path is not None  # of a path most may be what is not shown
        room = _PAGE if whole else min(_PAGE, wanted.limit - len(found))
        page = await front.store.list(request.who, request.container, ListQuery(prefix, delimiter, after, room))
        items = [_item(front, request, info) for info in page.objects]
        if wanted.path is None:
            items = sorted(items + [(name, None) for name in page.prefixes], key=lambda item: item[0].encode())
        else:
            # An object that is called as a common prefix stands for a folder, and is on the path itself.
            items += [_item(front, request, info) for info in page.folders]
            items = sorted([item for item in items if item[0] != prefix], key=lambda item: item[0].encode())
        found += items
        reached = bool(last and items and items[-1][0] >= last)
        if not page.truncated or reached or (not wanted.reverse and len(found) >= wanted.limit):
            break
        after = page.next_after
        if wanted.reverse:
            found = found[-wanted.limit :] if not last else [item for item in found if item[0] < last][-wanted.limit :]
    return within(found, wanted)


def _item(front: SwiftFront, request: SwiftRequest, info: ObjectInfo) -> Item:
    name, facts = object_item(info)
    if links.TARGET in info.headers:
        facts = {**(facts or {}), **links.listed(front, info, request.who.home)}
    return name, facts


async def _versions(front: SwiftFront, request: SwiftRequest, wanted: Wanted) -> list[Item]:
    """One page of all versions, newest first within a name; of a container that was never versioned, of its objects."""
    if wanted.reverse:
        raise SwiftRefused(400, "Listings of versions cannot be turned round.")
    found: list[Item] = []
    after, version = wanted.marker, request.query.get("version_marker", "")
    while len(found) < wanted.limit:
        query = ListQuery(wanted.prefix, wanted.delimiter, after, min(_PAGE, wanted.limit - len(found)))
        page = await front.store.list_versions(request.who, request.container, query, after_version=version)
        items = [version_item(info) for info in page.objects] + [(name, None) for name in page.prefixes]
        items.sort(key=lambda item: item[0])  # stable: versions of a name stay in their order
        found += [item for item in items if not wanted.end_marker or item[0] < wanted.end_marker]
        if not page.truncated or (wanted.end_marker and items and items[-1][0] >= wanted.end_marker):
            break
        after, version = page.next_after, page.next_version
    return found


def _facts(front: SwiftFront, request: SwiftRequest, info: BucketInfo, usage: Usage) -> Headers:
    container = decode_container(info.config.get("container", b""))
    headers: Headers = [
        (b"x-container-object-count", b"%d" % usage.objects),
        (b"x-container-bytes-used", b"%d" % usage.bytes),
        (b"x-storage-policy", policy_of(front, info).encode()),
        (b"x-timestamp", timestamp(info.created_us).encode()),
        (b"last-modified", http_time(info.created_us)),
        (b"accept-ranges", b"bytes"),
    ]
    if info.versioning:
        headers.append((b"x-versions-enabled", b"True" if info.versioning == "Enabled" else b"False"))
    if container.archive:
        headers.append((b"x-history-location" if container.history else b"x-versions-location", header_bytes(container.archive)))
    metadata = dict(container.metadata)
    if owns_home(request.who):
        # Lists and keys are shown to those alone who may set them.
        if container.read:
            headers.append((b"x-container-read", header_bytes(container.read)))
        if container.write:
            headers.append((b"x-container-write", header_bytes(container.write)))
    else:
        for name in OWNERS_NAMES:
            metadata.pop(name, None)
    headers += etags.shown(front, container.hidden, "container")
    return headers + shown_metadata(metadata, "x-container-meta-")
