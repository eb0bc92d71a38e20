"""Calls on volumes."""

import asyncio

import pytest

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN

NOBODY = "00000000-0000-4000-8000-000000000000"


def test_a_volume_is_made_shown_changed_and_removed() -> None:
    async def test(rig: BlockRig) -> None:
        body = {"volume": {"size": 1, "name": " n ", "description": "d", "metadata": {"a": "b"}}}
        made = (await rig.got("POST", "/volumes", body, 202))["volume"]
        assert (made["status"], made["name"], made["size"], made["metadata"], made["volume_type"]) == (
            "creating",
            "n",
            1,
            {"a": "b"},
            "__DEFAULT__",
        )
        assert not [name for name in made if name.startswith("os-")]
        await rig.becomes(made["id"], "available")
        changed = (await rig.got("PUT", f"/volumes/{made['id']}", {"volume": {"name": "m", "description": None, "metadata": {"c": "d"}}}))[
            "volume"
        ]
        assert (changed["name"], changed["description"], changed["metadata"]) == ("m", None, {"c": "d"})
        assert (await rig.got("GET", f"/volumes/{made['id']}"))["volume"]["updated_at"]
        await rig.got("DELETE", f"/volumes/{made['id']}", None, 202)
        assert await rig.stored() == []
        assert (await rig.api("GET", f"/volumes/{made['id']}")).status == 404

    on_block_rig(test)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400), ({"size": "x"}, 400), ({"size": 0}, 400), ({"size": "1", "name": 5}, 400), ({"size": 1, "metadata": []}, 400),
        ({"size": 1, "snapshot_id": "x"}, 400), ({"size": 1, "imageRef": "x"}, 400), ({"size": 1, "imageRef": 5}, 400), ({"size": 1, "imageRef": NOBODY}, 404),
        ({"size": 1, "snapshot_id": NOBODY}, 404), ({"size": 1, "source_volid": NOBODY}, 404), ({"size": 1, "volume_type": NOBODY}, 404),
        ({"size": 1, "availability_zone": "mars"}, 400), ({"size": 1, "group_id": NOBODY}, 404), ({"size": 1000}, 413), ({"size": True}, 400),
        ({"size": 1, "metadata": {"a": 1}}, 400), ({"size": 2**70}, 400), ({"size": 1, "backup_id": NOBODY}, 404),
    ],
)  # fmt: skip
def test_what_a_client_may_not_say_of_a_new_volume_is_refused(fields: dict[str, object], status: int) -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("POST", "/volumes", {"volume": fields})).status == status
        assert await rig.stored() == []

    on_block_rig(test, quota_gigabytes=100)


@pytest.mark.parametrize("body", [b"{", b"\xff", [], {}, {"volume": []}, {"volume": None}, b"[" * 100])
def test_bodies_that_are_none_are_refused(body: object) -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        for method, path in (("POST", "/volumes"), ("PUT", f"/volumes/{id_}"), ("POST", f"/volumes/{id_}/action"), ("POST", "/snapshots")):
            assert (await rig.api(method, path, body)).status == 400

    on_block_rig(test)


def test_a_volume_with_snapshots_goes_with_them_or_not_at_all() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        for _ in range(2):
            await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202)
            await rig.stored()
        assert (await rig.api("DELETE", f"/volumes/{id_}")).status == 400
        await rig.got("DELETE", f"/volumes/{id_}?cascade=True", None, 202)
        assert await rig.stored() == []
        assert (await rig.got("GET", "/snapshots"))["snapshots"] == []
        assert (await rig.got("GET", "/limits"))["limits"]["absolute"]["totalGigabytesUsed"] == 0

    on_block_rig(test)


def test_only_the_administrator_forces() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.act(id_, "os-reset_status", {"status": "attaching"}, who=ADMIN)
        assert (await rig.api("DELETE", f"/volumes/{id_}")).status == 400
        assert (await rig.api("DELETE", f"/volumes/{id_}?force=True")).status == 403
        await rig.got("DELETE", f"/volumes/{id_}?force=True", None, 202, who=ADMIN)
        assert await rig.stored() == []

    on_block_rig(test)


def test_the_summary_counts_and_names_metadata() -> None:
    async def test(rig: BlockRig) -> None:
        for colour in ("red", "green", "red"):
            await rig.got("POST", "/volumes", {"volume": {"size": 2, "metadata": {"colour": colour}}}, 202)
        await rig.stored()
        summary = (await rig.got("GET", "/volumes/summary"))["volume-summary"]
        assert summary == {"total_size": 6, "total_count": 3, "metadata": {"colour": ["green", "red"]}}

    on_block_rig(test)


def test_volumes_from_a_volume_a_snapshot_and_an_image() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"image" * 1000, os_distro="debian")
        source = (await rig.got("POST", "/volumes", {"volume": {"size": 1, "imageRef": image}}, 202))["volume"]["id"]
        await rig.becomes(source, "available")
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": source}}, 202))["snapshot"]["id"]
        await rig.stored()
        for fields in ({"source_volid": source}, {"snapshot_id": snapshot, "size": 2}):
            id_ = (await rig.got("POST", "/volumes", {"volume": fields}, 202))["volume"]["id"]
            await rig.becomes(id_, "available")
            shown = (await rig.got("GET", f"/volumes/{id_}"))["volume"]
            assert (shown["bootable"], shown["volume_image_metadata"]["os_distro"]) == ("true", "debian")
            assert (await rig.bytes_of(id_.replace("-", ""), 5000)) == b"image" * 1000
        assert [v["id"] for v in (await rig.got("GET", "/volumes?glance_metadata=%7B'os_distro':'arch'%7D"))["volumes"]] == []

    on_block_rig(test)


def test_two_who_delete_at_once_end_with_one_deletion() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        ends = await asyncio.gather(*(rig.api("DELETE", f"/volumes/{id_}") for _ in range(2)))
        assert sorted(reply.status for reply in ends) in ([202, 400], [202, 404])
        assert await rig.stored() == []

    on_block_rig(test)
