"""The real world: pieces of it do what the protocols promise."""

import asyncio
from pathlib import Path

from objstore.cli.world import system_world


def test_the_system_world_opens_disks_where_it_is_told(tmp_path: Path) -> None:
    world = system_world()
    disk = world.open_disk(str(tmp_path / "d1"))
    disk.make_directory("a/b")
    assert (tmp_path / "d1" / "a" / "b").is_dir()
    assert len(world.rng.token(16)) == 16


def test_the_system_world_runs_blocking_calls_in_named_threads() -> None:
    async def main() -> int:
        threads = system_world().new_threads("trial", 1)
        try:
            return await threads.run(sum, [1, 2, 3])
        finally:
            threads.close()

    assert asyncio.run(main()) == 6
