"""Headers of Swift requests and answers, to and from the object model's values."""

from collections.abc import Mapping

from objstore.core.etag import parse_etags
from objstore.errors import MetadataTooLarge
from objstore.fronts.dates import http_time, parse_http_date
from objstore.fronts.swift.answers import Headers, SwiftRefused
from objstore.fronts.swift.request import header_bytes, header_text
from objstore.fronts.swift.times import timestamp
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, ObjectInfo

OBJECT_META, CONTAINER_META, ACCOUNT_META = "x-object-meta-", "x-container-meta-", "x-account-meta-"
MAX_META_NAME, MAX_META_VALUE, MAX_META_COUNT, MAX_META_BYTES = 128, 256, 90, 4096
# What is stored with an object besides its type and its metadata.
STORED = ("content-encoding", "content-disposition", "content-language", "cache-control", "expires", "x-object-manifest")
EXPIRES_AT, EXPIRES_AFTER, REMOVE_EXPIRY = "x-delete-at", "x-delete-after", "x-remove-delete-at"
MAX_TIMESTAMP_DIGITS = 15
LATEST_S = 9_999_999_999  # later times mean this one, as in Swift
DEFAULT_TYPE = "application/octet-stream"


def metadata_of(headers: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Metadata by lower-case name without its prefix; empty values too.  Raises SwiftRefused."""
    found = {name[len(prefix) :]: header_text(value) for name, value in headers.items() if name.startswith(prefix)}
    total = 0
    for name, value in found.items():
        if not name:
            raise SwiftRefused(400, "Metadata name cannot be empty")
        if len(name) > MAX_META_NAME:
            raise SwiftRefused(400, f"Metadata name too long: {prefix}{name[:40]}...; {MAX_META_NAME} characters are allowed")
        if len(value.encode("utf-8", "surrogateescape")) > MAX_META_VALUE:
            raise SwiftRefused(400, f"Metadata value longer than {MAX_META_VALUE}: {prefix}{name}")
        total += len(name) + len(value.encode("utf-8", "surrogateescape"))
    if len(found) > MAX_META_COUNT:
        raise SwiftRefused(400, f"Too many metadata items; max {MAX_META_COUNT}")
    if total > MAX_META_BYTES:
        raise MetadataTooLarge(f"Total metadata too large; max {MAX_META_BYTES}", size=total, limit=MAX_META_BYTES)
    return found


def changes_of(headers: Mapping[str, str], kind: str) -> dict[str, str]:
    """Changes to metadata of a "container" or "account": empty values and X-Remove-* take names away.  Raises SwiftRefused."""
    prefix = f"x-{kind}-meta-"
    changes = metadata_of(headers, prefix)
    removed = f"x-remove-{kind}-meta-"
    for name in headers:
        if name.startswith(removed) and len(name) > len(removed):
            changes.setdefault(name[len(removed) :], "")
    return changes


def attributes_of(headers: Mapping[str, str], now_us: int, *, content_type: str) -> Attributes:
    """What a writer says about an object besides its bytes.  Raises SwiftRefused."""
    stored = {name: header_text(headers[name]) for name in STORED if headers.get(name)}
    expires = expiry_of(headers, now_us)
    if expires is not None:
        stored[EXPIRES_AT] = str(expires)
    return Attributes(content_type=content_type, headers=stored, metadata=metadata_of(headers, OBJECT_META))


def expiry_of(headers: Mapping[str, str], now_us: int) -> int | None:
    """When the object goes, in seconds since 1970; None when nothing is said.  Raises SwiftRefused."""
    if REMOVE_EXPIRY in headers:
        return None
    now_s = now_us // 1_000_000
    after = headers.get(EXPIRES_AFTER)
    if after:
        value = now_s + _seconds(after, "X-Delete-After")
    elif headers.get(EXPIRES_AT):
        value = _seconds(headers[EXPIRES_AT], "X-Delete-At")
    else:
        return None
    if value <= now_s:
        raise SwiftRefused(400, f"{'X-Delete-After' if after else 'X-Delete-At'} in past")
    return min(value, LATEST_S)


def _seconds(text: str, name: str) -> int:
    stripped = text.strip()
    digits = stripped.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_TIMESTAMP_DIGITS:
        raise SwiftRefused(400, f"Non-integer {name}")
    return int(stripped)


def conditions_of(headers: Mapping[str, str]) -> Conditions:
    """Conditional headers."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    modified, unmodified = headers.get("if-modified-since"), headers.get("if-unmodified-since")
    if match is None and none_match is None and modified is None and unmodified is None:
        return NO_CONDITIONS
    return Conditions(
        if_match=None if match is None else parse_etags(match),
        if_none_match=None if none_match is None else parse_etags(none_match),
        if_modified_since_us=parse_http_date(modified),
        if_unmodified_since_us=parse_http_date(unmodified),
    )


def write_conditions(headers: Mapping[str, str]) -> Conditions:
    """The one condition that a write may have.  Raises SwiftRefused."""
    none_match = headers.get("if-none-match")
    if none_match is None:
        return NO_CONDITIONS
    if none_match.strip() != "*":
        raise SwiftRefused(400, "If-None-Match only supports *")
    return Conditions(if_none_match=("*",))


def object_headers(info: ObjectInfo) -> Headers:
    """What GET and HEAD say of an object, but for its length."""
    headers: Headers = [
        (b"content-type", header_bytes(info.content_type) or DEFAULT_TYPE.encode()),
        (b"etag", etag_header(info)),
        (b"last-modified", http_time(-(-info.modified_us // 1_000_000) * 1_000_000)),  # rounded up, so that If-Modified-Since holds
        (b"x-timestamp", timestamp(info.modified_us).encode()),
        (b"accept-ranges", b"bytes"),
    ]
    headers += [(name.encode(), header_bytes(value)) for name, value in info.headers.items()]
    headers += [(b"x-object-meta-" + header_bytes(name), header_bytes(value)) for name, value in info.metadata.items()]
    if info.version_id:
        headers.append((b"x-object-version-id", info.version_id.encode()))
    if info.part_count:
        headers.append((b"x-static-large-object", b"True"))
    return headers


def written_headers(info: ObjectInfo) -> Headers:
    """What the answer to a write says of the object."""
    headers: Headers = [
        (b"etag", etag_header(info)),
        (b"last-modified", http_time(-(-info.modified_us // 1_000_000) * 1_000_000)),
        (b"x-timestamp", timestamp(info.modified_us).encode()),
    ]
    if info.version_id:
        headers.append((b"x-object-version-id", info.version_id.encode()))
    return headers


def etag_header(info: ObjectInfo) -> bytes:
    """The ETag: bare for the MD5 of one body, quoted for what was made of parts, without S3's count of them."""
    return b'"%s"' % large_etag(info).encode() if info.part_count else info.etag.encode()


def large_etag(info: ObjectInfo) -> str:
    """The ETag of what was made of parts, as Swift shows it."""
    return info.etag.partition("-")[0]


def shown_metadata(metadata: Mapping[str, str], prefix: str) -> Headers:
    """Metadata as headers."""
    return [(prefix.encode() + header_bytes(name), header_bytes(value)) for name, value in metadata.items()]
