"""Listings: objects (versions 1 and 2 of the call) and versions of objects."""

import base64
import binascii
from collections.abc import Callable, Sequence
from functools import lru_cache

from objstore.core.timestamp import wall_us_of
from objstore.errors import InvalidArgument
from objstore.fronts.s3.context import Front, Response, xml_answer
from objstore.fronts.s3.params import STANDARD, parse_number, parse_version
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import iso_second, iso_time
from objstore.fronts.s3.xml import element, encoded_names, escape, flag, name_encoder
from objstore.objects.actions import Action
from objstore.objects.api import HeadPage, Heads, ListPage, ListQuery, ObjectInfo

MAX_KEYS = 1000
_EMPTY_PAGE = HeadPage(Heads([]), [], truncated=False)
_TOKEN_PREFIX = "1/"  # the form of continuation tokens, should another one be needed


def encoding_of(request: S3Request) -> str | None:
    """The encoding-type parameter.  Raises InvalidArgument."""
    encoding = request.query.get("encoding-type")
    if encoding is not None and encoding != "url":
        raise InvalidArgument("Invalid Encoding Method specified in Request", argument="encoding-type", value=encoding)
    return encoding


def continuation_token(after: str) -> str:
    """Where the next page begins, opaque to clients."""
    return base64.urlsafe_b64encode((_TOKEN_PREFIX + after).encode()).decode()


def parse_continuation_token(token: str) -> str:
    """The key behind a token; an empty token begins at the beginning.  Raises InvalidArgument."""
    if not token:
        return ""
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_TOKEN_PREFIX):
        raise InvalidArgument("The continuation token provided is incorrect", argument="continuation-token", value=token)
    return text.removeprefix(_TOKEN_PREFIX)


def prefixes_of(names: Sequence[str], encode: Callable[[str], str]) -> str:
    """CommonPrefixes elements."""
    return "".join([f"<CommonPrefixes><Prefix>{encode(name)}</Prefix></CommonPrefixes>" for name in names])


@lru_cache(maxsize=64)
def _checksum_elements(algorithm: str, kind: str) -> str:
    return f"<ChecksumAlgorithm>{algorithm.upper()}</ChecksumAlgorithm><ChecksumType>{kind}</ChecksumType>"


def _contents(heads: Heads, encode: Callable[[str], str], owner_of: Callable[[str], str] | None) -> list[str]:
    """Contents elements: nothing is made between a row and its element, and what is as in the row before is not looked up again."""
    out = []
    shown_second = -1
    time = checksum = owner = ""
    shown_checksum = ("", "")
    for row, key in zip(heads.rows(), encoded_names(heads.keys, encode), strict=True):
        second = (row.modified_us or wall_us_of(row.origin)) // 1_000_000
        if second != shown_second:
            shown_second, time = second, iso_second(second)
        algorithm = next(reversed(row.checksums), "")
        if algorithm != shown_checksum[0] or row.checksum_type != shown_checksum[1]:
            shown_checksum = (algorithm, row.checksum_type)
            checksum = _checksum_elements(algorithm, row.checksum_type) if algorithm else ""
        if owner_of is not None:
            owner = owner_of(row.owner)
        out.append(
            f"<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>&quot;{row.etag}&quot;</ETag>{checksum}"
            f"<Size>{row.size}</Size>{owner}<StorageClass>{row.storage_class or STANDARD}</StorageClass></Contents>"
        )
    return out


def owner_element(front: Front, tag: str = "Owner") -> Callable[[str], str]:
    """Renders the owner of an account's objects; remembers it, since a page names few accounts."""
    known: dict[str, str] = {}

    def render(account: str) -> str:
        text = known.get(account)
        if text is None:
            owner = front.credentials.owner_of(account)
            text = known[account] = f"<{tag}>{element('ID', owner.canonical_id)}{element('DisplayName', owner.display_name)}</{tag}>"
        return text

    return render


async def _page(front: Front, request: S3Request, after: str, limit: int) -> HeadPage:
    if limit == 0:
        await front.store.bucket(request.who, request.bucket)
        return _EMPTY_PAGE
    query = request.query
    asked = ListQuery(prefix=query.get("prefix", ""), delimiter=query.get("delimiter", ""), after=after, limit=limit)
    return await front.store.list(request.who, request.bucket, asked)


def _common(request: S3Request, page: ListPage, limit: int, encoding: str | None, encode: Callable[[str], str]) -> str:
    query = request.query
    delimiter = query.get("delimiter", "")
    return (
        f"<Name>{escape(request.bucket)}</Name><Prefix>{encode(query.get('prefix', ''))}</Prefix>"
        f"{f'<Delimiter>{encode(delimiter)}</Delimiter>' if delimiter else ''}<MaxKeys>{limit}</MaxKeys>"
        f"{'<EncodingType>url</EncodingType>' if encoding else ''}<IsTruncated>{flag(page.truncated)}</IsTruncated>"
    )


async def list_objects(front: Front, request: S3Request) -> Response:
    """ListObjects, version 1."""
    query = request.query
    encoding = encoding_of(request)
    encode = name_encoder(encoding)
    limit = parse_number(query.get("max-keys"), "max-keys", default=MAX_KEYS, most=MAX_KEYS)
    marker = query.get("marker", "")
    page = await _page(front, request, marker, limit)
    next_marker = f"<NextMarker>{encode(page.next_after)}</NextMarker>" if page.truncated and query.get("delimiter") else ""
    out = [_common(request, page, limit, encoding, encode), f"<Marker>{encode(marker)}</Marker>", next_marker]
    out += _contents(page.objects, encode, owner_element(front))
    out.append(prefixes_of(page.prefixes, encode))
    return xml_answer("ListBucketResult", out, [_region(front)])


async def list_objects_v2(front: Front, request: S3Request) -> Response:
    """ListObjectsV2."""
    query = request.query
    encoding = encoding_of(request)
    encode = name_encoder(encoding)
    limit = parse_number(query.get("max-keys"), "max-keys", default=MAX_KEYS, most=MAX_KEYS)
    token = query.get("continuation-token")
    start_after = query.get("start-after")
    after = parse_continuation_token(token) if token else start_after or ""
    page = await _page(front, request, after, limit)
    owner = owner_element(front) if query.get("fetch-owner") == "true" else None
    out = [_common(request, page, limit, encoding, encode), f"<KeyCount>{len(page.objects) + len(page.prefixes)}</KeyCount>"]
    if token is not None:
        out.append(element("ContinuationToken", token))
    if page.truncated:
        out.append(element("NextContinuationToken", continuation_token(page.next_after)))
    if start_after is not None:
        out.append(f"<StartAfter>{encode(start_after)}</StartAfter>")
    out += _contents(page.objects, encode, owner)
    out.append(prefixes_of(page.prefixes, encode))
    return xml_answer("ListBucketResult", out, [_region(front)])


def _region(front: Front) -> tuple[bytes, bytes]:
    return (b"x-amz-bucket-region", front.settings.region.encode())


async def list_object_versions(front: Front, request: S3Request) -> Response:
    """ListObjectVersions: Version and DeleteMarker elements in one order; what was written unversioned is version "null"."""
    query = request.query
    encoding = encoding_of(request)
    encode = name_encoder(encoding)
    limit = parse_number(query.get("max-keys"), "max-keys", default=MAX_KEYS, most=MAX_KEYS)
    key_marker, version_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    if version_marker and not key_marker:
        raise InvalidArgument(
            "A version-id marker cannot be specified without a key marker.", argument="version-id-marker", value=version_marker
        )
    if limit == 0:
        await front.store.bucket(request.who, request.bucket, Action.LIST_VERSIONS)
        page: ListPage = _EMPTY_PAGE
    else:
        asked = ListQuery(query.get("prefix", ""), query.get("delimiter", ""), key_marker, limit)
        after_version = parse_version(version_marker or None)
        page = await front.store.list_versions(request.who, request.bucket, asked, after_version=after_version)
    out = [_common(request, page, limit, encoding, encode), f"<KeyMarker>{encode(key_marker)}</KeyMarker>"]
    out.append(element("VersionIdMarker", version_marker))
    if page.truncated:
        out.append(_next_version(page, encode))
    owner = owner_element(front)
    out += [_version(info, encode, owner) for info in page.objects]
    out.append(prefixes_of(page.prefixes, encode))
    return xml_answer("ListVersionsResult", out)


def _next_version(page: ListPage, encode: Callable[[str], str]) -> str:
    version = element("NextVersionIdMarker", page.next_version) if page.next_version else ""
    return f"<NextKeyMarker>{encode(page.next_after)}</NextKeyMarker>{version}"


def _version(info: ObjectInfo, encode: Callable[[str], str], owner: Callable[[str], str]) -> str:
    head = (
        f"<Key>{encode(info.key)}</Key><VersionId>{info.version_id or 'null'}</VersionId><IsLatest>{flag(info.is_latest)}</IsLatest>"
        f"<LastModified>{iso_time(info.modified_us)}</LastModified>"
    )
    if info.is_delete_marker:
        return f"<DeleteMarker>{head}{owner(info.owner)}</DeleteMarker>"
    checksum = "".join([_checksum_elements(algorithm, info.checksum_type) for algorithm in info.checksums][:1])
    return (
        f"<Version>{head}<ETag>&quot;{info.etag}&quot;</ETag>{checksum}<Size>{info.size}</Size>{owner(info.owner)}"
        f"<StorageClass>{info.storage_class or STANDARD}</StorageClass></Version>"
    )
