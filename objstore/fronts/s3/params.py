"""Headers and parameters of S3 requests, parsed: total functions from text to the object model's values."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from objstore.core.acl import Acl
from objstore.core.encryption import NO_WISH, Wish
from objstore.core.etag import parse_etags
from objstore.core.locks import MODES, ObjectLock
from objstore.core.names import split_copy_source
from objstore.core.ranges import parse_range
from objstore.core.sigv4 import decode_component, split_query
from objstore.core.timestamp import parse_version_id
from objstore.errors import InvalidArgument, MetadataTooLarge, NotImplementedHere
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.times import parse_date, parse_http_date, parse_iso_date
from objstore.objects.api import NO_CONDITIONS, Attributes, ByteRange, Conditions, CopySource

MAX_TAGS = 10
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
LOCK_MODE = "x-amz-object-lock-mode"
LOCK_UNTIL = "x-amz-object-lock-retain-until-date"
LOCK_HOLD = "x-amz-object-lock-legal-hold"
STANDARD = "STANDARD"
META_PREFIX = "x-amz-meta-"
REDIRECT_LOCATION = "x-amz-website-redirect-location"  # kept with the headers, obeyed on website endpoints alone
STORED_HEADERS = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires", REDIRECT_LOCATION)
MAX_STORED_CHARS = 8192  # of these and Content-Type: they travel with every row of every listing
MAX_REDIRECT_LOCATION = 2048
NULL_VERSION = "null"

_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})")
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_RAW_BASE = 0xEF00  # a private-use code point stands for a byte that is not UTF-8
_RAW = re.compile("[\uef80-\uefff]")
_ALL_RAW = re.compile("[\\x00-\x7f\uef80-\uefff]*")


def header_text(value: str) -> str:
    """A header value (one character a byte) as text: UTF-8 where it is that, else byte for byte, so that it comes back the same."""
    if value.isascii():
        return value
    raw = value.encode("latin-1")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if text and _RAW.search(text) is None:
        return text
    return "".join([chr(byte) if byte < 0x80 else chr(_RAW_BASE + byte) for byte in raw])


def header_bytes(text: str) -> bytes:
    """The header value behind `header_text`."""
    if text.isascii():
        return text.encode()
    if _ALL_RAW.fullmatch(text) is not None:  # anything else it never made
        return bytes([ord(char) & 0xFF for char in text])
    return text.encode()


def conditions_of(headers: Mapping[str, str], prefix: str = "") -> Conditions:
    """Conditional headers; with a prefix those of a copy's source."""
    match = headers.get(prefix + "if-match")
    none_match = headers.get(prefix + "if-none-match")
    modified = headers.get(prefix + "if-modified-since")
    unmodified = headers.get(prefix + "if-unmodified-since")
    if match is None and none_match is None and modified is None and unmodified is None:
        return NO_CONDITIONS
    return Conditions(
        if_match=None if match is None else parse_etags(match),
        if_none_match=None if none_match is None else parse_etags(none_match),
        if_modified_since_us=parse_http_date(modified),
        if_unmodified_since_us=parse_http_date(unmodified),
    )


def delete_conditions_of(headers: Mapping[str, str]) -> Conditions:
    """Conditions of a delete: besides those of any write the size and the time of modification.  Raises InvalidArgument."""
    conditions = conditions_of(headers)
    size, time = headers.get("x-amz-if-match-size"), headers.get("x-amz-if-match-last-modified-time")
    if size is None and time is None:
        return conditions
    if size is not None and not (size.isascii() and size.isdigit() and len(size) <= 19):
        raise InvalidArgument("The value specified in the x-amz-if-match-size header is not valid.")
    modified = None if time is None else parse_date(time)
    if time is not None and modified is None:
        raise InvalidArgument("The value specified in the x-amz-if-match-last-modified-time header is not valid.")
    return dataclasses.replace(conditions, if_match_size=None if size is None else int(size), if_match_modified_us=modified)


def range_of(headers: Mapping[str, str]) -> ByteRange | None:
    """The Range header; anything but one good range, several too, means the whole object, as on Amazon."""
    text = headers.get("range")
    found = None if text is None else parse_range(text)
    return None if found is None else ByteRange(*found)


def parse_copy_range(text: str | None) -> tuple[int | None, int | None]:
    """x-amz-copy-source-range.  Raises InvalidArgument."""
    if text is None:
        return None, None
    match = _COPY_RANGE.fullmatch(text)
    if match is None or int(match.group(1)) > int(match.group(2)):
        raise InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last.", argument="x-amz-copy-source-range", value=text
        )
    return int(match.group(1)), int(match.group(2))


def parse_version(text: str | None) -> str:
    """A version id, "null" or nothing.  Raises InvalidArgument."""
    if text is None:
        return ""
    if text != NULL_VERSION and parse_version_id(text) is None:
        raise InvalidArgument("Invalid version id specified", argument="versionId", value=text)
    return text


def parse_number(text: str | None, name: str, *, default: int, least: int = 0, most: int = 2**31 - 1) -> int:
    """A number in [least, most], capped at `most`.  Raises InvalidArgument."""
    if text is None or not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise InvalidArgument(f"Provided {name} not an integer or within integer range", argument=name, value=text)
    value = int(text)
    if value < least or value > 2**31 - 1:
        raise InvalidArgument(f"Argument {name} must be an integer between {least} and {2**31 - 1}", argument=name, value=text)
    return min(value, most)


def parse_part_number(text: str | None) -> int:
    """A part number, 1 to 10,000.  Raises InvalidArgument."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 5 or not 1 <= int(text) <= 10_000:
        raise InvalidArgument("Part number must be an integer between 1 and 10000, inclusive", argument="partNumber", value=text or "")
    return int(text)


def stored_encoding(value: str) -> str:
    """Content-Encoding without aws-chunked, which belongs to the transfer."""
    return ",".join(item.strip() for item in value.split(",") if item.strip().lower() != "aws-chunked")


def metadata_of(amz: Mapping[str, str]) -> dict[str, str]:
    """User metadata by lower-case name without its prefix."""
    return {name[len(META_PREFIX) :]: header_text(value) for name, value in amz.items() if name.startswith(META_PREFIX)}


def attributes_of(headers: Mapping[str, str], amz: Mapping[str, str], encryption: Wish = NO_WISH, acl: Acl | None = None) -> Attributes:
    """What the writer says about an object besides its bytes; `amz` are the x-amz-* headers among `headers`."""
    stored: dict[str, str] = {}
    for name in STORED_HEADERS:
        value = headers.get(name)
        if value is not None:
            if name == REDIRECT_LOCATION:
                _check_redirect_location(value)
            text = header_text(stored_encoding(value) if name == "content-encoding" else value)
            if text:
                stored[name] = text
    tagging = amz.get("x-amz-tagging")
    content_type = header_text(headers.get("content-type", ""))
    if len(content_type) + sum(map(len, stored.values())) > MAX_STORED_CHARS:
        raise MetadataTooLarge(f"the headers that are kept with an object have at most {MAX_STORED_CHARS} characters together")
    return Attributes(
        content_type=content_type,
        headers=stored,
        metadata=metadata_of(amz),
        tags=parse_tagging_header(tagging) if tagging else {},
        lock=lock_of(amz),
        encryption=encryption,
        acl=acl,
        storage_class=storage_class_of(amz),
    )


def storage_class_of(amz: Mapping[str, str]) -> str:
    """The storage class as rows have it: empty for STANDARD."""
    wanted = amz.get("x-amz-storage-class", STANDARD)
    return "" if wanted == STANDARD else wanted


def bypass_of(amz: Mapping[str, str]) -> bool:
    """Whether the caller wants GOVERNANCE retention lifted."""
    return amz.get("x-amz-bypass-governance-retention", "").lower() == "true"


def lock_of(amz: Mapping[str, str]) -> ObjectLock | None:
    """The x-amz-object-lock-* headers; None when there are none.  Raises InvalidArgument."""
    mode, until, hold = amz.get(LOCK_MODE), amz.get(LOCK_UNTIL), amz.get(LOCK_HOLD)
    if mode is None and until is None and hold is None:
        return None
    if (mode is None) != (until is None):
        raise InvalidArgument("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
    if mode is not None and mode not in MODES:
        raise InvalidArgument("Unknown wormMode directive.")
    until_us = None if until is None else parse_iso_date(until)
    if until is not None and until_us is None:
        raise InvalidArgument("The retain until date must be provided in ISO 8601 format")
    if hold not in (None, "ON", "OFF"):
        raise InvalidArgument("Legal Hold must be either of 'ON' or 'OFF'")
    return ObjectLock(mode or "", until_us or 0, hold == "ON")


def _check_redirect_location(value: str) -> None:
    if not value.startswith(("/", "http://", "https://")):
        raise S3Refused(
            400,
            "InvalidRedirectLocation",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        )
    if len(value) > MAX_REDIRECT_LOCATION:
        raise S3Refused(
            400, "InvalidRedirectLocation", f"The length of website redirect location cannot exceed {MAX_REDIRECT_LOCATION} characters."
        )


def check_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Tags of an object within their limits.  Raises InvalidTag."""
    if len(pairs) > MAX_TAGS:
        raise S3Refused(400, "InvalidTag", "Object tags cannot be greater than 10")
    tags: dict[str, str] = {}
    for name, value in pairs:
        check_own_tag(name, value)
        if name in tags:
            raise S3Refused(400, "InvalidTag", "Cannot provide multiple Tags with the same key", elements={"TagKey": name})
        tags[name] = value
    return tags


def check_tag(name: str, value: str) -> None:
    """One tag within its limits.  Raises InvalidTag."""
    if not 1 <= len(name) <= MAX_TAG_KEY or _TAG_TEXT.fullmatch(name) is None:
        raise S3Refused(400, "InvalidTag", "The TagKey you have provided is invalid", elements={"TagKey": name})
    if len(value) > MAX_TAG_VALUE or _TAG_TEXT.fullmatch(value) is None:
        raise S3Refused(400, "InvalidTag", "The TagValue you have provided is invalid", elements={"TagValue": value})


def check_own_tag(name: str, value: str) -> None:
    """One tag that a caller sets, within its limits.  Raises InvalidTag."""
    check_tag(name, value)
    if name.lower().startswith("aws:"):
        raise S3Refused(400, "InvalidTag", "System tags cannot be added/updated by requester", elements={"TagKey": name})


def parse_tagging_header(text: str) -> dict[str, str]:
    """x-amz-tagging: tags as a query string."""
    try:
        return check_tags([(decode_component(name).decode(), decode_component(value).decode()) for name, value in split_query(text)])
    except UnicodeDecodeError:
        raise InvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters.") from None


def parse_copy_source(headers: Mapping[str, str], customer_key: bytes = b"") -> CopySource:
    """x-amz-copy-source with its conditions and range.  Raises InvalidArgument."""
    value = headers["x-amz-copy-source"]
    try:
        path, version = split_copy_source(value)
    except UnicodeDecodeError:
        raise InvalidArgument("The x-amz-copy-source value must be percent-encoded UTF-8.") from None
    bucket, _, key = path.partition("/")
    if not bucket or not key:
        raise InvalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    first, last = parse_copy_range(headers.get("x-amz-copy-source-range"))
    conditions = conditions_of(headers, "x-amz-copy-source-")
    return CopySource(bucket, key, parse_version(version or None), conditions, first, last, customer_key)


_NOT_BUILT = ("x-amz-rename-source",)


def refuse_unbuilt(amz: Mapping[str, str], storage_classes: Sequence[str] = ()) -> None:
    """Refuse what would otherwise be promised and not kept: storage classes that the store was not given."""
    for name in amz:
        if name.startswith(_NOT_BUILT):
            raise NotImplementedHere(f"A header you provided implies functionality that is not implemented: {name}")
    wanted = amz.get("x-amz-storage-class", STANDARD)
    if wanted != STANDARD and wanted not in storage_classes:
        raise S3Refused(
            400, "InvalidStorageClass", "The storage class you specified is not valid",
            hint=f"There {'are' if storage_classes else 'is'} {', '.join((STANDARD, *storage_classes))}.", elements={"StorageClassRequested": wanted},
        )  # fmt: skip
