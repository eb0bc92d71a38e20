"""The request handler of a storage node: who may be answered is decided first, then who answers.

A request names the sender's epoch, the device and its incarnation; `NodeState.admit` refuses whatever does not match.
While a device is between two epochs its requests wait; they are admitted anew afterwards.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from objstore.errors import NotImplementedHere
from objstore.node.bodies import Bodies
from objstore.node.pages import Pages
from objstore.node.registers import Registers
from objstore.node.state import LocalDevice, NodeState
from objstore.node.upkeep import Upkeep
from objstore.runtime.clock import Clock
from objstore.wire.server import Call

DeviceHandler = Callable[[Call, LocalDevice, Any], None]


class NodeRpc:
    """One for all connections of a node."""

    def __init__(
        self, clock: Clock, state: NodeState, registers: Registers, bodies: Bodies, pages: Pages, upkeep: Upkeep, counters: "Counter[str]"
    ) -> None:
        self._clock = clock
        self._state = state
        self._counters = counters
        self._device_handlers: dict[type, DeviceHandler] = {}
        for part in (registers, bodies, pages, upkeep):
            self._device_handlers.update(part.handlers)  # type: ignore[arg-type]  # each takes its own message class
        self._node_handlers = upkeep.node_handlers

    def on_request(self, call: Call) -> None:
        """Answer a request or see to it that it will be.  Raises the refusals of `NodeState.admit` and of the handlers."""
        message: Any = call.message
        kind = type(message)
        self._counters[kind.__name__] += 1
        handle = self._device_handlers.get(kind)
        if handle is not None:
            device = self._state.admit(message)
            if device.held is None:
                handle(call, device, message)
            else:
                device.hold(call, self._clock.monotonic())
            return
        handle_node = self._node_handlers.get(kind)
        if handle_node is None:
            raise NotImplementedHere(f"a node does not answer {kind.__name__}")
        handle_node(call)

    def redo(self, call: Call) -> None:
        """A request that was held back: admit it anew; what it raises is its answer."""
        try:
            self.on_request(call)
        except Exception as failure:  # noqa: BLE001 as in the connection, which called on_request the first time
            call.fail_with(failure)

    def on_closed(self) -> None:
        """A connection ended; its tasks end with it, changes in the engine come to their end."""
