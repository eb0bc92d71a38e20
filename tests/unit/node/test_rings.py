import asyncio
import random
from typing import Any

import pytest

from objstore.core.timestamp import ZERO
from objstore.errors import DamagedFile, DeviceOffline, InvalidArgument, NewerEpoch, ObjstoreError, Refused, StaleEpoch, Unavailable
from objstore.node.app import NodeApp
from objstore.node.ring_file import RingFile
from objstore.node.state import NOTE_EPOCH, NOTE_IN_SYNC, Condition, decode_in_sync
from objstore.wire import messages as m
from ring import builder, codec
from ring.lookup import Ring
from ring.model import Device, RingSpec
from tests.support.nodes import Nodes, ballot, config, key, row
from tests.support.wires import Site, run


def weighed(ring: Ring, weight: float = 2.0) -> Ring:
    """The next epoch; some partitions move when there are devices to spare."""
    return builder.change(ring, [builder.Weigh(0, weight)], now_s=1e9)


def newcomer(ring: Ring) -> int:
    """A device that takes over some partition in the change that this ring carries out."""
    partition = ring.moving()[0]
    return next(d for d in ring.primaries(partition) if d not in (ring.previous(partition) or ()))


def test_a_node_adopts_only_what_is_newer_and_whole_and_its_own() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        channel = await nodes.channel(0)
        first, second = nodes.ring, weighed(nodes.ring)
        assert (await channel.call(m.PutRing(), codec.encode(second), timeout_s=5))[0] == m.RingAnswer(second.epoch)
        assert (await channel.call(m.PutRing(), codec.encode(first), timeout_s=5))[0] == m.RingAnswer(second.epoch)
        damaged = bytearray(codec.encode(weighed(second, 3.0)))
        damaged[-30] ^= 1
        with pytest.raises(InvalidArgument, match="ring"):
            await channel.call(m.PutRing(), bytes(damaged), timeout_s=5)
        spec = RingSpec("default", 1, 2, 8, 0.0, 0.1)
        foreign = builder.create(spec, [Device(-1, "n", "tcp:h:1", "r", "z", 1.0, b"12345678")])
        for _ in range(5):
            foreign = weighed(foreign, foreign.epoch + 1.0)
        assert foreign.epoch > second.epoch
        with pytest.raises(Refused, match="another cluster"):
            await channel.call(m.PutRing(), codec.encode(foreign), timeout_s=5)
        answer, data = await channel.call(m.GetRing(), timeout_s=5)
        assert answer == m.RingAnswer(second.epoch, has_payload=True)
        assert codec.decode(bytes(data)) == second
        await nodes.stop()

    run(main)


def test_who_is_behind_is_told_so_and_by_how_much() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        epoch = nodes.ring.epoch
        with pytest.raises(NewerEpoch) as newer:
            await nodes.ask(m.Query, partition=0, key=key(), epoch=epoch + 1)
        assert newer.value.facts == {"epoch": epoch}
        await nodes.publish(weighed(nodes.ring))
        with pytest.raises(StaleEpoch) as stale:
            await nodes.ask(m.Query, partition=0, key=key(), epoch=epoch)
        assert stale.value.facts == {"epoch": epoch + 1}
        await nodes.stop()

    run(main)


def test_a_ring_is_durable_before_it_is_acted_upon() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        app = nodes.apps[0]
        newer = weighed(nodes.ring)
        put = asyncio.ensure_future((await nodes.channel(0)).call(m.PutRing(), codec.encode(newer), timeout_s=60))
        while app.state.epoch != newer.epoch:
            await asyncio.sleep(0.0001)
        site.storage.crash()
        assert RingFile(site.world, "/nodes/0/ring").load() == codec.encode(newer)
        put.cancel()

    for seed in range(10):
        run(main, seed=seed)


async def _burst(site: Site, nodes: Nodes, rng: random.Random) -> None:
    """Accepts of the old epoch, a new ring and queries of the new epoch, all on their way at once."""
    old, new = nodes.ring, weighed(nodes.ring, rng.uniform(1, 9))
    channel = await nodes.channel(0)
    order: list[tuple[str, Any, Any]] = []

    async def accept(number: int) -> None:
        await asyncio.sleep(rng.uniform(0, 0.03))
        try:
            answer, _ = await channel.call(
                nodes.request(m.Accept, epoch=old.epoch, partition=0, key=key(str(number)), ballot=ballot(), row=row()), timeout_s=9
            )
            order.append(("accepted", number, answer.verdict))  # type: ignore[attr-defined]
        except StaleEpoch:
            order.append(("stale", number, None))

    async def publish() -> None:
        await asyncio.sleep(rng.uniform(0, 0.03))
        await channel.call(m.PutRing(), codec.encode(new), timeout_s=9)

    async def query(number: int) -> None:
        while True:
            await asyncio.sleep(rng.uniform(0, 0.005))
            try:
                request = nodes.request(m.Query, epoch=new.epoch, partition=0, key=key(str(number)))
                answer, _ = await channel.call(request, timeout_s=9)
            except NewerEpoch:
                continue
            order.append(("found", number, answer.register.row))  # type: ignore[attr-defined]
            return

    await asyncio.gather(publish(), *(accept(n) for n in range(20)), *(query(n) for n in range(20)))
    found = {number: bool(data) for what, number, data in order if what == "found"}
    for what, number, _ in order:
        if what == "accepted":
            assert found[number], "a row of the old epoch became visible after the first answer of the new one"
        if what == "stale":
            assert not found[number]
    nodes.ring = new


def test_whoever_answers_in_an_epoch_has_everything_of_the_older_ones_behind_it() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        await _burst(site, nodes, random.Random(site.fabric.rng.random()))
        await nodes.stop()

    for seed in range(15):
        run(main, seed=seed)


def test_a_device_that_hangs_holds_up_nobody_else_when_the_epoch_changes() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1, directories=2)
        hanging, fine = nodes.apps[0].state.devices
        hanging.change_begins()
        await nodes.publish(weighed(nodes.ring))
        assert (await nodes.ask(m.Query, 1, partition=0, key=key())).register.row == b""
        with pytest.raises(ObjstoreError):
            await nodes.ask(m.Query, 0, partition=0, key=key(), timeout_s=1)
        waiting = asyncio.ensure_future(nodes.ask(m.Query, 0, partition=0, key=key(), timeout_s=5))
        await asyncio.sleep(1)
        hanging.change_ends()
        await waiting
        assert fine.held is hanging.held is None
        await nodes.stop()

    run(main)


def test_rings_that_come_quickly_one_after_the_other_end_in_the_last() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        device.change_begins()
        rings = [nodes.ring]
        for n in range(4):
            rings.append(weighed(rings[-1], 2.0 + n))
        channel = await nodes.channel(0)
        await asyncio.gather(*(channel.call(m.PutRing(), codec.encode(ring), timeout_s=9) for ring in rings[1:]))
        held = [asyncio.ensure_future(nodes.ask(m.Query, partition=0, key=key(), epoch=ring.epoch)) for ring in rings]
        await asyncio.sleep(1)
        device.change_ends()
        outcomes = await asyncio.gather(*held, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StaleEpoch] * 4 + [m.RegisterAnswer]
        assert device.engine is not None
        assert device.engine.note(NOTE_EPOCH) == str(rings[-1].epoch).encode()
        await nodes.stop()

    run(main)


def test_held_requests_are_refused_when_the_ring_drops_the_device() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4)
        [device] = nodes.apps[3].state.devices
        device.change_begins()
        moving = builder.change(nodes.ring, [builder.Remove(3)], now_s=1e9)
        await nodes.publish(moving)
        waiting = asyncio.ensure_future(nodes.ask(m.Query, 3, partition=0, key=key()))
        await asyncio.sleep(0.1)
        await nodes.publish(builder.finish(moving))
        device.change_ends()
        with pytest.raises(StaleEpoch):
            await waiting
        await nodes.stop()

    run(main)


def test_refilling_ends_partition_by_partition_and_is_remembered() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4, part_power=4)
        moving = builder.change(nodes.ring, [builder.Remove(3)], now_s=1e9)
        await nodes.publish(moving)
        device = newcomer(moving)
        pending = (await nodes.ask(m.SyncState, device)).pending
        assert pending == [p for p in moving.moving() if device in moving.primaries(p) and device not in (moving.previous(p) or ())]
        assert (await nodes.ask(m.Scan, device, bucket=b"bucket01", space=0, prefix=b"", start=b"", limit=9)).silent == tuple(pending)
        await asyncio.gather(*(nodes.ask(m.InSync, device, partition=p) for p in pending[1:]))
        assert (await nodes.ask(m.SyncState, device)).pending == pending[:1]
        await nodes.ask(m.InSync, device, partition=pending[-1])
        await nodes.apps[device].stop()
        nodes.apps[device] = await NodeApp.start(site.world, config(device))
        assert (await nodes.ask(m.SyncState, device)).pending == pending[:1]
        assert (await nodes.apps[device].report()).devices[0].state == "refilling"
        foreign = [p for p in range(16) if device not in moving.primaries(p)]
        for nowhere in (*foreign[:1], -1, 16):
            with pytest.raises(Refused):
                await nodes.ask(m.InSync, device, partition=nowhere)
        await nodes.stop()

    run(main)


def test_what_was_in_sync_in_one_epoch_is_not_in_the_next_change() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4, part_power=4)
        moving = builder.change(nodes.ring, [builder.Remove(3)], now_s=1e9)
        await nodes.publish(moving)
        device = newcomer(moving)
        for partition in (await nodes.ask(m.SyncState, device)).pending:
            await nodes.ask(m.InSync, device, partition=partition)
        assert (await nodes.ask(m.SyncState, device)).pending == []
        await nodes.publish(builder.abandon(moving))
        await nodes.publish(builder.change(nodes.ring, [builder.Remove(3)], now_s=2e9))
        assert (await nodes.ask(m.SyncState, device)).pending
        engine = nodes.apps[device].state.devices[0].engine
        assert engine is not None
        assert decode_in_sync(engine.note(NOTE_IN_SYNC), nodes.ring.epoch) == frozenset()
        await nodes.stop()

    run(main)


def test_in_sync_of_an_epoch_that_has_ended_is_refused_even_when_it_waited_in_between() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4, part_power=4)
        moving = builder.change(nodes.ring, [builder.Remove(3)], now_s=1e9)
        await nodes.publish(moving)
        device = newcomer(moving)
        partition = (await nodes.ask(m.SyncState, device)).pending[0]
        app = nodes.apps[device]
        [here] = app.state.devices
        here.change_begins()
        await nodes.publish(builder.change(builder.abandon(moving), [builder.Remove(3)], now_s=2e9))
        marking = asyncio.ensure_future(app._keeper.mark_in_sync(here, partition, epoch=moving.epoch, floor=ZERO))
        await asyncio.sleep(0.1)
        here.change_ends()
        with pytest.raises(StaleEpoch):
            await marking
        assert partition in (await nodes.ask(m.SyncState, device)).pending
        await nodes.stop()

    run(main)


def test_a_disk_that_has_served_in_a_newer_epoch_is_silent_until_its_node_knows_that_epoch() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        newer = weighed(nodes.ring)
        await nodes.publish(newer)
        await nodes.ask(m.Query, 0, partition=0, key=key())
        await nodes.apps[0].stop()
        RingFile(site.world, "/nodes/0/ring").save(codec.encode(builder.create(newer.spec, newer.devices.values())))
        nodes.apps[0] = await NodeApp.start(site.world, config(0))
        older = nodes.apps[0].state.epoch
        assert older < newer.epoch
        with pytest.raises(ObjstoreError, match="has served in epoch"):
            await nodes.ask(m.Query, 0, partition=0, key=key(), epoch=older)
        await nodes.publish(newer)
        await nodes.ask(m.Query, 0, partition=0, key=key())
        await nodes.stop()

    run(main)


def test_a_ring_that_cannot_be_saved_is_not_adopted() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)

        def fail(_data: bytes) -> None:
            raise OSError(28, "No space left on device")

        nodes.apps[0]._keeper._file.save = fail  # type: ignore[method-assign]
        newer = weighed(nodes.ring)
        with pytest.raises(Unavailable, match="cannot be written"):
            await (await nodes.channel(0)).call(m.PutRing(), codec.encode(newer), timeout_s=5)
        assert nodes.apps[0].state.epoch == nodes.ring.epoch
        assert (await nodes.ask(m.Query, partition=0, key=key())).register.row == b""
        await nodes.stop()

    run(main)


def test_a_device_that_could_not_enter_an_epoch_enters_it_as_soon_as_it_can() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        assert device.engine is not None
        committer = device.engine._device.committer  # type: ignore[attr-defined]
        await committer.pause(OSError("for a while"))
        for attempt in range(2):
            await nodes.publish(weighed(nodes.ring, 2.0 + attempt))
            with pytest.raises(DeviceOffline, match="could not enter epoch"):
                await nodes.ask(m.Query, partition=0, key=key())
        await asyncio.sleep(60)
        assert (device.condition, bool(device.detail)) == (Condition.OFFLINE, True)
        committer.resume()
        await asyncio.sleep(10)
        assert (await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row())).verdict == "yes"
        assert device.engine.note(NOTE_EPOCH) == str(nodes.ring.epoch).encode()
        assert (device.condition, device.detail) == (Condition.UP, "")
        await nodes.stop()

    run(main)


def test_the_next_epoch_takes_in_a_device_that_could_not_enter_the_one_before() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        assert device.engine is not None
        committer = device.engine._device.committer  # type: ignore[attr-defined]
        await committer.pause(OSError("for a while"))
        await nodes.publish(weighed(nodes.ring))
        await asyncio.sleep(0.1)
        assert device.detail
        committer.resume()
        await nodes.publish(weighed(nodes.ring, 3.0))
        await nodes.ask(m.Query, partition=0, key=key())
        assert device.noted_epoch == nodes.ring.epoch
        await nodes.stop()

    run(main)


def test_a_device_whose_index_was_built_anew_is_reported_as_up() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        assert device.engine is not None
        renewing = asyncio.ensure_future(device.engine._device.renew_index(DamagedFile("rot")))  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        with pytest.raises(DeviceOffline):
            await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row())
        assert device.condition is Condition.OFFLINE
        assert "rot" in (await nodes.apps[0].report()).devices[0].detail
        await renewing
        seen = (await nodes.apps[0].report()).devices[0]
        assert (device.condition, seen.state, seen.detail) == (Condition.UP, "up", "")
        await nodes.stop()

    run(main)
