"""What compute asks of the network service."""

import asyncio

import pytest

from objstore.services.network.desk import Requested
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx, Who, change, one
from objstore.services.network.tables import PORTS
from tests.support.network_rig import ALICE, BOB, NetworkRig, on_network_rig

SERVER = "11111111-1111-4111-8111-111111111111"


def test_a_port_for_a_server_is_made_bound_reported_and_goes_with_it() -> None:
    async def test(rig: NetworkRig) -> None:
        network, subnet = await rig.network()
        desk = rig.desk
        port = await desk.create_port(ALICE, network, server_id=SERVER, fixed_ip="10.0.0.9", name="My Server!", zone="z")
        assert port.addresses == ((subnet, "10.0.0.9", 4),)
        assert (port.device_owner, port.status, port.vif_type, port.network_name, port.secured) == (
            "compute:z",
            "DOWN",
            "unbound",
            "net",
            True,
        )
        assert port.mac.startswith("fa:16:3e:")
        before = await desk.revision()
        assert (await desk.bind(port.id, "h1")).status == "BUILD"
        wanted = await desk.wanted("h1")
        assert wanted.revision > before
        assert [(each.id, each.mac, each.name, each.addresses) for each in wanted.ports] == [
            (port.id, port.mac, "my-server", ((subnet, "10.0.0.9"),))
        ]
        assert await desk.ports_are_up("h1", [port.id]) == [SERVER]
        assert await desk.ports_are_up("h1", [port.id]) == []
        assert (await desk.ports_of([SERVER, "other"])) == {SERVER: [await desk.port(port.id)], "other": []}
        assert (await desk.port(port.id)).status == "ACTIVE"
        assert (await desk.wanted("h1")).revision == wanted.revision  # that it works is no news to hosts
        found = await desk.port_at(network, "10.0.0.9")
        assert found is not None
        assert found.server_id == SERVER
        assert await desk.port_at(network, "10.0.0.10") is None
        await desk.release_all(SERVER)
        await desk.release(port.id, SERVER)
        assert await desk.ports_of([SERVER]) == {SERVER: []}
        assert (await desk.wanted("h1")).ports == ()

    on_network_rig(test)


def test_a_port_that_was_there_before_is_given_back() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        desk = rig.desk
        made = await desk.create_port(ALICE, network, server_id="")
        await rig.write(lambda tx: _own(tx, made.id))
        port = await desk.create_port(ALICE, network, server_id=SERVER, port_id=made.id)
        assert (port.id, port.device_id, port.made) == (made.id, SERVER, False)
        assert (await desk.create_port(ALICE, network, server_id=SERVER, port_id=made.id)).id == made.id
        with pytest.raises(NetworkRefused, match="still in use"):
            await desk.create_port(ALICE, network, server_id="another", port_id=made.id)
        with pytest.raises(NetworkRefused, match="could not be found"):
            await desk.create_port(BOB, network, server_id=SERVER, port_id=made.id)
        await desk.bind(port.id, "h")
        await desk.release(port.id, "another")
        assert (await desk.port(port.id)).server_id == SERVER
        await desk.release(port.id, SERVER)
        back = await desk.port(port.id)
        assert (back.device_id, back.device_owner, back.host, back.status) == ("", "", "", "DOWN")

    on_network_rig(test)


def _own(tx: Tx, id_: str) -> None:
    change(tx, PORTS, one(tx, PORTS, id_), {"made": False, "device_id": "", "device_owner": "", "server": ""})


def test_a_port_that_says_it_is_a_servers_is_not() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network(BOB)
        spoofed = await rig.desk.create_port(BOB, network, server_id="")
        await rig.write(
            lambda tx: change(tx, PORTS, one(tx, PORTS, spoofed.id), {"device_id": SERVER, "device_owner": "compute:nova", "made": False})
        )
        assert await rig.desk.ports_of([SERVER]) == {SERVER: []}
        found = await rig.desk.port_at(network, spoofed.addresses[0][1])
        assert found is not None
        assert (found.device_id, found.server_id) == (SERVER, "")
        await rig.desk.release_all(SERVER)
        assert (await rig.desk.port(spoofed.id)).device_id == SERVER

    on_network_rig(test)


def test_what_servers_ask_for_is_checked_before_they_are_made() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        shared, _ = await rig.network(BOB, shared=True)
        external, _ = await rig.network(BOB, external=True)
        desk, alice = rig.desk, Who(ALICE)
        assert {view.id for view in await desk.networks_for(alice)} == {network, shared}
        port = await desk.create_port(ALICE, network, server_id="")
        assert await desk.check(alice, [Requested(port_id=port.id, tag="t")]) == [Requested(network, port.id, "", "t")]
        assert await desk.check(alice, [Requested(shared)]) == [Requested(shared)]
        refused = {
            "PortInUse": [Requested(port_id=port.id), Requested(port_id=port.id)],
            "NetworkNotFound": [Requested("nothing")],
            "PortNotFound": [Requested(port_id="nothing")],
            "FixedIpAlreadyInUse": [Requested(network, fixed_ip=port.addresses[0][1])],
        }
        for kind, asked in refused.items():
            with pytest.raises(NetworkRefused) as failure:
                await desk.check(alice, asked)
            assert failure.value.kind == kind
        with pytest.raises(NetworkRefused):
            await desk.check(alice, [Requested(external)])
        with pytest.raises(NetworkRefused, match="Maximum number of ports"):
            await desk.check(alice, [Requested(network)], servers=500)

    on_network_rig(test)


def test_groups_of_servers_are_added_and_taken_away_by_name() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        desk = rig.desk
        await desk.create_port(ALICE, network, server_id=SERVER)
        groups = await desk.security_groups_of([SERVER])
        assert [name for _, name in groups[SERVER]] == ["default"]
        assert await desk.check_groups(Who(ALICE), ["default"]) == [groups[SERVER][0][0]]
        await desk.remove_group(ALICE, SERVER, "default")
        assert await desk.security_groups_of([SERVER]) == {SERVER: []}
        with pytest.raises(NetworkRefused, match="is not associated"):
            await desk.remove_group(ALICE, SERVER, "default")
        await desk.add_group(ALICE, SERVER, "default")
        assert (await desk.security_groups_of([SERVER]))[SERVER] == groups[SERVER]
        with pytest.raises(NetworkRefused, match="not found"):
            await desk.add_group(ALICE, SERVER, "none")

    on_network_rig(test)


def test_hosts_that_report_are_peers_and_routers_leave_those_that_are_gone() -> None:
    async def test(rig: NetworkRig) -> None:
        router = await rig.router()
        desk = rig.desk
        await desk.host_seen("h1", tunnel_address="10.9.0.1", driver="netns")
        revision = await desk.revision()
        await desk.host_seen("h1", tunnel_address="10.9.0.1", driver="netns")
        assert await desk.revision() == revision
        await desk.host_seen("h2", tunnel_address="10.9.0.2", driver="netns")
        assert (await desk.wanted("h1")).peers == (("h2", "10.9.0.2"),)
        assert [each.id for each in (await desk.wanted("h1")).routers] == [router]
        await desk.host_seen("h1", up=False)
        assert (await desk.wanted("h1")).routers == ()
        assert (await desk.wanted("h2")).peers == (("h1", "10.9.0.1"),)  # its guests may run on
        assert [each.id for each in (await desk.wanted("h2")).routers] == [router]

    on_network_rig(test)


def test_many_servers_at_once_have_addresses_of_their_own() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network(cidr="10.0.0.0/27")
        asked = [rig.desk.create_port(ALICE, network, server_id=str(number)) for number in range(35)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        made = [port for port in found if not isinstance(port, BaseException)]
        refused = [port for port in found if isinstance(port, NetworkRefused)]
        assert len(made) == 29  # 32 without the network's own, the broadcast and the gateway
        assert {failure.kind for failure in refused} == {"IpAddressGenerationFailure"}
        assert len({port.addresses[0][1] for port in made}) == 29
        assert len({port.mac for port in made}) == 29

    on_network_rig(test)


def test_an_address_has_one_name() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network(cidr="fd00::/64")
        await rig.desk.create_port(ALICE, network, server_id="s1", fixed_ip="fd00::5")
        for other in ("fd00::5", "FD00:0::5"):
            with pytest.raises(NetworkRefused) as refused:
                await rig.desk.create_port(ALICE, network, server_id="s2", fixed_ip=other)
            assert refused.value.status == 409
        with pytest.raises(NetworkRefused) as refused:
            await rig.desk.create_port(ALICE, network, server_id="s2", fixed_ip="fd00::5%x")
        assert refused.value.status == 400

    on_network_rig(test)
