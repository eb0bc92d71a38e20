"""The change of the keys of tokens, as the daemon carries it out."""

from typing import Any

from objstore.cli.requests import RotateTokenKeys
from objstore.cli.token_keys import handlers
from tests.support.identity_rig import CLUSTER_KEY, Rig, on_rig
from tests.support.memory_cluster import memory_world


def test_the_daemon_changes_the_key_and_the_service_follows() -> None:
    async def test(rig: Rig) -> None:
        joe = (await rig.login("joe")).token
        table = handlers(rig.cluster, memory_world(rig.clock), CLUSTER_KEY)
        answer: Any = await table[RotateTokenKeys](RotateTokenKeys())
        assert answer == {"token_keys": [{"number": n, "state": s} for n, s in enumerate(("secondary", "primary", "staged"))]}
        assert (await rig.ask("GET", "/auth/projects", token=joe)).status == 200
        assert rig.registry.bearers.keys.primary == 1
        answer = await table[RotateTokenKeys](RotateTokenKeys(revoke=True))
        assert [key["state"] for key in answer["token_keys"]] == ["primary", "staged"]
        assert (await rig.ask("GET", "/auth/projects", token=joe)).status == 401

    on_rig(test)
