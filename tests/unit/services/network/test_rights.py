"""Who sees and changes what."""

import pytest
from sqlalchemy import select

from objstore.services.network import rights
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx, Who, one
from objstore.services.network.tables import NETWORKS, SUBNETS
from tests.support.network_rig import ALICE, BOB, NetworkRig, on_network_rig


def test_projects_see_their_own_and_what_is_shared() -> None:
    async def test(rig: NetworkRig) -> None:
        alices, hers = await rig.network()
        shared, its = await rig.network(BOB, shared=True)
        bobs, _ = await rig.network(BOB)

        def seen(who: Who) -> tuple[set[str], set[str]]:
            def work(tx: Tx) -> tuple[set[str], set[str]]:
                networks = set(tx.connection.execute(select(NETWORKS.c.id).where(rights.seen_networks(who))).scalars())
                return networks, set(tx.connection.execute(select(SUBNETS.c.id).where(rights.seen_subnets(who))).scalars())

            return work  # type: ignore[return-value]

        assert await rig.write(seen(Who(ALICE))) == ({alices, shared}, {hers, its})  # type: ignore[arg-type]
        assert (await rig.write(seen(Who("c"))))[0] == {shared}  # type: ignore[arg-type]
        assert (await rig.write(seen(Who("", admin=True))))[0] == {alices, shared, bobs}  # type: ignore[arg-type]
        assert (await rig.write(seen(Who(""))))[0] == {shared}  # type: ignore[arg-type]

        def changes(tx: Tx) -> None:
            row = one(tx, NETWORKS, shared)
            rights.check_own(Who(BOB), row)
            for who in (Who(ALICE), Who(BOB, writer=False)):
                with pytest.raises(NetworkRefused) as failure:
                    rights.check_own(who, row)
                assert failure.value.status == 403

        await rig.write(changes)

    on_network_rig(test)
