"""The process of `objstore volume serve`: attaches volumes, exports them over NBD, lets go of them on SIGTERM.

It prints one JSON line when it serves.  Killed, it leaves its volumes attached; started again with the same state directory it
takes up their journals.
"""

import asyncio
import contextlib
import fcntl
import gc
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from objstore.cli.child import Supervised, die_with_supervisor
from objstore.cli.errors import complain
from objstore.cli.volume_calls import Requests, handlers
from objstore.cli.volume_store import open_volumes
from objstore.daemons.control import ControlServer
from objstore.errors import ObjstoreError
from objstore.records.store import Leases
from objstore.runtime import log as logs
from objstore.runtime.config import ConfigError
from objstore.runtime.disk import make_root
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.host import HostPlace, VolumeHost
from objstore.services.volume.layout import volume_id
from objstore.services.volume.sweep import sweep_for_ever

GC_THRESHOLDS = (50_000, 20, 100)  # as in roles.py
DETACH_S = 30.0  # after which a volume is left attached: its journal keeps what the store did not take


@dataclass(frozen=True)
class Serving:
    """What to serve, where."""

    directory: Path
    state: Path | None
    addresses: tuple[str, ...]
    volumes: tuple[str, ...]
    holder: str = ""
    force: bool = False
    control: Path | None = None

    @property
    def state_directory(self) -> Path:
        """Where the journals are."""
        return (self.state or self.directory / "volumes").absolute()


def serve_volumes(serving: Serving) -> int:
    """Run to the end; returns the exit code."""
    import uvloop

    try:
        die_with_supervisor()
        os.umask(0o077)  # NBD knows no users: whoever can open the socket can read the disk
        logs.set_up("volume", level="info", style="json")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(serving))
    except (ObjstoreError, ConfigError, OSError) as failure:
        return complain(str(failure))
    return 0


async def _serve(serving: Serving) -> None:
    supervised = Supervised()
    async with open_volumes(serving.directory) as opened:
        place = HostPlace(
            serving.holder or f"{socket.gethostname()}:{serving.state_directory}",
            lambda volume: str(serving.state_directory / volume.hex() / "journal"),
            lambda volume: alone(serving.state_directory / volume.hex()),
        )
        host = VolumeHost(opened.volumes, opened.world, opened.settings, place)
        background = TaskOwner("volumes")
        control = ControlServer(opened.world, requests=Requests, handlers=handlers(host))
        try:
            for text in serving.volumes:
                volume, _, snapshot = text.partition("@")
                if snapshot:
                    await host.attach_snapshot(volume_id(volume), volume_id(snapshot))
                else:
                    await host.attach(volume_id(volume), force=serving.force)
            for address in serving.addresses:
                await host.server.listen(address)
            if serving.control:
                await control.start(f"unix:{serving.control}")
            if opened.settings.sweep_interval_s:
                leases = Leases(opened.cluster, opened.world.clock, "volumes")
                interval_s, grace_s = opened.settings.sweep_interval_s, opened.settings.sweep_grace_s
                background.spawn(sweep_for_ever(opened.volumes, leases, holder=place.holder, interval_s=interval_s, grace_s=grace_s))
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            print(json.dumps({"serving": list(host.served()), "addresses": list(serving.addresses), "pid": os.getpid()}), flush=True)
            supervised.ready()
            await supervised.asked_to_stop()
        finally:
            await background.aclose()
            await control.aclose()
            await host.aclose(patience_s=DETACH_S)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes of this host away from a journal.  Raises OSError."""
    make_root(str(directory))
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as failure:
            raise OSError(f"another process of this host serves the volume in {directory}") from failure
        yield
    finally:
        os.close(fd)
