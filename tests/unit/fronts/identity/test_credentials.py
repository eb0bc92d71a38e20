"""Keys of S3 and other secrets; what they may and may not become."""

from hashlib import sha256
from typing import Any

import pytest

from tests.support.ec2_requests import signed, signed_s3
from tests.support.identity_rig import Rig, on_rig


async def key_of(rig: Rig, user: str = "joe", project: str = "acme") -> tuple[str, str, dict[str, Any]]:
    """A token, the user's id, and a key made with it."""
    reply = await rig.login(user)
    id_ = reply.body["token"]["user"]["id"]
    made = await rig.ask("POST", f"/users/{id_}/credentials/OS-EC2", {"tenant_id": project}, token=reply.token)
    assert made.status == 201, made.raw
    return reply.token, id_, made.body["credential"]


def test_a_key_of_ones_own_lives() -> None:
    async def test(rig: Rig) -> None:
        token, user, key = await key_of(rig)
        base = f"/users/{user}/credentials/OS-EC2"
        assert (key["tenant_id"], key["user_id"], key["trust_id"]) == ("acme", user, None)
        assert (await rig.ask("GET", base, token=token)).body["credentials"] == [key]
        assert (await rig.ask("GET", f"{base}/{key['access']}", token=token)).body["credential"] == key
        listed = (await rig.ask("GET", "/credentials?type=ec2", token=token)).body["credentials"]
        assert [entry["id"] for entry in listed] == [sha256(key["access"].encode()).hexdigest()]
        assert (await rig.ask("DELETE", f"{base}/{key['access']}", token=token)).status == 204
        assert (await rig.ask("DELETE", f"{base}/{key['access']}", token=token)).status == 404

    on_rig(test)


def test_a_key_is_for_a_project_on_which_its_user_has_a_role_and_for_nobody_else() -> None:
    async def test(rig: Rig) -> None:
        token, user, key = await key_of(rig)
        root_reply = await rig.login()
        root, root_id = root_reply.token, root_reply.body["token"]["user"]["id"]
        for path, body, status in (
            (f"/users/{user}/credentials/OS-EC2", {"tenant_id": "admin"}, 403),
            (f"/users/{user}/credentials/OS-EC2", {"tenant_id": "gone"}, 404),
            (f"/users/{user}/credentials/OS-EC2", {}, 400),
            (f"/users/{root_id}/credentials/OS-EC2", {"tenant_id": "acme"}, 403),
        ):
            assert (await rig.ask("POST", path, body, token=token)).status == status
        early = (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "admin"}, token=root)).body["credential"]
        credential = rig.registry.key(early["access"])
        assert credential is not None
        assert rig.registry.key_access(credential) is None
        assert (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "acme"}, token=root)).status == 201
        made = (await rig.ask("POST", f"/users/{root_id}/credentials/OS-EC2", {"tenant_id": "admin"}, token=root)).body["credential"]
        id_ = sha256(made["access"].encode()).hexdigest()
        for method in ("GET", "PATCH", "DELETE"):
            assert (await rig.ask(method, f"/credentials/{id_}", {"credential": {}}, token=token)).status == 403
        assert (await rig.ask("GET", f"/users/{root_id}/credentials/OS-EC2/{made['access']}", token=token)).status == 403
        assert len((await rig.ask("GET", "/credentials", token=token)).body["credentials"]) == 3
        assert key["secret"] not in str((await rig.ask("GET", "/users", token=root)).body)

    on_rig(test)


def test_other_secrets_are_kept_sealed() -> None:
    async def test(rig: Rig) -> None:
        token = (await rig.login("joe")).token
        made = await rig.made(token, "/credentials", "credential", type="cert", blob="a secret text")
        path = f"/credentials/{made['id']}"
        assert (await rig.ask("PATCH", path, {"credential": {"blob": {"a": 1}}}, token=token)).body["credential"]["blob"] == '{"a":1}'
        for change in ({"user_id": "x"}, {"project_id": "acme"}, {"type": "ec2"}):
            assert (await rig.ask("PATCH", path, {"credential": change}, token=token)).status == 403
        assert (await rig.ask("DELETE", path, token=token)).status == 204
        assert (await rig.ask("GET", path, token=await rig.admin())).status == 404

    on_rig(test)


@pytest.mark.parametrize(
    "blob",
    ["", "x", "[]", '{"access": "abc"}', '{"access": "abc", "secret": "12345678", "app_cred_id": "x"}', '{"access": "a b", "secret": "12345678"}',
     '{"access": "abc", "secret": "short"}', '{"access": "abc", "secret": "12345678", "trust_id": "t"}', '{"access": 1, "secret": "12345678"}', 7],
)  # fmt: skip
def test_what_a_key_may_not_say_of_itself(blob: Any) -> None:
    async def test(rig: Rig) -> None:
        token = (await rig.login("joe")).token
        body = {"credential": {"type": "ec2", "blob": blob, "project_id": "acme"}}
        assert (await rig.ask("POST", "/credentials", body, token=token)).status == 400
        good = '{"access": "abc", "secret": "12345678"}'
        assert (await rig.ask("POST", "/credentials", {"credential": {"type": "ec2", "blob": good}}, token=token)).status == 400
        made = await rig.made(token, "/credentials", "credential", type="ec2", blob=good, project_id="acme")
        assert (
            await rig.ask("POST", "/credentials", {"credential": {"type": "ec2", "blob": good, "project_id": "acme"}}, token=token)
        ).status == 409
        path = f"/credentials/{made['id']}"
        for change, status in (
            ({"blob": '{"access": "abc", "secret": "87654321"}'}, 200),
            ({"blob": '{"access": "abd", "secret": "87654321"}'}, 403),
            ({"project_id": "admin"}, 403),
            ({"user_id": "other"}, 403),
        ):
            assert (await rig.ask("PATCH", path, {"credential": change}, token=token)).status == status
        key = rig.registry.key("abc")
        assert key is not None
        assert rig.registry.secret_of(key) == "87654321"

    on_rig(test)


# -- signatures -----------------------------------------------------------------------------------------------------


def test_services_learn_who_signed_and_nobody_else_does() -> None:
    async def test(rig: Rig) -> None:
        token, user, key = await key_of(rig)
        root = await rig.admin()
        for path, asked in (("/ec2tokens", signed(rig, key)), ("/s3tokens", signed_s3(rig, key))):
            for who, status in (("", 401), (token, 403), (root, 200)):
                reply = await rig.ask("POST", path, {"credentials": asked}, token=who)
                assert reply.status == status, (path, who)
            assert reply.body["token"]["project"]["id"] == "acme"
            assert reply.body["token"]["user"]["id"] == user
            assert [role["name"] for role in reply.body["token"]["roles"]] == ["manager", "member", "reader"]
            assert ("x-subject-token" in reply.headers) == (path == "/ec2tokens")
            wrong = {**asked, "signature": asked["signature"][::-1]}
            assert (await rig.ask("POST", path, {"credentials": wrong}, token=root)).status == 401
            assert (await rig.ask("POST", path, {"credentials": {**asked, "access": "x"}}, token=root)).status == 401
            for bad in ({}, {"credentials": []}, {"credentials": {"access": 1, "signature": "x"}}, {"credentials": {"access": "x"}}):
                assert (await rig.ask("POST", path, bad, token=root)).status == 400
        assert (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key, late_s=1000)}, token=root)).status == 401
        assert (await rig.ask("POST", "/ec2tokens", {"ec2Credentials": signed(rig, key)}, token=root)).status == 200

    on_rig(test)


def test_a_token_of_a_key_is_for_its_project_makes_nothing_and_goes_with_it() -> None:
    async def test(rig: Rig) -> None:
        token, user, key = await key_of(rig)
        root = await rig.admin()
        mine = (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key)}, token=root)).token
        assert (await rig.ask("GET", "/auth/projects", token=mine)).status == 200
        for scope in ({"project": {"id": "acme"}}, "unscoped", None):
            auth: dict[str, Any] = {"identity": {"methods": ["token"], "token": {"id": mine}}}
            if scope is not None:
                auth["scope"] = scope
            assert (await rig.ask("POST", "/auth/tokens", {"auth": auth})).status == 403
        assert (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "acme"}, token=mine)).status == 403
        body = {"application_credential": {"name": "x"}}
        assert (await rig.ask("POST", f"/users/{user}/application_credentials", body, token=mine)).status == 403
        assert (await rig.ask("DELETE", f"/users/{user}/credentials/OS-EC2/{key['access']}", token=token)).status == 204
        assert (await rig.ask("GET", "/auth/projects", token=mine)).status == 401

    on_rig(test)
