"""Canonical requests, signatures and chunk chains of AWS Signature Version 4.

Pure: bytes and text in, verdicts out; the caller brings the clock and the secret.  A request is signed over what was
received raw: paths are never normalised, since `//`, `./` and `%2F` are legal in object keys.  Every parser here is
total: whatever comes in, it returns a value or raises `SignatureRefused` with a `Problem`, which the front turns into
the code and status that S3 uses.
"""

import calendar
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from objstore.errors import Refused

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
ONLY_S3 = frozenset((SERVICE,))
TERMINATOR = "aws4_request"
MAX_SKEW_S = 15 * 60
MAX_EXPIRES_S = 7 * 24 * 3600
MAX_SIGNED_HEADERS = 200
MAX_CREDENTIAL_CHARS = 512  # parsed ones are remembered, also of strangers
MAX_REMEMBERED_CHARS = 1024  # of an Authorization header before its signature
SIGNING_KEYS_HELD = 4096  # one a day for each access key and region in use

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256 = sha256(b"").hexdigest()

_HEX64 = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SPACES = re.compile(r" {2,}")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9\-._~/]*")
_PLAIN_QUERY = re.compile(r"[A-Za-z0-9\-._~&=]*")


class Problem(Enum):
    """Why a signature is refused."""

    HEADER_MALFORMED = "the Authorization header is malformed"
    QUERY_MALFORMED = "the query parameters of a presigned request are malformed"
    WRONG_REGION = "the credential's region is wrong"
    WRONG_SERVICE = "the credential's service is wrong"
    DATE_MISSING = "a valid Date or x-amz-date header is required"
    SKEWED = "the request's time differs too much from the server's"
    EXPIRED = "the request has expired"
    NOT_YET_VALID = "the request is not valid yet"
    HEADERS_NOT_SIGNED = "there are headers which were not signed"
    MISMATCH = "the signature does not match"
    PAYLOAD_MODE = "x-amz-content-sha256 has an unknown value"
    CHUNK_MISMATCH = "a chunk's signature does not match"
    TRAILER_MISMATCH = "the trailer's signature does not match"
    V2_HEADER_MALFORMED = "the Authorization header of version 2 is malformed"
    V2_QUERY_MALFORMED = "the query parameters of a presigned request of version 2 are malformed"


class SignatureRefused(Refused):
    """A signature or its parameters are not acceptable.  Facts: problem, and what the client needs to know."""

    problem: Problem

    def __init__(self, problem: Problem, message: str = "", **facts: object) -> None:
        super().__init__(message or problem.value, problem=problem, **facts)


class Credential(msgspec.Struct, frozen=True):
    """Who signed, and for what: access key / date / region / service / aws4_request."""

    access_key: str
    date: str
    region: str
    service: str
    scope: str  # the part that is signed: all but the access key


class Claim(msgspec.Struct, frozen=True):
    """What a request says about its own signature."""

    credential: Credential
    timestamp: str  # YYYYMMDDTHHMMSSZ
    time_s: int  # the same in seconds since 1970
    signed_headers: str  # as sent: names joined with ";"
    signature: str
    expires_s: int | None = None  # presigned requests only


class Received(msgspec.Struct, frozen=True):
    """A request as it came in.  Header names are lower case, values are text of one character a byte (Latin-1)."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


# -- parsing --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse_timestamp(text: str) -> int | None:
    """Seconds since 1970 of YYYYMMDDTHHMMSSZ, or None."""
    if _TIMESTAMP.fullmatch(text) is None:
        return None
    fields = (int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[9:11]), int(text[11:13]), int(text[13:15]))
    year, month, day, hour, minute, second = fields
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((year, month, day, hour, minute, second, 0, 1, 0))


@lru_cache(maxsize=4096)
def parse_credential(text: str) -> Credential | str:
    """Split a credential from the right, because an access key may hold slashes; or say what is wrong with it."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != TERMINATOR or not parts[0] or not text.isascii():
        return "The credential must be <access-key>/<date>/<region>/<service>/aws4_request."
    access_key, date, region, service, _ = parts
    if len(date) != 8 or not date.isdigit():
        return "The credential's date must be YYYYMMDD."
    return Credential(access_key, date, region, service, f"{date}/{region}/{service}/{TERMINATOR}")


def check_scope(
    credential_text: str, timestamp: str, signature: str, problem: Problem, services: frozenset[str] = ONLY_S3
) -> tuple[Credential, int]:
    """The credential and the seconds since 1970 behind what a claim says of them.  Raises SignatureRefused."""
    if len(credential_text) > MAX_CREDENTIAL_CHARS:
        raise SignatureRefused(problem, "The credential is too long.")
    credential = parse_credential(credential_text)
    if isinstance(credential, str):
        raise SignatureRefused(problem, credential)
    time_s = parse_timestamp(timestamp) if len(timestamp) == 16 else None  # what is remembered must not be long
    if time_s is None:
        raise SignatureRefused(problem if problem is Problem.QUERY_MALFORMED else Problem.DATE_MISSING)
    if credential.service not in services:
        raise SignatureRefused(Problem.WRONG_SERVICE, f'The credential\'s service is wrong; expecting "{" or ".join(sorted(services))}".')
    if timestamp[:8] != credential.date:
        raise SignatureRefused(problem, "The credential's date is not the date of the request.")
    if _HEX64.fullmatch(signature) is None:
        raise SignatureRefused(problem, "The signature must be 64 lower-case hexadecimal digits.")
    return credential, time_s


def _checked(fields: Sequence[str], problem: Problem, services: frozenset[str]) -> Claim:
    credential_text, timestamp, signed_headers, signature = fields
    credential, time_s = check_scope(credential_text, timestamp, signature, problem, services)
    if not signed_headers or not signed_headers.isascii() or signed_headers.count(";") >= MAX_SIGNED_HEADERS:
        raise SignatureRefused(problem, "SignedHeaders must name the signed headers.")
    return Claim(credential, timestamp, time_s, signed_headers, signature)


_FIELDS = {"Credential", "SignedHeaders", "Signature"}
_SIGNATURE = "Signature="
_SIGNATURE_CHARS = 64


def parse_authorization(value: str, timestamp: str, services: frozenset[str] = ONLY_S3) -> Claim:
    """Claim of an Authorization header for one of `services`; `timestamp` is x-amz-date (or the Date header in its form)."""
    # All but the signature, which comes last, is the same in all of a client's requests of a day.
    before, _, signature = value.rpartition(_SIGNATURE)
    if len(signature) == _SIGNATURE_CHARS and "," not in signature and len(before) <= MAX_REMEMBERED_CHARS:
        credential, signed_headers = _authorization_fields(before)
    else:
        credential, signed_headers, signature = _split_authorization(value)
    return _checked((credential, timestamp, signed_headers, signature), Problem.HEADER_MALFORMED, services)


@lru_cache(maxsize=1024)
def _authorization_fields(before: str) -> tuple[str, str]:
    """Credential and signed headers of a header that goes on with its signature.  Raises SignatureRefused, which is not remembered."""
    credential, signed_headers, junk = _split_authorization(before + _SIGNATURE)
    if junk:
        raise SignatureRefused(
            Problem.HEADER_MALFORMED, "The Authorization header needs Credential, SignedHeaders and Signature, once each."
        )
    return credential, signed_headers


def _split_authorization(value: str) -> tuple[str, str, str]:
    problem = Problem.HEADER_MALFORMED
    algorithm, _, rest = value.partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureRefused(problem, f"The only algorithm is {ALGORITHM}.")
    fields: dict[str, str] = {}
    items = rest.split(",")
    for item in items:
        name, _, text = item.strip().partition("=")
        fields[name] = text
    if len(items) != 3 or fields.keys() != _FIELDS:
        raise SignatureRefused(problem, "The Authorization header needs Credential, SignedHeaders and Signature, once each.")
    return fields["Credential"], fields["SignedHeaders"], fields["Signature"]


_QUERY_FIELDS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


def parse_presigned(parameters: Sequence[tuple[str, str]], services: frozenset[str] = ONLY_S3) -> Claim:
    """Claim of a presigned request for one of `services`, from its decoded query parameters."""
    problem = Problem.QUERY_MALFORMED
    fields: dict[str, str] = {}
    for name, value in parameters:
        if name in _QUERY_FIELDS:
            if name in fields:
                raise SignatureRefused(problem, f"The query parameter {name} is repeated.")
            fields[name] = value
    if len(fields) != len(_QUERY_FIELDS):
        raise SignatureRefused(problem, f"A presigned request needs the query parameters {', '.join(_QUERY_FIELDS)}.")
    if fields["X-Amz-Algorithm"] != ALGORITHM:
        raise SignatureRefused(problem, f"X-Amz-Algorithm only supports {ALGORITHM}.")
    expires = fields["X-Amz-Expires"]
    if not (expires.isascii() and expires.removeprefix("-").isdigit()):
        raise SignatureRefused(problem, "X-Amz-Expires should be a number")
    if expires.startswith("-"):
        raise SignatureRefused(problem, "X-Amz-Expires must be non-negative")
    if len(expires) > 6 or int(expires) > MAX_EXPIRES_S:
        raise SignatureRefused(
            problem,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{MAX_EXPIRES_S} seconds",
        )
    values = (fields["X-Amz-Credential"], fields["X-Amz-Date"], fields["X-Amz-SignedHeaders"], fields["X-Amz-Signature"])
    claim = _checked(values, problem, services)
    return Claim(claim.credential, claim.timestamp, claim.time_s, claim.signed_headers, claim.signature, int(expires))


def check_time(claim: Claim, now_s: int) -> None:
    """Raise when the claim is not valid at `now_s`."""
    if claim.expires_s is None:
        if abs(now_s - claim.time_s) > MAX_SKEW_S:
            raise SignatureRefused(Problem.SKEWED, request_time=claim.timestamp)
        return
    if claim.time_s > now_s + MAX_SKEW_S:
        raise SignatureRefused(Problem.NOT_YET_VALID)
    if now_s > claim.time_s + claim.expires_s or not claim.expires_s:  # nothing is in time for no time at all
        raise SignatureRefused(Problem.EXPIRED, expires_s=claim.time_s + claim.expires_s)


def check_signed_headers(claim: Claim, names: Iterable[str]) -> None:
    """Every header that changes what a request does must be signed (Ceph CVE-2026-54330, Swift CVE-2026-71191).

    `names`: the x-amz-* headers present and content-md5 if it is.
    """
    signed = claim.signed_headers.split(";")
    unsigned = [name for name in names if name not in signed]
    if unsigned or "host" not in signed:
        raise SignatureRefused(Problem.HEADERS_NOT_SIGNED, headers=", ".join(unsigned) or "host")


# -- canonical form -------------------------------------------------------------------------------------------


def split_query(query: str) -> list[tuple[str, str]]:
    """Raw (still encoded) pairs in the order received; "a" and "a=" are the same."""
    return [(name, value) for name, _, value in (item.partition("=") for item in query.split("&") if item)]


def decode_component(text: str) -> bytes:
    """A query name or value, decoded: "+" is a space, as in forms."""
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1"))


def _encode(data: bytes) -> str:
    return quote_from_bytes(data, safe="-_.~")


def _joined(pairs: list[tuple[str, str]]) -> str:
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def canonical_queries(query: str) -> list[str]:
    """What may have been signed for a query: as received, and encoded anew after RFC 3986 where that differs."""
    if not query:
        return [""]
    pairs = [pair for pair in split_query(query) if pair[0] != "X-Amz-Signature"]
    received = _joined(pairs)
    if _PLAIN_QUERY.fullmatch(received) is not None:
        return [received]
    anew = _joined([(_encode(decode_component(name)), _encode(decode_component(value))) for name, value in pairs])
    return [received] if anew == received else [received, anew]


def canonical_paths(path: str) -> list[str]:
    """What may have been signed for a path: as received, and encoded anew where that differs."""
    if _PLAIN_PATH.fullmatch(path) is not None:
        return [path]
    anew = quote_from_bytes(unquote_to_bytes(path.encode("latin-1")), safe="/-_.~")
    return [path] if anew == path else [path, anew]


def canonical_headers(headers: Mapping[str, str], signed_headers: str) -> str:
    """Signed headers in the order named, one a line; runs of spaces become one."""
    lines = []
    for name in signed_headers.split(";"):
        value = headers.get(name, "")
        lines.append(f"{name}:{_SPACES.sub(' ', value) if '  ' in value else value}\n")
    return "".join(lines)


def canonical_requests(request: Received, claim: Claim, payload: str) -> list[bytes]:
    """The canonical requests that the signature may be over, the likeliest first.

    Header bytes above ASCII may have been signed as they are, or each as one character in UTF-8 (botocore does that).
    """
    tail = f"{canonical_headers(request.headers, claim.signed_headers)}\n{claim.signed_headers}\n{payload}"
    plain = tail.isascii()
    if plain and not request.query and _PLAIN_PATH.fullmatch(request.path) is not None:
        return [f"{request.method}\n{request.path}\n\n{tail}".encode()]
    encodings = ("latin-1",) if plain else ("latin-1", "utf-8")
    paths, queries = canonical_paths(request.path), canonical_queries(request.query)
    return [
        f"{request.method}\n{path}\n{query}\n".encode("latin-1") + tail.encode(encoding)
        for path in paths
        for query in queries
        for encoding in encodings
    ]


def string_to_sign(claim: Claim, canonical_request: bytes) -> str:
    """What the signing key is applied to."""
    digest = sha256(canonical_request).hexdigest()
    return f"{ALGORITHM}\n{claim.timestamp}\n{claim.credential.scope}\n{digest}"


def signing_key(secret: str, date: str, region: str, service: str = SERVICE) -> bytes:
    """The key of one secret, day, region and service."""
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def sign(key: bytes, text: str) -> str:
    """A signature in lower-case hexadecimal."""
    return hmac.digest(key, text.encode("latin-1"), "sha256").hex()


class SigningKeys:
    """Remembers derived keys: deriving one costs more than all the rest of a verification."""

    def __init__(self, held: int = SIGNING_KEYS_HELD) -> None:
        self._held = held
        self._keys: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, secret: str, credential: Credential) -> bytes:
        """The signing key for a credential whose secret is known."""
        name = (secret, credential.scope)
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = signing_key(secret, credential.date, credential.region, credential.service)
            if len(self._keys) > self._held:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(name)
        return key


def verify(request: Received, claim: Claim, payload: str, key: bytes) -> None:
    """Raise unless the claim's signature is over this request with this payload line."""
    requests = canonical_requests(request, claim, payload)
    # No early end: how long a refusal takes must not tell which form came close.
    good = False
    for canonical in requests:
        good |= hmac.compare_digest(sign(key, string_to_sign(claim, canonical)), claim.signature)
    if not good:
        raise SignatureRefused(
            Problem.MISMATCH,
            access_key=claim.credential.access_key,
            string_to_sign=string_to_sign(claim, requests[0]),
            canonical_request=requests[0].decode("latin-1"),
            signature_provided=claim.signature,
        )


# -- payloads -------------------------------------------------------------------------------------------------


class PayloadMode(Enum):
    """How a body is bound to its signature."""

    UNSIGNED = 1
    SIGNED = 2  # the SHA-256 of the whole body is signed
    CHUNKS_SIGNED = 3
    CHUNKS_SIGNED_TRAILER = 4
    CHUNKS_UNSIGNED_TRAILER = 5


CHUNKED_MODES = frozenset(
    (PayloadMode.CHUNKS_SIGNED, PayloadMode.CHUNKS_SIGNED_TRAILER, PayloadMode.CHUNKS_UNSIGNED_TRAILER)
)  # aws-chunked
_MODES = {
    UNSIGNED_PAYLOAD: PayloadMode.UNSIGNED,
    STREAMING_SIGNED: PayloadMode.CHUNKS_SIGNED,
    STREAMING_SIGNED_TRAILER: PayloadMode.CHUNKS_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER: PayloadMode.CHUNKS_UNSIGNED_TRAILER,
}


def payload_mode(value: str) -> PayloadMode:
    """The mode that x-amz-content-sha256 names; the list is closed (MinIO CVE-2025-31489)."""
    mode = _MODES.get(value)
    if mode is not None:
        return mode
    if _HEX64.fullmatch(value) is None:
        raise SignatureRefused(Problem.PAYLOAD_MODE)
    return PayloadMode.SIGNED


class ChunkChain:
    """Verifies the signatures of an aws-chunked body: each one covers its chunk and the signature before it."""

    def __init__(self, key: bytes, claim: Claim) -> None:
        self._key = key
        self._previous = claim.signature
        self._prefix = f"{claim.timestamp}\n{claim.credential.scope}\n"
        self._hash = sha256()

    @property
    def update(self) -> Callable[[bytes | memoryview], None]:
        """Takes bytes of the current chunk; hashing large pieces may happen in a thread, one at a time."""
        return self._hash.update

    def end_chunk(self, signature: str) -> None:
        """Check the chunk whose bytes were given, and begin the next."""
        text = f"{ALGORITHM}-PAYLOAD\n{self._prefix}{self._previous}\n{EMPTY_SHA256}\n{self._hash.hexdigest()}"
        self._check(text, signature, Problem.CHUNK_MISMATCH)
        self._hash = sha256()

    def end_trailer(self, lines: bytes, signature: str) -> None:
        """Check the trailer: its "name:value" lines, each closed with a line feed."""
        text = f"{ALGORITHM}-TRAILER\n{self._prefix}{self._previous}\n{sha256(lines).hexdigest()}"
        self._check(text, signature, Problem.TRAILER_MISMATCH)

    def _check(self, text: str, signature: str, problem: Problem) -> None:
        expected = sign(self._key, text)
        if not hmac.compare_digest(expected, signature):
            raise SignatureRefused(problem)
        self._previous = expected
