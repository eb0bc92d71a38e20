"""Swift's own authentication (version 1): users `account:user` with a key, and tokens that carry themselves.

A token is sealed with a key of the cluster (AES-256-GCM) and holds who it stands for and until when; nothing about it is stored, so every
proxy of the cluster takes it.  What its user may do is looked up at each use: a user who is taken away has no token any more.

    "AUTH_tk" + base64url of
    offset  size  field
    0       1     format, 2; anything else does not open
    1       12    nonce, random
    13      n     `Claim` as a msgpack array, encrypted; the 13 bytes before it are authenticated with it
    13 + n  16    tag
"""

import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.errors import InvalidArgument
from objstore.identity.logic import Credentials
from objstore.identity.model import SwiftUser, User
from objstore.objects.access import IS_SERVICE
from objstore.objects.api import Principal
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng

PREFIX = "AUTH_tk"
FORMAT = b"\x02"
NONCE_BYTES = 12
MAX_TOKEN_CHARS = 1024
LIFE_S = 86_400
ADMIN, RESELLER_ADMIN, SERVICE = ".admin", ".reseller_admin", "service"
_PURPOSE = b"objstore swift tokens 1"
_KEPT = 4096


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    account: str
    user: str
    expires_s: int


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Claim).decode


class SwiftAuth:
    """Checks keys, makes tokens and opens them.  Users with S3 keys may log in as well: `account:name` with the secret key."""

    def __init__(
        self, users: Iterable[SwiftUser], s3_users: Iterable[User], credentials: Credentials, key: bytes, rng: Rng, clock: Clock
    ) -> None:
        """Raises InvalidArgument when two users go by one name."""
        assert len(key) == 32
        self._cipher = AESGCM(hmac.digest(key, _PURPOSE, "sha256"))
        self._rng = rng
        self._clock = clock
        self._credentials = credentials
        self._keys: dict[tuple[str, str], str] = {}
        self._principals: dict[tuple[str, str], Principal] = {}
        self._access_keys: dict[tuple[str, str], str] = {}  # of users of S3: what they may is looked up by it
        self._opened: OrderedDict[str, Claim] = OrderedDict()
        for user in users:
            if not user.key or (user.account, user.user) in self._keys:
                raise InvalidArgument(f"identities: the Swift user {user.account}:{user.user} has an empty key, or is there twice")
            self._keys[user.account, user.user] = user.key
            self._principals[user.account, user.user] = _principal(user)
        for other in s3_users:
            found = credentials.lookup(other.access_key)
            if found is not None and (other.account, other.name) not in self._keys:
                self._keys[other.account, other.name] = other.secret_key
                self._access_keys[other.account, other.name] = other.access_key

    def log_in(self, user: str, key: str) -> tuple[str, Principal] | None:
        """A token for `account:user` and its key, and who that is; None when they do not belong together."""
        account, _, name = user.partition(":")
        wanted = self._keys.get((account, name))
        if not hmac.compare_digest((wanted or "no such user").encode(), key.encode()) or wanted is None:
            return None
        who = self._principal_of(account, name)
        if who is None:
            return None
        claim = Claim(account, name, self._clock.wall_us() // 1_000_000 + LIFE_S)
        head = FORMAT + self._rng.token(NONCE_BYTES)
        token = PREFIX + base64.urlsafe_b64encode(head + self._cipher.encrypt(head[1:], _ENCODE(claim), head)).decode()
        return token, who

    def _principal_of(self, account: str, name: str) -> Principal | None:
        """As it is now: IAM may have denied a user of S3 something, or all, since it logged in."""
        access_key = self._access_keys.get((account, name))
        if access_key is None:
            return self._principals.get((account, name))
        found = self._credentials.lookup(access_key)
        return None if found is None else found[1]

    def who(self, token: str, method: str = "", path: str = "") -> Principal | None:
        """Whom a token stands for; None for one that is not ours, has run out, or whose user is gone."""
        claim = self._opened.get(token) or self._open(token)
        if claim is None or claim.expires_s <= self._clock.wall_us() // 1_000_000:
            return None
        return self._principal_of(claim.account, claim.user)

    async def refresh(self) -> None:
        """Its users come from files: there is never news."""

    def _open(self, token: str) -> Claim | None:
        if not token.startswith(PREFIX) or len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        try:
            data = base64.b64decode(token[len(PREFIX) :], altchars=b"-_", validate=True)
            head = data[: 1 + NONCE_BYTES]
            if head[:1] != FORMAT or len(data) < 1 + NONCE_BYTES + 16:
                return None
            claim = _DECODE(self._cipher.decrypt(head[1:], data[1 + NONCE_BYTES :], head))
        except (binascii.Error, ValueError, InvalidTag, msgspec.DecodeError):
            return None
        if len(self._opened) >= _KEPT:
            self._opened.popitem(last=False)
        self._opened[token] = claim
        return claim


def _principal(user: SwiftUser) -> Principal:
    admin = RESELLER_ADMIN in user.groups
    full = admin or ADMIN in user.groups
    return Principal(
        account=user.account,
        user=user.user,
        display_name=user.account,
        canonical_id="",
        admin=admin,
        arn=f"arn:aws:iam::{user.account}:user/{user.user}",
        policies=None if full else (),  # a plain member may do what lists of containers let it do
        facts={"aws:username": user.user, "aws:principaltype": "User", **({IS_SERVICE: "true"} if SERVICE in user.groups else {})},
    )
