"""Trusts: a user lends some of its roles on a project to another one, until a time, for so many logins, or to be lent on.

A trust is worth what its trustor has at the moment, so taking a role from the trustor takes it from all.  Tokens of trusts make no
secrets and see none; they make another trust only where theirs may be lent on, and one that is narrower.
"""

from typing import Any

import msgspec

from objstore.fronts.identity.call import (
    Answer,
    Call,
    Handler,
    View,
    fields,
    filtered,
    flag,
    identifier,
    listed,
    nullable,
    parse_time,
    time_text,
)
from objstore.fronts.identity.errors import IdentityProblem, forbidden, invalid, not_found
from objstore.fronts.identity.keeping import check_may_make, remove, store
from objstore.fronts.identity.views import role_view
from objstore.identity.rules import may_read
from objstore.identity.tenancy import RECORD_VERSION, Person, Project, Role, Trust, new_id

MAX_OF_USER = 5000
MAX_ROLES = 100
_BASE = "/OS-TRUST/trusts"


def _count(name: str, value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise invalid(name, "it must be a number from 0 to 1000000")
    return value


def _uses(name: str, value: Any) -> Any:
    if _count(name, value) < 1:
        raise invalid(name, "it must be at least 1")
    return value


def _roles(name: str, value: Any) -> Any:
    if not isinstance(value, list) or len(value) > MAX_ROLES or not all(isinstance(entry, dict) for entry in value):
        raise invalid(name, f"it must be a list of at most {MAX_ROLES} objects with an id or a name")
    return value


_SPEC = {
    "trustor_user_id": identifier, "trustee_user_id": identifier, "project_id": nullable(identifier), "impersonation": flag, "roles": _roles,
    "expires_at": nullable(parse_time), "remaining_uses": nullable(_uses), "allow_redelegation": flag, "redelegation_count": nullable(_count),
}  # fmt: skip


def _view(call: Call, trust: Trust, *, roles: bool) -> View:
    path = f"{_BASE}/{trust.id}"
    shown: View = {
        "id": trust.id, "trustor_user_id": trust.trustor_id, "trustee_user_id": trust.trustee_id, "project_id": trust.project_id,
        "impersonation": trust.impersonation, "expires_at": time_text(trust.expires_us) if trust.expires_us else None, "deleted_at": None,
        "remaining_uses": trust.uses_left, "redelegation_count": trust.redelegation_count, "redelegated_trust_id": trust.parent_id or None,
        "links": {"self": call.link(path)},
    }  # fmt: skip
    if roles:
        shown["roles"] = [role_view(call, role) for role in _lent(call, trust)]
        shown["roles_links"] = {"self": call.link(f"{path}/roles"), "next": None, "previous": None}
    return shown


def _lent(call: Call, trust: Trust) -> list[Role]:
    return [role for role in (call.registry.get(Role, id_) for id_ in trust.roles) if role is not None]


# -- making one ---------------------------------------------------------------------------------------------------


def _wanted(call: Call, given: dict[str, Any], held: tuple[Role, ...]) -> tuple[str, ...]:
    """Ids of the roles that are lent: none but those that the trustor has.  Raises 403."""
    if not given.get("roles"):
        raise IdentityProblem(403, "At least one role should be specified.")
    found: list[str] = []
    for entry in given["roles"]:
        id_, name = entry.get("id"), entry.get("name")
        role = next((role for role in held if role.id == id_ or (id_ is None and role.name == name)), None)
        if role is None:
            raise IdentityProblem(403, f"The trustor has no role {str(id_ or name)[:64]} on the project that it could lend.")
        found.append(role.id)
    return tuple(dict.fromkeys(found))


def _depth(call: Call, given: dict[str, Any], parent: Trust | None) -> int:
    """How often the new trust may be lent on.  Raises 400, 403."""
    asked = given.get("redelegation_count")
    if not given.get("allow_redelegation", False):
        if asked:
            raise IdentityProblem(400, "redelegation_count says how often a trust is lent on; with allow_redelegation false it is 0.")
        return 0
    most = call.identity.settings.max_redelegation if parent is None else parent.redelegation_count - 1
    if given.get("remaining_uses") is not None:
        raise IdentityProblem(400, "A trust that may be lent on cannot have remaining_uses.")
    if asked is not None and asked > most:
        raise IdentityProblem(403, f"A redelegation_count of {asked} exceeds what is allowed, {most}.")
    return most if asked is None else asked


def _ends(call: Call, given: dict[str, Any], limits: list[int]) -> int:
    """When the new trust ends: with what it is made from at the latest.  Raises 400, 403."""
    asked = given.get("expires_at") or 0
    if given.get("expires_at") is not None and asked <= call.identity.now_us():
        raise IdentityProblem(400, "The expires_at time of a trust must be in the future.")
    latest = min((limit for limit in limits if limit), default=0)
    if latest and asked > latest:
        raise IdentityProblem(403, "The requested expiration time is more than what the trust is made from can provide.")
    return asked or latest


def _source(call: Call, given: dict[str, Any]) -> tuple[str, Trust | None, tuple[Role, ...]]:
    """What the caller's token lets it lend: its application credential, its trust, roles on the project.  Raises 400, 403, 404."""
    who, project_id = call.who, given.get("project_id")
    if not project_id:
        raise IdentityProblem(400, "A trust lends roles on a project: 'project_id' is a required property")
    parent = who.trust
    if parent is None:
        app_id = check_may_make(call)
    else:
        app_id = ""
        if who.bearer.credential_id or who.bearer.app_credential_id or parent.redelegation_count < 1 or not parent.impersonation:
            raise forbidden(f"identity:{call.action}")
    if app_id or parent is not None:
        if who.project is None or who.project.id != project_id:
            raise forbidden(f"identity:{call.action}")
        return app_id, parent, who.roles
    project = call.registry.get(Project, project_id)
    if project is None or not call.registry.is_usable(project):
        raise not_found("project", project_id)
    return "", None, tuple(call.registry.roles_on(who.user, f"p:{project_id}"))


async def create(call: Call) -> Answer:
    """POST /OS-TRUST/trusts: for oneself alone."""
    given = fields(call.document("trust"), _SPEC, required=("trustor_user_id", "trustee_user_id", "impersonation"))
    if given["trustor_user_id"] != call.who.user.id:
        raise IdentityProblem(403, "The authenticated user should match the trustor.")
    app_id, parent, held = _source(call, given)
    if call.registry.get(Person, given["trustee_user_id"]) is None:
        raise not_found("user", given["trustee_user_id"])
    if sum(trust.trustor_id == call.who.user.id for trust in call.registry.owned(Trust, call.who.user.id)) >= MAX_OF_USER:
        raise IdentityProblem(403, f"A user may have {MAX_OF_USER} trusts.")
    credential = call.who.app_credential
    limits = [parent.expires_us if parent is not None else 0, credential.expires_us if credential is not None else 0]
    trust = Trust(
        RECORD_VERSION, new_id(call.registry.rng), trustor_id=call.who.user.id, trustee_id=given["trustee_user_id"],
        project_id=given["project_id"], impersonation=given["impersonation"], roles=_wanted(call, given, held),
        expires_us=_ends(call, given, limits), uses_left=given.get("remaining_uses"), redelegation_count=_depth(call, given, parent),
        parent_id=parent.id if parent is not None else "", app_credential_id=app_id,
    )  # fmt: skip
    await store(call, "trust", trust)
    return Answer(201, {"trust": _view(call, trust, roles=True)})


# -- looking and ending -------------------------------------------------------------------------------------------


async def listing(call: Call) -> Answer:
    """GET /OS-TRUST/trusts: all for administrators and readers of the system, else by trustor or trustee that one is oneself."""
    asked = [call.query[name] for name in ("trustor_user_id", "trustee_user_id") if name in call.query]
    call.check(right=may_read(call.who) or call.who.user.id in asked)
    pool = call.registry.owned(Trust, asked[0]) if asked else call.registry.all(Trust)
    views = [_view(call, trust, roles=False) for trust in pool if call.registry.trust(trust.id) is not None]
    return listed(call, "trusts", filtered(call, views, ("trustor_user_id", "trustee_user_id", "project_id")), _BASE)


def _trust(call: Call) -> Trust:
    """For its two parties, administrators and readers of the system.  Raises 403, 404."""
    found = call.registry.trust(call.parameters["trust_id"])
    if found is None:
        raise not_found("trust", call.parameters["trust_id"])
    call.check(right=may_read(call.who) or call.who.user.id in (found.trustor_id, found.trustee_id))
    return found


async def show(call: Call) -> Answer:
    """GET /OS-TRUST/trusts/{trust_id}."""
    return Answer(body={"trust": _view(call, _trust(call), roles=True)})


async def list_roles(call: Call) -> Answer:
    """GET /OS-TRUST/trusts/{trust_id}/roles."""
    trust = _trust(call)
    return listed(call, "roles", [role_view(call, role) for role in _lent(call, trust)], f"{_BASE}/{trust.id}/roles")


async def show_role(call: Call) -> Answer:
    """GET or HEAD /OS-TRUST/trusts/{trust_id}/roles/{role_id}."""
    for role in _lent(call, _trust(call)):
        if role.id == call.parameters["role_id"]:
            return Answer(body={"role": role_view(call, role)})
    raise not_found("role in the trust", call.parameters["role_id"])


async def delete(call: Call) -> Answer:
    """DELETE /OS-TRUST/trusts/{trust_id}: its tokens are void, and those of trusts that it was lent on by.

    A token of a trust ends nothing but what was lent on from that very trust.
    """
    trust = _trust(call)
    own = call.who.user.id == trust.trustor_id and (call.who.trust is None or trust.parent_id == call.who.trust.id)
    call.check(right=call.who.is_admin or own)
    if call.who.trust is None:
        check_may_make(call)
    await remove(call, "trust", trust)
    gone = {trust.id}
    while below := [found for found in call.registry.owned(Trust, trust.trustor_id) if found.parent_id in gone]:
        for found in below:
            gone.add(found.id)
            await call.registry.delete(found)
    return Answer(204)


async def use(call: Call, trust: Trust) -> None:
    """Count one login by a trust.  Raises 403 when none is left."""
    if trust.uses_left is None:
        return

    def edit(found: Trust) -> Trust:
        if not found.uses_left:
            raise IdentityProblem(403, f"No remaining uses for trust: {trust.id}.")
        return msgspec.structs.replace(found, uses_left=found.uses_left - 1)

    await call.registry.change(trust, edit)


_ONE = f"{_BASE}/{{trust_id}}"
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", _BASE): ("create_trust", create),
    ("GET", _BASE): ("list_trusts", listing),
    ("GET", _ONE): ("get_trust", show),
    ("DELETE", _ONE): ("delete_trust", delete),
    ("GET", f"{_ONE}/roles"): ("list_roles_for_trust", list_roles),
    ("GET", f"{_ONE}/roles/{{role_id}}"): ("get_role_for_trust", show_role),
}
