import pytest

from objstore.errors import InvalidArgument
from objstore.objects.api import ListQuery
from tests.support.store_rig import ALICE, Rig, with_rig


def test_each_key_shows_its_null_version_as_the_latest() -> None:
    async def test(rig: Rig) -> None:
        for key in ("a", "b/1", "b/2", "c"):
            await rig.put(key)
            await rig.put(key)
        page = await rig.store.list_versions(ALICE, "photos", ListQuery(delimiter="/", limit=2))
        assert [(v.key, v.version_id, v.is_latest, v.is_delete_marker) for v in page.objects] == [("a", "", True, False)]
        assert (page.prefixes, page.truncated, page.next_after) == (["b/"], True, "b/")
        page = await rig.store.list_versions(ALICE, "photos", ListQuery(delimiter="/", after="a"), after_version="null")
        assert ([v.key for v in page.objects], page.prefixes) == (["c"], ["b/"])

    with_rig(test)


def test_a_marker_that_is_no_version_is_refused() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(InvalidArgument):
            await rig.store.list_versions(ALICE, "photos", ListQuery(after="a"), after_version="nonsense")

    with_rig(test)
