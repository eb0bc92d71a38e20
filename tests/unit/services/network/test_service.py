"""Transactions of the service."""

import pytest
from sqlalchemy import insert

from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx, counter
from objstore.services.network.tables import COUNTERS
from tests.support.network_rig import NetworkRig, on_network_rig


def test_what_hosts_are_told_is_counted_with_its_change() -> None:
    async def test(rig: NetworkRig) -> None:
        async def revision() -> int:
            return int(await rig.service.read(rig_who, lambda tx: counter(tx.connection, "revision")))

        from objstore.services.network.service import SYSTEM as rig_who

        before = await revision()
        await rig.write(lambda tx: None)
        assert await revision() == before
        await rig.network()
        assert await revision() == before + 1

        def broken(tx: Tx) -> None:
            tx.told = True
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await rig.write(broken)
        assert await revision() == before + 1

    on_network_rig(test)


def test_a_key_that_is_taken_again_and_again_is_a_conflict() -> None:
    async def test(rig: NetworkRig) -> None:
        await rig.network()
        with pytest.raises(NetworkRefused) as failure:
            await rig.write(lambda tx: tx.connection.execute(insert(COUNTERS).values(name="revision", value=1)))
        assert failure.value.status == 409

    on_network_rig(test)
