"""Who sends a request: the one authenticator, before routing, for every route and every way to sign.

A request is signed by its Authorization header or by its query, never both; one that is signed in neither way is
anonymous, and gets what is granted to everybody.  The list of values of x-amz-content-sha256 is closed, and every header that
changes what a request does must be among the signed ones.  Browser forms (post.py) and the calls of IAM and STS bring what is signed
in their bodies; they come in here too, by `authenticate_form` and `authenticate_call`.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from objstore.core import sigv2
from objstore.core.sigv4 import (
    ALGORITHM,
    MAX_SKEW_S,
    ONLY_S3,
    SERVICE,
    UNSIGNED_PAYLOAD,
    ChunkChain,
    Claim,
    Credential,
    PayloadMode,
    Problem,
    SignatureRefused,
    SigningKeys,
    check_scope,
    check_signed_headers,
    check_time,
    parse_authorization,
    parse_presigned,
    payload_mode,
    sign,
    verify,
)
from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import NOBODY, S3Request, decoded_pairs
from objstore.fronts.s3.settings import S3Settings
from objstore.fronts.s3.times import basic_timestamp, parse_http_date
from objstore.identity.logic import Credentials
from objstore.objects.api import Principal
from objstore.runtime.clock import Clock

CALL_SERVICES = frozenset(("iam", "sts"))
TOKEN_HEADER = "x-amz-security-token"
_ONLY_V4 = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
_ONE_MECHANISM = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
    "Authorization header should be specified"
)
_CHUNKS_SIGNED = (PayloadMode.CHUNKS_SIGNED, PayloadMode.CHUNKS_SIGNED_TRAILER)
# Of a presigned request's x-amz-* parameters these belong to the signature; any other stands for a header of its name.
_OF_SIGNATURE = frozenset(
    (
        "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature",
        "x-amz-security-token", "x-amz-content-sha256", "x-amz-user-agent",
    )
)  # fmt: skip


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

    async def authenticate(self, request: S3Request) -> None:
        """Set the request's principal and how its body is bound to the signature.  Raises refusals."""
        header = request.headers.get("authorization")
        query = request.query
        presigned = old = False
        if query:
            presigned = "X-Amz-Signature" in query or "X-Amz-Algorithm" in query or "X-Amz-Credential" in query
            old = "Signature" in query or "AWSAccessKeyId" in query
        if (header is not None) + presigned + old > 1:
            raise InvalidArgument(_ONE_MECHANISM)
        if header is not None:
            if header.startswith(sigv2.SCHEME + " "):
                await self._authenticate_v2(request, sigv2.parse_authorization(header))
                return
            claim = self._claim_of_header(request, header, ONLY_S3)
            payload = request.headers.get("x-amz-content-sha256")
            if payload is None:
                raise InvalidRequest("Missing required header for this request: x-amz-content-sha256")
        elif presigned:
            claim = parse_presigned(decoded_pairs(request.received.query))
            payload = request.headers.get("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256") or UNSIGNED_PAYLOAD
        elif old:
            await self._authenticate_v2(request, sigv2.parse_presigned(decoded_pairs(request.received.query)))
            return
        else:
            self._admit_nobody(request)
            return
        mode = payload_mode(payload)
        request.who = await self._verify(request, claim, payload)
        request.payload, request.payload_mode = payload, mode
        if presigned:
            _adopt_parameters(request, ())

    def _admit_nobody(self, request: S3Request) -> None:
        """An anonymous request: what it may do is for the store to say."""
        if TOKEN_HEADER in request.headers or "X-Amz-Security-Token" in request.query:
            raise AccessDenied("a session token without a signature is worth nothing")
        payload = request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
        mode = payload_mode(payload)
        if mode in _CHUNKS_SIGNED:
            raise AccessDenied("chunks can only be signed in a request that is signed")
        request.who, request.payload, request.payload_mode = NOBODY, payload, mode

    def _claim_of_header(self, request: S3Request, header: str, services: frozenset[str]) -> Claim:
        if not header:
            raise AccessDenied("the Authorization header is empty")
        if not header.startswith(ALGORITHM):
            if header.startswith("AWS4-"):
                raise InvalidRequest(_ONLY_V4)
            raise InvalidArgument("Unsupported Authorization Type")
        timestamp = request.headers.get("x-amz-date")
        if timestamp is None:
            date = parse_http_date(request.headers.get("date"))
            timestamp = "" if date is None else basic_timestamp(date)
        return parse_authorization(header, timestamp, services)

    async def _verify(self, request: S3Request, claim: Claim, payload: str) -> Principal:
        credential = claim.credential
        self._check_region(credential)
        check_time(claim, self._clock.wall_us() // 1_000_000)
        check_signed_headers(claim, (*request.amz, "content-md5") if "content-md5" in request.headers else request.amz)
        token = request.headers.get(TOKEN_HEADER) or request.query.get("X-Amz-Security-Token", "") if request.query or request.amz else ""
        secret, principal = await self._find(credential.access_key, token)
        key = self._keys.get(secret, credential)
        verify(request.received, claim, payload, key)
        request.signer = Signer(key, claim)
        return principal

    def _check_region(self, credential: Credential) -> None:
        settings = self._settings
        if settings.strict_region and credential.region != settings.region and credential.service == SERVICE:
            raise SignatureRefused(
                Problem.WRONG_REGION,
                f"the region '{credential.region}' is wrong; expecting '{settings.region}'",
                region=settings.region,
            )

    async def _find(self, access_key: str, token: str) -> tuple[str, Principal]:
        """Secret and principal behind an access key, and behind its session token where it has one."""
        if token:
            return await self._open(access_key, token)
        found = self._credentials.lookup(access_key)
        if found is None:
            # Another proxy may have made it a moment ago.
            await self._credentials.refresh()
            found = self._credentials.lookup(access_key)
        if found is None:
            raise S3Refused(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                elements={"AWSAccessKeyId": access_key},
            )
        return found

    async def _open(self, access_key: str, token: str) -> tuple[str, Principal]:
        found = self._credentials.session(token)
        if found is None:
            await self._credentials.refresh()  # its role may have been made a moment ago, or this proxy has only begun
            found = self._credentials.session(token)
        if found is None or not hmac.compare_digest(found[0].access_key.encode(), access_key.encode()):
            raise S3Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        session, principal = found
        if self._clock.wall_us() // 1_000_000 >= session.expires_s:
            raise S3Refused(400, "ExpiredToken", "The provided token has expired.", hint="Ask STS for new credentials.")
        return session.secret_key, principal

    # -- version 2 --------------------------------------------------------------------------------------------

    async def _authenticate_v2(self, request: S3Request, claim: sigv2.Claim) -> None:
        if not self._settings.sigv2:
            raise InvalidRequest(_ONLY_V4)
        now_s = self._clock.wall_us() // 1_000_000
        if claim.expires_s is None:
            self._check_date(request, now_s)
        else:
            sigv2.check_expiry(claim, now_s)
            _adopt_parameters(request, ("content-md5", "content-type", TOKEN_HEADER))
        payload = request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
        mode = payload_mode(payload)
        if mode in _CHUNKS_SIGNED:
            raise InvalidRequest("Chunks are signed in Version 4 only.")
        secret, request.who = await self._find(claim.access_key, request.amz.get(TOKEN_HEADER, ""))
        sigv2.verify(sigv2.strings_to_sign(request.received, request.amz, claim, request.virtual_bucket), claim, secret)
        request.payload, request.payload_mode = payload, mode

    def _check_date(self, request: S3Request, now_s: int) -> None:
        text = request.amz.get("x-amz-date") or request.headers.get("date")
        date_us = parse_http_date(text)
        if text is None or date_us is None or date_us < 0:  # no clock says a time before 1970
            raise SignatureRefused(Problem.DATE_MISSING)
        if abs(now_s - date_us // 1_000_000) > MAX_SKEW_S:
            raise SignatureRefused(Problem.SKEWED, request_time=text)

    # -- forms and calls --------------------------------------------------------------------------------------

    async def authenticate_form(self, fields: Mapping[str, str]) -> tuple[Principal, str] | None:
        """Who signed a browser form's policy, and by which version; None when nobody did.  Field names are lower case.  Raises refusals."""
        old = "awsaccesskeyid" in fields or "signature" in fields
        new = "x-amz-algorithm" in fields or "x-amz-credential" in fields or "x-amz-signature" in fields
        if not (old or new or "policy" in fields):
            return None
        if old and new:
            raise InvalidArgument(_ONE_MECHANISM)
        needed = (
            ("policy", "awsaccesskeyid", "signature")
            if old
            else ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
        )
        for name in needed:
            if not fields.get(name):
                raise InvalidArgument(
                    f"Bucket POST must contain a field named '{_SHOWN.get(name, name)}'.  If it is specified, please check the order of the fields."
                )
        policy, token = fields["policy"], fields.get(TOKEN_HEADER, "")
        if old:
            claim = sigv2.parse_authorization(f"{sigv2.SCHEME} {fields['awsaccesskeyid']}:{fields['signature']}")
            return await self._form_v2(claim, policy, token), sigv2.SCHEME
        if fields["x-amz-algorithm"] != ALGORITHM:
            raise SignatureRefused(Problem.QUERY_MALFORMED, f"X-Amz-Algorithm only supports {ALGORITHM}.")
        signature = fields["x-amz-signature"]
        credential, time_s = check_scope(fields["x-amz-credential"], fields["x-amz-date"], signature, Problem.QUERY_MALFORMED)
        self._check_region(credential)
        if time_s > self._clock.wall_us() // 1_000_000 + MAX_SKEW_S:
            raise SignatureRefused(Problem.NOT_YET_VALID)
        secret, principal = await self._find(credential.access_key, token)
        if not hmac.compare_digest(sign(self._keys.get(secret, credential), policy), signature):
            raise _form_mismatch(credential.access_key, policy, signature)
        return principal, ALGORITHM

    async def _form_v2(self, claim: sigv2.Claim, policy: str, token: str) -> Principal:
        if not self._settings.sigv2:
            raise InvalidRequest(_ONLY_V4)
        secret, principal = await self._find(claim.access_key, token)
        sigv2.verify([policy], claim, secret)
        return principal

    async def authenticate_call(self, request: S3Request, body: bytes) -> Principal:
        """Who makes a call of IAM or STS, whose whole body is signed; NOBODY when it is not signed.  Raises refusals."""
        header = request.headers.get("authorization")
        presigned = "X-Amz-Signature" in request.query or "X-Amz-Algorithm" in request.query or "X-Amz-Credential" in request.query
        if header is not None and presigned:
            raise InvalidArgument(_ONE_MECHANISM)
        if header is not None:
            claim = self._claim_of_header(request, header, CALL_SERVICES)
        elif presigned:
            claim = parse_presigned(decoded_pairs(request.received.query), CALL_SERVICES)
        else:
            return NOBODY
        return await self._verify(request, claim, sha256(body).hexdigest())


_SHOWN = {
    "awsaccesskeyid": "AWSAccessKeyId",
    "x-amz-algorithm": "X-Amz-Algorithm",
    "x-amz-credential": "X-Amz-Credential",
    "x-amz-date": "X-Amz-Date",
    "x-amz-signature": "X-Amz-Signature",
}


def _form_mismatch(access_key: str, policy: str, signature: str) -> SignatureRefused:
    return SignatureRefused(
        Problem.MISMATCH, access_key=access_key, string_to_sign=policy, canonical_request="", signature_provided=signature
    )


def _adopt_parameters(request: S3Request, also: tuple[str, ...]) -> None:
    """Take the signed x-amz-* parameters of a presigned request for the headers they stand for; signers may put them there."""
    for parameter, value in request.query.items():
        name = parameter.lower()
        if name in also or (name.startswith("x-amz-") and name not in _OF_SIGNATURE):
            text = value.encode().decode("latin-1")
            if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
                raise InvalidArgument(f"The parameter {parameter} holds control characters.")
            if name not in request.headers:
                request.headers[name] = text
                if name.startswith("x-amz-"):
                    request.amz[name] = text
