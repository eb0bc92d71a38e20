"""Opens the store of a cluster's directory for the volume commands: a client of its nodes, as a proxy is."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from objstore.cli.clusters import open_cluster
from objstore.cli.layout import Place, read_cluster
from objstore.cli.settings import ROLE_SECTIONS, SHARED_SECTIONS, component, load_settings
from objstore.cli.world import system_world
from objstore.cluster.cluster import Cluster
from objstore.objects.store import ObjectStore
from objstore.runtime.world import World
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import Volumes
from objstore.services.volume.settings import VolumeSettings

SECTIONS = ROLE_SECTIONS["volume"]


@dataclass(frozen=True)
class Opened:
    """What a command works with."""

    world: World
    store: ObjectStore
    volumes: Volumes
    settings: VolumeSettings
    cluster: Cluster

    @property
    def objects(self) -> VolumeObjects:
        """Heads, nodes and chunks."""
        return self.volumes.objects


@contextlib.asynccontextmanager
async def open_volumes(root: Path) -> AsyncIterator[Opened]:
    """The volumes of the cluster in `root`.  Raises ConfigError, OSError."""
    place = Place(root.absolute())
    layout, _ = read_cluster(place)
    settings = load_settings(SECTIONS, files=[place.cluster_file], foreign=("layout", *(set(SHARED_SECTIONS) - set(SECTIONS)))).settings
    world = system_world("" if layout.uid_base is not None else str(place.run))
    section = SimpleNamespace(ring=str(place.ring_file), name="volume", cluster_key_file=str(place.cluster_key_file))
    async with open_cluster(world, settings, section) as cluster:
        store = ObjectStore(cluster, world, component(settings, "objects"))
        try:
            await store.start()
            objects = VolumeObjects(store, world.clock, world.rng)
            await objects.start()
            yield Opened(world, store, Volumes(objects), component(settings, "volume"), cluster)
        finally:
            await store.aclose()
