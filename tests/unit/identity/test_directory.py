"""What a proxy holds of identities, and how it keeps up."""

import asyncio
from typing import Any

import msgspec
import pytest

from objstore.errors import QuorumLost
from objstore.identity.changes import Changes
from objstore.identity.directory import JOURNAL_NAMES, POLL_S, REFRESH_WAIT_S, RELOAD_S, Directory, fixed_id
from objstore.identity.entities import ROLE, USER, AccessKey, Holder, HolderKey, WebProvider
from objstore.identity.model import User
from objstore.identity.registry import Registry
from objstore.identity.tenancy import AppCredential, Credential, Role, built_in
from objstore.identity.tokens import Session, TokenSealer
from objstore.runtime.rng import SystemRng
from tests.support.identity_rig import ACME, CLUSTER_KEY, ROOT, Rig
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world, run
from tests.support.policies import identity_policy

ALICE = User("alice", "alice", "AKALICE", "secret", tenant="t", email="a@b")
SEALER = TokenSealer(bytes(32), SystemRng())


def directory_on(cluster: Any) -> Directory:
    return Directory([ALICE], cluster, memory_world(LoopClock()), SEALER, [WebProvider(1, "alice", "issuer", 0, keys="{}")])


def joe(**more: Any) -> Holder:
    return Holder(
        1, USER, "alice", "joe", "AIDAJOE", 0, keys=(AccessKey("AKJOE", "s", 0), AccessKey("AKOFF", "s", 0, active=False)), **more
    )


def test_a_change_is_there_at_once_and_at_other_proxies_within_a_second() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = directory_on(cluster), directory_on(MemoryCluster(cluster.registers, proxy_id=2))
        await two.start()
        await asyncio.sleep(1)
        await Changes(one).create_holder(joe())
        assert one.lookup("AKJOE") is not None
        assert two.lookup("AKJOE") is None
        await asyncio.sleep(POLL_S + 0.1)
        found = two.lookup("AKJOE")
        assert found is not None
        assert (found[0], found[1].account, found[1].user, found[1].tenant, found[1].policies) == ("s", "alice", "joe", "t", ())
        assert found[1].canonical_id == two.owner_of("alice").canonical_id
        assert two.lookup("AKOFF") is None
        await Changes(two).delete_holder(HolderKey(USER, "alice", "joe"), lambda _: None)
        assert two.lookup("AKJOE") is None
        await one.refresh()
        assert one.lookup("AKJOE") is None
        await one.aclose()
        await two.aclose()

    run(test())


def test_a_proxy_that_missed_many_changes_reads_everything() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = directory_on(cluster), directory_on(MemoryCluster(cluster.registers, proxy_id=2))
        await two.catch_up()
        changes = Changes(one)
        await changes.create_holder(joe())
        for number in range(JOURNAL_NAMES + 5):
            await changes.change_holder(
                HolderKey(USER, "alice", "joe"), lambda user, n=number: msgspec.structs.replace(user, path=f"/{n}/")
            )
        await changes.create_holder(Holder(1, USER, "alice", "last", "AIDA2", 0))
        await two.catch_up()
        assert two.holders["user/alice/joe"].path == f"/{JOURNAL_NAMES + 4}/"
        assert "user/alice/last" in two.holders
        await one.aclose()
        await two.aclose()

    run(test())


def test_what_was_written_without_a_line_in_the_journal_is_found_later() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = directory_on(cluster), directory_on(MemoryCluster(cluster.registers, proxy_id=2))
        await two.start()
        await asyncio.sleep(1)
        await one.shelves["holder"].records.put("user/alice/joe", joe())  # the writer died here
        await asyncio.sleep(2)
        assert two.lookup("AKJOE") is None
        await asyncio.sleep(RELOAD_S + 1)
        assert two.lookup("AKJOE") is not None
        await one.aclose()
        await two.aclose()

    run(test())


def test_what_is_known_stays_when_nothing_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one = directory_on(cluster)
        await Changes(one).create_holder(joe())

        async def lost(*_: Any, **__: Any) -> Any:
            raise QuorumLost("no quorum")

        cluster.read = lost  # type: ignore[method-assign] # the cluster goes away
        await one.start()
        await asyncio.sleep(5)
        await one.refresh()
        assert caplog.text.count("cannot be read") == 1
        assert one.lookup("AKJOE") is not None
        assert one.lookup("AKALICE") is not None
        with pytest.raises(QuorumLost):
            await one.catch_up()
        await one.aclose()

    run(test())


def test_unknown_keys_do_not_make_a_proxy_look_without_end() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one = directory_on(cluster)
        reads = 0
        read = cluster.read

        async def counted(*arguments: Any, **more: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*arguments, **more)

        cluster.read = counted  # type: ignore[method-assign] # counted
        await asyncio.gather(*(one.refresh() for _ in range(1000)))
        await asyncio.gather(*(one.refresh() for _ in range(1000)))
        assert reads <= 2
        await one.aclose()

    run(test())


def test_a_key_that_was_acknowledged_is_known_though_a_look_has_just_begun() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = directory_on(cluster), directory_on(MemoryCluster(cluster.registers, proxy_id=2))
        read = two.shelves["holder"].records.list

        async def slow() -> Any:
            found = await read()
            await asyncio.sleep(0.02)
            return found

        two.shelves["holder"].records.list = slow  # type: ignore[method-assign] # as of a cluster of several machines
        await two.start()
        await asyncio.sleep(0.01)
        await Changes(one).create_holder(joe())
        await two.refresh()
        assert two.lookup("AKJOE") is not None
        await Changes(one).delete_holder(HolderKey(USER, "alice", "joe"), lambda _: None)
        await two.refresh()  # again within REFRESH_S
        assert two.lookup("AKJOE") is None
        await one.aclose()
        await two.aclose()

    run(test())


def test_a_slow_cluster_does_not_hold_strangers_up() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one = directory_on(cluster)

        async def slow(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(60)

        cluster.read = slow  # type: ignore[method-assign] # as if devices did not answer
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(one.refresh() for _ in range(10)))
        assert asyncio.get_running_loop().time() - began <= REFRESH_WAIT_S + 0.1
        await one.aclose()

    run(test())


def test_users_of_the_file_have_everything_until_a_policy_is_put_on_them() -> None:
    async def test() -> None:
        one = directory_on(MemoryCluster())
        found = one.lookup("AKALICE")
        assert found is not None
        assert (found[1].policies, found[1].plain, found[1].arn) == (None, True, "arn:aws:iam::alice:user/alice")
        deny = identity_policy("s3:*", effect="Deny")
        await Changes(one).change_holder(HolderKey(USER, "alice", "ALICE"), lambda user: msgspec.structs.replace(user, inline={"p": deny}))
        found = one.lookup("AKALICE")
        assert found is not None
        assert found[1].policies is not None
        assert len(found[1].policies) == 2
        assert one.fixed_keys("user/alice/alice") == ["AKALICE"]
        user = one.user("alice", "Alice")
        assert user is not None
        assert user.id == fixed_id(ALICE)
        await one.aclose()

    run(test())


def test_sessions_end_with_their_role_and_with_nothing_else() -> None:
    async def test() -> None:
        one = directory_on(MemoryCluster())
        role = Holder(1, ROLE, "alice", "r", "AROA1", 0, inline={"p": identity_policy("s3:*")}, tags={"Team": "x"})
        await Changes(one).create_holder(role)
        limit = (identity_policy("s3:GetObject"),)
        token = SEALER.seal(
            Session(
                1, "ASIA1", "s", "alice", "role/r", "AROA1", "me", 9, 10, limit, {"aws:principaltag/a": "1", "aws:tokenissuetime": "2099"}
            )
        )
        for _ in range(2):
            found = one.session(token)
            assert found is not None
            who = found[1]
            assert (who.arn, who.account, len(who.policies or ()), len(who.session_policies or ())) == (
                "arn:aws:sts::alice:assumed-role/r/me",
                "alice",
                1,
                1,
            )
            assert who.facts["aws:principalarn"] == "arn:aws:iam::alice:role/r"
            assert (who.facts["sts:authentication"], who.facts["aws:tokenissuetime"]) == ("true", "1970-01-01T00:00:09Z")
            assert (who.facts["aws:principaltag/team"], who.facts["aws:principaltag/a"]) == ("x", "1")
        assert one.session(token[:-8] + "AAAAAAA=") is None
        other = SEALER.seal(Session(1, "ASIA1", "s", "alice", "role/r", "AROA2", "me", 0, 10))  # of a role that was deleted and made again
        assert one.session(other) is None
        await Changes(one).delete_holder(HolderKey(ROLE, "alice", "r"), lambda _: None)
        assert one.session(token) is None
        mine = SEALER.seal(Session(1, "ASIA1", "s", "alice", "user/alice", fixed_id(ALICE), "alice", 0, 10))
        found = one.session(mine)
        assert found is not None
        assert found[1].arn == "arn:aws:iam::alice:user/alice"
        assert found[1].facts["aws:tokenissuetime"] == "1970-01-01T00:00:00Z"
        lasting = one.lookup("AKALICE")
        assert lasting is not None
        assert "aws:tokenissuetime" not in lasting[1].facts
        assert one.session(SEALER.seal(Session(1, "A", "s", "alice", "user/nobody", "x", "n", 0, 10))) is None
        await one.aclose()

    run(test())


def test_a_policy_that_cannot_be_read_gives_no_rights() -> None:
    async def test() -> None:
        one = directory_on(MemoryCluster())
        await Changes(one).create_holder(joe(inline={"good": identity_policy("*"), "bad": "{"}))
        found = one.lookup("AKJOE")
        assert found is not None
        assert found[1].policies == ()
        await one.aclose()

    run(test())


def test_a_key_of_a_user_on_a_project_is_worth_its_roles_there() -> None:
    async def test() -> None:
        rig = Rig()
        registry = Registry(MemoryCluster(rig.cluster.registers, proxy_id=2), memory_world(rig.clock), CLUSTER_KEY, built_in([ROOT, ACME]))
        directory = Directory([ROOT, ACME], MemoryCluster(rig.cluster.registers, proxy_id=3), memory_world(rig.clock), SEALER, (), registry)
        await directory.start()
        await asyncio.sleep(1)
        root = await rig.admin()
        user = await rig.made(root, "/users", "user", name="jane", password="pw")
        roles = {role.name: role.id for role in rig.registry.all(Role)}
        rights = []
        key = ""
        for name in ("manager", "member", "reader", "service"):
            path = f"/projects/acme/users/{user['id']}/roles/{roles[name]}"
            assert (await rig.ask("PUT", path, token=root)).status == 204
            if not key:
                made = await rig.ask("POST", f"/users/{user['id']}/credentials/OS-EC2", {"tenant_id": "acme"}, token=root)
                key = made.body["credential"]["access"]
                assert directory.lookup(key) is None
            await directory.refresh()
            found = directory.lookup(key)
            if found is not None:
                assert found is not directory.lookup("other")
                principal = found[1]
                assert (principal.account, principal.admin, principal.user) == ("acme", False, f"keystone/{user['id']}")
                assert "aws:username" not in principal.facts
            rights.append(found and (found[1].policies[0].text if found[1].policies else "all"))
            await rig.ask("DELETE", path, token=root)
        assert rights[0] == "all"
        assert "s3:*" in rights[1]
        assert "s3:*" not in rights[2]
        assert rights[3] is None
        await directory.refresh()
        assert directory.lookup(key) is None
        await directory.aclose()

    run(test())


def test_a_key_made_with_an_application_credential_never_reaches_iam_and_ends_with_it() -> None:
    async def test() -> None:
        rig = Rig()
        directory = Directory([ROOT, ACME], rig.cluster, memory_world(rig.clock), SEALER, (), rig.registry)
        joe = rig.registry.user_named("joe", "default")
        manager = rig.registry.role_named("manager")
        assert joe is not None
        assert manager is not None
        ends = rig.clock.wall_us() + 10_000_000
        await rig.registry.create(
            AppCredential(1, "c1", "app", user_id=joe.id, project_id="acme", roles=(manager.id,), expires_us=ends, unrestricted=True)
        )
        sealed = rig.registry.secrets.seal(b"secret12", "k1")
        key = Credential(1, "k1", user_id=joe.id, project_id="acme", type="ec2", access="AKAPP", sealed=sealed, app_credential_id="c1")
        await rig.registry.create(key)
        found = directory.lookup("AKAPP")
        assert found is not None
        assert found[0] == "secret12"
        assert not found[1].plain
        assert found[1].session_policies is not None
        assert "iam" not in found[1].session_policies[0].text
        rig.clock.skew_us += 10_000_001
        assert directory.lookup("AKAPP") is None

    run(test())


def test_a_project_that_is_disabled_or_gone_closes_its_account_for_keys_and_sessions_of_iam_too() -> None:
    async def test() -> None:
        rig = Rig()
        registry = Registry(MemoryCluster(rig.cluster.registers, proxy_id=2), memory_world(rig.clock), CLUSTER_KEY, built_in([ROOT, ACME]))
        directory = Directory([ROOT, ACME], MemoryCluster(rig.cluster.registers, proxy_id=3), memory_world(rig.clock), SEALER, (), registry)
        await directory.start()
        await asyncio.sleep(1)
        root = await rig.admin()
        team = (await rig.made(root, "/projects", "project", name="team"))["id"]
        changes = Changes(directory)
        await changes.create_holder(Holder(1, USER, team, "jim", "AIDAJIM", 0, keys=(AccessKey("AKJIM", "s", 0),)))
        await changes.create_holder(Holder(1, ROLE, team, "r", "AROAJIM", 0))
        token = SEALER.seal(Session(1, "ASIA1", "s", team, "role/r", "AROAJIM", "me", 9, 10))

        async def good() -> tuple[bool, bool]:
            await directory.refresh()
            return directory.lookup("AKJIM") is not None, directory.session(token) is not None

        async def enabled(path: str, kind: str, *, on: bool) -> None:
            assert (await rig.ask("PATCH", path, {kind: {"enabled": on}}, token=root)).status == 200

        assert await good() == (True, True)
        await enabled(f"/projects/{team}", "project", on=False)
        assert await good() == (False, False)
        await enabled(f"/projects/{team}", "project", on=True)
        assert await good() == (True, True)
        assert (await rig.ask("DELETE", f"/projects/{team}", token=root)).status == 204
        assert await good() == (False, False)
        await directory.aclose()

    run(test())


def test_a_user_of_the_file_that_is_disabled_has_no_key_and_no_session() -> None:
    async def test() -> None:
        rig = Rig()
        registry = Registry(MemoryCluster(rig.cluster.registers, proxy_id=2), memory_world(rig.clock), CLUSTER_KEY, built_in([ROOT, ACME]))
        directory = Directory([ROOT, ACME], MemoryCluster(rig.cluster.registers, proxy_id=3), memory_world(rig.clock), SEALER, (), registry)
        await directory.start()
        await asyncio.sleep(1)
        root, joe = await rig.admin(), rig.registry.user_named("joe", "default")
        assert joe is not None
        mine = SEALER.seal(Session(1, "ASIA1", "s", "acme", "user/joe", fixed_id(ACME), "joe", 0, 10))
        for path, kind in ((f"/users/{joe.id}", "user"), ("/projects/acme", "project")):
            for on in (False, True):
                assert (await rig.ask("PATCH", path, {kind: {"enabled": on}}, token=root)).status == 200
                await directory.refresh()
                assert (directory.lookup("AKJOE") is not None, directory.session(mine) is not None) == (on, on), path
                assert directory.lookup("AKROOT") is not None
        assert (await rig.ask("PATCH", "/projects/admin", {"project": {"enabled": False}}, token=await rig.admin("unscoped"))).status == 403
        system = await rig.admin({"system": {"all": True}})
        assert (await rig.ask("PATCH", "/projects/admin", {"project": {"enabled": False}}, token=system)).status == 200
        await directory.refresh()
        assert directory.lookup("AKROOT") is not None  # whoever manages the domain may do that
        admin = rig.registry.user_named("admin", "default")
        assert admin is not None
        assert (await rig.ask("PATCH", f"/users/{admin.id}", {"user": {"enabled": False}}, token=system)).status == 200
        await directory.refresh()
        assert directory.lookup("AKROOT") is None
        await directory.aclose()

    run(test())
