"""The calls that all resources have: make one or many, list, show, change, remove; and their tags."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.network import checks, listing
from objstore.services.network.checks import wrong
from objstore.services.network.groups import default_group, needs_default
from objstore.services.network.kinds import Kind, bodies, parse_change, parse_new, single
from objstore.services.network.operations import Operations, View
from objstore.services.network.problems import NetworkRefused, bad
from objstore.services.network.records import Row, Tx, Who, bump, decoded, one, set_tags, tags_of
from objstore.services.network.rights import check_own
from objstore.services.network.service import NetworkService
from objstore.services.network.tables import NETWORKS

V2 = "/v2.0"
MAX_TAG_CHARS = 255
_MATCH = re.compile(r"revision_number\s*=\s*([0-9]{1,18})")


def who_calls(call: Call) -> Who:
    """On whose behalf a call is."""
    return Who(call.project, call.is_admin, bool(call.who.names & {"admin", "manager", "member"}))


def seen(tx: Tx, operations: Operations, id_: str) -> Row:
    """A thing that the caller sees.  Raises 404."""
    table = operations.kind.table
    found = tx.connection.execute(select(table).where(and_(table.c.id == id_, operations.seen(tx.who)))).one_or_none()
    if found is None:
        raise operations.kind.not_found(id_)
    return decoded(found, table)


class ResourceCalls:
    """The handlers of one resource."""

    def __init__(self, service: NetworkService, operations: Operations) -> None:
        self._service = service
        self.operations = operations

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = f"{V2}/{self.operations.kind.path}"
        one_ = many + "/{id}"
        found: dict[tuple[str, str], Handler] = {
            ("GET", many): self.list_all, ("POST", many): self.create, ("GET", one_): self.show, ("PUT", one_): self.update,
            ("DELETE", one_): self.remove,
        }  # fmt: skip
        if self.operations.kind.tagged:
            found |= {
                ("GET", one_ + "/tags"): self.tags, ("PUT", one_ + "/tags"): self.set_tags, ("POST", one_ + "/tags"): self.add_tags,
                ("DELETE", one_ + "/tags"): self.clear_tags, ("GET", one_ + "/tags/{tag}"): self.has_tag, ("PUT", one_ + "/tags/{tag}"): self.add_tag,
                ("DELETE", one_ + "/tags/{tag}"): self.remove_tag,
            }  # fmt: skip
        return found

    async def create(self, call: Call) -> Answer:
        """One, or all of a list or none of them."""
        call.check_write()
        who, kind, operations = who_calls(call), self.operations.kind, self.operations
        items, many = bodies(kind, await call.document(), self._service.settings.max_bulk)
        asked = []
        for item in items:
            tags, rest = self._split_tags(item)
            asked.append((tags, parse_new(kind, rest, who)))

        def work(tx: Tx) -> list[View]:
            made: list[Row] = []
            for tags, values in asked:
                row = operations.create(tx, dict(values))
                if tags:
                    set_tags(tx, row["id"], tags)
                made.append(row)
            return operations.views(tx, [one(tx, kind.table, row["id"]) for row in made])

        views = await self._service.write(who, work)
        return Answer(201, {kind.plural: views} if many else {kind.name: views[0]})

    def _split_tags(self, item: Any) -> tuple[list[str], Any]:
        if not isinstance(item, dict) or "tags" not in item or not self.operations.kind.tagged:
            return [], item
        return tags_check(self._service.settings.max_tags, item["tags"]), {name: value for name, value in item.items() if name != "tags"}

    async def list_all(self, call: Call) -> Answer:
        """A page of what the caller sees."""
        call.check_read()
        who, operations = who_calls(call), self.operations
        asked = listing.asked_of(call, operations, who, page_limit=self._service.settings.page_limit)
        if operations.needs_default_group and await self._service.read(who, lambda tx: needs_default(tx.connection, who.project)):
            await self._service.write(who, lambda tx: default_group(tx, who.project))

        def work(tx: Tx) -> tuple[list[str], list[View], bool]:
            found, more = listing.page(tx, operations, asked)
            return [row["id"] for row in found], operations.views(tx, found), more

        ids, views, more = await self._service.read(who, work)
        body: View = {operations.kind.plural: listing.narrowed(views, listing.fields_of(call))}
        links = listing.links(call, asked, ids, more=more)
        if links:
            body[f"{operations.kind.plural}_links"] = links
        return Answer(body=body)

    async def show(self, call: Call) -> Answer:
        """One of them."""
        call.check_read()
        who, operations, id_ = who_calls(call), self.operations, call.parameters["id"]
        views = await self._service.read(who, lambda tx: operations.views(tx, [seen(tx, operations, id_)]))
        return Answer(body={operations.kind.name: listing.narrowed(views, listing.fields_of(call))[0]})

    async def update(self, call: Call) -> Answer:
        """Change some attributes."""
        call.check_read()
        who, operations, id_ = who_calls(call), self.operations, call.parameters["id"]
        given = single(operations.kind, await call.document())

        def work(tx: Tx) -> list[View]:
            row = seen(tx, operations, id_)
            check_own(who, row, "update")
            check_match(call, row)
            values = parse_change(operations.kind, given, who)
            operations.update(tx, row, values)
            return operations.views(tx, [one(tx, operations.kind.table, id_)])

        views = await self._service.write(who, work)
        return Answer(body={operations.kind.name: views[0]})

    async def remove(self, call: Call) -> Answer:
        """Remove it."""
        call.check_read()
        who, operations, id_ = who_calls(call), self.operations, call.parameters["id"]

        def work(tx: Tx) -> None:
            row = seen(tx, operations, id_)
            check_removal(tx, operations.kind, row)
            check_match(call, row)
            operations.remove(tx, row)

        await self._service.write(who, work)
        return Answer(204)

    # -- tags ---------------------------------------------------------------------------------------------------

    async def tags(self, call: Call) -> Answer:
        """All tags of it."""
        call.check_read()
        who, operations, id_ = who_calls(call), self.operations, call.parameters["id"]
        found = await self._service.read(who, lambda tx: tags_of(tx, [seen(tx, operations, id_)["id"]])[id_])
        return Answer(body={"tags": found})

    async def has_tag(self, call: Call) -> Answer:
        """204 where it has a tag, 404 where not."""
        found = await self.tags(call)
        if call.parameters["tag"] not in found.body["tags"]:
            raise _no_tag(call.parameters["tag"])
        return Answer(204)

    async def set_tags(self, call: Call) -> Answer:
        """Replace all tags."""
        document = await call.document()
        tags = tags_check(self._service.settings.max_tags, document.get("tags"))
        return Answer(body={"tags": await self._change_tags(call, lambda _: tags)})

    async def add_tags(self, call: Call) -> Answer:
        """Add some tags."""
        document = await call.document()
        tags = tags_check(self._service.settings.max_tags, document.get("tags"))
        return Answer(body={"tags": await self._change_tags(call, lambda before: [*before, *tags])})

    async def clear_tags(self, call: Call) -> Answer:
        """Take all tags away."""
        await self._change_tags(call, lambda _: [])
        return Answer(204)

    async def add_tag(self, call: Call) -> Answer:
        """Add a tag."""
        tag = tags_check(1, [call.parameters["tag"]])[0]
        await self._change_tags(call, lambda before: [*before, tag])
        return Answer(201)

    async def remove_tag(self, call: Call) -> Answer:
        """Take a tag away."""
        tag = call.parameters["tag"]

        def without(before: list[str]) -> list[str]:
            if tag not in before:
                raise _no_tag(tag)
            return [other for other in before if other != tag]

        await self._change_tags(call, without)
        return Answer(204)

    async def _change_tags(self, call: Call, changed: Any) -> list[str]:
        call.check_read()
        who, operations, id_ = who_calls(call), self.operations, call.parameters["id"]

        def work(tx: Tx) -> list[str]:
            row = seen(tx, operations, id_)
            check_own(who, row, "tag")
            before = tags_of(tx, [id_])[id_]
            after = tags_check(self._service.settings.max_tags, sorted(set(changed(before))))
            if after != before:
                set_tags(tx, id_, after)
                bump(tx, operations.kind.table, id_)
            return after

        return await self._service.write(who, work)


def check_removal(tx: Tx, kind: Kind, row: Row) -> None:
    """Raises 403 for what the caller sees and may not remove; the ports on one's network are one's own to remove."""
    who = tx.who
    on_own = kind.name == "port" and bool(who.project) and one(tx, NETWORKS, row["network_id"])["project"] == who.project
    if not (on_own and who.writer):
        check_own(who, row, "delete")


def check_match(call: Call, row: Row) -> None:
    """If-Match: revision_number=N.  Raises 400, 412."""
    text = call.headers.get("if-match")
    if text is None:
        return
    found = _MATCH.fullmatch(text.strip().strip('"'))
    if found is None:
        raise bad("Invalid value for If-Match: it is revision_number=N")
    if int(found.group(1)) != row["revision"]:
        raise NetworkRefused(
            412, "RevisionNumberConstraintFailed", f"Constrained to {found.group(1)}, but current revision is {row['revision']}"
        )


def tags_check(most: int, value: Any) -> list[str]:
    """Tags, each once.  Raises 400."""
    if not isinstance(value, list):
        raise wrong("tags", "a list of texts is needed")
    found: Sequence[str] = [checks.long_text("tags", tag, MAX_TAG_CHARS) for tag in value]
    if any(not tag or "," in tag for tag in found):
        raise wrong("tags", "a tag has at least one character, and no comma")
    unique = list(dict.fromkeys(found))
    if len(unique) > most:
        raise bad(f"The number of tags exceed the per-resource limit of {most}")
    return unique


def _no_tag(tag: str) -> NetworkRefused:
    return NetworkRefused(404, "TagNotFound", f"Tag {tag[:MAX_TAG_CHARS]} could not be found.")
