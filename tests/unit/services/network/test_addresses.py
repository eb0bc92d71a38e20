"""Addresses of ports."""

import pytest

from objstore.services.network.addresses import Asked, Fixed, automatic, check_fixed_ips, chosen, free_address, set_fixed, subnets_of
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx
from tests.support.network_rig import ALICE, NetworkRig, on_network_rig, subnet_row

MAC = "fa:16:3e:00:00:01"


def test_a_port_gets_one_address_of_each_kind_and_those_it_makes_itself() -> None:
    async def test(rig: NetworkRig) -> None:
        network, four = await rig.network()

        def work(tx: Tx) -> None:
            more = subnet_row(tx, network, ALICE, "10.1.0.0/24")["id"]
            stateful = subnet_row(
                tx, network, ALICE, "2001:db8:1::/64", ipv6_address_mode="dhcpv6-stateful", ipv6_ra_mode="dhcpv6-stateful"
            )
            slaac = subnet_row(tx, network, ALICE, "2001:db8:2::/64", ipv6_address_mode="slaac", ipv6_ra_mode="slaac")
            subnet_row(tx, network, ALICE, "10.2.0.0/24", service_types=["network:router_gateway"])
            found = automatic(tx, network, MAC, "compute:nova")
            assert found[0].subnet in (four, more)
            assert [each.subnet for each in found[1:]] == [stateful["id"], slaac["id"]]
            assert found[2].address == "2001:db8:2:0:f816:3eff:fe00:1"
            set_fixed(tx, network, "p", found)
            with pytest.raises(NetworkRefused):
                automatic(tx, network, MAC, "compute:nova")  # the same MAC makes the same address
            with pytest.raises(NetworkRefused) as failure:
                chosen(tx, network, [Asked(slaac["id"], "2001:db8:2::5")], mac=MAC, owner="")
            assert failure.value.kind == "AllocationOnAutoAddressSubnet"

        await rig.write(work)

    on_network_rig(test)


def test_addresses_that_are_asked_for_are_looked_at() -> None:
    async def test(rig: NetworkRig) -> None:
        network, subnet = await rig.network()
        _, elsewhere = await rig.network()

        def work(tx: Tx) -> None:
            set_fixed(tx, network, "p", [Fixed(subnet, "10.0.0.5")])
            assert chosen(tx, network, [Asked("", "10.0.0.6"), Asked(subnet, "10.0.0.7")], mac=MAC, owner="") == [
                Fixed(subnet, "10.0.0.6"),
                Fixed(subnet, "10.0.0.7"),
            ]
            assert (
                chosen(tx, network, [Asked("", "10.0.0.5")], mac=MAC, owner="", keep=[Fixed(subnet, "10.0.0.5")])[0].address == "10.0.0.5"
            )
            refused = {
                Asked("", "10.0.0.5"): "IpAddressAlreadyAllocated", Asked("", "10.9.0.1"): "InvalidIpForNetwork",
                Asked(subnet, "10.0.0.255"): "InvalidIpForSubnet", Asked("none", ""): "SubnetNotFound", Asked(elsewhere, ""): "InvalidInput",
            }  # fmt: skip
            for asked, kind in refused.items():
                with pytest.raises(NetworkRefused) as failure:
                    chosen(tx, network, [asked], mac=MAC, owner="")
                assert failure.value.kind == kind

        await rig.write(work)

    on_network_rig(test)


def test_the_last_free_address_is_found() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network(cidr="10.0.0.0/24")

        def work(tx: Tx) -> None:
            subnet = subnets_of(tx, network)[0]
            set_fixed(tx, network, "p", [Fixed(subnet["id"], f"10.0.0.{at}") for at in range(2, 255) if at != 77])
            assert free_address(tx, subnet) == "10.0.0.77"
            assert free_address(tx, subnet, ["10.0.0.77"]) is None

        await rig.write(work)

    on_network_rig(test)


def test_lists_of_addresses_are_checked() -> None:
    check = check_fixed_ips(2)
    one = "11111111-1111-4111-8111-111111111111"
    assert check("f", [{"subnet_id": one}, {"ip_address": "10.0.0.1"}]) == [Asked(one, ""), Asked("", "10.0.0.1")]
    assert check("f", None) == []
    for value in (1, [{}], [{"ip_address": "10.0.0.1"}] * 2, [{"subnet_id": one}] * 3, [{"x": 1}], ["a"], [{"subnet_id": None}]):
        with pytest.raises(NetworkRefused):
            check("f", value)
