"""The world as one value: what a component may touch, real in production and simulated in tests/sim."""

from collections.abc import Callable
from dataclasses import dataclass

from objstore.runtime.clock import Clock
from objstore.runtime.disk import Disk
from objstore.runtime.kv import Kv
from objstore.runtime.net import Net
from objstore.runtime.rng import Rng
from objstore.runtime.tasks import Threads


@dataclass(frozen=True)
class World:
    """Handed down from the command line (or the simulator) to everything that does."""

    clock: Clock
    rng: Rng
    net: Net
    open_disk: Callable[[str], Disk]  # directory -> Disk rooted there
    open_kv: Callable[[str], Kv]  # directory -> Kv kept there
    new_threads: Callable[[str, int], Threads]  # name, number of threads
