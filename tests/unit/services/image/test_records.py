"""Rows: compare and set, usage, bodies that several images name."""

from sqlalchemy import Connection

from objstore.services.image.records import (
    ACTIVE,
    QUEUED,
    SAVING,
    SHARED,
    Image,
    Usage,
    add_image,
    body_like,
    body_of,
    change,
    find_image,
    new_body,
    release,
    usage_of,
)
from objstore.services.image.tables import BODIES
from tests.support.image_rig import ImageRig, on_image_rig


def test_an_image_changes_only_from_the_state_it_is_thought_to_have() -> None:
    async def test(rig: ImageRig) -> None:
        def work(connection: Connection) -> None:
            add_image(connection, Image("i", "p", QUEUED, SHARED, 1, 1, properties={"a": "b"}, tags=["t", "t"]))
            assert change(connection, "i", status=(QUEUED,), status_=SAVING, operation_="o")
            assert not change(connection, "i", status=(QUEUED,), status_=ACTIVE)
            assert not change(connection, "i", status=(SAVING,), operation="other", status_=ACTIVE)
            assert change(connection, "i", status=(SAVING,), operation="o", status_=ACTIVE, size=7)
            found = find_image(connection, "i")
            assert found is not None
            assert (found.status, found.size, found.properties, list(found.tags)) == (ACTIVE, 7, {"a": "b"}, ["t"])
            assert find_image(connection, "j") is None

        await rig.sql.write(work)

    on_image_rig(test)


def test_a_body_is_released_when_no_image_names_it() -> None:
    async def test(rig: ImageRig) -> None:
        def work(connection: Connection) -> None:
            new_body(connection, "b", "p", size=5, until_us=9, now_us=1)
            for id_, field in (("i", "body"), ("j", "staged")):
                add_image(connection, Image(id_, "p", ACTIVE, SHARED, 1, 1, size=5))
                change(connection, id_, status=(ACTIVE,), **{field: "b"})
            assert not release(connection, "b")
            change(connection, "i", status=(ACTIVE,), body=None)
            assert not release(connection, "b")
            change(connection, "j", status=(ACTIVE,), staged=None)
            assert release(connection, "b")
            assert body_of(connection, "b").status == "going"
            assert not release(connection, None)

        await rig.sql.write(work)

    on_image_rig(test)


def test_only_whole_bodies_are_like_others() -> None:
    async def test(rig: ImageRig) -> None:
        def work(connection: Connection) -> None:
            for id_, status in (("a", "whole"), ("b", "coming"), ("c", "going")):
                new_body(connection, id_, "p", size=5, until_us=9, now_us=1)
                connection.execute(BODIES.update().where(BODIES.c.id == id_).values(sha512="h", status=status))
            assert body_like(connection, "h", 5, but="x") == "a"
            assert body_like(connection, "h", 5, but="a") is None
            assert body_like(connection, "h", 6, but="x") is None

        await rig.sql.write(work)

    on_image_rig(test)


def test_usage_counts_images_bytes_stages_and_what_is_coming() -> None:
    async def test(rig: ImageRig) -> None:
        def work(connection: Connection) -> Usage:
            for id_, size in (("s", 30), ("c", 400)):
                new_body(connection, id_, "p", size=size, until_us=9, now_us=1)
            connection.execute(BODIES.update().where(BODIES.c.id == "s").values(status="whole"))
            add_image(connection, Image("i", "p", ACTIVE, SHARED, 1, 1, size=2))
            add_image(connection, Image("j", "p", "uploading", SHARED, 1, 1, staged="s"))
            add_image(connection, Image("k", "p", "deleted", SHARED, 1, 1, size=10_000))
            add_image(connection, Image("l", "q", ACTIVE, SHARED, 1, 1, size=10_000))
            return usage_of(connection, "p")

        found = await rig.sql.write(work)
        assert found == Usage(2, 2, 30, 1, 400)
        assert found.total_bytes == 432

    on_image_rig(test)
