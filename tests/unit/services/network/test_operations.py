"""How resources are shown."""

from objstore.services.network.operations import constant_filter, time_text
from objstore.services.network.records import Who
from tests.support.network_rig import NetworkApi, on_network_api


def test_resources_have_times_revisions_and_both_names_of_their_project() -> None:
    async def test(api: NetworkApi) -> None:
        network = await api.made("networks", "network", name="n")
        assert network["tenant_id"] == network["project_id"] == "a" * 32
        assert network["created_at"].endswith("Z")
        assert network["revision_number"] == 0

    on_network_api(test)


def test_times_are_whole_seconds_and_constants_match_themselves() -> None:
    assert time_text(1_700_000_000_999_999) == "2023-11-14T22:13:20Z"
    assert str(constant_filter("UP")(Who("a"), ["UP"])) == "true"
    assert str(constant_filter("UP")(Who("a"), ["DOWN"])) == "false"
