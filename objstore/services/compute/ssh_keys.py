"""Public keys that guests let in: what they must look like, their fingerprints, new pairs.  Pure but for randomness that is handed in."""

import base64
import binascii
import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from objstore.services.calls.problems import bad_request

SSH, X509 = "ssh", "x509"
MAX_KEY_CHARS = 16_384
SEED_BYTES = 32
CERTIFICATE_SEED_BYTES = 48
MAX_USER_CHARS = 64
_PRINCIPAL = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # the name by which Windows knows a user
_TEN_YEARS = timedelta(days=3650)


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


def new_certificate(seed: bytes, user: str, now: datetime) -> tuple[str, str]:
    """(private key, certificate for ten years) by which a user logs into Windows guests; from 48 random bytes."""
    number = int.from_bytes(seed[:SEED_BYTES], "big") % (2**255) + 1  # below the order of the curve
    private = ec.derive_private_key(number, ec.SECP256R1())
    plain = user.encode("ascii", "replace").decode()[:MAX_USER_CHARS]  # which is as many bytes, and no more fit
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, plain)])
    account = f"{plain}@localhost".encode()
    principal = x509.OtherName(_PRINCIPAL, bytes((0x0C, len(account))) + account)  # a UTF8String of DER, below 128 bytes
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), int.from_bytes(seed[SEED_BYTES:], "big") >> 1 | 1, now, now + _TEN_YEARS)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([principal]), critical=False)
        .sign(private, hashes.SHA256())
    )
    text = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return text.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


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
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise bad_request("Keypair data is invalid: failed to generate X509 fingerprint") from None
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()
