"""Session tokens: temporary credentials that carry themselves, sealed with a key of the cluster.

A token is what the proxy that issues it tells all others, itself included: nothing about it is stored.  It is encrypted and
authenticated (AES-256-GCM), so a changed bit, another algorithm or another cluster's token opens to nothing.  What it does
not carry is what its owner may do: that is looked up at each use, so that taking a role or a policy away ends its sessions too.

    offset  size  field
    0       1     format, 1; anything else does not open
    1       12    nonce, random
    13      n     `Session` as a msgpack array, encrypted; the 13 bytes before it are authenticated with it
    13 + n  16    tag
"""

import base64
import binascii
import hmac

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.runtime.rng import Rng

FORMAT = b"\x01"
NONCE_BYTES = 12
MAX_TOKEN_CHARS = 16_384  # a session policy of 2,048 characters and its tags fit many times
_PURPOSE = b"objstore session tokens 1"


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Temporary credentials.  `subject` names whose they are: "user/NAME", "role/NAME", or "account" for its root."""

    record_version: int
    access_key: str
    secret_key: str
    account: str
    subject: str
    subject_id: str  # the unique id: a role made again under the same name is another one
    name: str  # the session's own name
    issued_s: int
    expires_s: int
    policies: tuple[str, ...] | None = None  # session policies as JSON; None: none were given
    facts: dict[str, str] = {}  # what conditions may ask besides

    def __repr__(self) -> str:
        return f"Session(access_key={self.access_key!r}, account={self.account!r}, subject={self.subject!r})"  # never the secret


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Session).decode


class TokenSealer:
    """Makes and opens tokens; all proxies of a cluster have the same key."""

    def __init__(self, cluster_key: bytes, rng: Rng) -> None:
        assert len(cluster_key) == 32
        self._cipher = AESGCM(hmac.digest(cluster_key, _PURPOSE, "sha256"))
        self._rng = rng

    def seal(self, session: Session) -> str:
        """The token of a session."""
        head = FORMAT + self._rng.token(NONCE_BYTES)
        return base64.b64encode(head + self._cipher.encrypt(head[1:], _ENCODE(session), head)).decode()

    def open(self, token: str) -> Session | None:
        """The session behind a token, whether it has expired or not; None when it is none of ours."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        try:
            data = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            return None
        head, sealed = data[: 1 + NONCE_BYTES], data[1 + NONCE_BYTES :]
        if head[:1] != FORMAT or len(sealed) < 16:
            return None
        try:
            return _DECODE(self._cipher.decrypt(head[1:], sealed, head))
        except (InvalidTag, msgspec.DecodeError):
            return None
