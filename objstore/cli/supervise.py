"""The supervisor's process: one for each cluster directory, holding its lock, answering on D/run/supervisor.sock.

It outlives the command that started it.  When it is killed its children end with it, and the next one starts afresh.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from objstore.cli import requests
from objstore.cli.child import Supervised
from objstore.cli.client import LOCKED
from objstore.cli.desk import Desk
from objstore.cli.layout import Place
from objstore.cli.supervisor import end_stale
from objstore.cli.world import system_world
from objstore.daemons import control
from objstore.runtime import log as logs
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

log = logging.getLogger(__name__)

SOCKET = "run/supervisor.sock"  # relative: the supervisor runs in the cluster's directory
LOCK = "run/supervisor.lock"
T = TypeVar("T")


async def supervise(root: Path) -> int:
    """Run until told to end.  The caller has changed into `root`."""
    place = Place(root)
    world = system_world()
    supervised = Supervised()
    if not _lock(LOCK):
        log.info("another supervisor runs here")
        return LOCKED
    await _end_earlier(world, place)
    desk = Desk(world, place)
    server = control.ControlServer(world, requests=requests.SupervisorRequest, handlers=desk.handlers())
    await server.start(f"unix:{SOCKET}")
    supervised.ready()
    gc.enable()
    await _first(desk.over.wait(), supervised.asked_to_stop())
    await world.clock.sleep(0.05)  # the answer that says so still has to leave
    await desk.aclose()
    await server.aclose()
    with contextlib.suppress(OSError):
        Path(SOCKET).unlink()
    return 0


def main(root: str) -> int:
    """The process `objstore supervise DIR`."""
    os.chdir(root)
    logs.set_up("supervisor")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return asyncio.run(supervise(Path(root)))


def _lock(path: str) -> bool:
    """Take the directory's lock.  It is let go of by the kernel when this process is gone, and not a moment sooner."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    return True


async def _end_earlier(world: World, place: Place) -> None:
    """Wait until what an earlier supervisor left is gone: two of one node must never run."""
    while end_stale(place):
        await world.clock.sleep(0.02)


async def _first(*waits: Awaitable[object]) -> None:
    owner = TaskOwner("wait")
    tasks = [owner.spawn(_await(wait)) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await owner.aclose()


async def _await(wait: Awaitable[T]) -> T:
    return await wait
