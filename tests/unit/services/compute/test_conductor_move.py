"""Moves that do not go well; those that do are in test_server_moves.py."""

from typing import Any

import pytest
from sqlalchemy import update

from objstore.errors import Unavailable
from objstore.services.calls.problems import not_found
from objstore.services.compute import records
from objstore.services.compute.agent_api import Migrate
from objstore.services.compute.cloud_tables import HOSTS
from objstore.services.network.ports import delete_port
from objstore.services.network.records import one
from objstore.services.network.service import SYSTEM
from objstore.services.network.tables import PORTS
from tests.support.compute_rig import ADMIN, ComputeRig, on_compute_rig
from tests.unit.services.compute.test_conductor import LIVE, alone, built, finish, jobs_of


def other_of(rig: ComputeRig, host: str) -> str:
    return next(name for name in rig.hosts if name != host)


def homes(rig: ComputeRig, id_: str) -> list[str]:
    return [name for name, host in rig.hosts.items() if id_ in host.guests]


async def disable(rig: ComputeRig, host: str) -> None:
    await rig.sql.write(lambda connection: connection.execute(update(HOSTS).where(HOSTS.c.host == host).values(disabled=True)).rowcount)


async def gone(*_: Any) -> Any:
    raise not_found("The port went meanwhile.")


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


def test_a_migration_that_fails_leaves_ports_claim_and_guest_at_home_alone() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        target = other_of(rig, home)
        rig.hosts[target].refuses["spawn"] = (409, "no")
        assert (await rig.act(id_, "migrate", who=ADMIN)).status == 202
        await rig.until_server(id_, "ERROR")
        record = await rig.record(id_)
        assert (record.host, record.other_host, record.other_flavor) == (home, "", "")
        assert await rig.ports_at(id_) == {home}
        assert await rig.claims(id_) == {home: (1, 64)}
        assert (await rig.act(id_, "reboot", {"type": "HARD"})).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert homes(rig, id_) == [home]

    on_compute_rig(test)


def test_a_guest_that_started_before_its_migration_was_given_up_is_ended() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        home = (await rig.record(id_)).host
        rig.hosts[other_of(rig, home)].loses.add("spawn")
        await rig.act(id_, "migrate", who=ADMIN)
        (job,) = await jobs_of(rig)
        with pytest.raises(Unavailable):
            await alone(rig).run(job)
        assert homes(rig, id_) == [other_of(rig, home)]
        await alone(rig).give_up(job)
        record = await rig.record(id_)
        assert (homes(rig, id_), record.vm_state, record.host) == ([], "error", home)
        assert set(await rig.claims(id_)) == {home}
        assert (await rig.volumes.head(bytes.fromhex(record.disks[0].volume))).holder == ""

    on_compute_rig(test, working=False)


def test_a_resize_on_the_same_host_claims_the_larger_of_both_until_it_is_settled() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        home = (await rig.record(id_)).host
        for ending, claim in (("revertResize", (1, 64)), ("confirmResize", (2, 128))):
            assert (await rig.act(id_, "resize", {"flavorRef": "2"})).status == 202
            await rig.until_server(id_, "VERIFY_RESIZE")
            assert await rig.claims(id_) == {home: (2, 128)}
            await rig.act(id_, ending)
            await rig.until_server(id_, "ACTIVE")
            assert await rig.claims(id_) == {home: claim}
        assert (await rig.act(id_, "resize", {"flavorRef": "5"})).status == 400

    on_compute_rig(test, hosts=1)


def test_a_resize_is_taken_back_to_a_host_that_takes_no_new_servers() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.act(id_, "migrate", who=ADMIN)
        await rig.until_server(id_, "VERIFY_RESIZE")
        await disable(rig, home)
        assert (await rig.act(id_, "revertResize")).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert (homes(rig, id_), (await rig.record(id_)).other_host) == ([home], "")
        assert await rig.claims(id_) == {home: (1, 64)}

    on_compute_rig(test)


def test_a_resize_cannot_be_taken_back_to_a_dead_host_and_can_once_it_lives() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.act(id_, "migrate", who=ADMIN)
        await rig.until_server(id_, "VERIFY_RESIZE")
        await rig.dies(home)
        assert (await rig.act(id_, "revertResize")).status == 202
        await rig.until_server(id_, "VERIFY_RESIZE")
        record = await rig.record(id_)
        assert f"{home} is down" in record.fault.message
        assert (homes(rig, id_), record.other_host) == ([record.host], home)
        assert set(await rig.claims(id_)) == set(rig.hosts)
        rig.hosts[home].down = False
        await rig.report(home)
        assert (await rig.act(id_, "revertResize")).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert homes(rig, id_) == [home]

    on_compute_rig(test)


def test_a_resize_is_taken_back_from_a_host_that_died() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.act(id_, "migrate", who=ADMIN)
        await rig.until_server(id_, "VERIFY_RESIZE")
        await rig.dies(other_of(rig, home))
        assert (await rig.act(id_, "revertResize")).status == 202
        await rig.until_server(id_, "ACTIVE")
        record = await rig.record(id_)
        assert record.host == home
        assert (await rig.volumes.head(bytes.fromhex(record.disks[0].volume))).holder == home

    on_compute_rig(test)


def test_a_resize_whose_guest_does_not_start_at_home_again_is_at_home_in_error() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.act(id_, "migrate", who=ADMIN)
        await rig.until_server(id_, "VERIFY_RESIZE")
        rig.hosts[home].refuses["spawn"] = (409, "no")
        assert (await rig.act(id_, "revertResize")).status == 202
        await rig.until_server(id_, "ERROR")
        record = await rig.record(id_)
        assert (record.host, record.other_host, record.other_flavor) == (home, "", "")
        assert (await rig.claims(id_), await rig.ports_at(id_)) == ({home: (1, 64)}, {home})
        rig.hosts[home].refuses.clear()
        await rig.act(id_, "reboot", {"type": "HARD"})
        await rig.until_server(id_, "ACTIVE")

    on_compute_rig(test)


def test_a_confirmation_that_fails_can_be_asked_for_again() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.act(id_, "migrate", who=ADMIN)
        await rig.until_server(id_, "VERIFY_RESIZE")
        rig.hosts[home].refuses["destroy"] = (409, "no")
        await rig.act(id_, "confirmResize")
        for _ in range(60):
            await rig.clock.sleep(20)
            for host in rig.hosts:
                await rig.report(host)
        assert (await rig.record(id_)).task_state == ""
        await rig.until_server(id_, "VERIFY_RESIZE")
        rig.hosts[home].refuses.clear()
        await rig.act(id_, "confirmResize")
        await rig.until_server(id_, "ACTIVE")
        assert await rig.claims(id_) == {other_of(rig, home): (1, 64)}

    on_compute_rig(test)


def test_a_guest_that_has_arrived_lives_on_when_the_rest_is_given_up() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        target = other_of(rig, home)
        rig.part.context.networks.bind = gone  # type: ignore[method-assign]
        assert (await rig.act(id_, "os-migrateLive", LIVE, who=ADMIN, version="2.25")).status == 202
        await rig.until_server(id_, "ACTIVE")
        record = await rig.record(id_)
        assert (record.host, record.other_host, homes(rig, id_)) == (target, "", [target])
        assert await rig.claims(id_) == {target: (1, 64)}
        assert record.fault.message == "The port went meanwhile."
        assert await rig.sql.read(lambda connection: records.last_move(connection, id_)) == ("error", target)

    on_compute_rig(test)


@pytest.mark.parametrize("arrived", [True, False])
def test_whoever_gives_a_migration_up_asks_where_the_guest_is(arrived: bool) -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        home = (await rig.record(id_)).host
        target = other_of(rig, home)
        if arrived:
            rig.hosts[home].loses.add("migrate")
        else:
            rig.hosts[target].loses.add("receive")
        await rig.act(id_, "os-migrateLive", LIVE, who=ADMIN, version="2.25")
        (job,) = await jobs_of(rig)
        with pytest.raises(Unavailable):
            await alone(rig).run(job)
        assert any(isinstance(call, Migrate) for call in rig.hosts[home].calls) == arrived
        await alone(rig).give_up(job)
        record = await rig.record(id_)
        assert (record.vm_state, record.task_state, record.other_host) == ("active", "", "")
        there = target if arrived else home
        assert (record.host, homes(rig, id_), await rig.ports_at(id_)) == (there, [there], {there})
        assert set(await rig.claims(id_)) == {there}
        assert rig.hosts[target].awaited == {}

    on_compute_rig(test, working=False)


def test_a_guest_that_arrives_after_somebody_reset_its_state_is_where_the_record_says() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        home = (await rig.record(id_)).host
        await rig.act(id_, "os-migrateLive", LIVE, who=ADMIN, version="2.25")
        (job,) = await jobs_of(rig)
        conductor = alone(rig)
        agents = conductor._context.agents

        class Slow:
            async def call(self, host: str, message: Any) -> Any:
                if isinstance(message, Migrate):
                    assert (await rig.act(id_, "os-resetState", {"state": "active"}, who=ADMIN)).status == 202
                return await agents.call(host, message)

        conductor._context.agents = Slow()
        await conductor.run(job)
        record = await rig.record(id_)
        assert (record.host, record.other_host, record.vm_state) == (other_of(rig, home), "", "active")
        assert (homes(rig, id_), await rig.ports_at(id_)) == ([record.host], {record.host})

    on_compute_rig(test, working=False)


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


def test_an_evacuation_that_fails_leaves_nothing_on_the_host_that_was_chosen() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.dies(home)
        rig.hosts[other_of(rig, home)].refuses["spawn"] = (409, "no")
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        await rig.until_server(id_, "ERROR")
        record = await rig.record(id_)
        assert (record.host, record.other_host) == (home, "")
        assert (await rig.claims(id_), await rig.ports_at(id_)) == ({home: (1, 64)}, {home})
        rig.hosts[other_of(rig, home)].refuses.clear()
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        await rig.until_server(id_, "ACTIVE")
        assert await rig.ports_at(id_) == {other_of(rig, home)}

    on_compute_rig(test)


def test_a_server_whose_host_came_back_before_it_was_evacuated_is_what_it_was() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        home = (await rig.record(id_)).host
        await rig.dies(home)
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        rig.hosts[home].down = False
        await rig.report(home)
        await finish(rig)
        record = await rig.record(id_)
        assert (record.vm_state, record.task_state, homes(rig, id_)) == ("active", "", [home])
        assert "still in use" in record.fault.message

    on_compute_rig(test, working=False)


def test_a_rebuild_that_waited_for_the_dead_host_does_not_meddle_with_the_evacuation() -> None:
    async def test(rig: ComputeRig) -> None:
        before = len(await rig.own_volumes())
        id_ = await built(rig, await rig.bootable())
        home = (await rig.record(id_)).host
        assert (await rig.act(id_, "rebuild", {"imageRef": (await rig.record(id_)).image})).status == 202
        await rig.dies(home)
        (rebuilding,) = await jobs_of(rig)
        with pytest.raises(Unavailable):
            await alone(rig).run(rebuilding)
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        await alone(rig).run(rebuilding)
        await alone(rig).give_up(rebuilding)
        assert (await rig.record(id_)).vm_state == "active"
        assert (await rig.record(id_)).task_state == "rebuilding"
        await finish(rig)
        record = await rig.record(id_)
        assert (record.vm_state, record.host) == ("active", other_of(rig, home))
        assert len(await rig.own_volumes()) == before + 1

    on_compute_rig(test, working=False)


def test_what_an_administrator_resets_is_at_home_and_claims_nothing_elsewhere() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        target = other_of(rig, home)
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        await rig.act(id_, "migrate", who=ADMIN)
        await rig.until_server(id_, "VERIFY_RESIZE")
        assert (await rig.act(id_, "os-resetState", {"state": "active"}, who=ADMIN)).status == 202
        record = await rig.record(id_)
        assert (record.host, record.other_host, record.other_flavor) == (target, "", "")
        assert await rig.claims(id_) == {target: (1, 64)}
        assert await rig.sql.read(lambda connection: records.last_move(connection, id_)) == ("error", target)

    on_compute_rig(test)


@pytest.mark.parametrize("ending", ["delete", "evacuate"])
def test_a_volume_that_a_guest_elsewhere_shares_is_not_taken_from_it(ending: str) -> None:
    async def test(rig: ComputeRig) -> None:
        await rig.got("POST", "/types", {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}, who=ADMIN)
        volume = await rig.volume(volume_type="shared")
        stopped, running = await rig.made_server(), await rig.made_server()
        home, other = (await rig.record(stopped)).host, (await rig.record(running)).host
        assert home != other
        await rig.act(stopped, "os-stop")
        await rig.until_server(stopped, "SHUTOFF")
        for id_ in (stopped, running):
            body = {"volumeAttachment": {"volumeId": volume}}
            assert (await rig.ask("POST", f"/servers/{id_}/os-volume_attachments", body, version="2.60")).status == 200
            while any(disk.state != "ready" for disk in (await rig.record(id_)).disks):
                await rig.clock.sleep(0.1)
        data = bytes.fromhex((await rig.desk.find("a" * 32, volume)).data)
        before = await rig.volumes.head(data)
        assert before.holder == other
        await rig.dies(home)
        if ending == "delete":
            assert (await rig.ask("DELETE", f"/servers/{stopped}")).status == 204
            await rig.until_server(stopped, "GONE")
        else:
            assert (await rig.act(stopped, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
            await rig.until_server(stopped, "SHUTOFF")
        after = await rig.volumes.head(data)
        assert (after.holder, after.epoch) == (other, before.epoch)

    on_compute_rig(test)


async def removed(rig: ComputeRig, id_: str) -> None:
    """Somebody removes a server's port at the network service, which may be its project, or whose network it is."""
    (port,) = (await rig.record(id_)).nics
    await rig.network_service.write(SYSTEM, lambda tx: delete_port(tx, one(tx, PORTS, port.port)))


def test_a_server_whose_port_was_removed_is_moved_and_started_without_it() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        await removed(rig, id_)
        assert (await rig.act(id_, "migrate", who=ADMIN)).status == 202
        await rig.until_server(id_, "VERIFY_RESIZE")
        record = await rig.record(id_)
        assert (list(record.nics), rig.hosts[record.host].guests[id_].spec.nics) == ([], ())

    on_compute_rig(test)


def test_a_server_whose_port_was_removed_is_evacuated() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await removed(rig, id_)
        await rig.dies(home)
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 200
        await rig.until_server(id_, "ACTIVE")
        assert (await rig.record(id_)).host == other_of(rig, home)

    on_compute_rig(test)
