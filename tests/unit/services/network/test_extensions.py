"""The extensions that are named."""

from tests.support.network_rig import NetworkApi, on_network_api


def test_extensions_are_listed_and_shown_one_by_one() -> None:
    async def test(api: NetworkApi) -> None:
        named = {each["alias"] for each in (await api.ask("GET", "/extensions")).body["extensions"]}
        assert named >= {"router", "security-group", "standard-attr-tag", "quotas"}
        assert not named & {"metering", "qos", "trunk", "dvr", "l3-ha", "stateful-security-group"}
        assert (await api.ask("GET", "/extensions/router")).body["extension"]["alias"] == "router"
        assert await api.refused("GET", "/extensions/qos") == (404, "ExtensionNotFound")

    on_network_api(test)
