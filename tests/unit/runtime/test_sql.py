"""The door to SQL: transactions whole or not at all, readers beside a writer, files that last."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from objstore.cli.world import system_world
from objstore.runtime.sql import IntegrityError, open_sql
from tests.support.image_rig import DATABASE, fresh, run_rig
from tests.support.memory_cluster import memory_world

CREATE = text("CREATE TABLE things (id TEXT PRIMARY KEY, n BIGINT NOT NULL)")
INSERT = text("INSERT INTO things (id, n) VALUES (:id, :n)")
COUNT = text("SELECT count(*) FROM things")


def add(connection: Connection, id_: str, n: int = 0) -> None:
    connection.execute(INSERT, {"id": id_, "n": n})


def test_a_transaction_that_raises_leaves_nothing() -> None:
    async def test() -> None:
        sql = open_sql(DATABASE, memory_world())
        await fresh(sql)
        await sql.write(lambda connection: connection.execute(CREATE))

        def failing(connection: Connection) -> None:
            add(connection, "a")
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await sql.write(failing)
        await sql.write(lambda connection: add(connection, "b"))
        with pytest.raises(IntegrityError):
            await sql.write(lambda connection: add(connection, "b"))
        assert await sql.read(lambda connection: connection.execute(COUNT).scalar_one()) == 1
        await sql.aclose()

    run_rig(test())


def test_counters_lose_no_step_among_many_at_once() -> None:
    async def test() -> None:
        sql = open_sql(DATABASE, memory_world())
        await fresh(sql)
        await sql.write(lambda connection: connection.execute(CREATE))
        await sql.write(lambda connection: add(connection, "n"))

        def step(connection: Connection) -> None:
            n = connection.execute(text("SELECT n FROM things")).scalar_one()
            connection.execute(text("UPDATE things SET n = :n"), {"n": n + 1})

        await asyncio.gather(*(sql.write(step) for _ in range(6)))
        assert await sql.read(lambda connection: connection.execute(text("SELECT n FROM things")).scalar_one()) == 6
        await sql.aclose()

    run_rig(test())


def test_a_file_is_read_beside_its_writer_and_outlives_its_process(tmp_path: Path) -> None:
    async def test() -> None:
        url = f"sqlite:///{tmp_path}/s.sqlite"
        one, two = open_sql(url, system_world()), open_sql(url, system_world())
        await one.write(lambda connection: connection.execute(CREATE))
        await asyncio.gather(*((one, two)[number % 2].write(lambda connection, n=number: add(connection, str(n))) for number in range(20)))
        counts = await asyncio.gather(*(sql.read(lambda connection: connection.execute(COUNT).scalar_one()) for sql in (one, two) * 4))
        assert counts == [20] * 8
        mode = await one.read(lambda connection: connection.execute(text("PRAGMA journal_mode")).scalar_one())
        level = await one.read(lambda connection: connection.execute(text("PRAGMA synchronous")).scalar_one())
        assert (mode, level) == ("wal", 2)
        await one.aclose()
        await two.aclose()
        again = open_sql(url, system_world())
        assert await again.read(lambda connection: connection.execute(COUNT).scalar_one()) == 20
        await again.aclose()

    asyncio.run(test())


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match=r"database\.url"):
        open_sql("mysql://h/d", memory_world())
