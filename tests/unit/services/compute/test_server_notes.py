"""Metadata and tags."""

from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_metadata_is_added_replaced_and_removed() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(metadata={"a": "1"})
        path = f"/servers/{id_}/metadata"
        assert (await rig.ask("GET", path)).body == {"metadata": {"a": "1"}}
        assert (await rig.ask("POST", path, {"metadata": {"b": "2"}})).body == {"metadata": {"a": "1", "b": "2"}}
        assert (await rig.ask("PUT", path, {"metadata": {"c": "3"}})).body == {"metadata": {"c": "3"}}
        assert (await rig.ask("PUT", f"{path}/d", {"meta": {"d": "4"}})).body == {"meta": {"d": "4"}}
        assert (await rig.ask("GET", f"{path}/d")).body == {"meta": {"d": "4"}}
        assert (await rig.ask("DELETE", f"{path}/d")).status == 204
        for method, where, body, status in (
            ("GET", "/d", None, 404), ("DELETE", "/d", None, 404), ("PUT", "/d", {"meta": {"e": "x"}}, 400), ("PUT", "/d", {"meta": {}}, 400),
            ("PUT", "", {"metadata": {"a": 1}}, 400), ("POST", "", {}, 400), ("POST", "", {"metadata": {"": "x"}}, 400),
            ("POST", "", {"metadata": {str(n): "" for n in range(6)}}, 403), ("PUT", "", {"metadata": None}, 400),
        ):  # fmt: skip
            assert (await rig.ask(method, path + where, body)).status == status, (method, where, body)
        assert (await rig.ask("GET", path)).body == {"metadata": {"c": "3"}}

    on_compute_rig(test)


def test_tags_come_with_their_version() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        path = f"/servers/{id_}/tags"
        assert (await rig.ask("GET", path, version="2.25")).status == 404
        assert (await rig.ask("PUT", f"{path}/red", version="2.26")).status == 201
        assert (await rig.ask("PUT", f"{path}/red", version="2.26")).status == 204
        assert (await rig.ask("GET", f"{path}/red", version="2.26")).status == 204
        assert (await rig.ask("GET", f"{path}/blue", version="2.26")).status == 404
        assert (await rig.ask("PUT", path, {"tags": ["b", "a"]}, version="2.26")).body == {"tags": ["a", "b"]}
        assert (await rig.ask("GET", path, version="2.26")).body == {"tags": ["a", "b"]}
        assert (await rig.ask("PUT", path, {"tags": [str(n) for n in range(50)]}, version="2.26")).status == 200
        assert (await rig.ask("PUT", f"{path}/more", version="2.26")).status == 400
        for tag in ("a,b", "x" * 61):
            assert (await rig.ask("PUT", f"{path}/{tag}", version="2.26")).status == 400
        assert (await rig.ask("DELETE", f"{path}/1", version="2.26")).status == 204
        assert (await rig.ask("DELETE", f"{path}/1", version="2.26")).status == 404
        assert (await rig.ask("DELETE", path, version="2.26")).status == 204
        assert (await rig.ask("GET", path, version="2.26")).body == {"tags": []}

    on_compute_rig(test)
