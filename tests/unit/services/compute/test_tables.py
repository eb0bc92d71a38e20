"""The steps of the schema make the tables that the code names."""

from sqlalchemy import Connection, inspect

from objstore.runtime.sql import MEMORY, open_sql
from objstore.services.compute.tables import SCHEMA, TABLES
from objstore.services.tables.migrations import migrate
from tests.support.memory_cluster import LoopClock, memory_world, run


def test_the_steps_make_every_column_and_no_other() -> None:
    async def test() -> None:
        sql = open_sql(MEMORY, memory_world(LoopClock()))
        try:
            await migrate(sql, SCHEMA, 1)

            def work(connection: Connection) -> None:
                looking = inspect(connection)
                for table in TABLES.tables.values():
                    assert {column["name"] for column in looking.get_columns(table.name)} == {column.name for column in table.columns}
                    assert set(looking.get_pk_constraint(table.name)["constrained_columns"]) == {
                        column.name for column in table.primary_key
                    }

            await sql.read(work)
        finally:
            await sql.aclose()

    run(test())
