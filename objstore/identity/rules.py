"""Who may do what in the identity service, as pure functions: implied roles, and Keystone's rules by role and scope.

The role admin is the cloud's administrator on whatever it was assigned, as in Keystone; who shall only administer one domain
gets the role manager on it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from objstore.identity.bearer import Bearer
from objstore.identity.tenancy import (
    ADMIN,
    MANAGER,
    MEMBER,
    READER,
    SERVICE,
    SYSTEM,
    AccessRule,
    AppCredential,
    Domain,
    Person,
    Project,
    Role,
    Trust,
)

ASSIGNABLE_BY_MANAGERS = frozenset((MANAGER, MEMBER, READER))
_ONE = re.compile(r"\*|\{[^{}/]*\}")


@dataclass(frozen=True)
class Access:
    """Who calls, for what, with which roles."""

    bearer: Bearer
    user: Person
    domain: Domain  # the user's
    roles: tuple[Role, ...]
    project: Project | None = None
    project_domain: Domain | None = None
    scope_domain: Domain | None = None
    app_credential: AppCredential | None = None
    trust: Trust | None = None
    names: frozenset[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(role.name for role in self.roles if not role.domain_id))

    @property
    def is_admin(self) -> bool:
        """The cloud's administrator."""
        return ADMIN in self.names

    @property
    def is_service(self) -> bool:
        """A service, which may ask about the tokens and signatures of others."""
        return self.is_admin or SERVICE in self.names

    @property
    def system(self) -> bool:
        """Whether this is for the system as a whole."""
        return self.bearer.scope == SYSTEM


def expanded(roles: Iterable[str], implies: Mapping[str, Iterable[str]]) -> list[str]:
    """Ids of roles and of all that they imply, each once, in order; circles end."""
    found: dict[str, None] = {}
    waiting = list(roles)
    while waiting:
        role = waiting.pop(0)
        if role not in found:
            found[role] = None
            waiting += implies.get(role, ())
    return list(found)


def may_read(access: Access, *, domain_id: str = "", user_id: str = "", project_id: str = "") -> bool:
    """Whether the caller may look at something of this domain, this user, this project: administrators, readers of the system or of
    the domain, the user itself, readers of the project."""
    if access.is_admin or (access.system and READER in access.names):
        return True
    if domain_id and access.scope_domain is not None and access.scope_domain.id == domain_id and READER in access.names:
        return True
    if project_id and access.project is not None and access.project.id == project_id:
        return True
    return bool(user_id) and access.user.id == user_id


def may_change(access: Access, *, domain_id: str = "", user_id: str = "") -> bool:
    """Whether the caller may change it: administrators, the domain's managers, the user itself."""
    if access.is_admin:
        return True
    if domain_id and access.scope_domain is not None and access.scope_domain.id == domain_id and MANAGER in access.names:
        return True
    return bool(user_id) and access.user.id == user_id


def may_assign(access: Access, role: Role, actor_domain: str, target_domain: str) -> bool:
    """Whether the caller may give or take this role: managers only within their domain, and no more than their own kind."""
    if access.is_admin:
        return True
    return role.name in ASSIGNABLE_BY_MANAGERS and not role.domain_id and bool(actor_domain) and actor_domain == target_domain and (
        may_change(access, domain_id=target_domain)
    )  # fmt: skip


def rule_allows(rules: Iterable[AccessRule], service: str, method: str, path: str) -> bool:
    """Whether one of an application credential's access rules allows a request.  `*`, `**` and {names} stand for parts of a path."""
    return any(rule.service == service and rule.method in (method, "*") and path_matches(rule.path, path) for rule in rules)


def path_matches(pattern: str, path: str) -> bool:
    """Whether a path fits: `*` and {names} are one piece between slashes, `**` any number of them.  Nothing backtracks but over the last `**`."""
    wanted, found = pattern.split("/"), path.split("/")
    at = here = 0
    star = mark = -1
    while here < len(found):
        if at < len(wanted) and wanted[at] == "**":
            star, mark, at = at, here, at + 1
        elif at < len(wanted) and (wanted[at] == found[here] or (found[here] and _ONE.fullmatch(wanted[at]) is not None)):
            at, here = at + 1, here + 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(piece == "**" for piece in wanted[at:])


S3_FULL, S3_OBJECTS, S3_READ, S3_NONE = "full", "objects", "read", ""


def s3_rights(names: Iterable[str]) -> str:
    """What a key of S3 may do by the roles of its user on its project: administrators and managers are the account, members have all
    of S3 and no IAM, readers read."""
    held = set(names)
    if held & {ADMIN, MANAGER}:
        return S3_FULL
    if MEMBER in held:
        return S3_OBJECTS
    return S3_READ if READER in held else S3_NONE
