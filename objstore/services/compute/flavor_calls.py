"""Calls on flavors, their extra specs, and the projects that may use them."""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.paging import limit_of, sort_of
from objstore.services.calls.problems import CallRefused, bad_request, not_found
from objstore.services.compute import fields, flavors
from objstore.services.compute.fields import Check, member, only, wrong
from objstore.services.compute.flavors import DESCRIBED, FlavorRow, flavor_view, short_view
from objstore.services.compute.ids import new_uuid
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import View, next_links

MAX_DESCRIPTION_CHARS = 65_535
MAX_SPECS = 200
_ID = re.compile(r"[a-zA-Z0-9. _-]{1,255}")
_SPEC = re.compile(r"[a-zA-Z0-9-_:. ]{1,255}")
_FACTOR = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
MAX_FACTOR = 3.40282e38
_SORTED_BY: dict[str, Callable[[FlavorRow], Any]] = {
    "created_at": lambda flavor: flavor.created_us, "description": lambda flavor: flavor.description or "",
    "disabled": lambda flavor: False, "ephemeral_gb": lambda flavor: flavor.ephemeral_gb, "flavorid": lambda flavor: flavor.id,
    "id": lambda flavor: flavor.created_us, "is_public": lambda flavor: flavor.is_public, "memory_mb": lambda flavor: flavor.ram_mb,
    "name": lambda flavor: flavor.name, "root_gb": lambda flavor: flavor.disk_gb, "rxtx_factor": lambda flavor: flavor.rxtx_factor,
    "swap": lambda flavor: flavor.swap_mb, "updated_at": lambda flavor: flavor.created_us, "vcpu_weight": lambda flavor: 0,
    "vcpus": lambda flavor: flavor.vcpus,
}  # fmt: skip


class FlavorCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/flavors"
        one = many + "/{flavor_id}"
        specs = one + "/os-extra_specs"
        return {
            ("GET", many): self.list_short, ("GET", many + "/detail"): self.list_detail, ("POST", many): self.create,
            ("GET", one): self.show, ("PUT", one): self.update, ("DELETE", one): self.remove, ("POST", one + "/action"): self.act,
            ("GET", one + "/os-flavor-access"): self.access, ("GET", specs): self.specs, ("POST", specs): self.add_specs,
            ("GET", specs + "/{key}"): self.spec, ("PUT", specs + "/{key}"): self.set_spec, ("DELETE", specs + "/{key}"): self.remove_spec,
        }  # fmt: skip

    async def list_short(self, call: Call) -> Answer:
        """Names and ids."""
        return await self._list(call, "flavors", short_view)

    async def list_detail(self, call: Call) -> Answer:
        """All of each."""
        return await self._list(call, "flavors/detail", flavor_view)

    async def show(self, call: Call) -> Answer:
        """One that the caller may use."""
        return Answer(body={"flavor": self._view(call, await self._seen(call))})

    async def _seen(self, call: Call) -> FlavorRow:
        id_ = call.parameters["flavor_id"]
        found = await self._service.read(lambda connection: flavors.flavor_for(connection, call.project, id_, is_admin=call.is_admin))
        if found is None:
            raise flavors.unknown(id_)
        return found

    async def create(self, call: Call) -> Answer:
        """A new one."""
        call.check_admin()
        flavor = self._entry(call, member(await call.document(), "flavor"))
        await self._service.write(lambda connection: flavors.add_flavor(connection, flavor))
        return Answer(body={"flavor": self._view(call, flavor)})

    async def update(self, call: Call) -> Answer:
        """Its description, which is all that may change."""
        if call.version < DESCRIBED:
            raise not_found()
        call.check_admin()
        given = only(member(only(await call.document(), ("flavor",)), "flavor"), ("description",), "flavor")
        description = fields.nullable(_description)("description", member(given, "description"))
        changed = await self._service.write(lambda connection: flavors.describe(connection, call.parameters["flavor_id"], description))
        return Answer(body={"flavor": self._view(call, changed)})

    async def remove(self, call: Call) -> Answer:
        """It is gone for new servers."""
        call.check_admin()
        await self._service.write(lambda connection: flavors.remove_flavor(connection, call.parameters["flavor_id"]))
        return Answer(202)

    # -- who may use it --

    async def access(self, call: Call) -> Answer:
        """The projects that may use it."""
        call.check_admin()
        return Answer(body=await self._service.read(lambda connection: _access_view(connection, call.parameters["flavor_id"])))

    async def act(self, call: Call) -> Answer:
        """addTenantAccess, removeTenantAccess."""
        call.check_admin()
        document = only(await call.document(), ("addTenantAccess", "removeTenantAccess"))
        if len(document) != 1:
            raise bad_request("There is no such action for resource: flavors")
        ((name, given),) = document.items()
        project = member(only(given, ("tenant",), name), "tenant")
        if not isinstance(project, str) or not await self._known(project):
            raise bad_request(f"Project ID {str(project)[:64]} is not a valid project.")
        change = flavors.allow if name == "addTenantAccess" else flavors.disallow

        def work(connection: Connection) -> View:
            change(connection, call.parameters["flavor_id"], project)
            return _access_view(connection, call.parameters["flavor_id"])

        return Answer(body=await self._service.write(work))

    async def _known(self, project: str) -> bool:
        return await self._service.project_exists(project)

    # -- extra specs --

    async def specs(self, call: Call) -> Answer:
        """All of them."""
        return Answer(body={"extra_specs": dict((await self._seen(call)).extra_specs)})

    async def spec(self, call: Call) -> Answer:
        """One of them."""
        key, found = call.parameters["key"], await self._seen(call)
        if key not in found.extra_specs:
            raise _no_spec(found.id, key)
        return Answer(body={key: found.extra_specs[key]})

    async def add_specs(self, call: Call) -> Answer:
        """Some more, or other values."""
        call.check_admin()
        given = _specs(member(only(await call.document(), ("extra_specs",)), "extra_specs"))
        await self._set(call.parameters["flavor_id"], given)
        return Answer(body={"extra_specs": given})

    async def set_spec(self, call: Call) -> Answer:
        """One."""
        call.check_admin()
        key = call.parameters["key"]
        given = _specs(await call.document())
        if set(given) != {key}:
            raise bad_request("Request body and URI mismatch" if len(given) == 1 else "Request body contains too many items")
        await self._set(call.parameters["flavor_id"], given)
        return Answer(body=given)

    async def remove_spec(self, call: Call) -> Answer:
        """One less."""
        call.check_admin()
        id_, key = call.parameters["flavor_id"], call.parameters["key"]

        def work(connection: Connection) -> None:
            have = dict(flavors.find_flavor(connection, id_).extra_specs)
            if have.pop(key, None) is None:
                raise _no_spec(id_, key)
            flavors.set_specs(connection, id_, have)

        await self._service.write(work)
        return Answer(200)

    async def _set(self, id_: str, given: dict[str, str]) -> None:
        def work(connection: Connection) -> None:
            have = {**flavors.find_flavor(connection, id_).extra_specs, **given}
            if len(have) > MAX_SPECS:
                raise bad_request(f"A flavor has {MAX_SPECS} extra specs at most.")
            flavors.set_specs(connection, id_, have)

        await self._service.write(work)

    # -- lists and documents --

    async def _list(self, call: Call, path: str, view: Callable[[FlavorRow, str, tuple[int, int]], View]) -> Answer:
        public = _public(call) if call.is_admin else True
        least = [_whole(call, name) for name in ("minRam", "minDisk")]
        key, direction = sort_of(call, _SORTED_BY, default=(("flavorid", "asc"),))[0]
        direction = direction if call.first("sort_dir") is not None else "asc"
        limit = limit_of(call, default=0, most=self._service.settings.page_limit) or self._service.settings.page_limit
        marker = call.first("marker")
        found = await self._service.read(lambda connection: flavors.flavors_for(connection, call.project, public=public))
        found = [flavor for flavor in found if flavor.ram_mb >= least[0] and flavor.disk_gb >= least[1]]
        found.sort(key=_SORTED_BY[key], reverse=direction == "desc")
        if marker is not None:
            at = next((number for number, flavor in enumerate(found) if flavor.id == marker), None)
            if at is None:
                raise bad_request(f"marker [{marker[:64]}] not found")
            found = found[at + 1 :]
        page = found[:limit]
        body: View = {"flavors": [view(flavor, self._service.url, call.version) for flavor in page]}
        if call.first("limit") is not None and page:
            body |= next_links(call, path, "flavors", limit, [flavor.id for flavor in page])
        return Answer(body=body)

    def _view(self, call: Call, flavor: FlavorRow) -> View:
        return flavor_view(flavor, self._service.url, call.version)

    def _entry(self, call: Call, document: Any) -> FlavorRow:
        checks: dict[str, Check] = {
            "name": _name, "ram": fields.integer(1), "vcpus": fields.integer(1), "disk": fields.integer(0), "id": _id,
            "OS-FLV-EXT-DATA:ephemeral": fields.integer(0), "swap": fields.integer(0), "rxtx_factor": _factor,
            "os-flavor-access:is_public": fields.flag,
        }  # fmt: skip
        if call.version >= DESCRIBED:
            checks["description"] = fields.nullable(_description)
        given = {name: checks[name](name, value) for name, value in only(document, checks, "flavor").items()}
        for name in ("name", "ram", "vcpus", "disk"):
            member(given, name)
        return FlavorRow(
            given.get("id") or new_uuid(self._service.world.rng), given["name"], given.get("description"), given["vcpus"], given["ram"],
            given["disk"], given.get("OS-FLV-EXT-DATA:ephemeral", 0), given.get("swap", 0), given.get("rxtx_factor", 1.0),
            given.get("os-flavor-access:is_public", True), {}, self._service.now_us(),
        )  # fmt: skip


def _access_view(connection: Connection, id_: str) -> View:
    return {"flavor_access": [{"flavor_id": id_, "tenant_id": project} for project in flavors.projects_of(connection, id_)]}


def _no_spec(id_: str, key: str) -> CallRefused:
    return not_found(f"Flavor {id_[:255]} has no extra specs with key {key[:255]}.")


def _specs(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not given:
        raise wrong("extra_specs", given, "It is not an object with values")
    found: dict[str, str] = {}
    for key, value in given.items():
        if _SPEC.fullmatch(key) is None:
            raise wrong("extra_specs", key, "A name has 1 to 255 of the letters, digits and -_:. ")
        if (
            isinstance(value, bool)
            or not isinstance(value, str | int | float)
            or len(str(value)) > fields.MAX_NAME_CHARS
            or "\0" in str(value)
        ):
            raise wrong(f"extra_specs/{key}", value, f"It is not text of at most {fields.MAX_NAME_CHARS} characters")
        found[key] = str(value)
    return found


def _public(call: Call) -> bool | None:
    text = call.first("is_public")
    if text is None:
        return True
    if text.strip().lower() == "none":
        return None
    try:
        return fields.flag("is_public", text)
    except CallRefused:
        raise bad_request(f"Invalid is_public filter [{text[:64]}]") from None


def _whole(call: Call, name: str) -> int:
    text = call.first(name)
    if text is None:
        return 0
    if re.fullmatch(r"-?[0-9]{1,18}", text) is None:
        raise bad_request(f"Invalid {name} filter [{text[:64]}]")
    return int(text)


def _name(name: str, value: Any) -> str:
    found = fields.server_name(name, value)
    if found != value:
        raise wrong(name, value, "It begins or ends with a space")
    return found


def _id(name: str, value: Any) -> str:
    if value is None:
        return ""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if _ID.fullmatch(text) is None or text != text.strip():
        raise wrong(name, value, "It is not 1 to 255 of the letters, digits and ._- ")
    return text


def _factor(name: str, value: Any) -> float:
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not (_FACTOR.fullmatch(text) or isinstance(value, float)):
        raise wrong(name, value, "It is not a number")
    if not 0 < float(text) <= MAX_FACTOR:
        raise wrong(name, value, f"It is not above 0 and at most {MAX_FACTOR}")
    return float(text)


def _description(name: str, value: Any) -> str:
    found: str = fields.text(MAX_DESCRIPTION_CHARS)(name, value)
    if not all(char.isprintable() or char in "\n\r\t" for char in found):
        raise wrong(name, "", "It has characters that cannot be printed")
    return found
