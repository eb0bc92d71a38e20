"""Server groups: servers that are kept together, or apart."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import CallRefused, bad_request, forbidden, not_found
from objstore.services.compute import fields, quotas
from objstore.services.compute.catalog import find_group, members_of
from objstore.services.compute.cloud_tables import GROUPS
from objstore.services.compute.fields import member, only, wrong
from objstore.services.compute.ids import new_uuid
from objstore.services.compute.scheduler import AFFINITY, ANTI_AFFINITY, POLICIES
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import View

OWNED: Version = (2, 13)
SOFT: Version = (2, 15)
ONE_POLICY: Version = (2, 64)
_PER_HOST = "max_server_per_host"


class ServerGroupCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/os-server-groups"
        one = many + "/{group_id}"
        return {("GET", many): self.list_groups, ("POST", many): self.create, ("GET", one): self.show, ("DELETE", one): self.remove}

    async def list_groups(self, call: Call) -> Answer:
        """The project's; administrators may ask for all."""
        call.check_read()
        everyone = call.first("all_projects") is not None and call.is_admin
        limit = limit_of(call, default=0, most=self._service.settings.page_limit) or self._service.settings.page_limit
        offset = call.first("offset") or "0"
        if not (offset.isascii() and offset.isdigit() and len(offset) < 18):
            raise bad_request("offset param must be an integer")

        def work(connection: Connection) -> list[View]:
            query = select(GROUPS).order_by(GROUPS.c.created_us, GROUPS.c.id).limit(limit).offset(int(offset))
            rows = connection.execute(query if everyone else query.where(GROUPS.c.project == call.project)).all()
            return [_view(row, members_of(connection, row.id), call.version) for row in rows]

        return Answer(body={"server_groups": await self._service.read(work)})

    async def show(self, call: Call) -> Answer:
        """One."""
        call.check_read()

        def work(connection: Connection) -> View:
            row = self._find(connection, call)
            return _view(row, members_of(connection, row.id), call.version)

        return Answer(body={"server_group": await self._service.read(work)})

    async def create(self, call: Call) -> Answer:
        """A new one."""
        call.check_write()
        name, policy, rules = _entry(call.version, member(only(await call.document(), ("server_group",)), "server_group"))
        row = {
            "id": new_uuid(self._service.world.rng), "project": call.need_project(), "user_id": call.who.user.id, "name": name, "policy": policy,
            "rules": msgspec.json.encode(rules).decode(), "created_us": self._service.now_us(),
        }  # fmt: skip

        def work(connection: Connection) -> View:
            for user in ("", call.who.user.id):
                most = quotas.limit_of(connection, self._service.settings, call.project, "server_groups", user)
                if 0 <= most <= quotas.used_of(connection, call.project, user)["server_groups"]:
                    raise forbidden("Quota exceeded, too many server groups.")
            connection.execute(insert(GROUPS).values(**row))
            return _view(find_group(connection, call.project, str(row["id"])), [], call.version)

        return Answer(body={"server_group": await self._service.write(work)})

    async def remove(self, call: Call) -> Answer:
        """Its servers go on."""
        call.check_write()

        def work(connection: Connection) -> None:
            row = self._find(connection, call)
            connection.execute(delete(GROUPS).where(GROUPS.c.id == row.id))

        await self._service.write(work)
        return Answer(204)

    def _find(self, connection: Connection, call: Call) -> Any:
        id_ = call.parameters["group_id"]
        row = find_group(connection, call.project, id_, is_admin=call.is_admin)
        if row is None:
            raise _unknown(id_)
        return row


def _entry(version: Version, document: Any) -> tuple[str, str, dict[str, int]]:
    """(name, policy, rules)."""
    known = ("name", "policy", "rules") if version >= ONE_POLICY else ("name", "policies")
    given = only(document, known, "server_group")
    name = fields.server_name("name", member(given, "name"))
    policies = POLICIES if version >= SOFT else (AFFINITY, ANTI_AFFINITY)
    if version < ONE_POLICY:
        chosen = member(given, "policies")
        if not isinstance(chosen, list) or len(chosen) != 1:
            raise wrong("policies", chosen, "It is not a list of one policy")
        return name, fields.one_of(*policies)("policies", chosen[0]), {}
    policy = fields.one_of(*policies)("policy", member(given, "policy"))
    rules = {key: fields.integer(1)(key, value) for key, value in only(given.get("rules", {}), (_PER_HOST,), "rules").items()}
    if rules and policy != ANTI_AFFINITY:
        raise bad_request("Only anti-affinity policy supports rules.")
    return name, policy, rules


def _unknown(id_: str) -> CallRefused:
    return not_found(f"Instance group {id_[:64]} could not be found.")


def _view(row: Any, members: list[str], version: Version) -> View:
    view: View = {"id": row.id, "name": row.name, "members": members}
    if version >= ONE_POLICY:
        view |= {"policy": row.policy, "rules": msgspec.json.decode(row.rules)}
    else:
        view |= {"policies": [row.policy], "metadata": {}}
    if version >= OWNED:
        view |= {"project_id": row.project, "user_id": row.user_id}
    return view
