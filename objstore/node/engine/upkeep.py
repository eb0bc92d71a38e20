"""Upkeep in bounded pieces: checkpoint, purge of unnamed blobs, sweep of staged ones, compaction of packs."""

from objstore.errors import InvalidArgument
from objstore.node.engine.commit import Batch
from objstore.node.engine.compact import Compactor
from objstore.node.engine.device import Device

_FAN_OUT = 256


class Upkeep:
    """What `maintain` runs."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._compactor = Compactor(device)
        self._sweep_at = 0

    async def run(self, what: str) -> tuple[dict[str, int], bool]:
        """(counts, more waiting).  Raises InvalidArgument for an unknown kind, DeviceFull, DeviceOffline."""
        match what:
            case "checkpoint":
                await self._device.threads.io.run(self._device.state.kv.upkeep)  # milliseconds for a large index
                rows = await self._device.checkpoint()
                if self._device.ballast.is_wanted:
                    await self._device.threads.io.run(self._device.ballast.restore)
                return {"rows": rows}, False
            case "compact":
                return await self._compactor.run()
            case "purge":
                return await self._device.to_its_end(self._purge(), name=what)
            case "sweep_staged":
                return await self._device.to_its_end(self._sweep(), name=what)
            case _:
                raise InvalidArgument(f"no such upkeep: {what!r}")

    async def _purge(self) -> tuple[dict[str, int], bool]:
        state = self._device.state
        waiting = list(state.purge)[: self._device.settings.purge_blobs]
        doomed, freed = await self._remove(waiting)
        for blob in waiting:
            # Neither what another removes right now, nor what was still named when that was decided, and is not any more.
            if blob in doomed or state.is_named(blob):
                state.purged(blob)
        return {"blobs": len(waiting), "bytes": freed}, bool(state.purge)

    async def _sweep(self) -> tuple[dict[str, int], bool]:
        """One of the 256 directories of blobs: what was staged long ago and is named by no row."""
        device = self._device
        fan_out, self._sweep_at = self._sweep_at, (self._sweep_at + 1) % _FAN_OUT
        before_us = device.clock.wall_us() - device.settings.staged_max_age_s * 1_000_000
        old = []
        for blob in await device.threads.io.run(device.blobs.list, fan_out):
            if device.state.is_named(blob):
                continue
            staged_us = await device.threads.io.run(device.blobs.staged_us, blob)
            if staged_us is not None and staged_us < before_us:
                old.append(blob)
        _, freed = await self._remove(old)
        return {"blobs": len(old), "bytes": freed}, self._sweep_at != 0

    async def _remove(self, blobs: list[bytes]) -> tuple[dict[bytes, None], int]:
        """Unlink those that no register names: (which, bytes freed).  Raises DeviceFull, DeviceOffline, OSError."""
        doomed: dict[bytes, None] = {}
        if blobs:
            try:
                await self._device.committer.submit(self._doom, blobs, doomed)
            except BaseException:
                self._device.blobs.spare(doomed)
                raise
        return doomed, await self._device.blobs.remove_doomed(list(doomed)) if doomed else 0

    def _doom(self, batch: Batch, blobs: list[bytes], doomed: dict[bytes, None]) -> None:
        """Decided between accepts, so that no row can begin to name a blob that goes."""
        for blob in blobs:
            if not batch.is_named(blob) and not self._device.blobs.is_doomed(blob):
                self._device.blobs.doom(blob)
                doomed[blob] = None
