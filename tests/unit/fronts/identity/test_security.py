"""The classes of bugs that identity services had (docs/reference/security.md), a named test for each that has no module of its own.

Who may do what by route: test_matrix.py.  Chains of credentials: tests/props/test_identity_chains.py.  Signatures: test_credentials.py.
"""

import base64
import itertools
import json
import logging
from typing import Any

import pytest

from objstore.identity.bearer import Bearer
from tests.support.ec2_requests import signed, signed_s3
from tests.support.identity_rig import PASSWORD, Reply, Rig, on_rig


async def _joe(rig: Rig) -> tuple[str, str]:
    """Joe's token and id."""
    reply = await rig.login("joe", project="acme")
    return reply.token, reply.body["token"]["user"]["id"]


async def _key(rig: Rig, token: str, user: str, project: str = "acme") -> Any:
    made = await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project}, token=token)
    assert made.status == 201, made.raw
    return made.body["credential"]


async def _program(rig: Rig, token: str, user: str, **fields: Any) -> tuple[str, Any]:
    """A token of a new application credential, and the credential."""
    made = await rig.made(token, f"/users/{user}/application_credentials", "application_credential", **{"name": "program", **fields})
    identity = {"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": made["secret"]}}
    return (await rig.ask("POST", "/auth/tokens", {"auth": {"identity": identity}})).token, made


# -- S7, S8, S9: what is said beside the proof ----------------------------------------------------------------------


def test_s7_what_a_signature_does_not_cover_is_not_believed() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        asked = signed(rig, await _key(rig, token, user))
        assert (await rig.ask("POST", "/ec2tokens", {"credentials": asked}, token=root)).status == 200
        for change in (
            {"verb": "PUT"}, {"host": "other"}, {"path": "/other"}, {"params": {**asked["params"], "Action": "x"}},
            {"params": {**asked["params"], "Timestamp": "2400-01-01T00:00:00Z"}}, {"params": {**asked["params"], "SignatureVersion": "1"}},
        ):  # fmt: skip
            assert (await rig.ask("POST", "/ec2tokens", {"credentials": {**asked, **change}}, token=root)).status == 401, change
        strings = signed_s3(rig, await _key(rig, token, user))
        other = base64.b64encode(base64.b64decode(strings["token"]).replace(b"/r/", b"/x/")).decode()
        assert (await rig.ask("POST", "/s3tokens", {"credentials": {**strings, "token": other}}, token=root)).status == 401

    on_rig(test)


def test_s8_the_same_thing_by_another_address_has_the_same_rules() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        key = await _key(rig, token, user)
        await rig.made(root, "/users", "user", name="eve", password="pw")
        eve = (await rig.login("eve", "pw", scope="unscoped")).token
        id_ = next(entry["id"] for entry in (await rig.ask("GET", "/credentials?type=ec2", token=token)).body["credentials"])
        for path in (f"/credentials/{id_}", f"/users/{user}/credentials/OS-EC2/{key['access']}"):
            for method in ("GET", "DELETE"):
                assert (await rig.ask(method, path, token=eve)).status == 403
        assert (await rig.ask("GET", "/credentials", token=eve)).body["credentials"] == []
        for prefix in ("/identity/v3", "/v3", "//identity//v3", "/identity/v3/"):  # no spelling of an address has rules of its own
            reply = await rig.ask("GET", "/users", token=eve, prefix=prefix)
            assert reply.status in (403, 404), prefix
        domain = (await rig.made(root, "/domains", "domain", name="Other"))["id"]
        for method, body in (("GET", None), ("PATCH", {"project": {"enabled": False}}), ("DELETE", None)):
            assert (await rig.ask(method, f"/projects/{domain}", body, token=token)).status == 403

    on_rig(test)


def test_s9_headers_and_fields_that_claim_an_identity_mean_nothing() -> None:
    async def test(rig: Rig) -> None:
        claims = {
            "x-roles": "admin", "x-role": "admin", "x-user-id": "admin", "x-project-id": "admin", "x-is-admin-project": "True", "x-identity-status": "Confirmed",
            "x-service-token": "x", "openstack-system-scope": "all", "remote-user": "admin", "x-forwarded-user": "admin",
        }  # fmt: skip
        token, user = await _joe(rig)
        for name, value in claims.items():
            assert (await rig.ask("GET", "/users", headers={name: value})).status == 401, name
            assert (await rig.ask("GET", "/users", token=token, headers={name: value})).status == 403, name
        for method in ("external", "remote_user", "mapped", "saml2", "openid", "oauth1", "totp"):
            auth = {"identity": {"methods": [method], method: {"user": {"name": "admin", "domain": {"id": "default"}}}}}
            assert (await rig.ask("POST", "/auth/tokens", {"auth": auth}, headers={"remote-user": "admin"})).status == 401
        root = await rig.admin()
        sent = {
            "name": "x",
            "id": "admin",
            "password": "pw",
            "groups": ["g"],
            "fixed": True,
            "roles": ["admin"],
            "is_admin": True,
            "valid_from_us": 0,
        }
        made = await rig.made(root, "/users", "user", **sent)
        assert made["id"] != "admin"
        assert (await rig.login("x", "pw", project="admin")).status == 401
        kept = rig.registry.person(made["id"])
        assert kept is not None
        assert (kept.groups, kept.fixed) == ((), False)
        assert user

    on_rig(test)


# -- S10: credentials made of credentials ---------------------------------------------------------------------------


def test_s10_signatures_are_worth_nothing_to_whoever_is_no_service() -> None:
    """CVE-2025-65073: whoever had seen a presigned URL got a token for it."""

    async def test(rig: Rig) -> None:
        token, user = await _joe(rig)
        key = await _key(rig, token, user)
        for path, asked in (("/ec2tokens", signed(rig, key)), ("/s3tokens", signed_s3(rig, key))):
            assert (await rig.ask("POST", path, {"credentials": asked})).status == 401
            assert (await rig.ask("POST", path, {"credentials": asked}, token=token)).status == 403
            assert (await rig.ask("POST", path, {"credentials": asked}, token="x")).status == 401

    on_rig(test)


@pytest.mark.parametrize("late_s", [901.0, -901.0, 86_400.0])
def test_s10_a_signature_of_another_time_is_worth_nothing(late_s: float) -> None:
    """CVE-2020-12692: signatures had no end."""

    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        key = await _key(rig, token, user)
        assert (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key, late_s=late_s)}, token=root)).status == 401

    on_rig(test)


@pytest.mark.parametrize("what", ["user off", "user gone", "project off", "project gone", "domain off", "role gone", "key gone"])
def test_s10_a_key_ends_with_everything_it_stands_on(what: str) -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        domain = (await rig.made(root, "/domains", "domain", name="Other"))["id"]
        project = (await rig.made(root, "/projects", "project", name="p", domain_id=domain))["id"]
        user = (await rig.made(root, "/users", "user", name="u", password="pw", domain_id=domain))["id"]
        member = rig.registry.role_named("member")
        assert member is not None
        grant = f"/projects/{project}/users/{user}/roles/{member.id}"
        assert (await rig.ask("PUT", grant, token=root)).status == 204
        token = (await rig.login("u", "pw", domain=domain, project=project)).token
        key = await _key(rig, token, user, project)
        lent = (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key)}, token=root)).token
        assert (await rig.ask("GET", "/auth/projects", token=lent)).status == 200
        off = {"enabled": False}
        method, path, body = {
            "user off": ("PATCH", f"/users/{user}", {"user": off}), "user gone": ("DELETE", f"/users/{user}", None),
            "project off": ("PATCH", f"/projects/{project}", {"project": off}), "project gone": ("DELETE", f"/projects/{project}", None),
            "domain off": ("PATCH", f"/domains/{domain}", {"domain": off}), "role gone": ("DELETE", grant, None),
            "key gone": ("DELETE", f"/users/{user}/credentials/OS-EC2/{key['access']}", None),
        }[what]  # fmt: skip
        assert (await rig.ask(method, path, body, token=root)).status in (200, 204)
        for check, asked in (("/ec2tokens", signed(rig, key)), ("/s3tokens", signed_s3(rig, key))):
            assert (await rig.ask("POST", check, {"credentials": asked}, token=root)).status == 401
        assert (await rig.ask("GET", "/auth/projects", token=lent)).status == 401

    on_rig(test)


def test_s10_a_key_made_with_an_application_credential_keeps_within_it() -> None:
    """CVE-2020-12689, CVE-2026-33551: such keys had all roles of their user."""

    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        restricted, _ = await _program(rig, token, user, name="restricted", roles=[{"name": "reader"}])
        assert (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "acme"}, token=restricted)).status == 403
        free, credential = await _program(
            rig, token, user, roles=[{"name": "reader"}], unrestricted=True, expires_at="2400-01-01T00:00:00Z"
        )
        key = await _key(rig, free, user)
        for path, asked in (("/ec2tokens", signed(rig, key)), ("/s3tokens", signed_s3(rig, key))):
            shown = (await rig.ask("POST", path, {"credentials": asked}, token=root)).body["token"]
            assert [role["name"] for role in shown["roles"]] == ["reader"]
            assert shown["application_credential"]["id"] == credential["id"]
        for body in ({"tenant_id": "admin"}, {"tenant_id": "none"}):
            assert (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", body, token=free)).status in (403, 404)
        lent = (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key)}, token=root)).token
        assert (await rig.ask("DELETE", f"/users/{user}/application_credentials/{credential['id']}", token=token)).status == 204
        assert (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key)}, token=root)).status == 401
        assert (await rig.ask("GET", "/auth/projects", token=lent)).status == 401

    on_rig(test)


def test_s10_a_credential_never_says_of_itself_what_it_may() -> None:
    """CVE-2020-12691: a blob that named a trust or another project was believed, and owners could be changed."""

    async def test(rig: Rig) -> None:
        token, user = await _joe(rig)
        root_id = (await rig.login()).body["token"]["user"]["id"]
        blob = {"access": "mine", "secret": "12345678"}
        wanted = {"type": "ec2", "project_id": "acme", "user_id": user}
        for extra in ({"trust_id": "x"}, {"app_cred_id": "x"}, {"access_id": "x"}, {"access_token_id": "x"}, {"project_id": "admin"}):
            body = {**wanted, "blob": json.dumps({**blob, **extra})}
            assert (await rig.ask("POST", "/credentials", {"credential": body}, token=token)).status == 400
        for change in ({"user_id": root_id}, {"project_id": "admin"}):
            body = {**wanted, "blob": json.dumps(blob), **change}
            assert (await rig.ask("POST", "/credentials", {"credential": body}, token=token)).status == 403
        made = await rig.made(token, "/credentials", "credential", **wanted, blob=json.dumps(blob))
        path = f"/credentials/{made['id']}"
        for change in (
            {"user_id": root_id}, {"project_id": "admin"}, {"type": "other"}, {"blob": json.dumps({**blob, "access": "AKROOT"})},
        ):  # fmt: skip
            assert (await rig.ask("PATCH", path, {"credential": change}, token=token)).status == 403, change
        assert (await rig.ask("PATCH", path, {"credential": {"blob": json.dumps({**blob, "trust_id": "x"})}}, token=token)).status == 400
        plain = await rig.made(token, "/credentials", "credential", type="other", blob=json.dumps(blob))
        assert (await rig.ask("PATCH", f"/credentials/{plain['id']}", {"credential": {"type": "ec2"}}, token=token)).status == 403
        assert rig.registry.key("mine") is not None

    on_rig(test)


def test_s10_nobody_takes_the_access_key_of_another() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        key = await _key(rig, root, (await rig.login()).body["token"]["user"]["id"], "admin")
        body = {"type": "ec2", "project_id": "acme", "user_id": user, "blob": json.dumps({"access": key["access"], "secret": "12345678"})}
        assert (await rig.ask("POST", "/credentials", {"credential": body}, token=token)).status == 409
        assert rig.registry.secret_of(rig.registry.key(key["access"]) or pytest.fail("gone")) == key["secret"]

    on_rig(test)


def test_s10_a_token_of_a_token_ends_with_it() -> None:
    """CVE-2026-44394: each exchange gave a new hour."""

    async def test(rig: Rig) -> None:
        first = await rig.login("joe", project="acme")
        ends = first.body["token"]["expires_at"]
        token = first.token
        for _ in range(3):
            rig.clock.skew_us += 60_000_000
            auth = {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"id": "acme"}}}
            reply = await rig.ask("POST", "/auth/tokens", {"auth": auth})
            assert reply.body["token"]["expires_at"] == ends
            token = reply.token
        both = {
            "methods": ["token", "password"],
            "token": {"id": token},
            "password": {"user": {"id": reply.body["token"]["user"]["id"], "password": PASSWORD}},
        }
        assert (await rig.ask("POST", "/auth/tokens", {"auth": {"identity": both}})).body["token"]["expires_at"] == ends

    on_rig(test)


def test_s10_what_is_lent_makes_no_secrets_and_sees_none() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        key = await _key(rig, token, user)
        program, _ = await _program(rig, token, user)
        by_key = (await rig.ask("POST", "/ec2tokens", {"credentials": signed(rig, key)}, token=root)).token
        ann = (await rig.made(root, "/users", "user", name="ann", password="pw"))["id"]
        trust = {
            "trustor_user_id": user,
            "trustee_user_id": ann,
            "project_id": "acme",
            "impersonation": True,
            "roles": [{"name": "manager"}],
        }
        lent = (await rig.made(token, "/OS-TRUST/trusts", "trust", **trust))["id"]
        by_trust = (await rig.login("ann", "pw", scope={"OS-TRUST:trust": {"id": lent}})).token
        for narrow in (program, by_key, by_trust):
            for path, body in (
                (f"/users/{user}/credentials/OS-EC2", {"tenant_id": "acme"}), ("/credentials", {"credential": {"type": "x", "blob": "x"}}),
                (f"/users/{user}/application_credentials", {"application_credential": {"name": "y"}}), ("/OS-TRUST/trusts", {"trust": trust}),
            ):  # fmt: skip
                assert (await rig.ask("POST", path, body, token=narrow)).status == 403, path
            auth = {"identity": {"methods": ["token"], "token": {"id": narrow}}}
            assert (await rig.ask("POST", "/auth/tokens", {"auth": auth})).status == 403
        for narrow in (program, by_trust):
            assert (await rig.ask("GET", "/credentials", token=narrow)).body["credentials"] == []
            assert key["secret"].encode() not in (await rig.ask("GET", f"/users/{user}/credentials/OS-EC2", token=narrow)).raw

    on_rig(test)


# -- S20 to S25 -----------------------------------------------------------------------------------------------------


def test_s20_no_secret_is_logged_or_shown_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets: list[str] = [PASSWORD]

    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        key = await _key(rig, token, user)
        program, credential = await _program(rig, token, user)
        consumer = await rig.made(root, "/OS-OAUTH1/consumers", "consumer")
        secrets.extend([root, token, program, key["secret"], credential["secret"], consumer["secret"], "another password"])
        await rig.ask("POST", f"/users/{user}/password", {"user": {"original_password": "wrong secret", "password": "another password"}})
        await rig.ask("POST", "/auth/tokens", b'{"auth": {"identity": {"password": "wrong secret"')
        await rig.login("joe", "wrong secret")
        secrets.append("wrong secret")
        shown = [
            (await rig.ask("GET", path, token=root)).raw.decode()
            for path in (f"/users/{user}", f"/users/{user}/application_credentials", "/OS-OAUTH1/consumers", "/OS-OBJSTORE/token_keys")
        ]
        assert not [secret for secret in secrets for text in shown if secret in text]

    on_rig(test)
    assert not [secret for secret in secrets if secret in caplog.text]


def test_s21_who_is_there_cannot_be_found_out_by_logging_in() -> None:
    """CVE-2021-38155: locked accounts were told apart."""

    async def test(rig: Rig) -> None:
        root = await rig.admin()
        await rig.made(root, "/users", "user", name="off", password="pw", enabled=False)
        await rig.made(root, "/users", "user", name="bare")
        await rig.made(root, "/users", "user", name="locked", password="pw")
        told: set[bytes] = set()
        for _ in range(3):
            for name in ("off", "bare", "locked", "joe", "nobody"):
                reply = await rig.login(name, "wrong")
                told.add(reply.raw)
                assert reply.status == 401
        told.add((await rig.login("locked", "pw")).raw)  # the right password of a locked user
        told.add((await rig.login("off", "pw")).raw)
        told.add((await rig.login("joe", "wrong", domain="nowhere")).raw)
        told.add((await rig.login("joe", "wrong", project="acme")).raw)
        assert len(told) == 1
        for user in ("none", (rig.registry.user_named("locked", "default") or pytest.fail("gone")).id):
            change = await rig.ask("POST", f"/users/{user}/password", {"user": {"original_password": "wrong", "password": "x"}})
            assert (change.status, change.raw) == (401, next(iter(told)))

    on_rig(test, lockout_failures=3)


def test_s21_a_password_is_hashed_for_users_who_are_not_there_as_well() -> None:
    async def test(rig: Rig) -> None:
        hashed: list[str] = []
        check = rig.passwords.check

        async def counted(who: str, password: str, hashed_as: str, **more: Any) -> bool:
            hashed.append(who)
            return await check(who, password, hashed_as, **more)

        rig.passwords.check = counted  # type: ignore[method-assign]
        for name in ("joe", "nobody"):
            await rig.login(name, "wrong")
        await rig.login("joe", "wrong", domain="nowhere")
        credential = {"methods": ["application_credential"], "application_credential": {"id": "none", "secret": "x"}}
        await rig.ask("POST", "/auth/tokens", {"auth": {"identity": credential}})
        assert len(hashed) == 4

    on_rig(test)


def test_s21_things_of_others_and_things_that_are_not_there_look_alike() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        token, user = await _joe(rig)
        ids = {
            "/users/": (await rig.made(root, "/users", "user", name="x"))["id"], "/projects/": (await rig.made(root, "/projects", "project", name="x"))["id"],
            "/groups/": (await rig.made(root, "/groups", "group", name="x"))["id"], "/domains/": (await rig.made(root, "/domains", "domain", name="x"))["id"],
            "/credentials/": (await rig.made(root, "/credentials", "credential", type="x", blob="b"))["id"],
            "/services/": (await rig.made(root, "/services", "service", type="x"))["id"], "/policies/": (await rig.made(root, "/policies", "policy", type="x", blob="b"))["id"],
        }  # fmt: skip
        for path, id_ in ids.items():
            for method, body in (("GET", None), ("PATCH", {path[1:-2]: {}}), ("DELETE", None)):
                there, gone = [await rig.ask(method, path + one, body, token=token) for one in (id_, "0" * 32)]
                assert (there.status, there.raw) == (403, gone.raw), (method, path)
        scopes = [
            {"project": {"id": ids["/projects/"]}},
            {"project": {"id": "none"}},
            {"domain": {"id": ids["/domains/"]}},
            {"domain": {"id": "none"}},
        ]
        assert len({(await rig.login("joe", scope=scope)).raw for scope in scopes}) == 1
        assert user

    on_rig(test)


def test_s22_addresses_in_headers_change_nothing() -> None:
    async def test(rig: Rig) -> None:
        claimed = {
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-host": "evil.test",
            "host": "evil.test",
            "forwarded": "host=evil.test",
            "x-forwarded-proto": "x",
        }
        for path in ("", "/", "/auth/tokens"):
            reply = await rig.ask("GET", path, headers=claimed, prefix="/identity/v3" if path else "/identity")
            assert b"evil.test" not in reply.raw
            assert "evil.test" not in str(reply.headers)
        for n in range(6):  # guesses are counted by user, whatever address they claim to be from
            assert (await rig.login("joe", f"wrong {n}")).status == 401
        data = {"methods": ["password"], "password": {"user": {"name": "joe", "domain": {"id": "default"}, "password": PASSWORD}}}
        reply = await rig.ask("POST", "/auth/tokens", {"auth": {"identity": data}}, headers={"x-forwarded-for": "10.9.8.7"})
        assert reply.status == 401

    on_rig(test, lockout_failures=5)


def test_s23_a_changed_bit_makes_a_token_worthless() -> None:
    async def test(rig: Rig) -> None:
        token, _ = await _joe(rig)
        at_rest = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        for bit in range(0, len(at_rest) * 8, 5):
            changed = bytearray(at_rest)
            changed[bit // 8] ^= 1 << bit % 8
            text = base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("=")
            assert rig.registry.access(text) is None
        assert (await rig.ask("GET", "/auth/projects", token=token[:-1])).status == 401
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        for forged in (f"{none}.{none}.", "gAAAAA" + "A" * 100, token + "A", token.upper(), "Bearer " + token):
            assert (await rig.ask("GET", "/auth/projects", token=forged)).status == 401

    on_rig(test)


def test_s23_nobody_seals_a_token_for_himself() -> None:
    async def test(rig: Rig) -> None:
        _, user = await _joe(rig)
        other = Rig()  # another cluster, with the same key but other records
        bearer = Bearer(1, user, ("password",), "p:admin", rig.clock.wall_us(), rig.clock.wall_us() + 10**9, ("a",))
        assert rig.registry.access(rig.registry.bearers.seal(bearer)) is None  # Joe has no role there, whatever a token says
        root = rig.registry.user_named("admin", "default")
        assert root is not None
        lost = Bearer(1, root.id, ("password",), "", 0, rig.clock.wall_us() + 10**12, ("a",))
        assert rig.registry.access(rig.registry.bearers.seal(lost)) is None  # of a day that no key is made for any more
        await other.registry.aclose()

    on_rig(test)


def test_s24_what_refers_to_other_things_has_an_end() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        roles = [(await rig.made(root, "/roles", "role", name=f"r{n}"))["id"] for n in range(6)]
        for prior, implied in itertools.pairwise(roles):
            assert (await rig.ask("PUT", f"/roles/{prior}/implies/{implied}", token=root)).status == 201
        assert (await rig.ask("PUT", f"/roles/{roles[-1]}/implies/{roles[0]}", token=root)).status == 403
        admin = rig.registry.role_named("admin")
        assert admin is not None
        assert (await rig.ask("PUT", f"/roles/{roles[0]}/implies/{admin.id}", token=root)).status == 403
        parent, reply = None, Reply(201, {}, b"")
        for depth in range(7):
            body = {"name": f"p{depth}", **({"parent_id": parent} if parent else {})}
            reply = await rig.ask("POST", "/projects", {"project": body}, token=root)
            if reply.status != 201:
                break
            parent = reply.body["project"]["id"]
        assert reply.status == 403
        deep: Any = {}
        for _ in range(100):
            deep = {"x": deep}
        assert (await rig.ask("POST", "/users", {"user": deep}, token=root)).status == 400

    on_rig(test)


def test_s25_what_is_made_new_may_do_nothing() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        project = (await rig.made(root, "/projects", "project", name="new"))["id"]
        await rig.made(root, "/users", "user", name="new", password="pw", default_project_id=project)
        for scope in ({"project": {"id": project}}, {"project": {"id": "acme"}}, {"domain": {"id": "default"}}, {"system": {"all": True}}):
            assert (await rig.login("new", "pw", scope=scope)).status == 401
        plain = await rig.login("new", "pw")
        assert "roles" not in plain.body["token"]
        for path in (
            "/users",
            "/projects",
            "/domains",
            "/roles",
            "/services",
            "/endpoints",
            "/role_assignments",
            "/policies",
            "/auth/catalog",
        ):
            assert (await rig.ask("GET", path, token=plain.token)).status == 403, path
        for path in ("/users", "/regions", "/registered_limits", "/limits/model", "/auth/catalog", "/auth/projects"):
            assert (await rig.ask("GET", path)).status == 401, path

    on_rig(test)
