"""Tokens over HTTP: asking, looking at, voiding."""

from typing import Any

import msgspec
import pytest

from objstore.errors import QuorumLost
from objstore.identity import registry
from objstore.identity.tenancy import Person, Project, Revocation
from tests.support.identity_rig import PASSWORD, URL, Rig, on_rig
from tests.support.memory_cluster import MemoryCluster


def password_of(name: str, password: str = PASSWORD) -> dict[str, Any]:
    return {"methods": ["password"], "password": {"user": {"name": name, "domain": {"name": "Default"}, "password": password}}}


def test_a_password_gives_a_token_for_the_default_project_with_a_catalog() -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.login("joe")
        assert reply.status == 201
        token = reply.body["token"]
        assert token["methods"] == ["password"]
        assert token["user"]["name"] == "joe"
        assert token["user"]["domain"] == {"id": "default", "name": "Default"}
        assert token["user"]["password_expires_at"] is None
        assert token["project"] == {"id": "acme", "name": "acme", "domain": {"id": "default", "name": "Default"}}
        assert token["is_domain"] is False
        assert [role["name"] for role in token["roles"]] == ["manager", "member", "reader"]
        assert token["expires_at"] > token["issued_at"]
        assert len(token["audit_ids"]) == 1
        urls = {service["type"]: service["endpoints"][0]["url"] for service in token["catalog"]}
        assert urls == {"identity": f"{URL}/v3", "object-store": "http://s3.test/v1/AUTH_acme"}
        shown = await rig.ask("GET", "/auth/tokens", token=reply.token, headers={"x-subject-token": reply.token})
        assert shown.body == reply.body
        assert (
            "catalog"
            not in (await rig.ask("GET", "/auth/tokens?nocatalog", token=reply.token, headers={"x-subject-token": reply.token})).body[
                "token"
            ]
        )
        assert (await rig.ask("HEAD", "/auth/tokens", token=reply.token, headers={"x-subject-token": reply.token})).raw == b""
        assert (await rig.ask("GET", "/auth/catalog", token=reply.token)).body["catalog"] == token["catalog"]

    on_rig(test)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("unscoped", None),
        ({"unscoped": {}}, None),
        ({"system": {"all": True}}, "system"),
        ({"domain": {"id": "default"}}, "domain"),
        ({"domain": {"name": "Default"}}, "domain"),
        ({"project": {"name": "admin", "domain": {"id": "default"}}}, "project"),
        ({"project": {"id": "admin"}}, "project"),
    ],
)
def test_scopes(scope: Any, key: str | None) -> None:
    async def test(rig: Rig) -> None:
        token = (await rig.login(scope=scope)).body["token"]
        assert ({"system", "domain", "project"} & set(token)) == ({key} if key else set())
        assert ("roles" in token) == ("catalog" in token) == bool(key)
        if key == "system":
            assert {service["type"]: len(service["endpoints"]) for service in token["catalog"]} == {"identity": 3, "object-store": 0}

    on_rig(test)


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        ({}, 400),
        ({"identity": {}}, 400),
        ({"identity": {"methods": []}}, 400),
        ({"identity": {"methods": "password"}}, 400),
        ({"identity": {"methods": [1]}}, 400),
        ({"identity": {"methods": ["password"]}}, 400),
        ({"identity": {"methods": ["password"], "password": {"user": []}}}, 400),
        ({"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}, 400),
        ({"identity": {"methods": ["password"], "password": {"user": {"name": "joe", "password": "x"}}}}, 400),
        ({"identity": {"methods": ["password"], "password": {"user": {"name": "joe", "domain": {}, "password": "x"}}}}, 400),
        ({"identity": {"methods": ["password"], "password": {"user": {"id": 7, "password": "x"}}}}, 400),
        ({"identity": {"methods": ["kerberos"]}}, 401),
        ({"identity": {"methods": ["external"], "external": {}}}, 401),
        ({"identity": password_of("joe", "wrong")}, 401),
        ({"identity": password_of("nobody")}, 401),
        ({"identity": {"methods": ["token"], "token": {"id": "x"}}}, 404),
        ({"identity": password_of("joe"), "scope": {"project": {"id": "admin"}}}, 401),
        ({"identity": password_of("joe"), "scope": {"project": {"id": "nothing"}}}, 401),
        ({"identity": password_of("joe"), "scope": {"project": {"name": "acme"}}}, 400),
        ({"identity": password_of("joe"), "scope": {"project": {}}}, 400),
        ({"identity": password_of("joe"), "scope": {"domain": {"id": "default"}}}, 401),
        ({"identity": password_of("joe"), "scope": {"system": {"all": True}}}, 401),
        ({"identity": password_of("joe"), "scope": {"system": {"all": 1}}}, 400),
        ({"identity": password_of("joe"), "scope": {"galaxy": {}}}, 400),
        ({"identity": password_of("joe"), "scope": {}}, 400),
        ({"identity": password_of("joe"), "scope": []}, 400),
        ({"identity": password_of("joe"), "scope": {"OS-TRUST:trust": {"id": "x"}}}, 403),
    ],
)
def test_refusals(auth: Any, status: int) -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.ask("POST", "/auth/tokens", {"auth": auth})
        assert reply.status == status, reply.raw
        assert reply.body["error"]["code"] == status
        assert set(reply.body["error"]) == {"code", "message", "title"}
        assert "x-subject-token" not in reply.headers

    on_rig(test)


def test_nothing_tells_a_wrong_password_from_a_user_who_is_not_there_is_off_or_is_locked() -> None:
    async def test(rig: Rig) -> None:
        joe = rig.registry.user_named("joe", "default")
        assert joe is not None
        answers = [await rig.login("joe", "wrong"), await rig.login("nobody"), await rig.login("joe", domain="nowhere")]
        for _ in range(3):
            answers.append(await rig.login("joe", "wrong"))
        answers.append(await rig.login("joe"))  # locked by now
        await rig.registry.change(joe, lambda u: msgspec.structs.replace(u, enabled=False))
        answers.append(await rig.login("joe"))
        assert {(answer.status, answer.raw) for answer in answers} == {(401, answers[0].raw)}

    on_rig(test, lockout_failures=3)


def test_a_token_for_a_token_ends_when_the_first_does_and_names_its_line() -> None:
    async def test(rig: Rig) -> None:
        first = await rig.login("joe")
        rig.clock.skew_us += 60_000_000
        auth = {"identity": {"methods": ["token"], "token": {"id": first.token}}, "scope": {"project": {"id": "acme"}}}
        second = await rig.ask("POST", "/auth/tokens", {"auth": auth})
        assert second.body["token"]["expires_at"] == first.body["token"]["expires_at"]
        assert second.body["token"]["audit_ids"][1:] == first.body["token"]["audit_ids"]
        assert second.body["token"]["methods"] == ["password", "token"]

    on_rig(test)


def test_a_voided_token_is_void_everywhere_and_no_other_is() -> None:
    async def test(rig: Rig) -> None:
        mine, other = (await rig.login("joe")).token, (await rig.login("joe")).token
        assert (await rig.ask("DELETE", "/auth/tokens", token=mine, headers={"x-subject-token": mine})).status == 204
        assert (await rig.ask("GET", "/auth/projects", token=mine)).status == 401
        assert (await rig.ask("GET", "/auth/projects", token=other)).status == 200
        root = await rig.admin()
        assert (await rig.ask("GET", "/auth/tokens", token=root, headers={"x-subject-token": mine})).status == 404
        assert (await rig.ask("DELETE", "/auth/tokens", token=other, headers={"x-subject-token": root})).status == 403
        assert (await rig.ask("GET", "/auth/tokens", token=other, headers={"x-subject-token": root})).status == 403
        assert (await rig.ask("GET", "/auth/tokens", token=other, headers={"x-subject-token": "junk"})).status == 404
        assert (await rig.ask("DELETE", "/auth/tokens", token=root, headers={"x-subject-token": other})).status == 204
        assert (await rig.ask("GET", "/auth/tokens", token=root)).status == 400

    on_rig(test)


def test_an_expired_token_is_shown_to_services_that_ask_for_it_for_a_while() -> None:
    async def test(rig: Rig) -> None:
        old = (await rig.login("joe")).token
        rig.clock.skew_us += 2 * 3_600_000_000
        root, own = await rig.admin(), (await rig.login("joe")).token
        assert (await rig.ask("GET", "/auth/tokens", token=old, headers={"x-subject-token": old})).status == 401
        assert (await rig.ask("GET", "/auth/tokens", token=root, headers={"x-subject-token": old})).status == 404
        assert (await rig.ask("GET", "/auth/tokens?allow_expired=1", token=root, headers={"x-subject-token": old})).status == 200
        assert (await rig.ask("GET", "/auth/tokens?allow_expired=1", token=own, headers={"x-subject-token": old})).status == 404
        rig.clock.skew_us += 3 * 86_400_000_000
        root = await rig.admin()
        assert (await rig.ask("GET", "/auth/tokens?allow_expired=1", token=root, headers={"x-subject-token": old})).status == 404

    on_rig(test)


def test_a_voided_token_stays_void_when_it_has_expired() -> None:
    async def test(rig: Rig) -> None:
        old, other = (await rig.login("joe")).token, (await rig.login("joe")).token
        assert (await rig.ask("DELETE", "/auth/tokens", token=old, headers={"x-subject-token": old})).status == 204
        rig.clock.skew_us += 2 * 3_600_000_000
        await rig.registry.sweep(rig.settings.expired_token_s)
        root = await rig.admin()
        for token, status in ((other, 200), (old, 404)):
            asked = await rig.ask("GET", "/auth/tokens?allow_expired=1", token=root, headers={"x-subject-token": token})
            assert asked.status == status

    on_rig(test)


@pytest.mark.parametrize("change", [{"password": "new one"}, {"enabled": False}])
def test_a_password_that_was_changed_while_it_was_checked_gives_no_token(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        jane = await rig.made(root, "/users", "user", name="jane", password="old one")
        check = rig.passwords.check

        async def slow(who: str, *args: Any, **more: Any) -> bool:
            right = await check(who, *args, **more)
            if who == jane["id"]:
                assert (await rig.ask("PATCH", f"/users/{jane['id']}", {"user": change}, token=root)).status == 200
                assert (await rig.ask("PATCH", f"/users/{jane['id']}", {"user": {"enabled": True}}, token=root)).status == 200
            return right

        monkeypatch.setattr(rig.passwords, "check", slow)
        assert (await rig.login("jane", "old one", scope="unscoped")).status == 401

    on_rig(test)


def test_tokens_end_with_a_password_though_clocks_differ() -> None:
    async def test(rig: Rig) -> None:
        ahead = Rig(MemoryCluster(rig.cluster.registers, proxy_id=2))
        ahead.clock.skew_us = 5_000_000
        root = await rig.admin()
        jane = await rig.made(root, "/users", "user", name="jane", password="old one")
        path = f"/users/{jane['id']}"
        key = (await rig.ask("POST", f"{path}/credentials/OS-EC2", {"tenant_id": "acme"}, token=root)).body["credential"]["access"]
        reader = rig.registry.role_named("reader")
        assert reader is not None
        await rig.ask("PUT", f"/projects/acme{path}/roles/{reader.id}", token=root)
        old = (await ahead.login("jane", "old one", project="acme")).token
        assert (await rig.ask("GET", path, token=old)).status == 200
        assert (await rig.ask("PATCH", path, {"user": {"password": "new one"}}, token=root)).status == 200
        assert (await rig.ask("GET", path, token=old)).status == 401  # issued later by its clock than the change by the other's
        assert (await ahead.ask("PATCH", path, {"user": {"password": "newer one"}}, token=root)).status == 200
        fresh = await rig.login("jane", "newer one", project="acme")
        assert fresh.status == 201
        credential = rig.registry.key(key)
        assert credential is not None
        assert rig.registry.key_access(credential) is not None
        await ahead.registry.aclose()

    on_rig(test)


def test_whose_tokens_are_voided_one_by_one_without_end_loses_them_all_and_is_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_MARKS", 3)

    async def test(rig: Rig) -> None:
        kept, root = (await rig.login("joe")).token, await rig.admin()
        marks = []
        for _ in range(5):
            token = (await rig.login("joe")).token
            assert (await rig.ask("DELETE", "/auth/tokens", token=token, headers={"x-subject-token": token})).status == 204
            assert (await rig.ask("GET", "/auth/projects", token=token)).status == 401
            marks.append(len(rig.registry.all(Revocation)))
        assert marks == [1, 2, 3, 3, 3]
        assert (await rig.ask("GET", "/auth/projects", token=kept)).status == 401
        assert (await rig.ask("GET", "/auth/projects", token=root)).status == 200
        assert await rig.registry.sweep(rig.settings.expired_token_s) == 3
        assert (await rig.login("joe")).status == 201

    on_rig(test)


def test_a_token_is_void_everywhere_though_its_mark_could_not_be_told_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        other = Rig(MemoryCluster(rig.cluster.registers, proxy_id=2))
        token = (await rig.login("joe")).token

        async def cut(*_: Any) -> None:
            raise QuorumLost("the journal cannot be written")

        with monkeypatch.context() as patch:
            patch.setattr(rig.registry.feed, "announce", cut)
            assert (await rig.ask("DELETE", "/auth/tokens", token=token, headers={"x-subject-token": token})).status == 503
        assert (await rig.ask("DELETE", "/auth/tokens", token=token, headers={"x-subject-token": token})).status == 204
        for process in (rig, other):
            assert (await process.ask("GET", "/auth/projects", token=token)).status == 401
        await other.registry.aclose()

    on_rig(test)


def test_where_a_user_could_go() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin("unscoped"), (await rig.login("joe", scope="unscoped")).token
        assert [p["id"] for p in (await rig.ask("GET", "/auth/projects", token=joe)).body["projects"]] == ["acme"]
        assert (await rig.ask("GET", "/auth/domains", token=joe)).body["domains"] == []
        assert (await rig.ask("GET", "/auth/system", token=joe)).body["system"] == []
        assert [d["id"] for d in (await rig.ask("GET", "/auth/domains", token=root)).body["domains"]] == ["default"]
        assert (await rig.ask("GET", "/auth/system", token=root)).body["system"] == [{"all": True}]
        assert (await rig.ask("GET", "/auth/catalog", token=root)).status == 403

    on_rig(test)


def test_a_disabled_project_and_an_expired_password_let_nobody_in() -> None:
    async def test(rig: Rig) -> None:
        project, joe = rig.registry.get(Project, "acme"), rig.registry.user_named("joe", "default")
        assert project is not None
        assert isinstance(joe, Person)
        await rig.registry.change(project, lambda p: msgspec.structs.replace(p, enabled=False))
        assert (await rig.login("joe", project="acme")).status == 401
        assert "project" not in (await rig.login("joe")).body["token"]
        await rig.registry.change(joe, lambda u: msgspec.structs.replace(u, password_expires_us=1))
        reply = await rig.login("joe")
        assert reply.status == 401
        assert "expired" in reply.message
        assert "expired" not in (await rig.login("joe", "wrong")).message

    on_rig(test)


def test_a_token_that_another_process_made_a_moment_ago_is_known() -> None:
    async def test(rig: Rig) -> None:
        other = Rig(rig.cluster)
        service = (await other.login()).token
        assert (await other.ask("GET", "/auth/projects", token=service)).status == 200
        await rig.made(await rig.admin(), "/users", "user", name="new", password="pw")
        await rig.registry.rotate_token_keys()
        fresh = (await rig.login("new", "pw")).token
        reply = await other.ask("GET", "/auth/tokens", token=service, headers={"x-subject-token": fresh})
        assert (reply.status, reply.body["token"]["user"]["name"]) == (200, "new")
        await other.registry.aclose()

    on_rig(test)
