"""Roles, and which come with which."""

import msgspec

from objstore.fronts.identity.call import (
    Answer,
    Call,
    Handler,
    View,
    called,
    fields,
    filtered,
    identifier,
    listed,
    nullable,
    table,
    text,
    with_extra,
)
from objstore.fronts.identity.errors import IdentityProblem, not_found
from objstore.fronts.identity.keeping import alter, remove, store
from objstore.fronts.identity.views import role_view
from objstore.identity.rules import expanded, may_change, may_read
from objstore.identity.tenancy import ADMIN, RECORD_VERSION, Domain, Role, new_id

_SPEC = {"name": called, "description": nullable(text), "domain_id": nullable(identifier), "options": table}


def _check_look(call: Call) -> None:
    """Roles are seen by administrators, readers of the system, and managers of a domain, who assign them."""
    who = call.who
    managed = who.scope_domain is not None and may_change(who, domain_id=who.scope_domain.id)
    call.check(right=may_read(who) or managed)


async def create(call: Call) -> Answer:
    """POST /roles."""
    call.check_change()
    given = fields(call.document("role"), _SPEC, required=("name",))
    given.pop("options", None)
    domain_id = given.pop("domain_id", None) or ""
    if domain_id and call.registry.get(Domain, domain_id) is None:
        raise not_found("domain", domain_id)
    role = Role(RECORD_VERSION, new_id(call.registry.rng), domain_id=domain_id, **given)
    await store(call, "role", role)
    return Answer(201, {"role": role_view(call, role)})


async def listing(call: Call) -> Answer:
    """GET /roles: those of one domain only when it is asked for."""
    _check_look(call)
    wanted = call.query.get("domain_id", "")
    views = [role_view(call, role) for role in call.registry.all(Role) if role.domain_id == wanted]
    return listed(call, "roles", filtered(call, views, ("name",)), "/roles")


async def show(call: Call) -> Answer:
    """GET /roles/{role_id}."""
    _check_look(call)
    found = call.registry.get(Role, call.parameters["role_id"])
    if found is None:
        raise not_found("role", call.parameters["role_id"])
    return Answer(body={"role": role_view(call, found)})


async def update(call: Call) -> Answer:
    """PATCH /roles/{role_id}."""
    call.check_change()
    role = call.find(Role, call.parameters["role_id"], "role")
    given = fields(call.document("role"), _SPEC)
    given.pop("options", None)
    if (given.pop("domain_id", None) or role.domain_id) != role.domain_id:
        raise IdentityProblem(403, "The domain of a role cannot be changed.")
    extra = given.pop("extra")

    def edit(found: Role) -> Role:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, extra), **given)

    return Answer(body={"role": role_view(call, await alter(call, "role", role, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /roles/{role_id}: nobody has it any more, at once."""
    call.check_change()
    role = call.find(Role, call.parameters["role_id"], "role")
    await remove(call, "role", role)
    for grant in call.registry.grants():
        if role.id in grant.roles or role.id in grant.inherited:
            await call.registry.change_grant(
                grant.actor,
                grant.target,
                lambda found: msgspec.structs.replace(
                    found,
                    roles=tuple(id_ for id_ in found.roles if id_ != role.id),
                    inherited=tuple(id_ for id_ in found.inherited if id_ != role.id),
                ),
            )
    return Answer(204)


# -- implied roles ------------------------------------------------------------------------------------------------


def _brief(call: Call, role: Role) -> View:
    return {"id": role.id, "name": role.name, "links": {"self": call.link(f"/roles/{role.id}")}}


def _pair(call: Call) -> tuple[Role, Role]:
    prior = call.find(Role, call.parameters["role_id"], "role")
    return prior, call.find(Role, call.parameters["implied_id"], "role")


def _inference(call: Call, prior: Role, implied: Role) -> View:
    return {
        "role_inference": {"prior_role": _brief(call, prior), "implies": _brief(call, implied)},
        "links": {"self": call.link(f"/roles/{prior.id}/implies/{implied.id}")},
    }


def _implied(call: Call, role: Role) -> list[Role]:
    return [found for found in (call.registry.get(Role, id_) for id_ in role.implies) if found is not None]


async def imply(call: Call) -> Answer:
    """PUT /roles/{role_id}/implies/{implied_id}: circles, and roles that imply admin, are refused."""
    call.check_change()
    prior, implied = _pair(call)
    implies = {role.id: role.implies for role in call.registry.all(Role)}
    if prior.id in expanded([implied.id], implies):
        raise IdentityProblem(403, f"Role {implied.id} implies {prior.id} already; roles cannot imply one another.")
    if implied.name == ADMIN and not implied.domain_id:
        raise IdentityProblem(403, f"Invalid implied role specification: {prior.id} cannot imply {implied.id}, the administrator's role.")
    await alter(
        call, "role", prior, lambda found: msgspec.structs.replace(found, implies=tuple(dict.fromkeys([*found.implies, implied.id])))
    )
    return Answer(201, _inference(call, prior, implied))


async def show_implied(call: Call) -> Answer:
    """GET or HEAD /roles/{role_id}/implies/{implied_id}."""
    call.check_read()
    prior, implied = _pair(call)
    if implied.id not in prior.implies:
        raise not_found("implied role", implied.id)
    return Answer(204) if call.head else Answer(200, _inference(call, prior, implied))


async def list_implied(call: Call) -> Answer:
    """GET /roles/{role_id}/implies."""
    call.check_read()
    prior = call.find(Role, call.parameters["role_id"], "role")
    inference = {"prior_role": _brief(call, prior), "implies": [_brief(call, role) for role in _implied(call, prior)]}
    return Answer(body={"role_inference": inference, "links": {"self": call.link(f"/roles/{prior.id}/implies")}})


async def no_longer_imply(call: Call) -> Answer:
    """DELETE /roles/{role_id}/implies/{implied_id}."""
    call.check_change()
    prior, implied = _pair(call)
    if implied.id not in prior.implies:
        raise not_found("implied role", implied.id)
    await alter(
        call, "role", prior, lambda found: msgspec.structs.replace(found, implies=tuple(id_ for id_ in found.implies if id_ != implied.id))
    )
    return Answer(204)


async def inferences(call: Call) -> Answer:
    """GET /role_inferences."""
    call.check_read()
    found = [
        {"prior_role": _brief(call, role), "implies": [_brief(call, other) for other in _implied(call, role)]}
        for role in call.registry.all(Role)
        if _implied(call, role)
    ]
    return Answer(body={"role_inferences": found, "links": {"self": call.link("/role_inferences")}})


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/roles"): ("create_role", create),
    ("GET", "/roles"): ("list_roles", listing),
    ("GET", "/roles/{role_id}"): ("get_role", show),
    ("PATCH", "/roles/{role_id}"): ("update_role", update),
    ("DELETE", "/roles/{role_id}"): ("delete_role", delete),
    ("GET", "/roles/{role_id}/implies"): ("list_implied_roles", list_implied),
    ("PUT", "/roles/{role_id}/implies/{implied_id}"): ("create_implied_role", imply),
    ("GET", "/roles/{role_id}/implies/{implied_id}"): ("get_implied_role", show_implied),
    ("DELETE", "/roles/{role_id}/implies/{implied_id}"): ("delete_implied_role", no_longer_imply),
    ("GET", "/role_inferences"): ("list_role_inference_rules", inferences),
}
