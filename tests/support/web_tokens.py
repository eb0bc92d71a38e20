"""An OpenID Connect issuer for tests: keys, their public set, signed tokens."""

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK_KEY = rsa.generate_private_key(65537, 1024)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
CURVES = {"ES256": 32, "ES384": 48, "ES512": 66}
_NAMES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_HASHES: dict[str, Any] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _number(value: int, size: int = 0) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@cache
def key_set() -> str:
    """The public keys as a JSON Web Key Set."""
    keys = []
    for kid, private in (("rsa", RSA_KEY), ("weak", WEAK_KEY)):
        numbers = private.public_key().public_numbers()
        keys.append({"kty": "RSA", "kid": kid, "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e)})
    for name, key in EC_KEYS.items():
        point = key.public_key().public_numbers()
        keys.append(
            {"kty": "EC", "kid": name, "crv": _NAMES[name], "x": _number(point.x, CURVES[name]), "y": _number(point.y, CURVES[name])}
        )
    return json.dumps({"keys": keys})


def make_token(claims: dict[str, Any], algorithm: str = "RS256", *, key: Any = None, kid: str | None = None, **head: Any) -> str:
    """A signed token."""
    digest = _HASHES[algorithm[2:]]()
    name = kid if kid is not None else (algorithm if algorithm in EC_KEYS else "rsa")
    text = f"{b64(json.dumps({'alg': algorithm, 'typ': 'JWT', **({'kid': name} if name else {}), **head}).encode())}.{b64(json.dumps(claims).encode())}"
    if algorithm in EC_KEYS:
        r, s = decode_dss_signature((key or EC_KEYS[algorithm]).sign(text.encode(), ec.ECDSA(digest)))
        size = CURVES[algorithm]
        signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    else:
        scheme: Any = padding.PKCS1v15() if algorithm.startswith("RS") else padding.PSS(padding.MGF1(digest), digest.digest_size)
        signature = (key or RSA_KEY).sign(text.encode(), scheme, digest)
    return f"{text}.{b64(signature)}"
