"""Security groups below the API."""

import pytest

from objstore.services.network import groups
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx, Who, count, one, rows
from objstore.services.network.tables import GROUPS, RULES
from tests.support.network_rig import ALICE, BOB, NetworkRig, on_network_rig


def test_a_default_group_is_made_once_and_hears_itself() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(tx: Tx) -> None:
            assert groups.needs_default(tx.connection, ALICE)
            id_ = groups.default_group(tx, ALICE)
            assert groups.default_group(tx, ALICE) == id_
            assert not groups.needs_default(tx.connection, ALICE)
            found = {(rule["direction"], rule["ethertype"], rule["remote_group_id"]) for rule in rows(tx, RULES)}
            assert found == {(way, kind, id_ if way == "ingress" else None) for way in ("ingress", "egress") for kind in ("IPv4", "IPv6")}
            row = one(tx, GROUPS, id_)
            for change in ({"name": "other"}, {"name": "DEFAULT"}):
                with pytest.raises(NetworkRefused):
                    groups.update(tx, row, change)
            groups.update(tx, row, {"description": "d"})

        await rig.write(work)

    on_network_rig(test)


def test_groups_in_use_stay_and_defaults_go_by_the_administrator_only() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(tx: Tx) -> None:
            values = {"project": ALICE, "name": "web", "description": ""}
            row = groups.create(tx, values)
            groups.set_port_groups(tx, "p", [row["id"]])
            assert groups.port_groups(tx, ["p", "q"]) == {"p": [row["id"]], "q": []}
            with pytest.raises(NetworkRefused) as failure:
                groups.delete_group(tx, row)
            assert failure.value.kind == "SecurityGroupInUse"
            groups.set_port_groups(tx, "p", [])
            groups.delete_group(tx, row)
            with pytest.raises(NetworkRefused) as failure:
                groups.delete_group(tx, one(tx, GROUPS, groups.default_group(tx, ALICE)))
            assert failure.value.kind == "SecurityGroupCannotRemoveDefault"
            with pytest.raises(NetworkRefused):
                groups.create(tx, {**values, "name": "Default"})
            assert count(tx, GROUPS) == 1

        await rig.write(work, Who(ALICE))

    on_network_rig(test)


def test_groups_are_found_by_name_in_their_project_alone() -> None:
    async def test(rig: NetworkRig) -> None:
        def work(tx: Tx) -> None:
            values = {"project": ALICE, "name": "web", "description": ""}
            one_, _ = groups.create(tx, values), groups.create(tx, {**values, "name": "twice"})
            groups.create(tx, {**values, "name": "twice"})
            assert groups.by_name(tx, ALICE, "web") == groups.by_name(tx, ALICE, one_["id"]) == one_["id"]
            for project, name, status in ((BOB, "web", 404), (ALICE, "twice", 409), (BOB, one_["id"], 404)):
                with pytest.raises(NetworkRefused) as failure:
                    groups.by_name(tx, project, name)
                assert failure.value.status == status

        await rig.write(work, Who(ALICE))

    on_network_rig(test)
