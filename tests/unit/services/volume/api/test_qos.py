"""Quality of service."""

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN


def test_specs_are_made_changed_given_to_types_and_removed() -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("POST", "/qos-specs", {"qos_specs": {"name": "q"}})).status == 403
        body = {"qos_specs": {"name": "q", "consumer": "front-end", "iops": "5"}}
        made = (await rig.got("POST", "/qos-specs", body, who=ADMIN))["qos_specs"]
        assert (made["consumer"], made["specs"]) == ("front-end", {"iops": "5"})
        assert (await rig.api("POST", "/qos-specs", body, who=ADMIN)).status == 409
        assert (await rig.api("POST", "/qos-specs", {"qos_specs": {"name": "r", "consumer": "x"}}, who=ADMIN)).status == 400
        where = f"/qos-specs/{made['id']}"
        assert (await rig.got("PUT", where, {"qos_specs": {"bytes": "6"}}, who=ADMIN))["qos_specs"] == {"bytes": "6"}
        await rig.got("PUT", f"{where}/delete_keys", {"keys": ["iops"]}, 202, who=ADMIN)
        assert (await rig.api("PUT", f"{where}/delete_keys", {"keys": ["iops"]}, who=ADMIN)).status == 400
        assert (await rig.api("PUT", f"{where}/delete_keys", {"keys": 5}, who=ADMIN)).status == 400
        many = {str(number): "" for number in range(128)}
        await rig.got("PUT", where, {"qos_specs": many}, 413, who=ADMIN)  # with what it has
        assert (await rig.got("GET", where, who=ADMIN))["qos_specs"]["specs"] == {"bytes": "6"}
        type_ = (await rig.got("POST", "/types", {"volume_type": {"name": "t"}}, who=ADMIN))["volume_type"]["id"]
        await rig.got("GET", f"{where}/associate?vol_type_id={type_}", None, 202, who=ADMIN)
        (found,) = (await rig.got("GET", f"{where}/associations", who=ADMIN))["qos_associations"]
        assert found["id"] == type_
        assert (await rig.got("GET", f"/types/{type_}", who=ADMIN))["volume_type"]["qos_specs_id"] == made["id"]
        assert (await rig.api("DELETE", where, who=ADMIN)).status == 400
        await rig.got("GET", f"{where}/disassociate?vol_type_id={type_}", None, 202, who=ADMIN)
        await rig.got("GET", f"{where}/associate?vol_type_id={type_}", None, 202, who=ADMIN)
        await rig.got("GET", f"{where}/disassociate_all", None, 202, who=ADMIN)
        assert (await rig.got("GET", f"{where}/associations", who=ADMIN))["qos_associations"] == []
        assert (await rig.api("GET", f"{where}/associate?vol_type_id=x", who=ADMIN)).status == 404
        assert (await rig.api("GET", f"{where}/associate", who=ADMIN)).status == 400
        assert len((await rig.got("GET", "/qos-specs", who=ADMIN))["qos_specs"]) == 1
        await rig.got("DELETE", f"{where}?force=true", None, 202, who=ADMIN)
        assert (await rig.api("GET", where, who=ADMIN)).status == 404

    on_block_rig(test)
