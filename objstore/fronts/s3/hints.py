"""What a refused caller can do next, by S3's code: shown as `<Hint>` where the refusal itself says nothing better.

A hint names calls, headers and limits, never what the caller may not see.  Codes whose message already says what to change have none.
"""

from collections.abc import Mapping

# Whose message names what is wrong, each time another thing.
SAID_BY_MESSAGE = frozenset(("BadRequest", "InvalidArgument", "InvalidRequest", "NotModified"))

_SEND_AGAIN = "Nothing was stored: send it again."
_CREDENTIAL = "Authorization: AWS4-HMAC-SHA256 Credential=KEY/YYYYMMDD/REGION/s3/aws4_request, SignedHeaders=host;..., Signature=..."

HINTS: Mapping[str, str] = {
    # -- names ------------------------------------------------------------------------------------------------
    "NoSuchKey": "Names are compared byte for byte: list the bucket with this key as prefix. In a versioned bucket a delete marker may hide it (?versions).",
    "NoSuchVersion": "List the versions of the key (?versions&prefix=KEY).",
    "NoSuchConfiguration": "None is set.",
    "BucketAlreadyOwnedByYou": "Use it as it is, or choose another name.",
    "MethodNotAllowed": "The Allow header names the methods that there are.",
    # -- bodies -----------------------------------------------------------------------------------------------
    "MetadataTooLarge": "Names and values of x-amz-meta-* have 2,048 bytes together, other headers that are kept 8,192; keep the rest in the object.",
    "EntityTooSmall": "All parts but the last have at least 5 MiB, a form's file what its policy demands.",
    "InvalidPart": "Name each part with the ETag (and checksum) with which its upload was answered; ListParts shows them.",
    "InvalidPartNumber": "Parts are numbered from 1 to ActualPartCount.",
    "InvalidPartOrder": "Sort the list by part number, each number once.",
    "InvalidRange": "Ask for bytes below ActualObjectSize, or for the last N by bytes=-N.",
    "IncompleteBody": f"Send as many bytes as Content-Length or x-amz-decoded-content-length says. {_SEND_AGAIN}",
    "BadDigest": f"The bytes changed on their way, or the digest is of others. {_SEND_AGAIN}",
    "XAmzContentSHA256Mismatch": f"The bytes changed on their way, or the digest is of others. {_SEND_AGAIN}",
    "InvalidDigest": "Content-MD5 is the base64 of the 16 bytes of the MD5, not of its hexadecimal form.",
    "MissingContentLength": "Send Content-Length, or Transfer-Encoding: chunked; with aws-chunked x-amz-decoded-content-length too.",
    "MalformedTrailerError": "Name the trailer in x-amz-trailer, and send that one alone behind the last chunk, as name:value.",
    "MalformedXML": "Compare the document with the API reference of the call: names and nesting of elements, numbers, limits.",
    "MalformedACLError": "A Grant has a Permission and a Grantee with one of ID, EmailAddress, URI.",
    "MissingRequestBodyError": "Send the document as the request's body.",
    "MaxMessageLengthExceeded": "Send a smaller document: fewer keys, rules or grants.",
    "MaxPostPreDataLengthExceeded": "Before the file a form has at most 100 fields and 64 KiB.",
    "InvalidPolicyDocument": "The policy is the base64 of JSON with an expiration (2030-01-31T00:00:00Z) and conditions, a list.",
    "UnexpectedContent": "Send either the header or the document.",
    # -- conditions and states --------------------------------------------------------------------------------
    "PreconditionFailed": "The object is not as <Condition> demands: look at it (HeadObject), then decide.",
    "InvalidBucketState": "Object lock needs versioning that is Enabled and stays so: PutBucketVersioning first.",
    "InvalidRetentionPeriod": "Give Days from 1 to 36500, or Years from 1 to 100.",
    "IllegalVersioningConfigurationException": "Send <Status>Enabled</Status> or <Status>Suspended</Status>.",
    "InvalidTag": (
        "At most 10 tags on an object and 50 on a bucket, each key once: 1 to 128 characters, values to 256, "
        "of letters, digits, blanks and + - = . _ : / @; aws: is reserved."
    ),
    "InvalidRedirectLocation": "Begin it with /, http:// or https://; at most 2,048 characters.",
    "InvalidEncryptionAlgorithmError": "Send AES256.",
    "InvalidTargetBucketForLogging": "Name a bucket of the same account and region.",
    "CrossLocationLoggingProhibited": "Name a bucket of the same region.",
    # -- who ---------------------------------------------------------------------------------------------------
    "AccessDenied": "Sign with a key that may do this, or have it allowed; who owns the bucket sees why by `objstore policy explain`.",
    "AccessForbidden": "Set a CORS configuration that takes in this origin, method and these headers (PutBucketCors).",
    "InvalidAccessKeyId": "Check the key, and that it is a key of this endpoint: it may be mistyped, deleted, or of another store.",
    "InvalidToken": "Send the session token that came with this access key, in x-amz-security-token.",
    "MissingSecurityHeader": "Send x-amz-acl, x-amz-grant-* or an AccessControlPolicy document.",
    "AuthorizationHeaderMalformed": _CREDENTIAL,
    "AuthorizationQueryParametersError": "Have your client presign the URL anew; X-Amz-Expires is 1 to 604800 seconds.",
    # -- configuration that is not set ------------------------------------------------------------------------
    "NoSuchBucketPolicy": "PutBucketPolicy sets one.",
    "NoSuchCORSConfiguration": "PutBucketCors sets one.",
    "NoSuchLifecycleConfiguration": "PutBucketLifecycleConfiguration sets one.",
    "NoSuchObjectLockConfiguration": "PutObjectRetention sets a retention, PutObjectLockConfiguration one for what is written from then on.",
    "NoSuchPublicAccessBlockConfiguration": "PutPublicAccessBlock sets one.",
    "NoSuchQuotaConfiguration": "PUT ?x-objstore-quota sets one.",
    "NoSuchTagSet": "PutBucketTagging sets one.",
    "NoSuchWebsiteConfiguration": "PutBucketWebsite sets one.",
    "ObjectLockConfigurationNotFoundError": "PutObjectLockConfiguration turns it on, in a versioned bucket.",
    "OwnershipControlsNotFoundError": "PutBucketOwnershipControls sets them; without them the bucket is an ObjectWriter one.",
    "ReplicationConfigurationNotFoundError": "Replication between buckets is not built.",
    "ServerSideEncryptionConfigurationNotFoundError": "PutBucketEncryption sets one.",
}
