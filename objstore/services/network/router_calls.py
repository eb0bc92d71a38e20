"""Calls on routers that other resources have not: interfaces, routes one by one, and hosts that route."""

from collections.abc import Callable
from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.network.operations import Operations
from objstore.services.network.records import Row, Tx, one
from objstore.services.network.resources import V2, seen, who_calls
from objstore.services.network.rights import check_own
from objstore.services.network.router_interfaces import add_interface, add_routes, remove_interface, remove_routes
from objstore.services.network.service import NetworkService
from objstore.services.network.tables import ROUTERS


class RouterCalls:
    """The handlers."""

    def __init__(self, service: NetworkService, operations: Operations) -> None:
        self._service = service
        self._operations = operations

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one_ = f"{V2}/routers/{{id}}"
        return {
            ("PUT", f"{one_}/add_router_interface"): self.add_interface, ("PUT", f"{one_}/remove_router_interface"): self.remove_interface,
            ("PUT", f"{one_}/add_extraroutes"): self.add_routes, ("PUT", f"{one_}/remove_extraroutes"): self.remove_routes,
        }  # fmt: skip

    async def add_interface(self, call: Call) -> Answer:
        """Connect to a subnet."""
        return Answer(body=await self._do(call, add_interface))

    async def remove_interface(self, call: Call) -> Answer:
        """Take from a subnet."""
        return Answer(body=await self._do(call, remove_interface))

    async def add_routes(self, call: Call) -> Answer:
        """More routes."""
        return Answer(body=await self._do(call, self._shown(add_routes)))

    async def remove_routes(self, call: Call) -> Answer:
        """Fewer routes."""
        return Answer(body=await self._do(call, self._shown(remove_routes)))

    def _shown(self, change: Callable[[Tx, Row, Any], None]) -> Callable[[Tx, Row, Any], Any]:
        def work(tx: Tx, router: Row, given: Any) -> Any:
            change(tx, router, given)
            return {"router": self._operations.views(tx, [one(tx, ROUTERS, router["id"])])[0]}

        return work

    async def _do(self, call: Call, change: Callable[[Tx, Row, Any], Any]) -> Any:
        call.check_read()
        who, id_ = who_calls(call), call.parameters["id"]
        given = await call.document()

        def work(tx: Tx) -> Any:
            router = seen(tx, self._operations, id_)
            check_own(who, router, "change")
            return change(tx, router, given)

        return await self._service.write(who, work)
