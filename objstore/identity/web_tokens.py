"""Web identities: JSON Web Tokens of an OpenID Connect issuer, verified with its keys.

Pure: bytes in, claims out; the caller brings the clock.  The algorithms are a closed list and must fit the key (no "none", no HMAC with a
public key, CVE-2024-48916); key, issuer, audience and times are all checked, and every size is bounded.
"""

import base64
import binascii
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from objstore.errors import InvalidArgument, Refused

MAX_TOKEN_CHARS = 20_000  # as STS
MAX_KEYS = 50
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
LEEWAY_S = 60  # clocks of issuer and store differ


class WebTokenRefused(Refused):
    """The token is not acceptable; `expired` says whether only its time is over."""

    expired: bool

    def __init__(self, message: str, *, expired: bool = False) -> None:
        super().__init__(message, expired=expired)


class Claims(msgspec.Struct, frozen=True):
    """What a token says."""

    iss: str
    sub: str
    exp: float
    aud: str | list[str] = ""
    azp: str = ""
    nbf: float = 0
    iat: float = 0

    @property
    def audiences(self) -> list[str]:
        """Whom the token is for."""
        return [self.aud] if isinstance(self.aud, str) else self.aud


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str = ""
    typ: str = ""
    crit: list[str] = []


class _Key(msgspec.Struct, frozen=True):
    kty: str
    kid: str = ""
    use: str = ""
    alg: str = ""
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[_Key]


_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES: dict[str, tuple[str, type[ec.EllipticCurve], int]] = {
    "ES256": ("P-256", ec.SECP256R1, 32),
    "ES384": ("P-384", ec.SECP384R1, 48),
    "ES512": ("P-521", ec.SECP521R1, 66),
}
ALGORITHMS = frozenset((*(f"RS{bits}" for bits in _HASHES), *(f"PS{bits}" for bits in _HASHES), *_CURVES))


class KeySet:
    """The keys of an issuer."""

    def __init__(self, document: str) -> None:
        """Raises InvalidArgument when it is no JSON Web Key Set."""
        try:
            self._keys = msgspec.json.decode(document, type=_KeySet).keys
        except (msgspec.DecodeError, RecursionError) as failure:
            raise InvalidArgument(f"not a JSON Web Key Set: {failure}") from None
        if len(self._keys) > MAX_KEYS:
            raise InvalidArgument(f"a JSON Web Key Set of more than {MAX_KEYS} keys")

    def verify(self, token: str, *, issuer: str, clients: Sequence[str], now_s: int) -> Claims:
        """Claims of a token for one of `clients` from `issuer` (without scheme).  Raises WebTokenRefused."""
        parts = token.split(".")
        if len(token) > MAX_TOKEN_CHARS or len(parts) != 3 or not token.isascii():
            raise WebTokenRefused("The ID Token provided is not a valid JWT.")
        header_text, claims_text, signature = (_decoded(part) for part in parts)
        try:
            header = msgspec.json.decode(header_text, type=_Header)
        except (msgspec.DecodeError, RecursionError):
            raise WebTokenRefused("The ID Token provided is not a valid JWT.") from None
        if header.alg not in ALGORITHMS or header.crit:
            raise WebTokenRefused("The algorithm of the ID Token is not supported.")
        signed = f"{parts[0]}.{parts[1]}".encode()
        candidates = [key for key in self._keys if key.use in ("", "sig") and (not header.kid or key.kid == header.kid)]
        if not any(_signed_by(key, header.alg, signed, signature) for key in candidates[:MAX_KEYS]):
            raise WebTokenRefused("Couldn't retrieve verification key from your identity provider, or the signature does not match.")
        try:
            claims = msgspec.json.decode(claims_text, type=Claims)
        except (msgspec.DecodeError, RecursionError):
            raise WebTokenRefused("The ID Token lacks iss, sub, aud or exp.") from None
        _check(claims, issuer, clients, now_s)
        return claims


def issuer_of(token: str) -> str:
    """The issuer that a token names, unverified, without its scheme; empty when it names none."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_CHARS or len(parts) != 3:
        return ""
    try:
        claims = msgspec.json.decode(_decoded(parts[1]), type=Claims)
    except (WebTokenRefused, msgspec.DecodeError, RecursionError):
        return ""
    return bare(claims.iss)


def bare(url: str) -> str:
    """An issuer's address without its scheme."""
    return url.removeprefix("https://").removeprefix("http://")


def _check(claims: Claims, issuer: str, clients: Sequence[str], now_s: int) -> None:
    if bare(claims.iss) != issuer:
        raise WebTokenRefused("The ID Token is from another issuer.")
    if not claims.sub:
        raise WebTokenRefused("The ID Token has no subject.")
    if not {*claims.audiences, claims.azp} - {""} & set(clients):
        raise WebTokenRefused("Incorrect token audience")
    if claims.nbf > now_s + LEEWAY_S or claims.iat > now_s + LEEWAY_S:
        raise WebTokenRefused("The ID Token is not valid yet.")
    if now_s >= claims.exp + LEEWAY_S:
        raise WebTokenRefused("Token is expired", expired=True)


def _signed_by(key: _Key, algorithm: str, signed: bytes, signature: bytes) -> bool:
    if key.alg and key.alg != algorithm:
        return False
    digest = _HASHES[algorithm[2:]]()
    try:
        if algorithm in _CURVES:
            curve_name, curve, size = _CURVES[algorithm]
            if key.kty != "EC" or key.crv != curve_name or len(signature) != 2 * size:
                return False
            public = ec.EllipticCurvePublicNumbers(_number(key.x), _number(key.y), curve()).public_key()
            public.verify(_sequence(signature[:size], signature[size:]), signed, ec.ECDSA(digest))
            return True
        modulus, exponent = _number(key.n), _number(key.e)
        if key.kty != "RSA" or not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS or exponent.bit_length() > 32:
            return False
        scheme = padding.PKCS1v15() if algorithm.startswith("RS") else padding.PSS(padding.MGF1(digest), digest.digest_size)
        rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(signature, signed, scheme, digest)
    except (InvalidSignature, ValueError, WebTokenRefused):
        return False
    return True


def _sequence(*numbers: bytes) -> bytes:
    """Unsigned numbers as the DER sequence of integers that the library takes; all of it is shorter than 256 bytes."""
    items = b""
    for number in numbers:
        digits = number.lstrip(b"\0") or b"\0"
        if digits[0] & 0x80:
            digits = b"\0" + digits
        items += bytes((2, len(digits))) + digits
    return b"\x30" + (bytes((0x81, len(items))) if len(items) > 127 else bytes((len(items),))) + items


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text), "big")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise WebTokenRefused("The ID Token provided is not a valid JWT.") from None
