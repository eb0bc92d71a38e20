"""Calls on quotas."""

from tests.support.network_rig import ALICE, BOB, NetworkApi, on_network_api


def test_quotas_are_the_administrators_to_change_and_the_projects_to_read() -> None:
    async def test(api: NetworkApi) -> None:
        one = f"/quotas/{ALICE}"
        assert (await api.ask("GET", one)).body["quota"]["network"] == 100
        assert (await api.refused("PUT", one, {"quota": {"network": 1}}))[0] == 403
        assert (await api.refused("GET", f"/quotas/{BOB}"))[0] == 403
        assert (await api.refused("GET", "/quotas"))[0] == 403
        changed = await api.ask("PUT", one, {"quota": {"network": 1, "port": -1}}, who="admin")
        assert (changed.body["quota"]["network"], changed.body["quota"]["port"]) == (1, -1)
        await api.plain()
        assert await api.refused("POST", "/networks", {"network": {}}) == (409, "OverQuota")
        details = (await api.ask("GET", f"{one}/details")).body["quota"]
        assert details["network"] == {"limit": 1, "used": 1, "reserved": 0}
        assert (await api.ask("GET", f"{one}/default")).body["quota"]["network"] == 100
        low = {"quota": {"network": 0, "check_limit": True}}
        assert await api.refused("PUT", one, low, who="admin") == (400, "InvalidQuotaValue")
        assert [each["project_id"] for each in (await api.ask("GET", "/quotas", who="admin")).body["quotas"]] == [ALICE]
        for wrong in ({"network": -2}, {"network": "x"}, {"nothing": 1}, 5):
            assert (await api.refused("PUT", one, {"quota": wrong}, who="admin"))[0] == 400
        assert (await api.ask("DELETE", one, who="admin")).status == 204
        assert await api.refused("DELETE", one, who="admin") == (404, "TenantQuotaNotFound")
        assert (await api.ask("GET", "/quotas/tenant")).body == {"tenant": {"tenant_id": ALICE}}

    on_network_api(test)
