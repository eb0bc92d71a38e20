"""The catalog: services, endpoints, regions."""

from typing import Any

import msgspec

from objstore.fronts.identity.call import (
    Answer,
    Call,
    Handler,
    called,
    fields,
    filtered,
    flag,
    identifier,
    listed,
    nullable,
    text,
    with_extra,
)
from objstore.fronts.identity.errors import IdentityProblem, invalid, not_found
from objstore.fronts.identity.keeping import alter, remove, store
from objstore.fronts.identity.views import endpoint_view, region_view, service_view
from objstore.identity.tenancy import RECORD_VERSION, Endpoint, EndpointLink, Kept, Region, Service, new_id

_INTERFACES = ("public", "internal", "admin")


def _url(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not 1 <= len(value) <= 2000 or not value.isprintable() or " " in value:
        raise invalid(name, "it must be an address without blanks")
    return value


def _interface(name: str, value: Any) -> Any:
    if value not in _INTERFACES:
        raise invalid(name, f"it must be one of {', '.join(_INTERFACES)}")
    return value


_SERVICE = {"name": text, "type": called, "description": nullable(text), "enabled": flag}
_ENDPOINT = {
    "interface": _interface, "service_id": identifier, "url": _url, "region_id": nullable(identifier), "region": nullable(identifier),
    "enabled": flag, "name": text, "description": nullable(text),
}  # fmt: skip
_REGION = {"description": nullable(text), "parent_region_id": nullable(identifier), "id": nullable(identifier)}


def _merged(found: Any, given: dict[str, Any]) -> Any:
    return msgspec.structs.replace(found, **{**given, "extra": with_extra(found.extra, given.get("extra", {}))})


# -- services -----------------------------------------------------------------------------------------------------


async def create_service(call: Call) -> Answer:
    """POST /services."""
    call.check_change()
    given = fields(call.document("service"), _SERVICE, required=("type",))
    service = await store(call, "service", Service(RECORD_VERSION, new_id(call.registry.rng), **given))
    return Answer(201, {"service": service_view(call, service)})


async def list_services(call: Call) -> Answer:
    """GET /services."""
    call.check_read()
    views = filtered(call, (service_view(call, service) for service in call.registry.all(Service)), ("name", "type", "enabled"))
    return listed(call, "services", views, "/services")


async def show_service(call: Call) -> Answer:
    """GET /services/{service_id}."""
    call.check_read()
    return Answer(body={"service": service_view(call, call.find(Service, call.parameters["service_id"], "service"))})


async def update_service(call: Call) -> Answer:
    """PATCH /services/{service_id}."""
    call.check_change()
    service = call.find(Service, call.parameters["service_id"], "service")
    given = fields(call.document("service"), _SERVICE)
    changed = await alter(call, "service", service, lambda found: _merged(found, given))
    return Answer(body={"service": service_view(call, changed)})


async def delete_service(call: Call) -> Answer:
    """DELETE /services/{service_id}: its endpoints go too."""
    call.check_change()
    service = call.find(Service, call.parameters["service_id"], "service")
    await remove(call, "service", service)
    for endpoint in [endpoint for endpoint in call.registry.all(Endpoint) if endpoint.service_id == service.id]:
        await call.registry.delete(endpoint)
        await _unlink(call, endpoint)
    return Answer(204)


async def _unlink(call: Call, endpoint: Endpoint) -> None:
    """Take an endpoint that is gone from the projects it was given to: who was given nothing else sees all again, not nothing."""
    for link in call.registry.all(EndpointLink):
        if link.endpoint_id == endpoint.id:
            await call.registry.delete(link)


# -- endpoints ----------------------------------------------------------------------------------------------------


async def _endpoint_fields(call: Call, required: tuple[str, ...]) -> dict[str, Any]:
    given = fields(call.document("endpoint"), _ENDPOINT, required=required)
    region = given.pop("region", None)
    if "service_id" in given and call.registry.get(Service, given["service_id"]) is None:
        raise IdentityProblem(400, f"Could not find service: {given['service_id']}.")
    if given.get("region_id") and call.registry.get(Region, given["region_id"]) is None:
        raise IdentityProblem(400, f"Could not find region: {given['region_id']}.")
    if region and not given.get("region_id"):
        given["region_id"] = region
        if call.registry.get(Region, region) is None:  # as Keystone does: naming one here makes it
            await store(call, "region", Region(RECORD_VERSION, region))
    if "region_id" in given:
        given["region_id"] = given["region_id"] or ""
    return given


async def create_endpoint(call: Call) -> Answer:
    """POST /endpoints."""
    call.check_change()
    given = await _endpoint_fields(call, ("interface", "service_id", "url"))
    endpoint = await store(call, "endpoint", Endpoint(RECORD_VERSION, new_id(call.registry.rng), **given))
    return Answer(201, {"endpoint": endpoint_view(call, endpoint)})


async def list_endpoints(call: Call) -> Answer:
    """GET /endpoints."""
    call.check_read()
    names = ("interface", "service_id", "region_id", "region", "enabled")
    return listed(call, "endpoints", filtered(call, (endpoint_view(call, e) for e in call.registry.all(Endpoint)), names), "/endpoints")


async def show_endpoint(call: Call) -> Answer:
    """GET /endpoints/{endpoint_id}."""
    call.check_read()
    return Answer(body={"endpoint": endpoint_view(call, call.find(Endpoint, call.parameters["endpoint_id"], "endpoint"))})


async def update_endpoint(call: Call) -> Answer:
    """PATCH /endpoints/{endpoint_id}."""
    call.check_change()
    endpoint = call.find(Endpoint, call.parameters["endpoint_id"], "endpoint")
    given = await _endpoint_fields(call, ())
    changed = await alter(call, "endpoint", endpoint, lambda found: _merged(found, given))
    return Answer(body={"endpoint": endpoint_view(call, changed)})


async def delete_endpoint(call: Call) -> Answer:
    """DELETE /endpoints/{endpoint_id}."""
    call.check_change()
    endpoint = call.find(Endpoint, call.parameters["endpoint_id"], "endpoint")
    await remove(call, "endpoint", endpoint)
    await _unlink(call, endpoint)
    return Answer(204)


# -- regions ------------------------------------------------------------------------------------------------------


async def _make_region(call: Call, id_: str) -> Answer:
    call.check_change()
    given = fields(call.document("region"), _REGION)
    given.pop("id", None)
    parent = given.pop("parent_region_id", None) or ""
    _check_parent(call, id_, parent)
    region = await store(call, "region", Region(RECORD_VERSION, id_, parent_id=parent, **given))
    return Answer(201, {"region": region_view(call, region)})


def _check_parent(call: Call, id_: str, parent: str) -> None:
    seen: list[str] = [id_]
    while parent:
        found = call.registry.get(Region, parent)
        if found is None:
            raise not_found("region", parent)
        if parent in seen:
            raise IdentityProblem(400, "A region cannot be its own parent.")
        seen.append(parent)
        parent = found.parent_id


async def create_region(call: Call) -> Answer:
    """POST /regions."""
    return await _make_region(call, _given_id(call) or new_id(call.registry.rng))


def _given_id(call: Call) -> str:
    given = call.document("region").get("id")
    return str(identifier("id", given)) if given else ""


async def put_region(call: Call) -> Answer:
    """PUT /regions/{region_id}."""
    id_ = call.parameters["region_id"]
    if _given_id(call) not in ("", id_):
        raise IdentityProblem(400, "The id in the body is another one than that of the address.")
    return await _make_region(call, str(identifier("id", id_)))


async def list_regions(call: Call) -> Answer:
    """GET /regions: for everybody who is known."""
    views = filtered(call, (region_view(call, region) for region in call.registry.all(Region)), ("parent_region_id",))
    return listed(call, "regions", views, "/regions")


def _region(call: Call) -> Region:
    found = call.registry.get(Region, call.parameters["region_id"])
    if found is None:
        raise not_found("region", call.parameters["region_id"])
    return found


async def show_region(call: Call) -> Answer:
    """GET /regions/{region_id}."""
    return Answer(body={"region": region_view(call, _region(call))})


async def update_region(call: Call) -> Answer:
    """PATCH /regions/{region_id}."""
    call.check_change()
    region = _region(call)
    given = fields(call.document("region"), _REGION)
    given.pop("id", None)
    if "parent_region_id" in given:
        given["parent_id"] = given.pop("parent_region_id") or ""
        _check_parent(call, region.id, given["parent_id"])
    changed = await alter(call, "region", region, lambda found: _merged(found, given))
    return Answer(body={"region": region_view(call, changed)})


async def delete_region(call: Call) -> Answer:
    """DELETE /regions/{region_id}: not while something is in it."""
    call.check_change()
    region = _region(call)
    inside: list[Kept] = [other for other in call.registry.all(Region) if other.parent_id == region.id]
    inside += [endpoint for endpoint in call.registry.all(Endpoint) if endpoint.region_id == region.id]
    if inside:
        raise IdentityProblem(403, f"Unable to delete region {region.id} because it or its child regions have associated endpoints.")
    await remove(call, "region", region)
    return Answer(204)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/services"): ("create_service", create_service),
    ("GET", "/services"): ("list_services", list_services),
    ("GET", "/services/{service_id}"): ("get_service", show_service),
    ("PATCH", "/services/{service_id}"): ("update_service", update_service),
    ("DELETE", "/services/{service_id}"): ("delete_service", delete_service),
    ("POST", "/endpoints"): ("create_endpoint", create_endpoint),
    ("GET", "/endpoints"): ("list_endpoints", list_endpoints),
    ("GET", "/endpoints/{endpoint_id}"): ("get_endpoint", show_endpoint),
    ("PATCH", "/endpoints/{endpoint_id}"): ("update_endpoint", update_endpoint),
    ("DELETE", "/endpoints/{endpoint_id}"): ("delete_endpoint", delete_endpoint),
    ("POST", "/regions"): ("create_region", create_region),
    ("GET", "/regions"): ("list_regions", list_regions),
    ("GET", "/regions/{region_id}"): ("get_region", show_region),
    ("PUT", "/regions/{region_id}"): ("create_region", put_region),
    ("PATCH", "/regions/{region_id}"): ("update_region", update_region),
    ("DELETE", "/regions/{region_id}"): ("delete_region", delete_region),
}
