"""Whatever is made with a credential is never wider than it: random chains of tokens, application credentials, keys of S3 and trusts.

Joe has `manager` on acme and `member` on another project.  From his token, and from every token that comes of it, all of these are asked for, as
wide as one can ask.  What is granted has no role, no project and no later end than what it was made with; and when Joe loses a
role, everything made before is worth no more than what he has left.
"""

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore.fronts.identity.call import time_text
from objstore.identity.rules import Access
from tests.support.ec2_requests import signed
from tests.support.identity_rig import PASSWORD, Rig, on_rig

ROLES = ("admin", "manager", "member", "reader")
WISHES = (("manager",), ("manager", "member"), ("member",), ("member", "reader"), ("reader",), ("admin",))
KINDS = ("program", "program", "program", "trust", "trust", "key", "secret", "exchange", "password")
HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Held:
    """A token, who logs in again with it, and the limits that it and all above it set: (project, roles, end); None: none."""

    token: str
    lent: bool  # an application credential, a key or a trust is in its line
    project: str
    roles: frozenset[str]
    ends_us: int  # 0: with the token


@dataclass(frozen=True)
class Step:
    """One attempt to get more."""

    kind: str
    parent: int  # so many tokens ago it was got
    roles: tuple[str, ...]
    project: str
    hours: int  # 0: no end asked for
    flag: bool


STEPS = st.lists(
    st.builds(
        Step, st.sampled_from(KINDS), st.sampled_from([0, 0, 0, 1, 2, 5]), st.sampled_from(WISHES),
        st.sampled_from(["acme", "acme", "acme", "other", "admin"]), st.integers(0, 3), st.sampled_from([True, True, False]),
    ),
    min_size=8, max_size=16,
)  # fmt: skip


class Chains:
    """The tokens that were got, and what is known of each."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.held: list[Held] = []
        self.other = ""
        self._count = 0

    async def start(self) -> None:
        rig = self.rig
        self.root = await rig.admin()
        self.other = (await rig.made(self.root, "/projects", "project", name="other"))["id"]
        self.ann = (await rig.made(self.root, "/users", "user", name="ann", password="pw"))["id"]
        joe = await rig.login("joe", project="acme")
        self.joe = joe.body["token"]["user"]["id"]
        member = rig.registry.role_named("member")
        assert member is not None
        assert (await rig.ask("PUT", f"/projects/{self.other}/users/{self.joe}/roles/{member.id}", token=self.root)).status == 204
        self.held.append(self._known(joe.token, lent=False, ends_us=0))

    def access(self, token: str) -> Access | None:
        return self.rig.registry.access(token)

    def _known(self, token: str, *, lent: bool, ends_us: int) -> Held:
        access = self.access(token)
        assert access is not None
        project = access.project.id if access.project is not None else ""
        return Held(token, lent, project, access.names, ends_us)

    async def step(self, step: Step) -> None:
        """Ask, and judge what is granted."""
        parent = self.held[-1 - step.parent % len(self.held)]
        access = self.access(parent.token)
        if access is None:
            return
        self._count += 1
        token, ends_us = await getattr(self, f"_{step.kind}")(step, parent, access)
        if not token:
            return
        got = self.access(token)
        if got is None:
            return
        assert got.project is not None
        if step.kind in ("program", "trust"):  # no more than was asked for, either
            assert got.names <= set(ROLES[min(ROLES.index(name) for name in step.roles) :]), step
        if parent.lent and step.kind != "password":
            assert got.project.id == parent.project, step
            assert got.names <= parent.roles, step
            if parent.ends_us:
                assert got.bearer.expires_us <= parent.ends_us, step
        else:
            person = got.user if step.kind == "password" else access.user
            own = {role.name for role in self.rig.registry.roles_on(person, f"p:{got.project.id}")}
            assert got.names <= own, step
        ends = [us for us in (parent.ends_us if step.kind != "password" else 0, ends_us) if us]
        lent = step.kind in ("program", "key", "secret", "trust") or (parent.lent and step.kind != "password")
        self.held.append(self._known(token, lent=lent, ends_us=min(ends, default=0)))

    def _wanted(self, step: Step) -> dict[str, Any]:
        end = {"expires_at": time_text(self.rig.clock.wall_us() + step.hours * HOUR_US)} if step.hours else {}
        return {"roles": [{"name": name} for name in step.roles], **end}

    def _project(self, step: Step) -> str:
        return self.other if step.project == "other" else step.project

    async def _program(self, step: Step, parent: Held, access: Access) -> tuple[str, int]:
        wanted = {"name": f"c{self._count}", "unrestricted": step.flag, **self._wanted(step)}
        path = f"/users/{access.user.id}/application_credentials"
        made = await self.rig.ask("POST", path, {"application_credential": wanted}, token=parent.token)
        if made.status != 201:
            return "", 0
        credential = made.body["application_credential"]
        kept = self.rig.registry.app_credential(credential["id"])
        assert kept is not None
        if parent.ends_us:
            assert 0 < kept.expires_us <= parent.ends_us
        identity = {
            "methods": ["application_credential"],
            "application_credential": {"id": credential["id"], "secret": credential["secret"]},
        }
        return (await self.rig.ask("POST", "/auth/tokens", {"auth": {"identity": identity}})).headers.get(
            "x-subject-token", ""
        ), kept.expires_us

    async def _key(self, step: Step, parent: Held, access: Access) -> tuple[str, int]:
        body = {"tenant_id": self._project(step)}
        made = await self.rig.ask("POST", f"/users/{access.user.id}/credentials/OS-EC2", body, token=parent.token)
        return await self._by_key(made.body["credential"]) if made.status == 201 else ("", 0)

    async def _secret(self, step: Step, parent: Held, access: Access) -> tuple[str, int]:
        blob = f'{{"access": "key{self._count}", "secret": "12345678"}}'
        wanted = {"type": "ec2", "blob": blob, "project_id": self._project(step), "user_id": access.user.id}
        made = await self.rig.ask("POST", "/credentials", {"credential": wanted}, token=parent.token)
        return await self._by_key({"access": f"key{self._count}", "secret": "12345678"}) if made.status == 201 else ("", 0)

    async def _by_key(self, key: dict[str, Any]) -> tuple[str, int]:
        reply = await self.rig.ask("POST", "/ec2tokens", {"credentials": signed(self.rig, key)}, token=self.root)
        return reply.headers.get("x-subject-token", ""), 0

    async def _trust(self, step: Step, parent: Held, access: Access) -> tuple[str, int]:
        wanted = {
            "trustor_user_id": access.user.id, "trustee_user_id": self.ann, "project_id": self._project(step), "impersonation": step.flag,
            "allow_redelegation": step.hours % 2 == 1, **self._wanted(step),
        }  # fmt: skip
        made = await self.rig.ask("POST", "/OS-TRUST/trusts", {"trust": wanted}, token=parent.token)
        if made.status != 201:
            return "", 0
        trust = self.rig.registry.trust(made.body["trust"]["id"])
        assert trust is not None
        if parent.ends_us:
            assert 0 < trust.expires_us <= parent.ends_us
        reply = await self.rig.login("ann", "pw", scope={"OS-TRUST:trust": {"id": trust.id}})
        return reply.headers.get("x-subject-token", ""), trust.expires_us

    async def _exchange(self, step: Step, parent: Held, access: Access) -> tuple[str, int]:
        auth = {"identity": {"methods": ["token"], "token": {"id": parent.token}}, "scope": {"project": {"id": self._project(step)}}}
        reply = await self.rig.ask("POST", "/auth/tokens", {"auth": auth})
        assert reply.status != 201 or not parent.lent
        return reply.headers.get("x-subject-token", ""), 0

    async def _password(self, step: Step, parent: Held, access: Access) -> tuple[str, int]:
        reply = await self.rig.login("joe", PASSWORD, project=self._project(step))
        return reply.headers.get("x-subject-token", ""), 0

    async def seen(self) -> None:
        """That no token shows a secret that is worth more than itself."""
        for held in self.held:
            access = self.access(held.token)
            if access is None or not held.lent:
                continue
            found = (await self.rig.ask("GET", "/credentials", token=held.token)).body["credentials"]
            found += (await self.rig.ask("GET", f"/users/{access.user.id}/credentials/OS-EC2", token=held.token)).body["credentials"]
            for entry in found:
                key = self.rig.registry.key(entry["access"]) if "access" in entry else None
                worth = self.rig.registry.key_access(key) if key is not None else None
                assert worth is None or (worth.names <= held.roles and worth.project is not None and worth.project.id == held.project)

    async def demote(self) -> None:
        """Take Joe's roles but reader on acme, and all on the other project."""
        roles = {name: self.rig.registry.role_named(name) for name in ROLES}
        for name, role in roles.items():
            assert role is not None
            await self.rig.ask("PUT" if name == "reader" else "DELETE", f"/projects/acme/users/{self.joe}/roles/{role.id}", token=self.root)
            await self.rig.ask("DELETE", f"/projects/{self.other}/users/{self.joe}/roles/{role.id}", token=self.root)
        for held in self.held:
            access = self.access(held.token)
            assert access is None or (access.names == {"reader"} and access.project is not None and access.project.id == "acme"), held


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_nothing_is_wider_than_what_it_was_made_with(steps: list[Step]) -> None:
    async def test(rig: Rig) -> None:
        chains = Chains(rig)
        await chains.start()
        for step in steps:
            await chains.step(step)
        await chains.seen()
        await chains.demote()

    on_rig(test)
