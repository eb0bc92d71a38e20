"""Rebuild: a new disk of another image, the same server."""

from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_a_rebuilt_server_has_a_new_disk_and_its_old_address() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(metadata={"old": "1"})
        before = await rig.record(id_)
        image = await rig.bootable(8192)
        reply = await rig.act(
            id_, "rebuild", {"imageRef": image, "name": "new", "metadata": {"a": "b"}, "adminPass": "secret"}, version="2.54"
        )
        assert (reply.status, reply.body["server"]["adminPass"], reply.body["server"]["status"]) == (202, "secret", "REBUILD")
        view = await rig.until_server(id_, "ACTIVE")
        after = await rig.record(id_)
        assert (view["name"], view["metadata"], view["image"]["id"]) == ("new", {"a": "b"}, image)
        assert after.disks[0].volume != before.disks[0].volume
        assert after.nics == before.nics
        assert len(await rig.own_volumes()) == 1
        assert [disk.volume for disk in rig.hosts[after.host].guests[id_].spec.disks] == [after.disks[0].volume]

    on_compute_rig(test)


def test_a_stopped_server_stays_stopped_and_wrong_documents_change_nothing() -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()
        id_ = await rig.made_server(imageRef=image)
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        for document in ({}, {"imageRef": "x"}, {"imageRef": id_}, {"imageRef": image, "name": ""}, {"imageRef": image, "description": "d"},
                         {"imageRef": image, "metadata": {str(n): "x" for n in range(6)}}, {"imageRef": image, "personality": [{"path": "x"}]}):  # fmt: skip
            assert (await rig.act(id_, "rebuild", document)).status in (400, 403), document
        assert (await rig.act(id_, "rebuild", {"imageRef": image, "key_name": "none"}, version="2.54")).status == 400
        assert (await rig.shown(id_))["status"] == "SHUTOFF"
        assert (await rig.act(id_, "rebuild", {"imageRef": image})).status == 202
        await rig.until_server(id_, "SHUTOFF")

    on_compute_rig(test)
