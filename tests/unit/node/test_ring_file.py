import contextlib
from functools import partial

import pytest

from objstore.node.ring_file import RingFile
from ring import builder, codec
from ring.model import Device, RingError, RingSpec
from tests.sim.disk import PowerLost
from tests.support.wires import Site, run

FIRST = builder.create(RingSpec("default", 1, 3, 7, 0.0, 0.1), [Device(-1, "n", "tcp:h:1", "r", "z", 1.0, b"12345678")])
SECOND = builder.change(FIRST, [builder.Weigh(0, 2.0)], now_s=1e9)
OLD, NEW = codec.encode(FIRST), codec.encode(SECOND)
PATH = "/nodes/0/ring"


def damage(site: Site, name: str) -> None:
    file = site.world.open_disk("/nodes/0").open(name, write=True)
    file.pwrite([bytes([file.pread(1, 60)[0] ^ 1])], 60)


def test_there_is_nothing_before_anything_was_saved() -> None:
    async def main(site: Site) -> None:
        assert RingFile(site.world, PATH).load() == b""

    run(main)


def test_after_a_crash_at_any_point_the_old_ring_or_the_new_one_is_there() -> None:
    seen = set()

    async def main(site: Site, fuse: int) -> None:
        file = RingFile(site.world, PATH)
        file.save(OLD)
        site.storage.fuse = fuse
        finished = False
        with contextlib.suppress(PowerLost):
            file.save(NEW)
            finished = True
        site.storage.fuse = None
        site.storage.crash()
        again = RingFile(site.world, PATH)
        found = again.load(), again.is_settled
        assert not finished or found == (NEW, True)
        seen.add(found)

    for fuse in range(20):
        for seed in range(4):
            run(partial(main, fuse=fuse), seed=seed)
    assert seen == {(OLD, True), (NEW, False), (NEW, True)}


@pytest.mark.parametrize("name", ["ring", "ring.copy"])
def test_one_damaged_file_is_no_loss_and_is_noticed(name: str) -> None:
    async def main(site: Site) -> None:
        file = RingFile(site.world, PATH)
        file.save(NEW)
        damage(site, name)
        assert (file.load(), file.is_settled) == (NEW, False)
        file.save(NEW)
        assert (file.load(), file.is_settled) == (NEW, True)

    run(main)


def test_two_damaged_files_are_an_error_and_not_the_absence_of_a_ring() -> None:
    async def main(site: Site) -> None:
        file = RingFile(site.world, PATH)
        file.save(NEW)
        for name in ("ring", "ring.copy"):
            damage(site, name)
        with pytest.raises(RingError):
            file.load()

    run(main)


def test_a_single_file_that_somebody_put_there_is_read_too() -> None:
    async def main(site: Site) -> None:
        file = site.world.open_disk("/etc").open("ring", create=True, write=True)
        file.pwrite([NEW], 0)
        assert RingFile(site.world, "/etc/ring").load() == NEW

    run(main)
