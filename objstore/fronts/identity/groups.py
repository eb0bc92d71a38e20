"""Groups and their members."""

import msgspec

from objstore.fronts.identity.call import (
    Answer,
    Call,
    Handler,
    called,
    domain_of,
    fields,
    filtered,
    identifier,
    listed,
    nullable,
    text,
    with_extra,
)
from objstore.fronts.identity.errors import IdentityProblem, not_found
from objstore.fronts.identity.keeping import alter, check_not_above, remove, store
from objstore.fronts.identity.views import group_view, user_view
from objstore.identity.rules import may_read
from objstore.identity.tenancy import RECORD_VERSION, Group, Person, new_id

MAX_GROUPS_OF_USER = 1000
_SPEC = {"name": called, "description": nullable(text), "domain_id": nullable(identifier)}


async def create(call: Call) -> Answer:
    """POST /groups."""
    given = fields(call.document("group"), _SPEC, required=("name",))
    domain_id = domain_of(call, given.pop("domain_id", None))
    call.check_change(domain_id=domain_id)
    group = Group(RECORD_VERSION, new_id(call.registry.rng), domain_id=domain_id, **given)
    await store(call, "group", group)
    return Answer(201, {"group": group_view(call, group)})


async def listing(call: Call) -> Answer:
    """GET /groups."""
    who = call.who
    call.check_read(domain_id=who.scope_domain.id if who.scope_domain is not None else "")
    seen = (group_view(call, group) for group in call.registry.all(Group) if may_read(who, domain_id=group.domain_id))
    return listed(call, "groups", filtered(call, seen, ("name", "domain_id")), "/groups")


def _known(call: Call) -> Group:
    found = call.registry.get(Group, call.parameters["group_id"])
    call.check_read(domain_id=found.domain_id if found is not None else "")
    return call.find(Group, call.parameters["group_id"], "group")


def _own(call: Call) -> Group:
    """The group of a call that changes it or who is in it.  Raises 403, 404."""
    group = call.find(Group, call.parameters["group_id"], "group")
    call.check_change(domain_id=group.domain_id)
    check_not_above(call, [f"g:{group.id}"])
    return group


async def show(call: Call) -> Answer:
    """GET /groups/{group_id}."""
    return Answer(body={"group": group_view(call, _known(call))})


async def update(call: Call) -> Answer:
    """PATCH /groups/{group_id}."""
    group = _own(call)
    given = fields(call.document("group"), _SPEC)
    if (given.pop("domain_id", None) or group.domain_id) != group.domain_id:
        raise IdentityProblem(403, "The domain of a group cannot be changed.")
    extra = given.pop("extra")

    def edit(found: Group) -> Group:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, extra), **given)

    return Answer(body={"group": group_view(call, await alter(call, "group", group, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /groups/{group_id}: its members lose what they had by it at once."""
    group = _own(call)
    await remove(call, "group", group)
    await call.registry.delete_grants({group.id})
    return Answer(204)


async def members(call: Call) -> Answer:
    """GET /groups/{group_id}/users."""
    group = _known(call)
    views = [user_view(call, user) for user in call.registry.all(Person) if group.id in user.groups]
    return listed(call, "users", filtered(call, views, ("name", "enabled")), f"/groups/{group.id}/users")


def _pair(call: Call) -> tuple[Group, Person]:
    group = _own(call)
    user = call.find(Person, call.parameters["user_id"], "user")
    call.check_change(domain_id=user.domain_id)
    return group, user


async def add(call: Call) -> Answer:
    """PUT /groups/{group_id}/users/{user_id}."""
    group, user = _pair(call)

    def edit(found: Person) -> Person:
        held = [id_ for id_ in found.groups if call.registry.get(Group, id_) is not None and id_ != group.id]
        if len(held) >= MAX_GROUPS_OF_USER:
            raise IdentityProblem(403, f"A user can be in {MAX_GROUPS_OF_USER} groups.")
        return found if group.id in found.groups else msgspec.structs.replace(found, groups=(*held, group.id))

    await alter(call, "user", user, edit)
    return Answer(204)


async def check(call: Call) -> Answer:
    """HEAD or GET /groups/{group_id}/users/{user_id}."""
    group = _known(call)
    user = call.find(Person, call.parameters["user_id"], "user")
    if group.id not in user.groups:
        raise not_found("user in group", f"{user.id}/{group.id}")
    return Answer(204)


async def take(call: Call) -> Answer:
    """DELETE /groups/{group_id}/users/{user_id}."""
    group, user = _pair(call)
    if group.id not in user.groups:
        raise not_found("user in group", f"{user.id}/{group.id}")
    await alter(
        call, "user", user, lambda found: msgspec.structs.replace(found, groups=tuple(id_ for id_ in found.groups if id_ != group.id))
    )
    return Answer(204)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/groups"): ("create_group", create),
    ("GET", "/groups"): ("list_groups", listing),
    ("GET", "/groups/{group_id}"): ("get_group", show),
    ("PATCH", "/groups/{group_id}"): ("update_group", update),
    ("DELETE", "/groups/{group_id}"): ("delete_group", delete),
    ("GET", "/groups/{group_id}/users"): ("list_users_in_group", members),
    ("PUT", "/groups/{group_id}/users/{user_id}"): ("add_user_to_group", add),
    ("GET", "/groups/{group_id}/users/{user_id}"): ("check_user_in_group", check),
    ("DELETE", "/groups/{group_id}/users/{user_id}"): ("remove_user_from_group", take),
}
