"""Steps of schemas."""

import asyncio

import pytest
from sqlalchemy import text

from objstore.runtime.sql import Sql, open_sql
from objstore.services.tables.migrations import Schema, SchemaAhead, migrate
from tests.support.image_rig import DATABASE, fresh, run_rig
from tests.support.memory_cluster import memory_world

ONE = ("CREATE TABLE things (id TEXT PRIMARY KEY)",)
TWO = ("ALTER TABLE things ADD COLUMN size BIGINT", "INSERT INTO things (id, size) VALUES ('a', 5)")


def test_missing_steps_are_taken_once_and_in_order() -> None:
    async def test() -> None:
        sql = open_sql(DATABASE, memory_world())
        await fresh(sql)
        assert await migrate(sql, Schema("t", (ONE,)), 1) == 1
        assert await migrate(sql, Schema("t", (ONE,)), 2) == 0
        assert await migrate(sql, Schema("t", (ONE, TWO)), 3) == 1
        assert await migrate(sql, Schema("other", (("CREATE TABLE others (id TEXT)",),)), 3) == 1
        assert await rows(sql) == [("a", 5)]
        with pytest.raises(SchemaAhead):
            await migrate(sql, Schema("t", (ONE,)), 4)
        await sql.aclose()

    run_rig(test())


def test_a_step_that_fails_leaves_nothing_of_it() -> None:
    async def test() -> None:
        sql = open_sql(DATABASE, memory_world())
        await fresh(sql)
        with pytest.raises(Exception, match="nonsense"):
            await migrate(sql, Schema("t", (ONE, ("ALTER nonsense",))), 1)
        assert await migrate(sql, Schema("t", (ONE, TWO)), 2) == 2
        await sql.aclose()

    run_rig(test())


def test_processes_that_start_together_take_each_step_once() -> None:
    async def test() -> None:
        sql = open_sql(DATABASE, memory_world())
        await fresh(sql)
        taken = await asyncio.gather(*(migrate(sql, Schema("t", (ONE, TWO)), 1) for _ in range(4)))
        assert sorted(taken) == [0, 0, 0, 2]
        assert await rows(sql) == [("a", 5)]
        await sql.aclose()

    run_rig(test())


async def rows(sql: Sql) -> list[tuple[str, int]]:
    return await sql.read(lambda connection: [tuple(row) for row in connection.execute(text("SELECT id, size FROM things"))])
