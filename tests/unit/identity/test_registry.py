"""Tables, effective roles, and what tokens are good for."""

import asyncio

import msgspec
import pytest

from objstore.errors import PreconditionFailed
from objstore.identity.bearer import Bearer
from objstore.identity.registry import SWEEP_S
from objstore.identity.tenancy import AppCredential, Credential, Domain, Grant, Group, Person, Project, Revocation, Role, Trust
from tests.support.identity_rig import Rig, on_rig
from tests.support.memory_cluster import MemoryCluster, run


def roles_of(rig: Rig, user: Person, target: str) -> set[str]:
    return {role.name for role in rig.registry.roles_on(user, target)}


async def some_user(rig: Rig, **more: object) -> Person:
    user = Person(1, "u1", "jane", "default", **more)  # type: ignore[arg-type]
    await rig.registry.create(user)
    return user


def give(*roles: str, inherited: tuple[str, ...] = ()) -> object:
    return lambda grant: msgspec.structs.replace(grant, roles=roles, inherited=inherited)


def test_roles_come_from_groups_from_above_and_by_implication() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        ids = {role.name: role.id for role in registry.all(Role)}
        await registry.create(Group(1, "g1", "team", "default"))
        user = await some_user(rig, groups=("g1", "gone"))
        await registry.create(Project(1, "p1", "one", "default"))
        await registry.create(Project(1, "p2", "two", "default", parent_id="p1"))
        assert roles_of(rig, user, "p:p2") == set()
        await registry.change_grant("g:g1", "p:p1", give(ids["member"], inherited=(ids["service"],)))  # type: ignore[arg-type]
        assert roles_of(rig, user, "p:p1") == {"member", "reader"}
        assert roles_of(rig, user, "p:p2") == {"service"}
        await registry.change_grant("u:u1", "d:default", give(inherited=(ids["reader"],)))  # type: ignore[arg-type]
        assert roles_of(rig, user, "d:default") == set()
        assert roles_of(rig, user, "p:p2") == {"service", "reader"}
        assert {p.id for p in registry.projects_of(user)} == {"admin", "acme", "p1", "p2"}
        await registry.change_grant("g:g1", "p:p1", give())  # type: ignore[arg-type]
        assert registry.grant("g:g1", "p:p1") is None
        await registry.delete_grants({"u1"})
        assert registry.projects_of(user) == []
        assert registry.domains_of(user) == []

    on_rig(test)


def test_a_change_of_name_moves_the_record_and_what_was_left_of_it_is_taken_over() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        first = Project(1, "p1", "one", "default")
        await registry.create(first)
        changed = await registry.change(first, lambda p: msgspec.structs.replace(p, name="uno"))
        assert registry.project_named("uno", "default") == changed
        assert registry.project_named("one", "default") is None
        # Whoever changed the name died before the old record went.
        await registry.feed.tables["project"].records.put("default/one", first)
        rig2 = Rig(MemoryCluster(rig.cluster.registers, proxy_id=3))
        await rig2.registry.feed.catch_up()
        again = rig2.registry.get(Project, "p1")
        assert again is not None
        assert again.name == "uno"
        assert rig2.registry.project_named("one", "default") is None
        await rig2.registry.create(Project(1, "p2", "one", "default"))
        assert rig2.registry.project_named("one", "default") is not None
        with pytest.raises(PreconditionFailed):
            await rig2.registry.create(Project(1, "p3", "one", "default"))
        with pytest.raises(PreconditionFailed):
            await rig2.registry.change(again, lambda p: msgspec.structs.replace(p, name="one"))

    on_rig(test)


def test_what_is_changed_while_a_name_is_changed_stays_changed() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        user = await some_user(rig)
        other = Rig(MemoryCluster(rig.cluster.registers, proxy_id=3)).registry
        await other.feed.catch_up()
        records = registry.feed.tables["user"].records
        left = [lambda: other.change(user, lambda p: msgspec.structs.replace(p, description="shut", enabled=False))]
        delete_if = records.delete_if

        async def slow(name: str, expected: bytes) -> None:
            if left and name == user.record:
                await left.pop()()
            await delete_if(name, expected)

        records.delete_if = slow  # type: ignore[method-assign] # a pause, not another deed
        # What this proxy holds is old already.
        await other.change(user, lambda p: msgspec.structs.replace(p, default_project_id="new"))
        await registry.change(user, lambda p: msgspec.structs.replace(p, name="joan"))
        await other.feed.catch_up()
        for found in (registry.user_named("joan", "default"), other.user_named("joan", "default")):
            assert found is not None
            assert (found.id, found.enabled, found.description, found.default_project_id) == ("u1", False, "shut", "new")
        assert registry.user_named("jane", "default") is None
        assert await records.get(user.record) is None
        assert left == []
        with pytest.raises(PreconditionFailed):
            await registry.change(user, lambda p: msgspec.structs.replace(p, name="june"))

    on_rig(test)


def test_what_was_there_from_the_start_gets_another_name_once() -> None:
    async def test(rig: Rig) -> None:
        acme = rig.registry.get(Project, "acme")
        assert acme is not None
        changed = await rig.registry.change(acme, lambda p: msgspec.structs.replace(p, name="acme2"))
        assert rig.registry.project_named("acme2", acme.domain_id) == changed

    on_rig(test)


def test_a_token_is_good_for_what_its_user_has_now() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        member = registry.role_named("member")
        assert member is not None
        user = await some_user(rig)
        await registry.change_grant("u:u1", "p:acme", give(member.id))  # type: ignore[arg-type]
        now_us = rig.clock.wall_us()
        bearer = Bearer(1, "u1", ("password",), "p:acme", now_us, now_us + 10**9, ("a1",))
        token = registry.bearers.seal(bearer)
        found = registry.access(token)
        assert found is not None
        assert found.names == {"member", "reader"}
        assert registry.access(token) is found
        changed = await registry.change(user, lambda u: msgspec.structs.replace(u, enabled=False))
        assert registry.access(token) is None
        await registry.change(changed, lambda u: msgspec.structs.replace(u, enabled=True, valid_from_us=now_us + 1))
        assert registry.access(token) is None
        later = msgspec.structs.replace(bearer, issued_us=now_us + 1)
        assert registry.judge(later) is not None
        await registry.change_grant("u:u1", "p:acme", give())  # type: ignore[arg-type]
        assert registry.judge(later) is None
        assert registry.judge(msgspec.structs.replace(later, scope="")) is not None
        await registry.revoke(later)
        await registry.revoke(later)
        assert registry.judge(msgspec.structs.replace(later, scope="")) is None
        rig.clock.skew_us += 2 * 10**9
        assert await registry.sweep() == 1

    on_rig(test)


def test_marks_of_void_tokens_go_when_the_tokens_would_have() -> None:
    async def test(rig: Rig) -> None:
        await rig.registry.start(sweeps=True)
        now_us = rig.clock.wall_us()
        await rig.registry.revoke(Bearer(1, "u", (), "", now_us, now_us + 10**8, ("a1",)))
        await rig.registry.revoke(Bearer(1, "u", (), "", now_us, now_us + 10**10, ("a2",)))
        await asyncio.sleep(SWEEP_S + 1)
        assert [mark.id for mark in rig.registry.all(Revocation)] == ["a2"]

    on_rig(test)


def test_what_somebody_has_is_found_without_a_look_at_others() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        trust = Trust(1, "t1", trustor_id="u1", trustee_id="u2", project_id="p1")
        key = Credential(1, "k1", user_id="u1", project_id="p1")
        for value in (trust, key, Credential(1, "k0", user_id="u2", project_id="p1")):
            await registry.create(value)
        assert [registry.owned(Trust, owner) for owner in ("u1", "u2", "p1", "u3")] == [[trust], [trust], [trust], []]
        assert [found.id for found in registry.owned(Credential, "p1")] == ["k0", "k1"]
        changed = await registry.change(key, lambda found: msgspec.structs.replace(found, sealed=b"x"))
        assert registry.owned(Credential, "u1") == [changed]
        await registry.delete(changed)
        await registry.delete(trust)
        assert [registry.owned(Trust, "u1"), registry.owned(Credential, "u1")] == [[], []]
        assert len(registry.owned(Credential, "p1")) == 1

    on_rig(test)


def test_marks_of_void_tokens_stay_while_services_may_ask_about_expired_ones() -> None:
    async def test(rig: Rig) -> None:
        await rig.registry.start(sweeps=True, expired_token_s=2 * SWEEP_S)
        now_us = rig.clock.wall_us()
        await rig.registry.revoke(Bearer(1, "u", (), "", now_us, now_us + 10**8, ("a1",)))
        for there in (1, 1, 0):
            await asyncio.sleep(SWEEP_S + 1)
            assert len(rig.registry.all(Revocation)) == there

    on_rig(test)


def test_an_application_credential_narrows_and_ends() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        user = registry.user_named("joe", "default")
        reader = registry.role_named("reader")
        assert user is not None
        assert reader is not None
        now_us = rig.clock.wall_us()
        credential = AppCredential(1, "c1", "app", user_id=user.id, project_id="acme", roles=(reader.id,), expires_us=now_us + 10**7)
        await registry.create(credential)
        bearer = Bearer(1, user.id, (), "p:acme", now_us, now_us + 10**9, ("a",), "c1")
        token = registry.bearers.seal(bearer)
        found = registry.access(token)
        assert found is not None
        assert found.names == {"reader"}
        assert registry.judge(msgspec.structs.replace(bearer, scope="p:admin")) is None
        assert registry.judge(msgspec.structs.replace(bearer, scope="")) is None
        rig.clock.skew_us += 10**7
        assert registry.access(token) is None

    on_rig(test)


def test_dead_references_mean_nothing() -> None:
    async def test(rig: Rig) -> None:
        registry = rig.registry
        await registry.feed.create("grant", Grant(1, "x", actor="u:nobody", target="p:acme", roles=("r",)))
        assert all(grant.actor != "u:nobody" for grant in registry.grants())
        await registry.create(Domain(1, "d1", "other", enabled=False))
        user = Person(1, "u9", "x", "d1")
        assert not registry.is_usable(user)

    on_rig(test)


def test_two_processes_agree() -> None:
    async def test() -> None:
        one = Rig()
        two = Rig(MemoryCluster(one.cluster.registers, proxy_id=2))
        await one.registry.create(Domain(1, "d1", "other"))
        await two.registry.feed.catch_up()
        assert two.registry.domain_named("other") is not None
        assert await two.registry.delete(Domain(1, "d1", "other"))
        assert not await two.registry.delete(Domain(1, "d1", "other"))

    run(test())
