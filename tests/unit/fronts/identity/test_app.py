"""The application: versions, routes, bodies, errors."""

import msgspec
import pytest

from objstore.errors import QuorumLost
from objstore.fronts.identity.app import MAX_BODY_BYTES, ROUTES, Routes, parse_body
from objstore.fronts.identity.errors import IdentityProblem
from tests.support.identity_rig import URL, Rig, on_rig


def test_versions_are_told_without_a_token() -> None:
    async def test(rig: Rig) -> None:
        for prefix in ("", "/identity"):
            reply = await rig.ask("GET", "/", prefix=prefix)
            assert reply.status == 300
            assert reply.body["versions"]["values"][0]["id"] == "v3.14"
            for path in ("/v3", "/v3/"):
                reply = await rig.ask("GET", path, prefix=prefix)
                assert reply.status == 200
                assert reply.body["version"]["links"] == [{"rel": "self", "href": f"{URL}/v3/"}]
        assert (await rig.ask("POST", "/v3", prefix="")).status == 405
        assert (await rig.ask("DELETE", "/", prefix="")).status == 405
        assert (await rig.ask("GET", "/v2.0", prefix="")).status == 404

    on_rig(test)


def test_every_call_but_two_needs_a_token_and_answers_401_in_json() -> None:
    async def test(rig: Rig) -> None:
        for method, template in ROUTES:
            if (method, template) in (("POST", "/auth/tokens"), ("POST", "/users/{user_id}/password")):
                continue
            for token in ("", "junk"):
                reply = await rig.ask(method, template.replace("{", "").replace("}", ""), {}, token=token)
                assert reply.status == 401, (method, template)
                assert reply.body["error"]["title"] == "Unauthorized"
                assert reply.headers["www-authenticate"] == f'Keystone uri="{URL}"'

    on_rig(test)


@pytest.mark.parametrize("path", ["/nothing", "/users/a/b/c/d", "/" + "a/" * 50, "/users//x"])
def test_what_is_not_there_is_404_in_json(path: str) -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.ask("GET", path, token=await rig.admin())
        assert reply.status == 404
        assert reply.body["error"]["code"] == 404

    on_rig(test)


def test_other_methods_are_405_with_those_that_are_there() -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.ask("PUT", "/auth/tokens", {})
        assert reply.status == 405
        assert reply.headers["allow"] == "POST, GET, DELETE"

    on_rig(test)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"1", b'"x"', b"\xff", b'{"auth": NaN}', b"[" * 100_000, b'{"a":' * 30 + b"1" + b"}" * 30, b'{"a": "\\ud800"}', b'{"a": 1e999}',
     b'{"a": 99999999999999999999999999}'],
)  # fmt: skip
def test_a_body_that_is_no_small_object_of_json_is_400(body: bytes) -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.ask("POST", "/auth/tokens", body)
        assert reply.status == 400, reply.raw
        assert reply.body["error"]["title"] == "Bad Request"

    on_rig(test)


def test_bodies_and_queries_have_limits() -> None:
    async def test(rig: Rig) -> None:
        assert (await rig.ask("POST", "/auth/tokens", b" " * (MAX_BODY_BYTES + 1))).status == 413
        assert (await rig.ask("POST", "/auth/tokens", b"", headers={"content-length": "999999999"})).status == 413
        assert (await rig.ask("POST", "/auth/tokens?" + "a=1&" * 200, {})).status == 400
        assert (await rig.ask("POST", "/auth/tokens?a=%ff", {})).status == 400
        assert (await rig.ask("GET", "/users/%ff", token="x")).status == 400

    on_rig(test)


def test_depth_is_counted_outside_of_texts_only() -> None:
    assert parse_body(b'{"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\"[[[[["}') == {"a": "[" * 30 + '"' + "[" * 5}
    assert parse_body(b" ") == {}
    with pytest.raises(IdentityProblem):
        parse_body(b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}")


def test_two_tokens_in_one_request_are_refused() -> None:
    async def test(rig: Rig) -> None:
        token = await rig.admin()
        reply = await rig.ask("GET", "/auth/projects", token=token, headers={"X-Auth-Token": token})
        assert reply.status == 400

    on_rig(test)


def test_routes_prefer_words_to_parameters() -> None:
    async def handler(_: object) -> object:
        return None

    routes = Routes({("GET", "/a/{id}"): ("one", handler), ("GET", "/a/b"): ("two", handler), ("GET", "/a/{id}/c"): ("three", handler)})  # type: ignore[dict-item]
    for path, action, values in (("a/b", "two", []), ("a/x", "one", ["x"]), ("a/b/c", "three", ["b"]), ("a/{}", "one", ["{}"])):
        found = routes.find(path.split("/"))
        assert found is not None
        assert (found[0]["GET"][1], found[1]) == (action, values)
    assert routes.find(["a"]) is None
    assert routes.find([""]) is None


def test_an_outage_is_503_and_says_nothing_else() -> None:
    async def test(rig: Rig) -> None:
        token = await rig.admin()

        async def fails() -> None:
            raise QuorumLost("node3 and node4 are down")

        rig.registry.feed.catch_up = fails  # type: ignore[method-assign]
        reply = await rig.ask("GET", "/auth/projects", token=token)
        assert reply.status == 503
        assert b"node3" not in reply.raw
        assert (await rig.ask("GET", "/auth/tokens", token=token, headers={"x-subject-token": token})).status == 200

    on_rig(test)


def test_answers_are_json_that_nobody_sniffs() -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.login()
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-length"] == str(len(reply.raw))
        assert msgspec.json.decode(reply.raw)

    on_rig(test)
