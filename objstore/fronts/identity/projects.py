"""Projects and their tags.  A project is an account of S3 and of Swift; deleting it deletes no bucket."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from objstore.fronts.identity.call import (
    Answer,
    Call,
    Handler,
    View,
    domain_of,
    fields,
    filtered,
    flag,
    identifier,
    listed,
    nullable,
    short,
    table,
    text,
    truth,
    with_extra,
)
from objstore.fronts.identity.domains import remove_domain
from objstore.fronts.identity.errors import IdentityProblem, invalid, not_found
from objstore.fronts.identity.keeping import alter, remove, store, sweep
from objstore.fronts.identity.views import acting_view, project_view
from objstore.identity.registry import MAX_DEPTH
from objstore.identity.rules import may_read
from objstore.identity.tenancy import RECORD_VERSION, AccessRule, Domain, EndpointLink, Limit, Project, Trust, new_id

MAX_TAGS = 80
_FILTERS = ("name", "enabled", "domain_id", "parent_id", "is_domain")


def tag(name: str, value: Any) -> str:
    """A tag: 1 to 255 characters without commas and slashes."""
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or "," in value or "/" in value:
        raise invalid(name, "a tag is text of 1 to 255 characters without commas and slashes")
    return value


def tag_list(name: str, value: Any) -> tuple[str, ...]:
    """Tags, each once."""
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        raise invalid(name, f"it must be a list of at most {MAX_TAGS} tags")
    return tuple(dict.fromkeys(tag(name, entry) for entry in value))


_SPEC = {
    "name": short, "description": nullable(text), "enabled": flag, "domain_id": nullable(identifier), "parent_id": nullable(identifier),
    "is_domain": flag, "tags": tag_list, "options": table,
}  # fmt: skip


async def create(call: Call) -> Answer:
    """POST /projects."""
    given = fields(call.document("project"), _SPEC, required=("name",))
    given.pop("options", None)
    if given.pop("is_domain", False):
        return await _create_domain(call, given)
    parent_id = given.pop("parent_id", None) or ""
    parent = call.registry.get(Project, parent_id) if parent_id else None
    domain_id = domain_of(call, given.pop("domain_id", None) or (parent.domain_id if parent is not None else ""))
    call.check_change(domain_id=domain_id)
    if parent is None and parent_id not in ("", domain_id):
        raise not_found("project", parent_id)
    if parent is not None:
        if parent.domain_id != domain_id:
            raise IdentityProblem(400, "A project and its parent must be in the same domain.")
        above = [parent, *call.registry.lineage(parent)]
        if not all(found.enabled for found in above):
            raise IdentityProblem(400, f"Cannot create a project in a branch containing a disabled project: {parent_id}.")
        if len(above) + 1 > call.identity.settings.max_project_depth:
            raise IdentityProblem(403, f"Max hierarchy depth reached for {parent_id} branch.")
    parent_id = parent.id if parent is not None else ""
    project = Project(RECORD_VERSION, new_id(call.registry.rng), domain_id=domain_id, parent_id=parent_id, **given)
    await store(call, "project", project)
    return Answer(201, {"project": project_view(call, project)})


async def _create_domain(call: Call, given: dict[str, Any]) -> Answer:
    """A project that acts as a domain is one: the same thing, with both addresses."""
    call.check_change()
    if given.pop("domain_id", None) or given.pop("parent_id", None):
        raise IdentityProblem(400, "A project that acts as a domain has neither a domain nor a parent.")
    if given.pop("tags", ()):
        raise IdentityProblem(501, "Tags of a project that acts as a domain are not built.")
    given.pop("parent_id", None)
    domain = await store(call, "domain", Domain(RECORD_VERSION, new_id(call.registry.rng), **given))
    return Answer(201, {"project": acting_view(call, domain)})


async def listing(call: Call) -> Answer:
    """GET /projects; with is_domain those that act as domains."""
    who = call.who
    call.check_read(domain_id=who.scope_domain.id if who.scope_domain is not None else "")
    if truth(call.query.get("is_domain", "0")):
        acting = [acting_view(call, domain) for domain in call.registry.all(Domain) if may_read(who, domain_id=domain.id)]
        return listed(call, "projects", filtered(call, acting, _FILTERS), "/projects")
    seen = [project for project in call.registry.all(Project) if may_read(who, domain_id=project.domain_id) and _tagged(call, project)]
    return listed(call, "projects", filtered(call, (project_view(call, project) for project in seen), _FILTERS), "/projects")


def _tagged(call: Call, project: Project) -> bool:
    held = set(project.tags)
    wanted = {name: set(call.query[name].split(",")) for name in ("tags", "tags-any", "not-tags", "not-tags-any") if name in call.query}
    return (
        wanted.get("tags", set()) <= held
        and ("tags-any" not in wanted or bool(wanted["tags-any"] & held))
        and ("not-tags" not in wanted or not wanted["not-tags"] <= held)
        and not wanted.get("not-tags-any", set()) & held
    )


def _project(call: Call) -> Project:
    """The project of a call that only looks.  Raises 403, 404."""
    id_ = call.parameters["project_id"]
    found = call.registry.get(Project, id_)
    call.check_read(domain_id=found.domain_id if found is not None else "", project_id=id_)
    return call.find(Project, id_, "project")


def _own(call: Call) -> Project:
    """The project of a call that changes it.  Raises 403, 404."""
    project = call.find(Project, call.parameters["project_id"], "project")
    call.check_change(domain_id=project.domain_id)
    return project


async def show(call: Call) -> Answer:
    """GET /projects/{project_id}, with what is above and below it when asked for."""
    acting = call.registry.get(Domain, call.parameters["project_id"])
    if acting is not None and call.registry.get(Project, acting.id) is None:
        call.check_read(domain_id=acting.id)
        return Answer(body={"project": acting_view(call, acting)})
    project = _project(call)
    view = project_view(call, project)
    above = call.registry.lineage(project)
    if "parents_as_list" in call.query:
        view["parents"] = [{"project": project_view(call, parent)} for parent in above if _is_known(call, parent)]
    if "parents_as_ids" in call.query:
        ids: View | None = None
        for parent in reversed(above):
            ids = {parent.id: ids}
        view["parents"] = ids
    if "subtree_as_list" in call.query:
        below = [child for child in _below(_family(call), project) if _is_known(call, child)]
        view["subtree"] = [{"project": project_view(call, child)} for child in below]
    if "subtree_as_ids" in call.query:
        view["subtree"] = _tree(_family(call), project)
    return Answer(body={"project": view})


def _is_known(call: Call, project: Project) -> bool:
    """Whether the caller may be told more of a project above or below the one asked about than its id, as in Keystone: not by that alone."""
    who = call.who
    return may_read(who, domain_id=project.domain_id, project_id=project.id) or bool(call.registry.roles_on(who.user, f"p:{project.id}"))


def _children(call: Call, project: Project) -> list[Project]:
    return [child for child in call.registry.all(Project) if child.parent_id == project.id]


Family = dict[str, list[Project]]


def _family(call: Call) -> Family:
    """The projects right below each, looked through once."""
    found: Family = {}
    for project in call.registry.all(Project):
        found.setdefault(project.parent_id, []).append(project)
    return found


def _below(family: Family, project: Project, depth: int = 0) -> list[Project]:
    found = family.get(project.id, []) if depth < MAX_DEPTH else []
    return found + [below for child in found for below in _below(family, child, depth + 1)]


def _tree(family: Family, project: Project, depth: int = 0) -> View | None:
    found = family.get(project.id, []) if depth < MAX_DEPTH else []
    return {child.id: _tree(family, child, depth + 1) for child in found} or None


async def update(call: Call) -> Answer:
    """PATCH /projects/{project_id}."""
    if call.registry.get(Project, call.parameters["project_id"]) is None and call.registry.get(Domain, call.parameters["project_id"]):
        return await _update_domain(call)
    project = _own(call)
    given = fields(call.document("project"), _SPEC)
    given.pop("options", None)
    given.pop("is_domain", None)
    if given.pop("domain_id", project.domain_id) != project.domain_id:
        raise IdentityProblem(403, "The domain of a project cannot be changed.")
    if (given.pop("parent_id", None) or project.domain_id) not in (project.parent_id or project.domain_id, project.domain_id):
        raise IdentityProblem(403, "The parent of a project cannot be changed.")
    if given.get("enabled") is False and any(child.enabled for child in _children(call, project)):
        raise IdentityProblem(403, f"Cannot disable project {project.id}: its subtree contains enabled projects.")
    if given.get("enabled") and not all(parent.enabled for parent in call.registry.lineage(project)):
        raise IdentityProblem(403, f"Cannot enable project {project.id} since it has disabled parents.")
    extra = given.pop("extra")

    def edit(found: Project) -> Project:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, extra), **given)

    return Answer(body={"project": project_view(call, await alter(call, "project", project, edit))})


async def _update_domain(call: Call) -> Answer:
    call.check_change()
    domain = call.find(Domain, call.parameters["project_id"], "project")
    given = fields(call.document("project"), _SPEC)
    kept = {name: value for name, value in given.items() if name in ("name", "description", "enabled")}

    def edit(found: Domain) -> Domain:
        return msgspec.structs.replace(found, extra=with_extra(found.extra, given["extra"]), **kept)

    return Answer(body={"project": acting_view(call, await alter(call, "domain", domain, edit))})


async def delete(call: Call) -> Answer:
    """DELETE /projects/{project_id}: roles, keys and application credentials on it mean nothing from then on, and go too."""
    if call.registry.get(Project, call.parameters["project_id"]) is None and call.registry.get(Domain, call.parameters["project_id"]):
        call.check_change()
        await remove_domain(call, call.find(Domain, call.parameters["project_id"], "project"))
        return Answer(204)
    project = _own(call)
    if _children(call, project):
        raise IdentityProblem(403, f"Cannot delete the project {project.id} since it is not a leaf in the hierarchy.")
    await remove(call, "project", project)
    await call.registry.delete_grants({project.id})
    await sweep(call, lambda secret: not isinstance(secret, AccessRule) and secret.project_id == project.id)
    for kind in (EndpointLink, Limit, Trust):
        for value in call.registry.all(kind):
            if getattr(value, "project_id", "") == project.id:
                await call.registry.delete(value)
    return Answer(204)


# -- tags ---------------------------------------------------------------------------------------------------------


Tags = tuple[str, ...]


async def _change_tags(call: Call, project: Project, change: Callable[[Tags], Tags]) -> Project:
    """`change` sees the tags as they are when they are written: others may put theirs at the same moment."""
    return await alter(call, "project", project, lambda found: msgspec.structs.replace(found, tags=change(found.tags)))


async def tags(call: Call) -> Answer:
    """GET /projects/{project_id}/tags."""
    project = _project(call)
    return Answer(
        body={"tags": list(project.tags), "links": {"self": call.link(f"/projects/{project.id}/tags"), "next": None, "previous": None}}
    )


async def put_tags(call: Call) -> Answer:
    """PUT /projects/{project_id}/tags."""
    project = _own(call)
    wanted = tag_list("tags", call.body.get("tags"))
    changed = await _change_tags(call, project, lambda _: wanted)
    return Answer(
        body={"tags": list(changed.tags), "links": {"self": call.link(f"/projects/{project.id}/tags"), "next": None, "previous": None}}
    )


async def delete_tags(call: Call) -> Answer:
    """DELETE /projects/{project_id}/tags."""
    await _change_tags(call, _own(call), lambda _: ())
    return Answer(204)


async def put_tag(call: Call) -> Answer:
    """PUT /projects/{project_id}/tags/{tag}."""
    project, one = _own(call), tag("tag", call.parameters["tag"])
    await _change_tags(call, project, lambda held: tag_list("tags", list(dict.fromkeys([*held, one]))))
    return Answer(201, b"", [(b"location", call.link(f"/projects/{quote(project.id, safe='')}/tags/{quote(one, safe='')}").encode())])


async def check_tag(call: Call) -> Answer:
    """GET or HEAD /projects/{project_id}/tags/{tag}."""
    if call.parameters["tag"] not in _project(call).tags:
        raise not_found("project tag", call.parameters["tag"])
    return Answer(204)


async def delete_tag(call: Call) -> Answer:
    """DELETE /projects/{project_id}/tags/{tag}."""
    project, one = _own(call), call.parameters["tag"]
    if one not in project.tags:
        raise not_found("project tag", one)
    await _change_tags(call, project, lambda tags: tuple(held for held in tags if held != one))
    return Answer(204)


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/projects"): ("create_project", create),
    ("GET", "/projects"): ("list_projects", listing),
    ("GET", "/projects/{project_id}"): ("get_project", show),
    ("PATCH", "/projects/{project_id}"): ("update_project", update),
    ("DELETE", "/projects/{project_id}"): ("delete_project", delete),
    ("GET", "/projects/{project_id}/tags"): ("list_project_tags", tags),
    ("PUT", "/projects/{project_id}/tags"): ("update_project_tags", put_tags),
    ("DELETE", "/projects/{project_id}/tags"): ("delete_project_tags", delete_tags),
    ("GET", "/projects/{project_id}/tags/{tag}"): ("get_project_tag", check_tag),
    ("PUT", "/projects/{project_id}/tags/{tag}"): ("create_project_tag", put_tag),
    ("DELETE", "/projects/{project_id}/tags/{tag}"): ("delete_project_tag", delete_tag),
}
