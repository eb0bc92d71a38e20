"""Volume transfers."""

import msgspec

from objstore.identity.tenancy import Person
from objstore.services.volume.api.tables import TRANSFERS
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS


def test_who_has_the_key_gets_the_volume_once() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"]
        await rig.stored()
        offered = (await rig.got("POST", "/volume-transfers", {"transfer": {"volume_id": id_, "name": "t"}}, 202))["transfer"]
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "awaiting-transfer"
        where = f"/volume-transfers/{offered['id']}"
        assert "auth_key" not in (await rig.got("GET", where))["transfer"]
        await rig.got("POST", f"{where}/accept", {"accept": {"auth_key": "wrong"}}, 400, who=BOB)
        await rig.got("POST", f"{where}/accept", {"accept": {}}, 400, who=BOB)
        accept = {"accept": {"auth_key": offered["auth_key"]}}
        assert (await rig.got("POST", f"{where}/accept", accept, 202, who=BOB))["transfer"]["volume_id"] == id_
        await rig.got("POST", f"{where}/accept", accept, 404, who=BOB)
        assert (await rig.api("GET", f"/volumes/{id_}")).status == 404
        assert (await rig.got("GET", f"/volumes/{id_}", who=BOB))["volume"]["status"] == "available"
        assert (await rig.got("GET", f"/snapshots/{snapshot}", who=BOB))["snapshot"]["volume_id"] == id_
        shown = (await rig.got("GET", where))["transfer"]
        assert (shown["accepted"], shown["destination_project_id"]) == (True, PROJECTS[BOB])
        assert (await rig.got("GET", "/volume-transfers/detail"))["transfers"] == []

    on_block_rig(test)


def test_a_volume_comes_to_a_project_and_not_to_whoever_has_none() -> None:
    async def test(rig: BlockRig) -> None:
        member = rig.registry.role_named("member")
        assert member is not None
        actor = f"u:{next(person.id for person in rig.registry.all(Person) if person.name == BOB)}"
        await rig.registry.change_grant(actor, "d:default", lambda found: msgspec.structs.replace(found, roles=(member.id,)))
        id_ = await rig.volume()
        offered = (await rig.got("POST", "/volume-transfers", {"transfer": {"volume_id": id_}}, 202))["transfer"]
        accept = {"accept": {"auth_key": offered["auth_key"]}}
        for token in (rig.token(BOB, "d:default"), rig.token(ADMIN, "s")):
            await rig.got("POST", f"/volume-transfers/{offered['id']}/accept", accept, 400, project="", token=token)
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "awaiting-transfer"

    on_block_rig(test)


def test_an_offer_is_taken_back_and_a_quota_keeps_it_away() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.volume(BOB)
        offered = (await rig.got("POST", "/os-volume-transfer", {"transfer": {"volume_id": id_}}, 202, version="3.0"))["transfer"]
        assert set(offered) == {"id", "volume_id", "name", "links", "created_at", "auth_key"}
        where = f"/os-volume-transfer/{offered['id']}"
        await rig.got("POST", f"{where}/accept", {"accept": {"auth_key": offered["auth_key"]}}, 413, who=BOB)
        await rig.got("POST", "/os-volume-transfer", {"transfer": {"volume_id": id_}}, 400)
        await rig.got("POST", "/os-volume-transfer", {"transfer": {}}, 400)
        await rig.got("DELETE", where, None, 202)
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"
        assert (await rig.api("GET", where)).status == 404

    on_block_rig(test, quota_volumes=1)


def test_snapshots_that_are_not_offered_hold_a_volume_back() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202)
        await rig.stored()
        body = {"transfer": {"volume_id": id_, "no_snapshots": True}}
        offered = (await rig.got("POST", "/volume-transfers", body, 202))["transfer"]
        where = f"/volume-transfers/{offered['id']}/accept"
        await rig.got("POST", where, {"accept": {"auth_key": offered["auth_key"]}}, 400, who=BOB)

    on_block_rig(test)


def test_an_offer_that_was_left_behind_opens_no_later_one_and_offers_do_not_pile_up() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()

        async def offer(who: str) -> dict[str, str]:
            made: dict[str, str] = (await rig.got("POST", "/volume-transfers", {"transfer": {"volume_id": id_}}, 202, who=who))["transfer"]
            return made

        async def accept(offered: dict[str, str], who: str, status: int) -> None:
            where = f"/volume-transfers/{offered['id']}/accept"
            await rig.got("POST", where, {"accept": {"auth_key": offered["auth_key"]}}, status, who=who)

        old = await offer(ALICE)
        await rig.act(id_, "os-reset_status", {"status": "available"}, who=ADMIN)
        await accept(await offer(ALICE), BOB, 202)
        new = await offer(BOB)
        await accept(old, ALICE, 404)  # who had the first key
        assert (await rig.api("DELETE", f"/volume-transfers/{old['id']}")).status == 404
        assert (await rig.desk.find(PROJECTS[BOB], id_)).status == "awaiting-transfer"
        await accept(new, ALICE, 202)
        assert await rig.sql.read(lambda connection: len(connection.execute(TRANSFERS.select()).all())) == 1

    on_block_rig(test)
