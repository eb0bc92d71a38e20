"""What a trust is worth: never more than its trustor has now, nor than any trust it was lent on from."""

from collections.abc import Iterable
from typing import Protocol

from objstore.identity.tenancy import AppCredential, Person, Role, Trust

MAX_LINE = 16  # trusts that were lent on from one another, so that no damaged record makes a walk endless


class Tables(Protocol):
    """What is looked up; `registry.Registry` is one."""

    def get(self, struct: type[Trust], id_: str, /) -> Trust | None:
        """A trust by its id."""

    def person(self, id_: str, /) -> Person | None:
        """A user by its id."""

    def app_credential(self, id_: str, /) -> AppCredential | None:
        """An application credential that has not expired."""

    def roles_on(self, user: Person, target: str, /) -> list[Role]:
        """The roles a user has on a target."""

    def within(self, allowed: Iterable[str], roles: list[Role], /) -> list[Role]:
        """Those of the roles that are among these ids, or come with them."""


def trust_line(tables: Tables, trust: Trust) -> list[Trust]:
    """A trust and those above it, the nearest first; empty when one of them is gone."""
    line = [trust]
    while line[-1].parent_id:
        parent = tables.get(Trust, line[-1].parent_id)
        if parent is None or len(line) >= MAX_LINE:
            return []
        line.append(parent)
    return line


def lent_roles(tables: Tables, trust: Trust) -> list[Role]:
    """The roles that a token of a trust has: none when its trustor has lost one of those it lent."""
    trustor = tables.person(trust.trustor_id)
    line = trust_line(tables, trust)
    if trustor is None or not line:
        return []
    roles = tables.roles_on(trustor, f"p:{trust.project_id}")
    if not set(trust.roles) <= {role.id for role in roles}:
        return []
    for above in line:
        roles = tables.within(above.roles, roles)
        if above.app_credential_id:
            credential = tables.app_credential(above.app_credential_id)
            here = credential is not None and credential.project_id == trust.project_id
            roles = tables.within(credential.roles, roles) if credential is not None and here else []
    return roles
