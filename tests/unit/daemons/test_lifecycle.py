"""The lifecycle daemon on virtual time: rounds, leases, going on after a restart, pace."""

import asyncio

import msgspec
import pytest

from objstore.core import lifecycle
from objstore.core.lifecycle import LifecycleConfig, Rule, Transition
from objstore.daemons.lifecycle import Lifecycle, LifecycleSettings
from objstore.errors import QuorumLost
from objstore.objects.api import Attributes, ListQuery
from tests.support.memory_cluster import memory_world
from tests.support.store_rig import ALICE, Rig, noise, with_rig

DAY_S = 1000.0
SETTINGS = LifecycleSettings(seconds_per_day=DAY_S, rows_per_s=1e6, actions_per_s=1e6)


def daemon(rig: Rig, settings: LifecycleSettings = SETTINGS, holder: str = "host") -> Lifecycle:
    return Lifecycle(rig.store, memory_world(rig.clock), settings, holder=holder)


async def rules(rig: Rig, *given: Rule, bucket: str = "") -> None:
    config = lifecycle.encode(LifecycleConfig(1, given))
    await rig.store.set_config(ALICE, bucket or rig.bucket, "lifecycle", config)


async def left(rig: Rig) -> list[str]:
    return [info.key for info in (await rig.store.list(ALICE, rig.bucket, ListQuery())).objects]


def test_a_round_does_what_is_due_and_the_next_one_comes_in_time() -> None:
    async def test(rig: Rig) -> None:
        await rules(rig, Rule("r", True, prefix="a/", days=1), Rule("t", True, tags=(("k", "v"),), days=2), Rule("off", False, days=1))
        for key in ("a/1", "a/2", "b/1"):
            await rig.put(key)
        await rig.put("b/2", attributes=Attributes(tags={"k": "v"}))
        found = daemon(rig)
        assert await found.run() == 0
        await asyncio.sleep(DAY_S + 1)
        assert await found.run() == 2
        assert await left(rig) == ["b/1", "b/2"]
        await asyncio.sleep(10)
        assert await found.run() == 0
        await asyncio.sleep(DAY_S)
        assert await found.run() == 1
        assert await left(rig) == ["b/1"]
        assert found.acted == {"expire": 3}
        assert found.looked_at == 4 + 4 + 2  # nothing between the rounds

    with_rig(test)


def test_versions_markers_and_uploads_are_ended() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        await rules(rig, Rule("r", True, days=1, noncurrent_days=1, abort_days=1), Rule("m", True, expired_marker=True))
        await rig.put("k", b"one")
        await rig.put("k", b"two")
        await rig.upload("up", [noise(1000)])
        found = daemon(rig)
        for _ in range(4):
            await asyncio.sleep(DAY_S + 1)
            await found.run()
        assert found.acted == {"expire": 1, "remove": 2, "remove_marker": 1, "abort": 1}
        assert (await rig.store.list_versions(ALICE, rig.bucket, ListQuery())).objects == []
        assert await rig.live_parts() == 0

    with_rig(test)


def test_a_round_goes_on_where_it_was_cut_off() -> None:
    async def test(rig: Rig) -> None:
        await rules(rig, Rule("r", True, days=1))
        for number in range(1200):
            await rig.put(f"{number:04}")
        await asyncio.sleep(DAY_S + 1)
        slow = daemon(rig, LifecycleSettings(seconds_per_day=DAY_S, rows_per_s=1e6, actions_per_s=10))
        task = asyncio.ensure_future(slow.run())
        await asyncio.sleep(75)  # in the second page
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        remaining = len(await left(rig))
        assert 0 < remaining < 600
        other = daemon(rig, holder="other")
        assert await other.run() == 0  # the lease is still the first one's
        await asyncio.sleep(61)
        assert await other.run() == remaining
        assert other.looked_at <= 701  # not from the beginning
        assert await left(rig) == []

    with_rig(test)


def test_one_host_at_a_time_and_whoever_lost_the_lease_stops() -> None:
    async def test(rig: Rig) -> None:
        await rules(rig, Rule("r", True, days=1))
        for number in range(200):
            await rig.put(f"{number:04}")
        await asyncio.sleep(DAY_S + 1)
        slow = daemon(rig, LifecycleSettings(seconds_per_day=DAY_S, rows_per_s=1e6, actions_per_s=0.01))
        task = asyncio.ensure_future(slow.run())
        await asyncio.sleep(70)  # asleep behind its first act for longer than the lease
        second = daemon(rig, holder="second")
        assert await second.run() == 199
        await task
        assert sum(slow.acted.values()) == 1

    with_rig(test)


@pytest.mark.parametrize("uploads", [False, True])
@pytest.mark.parametrize("then", ["removed", "changed"])
def test_rules_that_are_removed_or_changed_are_obeyed_no_longer(then: str, uploads: bool) -> None:
    async def test(rig: Rig) -> None:
        await rules(rig, Rule("r", True, abort_days=1) if uploads else Rule("r", True, days=1))
        for number in range(100):
            if uploads:
                await rig.upload(f"{number:03}", [])
            else:
                await rig.put(f"{number:03}")
        await asyncio.sleep(DAY_S + 1)
        slow = daemon(rig, LifecycleSettings(seconds_per_day=DAY_S, rows_per_s=1e6, actions_per_s=1))
        task = asyncio.ensure_future(slow.run())
        await asyncio.sleep(10.5)
        if then == "removed":
            await rig.store.set_config(ALICE, rig.bucket, "lifecycle", None)
        else:
            await rules(rig, Rule("other", True, prefix="09", days=1, abort_days=1))
        assert await task == 11
        assert slow.acted == {"abort" if uploads else "expire": 11}
        await asyncio.sleep(DAY_S)
        assert await daemon(rig, holder="next").run() == (0 if then == "removed" else 10)

    with_rig(test)


def test_a_cluster_that_does_not_answer_is_tried_again_later() -> None:
    async def test(rig: Rig) -> None:
        await rules(rig, Rule("r", True, days=1))
        await rig.put("k")
        await asyncio.sleep(DAY_S + 1)
        found = daemon(rig)

        async def lose(*_: object) -> None:
            raise QuorumLost("too few")

        rig.cluster.before = lose
        with pytest.raises(QuorumLost):
            await found.run()

    with_rig(test)


def test_settings_say_how_often() -> None:
    assert (LifecycleSettings().round_s, LifecycleSettings().poll_s) == (3600.0, 60.0)
    assert LifecycleSettings(seconds_per_day=10).round_s == 1.0
    assert LifecycleSettings(seconds_per_day=1).poll_s == 0.5


def test_versions_change_their_class_and_nothing_else() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        step, other = Transition("STANDARD_IA", days=1), Transition("ONEZONE_IA", days=1)
        config = LifecycleConfig(1, (Rule("r", True, transitions=(step,), noncurrent_transitions=(other,)),), any_size=True)
        await rig.store.set_config(ALICE, rig.bucket, "lifecycle", lifecycle.encode(config))
        bodies = {}
        for key, size in (("small", 100), ("small", 200), ("large", 9000), ("large", 8000)):
            data = noise(size)
            bodies[(await rig.put(key, data)).version_id] = data
        before = {info.version_id: info for info in (await rig.store.list_versions(ALICE, rig.bucket, ListQuery())).objects}
        found = daemon(rig)
        await asyncio.sleep(DAY_S + 1)
        assert await found.run() == 4
        after = (await rig.store.list_versions(ALICE, rig.bucket, ListQuery())).objects
        assert [info.storage_class for info in after] == ["STANDARD_IA", "ONEZONE_IA"] * 2
        for info in after:
            assert msgspec.structs.replace(info, storage_class="") == before[info.version_id]
            assert await rig.get(info.key, version_id=info.version_id) == bodies[info.version_id]
        await asyncio.sleep(DAY_S + 1)
        assert await found.run() == 0
        assert found.acted == {"transition": 4}

    with_rig(test)
