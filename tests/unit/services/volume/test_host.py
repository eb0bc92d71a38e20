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


def test_what_the_store_says_is_attached_here_is_let_go_of_though_it_is_not_served() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, second = host_on(rig.first, Locks()), host_on(rig.add("second"), Locks())
        rig.first.attach(volume)

        async def write() -> None:
            assert rig.first.attached is not None
            await rig.first.attached.device.write(0, memoryview(b"kept"))
            await rig.first.attached.aclose()

        rig.first.run(write)
        rig.hosts[1].run(lambda: second.detach(volume.hex()))  # not that one's
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == "first"
        rig.first.run(lambda: host.detach(volume.hex()))
        assert host.served() == {}
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == ""
        assert rig.first.stored(volume)[:4] == b"kept"
        for name in (volume.hex(), "?", "f" * 32, f"{volume.hex()}@{volume.hex()}"):
            rig.first.run(lambda name=name: host.detach(name))

    with_volume(test)


def test_a_volume_is_exported_on_where_letting_go_of_it_was_broken_off() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = host_on(rig.first, Locks())
        real = rig.first.objects.swap

        async def never(*_: object) -> None:
            await asyncio.sleep(1000.0)

        async def work() -> None:
            name = await host.attach(volume)
            rig.first.objects.swap = never  # type: ignore[method-assign,assignment]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await host.detach(name)
            assert host.server.find(name) is not None
            rig.first.objects.swap = real  # type: ignore[method-assign]
            device = host.served()[name]
            await device.write(0, memoryview(b"on"))
            await device.flush()
            await host.detach(name)
            assert host.server.find(name) is None

        rig.first.run(work)
        assert rig.first.stored(volume)[:2] == b"on"

    with_volume(test)


def test_nobody_else_gets_the_journal_before_it_is_closed() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        locks, held = Locks(), []
        host = host_on(rig.first, locks)

        async def work() -> None:
            name = await host.attach(volume)
            device = host.served()[name]
            await device.write(0, memoryview(b"on"))
            close = device.aclose

            async def closing() -> None:
                held.append(set(locks.held))
                await close()

            device.aclose = closing  # type: ignore[method-assign]
            await host._drop(name)
            assert host.served() == {}

        rig.first.run(work)
        assert held == [{volume}]
        assert locks.held == set()

    with_volume(test)
