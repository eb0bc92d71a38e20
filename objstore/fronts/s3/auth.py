"""Who sends a request: the one authenticator, before routing, for every route and every way to sign.

A request is signed by its Authorization header or by its query, never both; one that is signed in neither way is
anonymous, and nothing is granted to those yet.  The list of values of x-amz-content-sha256 is closed, and every header that changes what a request does must
be among the signed ones.
"""

from objstore.core.sigv4 import (
    ALGORITHM,
    UNSIGNED_PAYLOAD,
    ChunkChain,
    Claim,
    Problem,
    SignatureRefused,
    SigningKeys,
    check_signed_headers,
    check_time,
    parse_authorization,
    parse_presigned,
    payload_mode,
    verify,
)
from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request, decoded_pairs
from objstore.fronts.s3.settings import S3Settings
from objstore.fronts.s3.times import basic_timestamp, parse_http_date
from objstore.identity.logic import Credentials
from objstore.objects.api import Principal
from objstore.runtime.clock import Clock

_ONLY_V4 = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."


class Signer:
    """What is left to verify while a body comes in: the key and the claim that chunk signatures continue."""

    __slots__ = ("claim", "key")

    def __init__(self, key: bytes, claim: Claim) -> None:
        self.key = key
        self.claim = claim

    def chain(self) -> ChunkChain:
        """The chunk chain of this request."""
        return ChunkChain(self.key, self.claim)


class Authenticator:
    """Verifies signatures against the credentials."""

    def __init__(self, credentials: Credentials, settings: S3Settings, clock: Clock) -> None:
        self._credentials = credentials
        self._settings = settings
        self._clock = clock
        self._keys = SigningKeys()

    def authenticate(self, request: S3Request) -> None:
        """Set the request's principal and how its body is bound to the signature.  Raises refusals."""
        header = request.headers.get("authorization")
        query = request.query
        presigned = "X-Amz-Signature" in query or "X-Amz-Algorithm" in query or "X-Amz-Credential" in query
        if header is not None and (presigned or "Signature" in query):
            raise InvalidArgument(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
                "Authorization header should be specified"
            )
        if header:
            claim = self._claim_of_header(request, header)
            payload = request.headers.get("x-amz-content-sha256")
            if payload is None:
                raise InvalidRequest("Missing required header for this request: x-amz-content-sha256")
        elif presigned:
            claim = parse_presigned(decoded_pairs(request.received.query))
            payload = request.headers.get("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256") or UNSIGNED_PAYLOAD
        else:
            if "AWSAccessKeyId" in query and "Signature" in query:
                raise InvalidRequest(_ONLY_V4)
            raise AccessDenied("nothing is granted to anonymous callers")
        mode = payload_mode(payload)
        request.who = self._verify(request, claim, payload)
        request.payload, request.payload_mode = payload, mode

    def _claim_of_header(self, request: S3Request, header: str) -> Claim:
        if not header.startswith(ALGORITHM):
            if header.startswith(("AWS ", "AWS4-")):
                raise InvalidRequest(_ONLY_V4)
            raise InvalidArgument("Unsupported Authorization Type")
        timestamp = request.headers.get("x-amz-date")
        if timestamp is None:
            date = parse_http_date(request.headers.get("date"))
            timestamp = "" if date is None else basic_timestamp(date)
        return parse_authorization(header, timestamp)

    def _verify(self, request: S3Request, claim: Claim, payload: str) -> Principal:
        settings = self._settings
        credential = claim.credential
        if settings.strict_region and credential.region != settings.region:
            raise SignatureRefused(
                Problem.WRONG_REGION,
                f"the region '{credential.region}' is wrong; expecting '{settings.region}'",
                region=settings.region,
            )
        check_time(claim, self._clock.wall_us() // 1_000_000)
        if "x-amz-security-token" in request.headers or "X-Amz-Security-Token" in request.query:
            raise S3Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        check_signed_headers(claim, (*request.amz, "content-md5") if "content-md5" in request.headers else request.amz)
        found = self._credentials.lookup(credential.access_key)
        if found is None:
            raise S3Refused(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                elements={"AWSAccessKeyId": credential.access_key},
            )
        secret, principal = found
        key = self._keys.get(secret, credential)
        verify(request.received, claim, payload, key)
        request.signer = Signer(key, claim)
        return principal
