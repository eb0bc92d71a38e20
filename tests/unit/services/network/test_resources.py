"""What all resources have: many at once, revisions, tags, and bodies that are none."""

import pytest

from tests.support.network_rig import NetworkApi, on_network_api


def test_a_list_is_made_whole_or_not_at_all() -> None:
    async def test(api: NetworkApi) -> None:
        made = await api.ask("POST", "/networks", {"networks": [{"name": "a", "tags": ["x"]}, {"name": "b"}]})
        assert made.status == 201
        assert [(network["name"], network["tags"]) for network in made.body["networks"]] == [("a", ["x"]), ("b", [])]
        broken = {"networks": [{"name": "c"}, {"name": "d", "mtu": 9000}]}
        assert (await api.refused("POST", "/networks", broken))[0] == 400
        too_many = {"networks": [{"name": str(at)} for at in range(4)]}
        assert await api.refused("POST", "/networks", too_many) == (409, "OverQuota")
        assert len((await api.ask("GET", "/networks")).body["networks"]) == 2
        assert (await api.refused("POST", "/networks", {"networks": [{}] * 101}))[0] == 400

    on_network_api(test, quota_network=5)


def test_a_change_of_a_known_revision_only() -> None:
    async def test(api: NetworkApi) -> None:
        network = await api.made("networks", "network", name="n")
        one = f"/networks/{network['id']}"
        assert network["revision_number"] == 0
        changed = await api.ask("PUT", one, {"network": {"name": "m"}}, if_match="revision_number=0")
        assert changed.body["network"]["revision_number"] == 1
        stale = await api.refused("PUT", one, {"network": {"name": "o"}}, if_match="revision_number=0")
        assert stale == (412, "RevisionNumberConstraintFailed")
        assert (await api.refused("DELETE", one, if_match="revision_number=0"))[0] == 412
        assert (await api.refused("DELETE", one, if_match="x"))[0] == 400
        assert (await api.ask("DELETE", one, if_match="revision_number=1")).status == 204

    on_network_api(test)


def test_tags_are_put_looked_for_and_taken_away() -> None:
    async def test(api: NetworkApi) -> None:
        network = await api.made("networks", "network", name="n")
        one = f"/networks/{network['id']}/tags"
        assert (await api.ask("PUT", one, {"tags": ["b", "a", "a"]})).body == {"tags": ["a", "b"]}
        assert (await api.ask("POST", one, {"tags": ["c"]})).body == {"tags": ["a", "b", "c"]}
        assert (await api.ask("PUT", f"{one}/d")).status == 201
        assert (await api.ask("GET", f"{one}/d")).status == 204
        assert (await api.ask("DELETE", f"{one}/d")).status == 204
        assert await api.refused("GET", f"{one}/d") == (404, "TagNotFound")
        assert await api.refused("DELETE", f"{one}/d") == (404, "TagNotFound")
        assert (await api.ask("GET", one, who="reader")).body == {"tags": ["a", "b", "c"]}
        assert (await api.refused("PUT", f"{one}/e", who="reader"))[0] == 403
        assert (await api.refused("PUT", f"{one}/e", who="bob"))[0] == 404
        for wrong in ({"tags": "a"}, {"tags": [1]}, {"tags": ["a" * 256]}, {"tags": [str(at) for at in range(51)]}, {"tags": ["a,b"]}, {}):
            assert (await api.refused("PUT", one, wrong))[0] == 400
        for query, count in (("tags=a,b", 1), ("tags=a,x", 0), ("tags-any=a,x", 1), ("not-tags=a,b", 0), ("not-tags-any=x", 1)):
            assert len((await api.ask("GET", f"/networks?{query}")).body["networks"]) == count, query
        assert (await api.ask("DELETE", one)).status == 204
        assert (await api.ask("GET", f"/networks/{network['id']}")).body["network"]["tags"] == []

    on_network_api(test)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b'{"network": 5}',
        b'{"networks": {}}',
        b'{"network": {"name": "\\u0000"}}',
        b"[" * 5000,
        b'{"network": {"x": 1e999}}',
    ],
)
def test_bodies_that_are_none_are_refused(body: bytes) -> None:
    async def test(api: NetworkApi) -> None:
        assert (await api.refused("POST", "/networks", body))[0] == 400
        assert (await api.refused("PUT", "/networks/x", body))[0] in (400, 404)

    on_network_api(test)
