"""The scrubber: verify rows, their two index entries and their bytes, a bounded piece at a time."""

from objstore.node.engine.api import AuditStep
from objstore.node.engine.device import Device


class Scrubber:
    """Walks the device; see EngineApi.audit."""

    def __init__(self, device: Device) -> None:
        self._device = device

    async def step(self, cursor: bytes, budget_bytes: int) -> AuditStep:
        """Verify about `budget_bytes` from `cursor` on."""
        raise NotImplementedError
