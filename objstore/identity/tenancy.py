"""What OpenStack's identity service keeps: domains, projects, users, groups, roles, who has which role where, and a catalog.

Records of the system bucket under `ks-*/`, msgspec arrays: new fields go last, with a default.  They refer to each other by id
alone.  What has a name that is unique among its like (a project in its domain) has that name in its record's name, so that two
cannot take it at once.  A project is an account of S3 and of Swift: its id is the account's name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from objstore.identity.logic import completed
from objstore.identity.model import User
from objstore.runtime.rng import Rng

RECORD_VERSION = 1
DEFAULT_DOMAIN = "default"
ADMIN, MANAGER, MEMBER, READER, SERVICE = "admin", "manager", "member", "reader", "service"
TOTP = "totp"  # type of a credential: the secret of passcodes that change with time
RESELLER_ADMIN = "ResellerAdmin"  # acts in every account of Swift
UNBOUND = frozenset((ADMIN, SERVICE, RESELLER_ADMIN))  # roles that are good beyond what they were assigned on
_SLOT_CHARS = 128  # of a name inside a record's name; a longer one is there by its digest
SYSTEM = "s"  # targets of roles: the system, "p:ID" a project, "d:ID" a domain


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What all of them have.  `changes` counts the changes, so that of two records of one id the newer is known."""

    record_version: int
    id: str
    name: str = ""
    domain_id: str = ""
    enabled: bool = True
    description: str | None = None
    extra: dict[str, Any] = {}  # attributes that the service keeps and does not know
    changes: int = 0
    fixed: bool = False  # there without a record: from the identities file, or built in

    @property
    def record(self) -> str:
        """The name of its record."""
        return slot(self.id)


class Domain(Kept, frozen=True, array_like=True):
    """A space of names of users, groups and projects."""

    @property
    def record(self) -> str:
        """The name of its record."""
        return slot(self.name)


class _InDomain(Kept, frozen=True, array_like=True):
    @property
    def record(self) -> str:
        """The name of its record: unique in its domain."""
        return f"{slot(self.domain_id or '-')}/{slot(self.name)}"


class Project(_InDomain, frozen=True, array_like=True):
    """A project; `parent_id` is empty right below the domain."""

    parent_id: str = ""
    tags: tuple[str, ...] = ()


class Person(_InDomain, frozen=True, array_like=True):
    """A user.  Tokens issued before `valid_from_us` are void."""

    default_project_id: str = ""
    password: str = ""  # argon2id in PHC form; empty: there is none
    password_created_us: int = 0
    password_expires_us: int = 0  # 0: never
    earlier_passwords: tuple[str, ...] = ()  # newest first
    valid_from_us: int = 0
    groups: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    password_own: bool = False  # the user itself has set it

    def __repr__(self) -> str:
        return f"Person(id={self.id!r}, name={self.name!r})"  # never the hash


class Group(_InDomain, frozen=True, array_like=True):
    """A group; its members are told by themselves."""


class Role(_InDomain, frozen=True, array_like=True):
    """A role: of all domains when `domain_id` is empty.  `implies` holds ids of roles that come with it."""

    implies: tuple[str, ...] = ()


class Grant(Kept, frozen=True, array_like=True):
    """Roles of an actor ("u:ID" or "g:ID") on a target; `inherited` ones hold on the projects below it and not on itself."""

    actor: str = ""
    target: str = ""
    roles: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()

    @property
    def record(self) -> str:
        """The name of its record."""
        return grant_record(self.actor, self.target)


class Region(Kept, frozen=True, array_like=True):
    """A region of the catalog."""

    parent_id: str = ""


class Service(Kept, frozen=True, array_like=True):
    """A service of the catalog."""

    type: str = ""


class Endpoint(Kept, frozen=True, array_like=True):
    """Where a service answers; the address may hold $(project_id)s."""

    service_id: str = ""
    interface: str = ""
    region_id: str = ""
    url: str = ""


class Credential(Kept, frozen=True, array_like=True):
    """A secret of a user; of type "ec2" it is a key of S3 for one project.  `sealed` holds the secret part, encrypted."""

    user_id: str = ""
    project_id: str = ""
    type: str = ""
    access: str = ""  # the access key, of type "ec2"
    sealed: bytes = b""
    app_credential_id: str = ""  # made with it: it keeps within its roles and its time, and goes with it

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r}, type={self.type!r})"  # never what is in it


class AppCredential(Kept, frozen=True, array_like=True):
    """A password of its own for a program: some of its user's roles on one project."""

    user_id: str = ""
    project_id: str = ""
    secret: str = ""  # argon2id in PHC form
    roles: tuple[str, ...] = ()
    expires_us: int = 0  # 0: never
    unrestricted: bool = False
    rules: tuple[str, ...] = ()  # ids of access rules
    limited: bool = False  # to its access rules, also when these are none

    @property
    def record(self) -> str:
        """The name of its record: unique among its user's."""
        return f"{slot(self.user_id)}/{slot(self.name)}"

    def __repr__(self) -> str:
        return f"AppCredential(id={self.id!r}, name={self.name!r})"  # never the hash


class AccessRule(Kept, frozen=True, array_like=True):
    """A request that an application credential may be used for."""

    user_id: str = ""
    service: str = ""
    method: str = ""
    path: str = ""


class Revocation(Kept, frozen=True, array_like=True):
    """The token of this audit id is void; the record goes when nobody may ask about the token any more, expired or not."""

    expires_us: int = 0
    user_id: str = ""  # who proved who he is for it
    proved_from_us: int = -1  # as in the token


class Trust(Kept, frozen=True, array_like=True):
    """Some of a trustor's roles on one project, lent to a trustee.  Who gets them from a trust again names it in `parent_id`."""

    trustor_id: str = ""
    trustee_id: str = ""
    project_id: str = ""
    impersonation: bool = False
    roles: tuple[str, ...] = ()
    expires_us: int = 0  # 0: never
    uses_left: int | None = None  # None: any number
    redelegation_count: int = 0  # so often it may be lent on
    parent_id: str = ""
    app_credential_id: str = ""  # made with it: it keeps within its roles and goes with it


class PolicyText(Kept, frozen=True, array_like=True):
    """A text of some service's that the identity service keeps for it and does not read."""

    type: str = ""
    blob: str = ""


class EndpointGroup(Kept, frozen=True, array_like=True):
    """The endpoints that have all of these: service_id, interface, region_id, enabled."""

    filters: dict[str, Any] = {}


class EndpointLink(Kept, frozen=True, array_like=True):
    """An endpoint, or a group of them, for a project: one that has any sees these alone in its catalog."""

    project_id: str = ""
    endpoint_id: str = ""
    group_id: str = ""

    @property
    def record(self) -> str:
        """The name of its record: one for each pair."""
        return f"{slot(self.project_id)}/{slot(self.endpoint_id or self.group_id)}"


class Consumer(Kept, frozen=True, array_like=True):
    """A program that OAuth 1 knows by a secret."""

    sealed: bytes = b""

    def __repr__(self) -> str:
        return f"Consumer(id={self.id!r})"  # never the secret


class DomainConfig(Kept, frozen=True, array_like=True):
    """Options of a domain by group; its id is the domain's.  `sealed` holds those that are never shown, encrypted."""

    options: dict[str, dict[str, Any]] = {}
    sealed: bytes = b""

    def __repr__(self) -> str:
        return f"DomainConfig(id={self.id!r})"  # never what is in it


class RegisteredLimit(Kept, frozen=True, array_like=True):
    """How much of a resource of a service each project may have, where it has no limit of its own."""

    service_id: str = ""
    region_id: str = ""
    resource_name: str = ""
    amount: int = 0

    @property
    def record(self) -> str:
        """The name of its record: one for each resource of a service in a region."""
        return "/".join(slot(part or "-") for part in (self.service_id, self.region_id, self.resource_name))


class Limit(Kept, frozen=True, array_like=True):
    """How much of a resource one project, or one domain (in `domain_id`), may have."""

    project_id: str = ""
    service_id: str = ""
    region_id: str = ""
    resource_name: str = ""
    amount: int = 0

    @property
    def record(self) -> str:
        """The name of its record: one for each owner and resource."""
        owner = f"p:{self.project_id}" if self.project_id else f"d:{self.domain_id}"
        return "/".join(slot(part or "-") for part in (owner, self.service_id, self.region_id, self.resource_name))


class TokenKeys(Kept, frozen=True, array_like=True):
    """The keys that seal tokens, in one record; `sealed` is a `bearer.KeySet`, encrypted."""

    sealed: bytes = b""

    def __repr__(self) -> str:
        return f"TokenKeys(changes={self.changes})"  # never the keys


KINDS: dict[str, type[Kept]] = {
    "domain": Domain, "project": Project, "user": Person, "group": Group, "role": Role, "grant": Grant, "region": Region, "service": Service,
    "endpoint": Endpoint, "credential": Credential, "app-credential": AppCredential, "access-rule": AccessRule, "revocation": Revocation,
    "trust": Trust, "policy": PolicyText, "endpoint-group": EndpointGroup, "endpoint-link": EndpointLink, "consumer": Consumer,
    "domain-config": DomainConfig, "registered-limit": RegisteredLimit, "limit": Limit, "token-keys": TokenKeys,
}  # fmt: skip


def slot(name: str) -> str:
    """A name as a part of a record's name: itself where it is short and plain, else its digest."""
    plain = name and len(name) <= _SLOT_CHARS and name.isascii() and name.isprintable() and "/" not in name and name[0] != "#"
    return name if plain else "#" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def grant_record(actor: str, target: str) -> str:
    """The name of the record of what an actor has on a target."""
    return f"{slot(actor)}/{slot(target)}"


def new_id(rng: Rng) -> str:
    """A new id: 32 hexadecimal digits."""
    return rng.token(16).hex()


def fixed_id(*parts: str) -> str:
    """An id that is the same everywhere."""
    return sha256("/".join(("objstore identity", *parts)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Place:
    """An address of the catalog."""

    type: str
    name: str
    url: str


def built_in(
    users: Iterable[User], *, region: str = "", catalog: Iterable[Place] = (), passwords: Mapping[str, str] | None = None
) -> list[Kept]:
    """What is there from the start: domain Default, the roles, an account's project and the users of the identities file, the catalog.

    `passwords` are hashes by "account/name".  A user of the file has the role admin on its project when it is an administrator,
    else manager: within its account it could do everything before.
    """
    found: list[Kept] = [Domain(RECORD_VERSION, DEFAULT_DOMAIN, "Default", description="The default domain", fixed=True)]
    ids = {name: fixed_id("role", name) for name in (ADMIN, MANAGER, MEMBER, READER, SERVICE, RESELLER_ADMIN)}
    implied = {ADMIN: MANAGER, MANAGER: MEMBER, MEMBER: READER}
    found += [
        Role(RECORD_VERSION, id_, name, fixed=True, implies=(ids[implied[name]],) if name in implied else ()) for name, id_ in ids.items()
    ]
    found += _from_file([completed(user) for user in users], ids, passwords or {})
    if region:
        found.append(Region(RECORD_VERSION, region, fixed=True))
    for place in catalog:
        service = Service(RECORD_VERSION, fixed_id("service", place.type), place.name, type=place.type, fixed=True)
        found.append(service)
        found += [
            Endpoint(
                RECORD_VERSION, fixed_id("endpoint", place.type, interface), service_id=service.id, interface=interface, region_id=region,
                url=place.url, fixed=True,
            )
            for interface in ("public", "internal", "admin")
        ]  # fmt: skip
    return found


def _from_file(users: list[User], roles: Mapping[str, str], passwords: Mapping[str, str]) -> list[Kept]:
    found: list[Kept] = []
    names: dict[str, User] = {}
    for user in users:
        known = names.get(user.name)
        name = user.name if known is None or known.account == user.account else f"{user.account}:{user.name}"
        if names.setdefault(name, user) is not user:
            continue  # another key of the same user
        project = Project(RECORD_VERSION, user.account, user.account, DEFAULT_DOMAIN, fixed=True)
        if project not in found:
            found.append(project)
        person = Person(
            RECORD_VERSION, person_id(user), name, DEFAULT_DOMAIN, extra={"email": user.email}, fixed=True, default_project_id=user.account,
            password=passwords.get(f"{user.account}/{user.name}", ""),
        )  # fmt: skip
        found.append(person)
        role = roles[ADMIN if user.admin else MANAGER]
        found.append(_grant(f"u:{person.id}", f"p:{user.account}", role))
        if user.admin:
            found.append(_grant(f"u:{person.id}", SYSTEM, role))
            found.append(_grant(f"u:{person.id}", f"d:{DEFAULT_DOMAIN}", role))
    return found


def _grant(actor: str, target: str, role: str) -> Grant:
    return Grant(RECORD_VERSION, fixed_id("grant", actor, target), fixed=True, actor=actor, target=target, roles=(role,))


def person_id(user: User) -> str:
    """The id of a user of the identities file."""
    return fixed_id("user", user.account, user.name)
