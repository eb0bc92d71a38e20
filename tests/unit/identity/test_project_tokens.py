"""Tokens of the identity service at the store's door."""

import msgspec
import pytest

from objstore.identity.bearer import Bearer
from objstore.identity.directory import Directory
from objstore.identity.project_tokens import ProjectTokens
from objstore.identity.registry import Registry
from objstore.identity.tenancy import AccessRule, AppCredential, Person, Role, built_in
from objstore.identity.tokens import TokenSealer
from objstore.objects.access import PROJECT_NAME, USER_NAME
from objstore.runtime.rng import SystemRng
from tests.support.identity_rig import ACME, CLUSTER_KEY, ROOT, Rig, on_rig
from tests.support.memory_cluster import MemoryCluster, memory_world

PATH = "/v1/AUTH_acme/c"


def tokens_of(rig: Rig) -> ProjectTokens:
    world = memory_world(rig.clock)
    return ProjectTokens(rig.registry, Directory([ACME], rig.cluster, world, TokenSealer(CLUSTER_KEY, world.rng)))


def token_for(rig: Rig, scope: str = "p:acme", credential: str = "") -> str:
    now_us = rig.clock.wall_us()
    return rig.registry.bearers.seal(Bearer(1, "u1", ("password",), scope, now_us, now_us + 10**9, ("a1",), credential))


async def jane_with(rig: Rig, role: str) -> None:
    ids = {found.name: found.id for found in rig.registry.all(Role)}
    if role not in ids:
        await rig.registry.create(Role(1, "r1", role))
        ids[role] = "r1"
    await rig.registry.create(Person(1, "u1", "jane", "default"))
    await rig.registry.change_grant("u:u1", "p:acme", lambda grant: msgspec.structs.replace(grant, roles=(ids[role],)))


@pytest.mark.parametrize(
    ("role", "plain", "admin", "policies"),
    [
        ("manager", True, False, None),
        ("member", True, False, None),
        ("reader", False, False, 1),
        ("other", False, False, 0),
        ("ResellerAdmin", True, True, None),
    ],
)
def test_roles_say_what_a_token_may(role: str, policies: int | None, *, plain: bool, admin: bool) -> None:
    async def test(rig: Rig) -> None:
        await jane_with(rig, role)
        who = tokens_of(rig).who(token_for(rig), "GET", PATH)
        assert who is not None
        assert (who.account, who.plain, who.admin) == ("acme", plain, admin)
        assert (None if who.policies is None else len(who.policies)) == policies
        assert (who.facts[USER_NAME], who.facts[PROJECT_NAME]) == ("jane", "acme")

    on_rig(test)


def test_what_is_taken_away_is_gone_at_once() -> None:
    async def test(rig: Rig) -> None:
        await jane_with(rig, "member")
        tokens, token = tokens_of(rig), token_for(rig)
        assert tokens.who(token, "GET", PATH) is tokens.who(token, "PUT", PATH)
        await rig.registry.delete_grants({"u1"})
        assert tokens.who(token, "GET", PATH) is None
        assert tokens.who("nonsense", "GET", PATH) is None

    on_rig(test)


def test_a_token_for_no_project_opens_nothing() -> None:
    async def test(rig: Rig) -> None:
        await jane_with(rig, "member")
        assert tokens_of(rig).who(token_for(rig, ""), "GET", PATH) is None

    on_rig(test)


def test_access_rules_of_an_application_credential_are_kept() -> None:
    async def test(rig: Rig) -> None:
        await jane_with(rig, "member")
        member = next(role.id for role in rig.registry.all(Role) if role.name == "member")
        await rig.registry.create(AccessRule(1, "rule1", user_id="u1", service="object-store", method="GET", path="/v1/AUTH_acme/*"))
        await rig.registry.create(
            AppCredential(1, "c1", "app", user_id="u1", project_id="acme", roles=(member,), rules=("rule1",), limited=True)
        )
        tokens, token = tokens_of(rig), token_for(rig, credential="c1")
        assert tokens.who(token, "GET", PATH) is not None
        assert tokens.who(token, "PUT", PATH) is None
        assert tokens.who(token, "GET", PATH + "/o") is None

    on_rig(test)


def test_a_user_who_was_made_elsewhere_a_moment_ago_is_known_after_a_look() -> None:
    async def test(rig: Rig) -> None:
        registry = Registry(MemoryCluster(rig.cluster.registers, proxy_id=2), memory_world(rig.clock), CLUSTER_KEY, built_in([ROOT, ACME]))
        directory = Directory([], rig.cluster, memory_world(rig.clock), TokenSealer(CLUSTER_KEY, SystemRng()), (), registry)
        tokens = ProjectTokens(registry, directory)
        root = await rig.admin()
        user = await rig.made(root, "/users", "user", name="jane", password="pw")
        role = rig.registry.role_named("member")
        assert role is not None
        await rig.ask("PUT", f"/projects/acme/users/{user['id']}/roles/{role.id}", token=root)
        token = (await rig.login("jane", "pw", project="acme")).token
        assert tokens.who(token, "GET", "/v1/AUTH_acme") is None
        await tokens.refresh()
        found = tokens.who(token, "GET", "/v1/AUTH_acme")
        assert found is not None
        assert found.account == "acme"

    on_rig(test)
