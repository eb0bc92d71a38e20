import msgspec
import pytest

from objstore.core.rows import Row
from objstore.errors import InvalidRequest, NoSuchKey, NoSuchVersion
from objstore.objects.access import Action
from objstore.objects.buckets import Bucket
from tests.support.store_rig import ALICE, Rig, noise, with_rig


async def home(rig: Rig) -> Bucket:
    return await rig.store.open_bucket(ALICE, "photos", Action.WRITE_OBJECT)


def hold(row: Row) -> Row:
    return msgspec.structs.replace(row, legal_hold=True)


@pytest.mark.parametrize("size", [0, 10, 9000])
@pytest.mark.parametrize("versioning", ["", "Enabled"])
def test_what_is_said_of_an_object_changes_and_its_bytes_do_not(size: int, versioning: str) -> None:
    async def test(rig: Rig) -> None:
        if versioning:
            await rig.store.set_versioning(ALICE, "photos", versioning)
        data = noise(size)
        before = await rig.put("k", data)
        row = await rig.store.alter(await home(rig), "k", "", hold)
        assert (row.legal_hold, row.version, row.modified_us) == (True, before.version_id, before.modified_us)
        assert await rig.get("k") == data
        after = await rig.put("k")
        if versioning:
            assert await rig.get("k", version_id=before.version_id) == data
            row = await rig.store.alter(await home(rig), "k", before.version_id, lambda row: msgspec.structs.replace(row, tags={"a": "1"}))
            assert (row.legal_hold, row.tags) == (True, {"a": "1"})
            assert await rig.get("k", version_id=before.version_id) == data
            assert (await rig.store.head(ALICE, "photos", "k")).version_id == after.version_id

    with_rig(test)


def test_a_change_that_is_refused_leaves_everything_as_it_was() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")

        def refuse(row: Row) -> Row:
            raise InvalidRequest("no")

        with pytest.raises(InvalidRequest):
            await rig.store.alter(await home(rig), "k", "", refuse)
        with pytest.raises(NoSuchKey):
            await rig.store.alter(await home(rig), "never", "", hold)
        with pytest.raises(NoSuchVersion):
            await rig.store.alter(await home(rig), "never", "null", hold)

    with_rig(test)
