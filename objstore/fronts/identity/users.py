"""Users: what they are, their passwords, where they belong."""

import msgspec

from objstore.fronts.identity.call import (
    Answer,
    Call,
    Handler,
    called,
    domain_of,
    fields,
    filtered,
    flag,
    identifier,
    listed,
    nullable,
    text,
    with_extra,
)
from objstore.fronts.identity.errors import IdentityProblem, duplicate, unauthorized
from objstore.fronts.identity.keeping import alter, check_not_above, remove, store, sweep
from objstore.fronts.identity.password_rules import NO_LOCKOUT, merged, password, user_options, with_password
from objstore.fronts.identity.views import group_view, project_view, user_view
from objstore.identity.rules import may_read
from objstore.identity.tenancy import RECORD_VERSION, Group, Person, Trust, new_id

_SPEC = {
    "name": called, "description": nullable(text), "enabled": flag, "domain_id": nullable(identifier), "options": user_options,
    "default_project_id": nullable(identifier), "password": nullable(password), "password_expires_at": lambda _, value: value,
}  # fmt: skip
_FILTERS = ("name", "enabled", "domain_id", "default_project_id")


async def create(call: Call) -> Answer:
    """POST /users."""
    given = fields(call.document("user"), _SPEC, required=("name",))
    given.pop("password_expires_at", None)
    domain_id = domain_of(call, given.pop("domain_id", None))
    call.check_change(domain_id=domain_id)
    new = given.pop("password", None)
    given["options"] = merged({}, given.get("options", {}))
    given["default_project_id"] = given.get("default_project_id") or ""
    user = Person(RECORD_VERSION, new_id(call.registry.rng), domain_id=domain_id, **given)
    if call.registry.named(user) is not None:
        raise duplicate("user", user.name)
    if new is not None:
        user = msgspec.structs.replace(user, **await with_password(call, user, new, own=False))
    await store(call, "user", user)
    return Answer(201, {"user": user_view(call, user)})


async def listing(call: Call) -> Answer:
    """GET /users."""
    who = call.who
    call.check_read(domain_id=who.scope_domain.id if who.scope_domain is not None else "")
    seen = (user_view(call, user) for user in call.registry.all(Person) if may_read(who, domain_id=user.domain_id))
    return listed(call, "users", filtered(call, seen, _FILTERS), "/users")


def known(call: Call) -> Person:
    """The user of a call that only looks.  Raises 403, 404."""
    id_ = call.parameters["user_id"]
    found = call.registry.get(Person, id_)
    call.check_read(domain_id=found.domain_id if found is not None else "", user_id=id_)
    return call.find(Person, id_, "user")


async def show(call: Call) -> Answer:
    """GET /users/{user_id}."""
    return Answer(body={"user": user_view(call, known(call))})


async def update(call: Call) -> Answer:
    """PATCH /users/{user_id}: for administrators and managers of the domain.  Disabling, and another password, void its tokens."""
    user = call.find(Person, call.parameters["user_id"], "user")
    call.check_change(domain_id=user.domain_id)
    check_not_above(call, call.registry.actors(user))
    given = fields(call.document("user"), _SPEC)
    given.pop("password_expires_at", None)
    if (given.pop("domain_id", None) or user.domain_id) != user.domain_id:
        raise IdentityProblem(403, "The domain of a user cannot be changed.")
    if "default_project_id" in given:
        given["default_project_id"] = given["default_project_id"] or ""
    new = given.pop("password", None)
    extra, options = given.pop("extra"), given.pop("options", {})
    held = msgspec.structs.replace(user, options=merged(user.options, options))  # they hold for the password of the same call
    changes = await with_password(call, held, new, own=False) if new is not None else {}
    voids = new is not None or given.get("enabled") is False

    def edit(found: Person) -> Person:
        kept, since = with_extra(found.extra, extra), call.registry.voided_us(found) if voids else found.valid_from_us
        return msgspec.structs.replace(
            found, extra=kept, options=merged(found.options, options), valid_from_us=since, **{**given, **changes}
        )

    return Answer(body={"user": user_view(call, await alter(call, "user", user, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /users/{user_id}: its tokens, roles and keys mean nothing from then on, and go too."""
    user = call.find(Person, call.parameters["user_id"], "user")
    call.check_change(domain_id=user.domain_id)
    check_not_above(call, call.registry.actors(user))
    await remove(call, "user", user)
    await call.registry.delete_grants({user.id})
    await sweep(call, lambda secret: secret.user_id == user.id)
    for trust in [trust for trust in call.registry.all(Trust) if user.id in (trust.trustor_id, trust.trustee_id)]:
        await call.registry.delete(trust)
    return Answer(204)


async def change_password(call: Call) -> Answer:
    """POST /users/{user_id}/password: whoever knows the old one sets a new one, also when the old one has expired."""
    given = call.document("user")
    new = password("password", given.get("password"))
    old = given.get("original_password")
    if not isinstance(old, str):
        raise IdentityProblem(400, "'original_password' is a required property")
    user = call.registry.get(Person, call.parameters["user_id"])
    locks = user is None or not user.options.get(NO_LOCKOUT)
    right = await call.identity.passwords.check(call.parameters["user_id"], old, user.password if user is not None else "", locks=locks)
    if user is None or not right or not call.registry.is_usable(user):
        raise unauthorized()
    changes = await with_password(call, user, new, own=True)
    before = user.password

    def edit(found: Person) -> Person:
        if found.password != before:
            raise unauthorized()  # another change was faster: the old one is none any more
        return msgspec.structs.replace(found, valid_from_us=call.registry.voided_us(found), **changes)

    await alter(call, "user", user, edit)
    return Answer(204)


async def projects(call: Call) -> Answer:
    """GET /users/{user_id}/projects."""
    user = known(call)
    views = [project_view(call, project) for project in call.registry.projects_of(user)]
    return listed(call, "projects", filtered(call, views, ("name", "enabled", "domain_id")), f"/users/{user.id}/projects")


async def groups(call: Call) -> Answer:
    """GET /users/{user_id}/groups."""
    user = known(call)
    found = [group for group in (call.registry.get(Group, id_) for id_ in user.groups) if group is not None]
    return listed(call, "groups", filtered(call, [group_view(call, group) for group in found], ("name",)), f"/users/{user.id}/groups")


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/users"): ("create_user", create),
    ("GET", "/users"): ("list_users", listing),
    ("GET", "/users/{user_id}"): ("get_user", show),
    ("PATCH", "/users/{user_id}"): ("update_user", update),
    ("DELETE", "/users/{user_id}"): ("delete_user", delete),
    ("POST", "/users/{user_id}/password"): ("change_password", change_password),
    ("GET", "/users/{user_id}/projects"): ("list_user_projects", projects),
    ("GET", "/users/{user_id}/groups"): ("list_groups_for_user", groups),
}
