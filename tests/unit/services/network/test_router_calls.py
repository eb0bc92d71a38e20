"""Calls on routers are their owners'."""

from tests.support.network_rig import NetworkApi, on_network_api


def test_others_routers_are_not_there_and_readers_change_none() -> None:
    async def test(api: NetworkApi) -> None:
        _, subnet = await api.plain()
        router = await api.made("routers", "router", name="r")
        for call, body in (
            ("add_router_interface", {"subnet_id": subnet["id"]}), ("remove_router_interface", {"subnet_id": subnet["id"]}),
            ("add_extraroutes", {"router": {"routes": []}}), ("remove_extraroutes", {"router": {"routes": []}}),
        ):  # fmt: skip
            path = f"/routers/{router['id']}/{call}"
            assert await api.refused("PUT", path, body, who="bob") == (404, "RouterNotFound")
            assert (await api.refused("PUT", path, body, who="reader"))[0] == 403
            assert (await api.refused("PUT", path, b"[", who="alice"))[0] == 400

    on_network_api(test)
