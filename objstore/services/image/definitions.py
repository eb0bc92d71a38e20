"""Definitions of metadata (metadefs): namespaces of objects, properties and tags that say what properties of images and servers mean.

They are read by forms and bind nothing.  The administrator writes them; public namespaces are read by everybody, private ones by
their project.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from objstore.runtime.sql import IntegrityError
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.comparing import time_text
from objstore.services.calls.paging import limit_of, link, query_without
from objstore.services.calls.problems import bad_request, conflict, forbidden, not_found, too_large
from objstore.services.image.records import PRIVATE, PUBLIC
from objstore.services.image.service import ImageService, Row
from objstore.services.image.tables import DEFINITIONS, NAMESPACES

MAX_NAMESPACE_CHARS = 80
MAX_NAME_CHARS = 255
MAX_DOCUMENT_BYTES = 65_536
MAX_OF_KIND = 1000  # of one namespace
MAX_TYPES = 100  # that one list is filtered by
RESOURCE_TYPES = (
    "OS::Glance::Image", "OS::Cinder::Volume", "OS::Nova::Flavor", "OS::Nova::Aggregate", "OS::Nova::Server", "OS::Trove::Instance",
)  # fmt: skip
_BEGAN_US = 1_790_000_000_000_000  # when these resource types were named here
_ONE = "/v2/metadefs/namespaces/{namespace}"
_SHOWN = ("display_name", "description")


@dataclass(frozen=True)
class Kind:
    """A kind of definition: its name in paths, and in lists."""

    path: str
    listed: str
    schema: str


OBJECT = Kind("objects", "objects", "object")
PROPERTY = Kind("properties", "properties", "property")
TAG = Kind("tags", "tags", "tag")
RESOURCE_TYPE = Kind("resource_types", "resource_type_associations", "resource_type")
KINDS = (OBJECT, PROPERTY, TAG, RESOURCE_TYPE)
Write = Callable[[Connection], Row]


class DefinitionCalls:
    """The handlers."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        found: dict[tuple[str, str], Handler] = {
            ("GET", "/v2/metadefs/resource_types"): self.resource_types,
            ("GET", "/v2/metadefs/namespaces"): self.list_namespaces,
            ("POST", "/v2/metadefs/namespaces"): self.create_namespace,
            ("GET", _ONE): self.show_namespace,
            ("PUT", _ONE): self.update_namespace,
            ("DELETE", _ONE): self.delete_namespace,
            ("POST", f"{_ONE}/tags/{{name}}"): self.create_tag,
        }
        for kind in KINDS:
            many, one = f"{_ONE}/{kind.path}", f"{_ONE}/{kind.path}/{{name}}"
            found |= {
                ("GET", many): self._lister(kind), ("POST", many): self._maker(kind), ("DELETE", one): self._remover(kind),
            }  # fmt: skip
            if kind is not RESOURCE_TYPE:
                found |= {("GET", one): self._shower(kind), ("PUT", one): self._changer(kind), ("DELETE", many): self._remover(kind)}
        return found

    async def resource_types(self, call: Call) -> Answer:
        """What namespaces may be made for."""
        call.check_read()
        at = time_text(_BEGAN_US)
        return Answer(body={"resource_types": [{"name": name, "created_at": at, "updated_at": at} for name in RESOURCE_TYPES]})

    # -- namespaces -----------------------------------------------------------------------------------------------

    async def list_namespaces(self, call: Call) -> Answer:
        """Those that the caller sees, in order of name."""
        call.check_read()
        limit = limit_of(call, default=25, most=self._service.settings.page_limit)
        query = select(NAMESPACES).where(_seen(call)).order_by(NAMESPACES.c.namespace)
        visibility, marker = call.first("visibility"), call.first("marker")
        if visibility is not None:
            query = query.where(NAMESPACES.c.visibility == visibility)
        if marker is not None:
            query = query.where(NAMESPACES.c.namespace > marker)
        wanted = [name for name in (call.first("resource_types") or "").split(",") if name]
        if len(wanted) > MAX_TYPES:
            raise bad_request(f"A list is of {MAX_TYPES} resource types at most.")
        if wanted:
            chosen = select(DEFINITIONS.c.namespace).where(and_(DEFINITIONS.c.kind == RESOURCE_TYPE.path, DEFINITIONS.c.name.in_(wanted)))
            query = query.where(NAMESPACES.c.namespace.in_(chosen))

        def work(connection: Connection) -> list[dict[str, Any]]:
            return [_namespace_view(connection, row) for row in connection.execute(query.limit(limit + 1)).all()]

        views = await self._service.read(work)
        first = query_without(call, "marker")
        path = "/v2/metadefs/namespaces"
        body = {"namespaces": views[:limit], "first": link(path, first), "schema": "/v2/schemas/metadefs/namespaces"}
        if len(views) > limit > 0:
            body["next"] = link(path, [*first, ("marker", views[limit - 1]["namespace"])])
        return Answer(body=body)

    async def create_namespace(self, call: Call) -> Answer:
        """A namespace with what it begins with."""
        call.check_admin()
        document = await call.document()
        now_us = self._service.now_us()
        values = _namespace_values(document, owner=call.project, now_us=now_us)

        def work(connection: Connection) -> dict[str, Any]:
            connection.execute(insert(NAMESPACES).values(**values, created_us=now_us))
            for kind in KINDS:
                for name, inner in _begins_with(document, kind):
                    _add(connection, values["namespace"], kind, name, inner, now_us=now_us)
            return _namespace_view(connection, _find_namespace(connection, call, values["namespace"]), whole=True)

        try:
            body = await self._service.write(work)
        except IntegrityError:
            raise conflict("The metadata definition namespace, or something in it, exists already.") from None
        return Answer(201, body, [(b"location", f"{call.base_url}{body['self']}".encode())])

    async def show_namespace(self, call: Call) -> Answer:
        """A namespace with all that is in it."""
        call.check_read()
        name = call.parameters["namespace"]
        return Answer(
            body=await self._service.read(
                lambda connection: _namespace_view(connection, _find_namespace(connection, call, name), whole=True)
            )
        )

    async def update_namespace(self, call: Call) -> Answer:
        """Change a namespace, perhaps its name."""
        call.check_admin()
        document = await call.document()
        before, now_us = call.parameters["namespace"], self._service.now_us()

        def work(connection: Connection) -> dict[str, Any]:
            row = _find_namespace(connection, call, before)
            values = _namespace_values(
                {"visibility": row.visibility, "protected": row.protected, **document}, owner=row.owner, now_us=now_us
            )
            connection.execute(update(NAMESPACES).where(NAMESPACES.c.namespace == before).values(**values))
            connection.execute(update(DEFINITIONS).where(DEFINITIONS.c.namespace == before).values(namespace=values["namespace"]))
            return _namespace_view(connection, _find_namespace(connection, call, values["namespace"]))

        try:
            return Answer(body=await self._service.write(work))
        except IntegrityError:
            raise conflict("A metadata definition namespace of that name exists already.") from None

    async def delete_namespace(self, call: Call) -> Answer:
        """Remove a namespace and all that is in it."""
        call.check_admin()
        name = call.parameters["namespace"]

        def work(connection: Connection) -> None:
            _check_unprotected(_find_namespace(connection, call, name))
            connection.execute(delete(DEFINITIONS).where(DEFINITIONS.c.namespace == name))
            connection.execute(delete(NAMESPACES).where(NAMESPACES.c.namespace == name))

        await self._service.write(work)
        return Answer(204)

    # -- what is in them ------------------------------------------------------------------------------------------

    async def create_tag(self, call: Call) -> Answer:
        """One tag, named by the path."""
        call.check_admin()
        return Answer(201, await self._add_one(call, TAG, call.parameters["name"], {}))

    async def _add_one(self, call: Call, kind: Kind, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        namespace, now_us = call.parameters["namespace"], self._service.now_us()

        def work(connection: Connection) -> dict[str, Any]:
            _find_namespace(connection, call, namespace)
            _add(connection, namespace, kind, name, document, now_us=now_us)
            return _view(_find(connection, namespace, kind, name), kind)

        try:
            return await self._service.write(work)
        except IntegrityError:
            raise conflict(f"A metadata definition {kind.schema} of that name exists already.") from None

    def _lister(self, kind: Kind) -> Handler:
        async def handler(call: Call) -> Answer:
            call.check_read()
            namespace = call.parameters["namespace"]

            def work(connection: Connection) -> Any:
                _find_namespace(connection, call, namespace)
                return _all(connection, namespace, kind)

            return Answer(body={kind.listed: await self._service.read(work), "schema": f"/v2/schemas/metadefs/{kind.path}"})

        return handler

    def _maker(self, kind: Kind) -> Handler:
        async def handler(call: Call) -> Answer:
            call.check_admin()
            document = await call.document()
            if kind is not TAG:
                return Answer(201, await self._add_one(call, kind, _name(document), document))
            namespace, now_us = call.parameters["namespace"], self._service.now_us()
            names = [name for name, _ in _begins_with(document, TAG)]

            def work(connection: Connection) -> Any:
                _find_namespace(connection, call, namespace)
                if call.headers.get("x-openstack-append", "").lower() != "true":
                    connection.execute(delete(DEFINITIONS).where(_of_kind(namespace, TAG)))
                for name in dict.fromkeys(names):
                    _add(connection, namespace, TAG, name, {}, now_us=now_us)
                return _all(connection, namespace, TAG)

            return Answer(201, {"tags": await self._service.write(work), "schema": "/v2/schemas/metadefs/tags"})

        return handler

    def _shower(self, kind: Kind) -> Handler:
        async def handler(call: Call) -> Answer:
            call.check_read()
            namespace, name = call.parameters["namespace"], call.parameters["name"]

            def work(connection: Connection) -> dict[str, Any]:
                _find_namespace(connection, call, namespace)
                return _view(_find(connection, namespace, kind, name), kind)

            return Answer(body=await self._service.read(work))

        return handler

    def _changer(self, kind: Kind) -> Handler:
        async def handler(call: Call) -> Answer:
            call.check_admin()
            document = await call.document()
            namespace, before, now_us = call.parameters["namespace"], call.parameters["name"], self._service.now_us()
            after = _name(document)

            def work(connection: Connection) -> dict[str, Any]:
                _find_namespace(connection, call, namespace)
                _find(connection, namespace, kind, before)
                row = and_(_of_kind(namespace, kind), DEFINITIONS.c.name == before)
                connection.execute(update(DEFINITIONS).where(row).values(name=after, document=_packed(document), updated_us=now_us))
                return _view(_find(connection, namespace, kind, after), kind)

            try:
                return Answer(body=await self._service.write(work))
            except IntegrityError:
                raise conflict(f"A metadata definition {kind.schema} of that name exists already.") from None

        return handler

    def _remover(self, kind: Kind) -> Handler:
        """One of a kind, or all where the path names none."""

        async def handler(call: Call) -> Answer:
            call.check_admin()
            namespace, name = call.parameters["namespace"], call.parameters.get("name")

            def work(connection: Connection) -> None:
                _check_unprotected(_find_namespace(connection, call, namespace))
                chosen = _of_kind(namespace, kind)
                if name is not None:
                    _find(connection, namespace, kind, name)
                    chosen = and_(chosen, DEFINITIONS.c.name == name)
                connection.execute(delete(DEFINITIONS).where(chosen))

            await self._service.write(work)
            return Answer(204)

        return handler


# -- rows and views -----------------------------------------------------------------------------------------------


def _seen(call: Call) -> ColumnElement[bool]:
    everything = NAMESPACES.c.namespace.is_not(None)
    return everything if call.is_admin else or_(NAMESPACES.c.visibility == PUBLIC, NAMESPACES.c.owner == call.project)


def _find_namespace(connection: Connection, call: Call, name: str) -> Row:
    row = connection.execute(select(NAMESPACES).where(and_(NAMESPACES.c.namespace == name, _seen(call)))).one_or_none()
    if row is None:
        raise not_found(f"Metadata definition namespace={name[:80]} was not found.")
    return row


def _check_unprotected(row: Row) -> None:
    if row.protected:
        raise forbidden(f"Metadata definition namespace {row.namespace} is protected and cannot be deleted.")


def _namespace_values(document: Mapping[str, Any], *, owner: str, now_us: int) -> dict[str, Any]:
    name, visibility, protected = document.get("namespace"), document.get("visibility", PRIVATE), document.get("protected", False)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAMESPACE_CHARS or "/" in name or "\0" in name:
        raise bad_request(f"A namespace has a name of 1 to {MAX_NAMESPACE_CHARS} characters without slashes.")
    if visibility not in (PUBLIC, PRIVATE) or not isinstance(protected, bool):
        raise bad_request("The visibility is public or private, protected true or false.")
    kept = {key: document[key] for key in _SHOWN if document.get(key) is not None}
    given = document.get("owner", owner)
    if not all(isinstance(value, str) for value in (*kept.values(), given)):
        raise bad_request("The owner, display_name and description are text.")
    return {
        "namespace": name, "owner": given, "visibility": visibility, "protected": protected, "document": _packed(kept), "updated_us": now_us,
    }  # fmt: skip


def _namespace_view(connection: Connection, row: Row, *, whole: bool = False) -> dict[str, Any]:
    path = f"/v2/metadefs/namespaces/{row.namespace}"
    view = {
        "namespace": row.namespace, "visibility": row.visibility, "protected": bool(row.protected), "owner": row.owner,
        **msgspec.json.decode(row.document), "created_at": time_text(row.created_us), "updated_at": time_text(row.updated_us), "self": path,
        "schema": "/v2/schemas/metadefs/namespace",
    }  # fmt: skip
    for kind in KINDS if whole else (RESOURCE_TYPE,):
        found = _all(connection, row.namespace, kind)
        if found:
            view[kind.listed] = found
    return view


def _of_kind(namespace: str, kind: Kind) -> ColumnElement[bool]:
    return and_(DEFINITIONS.c.namespace == namespace, DEFINITIONS.c.kind == kind.path)


def _find(connection: Connection, namespace: str, kind: Kind, name: str) -> Row:
    row = connection.execute(select(DEFINITIONS).where(and_(_of_kind(namespace, kind), DEFINITIONS.c.name == name))).one_or_none()
    if row is None:
        raise not_found(f"Metadata definition {kind.schema} {name[:80]} was not found in namespace={namespace[:80]}.")
    return row


def _add(connection: Connection, namespace: str, kind: Kind, name: str, document: Mapping[str, Any], *, now_us: int) -> None:
    if connection.execute(select(func.count()).where(_of_kind(namespace, kind))).scalar_one() >= MAX_OF_KIND:
        raise too_large(f"A namespace has {MAX_OF_KIND} {kind.path} at most.")
    connection.execute(
        insert(DEFINITIONS).values(
            namespace=namespace, kind=kind.path, name=name, document=_packed(document), created_us=now_us, updated_us=now_us
        )
    )


def _all(connection: Connection, namespace: str, kind: Kind) -> Any:
    """A list of views; of properties a table by name."""
    rows = connection.execute(select(DEFINITIONS).where(_of_kind(namespace, kind)).order_by(DEFINITIONS.c.name)).all()
    if kind is PROPERTY:
        return {row.name: {key: value for key, value in msgspec.json.decode(row.document).items() if key != "name"} for row in rows}
    return [_view(row, kind) for row in rows]


def _view(row: Row, kind: Kind) -> dict[str, Any]:
    view: dict[str, Any] = {**msgspec.json.decode(row.document), "name": row.name}
    if kind is not PROPERTY:
        view |= {"created_at": time_text(row.created_us), "updated_at": time_text(row.updated_us)}
    if kind is OBJECT:
        view |= {"self": f"/v2/metadefs/namespaces/{row.namespace}/objects/{row.name}", "schema": "/v2/schemas/metadefs/object"}
    return view


def _begins_with(document: Mapping[str, Any], kind: Kind) -> list[tuple[str, Mapping[str, Any]]]:
    """What of a kind a namespace's document brings.  Raises 400."""
    found = document.get(kind.listed) or []
    if kind is PROPERTY and isinstance(found, dict):
        found = [{**inner, "name": name} if isinstance(inner, dict) else inner for name, inner in found.items()]
    if not isinstance(found, list) or not all(isinstance(inner, dict) for inner in found):
        raise bad_request(f"{kind.listed} are documents.")
    return [(_name(inner), {} if kind is TAG else inner) for inner in found]


def _name(document: Mapping[str, Any]) -> str:
    name = document.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS or "/" in name or "\0" in name:
        raise bad_request(f"A definition has a name of 1 to {MAX_NAME_CHARS} characters without slashes.")
    return name


def _packed(document: Mapping[str, Any]) -> str:
    text = msgspec.json.encode({key: value for key, value in document.items() if key not in ("created_at", "updated_at", "self", "schema")})
    if len(text) > MAX_DOCUMENT_BYTES:
        raise too_large(f"A definition has {MAX_DOCUMENT_BYTES} bytes at most.")
    if b"\\u0000" in text:
        raise bad_request("A definition holds a character that no text has.")
    return text.decode()
