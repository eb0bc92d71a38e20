"""Metadata and tags of servers."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, forbidden, not_found
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context, check_may, seen_server
from objstore.services.compute.records import Server

Items = dict[str, str]
TAGS_SINCE = (2, 26)


class NoteCalls:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2.1/servers/{server_id}"
        return {
            ("GET", f"{one}/metadata"): self.metadata,
            ("POST", f"{one}/metadata"): self.add_metadata,
            ("PUT", f"{one}/metadata"): self.replace_metadata,
            ("GET", f"{one}/metadata/{{name}}"): self.item,
            ("PUT", f"{one}/metadata/{{name}}"): self.set_item,
            ("DELETE", f"{one}/metadata/{{name}}"): self.remove_item,
            ("GET", f"{one}/tags"): self.tags,
            ("PUT", f"{one}/tags"): self.replace_tags,
            ("DELETE", f"{one}/tags"): self.remove_tags,
            ("GET", f"{one}/tags/{{tag}}"): self.has_tag,
            ("PUT", f"{one}/tags/{{tag}}"): self.add_tag,
            ("DELETE", f"{one}/tags/{{tag}}"): self.remove_tag,
        }

    # -- metadata -------------------------------------------------------------------------------------------------

    async def metadata(self, call: Call) -> Answer:
        """All of it."""
        return Answer(body={"metadata": dict((await self._context.server(call)).metadata)})

    async def item(self, call: Call) -> Answer:
        """One item."""
        found = (await self._context.server(call)).metadata
        name = call.parameters["name"]
        if name not in found:
            raise not_found("Metadata item was not found")
        return Answer(body={"meta": {name: found[name]}})

    async def add_metadata(self, call: Call) -> Answer:
        """Add items, and change those that are there."""
        given = fields.metadata("metadata", fields.member(fields.only(await call.document(), ("metadata",)), "metadata"))
        return Answer(body={"metadata": await self._change(call, lambda items: {**items, **given})})

    async def replace_metadata(self, call: Call) -> Answer:
        """These and no others."""
        given = fields.metadata("metadata", fields.member(fields.only(await call.document(), ("metadata",)), "metadata"))
        return Answer(body={"metadata": await self._change(call, lambda _: given)})

    async def set_item(self, call: Call) -> Answer:
        """One item."""
        given = fields.metadata("meta", fields.member(fields.only(await call.document(), ("meta",)), "meta"))
        name = call.parameters["name"]
        if len(given) != 1:
            raise bad_request("Invalid input for field/attribute meta. It has one item")
        if name not in given:
            raise bad_request("Request body and URI mismatch")
        await self._change(call, lambda items: {**items, **given})
        return Answer(body={"meta": given})

    async def remove_item(self, call: Call) -> Answer:
        """Remove one item."""
        name = call.parameters["name"]

        def without(items: Items) -> Items:
            if name not in items:
                raise not_found("Metadata item was not found")
            return {key: value for key, value in items.items() if key != name}

        await self._change(call, without)
        return Answer(204)

    async def _change(self, call: Call, change: Callable[[Items], Items]) -> Mapping[str, str]:
        context, now_us = self._context, self._context.now_us()
        call.check_read()

        def work(connection: Connection) -> Items:
            server = seen_server(connection, call)
            call.check_write()
            check_may(call, server, "metadata")
            after = change(dict(server.metadata))
            limit = context.catalog.metadata_limit(connection, server.project)
            if 0 <= limit < len(after):
                raise forbidden(f"Maximum number of metadata items exceeds {limit}")
            records.set_metadata(connection, server.id, after)
            records.change(connection, server.id, updated_us=now_us)
            return after

        return await context.write(work)

    # -- tags -----------------------------------------------------------------------------------------------------

    async def tags(self, call: Call) -> Answer:
        """All of them."""
        return Answer(body={"tags": list((await self._tagged(call)).tags)})

    async def has_tag(self, call: Call) -> Answer:
        """Whether there is such a tag."""
        server = await self._tagged(call)
        if call.parameters["tag"] not in server.tags:
            raise not_found(f"Server {server.id} has no tag '{call.parameters['tag'][:64]}'")
        return Answer(204)

    async def replace_tags(self, call: Call) -> Answer:
        """These and no others."""
        _check_version(call)
        given = fields.tags("tags", fields.member(fields.only(await call.document(), ("tags",)), "tags"))
        return Answer(body={"tags": sorted(await self._change_tags(call, lambda _: given))})

    async def remove_tags(self, call: Call) -> Answer:
        """None any more."""
        _check_version(call)
        await self._change_tags(call, lambda _: [])
        return Answer(204)

    async def add_tag(self, call: Call) -> Answer:
        """One more."""
        _check_version(call)
        tag = fields.tag("tag", call.parameters["tag"])
        before: list[str] = []

        def add(tags: list[str]) -> list[str]:
            before[:] = tags
            if tag not in tags and len(tags) >= fields.MAX_TAGS:
                raise bad_request(f"The number of tags exceeded the per-server limit {fields.MAX_TAGS}")
            return [*tags, tag]

        await self._change_tags(call, add)
        if tag in before:
            return Answer(204)
        return Answer(201, headers=[(b"location", f"{self._context.url}{call.path}".encode())])

    async def remove_tag(self, call: Call) -> Answer:
        """One less."""
        _check_version(call)
        tag = call.parameters["tag"]

        def without(tags: list[str]) -> list[str]:
            if tag not in tags:
                raise not_found(f"Server {call.parameters['server_id'][:64]} has no tag '{tag[:64]}'")
            return [other for other in tags if other != tag]

        await self._change_tags(call, without)
        return Answer(204)

    async def _tagged(self, call: Call) -> Server:
        _check_version(call)
        return await self._context.server(call)

    async def _change_tags(self, call: Call, change: Callable[[list[str]], list[str]]) -> list[str]:
        context, now_us = self._context, self._context.now_us()
        call.check_read()

        def work(connection: Connection) -> list[str]:
            server = seen_server(connection, call)
            call.check_write()
            check_may(call, server, "tags")
            after = list(dict.fromkeys(change(list(server.tags))))
            records.set_tags(connection, server.id, after)
            records.change(connection, server.id, updated_us=now_us)
            return after

        return await context.write(work)


def _check_version(call: Call) -> None:
    if call.version < TAGS_SINCE:
        raise not_found()
