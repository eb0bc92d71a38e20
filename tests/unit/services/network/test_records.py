"""Rows inside a transaction."""

from objstore.services.network import records
from objstore.services.network.records import MAX_NUMBER, Tx
from objstore.services.network.tables import COUNTERS, NETWORKS
from tests.support.network_rig import ALICE, NetworkRig, on_network_rig


def test_changes_are_counted_where_something_differs() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()

        def work(tx: Tx) -> None:
            row = records.one(tx, NETWORKS, network)
            assert (row["project"], row["revision"], row["hints"]) == (ALICE, 0, [])
            tx.told = False
            records.change(tx, NETWORKS, row, {"name": "net"})
            assert not tx.told
            records.change(tx, NETWORKS, row, {"name": "other", "hints": ["z"]})
            assert tx.told
            again = records.get(tx, NETWORKS, network)
            assert again == row
            assert (row["revision"], row["hints"]) == (1, ["z"])
            records.bump(tx, NETWORKS, network)
            assert records.by_id(tx, NETWORKS, [network, network, "none"])[network]["revision"] == 2
            assert records.after(row, {"name": "x"}, "name") == "x"
            assert records.after(row, {}, "name") == "other"
            records.remove(tx, NETWORKS, network)
            assert records.count(tx, NETWORKS) == 0

        await rig.write(work)

    on_network_rig(test)


def test_numbers_are_given_once_and_begin_anew_at_their_end() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(tx: Tx) -> None:
            first = records.new_number(tx, "a")
            assert first is not None
            assert records.new_number(tx, "b", first) is None
            tx.connection.execute(COUNTERS.update().where(COUNTERS.c.name == "number").values(value=MAX_NUMBER - 1))
            last = records.new_number(tx, "c")
            assert last == MAX_NUMBER
            after = records.new_number(tx, "d")
            assert after is not None
            assert after not in (first, last)
            records.free_number(tx, first)
            assert records.new_number(tx, "e", first) == first

        await rig.write(work)

    on_network_rig(test)


def test_tags_are_kept_once_and_sorted() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(tx: Tx) -> None:
            records.set_tags(tx, "x", ["b", "a", "b"])
            assert records.tags_of(tx, ["x", "y"]) == {"x": ["a", "b"], "y": []}
            records.set_tags(tx, "x", [])
            assert records.tags_of(tx, ["x"]) == {"x": []}

        await rig.write(work)

    on_network_rig(test)
