"""Public keys that guests let in: what they must look like, their fingerprints, new pairs.  Pure but for randomness that is handed in."""

import base64
import binascii
import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from objstore.services.calls.problems import bad_request

SSH, X509 = "ssh", "x509"
MAX_KEY_CHARS = 16_384
SEED_BYTES = 32


def fingerprint(kind: str, public_key: str) -> str:
    """MD5 of an SSH key, SHA-1 of a certificate, as Nova shows them.  Raises 400."""
    if len(public_key) > MAX_KEY_CHARS or "\0" in public_key:
        raise bad_request(f"Keypair data is invalid: Public key has more than {MAX_KEY_CHARS} characters")
    digest = _of_certificate(public_key) if kind == X509 else _of_ssh(public_key)
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def new_pair(seed: bytes, comment: str) -> tuple[str, str]:
    """(private key in OpenSSH's format, public key) of Ed25519 from 32 random bytes."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    text = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return text.decode(), f"{public.decode()} {comment}"


def _of_ssh(public_key: str) -> str:
    words = public_key.split(None, 2)
    try:
        blob = base64.b64decode(words[1], validate=True)
        # What sshd cannot read must not be kept: a guest that nobody can enter shows it too late.
        serialization.load_ssh_public_key(f"{words[0]} {words[1]}".encode())
    except (IndexError, ValueError, binascii.Error, UnsupportedAlgorithm):
        # Keys on tokens (sk-ssh-...) are none that the library reads, and all right: their blob begins with the type.
        if len(words) < 2 or not words[0].startswith("sk-") or not _names(words[0], words[1]):
            raise bad_request("Keypair data is invalid: failed to generate fingerprint") from None
        blob = base64.b64decode(words[1])
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


def _names(kind: str, data: str) -> bool:
    try:
        blob = base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        return False
    return blob.startswith(len(kind).to_bytes(4, "big") + kind.encode())


def _of_certificate(public_key: str) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(public_key.encode())
        der = certificate.public_bytes(serialization.Encoding.DER)
    except (ValueError, UnsupportedAlgorithm):
        raise bad_request("Keypair data is invalid: failed to generate X509 fingerprint") from None
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()
