"""The agent's way to the process that serves its host's volumes: calls over that process's control socket."""

from typing import Any

from objstore.cli.volume_calls import Attach, Detach, Resize, Served, SnapshotOf
from objstore.daemons.control import ControlFailed, ControlRequest, ask
from objstore.errors import ConditionalConflict, NodeUnreachable, NoSuchKey, ObjstoreError, PreconditionFailed, Unavailable
from objstore.runtime.world import World

CALL_S = 290.0  # letting go of a volume waits for all that was written to be in the store
PATIENCE_S = 15.0  # for the process to be there again when it was started anew
POLL_S = 0.2
# What the other side calls its refusals, and what they are here; anything else may go well later.
_REFUSALS: dict[str, type[ObjstoreError]] = {
    "NoSuchKey": NoSuchKey, "NotServed": NoSuchKey, "VolumeInUse": ConditionalConflict, "PreconditionFailed": PreconditionFailed,
}  # fmt: skip


class DisksClient:
    """As agent/host.py's Disks has it."""

    def __init__(self, world: World, control: str) -> None:
        self._world = world
        self._address = f"unix:{control}"

    async def attach(self, volume: str, *, force: bool = False) -> None:
        """Attach and export a volume."""
        await self._ask(Attach(volume, force=force))

    async def detach(self, volume: str) -> None:
        """Let go of a volume."""
        try:
            await self._ask(Detach(volume))
        except ControlFailed as failed:
            if getattr(failed, "error", "") != "Fenced":  # it is another host's by now, and gone from here
                raise Unavailable(failed.message) from failed

    async def snapshot(self, volume: str, snapshot: str) -> None:
        """A snapshot of all that was written."""
        await self._ask(SnapshotOf(volume, snapshot=snapshot))

    async def resize(self, volume: str, size_bytes: int) -> None:
        """Make a volume longer; nothing happens where it is."""
        if (await self.sizes()).get(volume) != size_bytes:
            await self._ask(Resize(volume, size_bytes))

    async def sizes(self) -> dict[str, int]:
        """The volumes that are attached, and their sizes."""
        return {str(export["export"]): int(export["size"]) for export in (await self._ask(Served()))["exports"]}

    async def _ask(self, request: ControlRequest) -> dict[str, Any]:
        clock = self._world.clock
        deadline = clock.monotonic() + PATIENCE_S
        while True:
            try:
                return await ask(self._world, self._address, request, dict, timeout_s=CALL_S)
            except NodeUnreachable:
                if clock.monotonic() >= deadline:
                    raise
            except ControlFailed as failed:
                kind = _REFUSALS.get(str(getattr(failed, "error", "")))
                if kind is not None:
                    raise kind(failed.message) from failed
                raise
            await clock.sleep(POLL_S)
