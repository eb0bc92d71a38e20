"""The change of the keys of tokens, in one process and seen by another."""

import asyncio

from objstore.identity.tenancy import TokenKeys
from tests.support.identity_rig import Rig, on_rig
from tests.support.memory_cluster import MemoryCluster

PATH = "/OS-OBJSTORE/token_keys"


def test_tokens_of_the_key_before_are_good_in_every_process_until_they_expire() -> None:
    async def test(rig: Rig) -> None:
        other = Rig(rig.cluster)
        await other.registry.start()
        root, joe = await rig.admin(), (await rig.login("joe")).token
        assert (await other.ask("GET", "/auth/projects", token=joe)).status == 200
        reply = await rig.ask("POST", PATH, {}, token=root)
        states = {key["number"]: key["state"] for key in reply.body["token_keys"]}
        assert (reply.status, states) == (200, {0: "secondary", 1: "primary", 2: "staged"})
        new = (await rig.login("joe")).token
        for process in (rig, other):  # at once: what a process does not know it looks up
            for token in (joe, new):
                assert (await process.ask("GET", "/auth/projects", token=token)).status == 200
        await asyncio.sleep(1)
        assert other.registry.bearers.keys == rig.registry.bearers.keys
        again = await other.ask("POST", PATH, {}, token=root)
        assert {key["number"]: key["state"] for key in again.body["token_keys"]}[2] == "primary"
        assert (await rig.ask("GET", PATH, token=root)).body["token_keys"] == again.body["token_keys"]
        assert (await rig.ask("GET", "/auth/projects", token=joe)).status == 200
        await other.registry.aclose()

    on_rig(test)


def test_revoking_makes_every_token_from_before_void() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe")).token
        assert (await rig.ask("POST", PATH, {"revoke": True}, token=root)).status == 200
        for token in (root, joe):
            assert (await rig.ask("GET", "/auth/projects", token=token)).status == 401
        assert (await rig.ask("GET", "/auth/projects", token=(await rig.login("joe")).token)).status == 200

    on_rig(test)


def test_keys_are_changed_by_administrators_alone_and_shown_to_nobody() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe")).token
        for method, body in (("GET", None), ("POST", {})):
            assert (await rig.ask(method, PATH, body, token=joe)).status == 403
        for bad in ({"revoke": "yes"}, {"x": 1}):
            assert (await rig.ask("POST", PATH, bad, token=root)).status == 400
        reply = await rig.ask("POST", PATH, token=root)
        kept = rig.registry.get(TokenKeys, "tokens")
        assert kept is not None
        for key in rig.registry.bearers.keys.keys:
            assert not key.secret or (key.secret not in kept.sealed and key.secret.hex().encode() not in reply.raw)
        assert len(rig.registry.bearers.keys.keys[1].secret) == 32

    on_rig(test)


def test_a_key_is_changed_by_itself_at_its_age() -> None:
    async def test(rig: Rig) -> None:
        await rig.registry.start(sweeps=True, token_key_s=86_400.0)
        await asyncio.sleep(601)
        assert rig.registry.bearers.keys.primary == 1
        rig.clock.skew_us += 86_400_000_000
        await asyncio.sleep(601)
        assert rig.registry.bearers.keys.primary == 2
        await asyncio.sleep(601)
        assert rig.registry.bearers.keys.primary == 2

    on_rig(test)


def test_many_processes_that_find_a_key_old_change_it_once() -> None:
    async def test(rig: Rig) -> None:
        others = [Rig(MemoryCluster(rig.cluster.registers, proxy_id=number)) for number in (2, 3)]
        for process in (rig, *others):
            await process.registry.start(sweeps=True, token_key_s=86_400.0)
        await asyncio.sleep(603)
        assert {process.registry.bearers.keys.primary for process in (rig, *others)} == {1}
        for process in others:
            await process.registry.aclose()

    on_rig(test)
