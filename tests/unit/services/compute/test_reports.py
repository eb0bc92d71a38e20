"""What hosts report is compared with the records."""

from objstore.services.compute.agent_api import Stop
from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_a_guest_that_switches_itself_off_or_vanishes_is_shut_off() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        host.guests[id_].state = "off"
        await rig.report(host.name)
        assert (await rig.shown(id_))["status"] == "ACTIVE"  # a moment ago it was started: the report may be older
        await rig.clock.sleep(11)
        await rig.report(host.name)
        view = await rig.shown(id_)
        assert (view["status"], view["OS-EXT-STS:power_state"]) == ("SHUTOFF", 4)
        await rig.act(id_, "os-start")
        await rig.until_server(id_, "ACTIVE")
        await rig.clock.sleep(11)
        host.guests[id_].state = "paused"
        await rig.report(host.name)
        assert (await rig.shown(id_))["status"] == "PAUSED"
        host.guests.pop(id_)
        await rig.report(host.name, boot_id="b2")
        assert (await rig.shown(id_))["status"] == "SHUTOFF"

    on_compute_rig(test)


def test_guests_that_no_record_knows_are_ended_and_stopped_ones_stay_stopped() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        (other,) = [found for found in rig.hosts.values() if found is not host]
        guest = host.guests[id_]
        other.guests["0f0f0f0f-1111-4222-8333-444444444444"] = guest
        other.guests[id_] = guest
        assert set(await rig.report(other.name)) == set(other.guests)
        assert await rig.report(host.name) == ()
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        guest.state = "running"
        await rig.clock.sleep(11)
        host.down = True  # who reports is not kept waiting, whatever becomes of the call
        await rig.report(host.name)
        assert (await rig.shown(id_))["OS-EXT-STS:task_state"] == "powering-off"
        host.down = False
        await rig.until_server(id_, "SHUTOFF")
        assert isinstance(host.calls[-1], Stop)
        assert guest.state == "off"
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        host.guests[id_] = guest
        assert await rig.report(host.name) == (id_,)

    on_compute_rig(test)


def test_while_something_is_done_reports_tell_nothing() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        await rig.clock.sleep(11)
        host.down = True
        await rig.act(id_, "reboot", {"type": "SOFT"})
        host.guests[id_].state = "off"
        await rig.report(host.name)
        assert (await rig.shown(id_))["status"] == "REBOOT"

    on_compute_rig(test)
