"""Lists: filters, order, pages, fields."""

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.support.network_rig import NetworkApi, on_network_api


async def names(api: NetworkApi, query: str = "") -> list[str]:
    reply = await api.ask("GET", f"/networks{query}")
    assert reply.status == 200, reply.raw
    return [network["name"] for network in reply.body["networks"]]


async def some(api: NetworkApi) -> list[str]:
    made = []
    for name in "bca":
        made.append((await api.made("networks", "network", name=name, admin_state_up=name != "c"))["id"])
        await asyncio.sleep(1)
    return made


def test_filters_hold_together_and_values_of_one_are_alternatives() -> None:
    async def test(api: NetworkApi) -> None:
        ids = await some(api)
        for query, found in (
            ("?name=a", ["a"]), ("?name=a&name=b", ["b", "a"]), ("?name=a&admin_state_up=False", []), ("?admin_state_up=true", ["b", "a"]),
            (f"?id={ids[1]}", ["c"]), ("?status=ACTIVE&shared=False", ["b", "c", "a"]), ("?status=DOWN", []), ("?mtu=1450", ["b", "c", "a"]),
            ("?router:external=False&project_id=" + "a" * 32, ["b", "c", "a"]), ("?tenant_id=x", []), ("?description=", ["b", "c", "a"]),
            ("?provider:network_type=vxlan", []),
        ):  # fmt: skip
            assert await names(api, query) == found, query

    on_network_api(test)


def test_pages_lead_forward_and_back() -> None:
    async def test(api: NetworkApi) -> None:
        await some(api)
        assert await names(api, "?sort_key=name&sort_dir=desc") == ["c", "b", "a"]
        seen: list[str] = []
        path = "/networks?limit=2&sort_key=name"
        reply = await api.ask("GET", path)
        while True:
            seen += [network["name"] for network in reply.body["networks"]]
            links = {link["rel"]: link["href"] for link in reply.body.get("networks_links", [])}
            if "next" not in links:
                break
            parts = urlsplit(links["next"])
            reply = await api.ask("GET", f"{parts.path.removeprefix('/network/v2.0')}?{parts.query}")
        assert seen == ["a", "b", "c"]
        parts = urlsplit(links["previous"])
        before = await api.ask("GET", f"{parts.path.removeprefix('/network/v2.0')}?{parts.query}")
        assert [network["name"] for network in before.body["networks"]] == ["a", "b"]
        assert {link["rel"] for link in before.body["networks_links"]} == {"next"}
        assert len(await names(api, "?limit=0")) == 3

    on_network_api(test)


def test_some_attributes_are_shown() -> None:
    async def test(api: NetworkApi) -> None:
        await some(api)
        reply = await api.ask("GET", "/networks?fields=id&fields=name&name=a&fields=nothing")
        assert set(reply.body["networks"][0]) == {"id", "name"}

    on_network_api(test)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?odd=1", 400), ("?limit=-1", 400), ("?limit=x", 400), ("?sort_key=odd", 400), ("?sort_key=name&sort_dir=up", 400), ("?sort_key=name&sort_dir=asc&sort_dir=asc", 400),
        ("?admin_state_up=perhaps", 400), ("?mtu=x", 400), ("?marker=nothing", 404), ("?sort_key=availability_zone_hints", 400), ("?sort_key=provider:network_type", 400),
        ("?" + "&".join(["sort_key=name"] * 9), 400), ("?name=%00", 400),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(query: str, status: int) -> None:
    async def test(api: NetworkApi) -> None:
        assert (await api.refused("GET", f"/networks{query}"))[0] == status

    on_network_api(test)
