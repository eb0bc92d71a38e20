"""Rules for passwords, and users who are excepted."""

import pytest

from objstore.fronts.identity.settings import IdentitySettings
from tests.support.identity_rig import Reply, Rig, on_rig


async def _change(rig: Rig, user: str, old: str, new: str) -> Reply:
    return await rig.ask("POST", f"/users/{user}/password", {"user": {"original_password": old, "password": new}})


def test_a_password_must_match_the_expression_whoever_sets_it() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        refused = await rig.ask("POST", "/users", {"user": {"name": "jane", "password": "letters"}}, token=root)
        assert (refused.status, "a digit" in refused.message) == (400, True)
        jane = (await rig.made(root, "/users", "user", name="jane", password="letters1"))["id"]
        assert (await rig.ask("PATCH", f"/users/{jane}", {"user": {"password": "letters"}}, token=root)).status == 400
        assert (await _change(rig, jane, "letters1", "letters")).status == 400
        assert (await _change(rig, jane, "letters1", "letters2")).status == 204

    on_rig(test, password_regex=r"^(?=.*\d).+$", password_regex_description="at least a digit")
    with pytest.raises(ValueError, match="password_regex"):
        IdentitySettings(password_regex="(")


def test_what_an_administrator_has_set_must_be_changed_first() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        jane = (await rig.made(root, "/users", "user", name="jane", password="first"))["id"]
        refused = await rig.login("jane", "first")
        assert (refused.status, "expired" in refused.message) == (401, True)
        assert (await _change(rig, jane, "first", "second")).status == 204
        assert (await rig.login("jane", "second")).status == 201
        await rig.ask("PATCH", f"/users/{jane}", {"user": {"password": "third"}}, token=root)
        assert (await rig.login("jane", "third")).status == 401
        free = {"password": "fourth", "options": {"ignore_change_password_upon_first_use": True}}
        assert (await rig.ask("PATCH", f"/users/{jane}", {"user": free}, token=root)).status == 200
        assert (await rig.login("jane", "fourth")).status == 201

    on_rig(test, password_first_change=True)


def test_a_password_expires_unless_its_user_is_excepted() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        jane = await rig.made(root, "/users", "user", name="jane", password="first")
        assert jane["password_expires_at"] is not None
        await rig.made(root, "/users", "user", name="robot", password="first", options={"ignore_password_expiry": True})
        rig.clock.skew_us += 86_401_000_000
        refused = await rig.login("jane", "first")
        assert (refused.status, "expired" in refused.message) == (401, True)
        assert "expired" not in (await rig.login("jane", "wrong")).message
        assert (await rig.login("robot", "first")).status == 201
        await rig.ask("PATCH", f"/users/{jane['id']}", {"user": {"options": {"ignore_password_expiry": True}}}, token=await rig.admin())
        assert (await rig.login("jane", "first")).status == 201
        reply = await rig.ask(
            "PATCH", f"/users/{jane['id']}", {"user": {"options": {"ignore_password_expiry": None}}}, token=await rig.admin()
        )
        assert reply.body["user"]["options"] == {}
        assert (await rig.login("jane", "first")).status == 401

    on_rig(test, password_days=1.0)


def test_the_last_passwords_are_not_set_again_by_their_user() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        jane = (await rig.made(root, "/users", "user", name="jane", password="p0"))["id"]
        assert (await _change(rig, jane, "p0", "p0")).status == 400
        assert (await _change(rig, jane, "p0", "p1")).status == 204
        assert (await _change(rig, jane, "p1", "p0")).status == 400
        assert (await _change(rig, jane, "p1", "p2")).status == 204
        assert (await _change(rig, jane, "p2", "p0")).status == 204
        assert (await rig.ask("PATCH", f"/users/{jane}", {"user": {"password": "p2"}}, token=root)).status == 200

    on_rig(test, password_history=2)


def test_a_password_that_is_locked_is_not_changed_by_its_user() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        jane = (await rig.made(root, "/users", "user", name="jane", password="p0", options={"lock_password": True}))["id"]
        assert (await _change(rig, jane, "wrong", "p1")).status == 401
        assert (await _change(rig, jane, "p0", "p1")).status == 400
        assert (await rig.ask("PATCH", f"/users/{jane}", {"user": {"password": "p1"}}, token=root)).status == 200
        assert (await rig.login("jane", "p1")).status == 201

    on_rig(test)


def test_a_user_may_be_excepted_from_being_locked_out() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        await rig.made(root, "/users", "user", name="jane", password="p0")
        await rig.made(root, "/users", "user", name="robot", password="p0", options={"ignore_lockout_failure_attempts": True})
        for _ in range(3):
            assert (await rig.login("jane", "wrong")).status == 401
            assert (await rig.login("robot", "wrong")).status == 401
        assert (await rig.login("jane", "p0")).status == 401
        assert (await rig.login("robot", "p0")).status == 201

    on_rig(test, lockout_failures=3)


def test_options_that_are_not_known_are_refused() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        for options, status in (
            ({"multi_factor_auth_enabled": "yes"}, 400), ({"multi_factor_auth_rules": [[]]}, 400), ({"nothing": True}, 400),
            ({"lock_password": "yes"}, 400), (7, 400), ({"ignore_user_inactivity": True}, 201),
        ):  # fmt: skip
            reply = await rig.ask("POST", "/users", {"user": {"name": f"u{status}", "options": options}}, token=root)
            assert reply.status == status, options

    on_rig(test)
