"""Giving and taking roles: users and groups on projects, domains and the system; inherited ones; and the list of all of it."""

from dataclasses import dataclass

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler, View, truth
from objstore.fronts.identity.errors import IdentityProblem, forbidden, not_found
from objstore.fronts.identity.views import role_view
from objstore.identity.rules import expanded, may_assign, may_read
from objstore.identity.tenancy import SYSTEM, Domain, Grant, Group, Person, Project, Role

MAX_ENTRIES = 50_000  # of one answer


@dataclass(frozen=True)
class Spot:
    """Whom and where a call is about.  `domain_id` are the domains that they belong to; empty for the system."""

    actor: str
    target: str
    actor_domain: str
    target_domain: str


def _spot(call: Call) -> Spot:
    """Raises 404 where something is not there, to callers who may know."""
    given = call.parameters
    actor: Person | Group = (
        call.find(Person, given["user_id"], "user") if "user_id" in given else call.find(Group, given["group_id"], "group")
    )
    mark = "u" if "user_id" in given else "g"
    if "project_id" in given:
        project = call.find(Project, given["project_id"], "project")
        return Spot(f"{mark}:{actor.id}", f"p:{project.id}", actor.domain_id, project.domain_id)
    if "domain_id" in given:
        domain = call.find(Domain, given["domain_id"], "domain")
        return Spot(f"{mark}:{actor.id}", f"d:{domain.id}", actor.domain_id, domain.id)
    return Spot(f"{mark}:{actor.id}", SYSTEM, actor.domain_id, "")


def _held(call: Call, spot: Spot, *, inherited: bool) -> tuple[str, ...]:
    grant = call.registry.grant(spot.actor, spot.target)
    held = () if grant is None else grant.inherited if inherited else grant.roles
    return tuple(id_ for id_ in held if call.registry.get(Role, id_) is not None)


def _check_seen(call: Call, spot: Spot) -> None:
    call.check_read(domain_id=spot.target_domain)


async def _put(call: Call, *, inherited: bool) -> Answer:
    spot = _spot(call)
    role = call.find(Role, call.parameters["role_id"], "role")
    call.check(right=may_assign(call.who, role, spot.actor_domain, spot.target_domain))
    if role.domain_id and role.domain_id != spot.target_domain:
        raise IdentityProblem(403, f"The role {role.id} is of another domain than what it would be assigned on.")

    def edit(found: Grant) -> Grant:
        held = found.inherited if inherited else found.roles
        changed = tuple(dict.fromkeys([*held, role.id]))
        return msgspec.structs.replace(found, inherited=changed) if inherited else msgspec.structs.replace(found, roles=changed)

    await call.registry.change_grant(spot.actor, spot.target, edit)
    return Answer(204)


async def _check(call: Call, *, inherited: bool) -> Answer:
    spot = _spot(call)
    _check_seen(call, spot)
    if call.parameters["role_id"] not in _held(call, spot, inherited=inherited):
        raise not_found("role assignment with role", call.parameters["role_id"])
    return Answer(204)


async def _take(call: Call, *, inherited: bool) -> Answer:
    spot = _spot(call)
    role = call.find(Role, call.parameters["role_id"], "role")
    call.check(right=may_assign(call.who, role, spot.actor_domain, spot.target_domain))
    if role.id not in _held(call, spot, inherited=inherited):
        raise not_found("role assignment with role", role.id)

    def edit(found: Grant) -> Grant:
        if inherited:
            return msgspec.structs.replace(found, inherited=tuple(id_ for id_ in found.inherited if id_ != role.id))
        return msgspec.structs.replace(found, roles=tuple(id_ for id_ in found.roles if id_ != role.id))

    await call.registry.change_grant(spot.actor, spot.target, edit)
    return Answer(204)


async def _list(call: Call, *, inherited: bool) -> Answer:
    spot = _spot(call)
    _check_seen(call, spot)
    roles = [role for role in (call.registry.get(Role, id_) for id_ in _held(call, spot, inherited=inherited)) if role is not None]
    return Answer(
        body={"roles": [role_view(call, role) for role in roles], "links": {"self": call.link(call.path), "next": None, "previous": None}}
    )


async def put(call: Call) -> Answer:
    """PUT .../roles/{role_id}."""
    return await _put(call, inherited=False)


async def check(call: Call) -> Answer:
    """HEAD or GET .../roles/{role_id}."""
    return await _check(call, inherited=False)


async def take(call: Call) -> Answer:
    """DELETE .../roles/{role_id}."""
    return await _take(call, inherited=False)


async def listing(call: Call) -> Answer:
    """GET .../roles."""
    return await _list(call, inherited=False)


async def put_inherited(call: Call) -> Answer:
    """PUT /OS-INHERIT/.../roles/{role_id}/inherited_to_projects."""
    return await _put(call, inherited=True)


async def check_inherited(call: Call) -> Answer:
    """HEAD or GET /OS-INHERIT/.../roles/{role_id}/inherited_to_projects."""
    return await _check(call, inherited=True)


async def take_inherited(call: Call) -> Answer:
    """DELETE /OS-INHERIT/.../roles/{role_id}/inherited_to_projects."""
    return await _take(call, inherited=True)


async def list_inherited(call: Call) -> Answer:
    """GET /OS-INHERIT/.../roles/inherited_to_projects."""
    return await _list(call, inherited=True)


# -- the list of all ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One role of somebody somewhere.  `group`, `inherited` and `prior` tell by which assignment an effective one comes."""

    actor: str
    target: str
    role: str
    inherited: bool = False
    group: str = ""
    source: str = ""  # the target of the assignment itself
    prior: str = ""


def _entries(call: Call, actors: list[str] | None, wanted: set[str] | None) -> list[Entry]:
    """What these actors (None: all) have on the `wanted` targets (None: on all), and what may be inherited there."""
    found: list[Entry] = []
    for grant in call.registry.grants(actors):
        if wanted is not None and grant.target not in wanted and not grant.inherited:
            continue
        found += [Entry(grant.actor, grant.target, role) for role in grant.roles if call.registry.get(Role, role) is not None]
        found += [
            Entry(grant.actor, grant.target, role, inherited=True) for role in grant.inherited if call.registry.get(Role, role) is not None
        ]
    return found


def _effective(call: Call, entries: list[Entry], wanted: set[str] | None, user: str) -> list[Entry]:
    """What they come to on the `wanted` targets (None: on all) for that user (empty: for all): members in place of groups, projects in
    place of what they inherit from, implied roles beside each."""
    registry = call.registry
    implies = {role.id: role.implies for role in registry.all(Role)}
    if wanted is not None:
        entries = [entry for entry in entries if entry.inherited or entry.target in wanted]
    of_group: dict[str, list[str]] = {}
    one = registry.get(Person, user)  # whoever asks for one, which everybody may, has not all looked through
    people = [one] if one is not None else registry.all(Person) if any(entry.actor[0] == "g" for entry in entries) else []
    for person in people:
        for group in person.groups:
            of_group.setdefault(f"g:{group}", []).append(f"u:{person.id}")
    below: dict[str, list[str]] = {}
    projects = registry.all(Project) if wanted is None else [p for p in (registry.get(Project, t[2:]) for t in sorted(wanted)) if p]
    for project in projects if any(entry.inherited for entry in entries) else ():
        for above in [f"d:{project.domain_id}", *(f"p:{parent.id}" for parent in registry.lineage(project))]:
            below.setdefault(above, []).append(f"p:{project.id}")
    found: dict[Entry, None] = {}
    for entry in entries:
        actors = of_group.get(entry.actor, []) if entry.actor[0] == "g" else [entry.actor]
        targets = below.get(entry.target, []) if entry.inherited else [entry.target]
        # What is not asked for is left out here: all of it would be more than an answer may have.
        actors = [actor for actor in actors if not user or actor == f"u:{user}"]
        targets = [target for target in targets if wanted is None or target in wanted]
        for role in expanded([entry.role], implies):
            known = registry.get(Role, role)
            if known is None or known.domain_id:
                continue
            for actor in actors:
                for target in targets:
                    group = entry.actor if actor != entry.actor else ""
                    found[Entry(actor, target, role, entry.inherited, group, entry.target, entry.role if role != entry.role else "")] = None
                    if len(found) > MAX_ENTRIES:
                        raise IdentityProblem(400, f"There are more than {MAX_ENTRIES} effective assignments; ask with filters.")
    return list(found)


def _wanted_targets(call: Call) -> set[str] | None:
    query = call.query
    project, domain = query.get("scope.project.id", ""), query.get("scope.domain.id", "")
    if project and domain:
        raise IdentityProblem(400, "Specify a domain or project, not both")
    if "include_subtree" in query and truth(query["include_subtree"]):
        if not project:
            raise IdentityProblem(400, "scope.project.id must be specified if include_subtree is also specified")
        return {f"p:{project}"} | {
            f"p:{p.id}" for p in call.registry.all(Project) if any(a.id == project for a in call.registry.lineage(p))
        }
    if project:
        return {f"p:{project}"}
    if domain:
        return {f"d:{domain}"}
    return {SYSTEM} if "scope.system" in query else None


async def assignments(call: Call) -> Answer:
    """GET /role_assignments."""
    query = call.query
    user, group, role = query.get("user.id", ""), query.get("group.id", ""), query.get("role.id", "")
    effective = "effective" in query and truth(query["effective"])
    if user and group:
        raise IdentityProblem(400, "Specify a user or group, not both")
    if effective and group:
        raise IdentityProblem(400, "Combining effective and group filter will always result in an empty list.")
    who = call.who
    project = call.registry.get(Project, query.get("scope.project.id", ""))
    here = project is not None and who.project is not None and project.id == who.project.id and "manager" in who.names
    if not may_read(who, domain_id=who.scope_domain.id if who.scope_domain is not None else "", user_id=user) and not here:
        raise forbidden("identity:list_role_assignments")
    targets = _wanted_targets(call)
    person = call.registry.get(Person, user)
    actors = [f"u:{user}"] if user else [f"g:{group}"] if group else None
    if person is not None and effective:
        actors = call.registry.actors(person)
    entries = _entries(call, actors, targets)
    if effective:
        entries = _effective(call, entries, targets, user)
    heir = query.get("scope.OS-INHERIT:inherited_to") == "projects"
    shown = [
        entry
        for entry in entries
        if (targets is None or entry.target in targets)
        and (not user or entry.actor == f"u:{user}")
        and (not group or entry.actor == f"g:{group}")
        and (not role or entry.role == role)
        and (not heir or entry.inherited)
        and ((here and project is not None and entry.target == f"p:{project.id}") or _may_see(call, entry))
    ]
    names = "include_names" in query and truth(query["include_names"])
    views = [_entry_view(call, entry, names=names, effective=effective) for entry in shown]
    return Answer(body={"role_assignments": views, "links": {"self": call.link("/role_assignments"), "next": None, "previous": None}})


def _may_see(call: Call, entry: Entry) -> bool:
    kind, _, id_ = entry.target.partition(":")
    project = call.registry.get(Project, id_) if kind == "p" else None
    domain_id = project.domain_id if project is not None else id_
    return may_read(call.who, domain_id=domain_id, user_id=entry.actor[2:] if entry.actor[0] == "u" else "")


_PATHS = {"p": "/projects/", "d": "/domains/"}


def _entry_view(call: Call, entry: Entry, *, names: bool, effective: bool) -> View:
    registry = call.registry
    kind, _, id_ = entry.target.partition(":")
    where = f"{_PATHS[kind]}{id_}" if kind in _PATHS else "/system"
    source = entry.source or entry.target
    source_path = f"{_PATHS[source[0]]}{source[2:]}" if source[0] in _PATHS else "/system"
    by = entry.group or entry.actor
    path = f"{source_path if effective else where}/{'users' if by[0] == 'u' else 'groups'}/{by[2:]}/roles/{entry.prior or entry.role}"
    links = {"assignment": call.link(f"/OS-INHERIT{path}/inherited_to_projects" if entry.inherited else path)}
    if entry.group:
        links["membership"] = call.link(f"/groups/{entry.group[2:]}/users/{entry.actor[2:]}")
    if entry.prior:
        links["prior_role"] = call.link(f"/prior_role/{entry.prior}/implies/{entry.role}")
    actor_kind: type[Person] | type[Group] = Person if entry.actor[0] == "u" else Group
    view: View = {
        "role": _named(call, registry.get(Role, entry.role), names=names),
        ("user" if entry.actor[0] == "u" else "group"): _named(call, registry.get(actor_kind, entry.actor[2:]), names=names),
        "links": links,
    }
    if kind == "p":
        scope: View = {"project": _named(call, registry.get(Project, id_), names=names)}
    elif kind == "d":
        scope = {"domain": _named(call, registry.get(Domain, id_), names=names)}
    else:
        scope = {"system": {"all": True}}
    if entry.inherited and not effective:
        scope["OS-INHERIT:inherited_to"] = "projects"
    return {**view, "scope": scope}


def _named(call: Call, found: Person | Group | Project | Domain | Role | None, *, names: bool) -> View:
    assert found is not None
    if not names:
        return {"id": found.id}
    if isinstance(found, Domain) or not found.domain_id:
        return {"id": found.id, "name": found.name}
    domain = call.registry.get(Domain, found.domain_id)
    return {"id": found.id, "name": found.name, "domain": {"id": found.domain_id, "name": domain.name if domain is not None else ""}}


def _routes() -> dict[tuple[str, str], tuple[str, Handler]]:
    found: dict[tuple[str, str], tuple[str, Handler]] = {("GET", "/role_assignments"): ("list_role_assignments", assignments)}
    for target in ("/projects/{project_id}", "/domains/{domain_id}", "/system"):
        for actor in ("/users/{user_id}", "/groups/{group_id}"):
            base = f"{target}{actor}/roles"
            found[("GET", base)] = ("list_grants", listing)
            found[("PUT", f"{base}/{{role_id}}")] = ("create_grant", put)
            found[("GET", f"{base}/{{role_id}}")] = ("check_grant", check)
            found[("DELETE", f"{base}/{{role_id}}")] = ("revoke_grant", take)
            if target == "/system":
                continue
            base = f"/OS-INHERIT{base}"
            found[("GET", f"{base}/inherited_to_projects")] = ("list_grants", list_inherited)
            found[("PUT", f"{base}/{{role_id}}/inherited_to_projects")] = ("create_grant", put_inherited)
            found[("GET", f"{base}/{{role_id}}/inherited_to_projects")] = ("check_grant", check_inherited)
            found[("DELETE", f"{base}/{{role_id}}/inherited_to_projects")] = ("revoke_grant", take_inherited)
    return found


ROUTES = _routes()
