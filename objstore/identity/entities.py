"""Identities as the store keeps them: users, groups and roles (holders of policies), managed policies, providers of web identities.

Records of the system bucket under `iam/`, msgspec arrays: new fields go last, with a default.  What refers to another record
does so by its unique id, never by its name: whoever is made again under an old name inherits nothing.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from objstore.errors import Refused
from objstore.runtime.rng import Rng

RECORD_VERSION = 1
AWS_POLICY = "aws:"  # ids of the built-in managed policies begin with it; they are no records

USER, GROUP, ROLE = "user", "group", "role"
ID_PREFIXES = {USER: "AIDA", GROUP: "AGPA", ROLE: "AROA", "policy": "ANPA"}
KEY_PREFIX = "AKIA"
SESSION_KEY_PREFIX = "ASIA"

NAME_LIMITS = {USER: 64, ROLE: 64, GROUP: 128, "policy": 128}
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_PATH = re.compile(r"/|/[\x21-\x7e]{1,510}/")
# Amazon's limits for one account.
MAX_OF_ACCOUNT = {USER: 5000, GROUP: 300, ROLE: 1000, "policy": 1500, "oidc-provider": 100}  # every proxy holds all of them in memory
MAX_KEYS = 2
MAX_ATTACHED = 10
MAX_GROUPS_OF_USER = 10
MAX_TAGS = 50
MAX_POLICY_VERSIONS = 5
MAX_INLINE_BYTES = {USER: 2048, GROUP: 5120, ROLE: 10240}
MAX_MANAGED_BYTES = 6144
MAX_TRUST_BYTES = 2048
DEFAULT_SESSION_S = 3600


class IdentityRefused(Refused):
    """A refusal of IAM or STS, by its code."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def no_such(kind: str, name: str) -> IdentityRefused:
    """The refusal when something is not there."""
    return IdentityRefused("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)


def exists_already(kind: str, name: str) -> IdentityRefused:
    """The refusal when something is there already."""
    return IdentityRefused("EntityAlreadyExists", f"{kind.capitalize()} with name {name} already exists.", 409)


def in_use(message: str) -> IdentityRefused:
    """The refusal to delete what still holds, or is held by, something else."""
    return IdentityRefused("DeleteConflict", message, 409)


def invalid(message: str) -> IdentityRefused:
    """The refusal of a parameter."""
    return IdentityRefused("ValidationError", message)


def over_limit(what: str, limit: int) -> IdentityRefused:
    """The refusal of one more than there may be."""
    return IdentityRefused("LimitExceeded", f"Cannot exceed quota for {what}: {limit}", 409)


class AccessKey(msgspec.Struct, frozen=True, array_like=True):
    """An access key of a user."""

    id: str
    secret: str
    created_us: int
    active: bool = True

    def __repr__(self) -> str:
        return f"AccessKey({self.id!r})"  # never the secret


class Holder(msgspec.Struct, frozen=True, array_like=True):
    """A user, group or role.  `attached` and `boundary` hold ids of managed policies, `groups` ids of groups."""

    record_version: int
    kind: str
    account: str
    name: str
    id: str
    created_us: int
    path: str = "/"
    inline: dict[str, str] = {}  # policies by name, as JSON
    attached: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    boundary: str = ""
    keys: tuple[AccessKey, ...] = ()  # users only, like `groups`
    groups: tuple[str, ...] = ()
    trust: str = ""  # roles only, like what follows
    description: str = ""
    max_session_s: int = DEFAULT_SESSION_S
    fixed: bool = False  # stands for a user of the identities file, and adds to it

    @property
    def arn(self) -> str:
        """Its Amazon resource name."""
        return arn_of(self.account, self.kind, self.path, self.name)


class PolicyVersion(msgspec.Struct, frozen=True, array_like=True):
    """One version of a managed policy."""

    id: str  # "v1", "v2"...
    document: str
    created_us: int


class ManagedPolicy(msgspec.Struct, frozen=True, array_like=True):
    """A policy that users, groups and roles of its account may share."""

    record_version: int
    account: str
    name: str
    id: str
    created_us: int
    updated_us: int
    path: str = "/"
    versions: tuple[PolicyVersion, ...] = ()  # oldest first
    default: str = "v1"
    made: int = 1  # versions made so far
    description: str = ""
    tags: dict[str, str] = {}

    @property
    def arn(self) -> str:
        """Its Amazon resource name."""
        return arn_of(self.account, "policy", self.path, self.name)

    @property
    def document(self) -> str:
        """The JSON that holds."""
        return next(version.document for version in self.versions if version.id == self.default)


class WebProvider(msgspec.Struct, frozen=True, array_like=True):
    """Who vouches for web identities: an OpenID Connect issuer.  `keys` is its JSON Web Key Set, empty where none is known."""

    record_version: int
    account: str
    url: str  # without https://
    created_us: int
    clients: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()
    keys: str = ""
    tags: dict[str, str] = {}
    insecure: bool = False  # its address began with http://

    @property
    def arn(self) -> str:
        """Its Amazon resource name."""
        return f"arn:aws:iam::{self.account}:oidc-provider/{self.url}"


@dataclass(frozen=True)
class HolderKey:
    """Names a holder: names of one kind and account differ in more than case."""

    kind: str
    account: str
    name: str

    @property
    def record(self) -> str:
        """The name of its record."""
        return f"{self.kind}/{self.account}/{self.name.lower()}"


def key_of(holder: Holder) -> HolderKey:
    """What names a holder."""
    return HolderKey(holder.kind, holder.account, holder.name)


def arn_of(account: str, kind: str, path: str, name: str) -> str:
    """An Amazon resource name of something in an account."""
    return f"arn:aws:iam::{account}:{kind}{path}{name}"


def new_id(rng: Rng, prefix: str, length: int = 21) -> str:
    """A unique id or access key: a prefix and random capital letters and digits."""
    return prefix + base64.b32encode(rng.token(20)).decode()[: length - len(prefix)]


def new_secret(rng: Rng) -> str:
    """A secret key: 40 characters that need no quoting."""
    return base64.urlsafe_b64encode(rng.token(30)).decode().replace("-", "x").replace("_", "y")


def in_own_account(trust: str, account: str) -> str:
    """A trust policy whose ARNs of users and roles without an account mean the role's own, as with Ceph's gateway."""
    return trust.replace('"arn:aws:iam:::', f'"arn:aws:iam::{account}:')


def check_name(name: str, kind: str, parameter: str) -> str:
    """A name as it may be.  Raises IdentityRefused."""
    limit = NAME_LIMITS.get(kind, 128)
    if not name or len(name) > limit or _NAME.fullmatch(name) is None:
        raise invalid(
            f"The specified value for {parameter} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_- and at most {limit} of them"
        )
    return name


def check_path(path: str) -> str:
    """A path as it may be; empty means "/".  Raises IdentityRefused."""
    if _PATH.fullmatch(path or "/") is None:
        raise invalid(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
        )
    return path or "/"


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as they may be.  Raises IdentityRefused."""
    if len(tags) > MAX_TAGS:
        raise over_limit("TagsPerResource", MAX_TAGS)
    for name, value in tags.items():
        if not 1 <= len(name) <= 128 or len(value) > 256:
            raise invalid("A tag's key has 1 to 128 characters, its value at most 256.")
    return dict(tags)
