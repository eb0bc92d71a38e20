"""Calls on quotas: a project reads its own, the administrator reads and changes all."""

from typing import Any

from sqlalchemy import delete, insert, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.network import checks
from objstore.services.network.problems import NetworkRefused, bad, denied, shown
from objstore.services.network.quotas import COUNTED, defaults, quotas_of, used
from objstore.services.network.records import Tx
from objstore.services.network.resources import V2, who_calls
from objstore.services.network.service import NetworkService
from objstore.services.network.tables import QUOTAS

MAX_QUOTA = 2**31 - 1


class QuotaCalls:
    """The handlers."""

    def __init__(self, service: NetworkService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = f"{V2}/quotas/{{project}}"
        return {
            ("GET", f"{V2}/quotas"): self.list_all, ("GET", f"{V2}/quotas/tenant"): self.whose, ("GET", f"{V2}/quotas/project"): self.whose,
            ("GET", one): self.show, ("GET", f"{one}/default"): self.default, ("GET", f"{one}/details"): self.details,
            ("GET", f"{one}/details.json"): self.details, ("PUT", one): self.update, ("DELETE", one): self.remove,
        }  # fmt: skip

    async def list_all(self, call: Call) -> Answer:
        """Quotas of all projects that have any of their own."""
        call.check_admin()

        def work(tx: Tx) -> list[dict[str, Any]]:
            projects = tx.connection.execute(select(QUOTAS.c.project).distinct().order_by(QUOTAS.c.project)).scalars().all()
            return [{**quotas_of(tx, project), "project_id": project, "tenant_id": project} for project in projects]

        return Answer(body={"quotas": await self._service.read(who_calls(call), work)})

    async def whose(self, call: Call) -> Answer:
        """The caller's own project."""
        call.check_read()
        word = call.path.rsplit("/", 1)[-1]
        return Answer(body={word: {f"{word}_id": call.project}})

    async def show(self, call: Call) -> Answer:
        """A project's quotas."""
        project = self._project(call)
        found = await self._service.read(who_calls(call), lambda tx: quotas_of(tx, project))
        return Answer(body={"quota": {**found, "project_id": project}})

    async def default(self, call: Call) -> Answer:
        """What projects have without quotas of their own."""
        project = self._project(call)
        return Answer(body={"quota": {**defaults(self._service.settings), "project_id": project}})

    async def details(self, call: Call) -> Answer:
        """Quotas and what is used of them."""
        project = self._project(call)

        def work(tx: Tx) -> dict[str, Any]:
            return {name: {"limit": most, "used": used(tx, name, project), "reserved": 0} for name, most in quotas_of(tx, project).items()}

        found = await self._service.read(who_calls(call), work)
        return Answer(body={"quota": {**found, "project_id": project}})

    async def update(self, call: Call) -> Answer:
        """Give a project other quotas: {"quota": {"port": 10, "force": false, "check_limit": true}}."""
        call.check_admin()
        project = checks.project("project_id", call.parameters["project"])
        values = (await call.document()).get("quota")
        if not isinstance(values, dict):
            raise bad("Unable to find 'quota' in request body")
        values = dict(values)
        force = checks.boolean("force", values.pop("force", False))
        check = checks.boolean("check_limit", values.pop("check_limit", False)) and not force
        for ignored in ("project_id", "tenant_id"):
            values.pop(ignored, None)
        limits = {name: checks.number(-1, MAX_QUOTA)(name, value) for name, value in values.items() if name in COUNTED}
        unknown = values.keys() - limits.keys()
        if unknown:
            raise bad(f"Unrecognized attribute(s) '{shown(', '.join(sorted(map(str, unknown))))}'")

        def work(tx: Tx) -> dict[str, int]:
            low = [name for name, most in limits.items() if check and 0 <= most < used(tx, name, project)]
            if low:
                raise NetworkRefused(400, "InvalidQuotaValue", f"Change would make usage less than 0 for the following resources: {low}.")
            tx.connection.execute(delete(QUOTAS).where(QUOTAS.c.project == project, QUOTAS.c.resource.in_(limits)))
            if limits:
                tx.connection.execute(
                    insert(QUOTAS), [{"project": project, "resource": name, "most": most} for name, most in limits.items()]
                )
            return quotas_of(tx, project)

        return Answer(body={"quota": {**await self._service.write(who_calls(call), work), "project_id": project}})

    async def remove(self, call: Call) -> Answer:
        """A project has the defaults again.  Raises 404."""
        call.check_admin()
        project = call.parameters["project"]

        def work(tx: Tx) -> None:
            if not tx.connection.execute(delete(QUOTAS).where(QUOTAS.c.project == project)).rowcount:
                raise NetworkRefused(404, "TenantQuotaNotFound", f"Quota for project {shown(project)} could not be found.")

        await self._service.write(who_calls(call), work)
        return Answer(204)

    def _project(self, call: Call) -> str:
        call.check_read()
        project = call.parameters["project"]
        if project != call.project and not call.is_admin:
            raise denied("(rule:get_quota) is disallowed by policy: the project is not yours")
        return project
