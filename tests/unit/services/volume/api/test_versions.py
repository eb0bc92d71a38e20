"""Microversions."""

import pytest

from objstore.services.volume.api.versions import refusal
from tests.support.block_rig import BlockRig, on_block_rig


@pytest.mark.parametrize(
    ("asked", "status", "told"), [("3.5", 200, "3.5"), ("latest", 200, "3.71"), ("3.72", 406, None), ("2.9", 406, None), ("x", 400, None), ("", 200, "3.0")]
)  # fmt: skip
def test_a_call_is_answered_in_the_version_that_it_asks_for(asked: str, status: int, told: str | None) -> None:
    async def test(rig: BlockRig) -> None:
        reply = await rig.api("GET", "/volumes", version=asked)
        assert reply.status == status
        if told is not None:
            assert reply.headers["openstack-api-version"] == f"volume {told}"

    on_block_rig(test)


def test_what_came_later_is_not_there_before() -> None:
    async def test(rig: BlockRig) -> None:
        for path, first in (("/volumes/summary", 12), ("/attachments", 27), ("/messages", 3), ("/resource_filters", 33)):
            assert (await rig.api("GET", path, version=f"3.{first - 1}")).status == 404
            assert (await rig.api("GET", path, version=f"3.{first}")).status == 200

    on_block_rig(test)


def test_refusals_have_cinders_names() -> None:
    assert refusal(413, "m") == {"overLimit": {"code": 413, "message": "m"}}
    assert refusal(500, "m") == {"computeFault": {"code": 500, "message": "m"}}
