"""The real world as one value: the machine's clocks, randomness, sockets, files, LMDB and threads."""

from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.kv import Kv
from objstore.runtime.net import SocketNet
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from objstore.runtime.world import World


def system_world(local_sockets: str = "") -> World:
    """A World of real things; cheap, nothing is opened before it is used.  `local_sockets`: see SocketNet."""
    net = SocketNet(local_sockets)
    return World(clock=SystemClock(), rng=SystemRng(), net=net, open_disk=RealDisk, open_kv=_open_kv, new_threads=ThreadPool)


def _open_kv(directory: str) -> Kv:
    # Only a storage node opens one; proxies and daemons never load LMDB.
    from objstore.node.engine.records import TABLES
    from objstore.runtime.kv_lmdb import LmdbKv

    return LmdbKv(directory, TABLES)
