"""Which endpoints a project sees in its catalog: endpoints and groups of them, given to projects one by one (OS-EP-FILTER).

A project that was given none sees all.  Who sees less in its catalog may still do what its roles let it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, View, called, fields, filtered, listed, nullable, table, text
from objstore.fronts.identity.errors import invalid, not_found
from objstore.fronts.identity.keeping import alter, remove, store
from objstore.fronts.identity.views import endpoint_view, project_view
from objstore.identity.registry import Registry
from objstore.identity.tenancy import RECORD_VERSION, Endpoint, EndpointGroup, EndpointLink, Project, new_id

_BASE = "/OS-EP-FILTER"
_KNOWN = ("service_id", "interface", "region_id", "enabled")


def _filters(name: str, value: Any) -> Any:
    found = table(name, value)
    if not found or not set(found) <= set(_KNOWN) or not all(isinstance(entry, str | bool) for entry in found.values()):
        raise invalid(name, f"it must be an object with one or more of {', '.join(_KNOWN)}")
    return found


_SPEC = {"name": called, "description": nullable(text), "filters": _filters}


def _view(call: Call, group: EndpointGroup) -> View:
    return {
        "id": group.id, "name": group.name, "description": group.description, "filters": dict(group.filters),
        "links": {"self": call.link(f"{_BASE}/endpoint_groups/{group.id}")},
    }  # fmt: skip


def in_group(group: EndpointGroup, endpoint: Endpoint) -> bool:
    """Whether an endpoint is one of a group."""
    return all(getattr(endpoint, name) == value for name, value in group.filters.items())


def endpoints_for(registry: Registry, project_id: str, endpoints: list[Endpoint]) -> list[Endpoint]:
    """Those that a project sees."""
    links = registry.owned(EndpointLink, project_id)
    if not links:
        return endpoints
    ids = {link.endpoint_id for link in links}
    groups = [group for group in (registry.get(EndpointGroup, link.group_id) for link in links) if group is not None]
    return [endpoint for endpoint in endpoints if endpoint.id in ids or any(in_group(group, endpoint) for group in groups)]


# -- groups -------------------------------------------------------------------------------------------------------


def _group(call: Call) -> EndpointGroup:
    return call.find(EndpointGroup, call.parameters["group_id"], "endpoint group")


async def create(call: Call) -> Answer:
    """POST /OS-EP-FILTER/endpoint_groups."""
    call.check_change()
    given = fields(call.document("endpoint_group"), _SPEC, required=("name", "filters"))
    group = await store(call, "endpoint group", EndpointGroup(RECORD_VERSION, new_id(call.registry.rng), **given))
    return Answer(201, {"endpoint_group": _view(call, group)})


async def listing(call: Call) -> Answer:
    """GET /OS-EP-FILTER/endpoint_groups."""
    call.check_read()
    views = [_view(call, group) for group in call.registry.all(EndpointGroup)]
    return listed(call, "endpoint_groups", filtered(call, views, ("name",)), f"{_BASE}/endpoint_groups")


async def show(call: Call) -> Answer:
    """GET or HEAD /OS-EP-FILTER/endpoint_groups/{group_id}."""
    call.check_read()
    return Answer(body={"endpoint_group": _view(call, _group(call))})


async def update(call: Call) -> Answer:
    """PATCH /OS-EP-FILTER/endpoint_groups/{group_id}."""
    call.check_change()
    given = fields(call.document("endpoint_group"), _SPEC)
    given.pop("extra")
    changed = await alter(call, "endpoint group", _group(call), lambda found: msgspec.structs.replace(found, **given))
    return Answer(body={"endpoint_group": _view(call, changed)})


async def _unlink(call: Call, **wanted: str) -> None:
    for link in call.registry.all(EndpointLink):
        if all(getattr(link, name) == value for name, value in wanted.items()):
            await call.registry.delete(link)


async def delete(call: Call) -> Answer:
    """DELETE /OS-EP-FILTER/endpoint_groups/{group_id}."""
    call.check_change()
    group = _group(call)
    await remove(call, "endpoint group", group)
    await _unlink(call, group_id=group.id)
    return Answer(204)


# -- what projects were given -------------------------------------------------------------------------------------


def _pair(call: Call) -> EndpointLink:
    """The link that a call is about; it need not be there.  Raises 404."""
    project = call.find(Project, call.parameters["project_id"], "project")
    if "group_id" in call.parameters:
        group = _group(call)
        return EndpointLink(RECORD_VERSION, f"{project.id}/{group.id}", project_id=project.id, group_id=group.id)
    endpoint = call.find(Endpoint, call.parameters["endpoint_id"], "endpoint")
    return EndpointLink(RECORD_VERSION, f"{project.id}/{endpoint.id}", project_id=project.id, endpoint_id=endpoint.id)


async def link(call: Call) -> Answer:
    """PUT: give an endpoint, or a group, to a project.  Raises 409 when it has it."""
    call.check_change()
    await store(call, "endpoint of a project", _pair(call))
    return Answer(204)


def _linked(call: Call) -> EndpointLink:
    pair = _pair(call)
    found = call.registry.get(EndpointLink, pair.id)
    if found is None:
        raise not_found("endpoint of the project", pair.endpoint_id or pair.group_id)
    return found


async def check(call: Call) -> Answer:
    """GET or HEAD /OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}."""
    call.check_read()
    _linked(call)
    return Answer(204)


async def show_link(call: Call) -> Answer:
    """GET or HEAD /OS-EP-FILTER/endpoint_groups/{group_id}/projects/{project_id}."""
    call.check_read()
    found = _linked(call)
    project = call.find(Project, found.project_id, "project")
    return Answer(body={"project": project_view(call, project)})


async def unlink(call: Call) -> Answer:
    """DELETE: take it away again."""
    call.check_change()
    await remove(call, "endpoint of a project", _linked(call))
    return Answer(204)


def _links(call: Call, **wanted: str) -> Iterable[EndpointLink]:
    return [link for link in call.registry.all(EndpointLink) if all(getattr(link, name) == value for name, value in wanted.items())]


async def endpoints_of_project(call: Call) -> Answer:
    """GET /OS-EP-FILTER/projects/{project_id}/endpoints."""
    call.check_read()
    project = call.find(Project, call.parameters["project_id"], "project")
    given = list(_links(call, project_id=project.id))
    found = endpoints_for(call.registry, project.id, call.registry.all(Endpoint)) if given else []
    return listed(call, "endpoints", [endpoint_view(call, endpoint) for endpoint in found], f"{_BASE}/projects/{project.id}/endpoints")


async def groups_of_project(call: Call) -> Answer:
    """GET /OS-EP-FILTER/projects/{project_id}/endpoint_groups."""
    call.check_read()
    project = call.find(Project, call.parameters["project_id"], "project")
    found = [call.registry.get(EndpointGroup, link.group_id) for link in _links(call, project_id=project.id)]
    views = [_view(call, group) for group in found if group is not None]
    return listed(call, "endpoint_groups", views, f"{_BASE}/projects/{project.id}/endpoint_groups")


def _projects(call: Call, links: Iterable[EndpointLink]) -> list[View]:
    found = [call.registry.get(Project, link.project_id) for link in links]
    return [project_view(call, project) for project in found if project is not None]


async def projects_of_endpoint(call: Call) -> Answer:
    """GET /OS-EP-FILTER/endpoints/{endpoint_id}/projects."""
    call.check_read()
    endpoint = call.find(Endpoint, call.parameters["endpoint_id"], "endpoint")
    return listed(call, "projects", _projects(call, _links(call, endpoint_id=endpoint.id)), f"{_BASE}/endpoints/{endpoint.id}/projects")


async def projects_of_group(call: Call) -> Answer:
    """GET /OS-EP-FILTER/endpoint_groups/{group_id}/projects."""
    call.check_read()
    group = _group(call)
    return listed(call, "projects", _projects(call, _links(call, group_id=group.id)), f"{_BASE}/endpoint_groups/{group.id}/projects")


async def endpoints_of_group(call: Call) -> Answer:
    """GET /OS-EP-FILTER/endpoint_groups/{group_id}/endpoints."""
    call.check_read()
    group = _group(call)
    views = [endpoint_view(call, endpoint) for endpoint in call.registry.all(Endpoint) if in_group(group, endpoint)]
    return listed(call, "endpoints", views, f"{_BASE}/endpoint_groups/{group.id}/endpoints")


_GROUPS = f"{_BASE}/endpoint_groups"
_ONE = f"{_GROUPS}/{{group_id}}"
_OF_GROUP = f"{_ONE}/projects/{{project_id}}"
_OF_PROJECT = f"{_BASE}/projects/{{project_id}}/endpoints/{{endpoint_id}}"
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", _GROUPS): ("create_endpoint_group", create),
    ("GET", _GROUPS): ("list_endpoint_groups", listing),
    ("GET", _ONE): ("get_endpoint_group", show),
    ("PATCH", _ONE): ("update_endpoint_group", update),
    ("DELETE", _ONE): ("delete_endpoint_group", delete),
    ("GET", f"{_ONE}/projects"): ("list_projects_associated_with_endpoint_group", projects_of_group),
    ("GET", f"{_ONE}/endpoints"): ("list_endpoints_associated_with_endpoint_group", endpoints_of_group),
    ("PUT", _OF_GROUP): ("add_endpoint_group_to_project", link),
    ("GET", _OF_GROUP): ("get_endpoint_group_in_project", show_link),
    ("DELETE", _OF_GROUP): ("remove_endpoint_group_from_project", unlink),
    ("PUT", _OF_PROJECT): ("add_endpoint_to_project", link),
    ("GET", _OF_PROJECT): ("check_endpoint_in_project", check),
    ("DELETE", _OF_PROJECT): ("remove_endpoint_from_project", unlink),
    ("GET", f"{_BASE}/projects/{{project_id}}/endpoints"): ("list_endpoints_for_project", endpoints_of_project),
    ("GET", f"{_BASE}/projects/{{project_id}}/endpoint_groups"): ("list_endpoint_groups_for_project", groups_of_project),
    ("GET", f"{_BASE}/endpoints/{{endpoint_id}}/projects"): ("list_projects_for_endpoint", projects_of_endpoint),
}
