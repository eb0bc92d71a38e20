"""Moves that do not go well; those that do are in test_server_moves.py."""

from tests.support.compute_rig import ADMIN, ComputeRig, on_compute_rig


def test_a_resize_whose_guest_does_not_start_ends_in_error_and_a_reboot_helps() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        for host in rig.hosts.values():
            host.refuses["spawn"] = (409, "no")
        assert (await rig.act(id_, "resize", {"flavorRef": "2"})).status == 202
        view = await rig.until_server(id_, "ERROR")
        assert "cannot be started" in view["fault"]["message"]
        for host in rig.hosts.values():
            host.refuses.clear()
        assert (await rig.act(id_, "reboot", {"type": "HARD"})).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert (await rig.record(id_)).as_flavor.name == "as the image"

    on_compute_rig(test)


def test_without_another_host_nothing_is_evacuated_until_there_is_one() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        for name in rig.hosts:
            rig.hosts[name].down = True
        await rig.clock.sleep(31)
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        assert "No valid host" in (await rig.until_server(id_, "ERROR"))["fault"]["message"]
        for name in rig.hosts:
            if name != home:
                rig.hosts[name].down = False
                await rig.report(name)
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        await rig.until_server(id_, "ACTIVE")

    on_compute_rig(test)
