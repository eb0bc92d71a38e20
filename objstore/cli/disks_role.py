"""The `disks` process: the volumes of one host, for its agent and its guests, as ADR 17 has it.

It outlives agents and may itself be killed: its volumes stay attached, their journals are taken up, guests connect again by themselves.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Any

from objstore.cli.child import Supervised
from objstore.cli.clusters import all_rings, open_cluster
from objstore.cli.settings import component
from objstore.cli.volume_calls import Requests, handlers
from objstore.cli.volume_serve import alone
from objstore.cli.world import system_world
from objstore.daemons.control import ControlServer
from objstore.objects.store import ObjectStore
from objstore.records.store import Leases
from objstore.runtime.config import ConfigError
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.host import HostPlace
from objstore.services.volume.lasting import LastingHost
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import Volumes
from objstore.services.volume.sweep import sweep_for_ever

LEAVE_S = 20.0  # for what is not in the store yet when the process is to end


async def run_disks(settings: Any) -> None:
    """To the end.  Raises ConfigError, ObjstoreError, OSError."""
    supervised = Supervised()
    section = settings.disks
    for key in ("control", "nbd", "data_directory"):
        if not getattr(section, key):
            raise ConfigError(f"[disks] needs {key!r}")
    os.umask(0o077)  # NBD knows no users: whoever can open the socket can read the disks
    world = system_world(settings.host.sockets)
    state = Path(section.data_directory).absolute()
    place = HostPlace(
        section.host or f"{socket.gethostname()}:{state}",
        lambda volume: str(state / volume.hex() / "journal"),
        lambda volume: alone(state / volume.hex()),
    )
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster(world, settings, section))
        objects = component(settings, "objects")
        store = ObjectStore(await all_rings(stack, world, settings, section, cluster, objects), world, objects)
        stack.push_async_callback(store.aclose)
        await store.start()
        pieces = VolumeObjects(store, world.clock, world.rng)
        await pieces.start()
        volumes, chosen = Volumes(pieces), component(settings, "volume")
        threads = world.new_threads("disks", 1)
        stack.callback(threads.close)
        host = LastingHost(volumes, world, chosen, place, notes=world.open_disk(str(state)), threads=threads)
        stack.push_async_callback(host.leave, patience_s=LEAVE_S)
        background = TaskOwner("disks")
        stack.push_async_callback(background.aclose)
        background.spawn(host.keep_taking_up(await host.take_up()))
        await host.server.listen(f"unix:{section.nbd}")
        _let_in(section.nbd, section.group)
        control = ControlServer(world, requests=Requests, handlers=handlers(host))
        stack.push_async_callback(control.aclose)
        await control.start(f"unix:{section.control}")
        if chosen.sweep_interval_s:
            leases = Leases(cluster, world.clock, "volumes")
            background.spawn(
                sweep_for_ever(volumes, leases, holder=place.holder, interval_s=chosen.sweep_interval_s, grace_s=chosen.sweep_grace_s)
            )
        supervised.ready()
        await supervised.asked_to_stop()


def _let_in(path: str, group: int) -> None:
    """Guests run as users of their own: they may open the socket by its group."""
    if group >= 0:
        os.chown(path, -1, group)
        os.chmod(path, 0o660)
        # They are handed its directory as a descriptor, so its mode alone counts: names cannot be listed, other sockets not be opened.
        directory = os.path.dirname(path) or "."
        os.chown(directory, -1, group)
        os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) | stat.S_IXGRP)
