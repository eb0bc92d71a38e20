"""A host's volumes: attached and let go of while others are served."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from objstore.errors import NoSuchKey, PreconditionFailed
from objstore.services.volume.attach import VolumeInUse
from objstore.services.volume.device import Fenced
from objstore.services.volume.host import HostPlace, NotServed, VolumeHost
from tests.support.volume_rig import CHUNK, VolumeRig, with_volume
from tests.support.volume_rig import VolumeHost as RigHost


class Locks:
    def __init__(self) -> None:
        self.held: set[bytes] = set()

    @contextlib.contextmanager
    def alone(self, volume: bytes) -> Iterator[None]:
        assert volume not in self.held
        self.held.add(volume)
        try:
            yield
        finally:
            self.held.discard(volume)


def host_on(seat: RigHost, locks: Locks) -> VolumeHost:
    place = HostPlace(seat.name, lambda volume: f"/volumes/{volume.hex()}", locks.alone)
    return VolumeHost(seat.volumes, seat.world, seat.rig.settings, place)


def test_a_volume_is_attached_snapshotted_made_longer_and_let_go_of() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        locks = Locks()
        host = host_on(rig.first, locks)

        async def work() -> None:
            name, again = await asyncio.gather(host.attach(volume), host.attach(volume))
            assert name == again == volume.hex()
            device = host.served()[name]
            await device.write(0, memoryview(b"now"))
            pin = await host.snapshot(volume, name="s")
            await device.write(0, memoryview(b"NOW"))
            assert (await host.resize(volume, 9 * CHUNK)).size_bytes == 9 * CHUNK
            export = host.server.find(name)
            assert export is not None
            assert export.size_bytes == 9 * CHUNK
            view = await host.attach_snapshot(volume, pin.id)
            assert b"".join(await host.served()[view].read(0, 3)) == b"now"
            assert host.served()[view].read_only
            assert (await host.commit(volume)).position == 2
            await host.detach(view)
            await host.detach(name)
            await host.detach(name)
            assert host.served() == {}
            assert host.server.find(name) is None

        rig.first.run(work)
        assert locks.held == set()
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == ""
        assert rig.first.stored(volume)[:3] == b"NOW"

    with_volume(test)


def test_what_is_not_served_cannot_be_asked_about() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        locks = Locks()
        host = host_on(rig.first, locks)

        async def work() -> None:
            for call in (host.snapshot(volume), host.resize(volume, CHUNK), host.commit(volume)):
                with pytest.raises(NotServed):
                    await call
            with pytest.raises(NoSuchKey):
                await host.attach(b"?" * 16)
            with pytest.raises(NoSuchKey):
                await host.attach_snapshot(volume, b"?" * 16)

        rig.first.run(work)
        assert locks.held == set()

    with_volume(test)


def test_a_volume_that_was_taken_away_is_dropped_and_may_be_taken_back() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        second = rig.add("second")
        locks = Locks()
        one, other = host_on(rig.first, locks), host_on(second, Locks())
        rig.first.run(lambda: one.attach(volume))
        with pytest.raises(VolumeInUse):
            second.run(lambda: other.attach(volume))
        second.run(lambda: other.attach(volume, force=True))
        with pytest.raises(Fenced):
            rig.first.run(lambda: one.detach(volume.hex()))
        assert one.served() == {}
        assert locks.held == set()
        second.run(lambda: other.detach(volume.hex()))
        rig.first.run(lambda: one.attach(volume))
        rig.first.run(lambda: one.aclose(patience_s=5.0))
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == ""

    with_volume(test)


def test_what_cannot_be_let_go_of_in_time_stays_attached() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.errors import QuorumLost

        host = host_on(rig.first, Locks())
        real = rig.first.store.put

        async def work() -> None:
            await host.attach(volume)
            await host.served()[volume.hex()].write(5, memoryview(b"kept by the journal"))

            async def down(*_: object, **__: object) -> None:
                raise QuorumLost("for this test")

            rig.first.store.put = down  # type: ignore[method-assign,assignment]
            await host.aclose(patience_s=3.0)
            rig.first.store.put = real  # type: ignore[method-assign]

        rig.first.run(work)
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == "first"
        rig.first.attach(volume)
        assert rig.first.content()[5:24] == b"kept by the journal"

    with_volume(test)


def test_a_read_only_volume_is_refused_and_nothing_stays_behind() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        import msgspec

        locks = Locks()
        host = host_on(rig.first, locks)

        async def work() -> None:
            at = await rig.first.objects.head(volume)
            await rig.first.objects.swap(msgspec.structs.replace(at.head, read_only=True), at)
            with pytest.raises(PreconditionFailed):
                await host.attach(volume)

        rig.first.run(work)
        assert locks.held == set()

    with_volume(test)
