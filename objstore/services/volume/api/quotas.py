"""Calls on quotas, limits and quota classes."""

from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.volume.api import entry, limits
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.views import View

_ABSOLUTE = (
    ("maxTotalVolumes", "totalVolumesUsed", "volumes"), ("maxTotalVolumeGigabytes", "totalGigabytesUsed", "gigabytes"),
    ("maxTotalSnapshots", "totalSnapshotsUsed", "snapshots"), ("maxTotalBackups", "totalBackupsUsed", "backups"),
    ("maxTotalBackupGigabytes", "totalBackupGigabytesUsed", "backup_gigabytes"),
)  # fmt: skip


class QuotaCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/os-quota-sets/{of_project}"
        return {
            ("GET", "/limits"): self.limits,
            ("GET", one): self.show,
            ("GET", f"{one}/defaults"): self.show_defaults,
            ("PUT", one): self.update,
            ("DELETE", one): self.remove,
            ("GET", "/os-quota-class-sets/{class_name}"): self.show_class,
            ("PUT", "/os-quota-class-sets/{class_name}"): self.update_class,
        }

    async def limits(self, call: Call) -> Answer:
        """What the project may have and has."""
        call.check_read()
        project = call.first("project_id") if call.is_admin and call.first("project_id") else call.project

        def work(connection: Connection) -> View:
            most = limits.limits_of(connection, self._service.settings, str(project))
            used = limits.used_by(connection, str(project))
            absolute: View = {}
            for limit, in_use, resource in _ABSOLUTE:
                absolute |= {limit: most[resource], in_use: used[resource]}
            return absolute

        return Answer(body={"limits": {"rate": [], "absolute": await self._service.read(work)}})

    def _check_own(self, call: Call) -> str:
        call.check_read()
        project = call.parameters["of_project"]
        if project != call.project and not call.is_admin:
            raise forbidden()
        return project

    async def show(self, call: Call) -> Answer:
        """A project's limits, with `usage` what is used of them."""
        project = self._check_own(call)
        usage = entry.asked_flag(call.first("usage"), "usage")

        def work(connection: Connection) -> View:
            most = limits.limits_of(connection, self._service.settings, project)
            return limits.shown(most, limits.used_by(connection, project)) if usage else dict(most)

        return Answer(body={"quota_set": {"id": project, **await self._service.read(work)}})

    async def show_defaults(self, call: Call) -> Answer:
        """Limits of projects that have none of their own."""
        project = self._check_own(call)
        found = await self._service.read(lambda connection: limits.defaults(connection, self._service.settings))
        return Answer(body={"quota_set": {"id": project, **found}})

    async def update(self, call: Call) -> Answer:
        """A project gets limits of its own."""
        call.check_admin()
        project = call.parameters["of_project"]
        if not project.strip() or len(project) > entry.MAX_TEXT_CHARS:
            raise bad_request("The id of a project has 1 to 255 characters.")
        given = entry.part(await call.document(), "quota_set")

        def work(connection: Connection) -> View:
            known = limits.resources(connection)
            limits.set_limits(connection, limits.PROJECT_KIND, project, _numbers(given, known, ("tenant_id", "project_id", "id", "force")))
            return dict(limits.limits_of(connection, self._service.settings, project))

        return Answer(body={"quota_set": await self._service.write(work)})

    async def remove(self, call: Call) -> Answer:
        """A project has everybody's limits again."""
        call.check_admin()
        await self._service.write(lambda connection: limits.drop_limits(connection, call.parameters["of_project"]))
        return Answer(200)

    async def show_class(self, call: Call) -> Answer:
        """Limits of a class; `default` is everybody's."""
        call.check_admin()
        name = call.parameters["class_name"]
        return Answer(
            body={"quota_class_set": {"id": name, **await self._service.read(lambda connection: self._of_class(connection, name))}}
        )

    async def update_class(self, call: Call) -> Answer:
        """A class gets limits."""
        call.check_admin()
        name = call.parameters["class_name"]
        given = entry.part(await call.document(), "quota_class_set")

        def work(connection: Connection) -> View:
            known = limits.resources(connection)
            limits.set_limits(connection, limits.CLASS_KIND, name, _numbers(given, known, ("class_name", "id")))
            return self._of_class(connection, name)

        return Answer(body={"quota_class_set": await self._service.write(work)})

    def _of_class(self, connection: Connection, name: str) -> View:
        found = limits.defaults(connection, self._service.settings)
        return dict(found | limits.set_of(connection, limits.CLASS_KIND, name))


def _numbers(given: dict[str, Any], known: list[str], ignored: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for name, value in given.items():
        if name in ignored:
            continue
        if name not in known:
            raise bad_request(f"Bad key in quota set: {name[:64]}")
        found[name] = entry.whole(name, value, least=-1)
    if not found:
        raise bad_request("No limits are given.")
    return found
