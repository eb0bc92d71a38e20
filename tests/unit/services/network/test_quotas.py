"""Quotas."""

import pytest
from sqlalchemy import insert

from objstore.services.network import groups, quotas
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx, Who
from objstore.services.network.tables import QUOTAS
from tests.support.network_rig import ALICE, BOB, NetworkRig, on_network_rig


def test_a_quota_is_the_projects_own_or_the_default() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(tx: Tx) -> None:
            assert quotas.quotas_of(tx, ALICE) == quotas.defaults(tx.settings)
            tx.connection.execute(insert(QUOTAS), [{"project": ALICE, "resource": "security_group", "most": 1}])
            tx.connection.execute(insert(QUOTAS), [{"project": BOB, "resource": "security_group", "most": -1}])
            groups.default_group(tx, ALICE)
            assert quotas.used(tx, "security_group", ALICE) == 1
            assert quotas.left(tx, "security_group", ALICE) == 0
            with pytest.raises(NetworkRefused) as failure:
                quotas.check_quota(tx, groups.KIND, ALICE)
            assert failure.value.kind == "OverQuota"
            assert quotas.left(tx, "security_group", BOB) == quotas.UNLIMITED

        await rig.write(work, Who(ALICE))

    on_network_rig(test)
