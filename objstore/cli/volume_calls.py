"""What a running `objstore volume serve` is asked over its control socket: one JSON object a line, see daemons/control.py."""

from typing import Any

import msgspec

from objstore.cli.volume import show_head, show_pin
from objstore.daemons.control import ControlRequest, Handlers
from objstore.services.volume.host import VolumeHost
from objstore.services.volume.layout import volume_id


class Attach(ControlRequest, frozen=True, tag="attach"):
    """Attach a volume, or open a snapshot of it, and export it; answered by the export's name."""

    volume: str
    snapshot: str = ""
    force: bool = False


class Detach(ControlRequest, frozen=True, tag="detach"):
    """Take an export away and let go of its volume."""

    export: str


class SnapshotOf(ControlRequest, frozen=True, tag="snapshot"):
    """A snapshot of all that was written to an attached volume; `snapshot` chooses its id."""

    volume: str
    name: str = ""
    snapshot: str = ""


class Resize(ControlRequest, frozen=True, tag="resize"):
    """Make an attached volume longer."""

    volume: str
    size: int


class Commit(ControlRequest, frozen=True, tag="commit"):
    """Bring all that was written to an attached volume into the store."""

    volume: str


class Served(ControlRequest, frozen=True, tag="served"):
    """All exports."""


Requests = Attach | Detach | SnapshotOf | Resize | Commit | Served


def handlers(host: VolumeHost) -> Handlers:
    """For the control socket of a process that serves volumes."""

    async def attach(request: Attach) -> dict[str, Any]:
        volume = volume_id(request.volume)
        if request.snapshot:
            return {"export": await host.attach_snapshot(volume, volume_id(request.snapshot))}
        return {"export": await host.attach(volume, force=request.force)}

    async def detach(request: Detach) -> dict[str, Any]:
        await host.detach(request.export)
        return {}

    async def snapshot(request: SnapshotOf) -> dict[str, Any]:
        chosen = volume_id(request.snapshot) if request.snapshot else b""
        return show_pin(await host.snapshot(volume_id(request.volume), name=request.name, snapshot=chosen))

    async def resize(request: Resize) -> dict[str, Any]:
        return show_head(await host.resize(volume_id(request.volume), request.size))

    async def commit(request: Commit) -> dict[str, Any]:
        return show_head(await host.commit(volume_id(request.volume)))

    async def served(_: Served) -> dict[str, Any]:
        return {
            "exports": [
                {"export": name, "size": device.size_bytes, "read_only": device.read_only, "failure": str(device.failure or "")}
                for name, device in host.served().items()
            ]
        }

    return {Attach: attach, Detach: detach, SnapshotOf: snapshot, Resize: resize, Commit: commit, Served: served}


def parse(call: str, arguments: dict[str, Any]) -> ControlRequest:
    """A request as the command line gives it.  Raises msgspec.ValidationError."""
    request: ControlRequest = msgspec.convert({"call": call, **arguments}, Requests, strict=False)
    return request
