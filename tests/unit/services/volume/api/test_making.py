"""New volumes: sizes, what they are made from, types."""

from typing import Any

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.volume.api.making import is_yes
from tests.support.block_rig import GIB, BlockRig, on_block_rig
from tests.support.image_rig import ALICE, BOB, PROJECTS

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"size_gb": None}, 400), ({"size_gb": 0}, 400), ({"size_gb": -1}, 400), ({"size_gb": 2**40}, 400), ({"size_gb": 1, "image_id": NOBODY}, 404),
        ({"size_gb": 1, "snapshot_id": NOBODY}, 404), ({"size_gb": 1, "source_volume_id": NOBODY}, 404), ({"size_gb": 1, "volume_type": "none"}, 404),
        ({"size_gb": 1, "image_id": NOBODY, "snapshot_id": NOBODY}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_and_leaves_nothing(asked: dict[str, Any], status: int) -> None:
    async def test(rig: BlockRig) -> None:
        with pytest.raises(CallRefused) as caught:
            await rig.desk.create(PROJECTS[ALICE], ALICE, **asked)
        assert caught.value.status == status
        assert await rig.stored() == []

    on_block_rig(test)


def test_a_volume_is_at_least_as_large_as_what_it_is_made_from() -> None:
    async def test(rig: BlockRig) -> None:
        source = await rig.volume(size_gb=3)
        assert (await rig.desk.find(PROJECTS[ALICE], await rig.volume(size_gb=None, source_volume_id=source))).size_gb == 3
        large = await rig.image(b"%d\nx" % (2 * GIB), disk_format="qcow2", min_disk=4)
        for asked in ({"size_gb": 2, "source_volume_id": source}, {"size_gb": 3, "image_id": large}):
            with pytest.raises(CallRefused, match="cannot be smaller"):
                await rig.desk.create(PROJECTS[ALICE], ALICE, **asked)
        queued = await rig.made()
        with pytest.raises(CallRefused, match="not active"):
            await rig.desk.create(PROJECTS[ALICE], ALICE, size_gb=1, image_id=queued)
        with pytest.raises(CallRefused, match="could not be found"):
            await rig.desk.create(PROJECTS[BOB], BOB, size_gb=4, image_id=queued)

    on_block_rig(test)


def test_extra_specs_say_yes_as_cinder_writes_it() -> None:
    assert [is_yes(value) for value in ("<is> True", "true", "<is> False", "", "no")] == [True, True, False, False, False]
