"""S3's error codes: one table from our errors to theirs, and the answer a client gets.

Codes, statuses and messages are Amazon's, since clients compare them; `<Hint>` adds what to do next.  What another node
or a disk said never leaves through here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from objstore import errors
from objstore.core.sigv4 import MAX_SKEW_S, Problem, SignatureRefused
from objstore.fronts.s3.hints import HINTS
from objstore.fronts.s3.times import http_time, iso_time
from objstore.fronts.s3.xml import DECLARATION, element, escape

RETRY_AFTER = (b"retry-after", b"1")


@dataclass(frozen=True)
class Row:
    """How one kind of error is shown; an empty message means the error's own."""

    status: int
    code: str
    message: str = ""
    hint: str = ""


_UNAVAILABLE = Row(503, "ServiceUnavailable", "Please reduce your request rate, or try again in a moment.", "Retry with back-off.")
_INTERNAL = Row(500, "InternalError", "We encountered an internal error. Please try again.", "Give the request id to the operator.")

TABLE: Mapping[type[errors.ObjstoreError], Row] = {
    errors.NoSuchBucket: Row(404, "NoSuchBucket", "The specified bucket does not exist", "Create it, or list the buckets you own."),
    errors.NoSuchKey: Row(404, "NoSuchKey", "The specified key does not exist."),
    errors.NoSuchVersion: Row(404, "NoSuchVersion", "The specified version does not exist."),
    errors.VersionIsMarker: Row(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        "This version is a delete marker, which can only be deleted; list the versions (?versions) to find one with bytes.",
    ),
    errors.NoSuchConfig: Row(404, "NoSuchConfiguration", "The specified configuration does not exist."),
    errors.NoSuchUpload: Row(
        404,
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        "List the uploads of the bucket, or begin a new one.",
    ),
    errors.BucketAlreadyOwnedByYou: Row(
        409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it."
    ),
    errors.BucketAlreadyExists: Row(
        409,
        "BucketAlreadyExists",
        "The requested bucket name is not available. Please select a different name and try again.",
        "Accounts of a tenant share the names of buckets.",
    ),
    errors.BucketNotEmpty: Row(
        409, "BucketNotEmpty", "The bucket you tried to delete is not empty", "Delete its objects, versions and delete markers first."
    ),
    errors.InvalidBucketName: Row(
        400, "InvalidBucketName", "The specified bucket is not valid.", "3 to 63 characters of a-z, 0-9, dots and hyphens."
    ),
    errors.KeyTooLong: Row(400, "KeyTooLongError", "Your key is too long", "A key is at most 1,024 bytes of UTF-8."),
    errors.InvalidKey: Row(400, "InvalidArgument"),
    errors.MetadataTooLarge: Row(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"),
    errors.EntityTooLarge: Row(
        400,
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size",
        "Use a multipart upload for more than 5 GiB; the file of a form may have what the form's policy allows.",
    ),
    errors.QuotaExceeded: Row(403, "QuotaExceeded", "The quota of the bucket is used up.", "Delete something, or have the quota raised."),
    errors.EntityTooSmall: Row(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"),
    errors.InvalidPart: Row(
        400,
        "InvalidPart",
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not "
        "match the part's entity tag.",
    ),
    errors.InvalidPartNumber: Row(416, "InvalidPartNumber", "The requested partnumber is not satisfiable"),
    errors.InvalidPartOrder: Row(
        400, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number."
    ),
    errors.InvalidArgument: Row(400, "InvalidArgument"),
    errors.MalformedPolicy: Row(400, "MalformedPolicy", hint="`objstore policy explain` shows what a policy decides, before it is set."),
    errors.AclAgainstOwnership: Row(
        400,
        "InvalidBucketAclWithObjectOwnership",
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        "Make the ACL private, or choose another object ownership.",
    ),
    errors.AclAgainstBlock: Row(
        400,
        "InvalidBucketAclWithBlockPublicAccessError",
        "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
        "Make the bucket, take its public access block away, then set its ACL.",
    ),
    errors.AclNotSupported: Row(
        400,
        "AccessControlListNotSupported",
        "The bucket does not allow ACLs",
        "Set another object ownership first, or use a bucket policy.",
    ),
    errors.InvalidRequest: Row(400, "InvalidRequest"),
    errors.InvalidWriteOffset: Row(
        400,
        "InvalidWriteOffset",
        "The write offset value that you specified does not match the current object size.",
        "Ask for the object's size (HeadObject), then append there.",
    ),
    errors.TooManyParts: Row(
        400,
        "TooManyParts",
        "You have attempted to add more parts than the maximum of 10000 that are allowed for this object.",
        "Copy the object (CopyObject), which makes one piece of it.",
    ),
    errors.InvalidRange: Row(416, "InvalidRange", "The requested range is not satisfiable"),
    errors.PreconditionFailed: Row(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    errors.NotModified: Row(304, "NotModified", "Not Modified"),
    errors.ConditionalConflict: Row(
        409,
        "ConditionalRequestConflict",
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
        "Read the object again, then decide whether to retry.",
    ),
    errors.InvalidBucketState: Row(409, "InvalidBucketState"),
    errors.InvalidRetentionPeriod: Row(400, "InvalidRetentionPeriod"),
    errors.IncompleteBody: Row(400, "IncompleteBody"),
    errors.BadDigest: Row(400, "BadDigest"),
    errors.InvalidDigest: Row(400, "InvalidDigest"),
    errors.MalformedXml: Row(
        400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    ),
    errors.AccessDenied: Row(403, "AccessDenied", "Access Denied"),
    errors.NotImplementedHere: Row(501, "NotImplemented", hint="docs/reference/s3.md lists every operation and what is built of it."),
    errors.KeyNotFound: Row(400, "KMS.NotFoundException", hint="Name a key that the store's key service holds."),
    errors.KeyServiceUnavailable: _UNAVAILABLE,
    errors.StaleEpoch: _UNAVAILABLE,
    errors.NewerEpoch: _UNAVAILABLE,
    errors.WrongIncarnation: _UNAVAILABLE,
    errors.NoSuchDevice: _UNAVAILABLE,
    errors.BallotTooFarAhead: _UNAVAILABLE,
    errors.ProtocolMismatch: _UNAVAILABLE,
    errors.QuorumLost: _UNAVAILABLE,
    errors.OutcomeUnknown: Row(
        503, "ServiceUnavailable", "The outcome of the request is not known. Please try again.", "Read the object before writing it again."
    ),
    errors.NodeUnreachable: _UNAVAILABLE,
    errors.DeadlineExceeded: _UNAVAILABLE,
    errors.DeviceFull: Row(507, "InsufficientStorage", "There is no room left for this object.", "Delete something, or add devices."),
    errors.DeviceOffline: _UNAVAILABLE,
    errors.TooBusy: Row(503, "SlowDown", "Please reduce your request rate.", "Retry with back-off."),
    errors.DamagedBody: _INTERNAL,
    errors.DamagedRow: _INTERNAL,
    errors.DamagedFile: _INTERNAL,
}

# Amazon's elements beside Code and Message, and the facts of an error that they show.
FACTS: Mapping[type[errors.ObjstoreError], tuple[tuple[str, str], ...]] = {
    errors.BadDigest: (("ExpectedDigest", "expected"), ("CalculatedDigest", "calculated")),
    errors.EntityTooSmall: (("ProposedSize", "size"), ("MinSizeAllowed", "min_size"), ("PartNumber", "number"), ("ETag", "etag")),
    errors.EntityTooLarge: (("ProposedSize", "size"), ("MaxSizeAllowed", "limit")),
    errors.KeyTooLong: (("Size", "size"), ("MaxSizeAllowed", "limit")),
    errors.MetadataTooLarge: (("Size", "size"), ("MaxSizeAllowed", "limit")),
    errors.InvalidArgument: (("ArgumentName", "argument"), ("ArgumentValue", "value")),
    errors.InvalidDigest: (("Content-MD5", "digest"),),
    errors.InvalidPart: (("PartNumber", "number"), ("ETag", "etag")),
    errors.InvalidPartNumber: (("PartNumberRequested", "part_number"), ("ActualPartCount", "part_count")),
    errors.NoSuchUpload: (("UploadId", "upload_id"),),
}

_ABOUT_BUCKETS = (
    errors.NoSuchBucket,
    errors.InvalidBucketName,
    errors.BucketAlreadyExists,
    errors.BucketAlreadyOwnedByYou,
    errors.BucketNotEmpty,
)
_HINT_CLOCK = "Set the client's clock by NTP."
_HINT_SIGNATURE = "Compare the canonical request below with the one your client signed; check the secret key."
_HINT_CHAIN = "Each chunk is signed over its bytes and the signature before it, the first over the request's; nothing was stored."
SIGNATURE_TABLE: Mapping[Problem, Row] = {
    Problem.HEADER_MALFORMED: Row(400, "AuthorizationHeaderMalformed"),
    Problem.QUERY_MALFORMED: Row(400, "AuthorizationQueryParametersError"),
    Problem.WRONG_REGION: Row(400, "AuthorizationHeaderMalformed", hint="Set the client's region to the one in <Region>."),
    Problem.WRONG_SERVICE: Row(400, "AuthorizationHeaderMalformed", hint="Sign for the service that the message names."),
    Problem.DATE_MISSING: Row(
        403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", "Send x-amz-date as YYYYMMDDTHHMMSSZ, in UTC."
    ),
    Problem.SKEWED: Row(
        403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", _HINT_CLOCK
    ),
    Problem.EXPIRED: Row(403, "AccessDenied", "Request has expired", "Make a new presigned URL."),
    Problem.NOT_YET_VALID: Row(403, "AccessDenied", "Request is not valid yet", _HINT_CLOCK),
    Problem.HEADERS_NOT_SIGNED: Row(
        403,
        "AccessDenied",
        "There were headers present in the request which were not signed",
        "Sign the headers in <HeadersNotSigned> too, or leave them out; see that nothing between client and store adds any.",
    ),
    Problem.MISMATCH: Row(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        _HINT_SIGNATURE,
    ),
    Problem.PAYLOAD_MODE: Row(
        400,
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    ),
    Problem.CHUNK_MISMATCH: Row(403, "SignatureDoesNotMatch", "The signature of a chunk does not match.", _HINT_CHAIN),
    Problem.TRAILER_MISMATCH: Row(403, "SignatureDoesNotMatch", "The signature of the trailer does not match.", _HINT_CHAIN),
    Problem.V2_HEADER_MALFORMED: Row(400, "InvalidArgument"),
    Problem.V2_QUERY_MALFORMED: Row(403, "AccessDenied", hint="A URL of Version 2 has AWSAccessKeyId, Expires and Signature, once each."),
}


class S3Refused(errors.Refused):
    """A refusal that only S3 knows: its code and status are decided where it is raised."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        elements: Mapping[str, str] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.hint = hint
        self.elements = dict(elements or {})
        self.headers = list(headers)


@dataclass
class Failure:
    """What is answered: status, code and message, further elements of the XML, further headers."""

    status: int
    code: str
    message: str
    hint: str = ""
    elements: dict[str, str] = field(default_factory=dict)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def row_of(error: errors.ObjstoreError) -> Row:
    """The table's row for an error, by its nearest listed class."""
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            return row
    return _UNAVAILABLE if isinstance(error, errors.Unavailable) else _INTERNAL


def failure_of(error: errors.ObjstoreError, *, bucket: str = "", key: str = "", server_time: str = "") -> Failure:
    """How an expected error is answered."""
    if isinstance(error, S3Refused):
        failure = Failure(error.status, error.code, error.message, error.hint, error.elements, error.headers)
    elif isinstance(error, SignatureRefused):
        failure = _signature_failure(error, server_time)
    else:
        row = row_of(error)
        failure = Failure(row.status, row.code, row.message or str(error), row.hint)
        if row.status == 503:
            failure.headers.append(RETRY_AFTER)
        _add_facts(failure, error, bucket, key)
    failure.hint = failure.hint or HINTS.get(failure.code, "")
    return failure


def _add_facts(failure: Failure, error: errors.ObjstoreError, bucket: str, key: str) -> None:
    elements, facts = failure.elements, error.facts
    failure.hint = str(facts.get("hint", "")) or failure.hint
    for name, fact in FACTS.get(type(error), ()):
        if fact in facts:
            elements[name] = str(facts[fact])
    if isinstance(error, errors.PreconditionFailed):
        elements["Condition"] = str(facts.get("condition", ""))
    elif isinstance(error, errors.InvalidRange):
        size = facts.get("size_bytes")
        if size is not None:
            elements["ActualObjectSize"] = str(size)
            failure.headers.append((b"content-range", f"bytes */{size}".encode()))
    elif isinstance(error, errors.NoSuchKey):
        elements["Key"] = str(facts.get("key", key))  # of a copy that of its source
        if "marker" in facts:
            failure.headers += _marker_headers(str(facts["marker"]))
    elif isinstance(error, errors.NoSuchVersion):
        elements |= {"Key": str(facts.get("key", key)), "VersionId": str(facts.get("version_id", ""))}
    elif isinstance(error, errors.VersionIsMarker):
        elements["ResourceType"] = "DeleteMarker"
        failure.headers += [*_marker_headers(str(facts["marker"])), (b"allow", b"DELETE")]
        failure.headers.append((b"last-modified", http_time(int(str(facts["modified_us"])))))
    elif isinstance(error, _ABOUT_BUCKETS):
        elements["BucketName"] = str(facts.get("bucket", bucket))


def _marker_headers(version: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-amz-delete-marker", b"true"), (b"x-amz-version-id", version.encode())]


def _signature_failure(error: SignatureRefused, server_time: str) -> Failure:
    row = SIGNATURE_TABLE[error.problem]
    failure = Failure(row.status, row.code, row.message or str(error), row.hint)
    facts, elements = error.facts, failure.elements
    if error.problem is Problem.WRONG_REGION:
        elements["Region"] = str(facts["region"])
    elif error.problem is Problem.SKEWED:
        elements |= {"RequestTime": str(facts["request_time"]), "ServerTime": server_time}
        elements["MaxAllowedSkewMilliseconds"] = str(MAX_SKEW_S * 1000)
    elif error.problem is Problem.EXPIRED:
        if "expires_s" in facts:
            elements["Expires"] = iso_time(int(str(facts["expires_s"])) * 1_000_000)
        elements["ServerTime"] = server_time
    elif error.problem is Problem.HEADERS_NOT_SIGNED:
        elements["HeadersNotSigned"] = str(facts["headers"])
    elif error.problem is Problem.MISMATCH:
        elements["AWSAccessKeyId"] = str(facts["access_key"])
        elements["StringToSign"] = str(facts["string_to_sign"])
        elements["SignatureProvided"] = str(facts["signature_provided"])
        if facts["canonical_request"]:  # there is none in Version 2
            elements["CanonicalRequest"] = str(facts["canonical_request"])
    return failure


def error_document(failure: Failure, resource: str, request_id: str, host_id: str) -> bytes:
    """What a refusal says: Amazon's elements, those of this error, and what to do next."""
    # Line by line: a canonical request is there to be read.
    own = "".join([f"<{name}>{chr(10).join(map(escape, value.split(chr(10))))}</{name}>" for name, value in failure.elements.items()])
    hint = element("Hint", failure.hint) if failure.hint else ""
    return (
        f"{DECLARATION}<Error>{element('Code', failure.code)}{element('Message', failure.message)}{own}"
        f"{element('Resource', resource)}{element('RequestId', request_id)}{element('HostId', host_id)}{hint}</Error>"
    ).encode()
