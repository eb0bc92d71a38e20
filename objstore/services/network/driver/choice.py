"""Which driver a host gets."""

import logging

from objstore.runtime.net import free_port
from objstore.runtime.world import World
from objstore.services.network.driver.api import CannotDrive, Lookup, NetworkDriver
from objstore.services.network.driver.netns import open_netns
from objstore.services.network.driver.plan import Site
from objstore.services.network.driver.user import UserDriver

log = logging.getLogger(__name__)


async def open_driver(kind: str, world: World, site: Site, directory: str, lookup: Lookup) -> NetworkDriver:
    """The driver "netns" or "user"; "auto": netns where this process can, else user.

    `directory` is absolute and the driver's own, `lookup` is asked for guests' metadata.  Raises CannotDrive, which says what is missing; ValueError
    for another word.
    """
    if kind not in ("auto", "netns", "user"):
        raise ValueError(f"there is no network driver {kind!r}: it is auto, netns or user")
    if kind != "user":
        try:
            return await open_netns(world, site, directory, lookup)
        except CannotDrive as failure:
            if kind == "netns":
                raise
            log.warning("guests of this host have QEMU's own network, which does not join them: %s", failure.message)
    return UserDriver(site.host, free_port, outbound=site.outbound)
