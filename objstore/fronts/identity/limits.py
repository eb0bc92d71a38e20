"""Unified limits: how much of what each project may have, for services that ask (model "flat").

A registered limit is the amount for everybody; a limit is another amount for one project or domain.  Counting what is used is the
services' own affair.
"""

from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, View, called, fields, filtered, identifier, listed, nullable, text
from objstore.fronts.identity.errors import IdentityProblem, duplicate, forbidden, invalid, not_found
from objstore.fronts.identity.keeping import alter, remove, store
from objstore.identity.rules import may_read
from objstore.identity.tenancy import RECORD_VERSION, Domain, Limit, Project, Region, RegisteredLimit, Service, new_id

MAX_AMOUNT = 2_147_483_647
MAX_AT_ONCE = 100
_FLAT = {"name": "flat", "description": "Limit enforcement and validation does not take project hierarchy into consideration."}


def _amount(name: str, value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= MAX_AMOUNT:
        raise invalid(name, f"it must be a number from -1 (any amount) to {MAX_AMOUNT}")
    return value


_PLACE = {"service_id": identifier, "region_id": nullable(identifier), "resource_name": called, "description": nullable(text)}
_REGISTERED = {**_PLACE, "default_limit": _amount}
_LIMIT = {**_PLACE, "resource_limit": _amount, "project_id": nullable(identifier), "domain_id": nullable(identifier)}
_FILTERS = ("service_id", "region_id", "resource_name", "project_id", "domain_id")


def _registered_view(call: Call, limit: RegisteredLimit) -> View:
    return {
        "id": limit.id, "service_id": limit.service_id, "region_id": limit.region_id or None, "resource_name": limit.resource_name,
        "default_limit": limit.amount, "description": limit.description, "links": {"self": call.link(f"/registered_limits/{limit.id}")},
    }  # fmt: skip


def _limit_view(call: Call, limit: Limit) -> View:
    return {
        "id": limit.id, "service_id": limit.service_id, "region_id": limit.region_id or None, "resource_name": limit.resource_name,
        "resource_limit": limit.amount, "project_id": limit.project_id or None, "domain_id": limit.domain_id or None,
        "description": limit.description, "links": {"self": call.link(f"/limits/{limit.id}")},
    }  # fmt: skip


def _asked(call: Call, name: str) -> list[dict[str, Any]]:
    found = call.body.get(name)
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_AT_ONCE or not all(isinstance(entry, dict) for entry in found):
        raise IdentityProblem(400, f"'{name}' must be a list of 1 to {MAX_AT_ONCE} objects")
    return found


def _check_place(call: Call, given: dict[str, Any]) -> None:
    """That the service and the region are there.  Raises 400."""
    if "service_id" in given and call.registry.get(Service, given["service_id"]) is None:
        raise invalid("service_id", "there is no such service")
    if given.get("region_id") and call.registry.get(Region, given["region_id"]) is None:
        raise invalid("region_id", "there is no such region")


def _used(call: Call, registered: RegisteredLimit) -> bool:
    place = (registered.service_id, registered.region_id, registered.resource_name)
    return any((limit.service_id, limit.region_id, limit.resource_name) == place for limit in call.registry.all(Limit))


# -- registered limits --------------------------------------------------------------------------------------------


async def register(call: Call) -> Answer:
    """POST /registered_limits: all of them, or none where one is wrong."""
    call.check_change()
    made: dict[str, RegisteredLimit] = {}
    for entry in _asked(call, "registered_limits"):
        given = fields(entry, _REGISTERED, required=("service_id", "resource_name", "default_limit"), closed=True)
        _check_place(call, given)
        limit = RegisteredLimit(
            RECORD_VERSION, new_id(call.registry.rng), description=given.get("description"), service_id=given["service_id"],
            region_id=given.get("region_id") or "", resource_name=given["resource_name"], amount=given["default_limit"],
        )  # fmt: skip
        if limit.record in made or call.registry.named(limit) is not None:
            raise duplicate("registered_limit", limit.resource_name)
        made[limit.record] = limit
    for limit in made.values():
        await store(call, "registered_limit", limit)
    return Answer(201, {"registered_limits": [_registered_view(call, limit) for limit in made.values()]})


async def list_registered(call: Call) -> Answer:
    """GET /registered_limits: for everybody."""
    views = [_registered_view(call, limit) for limit in call.registry.all(RegisteredLimit)]
    return listed(call, "registered_limits", filtered(call, views, _FILTERS), "/registered_limits")


def _registered(call: Call) -> RegisteredLimit:
    found = call.registry.get(RegisteredLimit, call.parameters["limit_id"])
    if found is None:
        raise not_found("registered limit", call.parameters["limit_id"])
    return found


async def show_registered(call: Call) -> Answer:
    """GET /registered_limits/{limit_id}."""
    return Answer(body={"registered_limit": _registered_view(call, _registered(call))})


async def update_registered(call: Call) -> Answer:
    """PATCH /registered_limits/{limit_id}: what it is for only while no project has another amount of it."""
    call.check_change()
    limit = _registered(call)
    given = fields(call.document("registered_limit"), _REGISTERED, closed=True)
    _check_place(call, given)
    changes: dict[str, Any] = {name: given[name] for name in ("service_id", "resource_name", "description") if name in given}
    if "region_id" in given:
        changes["region_id"] = given["region_id"] or ""
    if "default_limit" in given:
        changes["amount"] = given["default_limit"]
    changed = msgspec.structs.replace(limit, **changes)
    if changed.record != limit.record:
        if _used(call, limit):
            raise IdentityProblem(403, f"Unable to update the registered limit {limit.id}: there are project limits associated with it.")
        if call.registry.named(changed) is not None:
            raise duplicate("registered_limit", changed.resource_name)
    kept = await alter(call, "registered limit", limit, lambda found: msgspec.structs.replace(found, **changes))
    return Answer(body={"registered_limit": _registered_view(call, kept)})


async def delete_registered(call: Call) -> Answer:
    """DELETE /registered_limits/{limit_id}: not while a project has another amount of it."""
    call.check_change()
    limit = _registered(call)
    if _used(call, limit):
        raise IdentityProblem(403, f"Unable to delete the registered limit {limit.id}: there are project limits associated with it.")
    await remove(call, "registered limit", limit)
    return Answer(204)


# -- limits of projects and domains -------------------------------------------------------------------------------


def _owner(call: Call, given: dict[str, Any]) -> tuple[str, str]:
    """Project or domain of a new limit.  Raises 400."""
    project_id, domain_id = given.get("project_id") or "", given.get("domain_id") or ""
    if bool(project_id) == bool(domain_id):
        raise IdentityProblem(400, "A limit is for one project or for one domain: give either project_id or domain_id.")
    if project_id and call.registry.get(Project, project_id) is None:
        raise invalid("project_id", "there is no such project")
    if domain_id and call.registry.get(Domain, domain_id) is None:
        raise invalid("domain_id", "there is no such domain")
    return project_id, domain_id


async def create(call: Call) -> Answer:
    """POST /limits: all of them, or none where one is wrong."""
    call.check_change()
    made: dict[str, Limit] = {}
    for entry in _asked(call, "limits"):
        given = fields(entry, _LIMIT, required=("service_id", "resource_name", "resource_limit"), closed=True)
        _check_place(call, given)
        project_id, domain_id = _owner(call, given)
        limit = Limit(
            RECORD_VERSION, new_id(call.registry.rng), domain_id=domain_id, description=given.get("description"), project_id=project_id,
            service_id=given["service_id"], region_id=given.get("region_id") or "", resource_name=given["resource_name"],
            amount=given["resource_limit"],
        )  # fmt: skip
        place = RegisteredLimit(
            RECORD_VERSION, "", service_id=limit.service_id, region_id=limit.region_id, resource_name=limit.resource_name
        )
        if call.registry.named(place) is None:
            raise IdentityProblem(403, f"Unable to create a limit of {limit.resource_name[:64]}: it has no registered limit.")
        if limit.record in made or call.registry.named(limit) is not None:
            raise duplicate("limit", limit.resource_name)
        made[limit.record] = limit
    for limit in made.values():
        await store(call, "limit", limit)
    return Answer(201, {"limits": [_limit_view(call, limit) for limit in made.values()]})


def _visible(call: Call, limit: Limit) -> bool:
    who = call.who
    own = who.scope_domain.id if who.scope_domain is not None else ""
    project = call.registry.get(Project, limit.project_id)
    within = project.domain_id if project is not None else limit.domain_id
    mine = who.project is not None and who.project.id == limit.project_id
    return mine or may_read(who) or (bool(own) and own == within)


async def listing(call: Call) -> Answer:
    """GET /limits: of one's own project or domain; all for administrators and readers of the system."""
    project = call.who.project
    pool = call.registry.owned(Limit, project.id) if project is not None and not may_read(call.who) else call.registry.all(Limit)
    views = [_limit_view(call, limit) for limit in pool if _visible(call, limit)]
    return listed(call, "limits", filtered(call, views, _FILTERS), "/limits")


def _limit(call: Call) -> Limit:
    found = call.registry.get(Limit, call.parameters["limit_id"])
    if found is not None and _visible(call, found):
        return found
    if may_read(call.who):
        raise not_found("limit", call.parameters["limit_id"])
    raise forbidden(f"identity:{call.action}")


async def show(call: Call) -> Answer:
    """GET /limits/{limit_id}."""
    return Answer(body={"limit": _limit_view(call, _limit(call))})


async def update(call: Call) -> Answer:
    """PATCH /limits/{limit_id}: the amount and the description."""
    call.check_change()
    given = fields(call.document("limit"), {"resource_limit": _amount, "description": nullable(text)}, closed=True)
    changes = {"amount" if name == "resource_limit" else name: value for name, value in given.items() if name != "extra"}
    changed = await alter(call, "limit", _limit(call), lambda found: msgspec.structs.replace(found, **changes))
    return Answer(body={"limit": _limit_view(call, changed)})


async def delete(call: Call) -> Answer:
    """DELETE /limits/{limit_id}."""
    call.check_change()
    await remove(call, "limit", _limit(call))
    return Answer(204)


async def model(call: Call) -> Answer:
    """GET /limits/model."""
    return Answer(body={"model": dict(_FLAT), "links": {"self": call.link("/limits/model")}})


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/registered_limits"): ("create_registered_limits", register),
    ("GET", "/registered_limits"): ("list_registered_limits", list_registered),
    ("GET", "/registered_limits/{limit_id}"): ("get_registered_limit", show_registered),
    ("PATCH", "/registered_limits/{limit_id}"): ("update_registered_limit", update_registered),
    ("DELETE", "/registered_limits/{limit_id}"): ("delete_registered_limit", delete_registered),
    ("POST", "/limits"): ("create_limits", create),
    ("GET", "/limits"): ("list_limits", listing),
    ("GET", "/limits/model"): ("get_limit_model", model),
    ("GET", "/limits/{limit_id}"): ("get_limit", show),
    ("PATCH", "/limits/{limit_id}"): ("update_limit", update),
    ("DELETE", "/limits/{limit_id}"): ("delete_limit", delete),
}
