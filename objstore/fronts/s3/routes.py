"""Which handler answers which request: one table by method, kind of resource and sub-resource.

Objects without a query, by far most requests, are found by method alone.  A sub-resource that S3 knows and this store
does not have is answered 501, never as if its query were not there; one that is merely unset has its own answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from objstore.errors import InvalidArgument
from objstore.fronts.s3 import (
    absent,
    acls,
    appending,
    bucket_logging,
    buckets,
    copying,
    cors,
    encryption_config,
    lifecycle,
    listing,
    locking,
    multipart,
    notification,
    objects,
    ownership,
    policies,
    post,
    quota,
    renaming,
    tagging,
    versioning,
    website,
)
from objstore.fronts.s3.context import Front, Response
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request

Handler = Callable[[Front, S3Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler and the name under which it is counted, Amazon's name for the call."""

    api: str
    handler: Handler


SERVICE: dict[str, Route] = {"GET": Route("ListBuckets", buckets.list_buckets)}

BUCKET: dict[tuple[str, str], Route] = {
    ("GET", ""): Route("ListObjects", listing.list_objects),
    ("GET", "list-type"): Route("ListObjectsV2", listing.list_objects_v2),
    ("GET", "versions"): Route("ListObjectVersions", listing.list_object_versions),
    ("GET", "uploads"): Route("ListMultipartUploads", multipart.list_multipart_uploads),
    ("GET", "location"): Route("GetBucketLocation", buckets.get_bucket_location),
    ("PUT", ""): Route("CreateBucket", buckets.create_bucket),
    ("HEAD", ""): Route("HeadBucket", buckets.head_bucket),
    ("DELETE", ""): Route("DeleteBucket", buckets.delete_bucket),
    ("POST", "delete"): Route("DeleteObjects", objects.delete_objects),
    **{("GET", name): Route(f"GetBucket:{name}", buckets.get_unset) for name in buckets.UNSET},
    **{("GET", name): Route(f"GetBucket:{name}", buckets.get_empty) for name in buckets.EMPTY},
    **{("DELETE", name): Route(f"DeleteBucket:{name}", buckets.delete_unset) for name in buckets.UNSET if name != "policyStatus"},
}

OBJECT: dict[tuple[str, str], Route] = {
    ("GET", ""): Route("GetObject", objects.get_object),
    ("PUT", ""): Route("PutObject", objects.put_object),
    ("HEAD", ""): Route("HeadObject", objects.head_object),
    ("DELETE", ""): Route("DeleteObject", objects.delete_object),
    ("GET", "tagging"): Route("GetObjectTagging", objects.get_object_tagging),
    ("PUT", "tagging"): Route("PutObjectTagging", objects.put_object_tagging),
    ("DELETE", "tagging"): Route("DeleteObjectTagging", objects.delete_object_tagging),
    ("GET", "attributes"): Route("GetObjectAttributes", objects.get_object_attributes),
    ("POST", "uploads"): Route("CreateMultipartUpload", multipart.create_multipart_upload),
    ("PUT", "uploadId"): Route("UploadPart", multipart.upload_part),
    ("POST", "uploadId"): Route("CompleteMultipartUpload", multipart.complete_multipart_upload),
    ("DELETE", "uploadId"): Route("AbortMultipartUpload", multipart.abort_multipart_upload),
    ("GET", "uploadId"): Route("ListParts", multipart.list_parts),
}
# Modules that bring their own: BUCKET_ROUTES and OBJECT_ROUTES, (method, sub-resource) -> (api, handler).  Theirs go before the above.
_MODULES: tuple[Any, ...] = (
    absent,
    bucket_logging,
    acls,
    cors,
    encryption_config,
    lifecycle,
    notification,
    locking,
    ownership,
    policies,
    post,
    quota,
    renaming,
    tagging,
    versioning,
    website,
)
for _module in _MODULES:
    BUCKET.update({key: Route(*found) for key, found in getattr(_module, "BUCKET_ROUTES", {}).items()})
    OBJECT.update({key: Route(*found) for key, found in getattr(_module, "OBJECT_ROUTES", {}).items()})
APPEND = Route("PutObject", appending.append_object)
COPY_OBJECT = Route("CopyObject", copying.copy_object)
UPLOAD_PART_COPY = Route("UploadPartCopy", copying.upload_part_copy)

# Everything that S3 calls a sub-resource, built here or not: none may be mistaken for a plain request.
_BUCKET_SUBRESOURCES = frozenset(
    (
        *(name for _, name in BUCKET if name), "abac", "analytics", "intelligent-tiering", "inventory", "metadataConfiguration",
        "metadataAnnotationTable", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "session",
    )
)  # fmt: skip
_OBJECT_SUBRESOURCES = frozenset((*(name for _, name in OBJECT if name), "annotation", "encryption", "restore", "select", "torrent"))

# What a query may hold besides: plain parameters, which may be empty.
_PARAMETERS = frozenset(
    (
        "bucket-region", "continuation-token", "delimiter", "encoding-type", "fetch-owner", "id", "key-marker", "marker", "max-buckets", "max-keys",
        "max-parts", "max-uploads", "part-number-marker", "partNumber", "prefix", "response-cache-control",
        "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type",
        "response-expires", "select-type", "start-after", "upload-id-marker", "version-id-marker", "versionId",
    )
)  # fmt: skip

# Methods that S3 has for a sub-resource of which only others are built.
_METHODS_UNBUILT = frozenset(("PUT", name) for name in (*buckets.UNSET, *buckets.EMPTY, *absent.BY_ID))


async def _not_allowed(_front: Front, request: S3Request) -> Response:
    """A method that this kind of resource does not have."""
    table = OBJECT if request.key else BUCKET if request.bucket else {(method, ""): route for method, route in SERVICE.items()}
    name = next((name for name in request.query if any(known == name for _, known in table)), "")
    kind = name or ("object" if request.key else "bucket" if request.bucket else "service")
    raise S3Refused(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        elements={"Method": request.method, "ResourceType": kind.upper()},
        headers=[(b"allow", ", ".join(sorted(method for method, known in table if known == name)).encode())],
    )


_NOT_ALLOWED = Route("MethodNotAllowed", _not_allowed)
_NOT_IMPLEMENTED = Route("NotImplemented", buckets.not_implemented)
_CONFLICTING = Route("Conflicting", buckets.conflicting)


async def _misplaced(_front: Front, request: S3Request) -> Response:
    """What names a version, or a part without its upload, and would otherwise write another object than is meant."""
    if "versionId" in request.query:
        raise InvalidArgument("This operation does not accept a version-id.", argument="versionId", value=request.query["versionId"])
    raise InvalidArgument("A part needs the id of its upload.", argument="uploadId", value="")


_MISPLACED = Route("Misplaced", _misplaced)
# Parameters that a call may not have, though others of the same method have them.
_NOT_WITH = {
    **dict.fromkeys(("PutObject", "CopyObject"), ("versionId", "partNumber")),
    **dict.fromkeys(("CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"), ("versionId",)),
}
PREFLIGHT = Route("OPTIONS", cors.preflight)
WEBSITE = Route("Website", website.serve)


def find(request: S3Request) -> Route:
    """The route of a request; there always is one."""
    if request.key:
        return _find_object(request)
    if not request.bucket:
        return SERVICE.get(request.method, _NOT_ALLOWED)
    return _find_in(BUCKET, _BUCKET_SUBRESOURCES, request)


def _find_object(request: S3Request) -> Route:
    route = OBJECT.get((request.method, "")) if not request.query else None
    if route is None:
        route = _find_in(OBJECT, _OBJECT_SUBRESOURCES, request)
    if request.method == "PUT" and appending.WRITE_OFFSET in request.headers and route.api == "PutObject":
        route = APPEND
    elif request.method == "PUT" and "x-amz-copy-source" in request.headers:
        if route.api == "PutObject":
            route = COPY_OBJECT
        elif route.api == "UploadPart":
            route = UPLOAD_PART_COPY
    return _MISPLACED if request.query and any(name in request.query for name in _NOT_WITH.get(route.api, ())) else route


def _find_in(table: dict[tuple[str, str], Route], known: frozenset[str], request: S3Request) -> Route:
    named = [name for name, value in request.query.items() if name in known or _looks_like_a_subresource(name, value)]
    if len(named) > 1:
        return _CONFLICTING
    name = named[0] if named else ""
    if name and name not in known:
        return _NOT_IMPLEMENTED
    route = table.get((request.method, name))
    if route is not None:
        return route
    built = not name or any(built == name for _, built in table)
    return _NOT_ALLOWED if built and (request.method, name) not in _METHODS_UNBUILT else _NOT_IMPLEMENTED


def _looks_like_a_subresource(name: str, value: str) -> bool:
    """A bare name that is no parameter: some later call of S3, not to be taken for the plain one."""
    return not value and name not in _PARAMETERS and not name.lower().startswith("x-")
