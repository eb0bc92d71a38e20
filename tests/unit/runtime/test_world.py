"""The world is one immutable value, and every Protocol in it has a simulated twin with the same methods."""

import dataclasses
import inspect

import pytest

from objstore.runtime import clock, disk, kv, net, rng, tasks
from objstore.runtime.world import World
from tests.sim import clock as sim_clock
from tests.sim import disk as sim_disk
from tests.sim import kv as sim_kv
from tests.sim import net as sim_net
from tests.sim import rng as sim_rng
from tests.sim import threads as sim_threads

TWINS = [
    (clock.Clock, sim_clock.SimClock),
    (rng.Rng, sim_rng.SimRng),
    (net.Net, sim_net.SimNet),
    (disk.Disk, sim_disk.SimDisk),
    (disk.File, sim_disk.SimFile),
    (kv.Kv, sim_kv.SimKv),
    (kv.Snapshot, sim_kv.SimSnapshot),
    (tasks.Threads, sim_threads.SimThreads),
]


def test_a_world_cannot_be_changed_under_those_who_hold_it() -> None:
    world = World(*([None] * 6))  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        world.clock = None  # type: ignore[assignment,misc]


@pytest.mark.parametrize(("protocol", "twin"), TWINS, ids=lambda c: c.__name__)
def test_the_simulated_twin_has_every_method_with_the_same_parameters(protocol: type, twin: type) -> None:
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if name.startswith("_"):
            continue
        expected = list(inspect.signature(method).parameters)
        assert list(inspect.signature(getattr(twin, name)).parameters) == expected, name
