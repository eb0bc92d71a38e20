"""Network cards of servers."""

from typing import Any

from tests.support.compute_rig import ComputeRig, on_compute_rig

UNKNOWN = "0f0f0f0f-1111-4222-8333-444444444444"


def test_cards_are_plugged_in_and_taken_out() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        path = f"/servers/{id_}/os-interface"
        first = (await rig.ask("GET", path)).body["interfaceAttachments"]
        assert [card["net_id"] for card in first] == [rig.network]
        reply = await rig.ask("POST", path, {"interfaceAttachment": {"net_id": rig.network, "fixed_ips": [{"ip_address": "10.0.0.77"}]}})
        assert reply.status == 200, reply.body
        card = reply.body["interfaceAttachment"]
        assert card["fixed_ips"] == [{"subnet_id": rig.subnet, "ip_address": "10.0.0.77"}]
        assert (await rig.ask("GET", f"{path}/{card['port_id']}")).body["interfaceAttachment"]["mac_addr"] == card["mac_addr"]
        guest = rig.hosts[(await rig.record(id_)).host].guests[id_]
        assert [nic.port for nic in guest.spec.nics] == [first[0]["port_id"], card["port_id"]]
        assert len((await rig.shown(id_))["addresses"]["net"]) == 2
        tagged = (await rig.ask("POST", path, {}, version="2.70")).body["interfaceAttachment"]
        assert tagged["tag"] is None
        for body, status in (
            ({"interfaceAttachment": {"net_id": rig.network, "port_id": card["port_id"]}}, 400), ({"interfaceAttachment": {"net_id": UNKNOWN}}, 400),
            ({"interfaceAttachment": {"fixed_ips": [{"ip_address": "10.0.0.9"}]}}, 400), ({"interfaceAttachment": {"port_id": "x"}}, 400),
            ({"interfaceAttachment": {"port_id": card["port_id"]}}, 409), ({"interfaceAttachment": {"net_id": rig.network, "tag": "a"}}, 400),
        ):  # fmt: skip
            assert (await rig.ask("POST", path, body)).status == status, body
        for port in (card["port_id"], tagged["port_id"]):
            assert (await rig.ask("DELETE", f"{path}/{port}")).status == 202
        for _ in range(100):
            if len((await rig.ask("GET", path)).body["interfaceAttachments"]) == 1:
                break
            await rig.clock.sleep(0.1)
        assert len(guest.spec.nics) == 1
        assert [port.id for port in (await rig.network_desk.ports_of([id_]))[id_]] == [first[0]["port_id"]]
        assert (await rig.ask("GET", f"{path}/{UNKNOWN}")).status == 404
        assert (await rig.ask("DELETE", f"{path}/{UNKNOWN}")).status == 404
        groups = (await rig.ask("GET", f"/servers/{id_}/os-security-groups")).body["security_groups"]
        assert [group["name"] for group in groups] == ["default"]

    on_compute_rig(test)


def test_a_card_that_the_host_refuses_leaves_no_port() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        rig.hosts[(await rig.record(id_)).host].refuses["attach_nic"] = (409, "no slot is free")
        assert (await rig.ask("POST", f"/servers/{id_}/os-interface", {"interfaceAttachment": {"net_id": rig.network}})).status == 400
        assert len((await rig.network_desk.ports_of([id_]))[id_]) == 1
        assert len((await rig.record(id_)).nics) == 1

    on_compute_rig(test)


def test_a_server_without_a_network_has_none_and_a_port_outlives_its_server() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(networks="none", version="2.37")
        assert (await rig.shown(id_))["addresses"] == {}
        port = (await rig.network_desk.create_port("a" * 32, rig.network, server_id="")).id
        await rig.network_desk.release(port, "")
        found = await rig.made_server()
        mine = (await rig.record(found)).nics[0]
        assert mine.made
        assert (await rig.ask("POST", "/servers", {"server": {
            "name": "s", "flavorRef": "1", "imageRef": await rig.bootable(), "networks": [{"port": mine.port}]}})).status == 409  # fmt: skip

    on_compute_rig(test)


def test_a_caller_who_waits_for_long_asks_less_and_less_often() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        rig.hosts[(await rig.record(id_)).host].down = True
        context, asked = rig.part.context, 0
        read = context.read

        async def counted(work: Any) -> Any:
            nonlocal asked
            asked += 1
            return await read(work)

        context.read = counted  # type: ignore[method-assign]
        reply = await rig.ask("POST", f"/servers/{id_}/os-interface", {"interfaceAttachment": {"net_id": rig.network}})
        assert reply.status == 503
        assert asked < 200  # of this and of the job that tries again and again

    on_compute_rig(test)
