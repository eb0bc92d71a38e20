"""More than one method for one token, as Keystone has it: rules, receipts, passcodes."""

import asyncio
from typing import Any

import pytest

from objstore.fronts.identity.second_factor import RECEIPT_S, suffices
from objstore.identity.passcodes import STEP_S, passcode, secret_of
from objstore.identity.tenancy import Person
from tests.support.identity_rig import Reply, Rig, on_rig

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
BOTH = {"multi_factor_auth_rules": [["password", "totp"]]}
JANE = {"name": "jane", "domain": {"id": "default"}}


def code(rig: Rig, steps: int = 0) -> str:
    return passcode(secret_of(SECRET), rig.clock.wall_us() // (STEP_S * 1_000_000) + steps)


async def ask(rig: Rig, *, receipt: str = "", **methods: str) -> Reply:
    """A token by "password" and "totp"."""
    fields = {"password": "password", "totp": "passcode"}
    identity: dict[str, Any] = {"methods": list(methods)}
    identity |= {method: {"user": {**JANE, fields[method]: value}} for method, value in methods.items()}
    headers = {"openstack-auth-receipt": receipt} if receipt else None
    return await rig.ask("POST", "/auth/tokens", {"auth": {"identity": identity}}, headers=headers)


async def jane(rig: Rig, options: dict[str, Any]) -> tuple[str, str]:
    """(the administrator's token, jane's id); she has a secret."""
    root = await rig.admin()
    user = await rig.made(root, "/users", "user", name="jane", password="pw", options=options)
    await rig.made(root, "/credentials", "credential", type="totp", blob=SECRET, user_id=user["id"])
    return root, user["id"]


def test_both_methods_at_once_give_a_token_and_one_gives_a_receipt() -> None:
    async def test(rig: Rig) -> None:
        await jane(rig, BOTH)
        both = await ask(rig, password="pw", totp=code(rig))
        assert (both.status, sorted(both.body["token"]["methods"])) == (201, ["password", "totp"])
        await asyncio.sleep(STEP_S)
        part = await ask(rig, password="pw")
        assert part.status == 401
        assert "x-subject-token" not in part.headers
        assert part.headers["www-authenticate"].startswith("Keystone uri=")
        assert (part.body["receipt"]["methods"], part.body["required_auth_methods"]) == (["password"], [["password", "totp"]])
        assert part.body["receipt"]["user"]["name"] == "jane"
        whole = await ask(rig, receipt=part.headers["openstack-auth-receipt"], totp=code(rig))
        assert (whole.status, whole.body["token"]["methods"]) == (201, ["password", "totp"])
        again = {"identity": {"methods": ["token"], "token": {"id": whole.token}}}
        assert (await rig.ask("POST", "/auth/tokens", {"auth": again})).status == 201

    on_rig(test)


def test_what_is_bounded_gives_no_receipt_which_would_forget_the_bounds() -> None:
    async def test(rig: Rig) -> None:
        root, id_ = await jane(rig, {"multi_factor_auth_rules": [["token", "totp"], ["password", "totp"]]})
        whole = await ask(rig, password="pw", totp=code(rig))
        part = await rig.ask("POST", "/auth/tokens", {"auth": {"identity": {"methods": ["token"], "token": {"id": whole.token}}}})
        assert part.status == 201  # its token says password and totp
        alone = {"multi_factor_auth_rules": [["token", "totp", "application_credential"]]}
        assert (await rig.ask("PATCH", f"/users/{id_}", {"user": {"options": alone}}, token=root)).status == 200
        part = await rig.ask("POST", "/auth/tokens", {"auth": {"identity": {"methods": ["token"], "token": {"id": whole.token}}}})
        assert part.status == 401
        assert "openstack-auth-receipt" not in part.headers

    on_rig(test)


def test_a_receipt_is_no_token_ends_soon_and_is_for_one_user() -> None:
    async def test(rig: Rig) -> None:
        root, id_ = await jane(rig, BOTH)
        receipt = (await ask(rig, password="pw")).headers["openstack-auth-receipt"]
        assert (await rig.ask("GET", f"/users/{id_}", token=receipt)).status == 401
        assert (await rig.ask("GET", "/auth/tokens", token=root, headers={"x-subject-token": receipt})).status == 404
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": "correct horse"}},
        }
        other = await rig.ask("POST", "/auth/tokens", {"auth": {"identity": identity}}, headers={"openstack-auth-receipt": receipt})
        assert other.status == 401
        for wrong in (receipt[:-2] + "AA", "x", "", "é", "A" * 3000):
            assert (await ask(rig, receipt=wrong or "-", totp=code(rig))).status == 401
        await asyncio.sleep(STEP_S)
        assert (await rig.ask("PATCH", f"/users/{id_}", {"user": {"password": "new"}}, token=root)).status == 200
        assert (await ask(rig, receipt=receipt, totp=code(rig))).status == 401
        late = (await ask(rig, password="new")).headers["openstack-auth-receipt"]
        await asyncio.sleep(RECEIPT_S + 1)
        assert (await ask(rig, receipt=late, totp=code(rig))).status == 401

    on_rig(test)


def test_a_receipt_is_void_with_the_password_it_was_given_for() -> None:
    async def test(rig: Rig) -> None:
        root, user = await jane(rig, BOTH)
        receipt = (await ask(rig, password="pw")).headers["openstack-auth-receipt"]
        assert (await rig.ask("PATCH", f"/users/{user}", {"user": {"password": "other"}}, token=root)).status == 200
        assert (await ask(rig, receipt=receipt, totp=code(rig))).status == 401

    on_rig(test)


def test_what_is_wrong_gives_neither() -> None:
    async def test(rig: Rig) -> None:
        await jane(rig, BOTH)
        for methods in (
            {"password": "no"},
            {"totp": "000000"},
            {"password": "pw", "totp": "000000"},
            {"password": "no", "totp": code(rig)},
        ):
            reply = await ask(rig, **methods)
            assert (reply.status, "openstack-auth-receipt" in reply.headers) == (401, False)
        part = await ask(rig, totp=code(rig, -1))
        assert part.body["receipt"]["methods"] == ["totp"]
        assert (await ask(rig, totp=code(rig, -1))).status == 401
        assert "openstack-auth-receipt" not in (await ask(rig, totp=code(rig, -1))).headers

    on_rig(test)


@pytest.mark.parametrize(
    ("options", "methods", "enough"),
    [
        ({}, ["password"], True),
        (BOTH, ["password"], False),
        (BOTH, ["totp", "token", "password"], True),
        ({**BOTH, "multi_factor_auth_enabled": False}, ["password"], True),
        ({**BOTH, "multi_factor_auth_enabled": True}, ["password"], False),
        ({"multi_factor_auth_rules": [["password", "totp"], ["application_credential"]]}, ["application_credential"], True),
        ({"multi_factor_auth_rules": [["retina"]]}, ["password"], True),
        ({"multi_factor_auth_rules": [["password", "retina"]]}, ["password"], True),
        ({"multi_factor_auth_rules": []}, ["password"], True),
    ],
)
def test_one_rule_must_be_fulfilled(options: dict[str, Any], methods: list[str], enough: bool) -> None:
    assert suffices(Person(1, "id", options=options), methods) is enough


def test_rules_are_checked_when_they_are_set_and_may_be_taken_away() -> None:
    async def test(rig: Rig) -> None:
        root, id_ = await jane(rig, BOTH)
        for rules in ("password", [7], [[]], [["password"] * 9], [[""]], [[7]], [["password"]] * 17):
            body = {"user": {"options": {"multi_factor_auth_rules": rules}}}
            assert (await rig.ask("PATCH", f"/users/{id_}", body, token=root)).status == 400, rules
        body = {"user": {"options": {"multi_factor_auth_rules": None}}}
        reply = await rig.ask("PATCH", f"/users/{id_}", body, token=root)
        assert (reply.status, reply.body["user"]["options"]) == (200, {})
        assert (await ask(rig, password="pw")).status == 201

    on_rig(test)


def test_a_secret_that_is_removed_opens_nothing() -> None:
    async def test(rig: Rig) -> None:
        root, id_ = await jane(rig, {})
        assert (await ask(rig, totp=code(rig))).status == 201
        found = (await rig.ask("GET", f"/credentials?user_id={id_}&type=totp", token=root)).body["credentials"]
        assert (await rig.ask("DELETE", f"/credentials/{found[0]['id']}", token=root)).status == 204
        await asyncio.sleep(STEP_S)
        assert (await ask(rig, totp=code(rig))).status == 401

    on_rig(test)
