"""Who reads without having attached keeps what he reads, whatever becomes of the volume."""

import pytest

from objstore.errors import NoSuchKey, Unavailable
from objstore.services.volume.operations import NoSuchSnapshot
from objstore.services.volume.readers import READER_PATIENCE_S, Reading, forget, open_reading, reading
from objstore.services.volume.sweep import Sweeper, Swept
from tests.support.volume_rig import CHUNK, VolumeHost, VolumeRig, with_volume


def write(host: VolumeHost, volume: bytes, data: bytes) -> None:
    attached = host.attach(volume)

    async def work() -> None:
        await attached.device.write(0, memoryview(data))
        await attached.detach()

    host.run(work)
    host.attached = None
    host.rig.pass_time(1.0)


def opened(host: VolumeHost, volume: bytes, snapshot: bytes = b"") -> Reading:
    return host.run(lambda: open_reading(host.objects, host.world, volume, host.rig.settings, snapshot=snapshot, who="test"))


def sweep(host: VolumeHost) -> Swept:
    return host.run(Sweeper(host.objects, grace_s=0.0).run)


def shown(host: VolumeHost, source: Reading, length: int) -> bytes:
    async def read() -> bytes:
        return b"".join([bytes(piece) for piece in await source.device.read(0, length)])

    return host.run(read)


def test_what_is_read_stays_when_it_is_written_over_or_its_snapshot_and_its_volume_go() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * (2 * CHUNK))
        pin = host.run(lambda: host.volumes.snapshot(volume))
        now, kept = opened(host, volume), opened(host, volume, pin.id)
        write(host, volume, b"b" * (2 * CHUNK))
        host.run(lambda: host.volumes.drop_snapshot(volume, pin.id))
        swept = sweep(host)
        assert (swept.removed, swept.readers) == (0, 2)
        host.run(now.aclose)
        host.run(lambda: host.volumes.delete(volume))  # which waits for no reader
        assert sweep(host).removed == 3  # of b: two chunks and a node
        assert shown(host, kept, 2 * CHUNK) == b"a" * (2 * CHUNK)
        host.run(kept.aclose)
        assert (sweep(host).removed, sweep(host).candidates) == (3, 0)

    with_volume(test)


def test_a_reader_that_lives_is_kept_for_hours_and_one_that_died_for_minutes() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("second")
        write(host, volume, b"a" * CHUNK)
        source = opened(other, volume)
        write(host, volume, b"b" * CHUNK)
        for _ in range(10):
            rig.pass_time(READER_PATIENCE_S)
            assert (sweep(host).removed, sweep(host).readers) == (0, 1)
        assert shown(other, source, CHUNK) == b"a" * CHUNK
        other.crash()
        rig.pass_time(READER_PATIENCE_S / 2)
        assert sweep(host).removed == 0
        rig.pass_time(READER_PATIENCE_S)
        assert (sweep(host).removed, sweep(host).readers) == (2, 0)

    with_volume(test)


def test_a_tree_that_went_while_it_was_opened_is_not_the_one_that_is_read() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("second")
        write(host, volume, b"a" * CHUNK)
        real, times = host.objects.put_reader, []

        async def meanwhile(reader):  # type: ignore[no-untyped-def]
            if not times:
                times.append(1)
                # Another host writes and sweeps between the first look at the head and the reader's own record.
                from objstore.services.volume.attach import attach

                attached = await attach(other.objects, host.world, volume, rig.settings, holder="other", directory="/volumes/other")
                await attached.device.write(0, memoryview(b"b" * CHUNK))
                await attached.detach()
                await host.world.clock.sleep(1.0)
                await Sweeper(other.objects, grace_s=0.0).run()
            await real(reader)

        host.objects.put_reader = meanwhile  # type: ignore[method-assign]
        source = opened(host, volume)
        assert shown(host, source, CHUNK) == b"b" * CHUNK
        host.run(source.aclose)
        assert sweep(host).readers == 0

    with_volume(test)


def test_what_is_not_there_is_refused_and_leaves_nothing() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        with pytest.raises(NoSuchSnapshot):
            opened(host, volume, b"s" * 16)
        with pytest.raises(NoSuchKey):
            opened(host, b"n" * 16)
        write(host, volume, b"a" * CHUNK)
        real = host.objects.put_reader

        async def deleted(reader):  # type: ignore[no-untyped-def]
            await real(reader)
            await host.volumes.delete(volume)

        host.objects.put_reader = deleted  # type: ignore[method-assign]
        with pytest.raises(NoSuchKey):
            opened(host, volume)
        assert (sweep(host).readers, sweep(host).candidates) == (0, 0)

    with_volume(test)


def test_a_volume_that_changes_without_pause_is_not_opened() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, number = rig.first, [0]
        write(host, volume, b"a" * CHUNK)
        real = host.objects.put_reader

        async def changed(reader):  # type: ignore[no-untyped-def]
            await real(reader)
            number[0] += 1
            await host.volumes.resize(volume, (5 + number[0]) * CHUNK)

        host.objects.put_reader = changed  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            opened(host, volume)
        assert sweep(host).readers == 0

    with_volume(test)


def test_a_blank_volume_is_read_without_a_record() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first

        async def work() -> bytes:
            async with reading(host.objects, host.world, volume, rig.settings, who="test") as source:
                assert await host.objects.readers(0) == []
                return b"".join([bytes(piece) for piece in await source.device.read(0, CHUNK)])

        assert host.run(work) == bytes(CHUNK)

    with_volume(test)


def test_a_reader_that_is_the_one_of_its_name_takes_the_place_of_one_that_died_and_can_be_forgotten() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("second")
        write(host, volume, b"a" * CHUNK)

        def begin(by: VolumeHost) -> Reading:
            return by.run(lambda: open_reading(by.objects, by.world, volume, rig.settings, who="upload", is_one=True))

        begin(other)
        other.crash()
        source = begin(host)
        assert len(host.run(lambda: host.objects.readers(0))) == 1
        host.run(source.aclose)
        assert host.run(lambda: host.objects.readers(0)) == []
        begin(other)
        other.crash()
        host.run(lambda: forget(host.objects, "upload", "another"))
        assert host.run(lambda: host.objects.readers(0)) == []

    with_volume(test)
