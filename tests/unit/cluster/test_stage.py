"""Blobs on their way to all primaries, each at its own speed."""

import asyncio
import contextlib

import pytest
import xxhash

from objstore.cluster import stage as module
from objstore.cluster.api import Staging
from objstore.cluster.cluster import ClusterSettings
from objstore.core.placement import Plan
from objstore.errors import DeviceFull, NewerEpoch, ObjstoreError, QuorumLost, StaleEpoch, TooBusy
from objstore.runtime.tasks import TaskOwner
from objstore.wire import messages as m
from tests.support.scripted_nodes import SILENT, Rig, draft, key, run

PIECE = bytes(100_000)
BODY = PIECE * 12  # more than a window of credit


async def send(staging: Staging, body: bytes = BODY) -> None:
    for at in range(0, len(body), len(PIECE)):
        await staging.write(memoryview(body)[at : at + len(PIECE)])
    await staging.finish()


async def put(rig: Rig, body: bytes = BODY) -> Staging:
    staging = await rig.cluster.stage(key(), size=len(body))
    await send(staging, body)
    await rig.cluster.write(key(), draft(body, blob=staging.blob), staging=staging)
    return staging


def holders(rig: Rig, staging: Staging) -> int:
    return sum(node.blobs.get(staging.blob) == BODY for node in rig.nodes)


async def nothing_runs(rig: Rig) -> None:
    await asyncio.sleep(0.5)
    assert len(rig.cluster._tasks) == 0
    for node in rig.nodes:
        if node.host.alive and not node.host.frozen:
            channel = await rig.cluster.members.channel_of(node.number)
            assert not channel._streams


def test_a_blob_reaches_all_primaries_before_its_row() -> None:
    async def main(rig: Rig) -> None:
        staging = await put(rig)
        assert holders(rig, staging) == 3
        assert staging.holders == (0, 1, 2)  # type: ignore[attr-defined]
        held = await rig.cluster.read(key())
        assert held.row is not None
        data = b"".join([bytes(piece) async for piece in rig.cluster.read_body(key(), held.row, sources=held.sources)])
        assert data == BODY
        await nothing_runs(rig)

    run(main)


def test_once_all_have_the_body_nothing_of_it_is_kept() -> None:
    async def main(rig: Rig) -> None:
        staging = await rig.cluster.stage(key(), size=len(PIECE))
        await send(staging, PIECE)
        # Whoever still names the request (a cancelled lane's traceback does) must not keep its body in memory.
        assert [list(lane._first) + list(lane._pieces) for lane in staging._lanes] == [[], [], []]  # type: ignore[attr-defined]

    run(main)


def test_an_empty_and_an_unannounced_body_are_staged_too() -> None:
    async def main(rig: Rig) -> None:
        for body in (b"", b"x"):
            staging = await rig.cluster.stage(key())
            await send(staging, body)
            assert all(node.blobs[staging.blob] == body for node in rig.nodes)

    run(main)


@pytest.mark.parametrize("how", ["dead", "dies midway", "refuses", "frozen", "slow", "wrong digest"])
def test_one_bad_replica_is_not_waited_for_and_gets_the_blob_with_the_row(how: str) -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        bad = rig.members(key())[1]
        if how == "dead":
            bad.stop()
        elif how == "dies midway":
            bad.body_trouble = lambda at: bad.stop() if at >= 300_000 else None  # type: ignore[func-returns-value]
        elif how == "refuses":
            bad.trouble = lambda message: DeviceFull("full") if isinstance(message, m.StageBody) else None
        elif how == "frozen":
            bad.host.freeze()
        elif how == "slow":
            bad.body_trouble = lambda _: 30.0
        else:
            bad.digest_of = lambda body: xxhash.xxh3_128_digest(body + b"!")
        began_s = rig.now_s
        staging = await put(rig)
        assert rig.now_s - began_s < 1.0
        assert staging.holders == tuple(n.number for n in rig.nodes if n is not bad)  # type: ignore[attr-defined]
        accept = bad.seen(m.Accept)[-1:] if bad.host.alive and how != "frozen" else []
        await asyncio.sleep(0.2)
        assert all(set(message.sources) == set(staging.holders) for message in accept)  # type: ignore[attr-defined]
        if how in ("refuses", "slow"):
            assert bad.blobs[staging.blob] == BODY  # fetched from the others
        await nothing_runs(rig)

    run(main)


@pytest.mark.parametrize("how", ["dead", "refuse", "slow", "wrong digest"])
def test_without_a_quorum_nothing_is_staged_and_nothing_goes_on(how: str) -> None:
    async def main(rig: Rig) -> None:
        staging = await rig.cluster.stage(key(), size=len(BODY))
        for node in rig.nodes[:2]:
            if how == "dead":
                node.stop()
            elif how == "refuse":
                node.trouble = lambda message: DeviceFull("full") if isinstance(message, m.StageBody) else None
            elif how == "slow":
                node.body_trouble = lambda _: SILENT
            else:
                node.digest_of = lambda _: b"0" * 16
        began_s = rig.now_s
        with pytest.raises(QuorumLost):
            await send(staging)
        assert rig.now_s - began_s < 21.0
        await staging.abort()
        await nothing_runs(rig)
        for node in rig.nodes[:2]:
            assert staging.blob not in node.blobs or how == "wrong digest"

    run(main, settings=ClusterSettings(body_timeout_s=5.0))


def test_staging_waits_for_nodes_that_restart() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        for node in rig.nodes[:2]:
            node.stop()
        rig.proxy.loop.call_later(1.5, lambda: [node.restart() for node in rig.nodes[:2]])
        staging = await put(rig)
        assert holders(rig, staging) == 3

    run(main)


def test_a_lane_too_far_behind_is_given_up_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_BYTES", 6_000_000)

    async def main(rig: Rig) -> None:
        slow = rig.members(key())[0]
        slow.body_trouble = lambda _: 1.0
        staging = await rig.cluster.stage(key())
        for _ in range(90):
            await staging.write(PIECE)
        lane = next(lane for lane in staging._lanes if lane.device == slow.number)  # type: ignore[attr-defined]
        assert lane.failure is not None
        assert lane.backlog == 0
        await staging.finish()
        await nothing_runs(rig)
        assert slow.stopped_uploads == 1

    run(main)


def test_one_slow_disk_holds_a_bounded_part_of_the_memory_however_many_bodies_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEHIND_OF_ALL_BYTES", 6_000_000)

    async def main(rig: Rig) -> None:
        slow = rig.members(key())[0]
        slow.body_trouble = lambda _: 10.0
        stagings = [await rig.cluster.stage(key()) for _ in range(4)]
        most = 0
        for _ in range(90):
            for staging in stagings:
                await staging.write(PIECE)
            held = sum(lane.backlog for staging in stagings for lane in staging._lanes)  # type: ignore[attr-defined]
            most = max(most, held)
        assert 6_000_000 < most < 6_000_000 + len(stagings) * 3 * module.BEHIND_BYTES
        for staging in stagings:
            await staging.finish()
            assert slow.number not in staging.holders  # type: ignore[attr-defined]
        assert rig.cluster._behind.bytes == 0
        await nothing_runs(rig)

    run(main)


def test_nodes_that_take_no_more_bodies_for_a_moment_are_waited_for() -> None:
    async def main(rig: Rig) -> None:
        began_s = rig.now_s

        def busy(message: m.Message) -> ObjstoreError | None:
            return TooBusy("so many already") if isinstance(message, m.StageBody) and rig.now_s < began_s + 1.5 else None

        for node in rig.nodes:
            node.trouble = busy
        staging = await put(rig)
        assert holders(rig, staging) == 3
        assert 1.5 <= rig.now_s - began_s < 2.5
        began_s = rig.now_s + 1e6
        with pytest.raises(QuorumLost, match="so many already"):
            await put(rig)
        await nothing_runs(rig)

    run(main)


def test_the_client_waits_while_the_quorum_is_behind() -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes[:2]:
            node.body_trouble = lambda _: 0.1
        staging = await rig.cluster.stage(key())
        for _ in range(60):
            await staging.write(PIECE)
            lanes = sorted(lane.backlog for lane in staging._lanes)  # type: ignore[attr-defined]
            assert lanes[1] <= module.BEHIND_BYTES
        await staging.finish()

    run(main)


def test_the_last_replica_gets_a_moment_and_no_more() -> None:
    async def main(rig: Rig) -> None:
        last = rig.members(key())[2]
        for late_s, staged in ((0.03, 3), (5.0, 2)):
            last.body_trouble = lambda at, late_s=late_s: late_s if at == len(BODY) else None  # type: ignore[misc]
            began_s = rig.now_s
            staging = await rig.cluster.stage(key(), size=len(BODY))
            await send(staging)
            assert len(staging.holders) == staged  # type: ignore[attr-defined]
            assert rig.now_s - began_s < 0.3

    run(main)


@pytest.mark.parametrize("failure", [StaleEpoch("behind"), NewerEpoch("ahead")])
def test_a_body_refused_for_its_epoch_is_sent_again(failure: ObjstoreError) -> None:
    async def main(rig: Rig) -> None:
        new = rig.next_ring()
        refusals = 0

        def refuse(message: m.Message) -> ObjstoreError | None:
            nonlocal refusals
            if isinstance(message, m.StageBody) and refusals < 3:
                refusals += 1
                rig.set_ring(new)
                return failure
            return None

        for node in rig.nodes:
            node.trouble = refuse
        staging = await put(rig)
        assert refusals == 3
        assert holders(rig, staging) == 3

    run(main)


def test_a_ring_that_keeps_changing_fails_the_staging() -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes:
            node.trouble = lambda message: StaleEpoch("behind") if isinstance(message, m.StageBody) else None
        staging = await rig.cluster.stage(key())
        with pytest.raises(QuorumLost, match="keeps changing"):
            await send(staging)

    run(main)


def test_too_many_stagings_are_refused_and_leave_nothing() -> None:
    async def main(rig: Rig) -> None:
        owner = TaskOwner("few", limit=2)
        plan: Plan = rig.cluster.members.plan(0)
        with pytest.raises(TooBusy):
            module.Staging(rig.cluster.members, rig.proxy.clock, owner, plan, b"b" * 16, size=-1, timeout_s=1.0, patience_s=1.0)
        await owner.drain()
        assert len(owner) == 0

    run(main)


@pytest.mark.parametrize("after_s", [0.0, 0.0002, 0.0006, 0.001, 0.003, 0.01, 0.5])
def test_cancelled_anywhere_it_stops_all_lanes(after_s: float) -> None:
    async def main(rig: Rig) -> None:
        rig.nodes[0].body_trouble = lambda _: 0.2
        rig.nodes[1].body_trouble = lambda _: 0.2

        async def upload() -> None:
            staging = await rig.cluster.stage(key(), size=len(BODY))
            try:
                await send(staging)
            except BaseException:
                await staging.abort()
                raise

        task = asyncio.get_running_loop().create_task(upload())
        await asyncio.sleep(after_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        await nothing_runs(rig)

    run(main)


def test_aborted_uploads_are_dropped_by_the_nodes() -> None:
    async def main(rig: Rig) -> None:
        staging = await rig.cluster.stage(key(), size=len(BODY))
        await staging.write(PIECE)
        await asyncio.sleep(0.1)
        await staging.abort()
        await asyncio.sleep(0.1)
        assert [node.stopped_uploads for node in rig.nodes] == [1, 1, 1]
        assert not any(node.blobs for node in rig.nodes)
        with pytest.raises(QuorumLost):
            await staging.write(PIECE)

    run(main)
