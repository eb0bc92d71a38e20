"""Signed addresses (TempURL): who has one may do one thing to one object, or to all below a prefix, for a while.

    signature = HMAC(key, [ "ip=" range "\\n" ] method "\\n" expires "\\n" [ "prefix:" ] path)

The key is one of two of the account or of the container, the digest SHA-1, SHA-256 or SHA-512.
"""

import base64
import binascii
import hmac
from calendar import timegm
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from urllib.parse import quote

from objstore.core.container import decode_container
from objstore.errors import NoSuchBucket
from objstore.fronts.dates import http_time
from objstore.fronts.swift.answers import Headers, SwiftRefused, unauthorized
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.request import SwiftRequest
from objstore.objects.api import Principal

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
DIGESTS = {"sha1": 20, "sha256": 32, "sha512": 64}
KEY_NAMES = ("temp-url-key", "temp-url-key-2")
# A HEAD may be made with what was signed for these.
_HEAD_BY = ("HEAD", "GET", "POST", "PUT")
# What would reach other objects than the one that is signed, with all the rights of the account (CVE-2015-5223, CVE-2026-71191).
_FORBIDDEN_HEADERS = (
    "x-object-manifest", "x-symlink-target", "x-symlink-target-account", "x-symlink-target-etag", "x-copy-from", "x-copy-from-account",
)  # fmt: skip
_FORBIDDEN_PARAMETERS = ("bulk-delete", "extract-archive", "version-id")
_ISO_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")
_MAX_CHARS = 2048
_LATEST_S = 253_402_300_799  # the last second of the year 9999: HTTP writes no later date
_PRIVATE, _PUBLIC = b"x-object-meta-", b"x-object-meta-public-"


async def check_temp_url(front: SwiftFront, request: SwiftRequest, account: str) -> None:
    """See that the address is signed for this very request.  Raises SwiftRefused (401, 400, 405)."""
    query = request.query
    refused = SwiftRefused(401, "Temp URL invalid", unauthorized(request.account).headers[1:])
    signature, expires_text = query.get("temp_url_sig", ""), query.get("temp_url_expires", "")
    expires = _expires_s(expires_text)
    if not signature or not expires_text or expires is None or not request.key or len(signature) > _MAX_CHARS:
        raise refused
    if request.method not in METHODS:
        raise SwiftRefused(405, headers=[(b"allow", ", ".join(METHODS).encode())])
    if expires <= front.clock.wall_us() // 1_000_000:
        raise refused
    found = digest_of(signature)
    if found is None:
        raise refused
    algorithm, given = found
    path = f"/v1/{request.account}/{request.container}/{request.key}"
    prefix = query.get("temp_url_prefix")
    if prefix is not None:
        if not request.key.startswith(prefix):
            raise refused
        path = f"prefix:/v1/{request.account}/{request.container}/{prefix}"
    ip_range = query.get("temp_url_ip_range")
    if ip_range is not None and not _is_within(request.facts.source_ip, ip_range):
        raise refused
    start = f"ip={ip_range}\n" if ip_range is not None else ""
    keys = await keys_of(front, request, account)
    for method in _HEAD_BY if request.method == "HEAD" else (request.method,):
        message = f"{start}{method}\n{expires}\n{path}".encode()
        found_key = next((key for key in keys if hmac.compare_digest(hmac.digest(key.encode(), message, algorithm), given)), None)
        if found_key is not None:
            break
    else:
        raise refused
    _check_reach(request)
    request.temp_url = request.method
    metadata = await front.store.account_metadata(account)
    if found_key not in [metadata.get(name) for name in KEY_NAMES]:
        request.temp_url_container = request.container


def _check_reach(request: SwiftRequest) -> None:
    """See that neither headers nor query, which are not signed, make more of the request than it says.  Raises SwiftRefused."""
    reading = request.method in ("GET", "HEAD")
    if not reading and any(name in request.headers for name in _FORBIDDEN_HEADERS):
        raise SwiftRefused(400, "X-Object-Manifest, X-Symlink-* and X-Copy-From cannot be sent to a temporary URL.")
    manifest = request.query.get("multipart-manifest")
    if any(name in request.query for name in _FORBIDDEN_PARAMETERS) or (manifest is not None and not (reading and manifest == "get")):
        raise SwiftRefused(400, "A temporary URL is for one object: no bulk operation, no other version, no manifest to be written.")


def without_private(headers: Headers) -> Headers:
    """What an answer to a signed request shows: of the object's metadata what is said to be public, as in Swift."""
    return [header for header in headers if not header[0].startswith(_PRIVATE) or header[0].startswith(_PUBLIC)]


def disposition(request: SwiftRequest, headers: Headers) -> None:
    """What the answer to a GET or HEAD by a signed address says of saving the file."""
    query = request.query
    name = query.get("filename", "")
    kept = b"" if name or "inline" in query else next((value for key, value in headers if key == b"content-disposition"), b"")
    headers[:] = [header for header in headers if header[0] not in (b"expires", b"content-disposition")]
    kind = "inline" if "inline" in query else "attachment"
    if not name and kind == "attachment":
        name = request.key.rstrip("/").rpartition("/")[2]
    headers.append((b"content-disposition", kept or (f"{kind}; {_filename(name)}" if name else kind).encode()))
    expires = _expires_s(query.get("temp_url_expires", ""))
    if expires is not None:
        headers.append((b"expires", http_time(min(expires, _LATEST_S) * 1_000_000)))


def _filename(name: str) -> str:
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in name)
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _expires_s(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    for form in _ISO_FORMATS:
        try:
            return timegm(datetime.strptime(text, form).replace(tzinfo=UTC).timetuple())
        except ValueError:
            continue
    return None


def digest_of(text: str) -> tuple[str, bytes] | None:
    """(algorithm, digest) of a signature: hexadecimal, or algorithm:base64."""
    name, colon, encoded = text.partition(":")
    if colon:
        try:
            digest = base64.b64decode(encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            return None
        return (name, digest) if DIGESTS.get(name) == len(digest) else None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return None
    return next(((algorithm, digest) for algorithm, size in DIGESTS.items() if size == len(digest)), None)


def _is_within(address: str, wanted: str) -> bool:
    try:
        return ip_address(address) in ip_network(wanted, strict=False)
    except ValueError:
        return False


async def keys_of(front: SwiftFront, request: SwiftRequest, account: str) -> list[str]:
    """The keys that sign for the container of a request, and for its account."""
    metadata = await front.store.account_metadata(account)
    keys = [metadata[name] for name in KEY_NAMES if metadata.get(name)]
    try:
        info = await front.store.find_bucket(Principal(account=account).at(account), request.container)
    except NoSuchBucket:
        return keys
    container = decode_container(info.config.get("container", b"")).metadata
    return keys + [container[name] for name in KEY_NAMES if container.get(name)]
