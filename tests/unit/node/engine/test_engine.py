"""The engine's face, on real files and LMDB."""

import asyncio
import random
from pathlib import Path

import pytest

from objstore.core.rows import EMPTY, RowKey
from objstore.core.timestamp import ZERO
from objstore.errors import InvalidArgument
from objstore.node.engine.api import EngineApi
from objstore.node.engine.engine import Engine, EngineSettings, read_identity
from objstore.runtime.world import World
from tests.support.engine_rig import BUCKET, SMALL, ballot, delete, fresh, key, names, on_files, put, put_blob, read, row


def test_a_day_in_the_life_of_a_device(tmp_path: Path) -> None:
    async def main(world: World, directory: str) -> None:
        engine: EngineApi = await fresh(world, directory)
        assert isinstance(engine, Engine)
        data = random.Random(1).randbytes(100_000)
        await asyncio.gather(*(put(engine, f"k{i:03}", 1, data[:i], partition=i % 8) for i in range(300)))
        await put_blob(engine, "large", 1, b"b" * 16, data)
        await delete(engine, "k007", 2, partition=7)
        digests = engine.digests(range(8))
        for _ in range(2):
            assert len(names(engine)) == 300
            assert await read(engine, "large", 1) == data
            assert (await engine.query_inline(key("k123"), partition=3))[1] == data[:123]
            assert engine.digests(range(8)) == digests
            assert engine.bucket_counters(BUCKET) == (300, sum(range(300)) - 7 + 100_000)
            await engine.close()
            engine = await Engine.open(world, directory, SMALL)
        cursor: bytes | None = b""
        while cursor is not None:
            step = await engine.audit(cursor, budget_bytes=50_000)
            assert not step.damaged
            cursor = step.cursor
        stats = engine.stats()
        assert (stats.rows, stats.blob_bytes, stats.quarantined) == (301, 100_000, 0)
        assert stats.index_bytes > 0
        assert read_identity(world, directory) == engine.incarnation
        await engine.close()

    on_files(tmp_path, main)


def test_locate_tells_the_file_the_offset_and_the_length(tmp_path: Path) -> None:
    async def main(world: World, directory: str) -> None:
        engine = await fresh(world, directory)
        await put(engine, "inline", 1, b"find me")
        await put_blob(engine, "blob", 1, b"b" * 16, b"find this too")
        await delete(engine, "gone", 1)
        for name, wanted in (("inline", b"find me"), ("blob", b"find this too")):
            where = engine.locate(key(name))
            assert where.register == engine.query(key(name), partition=0)
            assert (tmp_path / where.file).read_bytes()[where.offset : where.offset + where.length] == wanted
        assert engine.locate(key("gone")).file == ""
        assert engine.locate(key("absent")).register == EMPTY
        await engine.close()

    on_files(tmp_path, main)


def test_what_is_no_row_is_refused(tmp_path: Path) -> None:
    async def main(world: World, directory: str) -> None:
        engine = await fresh(world, directory)
        for wrong in (b"\x01", b"\x90", b"\xff" * 30):
            with pytest.raises(InvalidArgument):
                await engine.accept(key("k"), partition=0, ballot=ballot(1), row=wrong)
        await engine.close()

    on_files(tmp_path, main)


def test_a_payload_may_be_a_view_of_a_larger_buffer(tmp_path: Path) -> None:
    async def main(world: World, directory: str) -> None:
        engine = await fresh(world, directory)
        buffer = bytearray(b"....payload....")
        view = memoryview(buffer)[4:11]
        await engine.accept(key("k"), partition=0, ballot=ballot(1), row=row(ballot(1), b"payload"), payload=view)
        assert await read(engine, "k", 1) == b"payload"
        await engine.close()

    on_files(tmp_path, main)


def test_everything_works_with_the_settings_of_production(tmp_path: Path) -> None:
    async def main(world: World, directory: str) -> None:
        engine = await fresh(world, directory, EngineSettings(reserve_bytes=0))
        await asyncio.gather(*(put(engine, f"k{i}", 1, b"x" * 4096) for i in range(64)))
        data = random.Random(2).randbytes(1_500_000)
        writer = await engine.stage(b"b" * 16, size=len(data))
        for start in range(0, len(data), 300_000):
            await writer.write(data[start : start + 300_000])
        await writer.finish()
        await engine.accept(key("b"), partition=0, ballot=ballot(1), row=row(ballot(1), blob=b"b" * 16, size=len(data)))
        assert await read(engine, "b", 1, 65_000, 1_000_000) == data[65_000:1_065_000]
        assert engine.query(RowKey(BUCKET, 0, b"absent"), partition=9) == EMPTY
        assert engine.floor(9) == ZERO
        await engine.close()

    on_files(tmp_path, main)
