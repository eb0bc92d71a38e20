"""Tokens of the identity service: who, for what, until when; sealed, so that every process opens them and nothing is stored.

Encrypted and authenticated with AES-256-GCM.  Keys are numbered and change (token_keys.py); of each comes a key for each day: one
key never seals too much, and what is older than the longest life of a token does not even open.  What its user may do is not in
it: that is looked up at each use.

    offset  size  field
    0       1     format, 2; anything else does not open
    1       4     number of the key, big-endian
    5       4     day of issue since 1970, big-endian
    9       12    nonce, random
    21      n     `Bearer` as a msgpack array, encrypted; the 21 bytes before it are authenticated with it
    21 + n  16    tag

As text it is URL-safe base64 without padding.
"""

import base64
import binascii
import hmac

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.identity.token_keys import BUILT_IN, KeySet
from objstore.runtime.rng import Rng

FORMAT = b"\x02"
HEAD_BYTES = 21
MAX_TOKEN_CHARS = 2048
DAY_US = 86_400_000_000
_PURPOSE = b"objstore identity tokens 2 "
_SECRETS = b"objstore identity secrets 1"
MAX_AGE_DAYS = 62
_KEYS_HELD = 64


class Bearer(msgspec.Struct, frozen=True, array_like=True):
    """What a token says.  `scope` is "" or a target of roles: "s", "p:ID", "d:ID"."""

    record_version: int
    user_id: str
    methods: tuple[str, ...]
    scope: str
    issued_us: int
    expires_us: int
    audit_ids: tuple[str, ...]  # its own, and that of the first token of its line
    app_credential_id: str = ""
    credential_id: str = ""  # made from a key of S3: it goes with that
    trust_id: str = ""  # of a trust: `user_id` is its trustor when it impersonates, else its trustee
    # `valid_from_us` of whoever proved who he is (the user; of a trust its trustee), as it was then: what voids his tokens changes it,
    # also while a password is being checked, or where clocks differ.  -1 in tokens of earlier versions, which go by their time.
    proved_from_us: int = -1


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Bearer).decode


class BearerSealer:
    """Makes and opens tokens; all processes of a cluster have the same keys."""

    def __init__(self, cluster_key: bytes, rng: Rng) -> None:
        assert len(cluster_key) == 32
        self._first = cluster_key
        self._rng = rng
        self._ciphers: dict[tuple[int, int], AESGCM] = {}
        self.use(BUILT_IN)

    def use(self, keys: KeySet) -> None:
        """Seal with the primary key of these from now on, and open with them alone."""
        self.keys = keys
        self._secrets = {key.number: key.secret or self._first for key in keys.keys}
        self._ciphers.clear()

    def _cipher(self, number: int, day: int) -> AESGCM:
        cipher = self._ciphers.get((number, day))
        if cipher is None:
            if len(self._ciphers) >= _KEYS_HELD:
                self._ciphers.clear()
            key = hmac.digest(self._secrets[number], _PURPOSE + b"%d" % day, "sha256")
            cipher = self._ciphers[number, day] = AESGCM(key)
        return cipher

    def seal(self, bearer: Bearer) -> str:
        """The token."""
        number, day = self.keys.primary, bearer.issued_us // DAY_US
        head = FORMAT + number.to_bytes(4, "big") + day.to_bytes(4, "big") + self._rng.token(12)
        sealed = head + self._cipher(number, day).encrypt(head[9:], _ENCODE(bearer), head)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, token: str, now_us: int) -> Bearer | None:
        """What a token says, expired or not; None when it is none of ours, or was issued more than two months ago."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        number, day = int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:9], "big")
        if len(data) < HEAD_BYTES + 16 or data[:1] != FORMAT or number not in self._secrets:
            return None
        if not -1 <= now_us // DAY_US - day < MAX_AGE_DAYS:
            return None
        head = data[:HEAD_BYTES]
        try:
            bearer = _DECODE(self._cipher(number, day).decrypt(head[9:], data[HEAD_BYTES:], head))
        except (InvalidTag, msgspec.DecodeError):
            return None
        # One text for one token: base64 has bits to spare in its last character.
        return bearer if base64.urlsafe_b64encode(data).decode().rstrip("=") == token else None


class SecretBox:
    """Seals secrets that must be known again (keys of S3), for records at rest."""

    def __init__(self, cluster_key: bytes, rng: Rng) -> None:
        self._cipher = AESGCM(hmac.digest(cluster_key, _SECRETS, "sha256"))
        self._rng = rng

    def seal(self, secret: bytes, owner: str) -> bytes:
        """`owner` is the id of the record: nothing opens in another one."""
        nonce = self._rng.token(12)
        return nonce + self._cipher.encrypt(nonce, secret, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes | None:
        """The secret; None when it was not sealed here, for this record."""
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], owner.encode())
        except (InvalidTag, ValueError):
            return None
