"""Domains."""

from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, fields, filtered, flag, listed, nullable, short, table, text, with_extra
from objstore.fronts.identity.errors import IdentityProblem
from objstore.fronts.identity.keeping import alter, remove, store, sweep
from objstore.fronts.identity.views import domain_view
from objstore.identity.rules import may_read
from objstore.identity.tenancy import RECORD_VERSION, Domain, DomainConfig, EndpointLink, Group, Limit, Person, Project, Role, Trust, new_id

_SPEC = {"name": short, "description": nullable(text), "enabled": flag, "options": table, "tags": lambda _, value: value}
_KEPT = ("name", "description", "enabled")


def _fields(call: Call, *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    given = fields(call.document("domain"), _SPEC, required=required)
    return {name: value for name, value in given.items() if name in (*_KEPT, "extra")}


async def create(call: Call) -> Answer:
    """POST /domains."""
    call.check_change()
    domain = Domain(RECORD_VERSION, new_id(call.registry.rng), **_fields(call, required=("name",)))
    await store(call, "domain", domain)
    return Answer(201, {"domain": domain_view(call, domain)})


async def listing(call: Call) -> Answer:
    """GET /domains: all for administrators and readers of the system, its own for a reader of a domain."""
    own = call.who.scope_domain.id if call.who.scope_domain is not None else ""
    call.check_read(domain_id=own)
    seen = [domain for domain in call.registry.all(Domain) if may_read(call.who, domain_id=domain.id)]
    views = filtered(call, (domain_view(call, domain) for domain in seen), ("name", "enabled"))
    return listed(call, "domains", views, "/domains")


async def show(call: Call) -> Answer:
    """GET /domains/{domain_id}: also for whoever has a scope in it."""
    id_ = call.parameters["domain_id"]
    project = call.who.project
    if project is None or project.domain_id != id_:
        call.check_read(domain_id=id_)
    return Answer(body={"domain": domain_view(call, call.find(Domain, id_, "domain"))})


async def update(call: Call) -> Answer:
    """PATCH /domains/{domain_id}."""
    call.check_change()
    domain = call.find(Domain, call.parameters["domain_id"], "domain")
    given = _fields(call)
    extra = given.pop("extra")

    def edit(found: Domain) -> Domain:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, extra), **given)

    return Answer(body={"domain": domain_view(call, await alter(call, "domain", domain, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /domains/{domain_id}: it must be disabled, so that nobody is in it while what it holds goes with it."""
    call.check_change()
    await remove_domain(call, call.find(Domain, call.parameters["domain_id"], "domain"))
    return Answer(204)


async def remove_domain(call: Call, domain: Domain) -> None:
    """Remove a domain and what is in it.  Raises 403."""
    if domain.enabled:
        raise IdentityProblem(403, "Cannot delete a domain that is enabled, please disable it first.")
    if not domain.fixed:
        gone: set[str] = set()
        for kind in (Person, Group, Project, Role, Limit):
            for value in [value for value in call.registry.all(kind) if value.domain_id == domain.id]:
                gone.add(value.id)
                await call.registry.delete(value)
        for trust in call.registry.all(Trust):
            if gone & {trust.trustor_id, trust.trustee_id, trust.project_id}:
                await call.registry.delete(trust)
        given: list[EndpointLink | Limit] = [*call.registry.all(EndpointLink), *call.registry.all(Limit)]
        for one in given:
            if one.project_id in gone:
                await call.registry.delete(one)
        await sweep(call, lambda secret: secret.user_id in gone or getattr(secret, "project_id", "") in gone)
        await call.registry.delete_grants(gone | {domain.id})
        config = call.registry.get(DomainConfig, domain.id)
        if config is not None:
            await call.registry.delete(config)
    await remove(call, "domain", domain)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/domains"): ("create_domain", create),
    ("GET", "/domains"): ("list_domains", listing),
    ("GET", "/domains/{domain_id}"): ("get_domain", show),
    ("PATCH", "/domains/{domain_id}"): ("update_domain", update),
    ("DELETE", "/domains/{domain_id}"): ("delete_domain", delete),
}
