"""Metadata of volumes and snapshots."""

from tests.support.block_rig import BlockRig, on_block_rig


def test_items_are_added_replaced_and_removed() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"]
        for where in (f"/volumes/{id_}/metadata", f"/snapshots/{snapshot}/metadata"):
            assert (await rig.got("POST", where, {"metadata": {"a": "1", "b": "2"}}))["metadata"] == {"a": "1", "b": "2"}
            assert (await rig.got("POST", where, {"metadata": {"b": "3"}}))["metadata"] == {"a": "1", "b": "3"}
            assert (await rig.got("PUT", where, {"metadata": {"c": "4"}}))["metadata"] == {"c": "4"}
            assert await rig.got("PUT", f"{where}/d", {"meta": {"d": "5"}}) == {"meta": {"d": "5"}}
            assert await rig.got("GET", f"{where}/c") == {"meta": {"c": "4"}}
            await rig.got("DELETE", f"{where}/c")
            assert (await rig.got("GET", where))["metadata"] == {"d": "5"}
            for method, path, body, status in (
                ("GET", f"{where}/c", None, 404), ("DELETE", f"{where}/c", None, 404), ("PUT", f"{where}/x", {"meta": {"y": "1"}}, 400),
                ("PUT", f"{where}/x", {"meta": {"x": "1", "y": "1"}}, 400), ("POST", where, {"metadata": None}, 400), ("POST", where, {"metadata": {"a": 5}}, 400),
                ("PUT", where, {"metadata": {str(n): "" for n in range(129)}}, 413), ("PUT", where, {"metadata": {"a" * 256: ""}}, 400),
            ):  # fmt: skip
                assert (await rig.api(method, path, body)).status == status, (method, path)

    on_block_rig(test)
