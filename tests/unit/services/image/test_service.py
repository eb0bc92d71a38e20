"""Starting over what is there already, and the ways to import that settings open."""

from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.services.image.service import ImageService
from objstore.services.image.settings import ImageSettings
from tests.support.image_rig import ImageRig, on_image_rig


def test_a_second_process_starts_on_the_tables_and_the_bucket_of_the_first() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.active()
        store = ObjectStore(rig.cluster, rig.world, ObjectSettings())
        second = ImageService(rig.sql, store, rig.world, ImageSettings())
        await second.start()
        await second.aclose()
        await store.aclose()
        assert (await rig.show(id_))["status"] == "active"

    on_image_rig(test)


def test_the_web_is_open_only_to_listed_hosts() -> None:
    async def test(rig: ImageRig) -> None:
        assert "web-download" not in rig.service.import_methods
        opened = ImageService(rig.sql, rig.store, rig.world, ImageSettings(web_download_hosts=("h",)))
        assert "web-download" in opened.import_methods
        await opened.aclose()

    on_image_rig(test)
