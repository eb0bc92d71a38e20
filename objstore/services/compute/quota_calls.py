"""Calls on quotas and limits."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.compute import fields, quotas
from objstore.services.compute.fields import member, only
from objstore.services.compute.quotas import EVERYBODY, OF_FILES, OF_NETWORKS, RESOURCES
from objstore.services.compute.service import ComputeService

NO_NETWORKS: Version = (2, 36)
NO_IMAGE_META: Version = (2, 39)
CLASSES_ANEW: Version = (2, 50)
NO_FILES: Version = (2, 57)
MAX_IMAGE_META = 128
_ABSOLUTE = {
    "maxTotalInstances": "instances", "maxTotalCores": "cores", "maxTotalRAMSize": "ram", "maxTotalKeypairs": "key_pairs",
    "maxServerMeta": "metadata_items", "maxServerGroups": "server_groups", "maxServerGroupMembers": "server_group_members",
    "maxPersonality": "injected_files", "maxPersonalitySize": "injected_file_content_bytes", "maxTotalFloatingIps": "floating_ips",
    "maxSecurityGroups": "security_groups", "maxSecurityGroupRules": "security_group_rules",
}  # fmt: skip
_USED = {
    "totalInstancesUsed": "instances", "totalCoresUsed": "cores", "totalRAMUsed": "ram", "totalServerGroupsUsed": "server_groups",
    "totalFloatingIpsUsed": "floating_ips", "totalSecurityGroupsUsed": "security_groups",
}  # fmt: skip


class QuotaCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2.1/os-quota-sets/{project_id}"
        group = "/v2.1/os-quota-class-sets/{name}"
        return {
            ("GET", one): self.show, ("GET", one + "/defaults"): self.defaults, ("GET", one + "/detail"): self.detail, ("PUT", one): self.update,
            ("DELETE", one): self.remove, ("GET", group): self.show_class, ("PUT", group): self.update_class, ("GET", "/v2.1/limits"): self.limits,
        }  # fmt: skip

    async def show(self, call: Call) -> Answer:
        """A project's, or with user_id a user's."""
        project = await self._project(call)
        limits = await self._limits(project, call.first("user_id") or "")
        return Answer(body={"quota_set": {"id": project, **_shown(limits, call.version)}})

    async def defaults(self, call: Call) -> Answer:
        """What projects have that nothing else was said of."""
        limits = await self._limits(EVERYBODY, "")
        return Answer(body={"quota_set": {"id": call.parameters["project_id"], **_shown(limits, call.version)}})

    async def detail(self, call: Call) -> Answer:
        """Limits and what is used."""
        project, user = await self._project(call), call.first("user_id") or ""
        limits = _shown(await self._limits(project, user), call.version)
        used = await self._service.read(lambda connection: quotas.used_of(connection, project, user))
        details = {name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in limits.items()}
        return Answer(body={"quota_set": {"id": project, **details}})

    async def update(self, call: Call) -> Answer:
        """Set some."""
        call.check_admin()
        project, user = await self._project(call), call.first("user_id") or ""
        given = only(
            member(only(await call.document(), ("quota_set",)), "quota_set"), (*_known(call.version), "force", "tenant_id"), "quota_set"
        )
        force = fields.flag("force", given.get("force", False))
        limits = _limits_in(given)

        def work(connection: Connection) -> dict[str, int]:
            quotas.change(connection, self._service.settings, project, limits, user_id=user, force=force)
            return quotas.limits_of(connection, self._service.settings, project, user)

        return Answer(body={"quota_set": _shown(await self._service.write(work), call.version)})

    async def remove(self, call: Call) -> Answer:
        """Back to what everybody has."""
        call.check_admin()
        project, user = await self._project(call), call.first("user_id") or ""
        await self._service.write(lambda connection: quotas.forget(connection, project, user))
        return Answer(202)

    async def show_class(self, call: Call) -> Answer:
        """What everybody has."""
        call.check_admin()
        return Answer(
            body={"quota_class_set": {"id": call.parameters["name"], **_of_class(await self._limits(EVERYBODY, ""), call.version)}}
        )

    async def update_class(self, call: Call) -> Answer:
        """Set what everybody has."""
        call.check_admin()
        if call.parameters["name"] != "default":
            raise bad_request("There is one class of quotas, default.")
        known = tuple(_of_class(dict.fromkeys(RESOURCES, 0), call.version))
        given = only(member(only(await call.document(), ("quota_class_set",)), "quota_class_set"), known, "quota_class_set")
        limits = _limits_in(given)

        def work(connection: Connection) -> dict[str, int]:
            for resource, limit in limits.items():
                quotas.put(connection, EVERYBODY, "", resource, limit)
            return quotas.limits_of(connection, self._service.settings, EVERYBODY)

        return Answer(body={"quota_class_set": _of_class(await self._service.write(work), call.version)})

    async def limits(self, call: Call) -> Answer:
        """What a project may have and has, as clients count it."""
        project = call.first("tenant_id") or call.project
        if project != call.project:
            call.check_admin()
        found = await self._limits(project, "")
        used = await self._service.read(lambda connection: quotas.used_of(connection, project))
        shown = _shown(found, call.version)
        absolute = {name: found[resource] for name, resource in _ABSOLUTE.items() if resource in shown}
        absolute |= {name: used.get(resource, 0) for name, resource in _USED.items() if resource in shown}
        if call.version < NO_IMAGE_META:
            absolute["maxImageMeta"] = MAX_IMAGE_META
        return Answer(body={"limits": {"rate": [], "absolute": absolute}})

    async def _limits(self, project: str, user: str) -> dict[str, int]:
        return await self._service.read(lambda connection: quotas.limits_of(connection, self._service.settings, project, user))

    async def _project(self, call: Call) -> str:
        project = call.parameters["project_id"]
        if project == call.project:
            return project
        if not call.is_admin:
            raise forbidden()
        if not await self._service.project_exists(project):
            raise bad_request(f"Project ID {project[:64]} is not a valid project.")
        return project


def _known(version: Version) -> list[str]:
    return [
        name for name in RESOURCES
        if not (name in OF_NETWORKS and version >= NO_NETWORKS) and not (name in OF_FILES and version >= NO_FILES)
    ]  # fmt: skip


def _shown(limits: Mapping[str, int], version: Version) -> dict[str, int]:
    return {name: limits[name] for name in _known(version)}


def _of_class(limits: Mapping[str, int], version: Version) -> dict[str, int]:
    if version < CLASSES_ANEW:
        return {name: limits[name] for name in RESOURCES if not name.startswith("server_group")}
    return {name: limits[name] for name in _known(version)}


def _limits_in(given: Mapping[str, Any]) -> dict[str, int]:
    return {name: fields.integer(-1, quotas.MAX_LIMIT)(name, value) for name, value in given.items() if name in RESOURCES}
