"""Key pairs: each user has his own; the service keeps the public half alone."""

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import CallRefused, bad_request, conflict, forbidden, not_found
from objstore.services.compute import fields, quotas, ssh_keys
from objstore.services.compute.catalog import find_key
from objstore.services.compute.cloud_tables import KEYPAIRS
from objstore.services.compute.fields import Check, member, only, wrong
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import View, next_links, time_of

TYPED: Version = (2, 2)
OF_OTHERS: Version = (2, 10)
PAGED: Version = (2, 35)
IMPORTED_ONLY: Version = (2, 92)
_SAFE = re.compile(r"[a-zA-Z0-9_ -]+")
_SAFE_NOW = re.compile(r"[a-zA-Z0-9_ @.-]+")


class KeypairCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/os-keypairs"
        one = many + "/{name}"
        return {("GET", many): self.list_keys, ("POST", many): self.create, ("GET", one): self.show, ("DELETE", one): self.remove}

    async def list_keys(self, call: Call) -> Answer:
        """The caller's, or (for administrators) somebody else's."""
        user = _user(call, call.first("user_id"))
        query = select(KEYPAIRS).where(KEYPAIRS.c.user_id == user).order_by(KEYPAIRS.c.name)
        rows = list(await self._service.read(lambda connection: connection.execute(query).all()))
        body: View = {}
        if call.version >= PAGED:
            limit = limit_of(call, default=0, most=self._service.settings.page_limit) or self._service.settings.page_limit
            marker = call.first("marker")
            if marker is not None:
                if not any(row.name == marker for row in rows):
                    raise bad_request(f"marker [{marker[:64]}] not found")
                rows = [row for row in rows if row.name > marker]
            rows = rows[:limit]
            if rows and call.first("limit") is not None:
                body = next_links(call, "os-keypairs", "keypairs", limit, [row.name for row in rows])
        return Answer(body={"keypairs": [{"keypair": _view(row, call.version)} for row in rows], **body})

    async def show(self, call: Call) -> Answer:
        """One."""
        user, name = _user(call, call.first("user_id")), call.parameters["name"]
        row = await self._service.read(lambda connection: find_key(connection, user, name))
        if row is None:
            raise _unknown(user, name)
        whole: View = {
            "user_id": row.user_id, "id": row.number, "created_at": time_of(row.created_us), "updated_at": None, "deleted": False,
            "deleted_at": None,
        }  # fmt: skip
        return Answer(body={"keypair": _view(row, call.version) | whole})

    async def create(self, call: Call) -> Answer:
        """Import a public key, or make a pair, whose private half is told once."""
        given = _entry(call, member(only(await call.document(), ("keypair",)), "keypair"))
        user, name, kind = _user(call, given.get("user_id")), str(given["name"]), str(given.get("type", ssh_keys.SSH))
        private, public = "", given.get("public_key")
        if public is None:
            if call.version >= IMPORTED_ONLY:
                raise bad_request("Invalid input for field/attribute keypair. 'public_key' is a required property")
            private, public = self._new(kind, user)
        row = {
            "user_id": user, "name": name, "type": kind, "public_key": public, "fingerprint": ssh_keys.fingerprint(kind, public),
            "created_us": self._service.now_us(),
        }  # fmt: skip
        project = call.project

        def work(connection: Connection) -> Any:
            if find_key(connection, user, name) is not None:
                raise conflict(f"Key pair '{name}' already exists.")
            count = connection.execute(select(func.count()).where(KEYPAIRS.c.user_id == user)).scalar_one()
            if 0 <= quotas.limit_of(connection, self._service.settings, project, "key_pairs", user) <= count:
                raise forbidden("Quota exceeded, too many key pairs.")
            number = connection.execute(select(func.coalesce(func.max(KEYPAIRS.c.number), 0))).scalar_one() + 1
            connection.execute(insert(KEYPAIRS).values(number=number, **row))
            return find_key(connection, user, name)

        view = _view(await self._service.write(work), call.version) | {"user_id": user}
        if private:
            view["private_key"] = private
        return Answer(201 if call.version >= TYPED else 200, {"keypair": view})

    def _new(self, kind: str, user: str) -> tuple[str, str]:
        rng = self._service.world.rng
        if kind == ssh_keys.SSH:
            return ssh_keys.new_pair(rng.token(ssh_keys.SEED_BYTES), "Generated-by-Nova")
        now = datetime.fromtimestamp(self._service.now_us() // 1_000_000, UTC)
        return ssh_keys.new_certificate(rng.token(ssh_keys.CERTIFICATE_SEED_BYTES), user, now)

    async def remove(self, call: Call) -> Answer:
        """One less; servers keep what they have of it."""
        user, name = _user(call, call.first("user_id")), call.parameters["name"]
        chosen = and_(KEYPAIRS.c.user_id == user, KEYPAIRS.c.name == name)
        if not await self._service.write(lambda connection: connection.execute(delete(KEYPAIRS).where(chosen)).rowcount):
            raise _unknown(user, name)
        return Answer(204 if call.version >= TYPED else 202)


def _entry(call: Call, document: Any) -> dict[str, Any]:
    checks: dict[str, Check] = {"name": _named(call.version), "public_key": fields.text(ssh_keys.MAX_KEY_CHARS)}
    if call.version >= TYPED:
        checks["type"] = fields.one_of(ssh_keys.SSH, ssh_keys.X509)
    if call.version >= OF_OTHERS:
        checks["user_id"] = fields.text(least=1)
    given = {name: checks[name](name, value) for name, value in only(document, checks, "keypair").items()}
    member(given, "name")
    return given


def _named(version: Version) -> Check:
    def check(name: str, value: Any) -> str:
        found: str = fields.text(least=1)(name, value)
        if (_SAFE_NOW if version >= IMPORTED_ONLY else _SAFE).fullmatch(found) is None or found != found.strip():
            raise wrong(name, value, "Keypair name contains unsafe characters: letters, digits, space, - and _ are not")
        return found

    return check


def _user(call: Call, user_id: str | None) -> str:
    mine = call.who.user.id
    if user_id is None or call.version < OF_OTHERS or user_id == mine:
        return mine
    if not call.is_admin:
        raise forbidden("Policy doesn't allow this: the key pairs are another user's.")
    return user_id


def _unknown(user: str, name: str) -> CallRefused:
    return not_found(f"Keypair {name[:255]} not found for user {user}")


def _view(row: Any, version: Version) -> View:
    view: View = {"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint}
    if version >= TYPED:
        view["type"] = row.type
    return view
