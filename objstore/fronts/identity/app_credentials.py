"""Application credentials and their access rules.  What is made with one is never wider than it."""

import base64
from typing import Any

from objstore.fronts.identity.call import Answer, Call, Handler, called, fields, filtered, flag, listed, nullable, parse_time, text
from objstore.fronts.identity.errors import IdentityProblem, forbidden, invalid, not_found
from objstore.fronts.identity.keeping import check_may_make, remove, store
from objstore.fronts.identity.password_rules import password
from objstore.fronts.identity.views import app_credential_view, rule_view
from objstore.identity.tenancy import RECORD_VERSION, AccessRule, AppCredential, Credential, Person, Role, Trust, new_id

MAX_OF_USER = 200
MAX_RULES = 100
MAX_RULES_OF_USER = 1000
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_BASE = "/users/{user_id}/application_credentials"


def _list(name: str, value: Any) -> Any:
    if not isinstance(value, list) or len(value) > MAX_RULES or not all(isinstance(entry, dict) for entry in value):
        raise invalid(name, f"it must be a list of at most {MAX_RULES} objects")
    return value


_SPEC = {
    "name": called, "description": nullable(text), "secret": nullable(password), "expires_at": nullable(parse_time), "unrestricted": flag,
    "roles": _list, "access_rules": nullable(_list), "project_id": nullable(text),
}  # fmt: skip


def _owner(call: Call) -> Person:
    """The user whom a call is about, for that user itself.  Raises 403."""
    call.check(right=call.who.user.id == call.parameters["user_id"])
    return call.who.user


def _roles(call: Call, given: Any) -> tuple[str, ...]:
    """Ids of the roles that it gets: all of the caller's, or those asked for, of the caller's."""
    own = {role.id: role for role in call.who.roles}
    if not given:  # an empty list asks for nothing in particular, as OpenStack's command line sends it
        return tuple(own)
    found: list[str] = []
    for entry in given:
        id_, name = entry.get("id"), entry.get("name")
        role = call.registry.get(Role, id_) if isinstance(id_, str) else call.registry.role_named(name) if isinstance(name, str) else None
        if role is None or role.id not in own:
            raise IdentityProblem(
                400, f"Invalid application credential: Could not find role assignment with role: {str(id_ or name)[:64]}."
            )
        found.append(role.id)
    return tuple(dict.fromkeys(found))


async def create(call: Call) -> Answer:
    """POST /users/{user_id}/application_credentials: for the project of the token."""
    user = _owner(call)
    app_id = check_may_make(call)
    given = fields(call.document("application_credential"), _SPEC, required=("name",))
    project = call.who.project
    if project is None:
        raise IdentityProblem(403, "An application credential is made for the project of the token that makes it; this one has none.")
    if given.get("project_id") not in (None, project.id):
        raise forbidden(f"identity:{call.action}")
    parent = call.registry.app_credential(app_id) if app_id else None
    now_us = call.identity.now_us()
    expires_us = given.get("expires_at") or 0
    if expires_us and expires_us <= now_us:
        raise IdentityProblem(400, "The expires_at time of an application credential must be in the future.")
    if parent is not None and parent.expires_us:
        expires_us = min(expires_us or parent.expires_us, parent.expires_us)
    if sum(credential.user_id == user.id for credential in call.registry.owned(AppCredential, user.id)) >= MAX_OF_USER:
        raise IdentityProblem(403, f"A user may have {MAX_OF_USER} application credentials.")
    roles = _roles(call, given.get("roles"))
    rules = given.get("access_rules")
    secret = given.get("secret") or base64.urlsafe_b64encode(call.registry.rng.token(64)).decode().rstrip("=")
    made = AppCredential(
        RECORD_VERSION, new_id(call.registry.rng), given["name"], description=given.get("description"), user_id=user.id, project_id=project.id,
        roles=roles, expires_us=expires_us, unrestricted=given.get("unrestricted", False), limited=rules is not None,
        secret=await call.identity.passwords.hash(secret), rules=tuple([await _rule(call, user, entry) for entry in rules or ()]),
    )  # fmt: skip
    await store(call, "application credential", made)
    return Answer(201, {"application_credential": {**app_credential_view(call, made), "secret": secret}})


async def _rule(call: Call, user: Person, entry: dict[str, Any]) -> str:
    """The id of an access rule: one that is there, or is made."""
    if "id" in entry:
        known = call.registry.get(AccessRule, str(entry["id"]))
        if known is None or known.user_id != user.id:
            raise not_found("access rule", str(entry["id"]))
        return known.id
    service, method, path = entry.get("service"), entry.get("method"), entry.get("path")
    if not isinstance(service, str) or not 1 <= len(service) <= 64 or method not in _METHODS:
        raise invalid("access_rules", f"each has a service, a method of {', '.join(_METHODS)}, and a path")
    if not isinstance(path, str) or not 1 <= len(path) <= 128 or path[0] != "/":
        raise invalid("access_rules", "a path begins with / and has at most 128 characters")
    own = call.registry.owned(AccessRule, user.id)
    for rule in own:
        if (rule.service, rule.method, rule.path) == (service, method, path):
            return rule.id
    if len(own) >= MAX_RULES_OF_USER:
        raise IdentityProblem(403, f"A user may have {MAX_RULES_OF_USER} access rules.")
    made = AccessRule(RECORD_VERSION, new_id(call.registry.rng), user_id=user.id, service=service, method=str(method), path=path)
    await store(call, "access rule", made)
    return made.id


def _of(call: Call) -> str:
    """The user whose credentials are looked at: oneself, or anybody's for administrators and readers of the system."""
    call.check_read(user_id=call.parameters["user_id"])
    return call.find(Person, call.parameters["user_id"], "user").id


async def listing(call: Call) -> Answer:
    """GET /users/{user_id}/application_credentials."""
    user_id = _of(call)
    views = [
        app_credential_view(call, credential) for credential in call.registry.owned(AppCredential, user_id) if credential.user_id == user_id
    ]
    return listed(call, "application_credentials", filtered(call, views, ("name",)), f"/users/{user_id}/application_credentials")


def _credential(call: Call, user_id: str) -> AppCredential:
    found = call.registry.get(AppCredential, call.parameters["credential_id"])
    if found is None or found.user_id != user_id:
        raise not_found("application credential", call.parameters["credential_id"])
    return found


async def show(call: Call) -> Answer:
    """GET /users/{user_id}/application_credentials/{credential_id}."""
    return Answer(body={"application_credential": app_credential_view(call, _credential(call, _of(call)))})


async def delete(call: Call) -> Answer:
    """DELETE /users/{user_id}/application_credentials/{credential_id}: keys that were made with it go too."""
    call.check(right=call.who.is_admin or call.who.user.id == call.parameters["user_id"])
    check_may_make(call)
    credential = _credential(call, call.parameters["user_id"])
    await remove(call, "application credential", credential)
    for trust in [trust for trust in call.registry.owned(Trust, credential.user_id) if trust.app_credential_id == credential.id]:
        await call.registry.delete(trust)
    for key in [key for key in call.registry.owned(Credential, credential.user_id) if key.app_credential_id == credential.id]:
        await call.registry.delete(key)
    return Answer(204)


async def list_rules(call: Call) -> Answer:
    """GET /users/{user_id}/access_rules."""
    user_id = _of(call)
    views = [rule_view(call, rule) for rule in call.registry.owned(AccessRule, user_id)]
    return listed(call, "access_rules", filtered(call, views, ("service", "method", "path")), f"/users/{user_id}/access_rules")


def _known_rule(call: Call, user_id: str) -> AccessRule:
    found = call.registry.get(AccessRule, call.parameters["rule_id"])
    if found is None or found.user_id != user_id:
        raise not_found("access rule", call.parameters["rule_id"])
    return found


async def show_rule(call: Call) -> Answer:
    """GET /users/{user_id}/access_rules/{rule_id}."""
    return Answer(body={"access_rule": rule_view(call, _known_rule(call, _of(call)))})


async def delete_rule(call: Call) -> Answer:
    """DELETE /users/{user_id}/access_rules/{rule_id}: not while an application credential has it."""
    call.check(right=call.who.is_admin or call.who.user.id == call.parameters["user_id"])
    check_may_make(call)
    rule = _known_rule(call, call.parameters["user_id"])
    if any(rule.id in credential.rules for credential in call.registry.owned(AppCredential, rule.user_id)):
        raise IdentityProblem(403, f"Access rule {rule.id} is used by an application credential.")
    await remove(call, "access rule", rule)
    return Answer(204)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", _BASE): ("create_application_credential", create),
    ("GET", _BASE): ("list_application_credentials", listing),
    ("GET", f"{_BASE}/{{credential_id}}"): ("get_application_credential", show),
    ("DELETE", f"{_BASE}/{{credential_id}}"): ("delete_application_credential", delete),
    ("GET", "/users/{user_id}/access_rules"): ("list_access_rules", list_rules),
    ("GET", "/users/{user_id}/access_rules/{rule_id}"): ("get_access_rule", show_rule),
    ("DELETE", "/users/{user_id}/access_rules/{rule_id}"): ("delete_access_rule", delete_rule),
}
