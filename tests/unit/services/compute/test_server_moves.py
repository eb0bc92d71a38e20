"""Resize, migration, evacuation."""

import asyncio

from objstore.services.compute import records
from objstore.services.compute.catalog import Catalog
from objstore.services.compute.states import DELETING
from tests.support.compute_rig import ADMIN, ComputeRig, on_compute_rig


def host_of(rig: ComputeRig, id_: str) -> list[str]:
    return [name for name, host in rig.hosts.items() if id_ in host.guests]


def test_a_resize_is_confirmed_or_taken_back() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        assert (await rig.act(id_, "confirmResize")).status == 409
        for wanted in ("1", "none", "3", ""):
            assert (await rig.act(id_, "resize", {"flavorRef": wanted})).status == 400, wanted
        assert (await rig.act(id_, "resize", {"flavorRef": "2"})).status == 202
        view = await rig.until_server(id_, "VERIFY_RESIZE")
        assert (view["flavor"]["original_name"], view["flavor"]["vcpus"]) == ("small", 2)
        (host,) = host_of(rig, id_)
        assert rig.hosts[host].guests[id_].spec.vcpus == 2
        assert (await rig.record(id_)).disks[0].size_gb == 2
        assert (await rig.act(id_, "revertResize")).status == 202
        view = await rig.until_server(id_, "ACTIVE")
        assert view["flavor"]["original_name"] == "tiny"
        (host,) = host_of(rig, id_)
        assert rig.hosts[host].guests[id_].spec.vcpus == 1
        await rig.act(id_, "resize", {"flavorRef": "2"})
        await rig.until_server(id_, "VERIFY_RESIZE")
        assert (await rig.act(id_, "os-stop")).status == 409
        assert (await rig.act(id_, "confirmResize")).status == 204
        await rig.until_server(id_, "ACTIVE")
        assert (await rig.record(id_)).other_flavor == ""
        assert (await rig.act(id_, "resize", {"flavorRef": "1"})).status == 400  # its disk cannot become smaller
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        assert await rig.leftovers(id_) == {}

    on_compute_rig(test)


def test_a_resize_without_room_leaves_the_server_as_it_was() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        assert (await rig.act(id_, "resize", {"flavorRef": "4"})).status == 202
        view = await rig.until_server(id_, "ACTIVE")
        assert view["flavor"]["original_name"] == "tiny"
        assert (await rig.record(id_)).fault.message.startswith("No valid host")
        actions = (await rig.ask("GET", f"/servers/{id_}/os-instance-actions")).body["instanceActions"]
        assert actions[0]["message"] == "Error"

    on_compute_rig(test)


def test_a_stopped_server_is_migrated_to_the_other_host() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        before = (await rig.record(id_)).host
        assert (await rig.act(id_, "migrate", {"host": before}, who=ADMIN, version="2.56")).status == 400
        assert (await rig.act(id_, "migrate", {"host": "none"}, who=ADMIN, version="2.56")).status == 400
        assert (await rig.act(id_, "migrate", who=ADMIN)).status == 202
        await rig.until_server(id_, "VERIFY_RESIZE")
        assert (await rig.record(id_)).host != before
        assert host_of(rig, id_) == []
        assert (await rig.act(id_, "confirmResize")).status == 204
        await rig.until_server(id_, "SHUTOFF")
        assert (await rig.act(id_, "os-start")).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert host_of(rig, id_) == [(await rig.record(id_)).host]

    on_compute_rig(test)


def test_a_running_server_goes_to_another_host_and_a_failure_leaves_it() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        before = (await rig.record(id_)).host
        (other,) = set(rig.hosts) - {before}
        wanted = {"host": None, "block_migration": "auto"}
        for document in (
            {},
            {**wanted, "force": True},
            {**wanted, "block_migration": True},
            {**wanted, "host": before},
            {**wanted, "host": "x"},
        ):
            assert (await rig.act(id_, "os-migrateLive", document, who=ADMIN, version="2.68")).status == 400, document
        rig.hosts[before].refuses["migrate"] = (409, "not now")
        assert (await rig.act(id_, "os-migrateLive", wanted, who=ADMIN, version="2.25")).status == 202
        await rig.until_server(id_, "ACTIVE")
        assert host_of(rig, id_) == [before]
        assert rig.hosts[other].awaited == {}
        rig.hosts[before].refuses.clear()
        rig.hosts[before].loses.add("migrate")
        assert (await rig.act(id_, "os-migrateLive", wanted, who=ADMIN, version="2.25")).status == 202
        running = await rig.ask("GET", f"/servers/{id_}/migrations", who=ADMIN, version="2.23")
        assert [move["status"] for move in running.body["migrations"]] in (["accepted"], ["running"])
        view = await rig.until_server(id_, "ACTIVE", who=ADMIN)
        assert view["OS-EXT-SRV-ATTR:host"] == other
        assert host_of(rig, id_) == [other]
        assert (await rig.network_desk.ports_of([id_]))[id_][0].host == other

    on_compute_rig(test)


def test_servers_of_a_dead_host_start_elsewhere_with_their_disks() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        before = (await rig.record(id_)).host
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 400
        await rig.dies(before)
        assert (await rig.act(id_, "evacuate", {"onSharedStorage": "True", "adminPass": "x"}, who=ADMIN)).body == {"adminPass": "x"}
        await rig.until_server(id_, "ACTIVE")
        after = await rig.record(id_)
        assert after.host != before
        assert id_ in rig.hosts[after.host].guests
        head = await rig.volumes.head(bytes.fromhex(after.disks[0].volume))
        assert head.holder == after.host
        rig.hosts[before].down = False
        assert await rig.report(before, boot_id="b2") == (id_,)  # it comes back, and is told to end its guest

    on_compute_rig(test)


def test_a_server_of_a_dead_host_can_be_removed_and_its_volume_is_free() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume()
        id_ = await rig.made_server()
        await rig.ask("POST", f"/servers/{id_}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}})
        data = (await rig.becomes(volume, "in-use")).data
        await rig.dies((await rig.record(id_)).host)
        assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
        await rig.until_server(id_, "GONE")
        await rig.becomes(volume, "available")
        assert (await rig.volumes.head(bytes.fromhex(data))).holder == ""
        left = await rig.leftovers(id_)
        assert set(left) <= {"guests"}  # what runs on a host that is cut off ends when it comes back

    on_compute_rig(test)


def test_a_server_that_is_being_deleted_is_not_evacuated() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        before = (await rig.record(id_)).host
        await rig.dies(before)
        await rig.sql.write(lambda connection: records.change(connection, id_, task_state=DELETING))
        assert (await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")).status == 409
        assert (await rig.record(id_)).task_state == DELETING

    on_compute_rig(test)


def test_resizes_that_are_asked_for_at_once_do_not_exceed_the_quota_together() -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()
        ids = [await rig.made_server(imageRef=image) for _ in range(3)]
        rig.catalog.check_quota = Catalog(rig.settings).check_quota  # type: ignore[method-assign]
        replies = await asyncio.gather(*(rig.act(id_, "resize", {"flavorRef": "2"}) for id_ in ids))
        assert sorted(reply.status for reply in replies) == [202, 403, 403]
        (lucky,) = [id_ for id_, reply in zip(ids, replies, strict=True) if reply.status == 202]
        await rig.until_server(lucky, "VERIFY_RESIZE")
        assert (await rig.act(lucky, "revertResize")).status == 202
        await rig.until_server(lucky, "ACTIVE")
        assert (await rig.act(next(id_ for id_ in ids if id_ != lucky), "resize", {"flavorRef": "2"})).status == 202

    on_compute_rig(test, quota_cores=4)


def test_a_move_gives_up_what_one_before_it_claimed_and_never_settled() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        home = (await rig.record(id_)).host
        await rig.dies(home)
        for host in rig.hosts:
            if host != home:
                rig.hosts[host].down = True  # it is chosen, and then it does not answer
                assert (await rig.act(id_, "evacuate", {"host": host}, who=ADMIN, version="2.29")).status == 200
                await rig.clock.sleep(1.0)
                assert (await rig.record(id_)).other_host == host
                rig.hosts[host].down = False
        await rig.until_server(id_, "ACTIVE")
        assert await rig.claims(id_) == {(await rig.record(id_)).host: (1, 64)}

    on_compute_rig(test, hosts=3)
