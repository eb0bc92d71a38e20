"""Volumes and snapshots as old clients of the compute API see them."""

from typing import Any

import msgspec
import pytest

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import CallRefused
from objstore.services.compute.neighbours import Neighbour
from objstore.services.compute.volume_proxy import VolumeProxy
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ALICE, BOB


async def ask(rig: BlockRig, method: str, path: str, body: Any = None, *, who: str = ALICE, version: tuple[int, int] = (2, 1)) -> Answer:
    pieces = path.split("/")
    template = "/v2.1/" + "/".join([pieces[0], *("{id}" if piece != "detail" else piece for piece in pieces[1:])])
    data, token = msgspec.json.encode(body), rig.token(who)
    waiting = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Any:
        return waiting.pop()

    access = rig.registry.access(token)
    call = Call(method, path, {"id": pieces[-1]}, (), {"x-auth-token": token}, receive, access, "req-1", "http://c", version=version)
    return await VolumeProxy(Neighbour(rig.block_app, "volume")).routes()[method, template](call)


def test_volumes_are_made_shown_listed_and_removed() -> None:
    async def test(rig: BlockRig) -> None:
        body = {"volume": {"size": 1, "display_name": "v", "metadata": {"a": "b"}, "display_description": None}}
        made = (await ask(rig, "POST", "os-volumes", body)).body["volume"]
        assert (made["displayName"], made["size"], made["metadata"], made["attachments"]) == ("v", 1, {"a": "b"}, [{}])
        assert (await ask(rig, "GET", f"os-volumes/{made['id']}")).body["volume"]["id"] == made["id"]
        for path in ("os-volumes", "os-volumes/detail"):
            assert [one["id"] for one in (await ask(rig, "GET", path)).body["volumes"]] == [made["id"]]
        for who, version in ((BOB, (2, 1)), (ALICE, (2, 36))):
            with pytest.raises(CallRefused) as caught:
                await ask(rig, "GET", f"os-volumes/{made['id']}", who=who, version=version)
            assert caught.value.status == 404
        await rig.becomes(made["id"], "available")
        body = {"snapshot": {"volume_id": made["id"], "display_name": "s"}}
        snapshot = (await ask(rig, "POST", "os-snapshots", body)).body["snapshot"]
        assert (snapshot["volumeId"], snapshot["displayName"], snapshot["size"]) == (made["id"], "s", 1)
        assert [one["id"] for one in (await ask(rig, "GET", "os-snapshots")).body["snapshots"]] == [snapshot["id"]]
        assert (await ask(rig, "GET", f"os-snapshots/{snapshot['id']}")).body["snapshot"]["id"] == snapshot["id"]
        other = (await ask(rig, "POST", "os-volumes", {"volume": {"size": 1}})).body["volume"]
        await rig.becomes(other["id"], "available")
        assert (await ask(rig, "DELETE", f"os-volumes/{other['id']}")).status == 202

    on_block_rig(test)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("os-volumes", {"volume": {"size": 0}}), ("os-volumes", {"volume": {"size": "x"}}), ("os-volumes", {"volume": {"display_name": "v"}}),
        ("os-volumes", {"volume": {"size": 1, "strange": 1}}), ("os-volumes", {}), ("os-snapshots", {"snapshot": {"display_name": "s"}}),
        ("os-snapshots", {"snapshot": {"volume_id": 7}}), ("os-snapshots", {"volume": {}}),
    ],
)  # fmt: skip
def test_what_no_volume_and_no_snapshot_can_be_is_refused(kind: str, body: Any) -> None:
    async def test(rig: BlockRig) -> None:
        with pytest.raises(CallRefused) as caught:
            await ask(rig, "POST", kind, body)
        assert caught.value.status == 400

    on_block_rig(test)
