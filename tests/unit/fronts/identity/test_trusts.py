"""Trusts: what is lent, to whom, for how long; never more than the trustor has, nor than the trust it comes from."""

from dataclasses import dataclass
from typing import Any

from tests.support.identity_rig import Reply, Rig, on_rig

TRUSTS = "/OS-TRUST/trusts"


@dataclass
class Pair:
    """Joe of project acme, who lends, and Ann, who has nothing of her own."""

    rig: Rig
    root: str
    joe: str
    joe_id: str
    ann_id: str
    token: str = ""  # joe's

    async def lend(self, *, token: str = "", **fields: Any) -> Reply:
        """Ask for a trust of member on acme."""
        body = {
            "trustor_user_id": self.joe_id, "trustee_user_id": self.ann_id, "project_id": "acme", "impersonation": True, "roles": [{"name": "member"}],
            **fields,
        }  # fmt: skip
        return await self.rig.ask("POST", TRUSTS, {"trust": body}, token=token or self.token)

    async def lent(self, **fields: Any) -> Any:
        """A trust."""
        reply = await self.lend(**fields)
        assert reply.status == 201, reply.raw
        return reply.body["trust"]

    async def use(self, trust_id: str, user: str = "ann") -> Reply:
        """A token of a trust, by password."""
        return await self.rig.login(user, "pw" if user == "ann" else "correct horse", scope={"OS-TRUST:trust": {"id": trust_id}})


async def _pair(rig: Rig) -> Pair:
    root = await rig.admin()
    ann = (await rig.made(root, "/users", "user", name="ann", password="pw"))["id"]
    joe = await rig.login("joe")
    return Pair(rig, root, "joe", joe.body["token"]["user"]["id"], ann, joe.token)


def test_a_trustee_acts_for_the_trustor_with_what_was_lent() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        trust = await pair.lent()
        assert [role["name"] for role in trust["roles"]] == ["member"]
        assert (trust["expires_at"], trust["remaining_uses"], trust["redelegation_count"], trust["deleted_at"]) == (None, None, 0, None)
        reply = await pair.use(trust["id"])
        token = reply.body["token"]
        assert (token["user"]["id"], token["project"]["id"]) == (pair.joe_id, "acme")
        assert {role["name"] for role in token["roles"]} == {"member", "reader"}
        assert token["OS-TRUST:trust"] == {
            "id": trust["id"], "impersonation": True, "trustor_user": {"id": pair.joe_id}, "trustee_user": {"id": pair.ann_id},
        }  # fmt: skip
        assert (await rig.ask("GET", "/auth/projects", token=reply.token)).status == 200
        own = await pair.lent(impersonation=False)
        assert (await pair.use(own["id"])).body["token"]["user"]["id"] == pair.ann_id

    on_rig(test)


def test_a_trust_is_shown_to_its_parties_and_ended_by_its_trustor() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        trust = await pair.lent()
        path = f"{TRUSTS}/{trust['id']}"
        ann = (await rig.login("ann", "pw", scope="unscoped")).token
        other = await rig.made(pair.root, "/users", "user", name="eve", password="pw")
        eve = (await rig.login("eve", "pw", scope="unscoped")).token
        for token, status in ((pair.token, 200), (ann, 200), (pair.root, 200), (eve, 403)):
            assert (await rig.ask("GET", path, token=token)).status == status
            assert (await rig.ask("GET", f"{path}/roles", token=token)).status == status
        role = trust["roles"][0]["id"]
        for method in ("GET", "HEAD"):
            assert (await rig.ask(method, f"{path}/roles/{role}", token=ann)).status == 200
            assert (await rig.ask(method, f"{path}/roles/none", token=ann)).status == 404
        assert (await rig.ask("GET", TRUSTS, token=ann)).status == 403
        for token, query in ((ann, f"trustee_user_id={pair.ann_id}"), (pair.token, f"trustor_user_id={pair.joe_id}"), (pair.root, "")):
            found = (await rig.ask("GET", f"{TRUSTS}/?{query}", token=token)).body["trusts"]
            assert [entry["id"] for entry in found] == [trust["id"]]
            assert "roles" not in found[0]
        assert (await rig.ask("GET", f"{TRUSTS}?trustor_user_id={pair.joe_id}", token=ann)).status == 403
        assert (await pair.use(trust["id"], "admin")).status == 403
        assert (await rig.login("eve", "pw", scope={"OS-TRUST:trust": {"id": "none"}})).raw == (
            await rig.login("eve", "pw", scope={"OS-TRUST:trust": {"id": trust["id"]}})
        ).raw
        used = (await pair.use(trust["id"])).token
        assert (await rig.ask("DELETE", path, token=ann)).status == 403
        assert (await rig.ask("DELETE", path, token=used)).status == 403
        assert (await rig.ask("DELETE", path, token=pair.token)).status == 204
        assert (await rig.ask("GET", path, token=pair.token)).status == 404
        assert (await rig.ask("GET", "/auth/projects", token=used)).status == 401
        assert (await pair.use(trust["id"])).status == 403
        assert other["id"] != pair.ann_id

    on_rig(test)


def test_nobody_lends_what_he_has_not_nor_for_another() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        for fields, status in (
            ({"roles": [{"name": "admin"}]}, 403), ({"roles": [{"id": "none"}]}, 403), ({"roles": []}, 403), ({"project_id": "admin"}, 403),
            ({"project_id": "none"}, 404), ({"project_id": None}, 400), ({"trustor_user_id": pair.ann_id}, 403), ({"trustee_user_id": "none"}, 404),
            ({"expires_at": "9999-12-31T23:59:59-12:00"}, 400), ({"expires_at": "bad.123Z"}, 400), ({"expires_at": "2001-01-01T00:00:00Z"}, 400), ({"remaining_uses": 0}, 400),
            ({"remaining_uses": "1"}, 400), ({"impersonation": "yes"}, 400), ({"roles": "member"}, 400), ({"redelegation_count": 1}, 400),
            ({"allow_redelegation": True, "redelegation_count": 9}, 403), ({"allow_redelegation": True, "remaining_uses": 1}, 400),
        ):  # fmt: skip
            assert (await pair.lend(**fields)).status == status, fields
        assert (await pair.lend(token=pair.root)).status == 403  # an administrator lends for nobody either
        assert (await rig.ask("GET", TRUSTS, token=pair.root)).body["trusts"] == []

    on_rig(test)


def test_what_the_trustor_loses_the_trust_loses() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        reader, member = rig.registry.role_named("reader"), rig.registry.role_named("member")
        assert reader is not None
        assert member is not None
        project = (await rig.made(pair.root, "/projects", "project", name="p"))["id"]
        grant = f"/projects/{project}/users/{pair.joe_id}/roles/"
        await rig.ask("PUT", grant + reader.id, token=pair.root)
        await rig.ask("PUT", grant + member.id, token=pair.root)
        trust = await pair.lent(project_id=project, roles=[{"name": "member"}])
        token = (await pair.use(trust["id"])).token
        await rig.ask("DELETE", grant + member.id, token=pair.root)
        assert (await rig.ask("GET", "/auth/projects", token=token)).status == 401
        refused = await pair.use(trust["id"])
        assert (refused.status, refused.message) == (403, "Trustee has no delegated roles.")
        await rig.ask("PUT", grant + member.id, token=pair.root)
        assert (await pair.use(trust["id"])).status == 201
        for path, kind in ((f"/users/{pair.joe_id}", "user"), (f"/users/{pair.ann_id}", "user"), (f"/projects/{project}", "project")):
            await rig.ask("PATCH", path, {kind: {"enabled": False}}, token=pair.root)
            assert (await rig.ask("GET", "/auth/projects", token=token)).status == 401
            assert (await pair.use(trust["id"])).status in (401, 403)
            await rig.ask("PATCH", path, {kind: {"enabled": True}}, token=pair.root)
        assert (await pair.use(trust["id"])).status == 201
        await rig.ask("DELETE", f"/users/{pair.joe_id}", token=pair.root)

    on_rig(test)


def test_a_trust_ends_at_its_time_and_after_its_uses() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        few = await pair.lent(remaining_uses=2)
        assert [(await pair.use(few["id"])).status for _ in range(3)] == [201, 201, 403]
        assert (await rig.ask("GET", f"{TRUSTS}/{few['id']}", token=pair.token)).body["trust"]["remaining_uses"] == 0
        from objstore.fronts.identity.call import time_text

        short = await pair.lent(expires_at=time_text(rig.clock.wall_us() + 60_000_000))
        reply = await pair.use(short["id"])
        assert reply.body["token"]["expires_at"] == short["expires_at"]
        rig.clock.skew_us += 61_000_000
        assert (await rig.ask("GET", "/auth/projects", token=reply.token)).status == 401
        assert (await pair.use(short["id"])).status == 403
        assert (await rig.ask("GET", f"{TRUSTS}/{short['id']}", token=pair.token)).status == 404
        assert await rig.registry.sweep() == 1

    on_rig(test)


def test_a_token_of_a_trust_makes_no_secret_sees_none_and_is_not_exchanged() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        key = f"/users/{pair.joe_id}/credentials/OS-EC2"
        made = (await rig.ask("POST", key, {"tenant_id": "acme"}, token=pair.token)).body["credential"]
        trust = await pair.lent(roles=[{"name": "manager"}], allow_redelegation=True)
        token = (await pair.use(trust["id"])).token
        assert (await rig.ask("GET", key, token=token)).body["credentials"] == []
        assert (await rig.ask("GET", f"{key}/{made['access']}", token=token)).status == 404
        assert (await rig.ask("GET", "/credentials", token=token)).body["credentials"] == []
        credential = {"application_credential": {"name": "x"}}
        for method, path, body in (
            ("POST", key, {"tenant_id": "acme"}), ("POST", "/credentials", {"credential": {"type": "x", "blob": "x"}}),
            ("POST", f"/users/{pair.joe_id}/application_credentials", credential), ("GET", f"/credentials/{'0' * 64}", None),
        ):  # fmt: skip
            assert (await rig.ask(method, path, body, token=token)).status == 403, path
        for scope in (None, {"project": {"id": "acme"}}, {"OS-TRUST:trust": {"id": trust["id"]}}):
            auth = {"identity": {"methods": ["token"], "token": {"id": token}}, **({"scope": scope} if scope else {})}
            assert (await rig.ask("POST", "/auth/tokens", {"auth": auth})).status == 403

    on_rig(test)


def test_a_trust_is_lent_on_as_often_as_it_says_and_never_wider() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        once = await pair.lent(allow_redelegation=True, redelegation_count=1, expires_at="2400-01-01T00:00:00Z", roles=[{"name": "member"}])
        token = (await pair.use(once["id"])).token
        for fields, status in (
            ({"roles": [{"name": "manager"}]}, 403), ({"expires_at": "2500-01-01T00:00:00Z"}, 403), ({"project_id": "admin"}, 403),
            ({"allow_redelegation": True, "redelegation_count": 1}, 403),
        ):  # fmt: skip
            assert (await pair.lend(token=token, **fields)).status == status, fields
        child = (await pair.lend(token=token, roles=[{"name": "reader"}], allow_redelegation=True)).body["trust"]
        assert (child["redelegated_trust_id"], child["redelegation_count"]) == (once["id"], 0)
        assert child["expires_at"] == once["expires_at"]
        below = await pair.use(child["id"])
        assert {role["name"] for role in below.body["token"]["roles"]} == {"reader"}
        assert (await pair.lend(token=below.token, roles=[{"name": "reader"}])).status == 403
        plain = await pair.lent()
        assert (await pair.lend(token=(await pair.use(plain["id"])).token)).status == 403
        assert (await rig.ask("DELETE", f"{TRUSTS}/{once['id']}", token=pair.token)).status == 204
        assert (await rig.ask("GET", "/auth/projects", token=below.token)).status == 401
        assert (await rig.ask("GET", f"{TRUSTS}/{child['id']}", token=pair.token)).status == 404

    on_rig(test)


def test_a_trust_made_with_an_application_credential_keeps_within_it_and_goes_with_it() -> None:
    async def test(rig: Rig) -> None:
        pair = await _pair(rig)
        path = f"/users/{pair.joe_id}/application_credentials"

        async def program(name: str, **fields: Any) -> tuple[str, str]:
            made = await rig.made(pair.token, path, "application_credential", name=name, roles=[{"name": "member"}], **fields)
            identity = {"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": made["secret"]}}
            return (await rig.ask("POST", "/auth/tokens", {"auth": {"identity": identity}})).token, made["id"]

        restricted, _ = await program("restricted")
        assert (await pair.lend(token=restricted)).status == 403
        free, id_ = await program("free", unrestricted=True, expires_at="2400-01-01T00:00:00Z")
        assert (await pair.lend(token=free, roles=[{"name": "manager"}])).status == 403
        assert (await pair.lend(token=free, expires_at="2500-01-01T00:00:00Z")).status == 403
        other = (await rig.made(pair.root, "/projects", "project", name="other"))["id"]
        member = rig.registry.role_named("member")
        assert member is not None
        await rig.ask("PUT", f"/projects/{other}/users/{pair.joe_id}/roles/{member.id}", token=pair.root)
        assert (await pair.lend(project_id=other)).status == 201
        assert (await pair.lend(token=free, project_id=other)).status == 403
        trust = (await pair.lend(token=free)).body["trust"]
        assert trust["expires_at"].startswith("2400")
        token = (await pair.use(trust["id"])).token
        assert (await rig.ask("DELETE", f"{path}/{id_}", token=pair.token)).status == 204
        assert (await rig.ask("GET", "/auth/projects", token=token)).status == 401
        assert (await pair.use(trust["id"])).status == 403

    on_rig(test)
