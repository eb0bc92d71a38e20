"""Who there is: users with their S3 keys, Swift users, names of encryption keys."""

from dataclasses import dataclass, field

import msgspec

from objstore.objects.api import Principal


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user with one pair of S3 keys.  `account` owns what the user creates; `tenant` is the space of bucket names.

    Empty `canonical_id`, `display_name` and `email` are filled in from the account when the user is loaded.
    """

    account: str
    name: str
    access_key: str
    secret_key: str
    tenant: str = "default"
    canonical_id: str = ""
    display_name: str = ""
    email: str = ""
    admin: bool = False
    root: bool = False  # goes by the name of its account: arn:aws:iam::ACCOUNT:root

    @property
    def arn(self) -> str:
        """Its Amazon resource name."""
        return f"arn:aws:iam::{self.account}:{'root' if self.root else f'user/{self.name}'}"

    def __repr__(self) -> str:
        return f"User(account={self.account!r}, name={self.name!r}, access_key={self.access_key!r})"  # never the secret


class SwiftUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user of Swift's own authentication.  `groups` may hold .admin, .reseller_admin or service."""

    account: str
    user: str
    key: str
    groups: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SwiftUser(account={self.account!r}, user={self.user!r}, groups={self.groups!r})"  # never the key


class KmsKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a key that encryption requests may use."""

    id: str


class OidcProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenID Connect issuer whose tokens may be exchanged for credentials; its public keys are in a file, or at an address."""

    account: str
    url: str
    jwks_file: str = ""
    jwks_url: str = ""
    client_ids: tuple[str, ...] = ()


class Identities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identities file: `[[user]]`, `[[swift_user]]`, `[[kms_key]]` and `[[oidc_provider]]` tables."""

    user: tuple[User, ...] = ()
    swift_user: tuple[SwiftUser, ...] = ()
    kms_key: tuple[KmsKey, ...] = ()
    oidc_provider: tuple[OidcProvider, ...] = ()


@dataclass(frozen=True)
class Owner:
    """How an account is shown in S3's answers."""

    canonical_id: str
    display_name: str


@dataclass(frozen=True)
class Keyholder:
    """What an access key stands for."""

    secret_key: str = field(repr=False)
    principal: Principal
