"""What calls work on: the default type is there, images are seen as the image service shows them, ids are UUIDs."""

import re

import pytest
from sqlalchemy import Connection, func, select

from objstore.services.calls.problems import CallRefused
from objstore.services.volume.api.service import image_of, uuid_of
from objstore.services.volume.api.tables import TYPES
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS


def test_the_default_type_is_made_once() -> None:
    async def test(rig: BlockRig) -> None:
        await rig.block.start()
        count = await rig.sql.read(
            lambda connection: connection.execute(select(func.count()).where(TYPES.c.name == "__DEFAULT__")).scalar_one()
        )
        assert count == 1

    on_block_rig(test)


def test_images_are_seen_by_their_project_by_everybody_or_by_members() -> None:
    async def test(rig: BlockRig) -> None:
        private = await rig.image(b"x", visibility="private")
        public = await rig.active(b"x", ADMIN, visibility="public")
        shared = await rig.image(b"x", visibility="shared")
        assert (await rig.ask("POST", f"/v2/images/{shared}/members", {"member": PROJECTS[BOB]})).status == 200

        def sees(connection: Connection, project: str, id_: str, *, is_admin: bool = False) -> bool:
            try:
                return image_of(connection, project, id_, is_admin=is_admin).id == id_
            except CallRefused as failure:
                return failure.status != 404

        def work(connection: Connection) -> list[bool]:
            return [sees(connection, PROJECTS[BOB], id_) for id_ in (private, public, shared, "none")]

        assert await rig.sql.read(work) == [False, True, True, False]
        assert await rig.sql.read(lambda connection: sees(connection, PROJECTS[BOB], private, is_admin=True))
        assert await rig.sql.read(lambda connection: sees(connection, PROJECTS[ALICE], private))

    on_block_rig(test)


@pytest.mark.parametrize("token", [bytes(16), b"\xff" * 16, bytes(range(16))])
def test_ids_are_uuids_of_version_4(token: bytes) -> None:
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", uuid_of(token))
