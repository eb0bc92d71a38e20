"""How volumes are shown."""

from objstore.services.volume.api.views import time
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN


def test_newer_versions_and_administrators_see_more() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume(name="n")

        async def shown(version: str, who: str = "alice") -> set[str]:
            return set((await rig.got("GET", f"/volumes/{id_}", version=version, who=who))["volume"])

        old = await shown("3.0")
        assert {"id", "attachments", "links", "encrypted", "bootable", "os-vol-tenant-attr:tenant_id"} <= old
        assert await shown("3.13") - old == {"group_id"}
        assert await shown("3.48") - await shown("3.13") == {"service_uuid", "shared_targets"}
        assert await shown("3.65") - await shown("3.48") == {"volume_type_id", "consumes_quota"}
        assert "os-vol-host-attr:host" not in await shown("3.71")
        assert {"os-vol-host-attr:host", "provider_id", "cluster_name"} <= await shown("3.71", ADMIN)

    on_block_rig(test)


def test_times_have_microseconds_and_no_zone() -> None:
    assert time(1_800_000_000_123_456) == "2027-01-15T08:00:00.123456"
    assert time(0) is None
