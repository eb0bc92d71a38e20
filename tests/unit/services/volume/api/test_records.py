"""Rows: properties, compare-and-set, and the status that follows from attachments."""

from sqlalchemy import Connection, insert

from objstore.services.volume.api import records
from objstore.services.volume.api.tables import ATTACHMENTS, VOLUMES
from tests.support.block_rig import BlockRig, on_block_rig


def _attach(connection: Connection, volume: str, id_: str, status: str) -> None:
    values = {"project": "p", "server": "s", "host": "", "device": "", "mode": "rw", "connector": "{}", "owner": ""}
    connection.execute(
        insert(ATTACHMENTS).values(id=id_, volume=volume, status=status, attached_us=0, created_us=1, updated_us=1, **values)
    )


def test_a_state_changes_only_from_the_states_that_are_named() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()

        def work(connection: Connection) -> None:
            assert not records.change(connection, VOLUMES, id_, status=("error",), status_="deleting")
            assert records.find(connection, VOLUMES, id_).status == "available"
            assert records.change(connection, VOLUMES, id_, status=("available",), status_="error")
            assert records.find(connection, VOLUMES, id_).status == "error"
            assert records.find(connection, VOLUMES, "nothing") is None

        await rig.sql.write(work)

    on_block_rig(test)


def test_the_furthest_attachment_decides_the_status() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()

        def work(connection: Connection) -> None:
            for number, (status, expected) in enumerate(
                (("reserved", "reserved"), ("detaching", "detaching"), ("attaching", "attaching"), ("attached", "in-use"))
            ):
                _attach(connection, id_, str(number), status)
                records.settle(connection, id_, now_us=5)
                assert records.find(connection, VOLUMES, id_).status == expected
            for number in range(4):
                records.forget(connection, ATTACHMENTS, str(number))
            records.settle(connection, id_, now_us=6)
            assert records.find(connection, VOLUMES, id_).status == "available"
            records.change(connection, VOLUMES, id_, status_="error")
            records.settle(connection, id_, now_us=7)
            assert records.find(connection, VOLUMES, id_).status == "error"

        await rig.sql.write(work)

    on_block_rig(test)


def test_properties_are_kept_apart_by_kind_and_go_with_their_owner() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()

        def work(connection: Connection) -> None:
            records.set_properties(connection, "volume", id_, {"a": "1", "b": "2"})
            records.set_properties(connection, "image", id_, {"a": "3"})
            records.set_properties(connection, "volume", id_, {"b": "4"})
            assert records.properties_of(connection, "volume", id_) == {"b": "4"}
            assert records.properties(connection, "image", (id_, "x")) == {id_: {"a": "3"}, "x": {}}
            assert records.is_named(connection, id_.replace("-", ""))
            records.forget(connection, VOLUMES, id_)
            assert records.properties_of(connection, "image", id_) == {}
            assert not records.is_named(connection, id_.replace("-", ""))

        await rig.sql.write(work)

    on_block_rig(test)
