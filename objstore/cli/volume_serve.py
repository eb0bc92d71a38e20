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
from objstore.cli.volume_store import Opened, open_volumes
from objstore.errors import ObjstoreError
from objstore.runtime import log as logs
from objstore.runtime.config import ConfigError
from objstore.services.volume.attach import Attached, attach, view
from objstore.services.volume.device import Device
from objstore.services.volume.layout import volume_id
from objstore.services.volume.nbd.server import NbdServer
from objstore.services.volume.operations import pin_of

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

    @property
    def state_directory(self) -> Path:
        """Where the journals are."""
        return (self.state or self.directory / "volumes").absolute()


def serve_volumes(serving: Serving) -> int:
    """Run to the end; returns the exit code."""
    import uvloop

    try:
        die_with_supervisor()
        logs.set_up("volume", level="info", style="json")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(serving))
    except (ObjstoreError, ConfigError, OSError) as failure:
        return complain(str(failure))
    return 0


async def _serve(serving: Serving) -> None:
    supervised = Supervised()
    async with contextlib.AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_volumes(serving.directory))
        server = NbdServer(opened.world.net)
        for text in serving.volumes:
            server.add(text, await _open(stack, opened, serving, text))
        stack.push_async_callback(server.aclose)
        for address in serving.addresses:
            await server.listen(address)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        print(json.dumps({"serving": list(server.names()), "addresses": list(serving.addresses), "pid": os.getpid()}), flush=True)
        supervised.ready()
        await supervised.asked_to_stop()


async def _open(stack: contextlib.AsyncExitStack, opened: Opened, serving: Serving, text: str) -> Device:
    volume, _, snapshot = text.partition("@")
    if snapshot:
        at = await opened.objects.head(volume_id(volume))
        device = view(opened.objects, opened.world, at, opened.settings, pin_of(at.head, volume_id(snapshot)).tree)
        stack.push_async_callback(device.aclose)
        return device
    directory = serving.state_directory / volume_id(volume).hex()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.enter_context(alone(directory))
    attached = await attach(
        opened.objects, opened.world, volume_id(volume), opened.settings,
        holder=serving.holder or f"{socket.gethostname()}:{serving.state_directory}", directory=str(directory / "journal"), force=serving.force,
    )  # fmt: skip
    stack.push_async_callback(_let_go, attached)
    return attached.device


async def _let_go(attached: Attached) -> None:
    try:
        async with asyncio.timeout(DETACH_S):
            await attached.detach()
    except (TimeoutError, ObjstoreError):
        with contextlib.suppress(ObjstoreError):
            await attached.aclose()


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes of this host away from a journal.  Raises OSError."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as failure:
            raise OSError(f"another process of this host serves the volume in {directory}") from failure
        yield
    finally:
        os.close(fd)
