"""Options of domains."""

from typing import Any

from objstore.identity.tenancy import DomainConfig
from tests.support.identity_rig import Rig, on_rig

CONFIG = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://x:389/", "user_tree_dn": "ou=Users", "password": "hidden one"}}
SHOWN = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://x:389/", "user_tree_dn": "ou=Users"}}
PATH = "/domains/default/config"


def test_options_are_kept_by_group_and_changed_one_by_one() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        assert (await rig.ask("GET", PATH, token=root)).status == 404
        made = await rig.ask("PUT", PATH, {"config": CONFIG}, token=root)
        assert (made.status, made.body["config"]) == (201, SHOWN)
        assert (await rig.ask("PUT", PATH, {"config": CONFIG}, token=root)).status == 200
        assert (await rig.ask("GET", PATH, token=root)).body["config"] == SHOWN
        assert (await rig.ask("GET", f"{PATH}/identity", token=root)).body["config"] == {"identity": {"driver": "ldap"}}
        assert (await rig.ask("GET", f"{PATH}/ldap/url", token=root)).body["config"] == {"url": "ldap://x:389/"}
        changed = await rig.ask("PATCH", f"{PATH}/identity", {"config": {"identity": {"list_limit": 9}}}, token=root)
        assert changed.body["config"]["identity"] == {"driver": "ldap", "list_limit": 9}
        changed = await rig.ask("PATCH", f"{PATH}/identity/driver", {"config": {"driver": "sql"}}, token=root)
        assert changed.body["config"]["identity"] == {"driver": "sql", "list_limit": 9}
        assert (await rig.ask("DELETE", f"{PATH}/identity/driver", token=root)).status == 204
        assert (await rig.ask("GET", f"{PATH}/identity/driver", token=root)).status == 404
        assert (await rig.ask("DELETE", f"{PATH}/identity", token=root)).status == 204
        for method in ("GET", "DELETE"):
            assert (await rig.ask(method, f"{PATH}/identity", token=root)).status == 404
        assert (await rig.ask("PATCH", f"{PATH}/identity", {"config": {"identity": {"driver": "x"}}}, token=root)).status == 404
        assert (await rig.ask("DELETE", PATH, token=root)).status == 204
        assert (await rig.ask("GET", PATH, token=root)).status == 404
        assert (await rig.ask("DELETE", PATH, token=root)).status == 404
        assert rig.registry.all(DomainConfig) == []

    on_rig(test)


def test_the_password_of_a_directory_is_never_shown_and_sealed_at_rest() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        await rig.ask("PUT", PATH, {"config": CONFIG}, token=root)
        assert (await rig.ask("GET", f"{PATH}/ldap/password", token=root)).status == 404
        changed = await rig.ask("PATCH", PATH, {"config": {"ldap": {"suffix": "dc=x"}}}, token=root)
        assert b"hidden one" not in changed.raw
        kept = rig.registry.get(DomainConfig, "default")
        assert kept is not None
        assert b"hidden one" in (rig.registry.secrets.open(kept.sealed, "default") or b"")
        assert b"hidden one" not in kept.sealed
        assert (await rig.ask("DELETE", f"{PATH}/ldap/password", token=root)).status == 204
        kept = rig.registry.get(DomainConfig, "default")
        assert kept is not None
        assert kept.sealed == b""

    on_rig(test)


def test_only_the_options_of_the_list_may_be_set() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        wrong: list[tuple[Any, int]] = [
            ({"signing": {"a": 1}}, 403), ({"ldap": {"nothing": 1}}, 403), ({"identity": {"password": "x"}}, 403), ({}, 400), (None, 400),
            ({"ldap": {}}, 400), ({"ldap": 7}, 400), ({"ldap": {"url": {}}}, 400), ({"ldap": {"url": "x" * 5000}}, 400),
        ]  # fmt: skip
        for config, status in wrong:
            assert (await rig.ask("PUT", PATH, {"config": config}, token=root)).status == status, config
        assert (await rig.ask("PATCH", f"{PATH}/ldap", {"config": {"identity": {"driver": "x"}}}, token=root)).status == 403
        assert (await rig.ask("PATCH", f"{PATH}/ldap/url", {"config": {"suffix": "x"}}, token=root)).status == 403
        assert (await rig.ask("GET", f"{PATH}/signing", token=root)).status in (403, 404)
        assert (await rig.ask("PUT", "/domains/none/config", {"config": CONFIG}, token=root)).status == 404

    on_rig(test)


def test_defaults_are_shown() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        found = (await rig.ask("GET", "/domains/config/default", token=root)).body["config"]
        assert set(found) == {"identity", "ldap"}
        assert "password" not in found["ldap"]
        assert (await rig.ask("GET", "/domains/config/identity/default", token=root)).body["config"] == {"identity": found["identity"]}
        assert (await rig.ask("GET", "/domains/config/ldap/url/default", token=root)).body["config"] == {"url": None}
        assert (await rig.ask("GET", "/domains/config/signing/default", token=root)).status == 403

    on_rig(test)


def test_everybody_may_see_what_passwords_must_look_like() -> None:
    async def test(rig: Rig) -> None:
        joe = (await rig.login("joe")).token
        found = await rig.ask("GET", f"{PATH}/security_compliance", token=joe)
        assert found.body["config"]["security_compliance"]["password_regex"] == "^.{7,}$"
        found = await rig.ask("GET", f"{PATH}/security_compliance/password_regex_description", token=joe)
        assert found.body["config"] == {"password_regex_description": "seven"}
        assert (await rig.ask("GET", f"{PATH}/security_compliance/lockout", token=joe)).status == 403
        assert (await rig.ask("GET", "/domains/other/config/security_compliance", token=joe)).status == 403
        assert (await rig.ask("GET", PATH, token=joe)).status == 403

    on_rig(test, password_regex="^.{7,}$", password_regex_description="seven")
