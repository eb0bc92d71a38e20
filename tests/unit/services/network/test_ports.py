"""Ports below the API."""

from typing import Any

import pytest

from objstore.services.network import groups, ports
from objstore.services.network.addresses import Asked, fixed_of
from objstore.services.network.kinds import UNSET, parse_change, parse_new
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Row, Tx, Who, one
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import NETWORKS, PORTS
from tests.support.network_rig import ALICE, BOB, NetworkRig, on_network_rig

KIND = ports.kind(NetworkSettings())


def made(tx: Tx, network: str, **given: Any) -> Row:
    return ports.create(tx, parse_new(KIND, {"network_id": network, **given}, tx.who))


def changed(tx: Tx, row: Row, **given: Any) -> None:
    ports.update(tx, row, parse_change(KIND, given, tx.who))


def test_security_and_groups_belong_together() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()

        def work(tx: Tx) -> None:
            row = made(tx, network)
            assert groups.port_groups(tx, [row["id"]])[row["id"]] == [groups.default_group(tx, ALICE)]
            with pytest.raises(NetworkRefused) as failure:
                changed(tx, row, port_security_enabled=False)
            assert failure.value.kind == "PortSecurityPortHasSecurityGroup"
            changed(tx, row, port_security_enabled=False, security_groups=[])
            assert not one(tx, PORTS, row["id"])["port_security_enabled"]
            with pytest.raises(NetworkRefused) as failure:
                changed(tx, row, allowed_address_pairs=[{"ip_address": "1.1.1.1"}])
            assert failure.value.kind == "AddressPairAndPortSecurityRequired"
            for given, kind in (
                (
                    {"port_security_enabled": False, "security_groups": [groups.default_group(tx, ALICE)]},
                    "PortSecurityAndIPRequiredForSecurityGroups",
                ),
                ({"security_groups": [row["id"]]}, "SecurityGroupNotFound"),
                ({"mac_address": row["mac_address"]}, "MacAddressInUse"),
            ):
                with pytest.raises(NetworkRefused) as failure:
                    made(tx, network, **given)
                assert failure.value.kind == kind

        await rig.write(work, Who(ALICE))

    on_network_rig(test)


def test_addresses_change_and_what_was_not_named_stays() -> None:
    async def test(rig: NetworkRig) -> None:
        network, subnet = await rig.network()

        def work(tx: Tx) -> None:
            row = made(tx, network, fixed_ips=[{"ip_address": "10.0.0.5"}])
            changed(tx, row, fixed_ips=[{"subnet_id": subnet}, {"ip_address": "10.0.0.9"}])
            assert [each.address for each in fixed_of(tx, [row["id"]])[row["id"]]] == ["10.0.0.5", "10.0.0.9"]
            changed(tx, row, fixed_ips=[])
            assert fixed_of(tx, [row["id"]])[row["id"]] == []
            assert one(tx, PORTS, row["id"])["revision"] == 2
            ports.delete_port(tx, row)

        await rig.write(work, Who(ALICE))

    on_network_rig(test)


def test_guests_of_a_shared_network_choose_nothing_that_is_its_owners() -> None:
    async def test(rig: NetworkRig) -> None:
        shared, subnet = await rig.network(BOB, shared=True)
        hidden, _ = await rig.network(BOB)
        external, _ = await rig.network(BOB, external=True)

        def work(tx: Tx) -> None:
            row = made(tx, shared, fixed_ips=[{"subnet_id": subnet}])
            for given in (
                {"mac_address": "fa:16:3e:00:00:01"}, {"port_security_enabled": False}, {"allowed_address_pairs": [{"ip_address": "0.0.0.0/0"}]},
                {"device_owner": "network:dhcp"}, {"fixed_ips": [{"ip_address": "10.0.0.9"}]},
            ):  # fmt: skip
                with pytest.raises(NetworkRefused) as failure:
                    made(tx, shared, **given)
                assert failure.value.status == 403
            for given in ({"allowed_address_pairs": [{"ip_address": "0.0.0.0/0"}]}, {"port_security_enabled": False, "security_groups": []},
                          {"fixed_ips": [{"ip_address": "10.0.0.9"}]}, {"mac_address": "fa:16:3e:00:00:01"}, {"device_owner": "network:x"}):  # fmt: skip
                with pytest.raises(NetworkRefused) as failure:
                    changed(tx, row, **given)
                assert failure.value.status == 403
            for network, status in ((hidden, 404), (external, 404)):
                with pytest.raises(NetworkRefused) as failure:
                    made(tx, network)
                assert failure.value.status == status

        await rig.write(work, Who(ALICE))

    on_network_rig(test)


def test_a_port_of_a_router_goes_with_the_router() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        router = await rig.router()

        def work(tx: Tx) -> None:
            net = one(tx, NETWORKS, network)
            row = ports.new_port(tx, net, ALICE, asked=[Asked("", "10.0.0.1")], device_owner=ports.ROUTER_INTERFACE, device_id=router)
            with pytest.raises(NetworkRefused) as failure:
                ports.delete_port(tx, row)
            assert failure.value.kind == "ServicePortInUse"
            orphan = ports.new_port(tx, net, ALICE, asked=UNSET, device_owner=ports.ROUTER_INTERFACE, device_id="gone")
            ports.delete_port(tx, orphan)

        await rig.write(work)

    on_network_rig(test)
