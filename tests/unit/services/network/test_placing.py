"""Where routers route."""

from objstore.services.network.addresses import Asked
from objstore.services.network.placing import routing_hosts
from objstore.services.network.ports import ROUTER_INTERFACE, new_port
from objstore.services.network.records import one
from objstore.services.network.tables import NETWORKS, ROUTERS
from tests.support.network_rig import ALICE, NetworkRig, on_network_rig


def test_a_router_is_near_its_ports_and_stays_where_it_is() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network()
        router = await rig.router()
        await rig.write(
            lambda tx: new_port(
                tx, one(tx, NETWORKS, network), ALICE, asked=[Asked("", "10.0.0.1")], device_owner=ROUTER_INTERFACE, device_id=router
            )
        )
        port = await rig.desk.create_port(ALICE, network, server_id="s")
        await rig.desk.bind(port.id, "h2")
        await rig.desk.host_seen("h0", driver="user")
        assert (await rig.write(lambda tx: one(tx, ROUTERS, router)))["host"] == ""
        await rig.desk.host_seen("h2", driver="netns")
        await rig.desk.host_seen("h1", driver="netns")
        assert (await rig.write(routing_hosts)) == ["h1", "h2"]
        assert (await rig.write(lambda tx: one(tx, ROUTERS, router)))["host"] == "h2"
        second = await rig.router()
        await rig.desk.bind(port.id, "h1")
        assert (await rig.write(lambda tx: one(tx, ROUTERS, router)))["host"] == "h2"
        assert (await rig.write(lambda tx: one(tx, ROUTERS, second)))["host"] == "h1"

    on_network_rig(test)
