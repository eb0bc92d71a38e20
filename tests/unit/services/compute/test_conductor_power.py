"""Switching on and off where the host does not play along."""

from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_a_guest_that_is_not_there_is_stopped_and_a_reboot_starts_it() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        host.guests.clear()
        assert (await rig.act(id_, "reboot", {"type": "SOFT"})).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert host.guests[id_].state == "running"
        host.guests.clear()
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")

    on_compute_rig(test)


def test_a_refusal_ends_in_error_with_its_words() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        host.refuses["pause"] = (409, "the guest is being dumped")
        await rig.act(id_, "pause")
        assert (await rig.until_server(id_, "ERROR"))["fault"]["message"] == "the guest is being dumped"
        host.refuses["reboot"] = (409, "it hangs")
        await rig.act(id_, "reboot", {"type": "HARD"})
        await rig.until_server(id_, "ACTIVE")  # ended and started

    on_compute_rig(test)


def test_a_host_that_is_away_for_a_moment_is_asked_again() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        host.loses.add("stop")
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        host.down = True
        await rig.act(id_, "os-start")
        await rig.clock.sleep(5)
        host.down = False
        await rig.until_server(id_, "ACTIVE")

    on_compute_rig(test)
