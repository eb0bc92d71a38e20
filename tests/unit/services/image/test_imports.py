"""Imports: staged bytes, bytes of another image, and what becomes of those that fail."""

import os
from collections.abc import AsyncIterator

import pytest

from objstore.errors import Unavailable
from objstore.services.image.records import IMPORTING, change
from objstore.services.image.tasks import set_task
from objstore.services.tables.jobs import ATTEMPTS, Job
from tests.support.image_rig import ADMIN, BOB, OCTETS, PROJECTS, READER, ImageRig, on_image_rig

DIRECT = {"method": {"name": "glance-direct"}}


async def staged(rig: ImageRig, data: bytes = b"staged bytes") -> str:
    id_ = await rig.made()
    assert (await rig.ask("PUT", f"/v2/images/{id_}/stage", data, headers=OCTETS)).status == 204
    assert (await rig.show(id_))["status"] == "uploading"
    return id_


def test_staged_bytes_become_the_images_and_the_task_says_so() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await staged(rig)
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).status == 204
        reply = await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT)
        assert reply.status == 202
        image = await rig.until(id_, "active")
        assert image["size"] == 12
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).raw == b"staged bytes"
        assert len(await rig.settled()) == 1
        (task,) = (await rig.ask("GET", f"/v2/images/{id_}/tasks")).body["tasks"]
        assert (task["status"], task["type"], task["request_id"]) == (
            "success",
            "api_image_import",
            reply.headers["x-openstack-request-id"],
        )
        assert task["input"]["import_req"] == DIRECT
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT)).status == 409

    on_image_rig(test)


def test_staged_bytes_that_were_there_before_are_kept_once() -> None:
    async def test(rig: ImageRig) -> None:
        await rig.active(b"staged bytes")
        id_ = await staged(rig)
        await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT)
        await rig.until(id_, "active")
        assert len(await rig.settled()) == 1
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).raw == b"staged bytes"

    on_image_rig(test)


def test_what_was_looked_at_as_one_format_does_not_become_another() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await staged(rig)
        await rig.sql.write(lambda connection: change(connection, id_, status=("uploading",), status_=IMPORTING))
        assert (await rig.patch(id_, {"op": "replace", "path": "/container_format", "value": "ova"})).status == 403

    on_image_rig(test)


def test_a_staged_image_that_is_deleted_leaves_nothing() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await staged(rig)
        assert (await rig.ask("DELETE", f"/v2/images/{id_}")).status == 204
        assert await rig.settled() == []

    on_image_rig(test)


def test_another_images_bytes_are_taken_over_without_a_copy() -> None:
    async def test(rig: ImageRig) -> None:
        source = await rig.active(b"x" * 1000, hw_disk_bus="scsi", speed="fast")
        id_ = await rig.made(disk_format="iso", container_format="ovf")
        ask = {"method": {"name": "glance-download", "glance_image_id": source, "glance_region": "here"}}
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", ask)).status == 202
        image = await rig.until(id_, "active")
        assert [image.get(name) for name in ("disk_format", "container_format", "hw_disk_bus", "speed")] == ["raw", "bare", "scsi", None]
        assert len(await rig.settled()) == 1
        await rig.ask("DELETE", f"/v2/images/{source}")
        await rig.settled()
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).raw == b"x" * 1000

    on_image_rig(test)


@pytest.mark.parametrize("which", ["region", "missing", "others"])
def test_an_import_that_fails_leaves_the_image_queued_and_says_why(which: str) -> None:
    async def test(rig: ImageRig) -> None:
        theirs = await rig.active(who=BOB)
        source = theirs if which == "others" else "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"
        method = {"name": "glance-download", "glance_image_id": source, "glance_region": "elsewhere" if which == "region" else "here"}
        id_ = await rig.made(kept="yes")
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", {"method": method})).status == 202
        await rig.until(id_, "queued")
        await rig.settled()
        (task,) = (await rig.ask("GET", f"/v2/images/{id_}/tasks")).body["tasks"]
        assert task["status"] == "failure"
        assert ("region" if which == "region" else "No image found") in task["message"]
        assert (await rig.show(id_))["kept"] == "yes"

    on_image_rig(test)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({}, 400), ({"method": {}}, 400), ({"method": {"name": "teleport"}}, 400), ({"method": {"name": "web-download", "uri": "http://x"}}, 400),
        ({"method": {"name": "glance-download", "glance_image_id": "foo"}}, 400), (DIRECT, 409), ({"method": {"name": "copy-image"}}, 409),
        ({**DIRECT, "stores": ["attic"]}, 409), ({**DIRECT, "stores": ["objects"], "all_stores": True}, 400), ({**DIRECT, "all_stores": 1}, 400),
        ([], 400),
    ],
)  # fmt: skip
def test_imports_that_cannot_be_are_refused_at_once(document: object, status: int) -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", document)).status == status
        assert (await rig.show(id_))["status"] == "queued"
        assert (await rig.ask("GET", f"/v2/images/{id_}/tasks")).body["tasks"] == []

    on_image_rig(test)


def test_hosts_that_are_not_listed_are_refused_before_anything_is_fetched() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        for uri in (
            "http://169.254.169.254/latest",
            "http://user:pw@images.test/x",
            "file:///etc/passwd",
            "ftp://images.test/x",
            "http://images.test.evil/x",
            5,
        ):
            reply = await rig.ask("POST", f"/v2/images/{id_}/import", {"method": {"name": "web-download", "uri": uri}})
            assert reply.status == 400, uri
        assert (await rig.ask("GET", "/v2/info/import")).body["import-methods"]["value"] == [
            "glance-direct",
            "web-download",
            "glance-download",
        ]

    on_image_rig(test, web_download_hosts=("images.test",))


def test_imports_are_the_owners() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await staged(rig)
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT, who=READER)).status == 403
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT, who=BOB)).status == 404
        assert (await rig.ask("GET", f"/v2/images/{id_}/tasks", who=BOB)).status == 404
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT, who=ADMIN)).status == 202
        assert PROJECTS[BOB]

    on_image_rig(test)


def test_a_job_that_fails_again_and_again_gives_the_image_back() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await staged(rig, os.urandom(100))
        await rig.sql.write(lambda connection: change(connection, id_, status=("uploading",), status_=IMPORTING))
        await rig.app._imports.give_up(Job("j", "import", id_, {"task": "t", "method": "glance-direct"}, ATTEMPTS))
        assert (await rig.show(id_))["status"] == "queued"
        assert await rig.settled() == []

    on_image_rig(test)


async def cut_off() -> AsyncIterator[bytes]:
    yield b"half of it"
    raise Unavailable("the store is away for a moment")


def test_an_import_that_is_cut_off_goes_on_and_is_nobody_elses_meanwhile() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        await rig.sql.write(lambda connection: change(connection, id_, status=("queued",), status_=IMPORTING))
        with pytest.raises(Unavailable):
            await rig.service.uploads.receive(id_, cut_off(), size=None, before=(IMPORTING,), during=IMPORTING)
        assert (await rig.show(id_))["status"] == "importing"  # its job comes again
        assert (await rig.upload(id_, b"something else")).status == 409
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT)).status == 409
        assert await rig.settled() == []

    on_image_rig(test)


def test_a_job_whose_import_has_ended_leaves_the_next_import_alone() -> None:
    async def test(rig: ImageRig) -> None:
        source, id_ = await rig.active(b"not this one"), await rig.made()
        missing = {"name": "glance-download", "glance_image_id": "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"}
        assert (await rig.ask("POST", f"/v2/images/{id_}/import", {"method": missing})).status == 202
        await rig.until(id_, "queued")
        (task,) = (await rig.ask("GET", f"/v2/images/{id_}/tasks")).body["tasks"]
        assert task["status"] == "failure"
        await rig.sql.write(lambda connection: change(connection, id_, status=("queued",), status_=IMPORTING))  # another import began
        details = {"task": task["id"], "method": "glance-download", "source": source, "region": "", "project": PROJECTS["alice"]}
        await rig.app._imports.run(Job("j", "import", id_, details, 1))
        assert (await rig.show(id_))["status"] == "importing"

    on_image_rig(test)


@pytest.mark.parametrize(("deleted", "status"), [(False, "success"), (True, "failure")])
def test_a_task_is_told_the_end_that_a_run_died_before_telling(deleted: bool, status: str) -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await staged(rig)
        await rig.ask("POST", f"/v2/images/{id_}/import", DIRECT)
        await rig.until(id_, "active")
        await rig.settled()
        (task,) = (await rig.ask("GET", f"/v2/images/{id_}/tasks")).body["tasks"]
        await rig.sql.write(lambda connection: set_task(connection, task["id"], "processing", now_us=rig.clock.wall_us()))
        if deleted:
            await rig.ask("DELETE", f"/v2/images/{id_}")
        await rig.app._imports.run(Job("j", "import", id_, {"task": task["id"], "method": "glance-direct"}, 1))
        assert (await rig.ask("GET", f"/v2/tasks/{task['id']}", who=ADMIN)).body["status"] == status

    on_image_rig(test)
