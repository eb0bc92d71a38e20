"""One flipped bit anywhere in a device's files: never wrong bytes, never a row that was not there; a scrub finds it.

Real files and real LMDB, which has no checksums of its own and answers wrongly or not at all when a page is damaged.  The
device was closed cleanly, so that everything in it was acknowledged and indexed: a damaged tail is not excused as torn.
"""

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.core.rows import Register
from objstore.core.timestamp import ZERO
from objstore.errors import Damaged, DeviceOffline, Refused
from objstore.node.engine.engine import Engine
from objstore.node.engine.fsck import fsck
from objstore.runtime.world import World
from tests.support.engine_rig import SMALL, ballot, delete, fresh, key, names, on_files, put, put_blob, read

FLIPS = {"packs": 60, "blobs": 60, "index-1": 180, "identity": 10}
PARTITIONS = 4
INLINE = {f"inline-{i}": (b"%d" % i) * (i * 37 % 900 + 1) for i in range(20)}
LONG = {"l" * 700 + str(i): b"long%d" % i for i in range(3)}
BLOBS = {f"blob-{i}": random.Random(i).randbytes(3000 * (i + 1)) for i in range(3)}
TRUTH = {**INLINE, **LONG, **BLOBS}


def partition_of(name: str) -> int:
    return len(name) % PARTITIONS


async def build(world: World, directory: str) -> None:
    engine = await fresh(world, directory)
    for name, data in {**INLINE, **LONG}.items():
        await put(engine, name, 1, data, partition=partition_of(name))
    for i, (name, data) in enumerate(BLOBS.items()):
        await put_blob(engine, name, 1, bytes((i,)) * 16, data, partition=partition_of(name))
    await delete(engine, "gone", 1, partition=0)
    await engine.prepare(key("inline-1"), partition=partition_of("inline-1"), ballot=ballot(5))
    await engine.close()


async def use(world: World, directory: str, registers: dict[str, Register]) -> bool:
    """Whether all is as it was; raises nothing but AssertionError, and that when something is wrong and passed for right."""
    try:
        engine = await Engine.open(world, directory, SMALL)
    except Damaged:
        return False
    sound = True
    try:
        for name, data in TRUTH.items():
            try:
                register = engine.query(key(name), partition=partition_of(name))
                assert register == registers[name], name
                assert await read(engine, name, 1) == data, name
            except (Damaged, DeviceOffline):
                sound = False
        try:
            assert names(engine) == sorted(name.encode() for name in TRUTH)
            for partition in range(PARTITIONS):
                items, _ = engine.partition_rows(partition, cursor=b"", limit=100, rows=True)
                for item in items:
                    assert item.register == registers[item.key.name.decode()]
        except (Damaged, DeviceOffline):
            sound = False
        sound &= await scrub(engine)
    finally:
        try:
            await engine.close()
        except (Damaged, Refused):
            sound = False
    return sound


async def scrub(engine: Engine) -> bool:
    cursor: bytes | None = b""
    found = False
    while cursor is not None:
        try:
            step = await engine.audit(cursor, budget_bytes=1 << 30)
        except (DeviceOffline, Damaged):
            return False
        found |= bool(step.damaged)
        cursor = step.cursor
    return not found


async def flipped(world: World, sound: Path, work: Path, registers: dict[str, Register]) -> dict[str, int]:
    random.seed(20)
    noticed = dict.fromkeys(FLIPS, 0)
    for where, count in FLIPS.items():
        for _ in range(count):
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(sound, work)
            files = [p for p in sorted(work.rglob("*")) if p.is_file() and p.relative_to(work).parts[0] == where and p.name != "lock.mdb"]
            path = random.choice(files)
            data = bytearray(path.read_bytes())
            at = random.randrange(len(data))
            data[at] ^= 1 << random.randrange(8)
            path.write_bytes(data)
            noticed[where] += not await use(world, str(work), registers)
            if where == "index-1":
                await healed(world, str(work), registers)
    return noticed


async def healed(world: World, directory: str, registers: dict[str, Register]) -> None:
    """Whatever one bit of the index did, after the scrub above and one more opening everything is there again."""
    engine = await Engine.open(world, directory, SMALL)
    try:
        assert await scrub(engine)
        for name, data in TRUTH.items():
            assert engine.query(key(name), partition=partition_of(name)) == registers[name]
            assert await read(engine, name, 1) == data
    finally:
        await engine.close()


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A directory without a disk below it where there is one: nothing here depends on flushes, and there are thousands."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


def test_no_flipped_bit_gives_wrong_bytes(in_memory: Path) -> None:
    async def main(world: World, directory: str) -> dict[str, int]:
        await build(world, directory)
        engine = await Engine.open(world, directory, SMALL)
        registers = {name: engine.query(key(name), partition=partition_of(name)) for name in [*TRUTH, "gone"]}
        await engine.close()
        assert registers["inline-1"].promised == ballot(5)
        assert registers["gone"].accepted > ZERO
        assert await use(world, directory, registers)
        return await flipped(world, Path(directory), in_memory / "work", registers)

    noticed = on_files(in_memory / "sound", main)
    assert noticed["identity"] == FLIPS["identity"]
    assert noticed["blobs"] == FLIPS["blobs"]
    assert noticed["packs"] > 0  # the rest fell on what is dead, or on rows of which the journal was written again
    assert fsck_is_clean(in_memory / "sound")


def fsck_is_clean(directory: Path) -> bool:
    async def main(world: World, path: str) -> bool:
        report = fsck(world, path)
        assert report["findings"] == []
        return bool(report["clean"])

    return on_files(directory, main)


@pytest.mark.parametrize("where", ["packs", "blobs"])
def test_fsck_finds_every_flipped_bit(in_memory: Path, where: str) -> None:
    async def main(world: World, directory: str) -> None:
        await build(world, directory)

    on_files(in_memory / "sound", main)
    random.seed(3)
    for _ in range(30):
        work = in_memory / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(in_memory / "sound", work)
        path = random.choice([p for p in sorted(work.rglob("*")) if p.is_file() and p.relative_to(work).parts[0] == where])
        data = bytearray(path.read_bytes())
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(data)

        async def check(world: World, directory: str) -> bool:
            return bool(fsck(world, directory)["clean"])

        assert not on_files(work, check)
