"""Container sync: what is said of a container's peer, and requests of other clusters.

Another cluster's PUT, DELETE or HEAD of an object shows in `X-Container-Sync-Auth` that it knows the realm's key and the container's, or
comes from an address of the operator's list with the container's key itself.  It then acts as the container's owner, and tells in
`X-Timestamp` when what it sends was done: nothing that is as new is overwritten.  Whatever is wrong with it gets one and the same
answer.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from objstore.core.container_sync import (
    MAX_AHEAD_US,
    MAX_KEY_BYTES,
    SYNC_KEY,
    SYNC_TO,
    is_signed,
    parse_stamp,
    peer_of,
    stamp_of,
)
from objstore.errors import NoSuchBucket
from objstore.fronts.swift.answers import Headers, SwiftRefused
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.request import SwiftRequest, header_bytes, header_text
from objstore.objects.access import owns_home
from objstore.objects.api import BucketInfo, Principal

AUTH, KEY = "x-container-sync-auth", "x-container-sync-key"
_TO = "x-container-sync-to"
_METHODS = ("PUT", "DELETE", "HEAD")
_MAX_AUTH_CHARS = 1024
_BULK = ("bulk-delete", "extract-archive")  # which no signature covers, and which reach beyond the one object that is named


# -- what an owner says -----------------------------------------------------------------------------------------


def change_of(front: SwiftFront, headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The peer and the key that a request sets (None: leave them, "": none).  Raises InvalidRequest, SwiftRefused."""
    to = "" if "x-remove-container-sync-to" in headers else headers.get(_TO)
    key = "" if "x-remove-container-sync-key" in headers else headers.get(KEY)
    if to:
        to = header_text(to).strip()
        peer_of(to, front.realms, front.sync.hosts)
    if key:
        key = header_text(key)
        if len(key.encode("utf-8", "surrogateescape")) > MAX_KEY_BYTES:
            raise SwiftRefused(400, f"X-Container-Sync-Key may have {MAX_KEY_BYTES} bytes")
    return to, key


async def shown(front: SwiftFront, request: SwiftRequest, info: BucketInfo) -> Headers:
    """What the owner of a container is told of its peer, and how far that is."""
    if not (SYNC_TO in info.config or SYNC_KEY in info.config) or not owns_home(request.who):
        return []
    headers: Headers = [
        (name.encode(), header_bytes(info.config[part].decode())) for name, part in ((_TO, SYNC_TO), (KEY, SYNC_KEY)) if part in info.config
    ]
    state = await front.store.sync_state(request.who, request.container) if SYNC_TO in info.config else None
    if state is None:
        return headers
    for name, count in (("puts", state.puts), ("deletes", state.deletes), ("skipped", state.skipped), ("failures", state.failures)):
        headers.append((b"x-container-sync-" + name.encode(), b"%d" % count))
    headers.append((b"x-container-sync-walk", b"running" if state.walking else b"done"))
    if state.success_us:
        headers.append((b"x-container-sync-last-success", stamp_of(state.success_us).encode()))
    if state.error:
        headers.append((b"x-container-sync-last-error", state.error.encode("ascii", "replace")))
    return headers


def realms_shown(front: SwiftFront) -> dict[str, object]:
    """Realms and their clusters, as `/info` has them: names alone."""
    current = tuple(part.upper() for part in front.sync.current.strip("/").split("/"))
    return {
        name: {"clusters": {cluster: ({"current": True} if (name, cluster) == current else {}) for cluster in realm.clusters}}
        for name, realm in front.realms.items()
        if realm.clusters
    }


# -- what another cluster says ----------------------------------------------------------------------------------


async def authenticate(front: SwiftFront, request: SwiftRequest, account: str) -> Principal:
    """Who sends a signed request: the owner of the container.  Raises SwiftRefused (401)."""
    given = request.headers[AUTH]
    words = header_text(given).split() if len(given) <= _MAX_AUTH_CHARS else []
    stamp = request.headers.get("x-timestamp", "0")
    realm = front.realms.get(words[0].upper()) if len(words) == 3 else None
    key = await _key_of(front, request, account)
    if realm is None or not key or request.method not in _METHODS or not request.key or not stamp.isascii():
        raise _refused(request)
    path = quote(unquote_to_bytes(request.path))
    if not is_signed(words[2], request.method, path, stamp, words[1], realm=realm, user_key=key):
        raise _refused(request)
    return _accepted(front, request, account, stamp)


async def authenticate_by_key(front: SwiftFront, request: SwiftRequest, account: str) -> Principal | None:
    """The same for a bare key from an address of the operator's list; None for others, who are nobody."""
    if request.facts.source_ip not in front.sync.hosts or request.method not in _METHODS or "x-timestamp" not in request.headers:
        return None
    key = await _key_of(front, request, account)
    given = header_text(request.headers[KEY])
    if not key or not hmac.compare_digest(key.encode(), given.encode("utf-8", "surrogateescape")):
        return None
    return _accepted(front, request, account, request.headers["x-timestamp"])


def _accepted(front: SwiftFront, request: SwiftRequest, account: str, stamp: str) -> Principal:
    if any(name in request.query for name in _BULK):
        raise SwiftRefused(400, "Another cluster's request is for one object: no bulk operation.")
    as_of_us = parse_stamp(stamp)
    if as_of_us is None:
        raise SwiftRefused(400, "X-Timestamp should be a UNIX timestamp float value")
    if as_of_us > front.clock.wall_us() + MAX_AHEAD_US:
        raise SwiftRefused(400, "X-Timestamp is far in the future: see that the clocks of both clusters are set")
    request.as_of_us = as_of_us
    return Principal(account=account, user="container sync", arn=f"arn:aws:iam::{account}:root")


async def _key_of(front: SwiftFront, request: SwiftRequest, account: str) -> str:
    try:
        info = await front.store.find_bucket(Principal(account=account).at(account), request.container)
    except NoSuchBucket:
        return ""
    return info.config.get(SYNC_KEY, b"").decode()


def _refused(request: SwiftRequest) -> SwiftRefused:
    safe = "".join(char if char.isalnum() or char in "_-." else "_" for char in request.account) or "unknown"
    text = "X-Container-Sync-Auth header not valid; contact cluster operator for support."
    return SwiftRefused(401, text, [(b"www-authenticate", f'SwiftContainerSync realm="{safe}"'.encode())])
