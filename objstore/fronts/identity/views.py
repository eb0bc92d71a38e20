"""How things are shown."""

from collections.abc import Iterable

import msgspec

from objstore.fronts.identity.call import Call, View, time_text
from objstore.identity.tenancy import (
    AccessRule,
    AppCredential,
    Credential,
    Domain,
    Endpoint,
    Group,
    Kept,
    Person,
    Project,
    Region,
    Role,
    Service,
)


def _links(call: Call, path: str) -> View:
    return {"self": call.link(path)}


def domain_view(call: Call, domain: Domain) -> View:
    """A domain."""
    return {
        **domain.extra, "id": domain.id, "name": domain.name, "description": domain.description or "", "enabled": domain.enabled, "tags": [],
        "options": {}, "links": _links(call, f"/domains/{domain.id}"),
    }  # fmt: skip


def project_view(call: Call, project: Project) -> View:
    """A project."""
    return {
        **project.extra, "id": project.id, "name": project.name, "domain_id": project.domain_id, "description": project.description or "",
        "enabled": project.enabled, "parent_id": project.parent_id or project.domain_id, "is_domain": False, "tags": list(project.tags),
        "options": {}, "links": _links(call, f"/projects/{project.id}"),
    }  # fmt: skip


def acting_view(call: Call, domain: Domain) -> View:
    """A domain as the project that acts as one."""
    return {
        **domain.extra, "id": domain.id, "name": domain.name, "domain_id": None, "description": domain.description or "",
        "enabled": domain.enabled, "parent_id": None, "is_domain": True, "tags": [], "options": {},
        "links": _links(call, f"/projects/{domain.id}"),
    }  # fmt: skip


def brief(domain: Domain | None) -> View:
    """A domain inside of something else."""
    return {"id": domain.id, "name": domain.name} if domain is not None else {}


def user_view(call: Call, user: Person) -> View:
    """A user; never its password."""
    shown: View = {
        **user.extra, "id": user.id, "name": user.name, "domain_id": user.domain_id, "enabled": user.enabled, "options": dict(user.options),
        "password_expires_at": password_expiry(user), "links": _links(call, f"/users/{user.id}"),
    }  # fmt: skip
    if user.default_project_id:
        shown["default_project_id"] = user.default_project_id
    if user.description is not None:
        shown["description"] = user.description
    return shown


def password_expiry(user: Person) -> str | None:
    """When its password ends."""
    return time_text(user.password_expires_us) if user.password_expires_us else None


def group_view(call: Call, group: Group) -> View:
    """A group."""
    return {
        **group.extra, "id": group.id, "name": group.name, "domain_id": group.domain_id, "description": group.description or "",
        "links": _links(call, f"/groups/{group.id}"),
    }  # fmt: skip


def role_view(call: Call, role: Role) -> View:
    """A role."""
    return {
        **role.extra, "id": role.id, "name": role.name, "domain_id": role.domain_id or None, "description": role.description, "options": {},
        "links": _links(call, f"/roles/{role.id}"),
    }  # fmt: skip


def region_view(call: Call, region: Region) -> View:
    """A region."""
    return {
        **region.extra, "id": region.id, "description": region.description or "", "parent_region_id": region.parent_id or None,
        "links": _links(call, f"/regions/{region.id}"),
    }  # fmt: skip


def service_view(call: Call, service: Service) -> View:
    """A service."""
    shown = {
        **service.extra, "id": service.id, "name": service.name, "type": service.type, "enabled": service.enabled,
        "links": _links(call, f"/services/{service.id}"),
    }  # fmt: skip
    return shown if service.description is None else {**shown, "description": service.description}


def endpoint_view(call: Call, endpoint: Endpoint) -> View:
    """An endpoint."""
    return {
        **endpoint.extra, "id": endpoint.id, "service_id": endpoint.service_id, "interface": endpoint.interface, "url": endpoint.url,
        "region": endpoint.region_id or None, "region_id": endpoint.region_id or None, "enabled": endpoint.enabled,
        "links": _links(call, f"/endpoints/{endpoint.id}"),
    }  # fmt: skip


def credential_view(call: Call, credential: Credential) -> View:
    """A credential, with what is in it: only its owner and administrators get here."""
    blob = call.registry.secrets.open(credential.sealed, credential.id) or b""
    text = blob.decode("utf-8", "replace")
    if credential.type == "ec2":
        text = msgspec.json.encode({"access": credential.access, "secret": text}).decode()
    return {
        "id": credential.id, "type": credential.type, "user_id": credential.user_id, "project_id": credential.project_id or None, "blob": text,
        "links": _links(call, f"/credentials/{credential.id}"),
    }  # fmt: skip


def ec2_view(call: Call, credential: Credential) -> View:
    """A key of S3, as the EC2 calls show it."""
    return {
        "access": credential.access, "secret": call.registry.secret_of(credential), "user_id": credential.user_id,
        "tenant_id": credential.project_id, "trust_id": None,
        "links": _links(call, f"/users/{credential.user_id}/credentials/OS-EC2/{credential.access}"),
    }  # fmt: skip


def app_credential_view(call: Call, credential: AppCredential) -> View:
    """An application credential, without its secret."""
    roles = [role for role in (call.registry.get(Role, id_) for id_ in credential.roles) if role is not None]
    rules = [rule for rule in (call.registry.get(AccessRule, id_) for id_ in credential.rules) if rule is not None]
    shown: View = {
        "id": credential.id, "name": credential.name, "description": credential.description, "project_id": credential.project_id,
        "user_id": credential.user_id, "roles": named(roles), "unrestricted": credential.unrestricted, "system": None,
        "expires_at": time_text(credential.expires_us).rstrip("Z") if credential.expires_us else None,  # so, unlike all others
        "links": _links(call, f"/users/{credential.user_id}/application_credentials/{credential.id}"),
    }  # fmt: skip
    if credential.limited:
        shown["access_rules"] = [rule_view(call, rule, links=False) for rule in rules]
    return shown


def rule_view(call: Call, rule: AccessRule, *, links: bool = True) -> View:
    """An access rule."""
    shown: View = {"id": rule.id, "service": rule.service, "method": rule.method, "path": rule.path}
    return {**shown, "links": _links(call, f"/users/{rule.user_id}/access_rules/{rule.id}")} if links else shown


def named(things: Iterable[Kept]) -> list[View]:
    """Id and name of each."""
    return [{"id": thing.id, "name": thing.name} for thing in things]
