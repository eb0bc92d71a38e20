"""Servers: made, listed, shown, changed, removed."""

from tests.support.compute_rig import ADMIN, BOB, READER, ComputeRig, on_compute_rig


def test_a_server_is_built_shown_changed_and_removed_without_a_trace() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(metadata={"a": "b"}, key_name="mine", version="2.37")
        view = await rig.shown(id_)
        (host,) = [host for host in rig.hosts.values() if id_ in host.guests]
        spec = host.guests[id_].spec
        assert [(disk.device, disk.boot_index) for disk in spec.disks] == [("vda", 0)]
        assert spec.metadata["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
        assert spec.metadata["meta"] == {"a": "b"}
        assert [nic.mac for nic in spec.nics] == [view["addresses"]["net"][0]["OS-EXT-IPS-MAC:mac_addr"]]
        assert view["addresses"]["net"][0]["addr"].startswith("10.0.0.")
        assert (view["key_name"], view["OS-EXT-AZ:availability_zone"]) == ("mine", "nova")
        assert "OS-EXT-SRV-ATTR:host" not in view
        assert (await rig.shown(id_, who=ADMIN))["OS-EXT-SRV-ATTR:host"] == host.name
        reply = await rig.ask("PUT", f"/servers/{id_}", {"server": {"name": "other", "accessIPv4": "1.2.3.4"}})
        assert (reply.status, reply.body["server"]["name"], reply.body["server"]["accessIPv4"]) == (200, "other", "1.2.3.4")
        assert (await rig.ask("PUT", f"/servers/{id_}", {"server": {}})).status == 200
        assert (await rig.ask("GET", f"/servers/{id_}/os-server-password")).body == {"password": ""}
        assert (await rig.ask("DELETE", f"/servers/{id_}/os-server-password")).status == 204
        assert (await rig.ask("PUT", f"/servers/{id_}", {"server": {"name": " "}})).status == 400
        ips = (await rig.ask("GET", f"/servers/{id_}/ips")).body["addresses"]
        assert list(ips["net"][0]) == ["version", "addr"]
        assert (await rig.ask("GET", f"/servers/{id_}/ips/net")).status == 200
        assert (await rig.ask("GET", f"/servers/{id_}/ips/none")).status == 404
        assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
        await rig.until_server(id_, "GONE")
        assert await rig.leftovers(id_) == {}
        assert await rig.own_volumes() == []
        assert await rig.jobs_left() == 0

    on_compute_rig(test)


def test_strangers_see_nothing_and_readers_change_nothing() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(wait="")
        for method, path, body in (
            ("GET", "", None), ("PUT", "", {"server": {"name": "x"}}), ("DELETE", "", None), ("GET", "/ips", None), ("GET", "/metadata", None),
            ("POST", "/action", {"os-stop": None}), ("GET", "/os-volume_attachments", None), ("GET", "/os-interface", None),
            ("GET", "/os-instance-actions", None), ("PUT", "/metadata", {"metadata": {}}), ("POST", "/action", {"lock": None}),
            ("POST", "/action", {"createImage": {"name": "x"}}), ("POST", "/os-volume_attachments", {"volumeAttachment": {"volumeId": id_}}),
            ("POST", "/action", {"os-getConsoleOutput": {}}), ("POST", "/action", {"suspend": None}), ("GET", "/diagnostics", None),
        ):  # fmt: skip
            assert (await rig.ask(method, f"/servers/{id_}{path}", body, who=BOB)).status == 404, path
        for method, path, body in (
            ("PUT", "", {"server": {"name": "x"}}), ("DELETE", "", None), ("POST", "/action", {"os-stop": None}),
            ("PUT", "/metadata", {"metadata": {}}), ("POST", "/action", {"createImage": {"name": "x"}}),
        ):  # fmt: skip
            assert (await rig.ask(method, f"/servers/{id_}{path}", body, who=READER)).status == 403, (path, body)
        assert (await rig.ask("GET", f"/servers/{id_}", who=READER)).status == 200
        assert (await rig.ask("POST", "/servers", {"server": {}}, who=READER)).status == 403
        assert (await rig.ask("GET", "/servers", who=BOB)).body == {"servers": []}
        assert (await rig.ask("GET", "/servers?all_tenants=1", who=BOB)).status == 403
        found = (await rig.ask("GET", "/servers?all_tenants=1", who=ADMIN)).body["servers"]
        assert [server["id"] for server in found] == [id_]
        for action in ("migrate", "os-resetState", "evacuate", "os-migrateLive"):
            assert (await rig.act(id_, action, {})).status == 403

    on_compute_rig(test)


def test_a_server_without_a_host_ends_in_error_and_can_be_removed() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="4", wait="ERROR")
        view = await rig.shown(id_)
        assert "No valid host" in view["fault"]["message"]
        assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
        await rig.until_server(id_, "GONE")
        assert await rig.leftovers(id_) == {}
        gone = await rig.ask("GET", "/servers/detail?deleted=1&all_tenants=1", who=ADMIN, version="2.96")
        assert [(server["id"], server["status"]) for server in gone.body["servers"]] == [(id_, "DELETED")]

    on_compute_rig(test)


def test_a_server_that_is_being_built_can_be_removed_at_any_moment() -> None:
    async def test(rig: ComputeRig) -> None:
        import asyncio

        image = await rig.bootable()
        for pause_s in (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.005, 0.01, 0.05):
            id_ = await rig.made_server(wait="", imageRef=image)
            await asyncio.sleep(pause_s)
            assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
            await rig.until_server(id_, "GONE")
            assert await rig.leftovers(id_) == {}
        assert await rig.own_volumes() == []

    on_compute_rig(test)
