"""The steps of the schema make the tables that the code names."""

from sqlalchemy import Connection, inspect

from objstore.services.network.tables import TABLES
from tests.support.network_rig import NetworkRig, on_network_rig


def test_the_steps_make_every_column_and_no_other() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(connection: Connection) -> None:
            looking = inspect(connection)
            for table in TABLES.tables.values():
                assert {column["name"] for column in looking.get_columns(table.name)} == {column.name for column in table.columns}
                assert set(looking.get_pk_constraint(table.name)["constrained_columns"]) == {column.name for column in table.primary_key}

        await rig.sql.read(work)

    on_network_rig(test)
