"""Canonical strings and signatures of AWS Signature Version 2 (HMAC-SHA1), in headers, in queries and of POST forms.

Pure, as `sigv4.py`.  What Version 2 signs of a query is a closed list of sub-resources; whatever else changes what a request
does would be anybody's to add to a presigned URL.  So every name that this store takes for a sub-resource is in the list, also
those that came after Version 2; a client whose list is shorter gets `SignatureDoesNotMatch` for these, never somebody else's will.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

import msgspec

from objstore.core.sigv4 import Problem, Received, SignatureRefused, canonical_paths

SCHEME = "AWS"
SIGNATURE_BYTES = 20
MAX_FIELD_CHARS = 512

# From Amazon's description and the lists of botocore and s3cmd; behind the gap, sub-resources that are younger.
SIGNED_PARAMETERS = frozenset(
    (
        "accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location", "logging", "metrics",
        "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "response-cache-control",
        "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type",
        "response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId",
        "versioning", "versions", "website",

        "abac", "annotation", "append", "attributes", "encryption", "intelligent-tiering", "legal-hold", "metadataAnnotationTable",
        "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "ownershipControls", "policyStatus",
        "publicAccessBlock", "renameObject", "retention", "session", "x-objstore-quota",
    )
)  # fmt: skip

_SPACES = re.compile(r"\s*\r?\n\s*")


class Claim(msgspec.Struct, frozen=True):
    """What a request says about its own signature."""

    access_key: str
    signature: str  # base64, as sent
    expires_s: int | None = None  # seconds since 1970; presigned requests only


def parse_authorization(value: str) -> Claim:
    """Claim of an Authorization header: AWS ACCESS-KEY:SIGNATURE."""
    scheme, _, rest = value.partition(" ")
    access_key, colon, signature = rest.strip().rpartition(":")
    if scheme != SCHEME or not colon or not _is_name(access_key) or not _is_signature(signature):
        raise SignatureRefused(
            Problem.V2_HEADER_MALFORMED, "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature"
        )  # fmt: skip
    return Claim(access_key, signature)


def parse_presigned(parameters: Iterable[tuple[str, str]]) -> Claim:
    """Claim of a presigned request, from its decoded query parameters."""
    fields: dict[str, str] = {}
    for name, value in parameters:
        if name in ("AWSAccessKeyId", "Signature", "Expires"):
            if name in fields:
                raise SignatureRefused(Problem.V2_QUERY_MALFORMED, f"The query parameter {name} is repeated.")
            fields[name] = value
    if len(fields) != 3:
        raise SignatureRefused(
            Problem.V2_QUERY_MALFORMED, "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        )
    expires = fields["Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        raise SignatureRefused(Problem.V2_QUERY_MALFORMED, "Expires must be a number of seconds since 1970.")
    if not _is_name(fields["AWSAccessKeyId"]) or not _is_signature(fields["Signature"]):
        raise SignatureRefused(Problem.V2_QUERY_MALFORMED, "AWSAccessKeyId or Signature is malformed.")
    return Claim(fields["AWSAccessKeyId"], fields["Signature"], int(expires))


def check_expiry(claim: Claim, now_s: int) -> None:
    """Raise when a presigned request is over at `now_s`."""
    if claim.expires_s is not None and now_s > claim.expires_s:
        raise SignatureRefused(Problem.EXPIRED, expires_s=claim.expires_s)


# -- canonical form -------------------------------------------------------------------------------------------


def canonical_amz_headers(headers: Mapping[str, str]) -> str:
    """The x-amz-* headers by name, one a line."""
    return "".join(f"{name}:{_SPACES.sub(' ', headers[name].strip())}\n" for name in sorted(headers) if name.startswith("x-amz-"))


def canonical_resources(request: Received, virtual_bucket: str = "") -> list[str]:
    """What may have been signed as the resource, the likeliest first.  A bucket named by the host stands before the path."""
    prefix = f"/{virtual_bucket}" if virtual_bucket else ""
    signed = [item.partition("=") for item in request.query.split("&") if _plain(item.partition("=")[0]) in SIGNED_PARAMETERS]
    queries = [""]
    if signed:
        signed.sort()
        spaced = [(name, equals, value.replace("+", " ")) for name, equals, value in signed]
        forms = [
            "&".join([f"{name}={_plain(value)}" if value else name for name, _, value in signed]),
            "&".join([f"{name}{equals}{_plain(value)}" for name, equals, value in signed]),
            "&".join([f"{name}={_plain(value)}" if value else name for name, _, value in spaced]),
            "&".join([f"{name}={value}" if value else name for name, _, value in signed]),
        ]
        queries = [f"?{form}" for form in dict.fromkeys(forms)]
    paths = canonical_paths(request.path)
    if not virtual_bucket and request.path.count("/") == 1 and request.path != "/":
        paths = paths + [f"{path}/" for path in paths]  # botocore signs a bucket with a slash that it does not send
    return [f"{prefix}{path}{query}" for path in paths for query in queries]


def strings_to_sign(request: Received, amz: Mapping[str, str], claim: Claim, virtual_bucket: str = "") -> list[str]:
    """What the signature may be over; `amz` are the x-amz-* headers, for presigned requests also those in the query."""
    headers = request.headers
    date_sent = "" if "x-amz-date" in amz else headers.get("date", "")
    date = date_sent if claim.expires_s is None else str(claim.expires_s)
    head = f"{request.method}\n{headers.get('content-md5', '')}\n{headers.get('content-type', '')}\n{date}\n{canonical_amz_headers(amz)}"
    return [head + resource for resource in canonical_resources(request, virtual_bucket)]


def sign(secret: str, text: str, encoding: str = "utf-8") -> str:
    """A signature in base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(encoding), "sha1")).decode()


def verify(strings: Iterable[str], claim: Claim, secret: str) -> None:
    """Raise unless the claim's signature is over one of these strings (one character a byte, Latin-1)."""
    given = _decoded(claim.signature)
    good = False
    texts = list(strings)
    for text in texts:
        # A header byte above ASCII may have been signed as it is, or as one character in UTF-8.
        for encoding in ("latin-1",) if text.isascii() else ("latin-1", "utf-8"):
            data = text.encode(encoding, "replace")
            good |= hmac.compare_digest(hmac.digest(secret.encode(), data, "sha1"), given)
    if not good:
        raise SignatureRefused(
            Problem.MISMATCH, access_key=claim.access_key, string_to_sign=texts[0], canonical_request="", signature_provided=claim.signature
        )


def _plain(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1") if "%" in text else text


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_FIELD_CHARS and text.isascii() and text.isprintable()


def _is_signature(text: str) -> bool:
    return len(_decoded(text)) == SIGNATURE_BYTES


def _decoded(text: str) -> bytes:
    if len(text) > MAX_FIELD_CHARS or not text.isascii():
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
