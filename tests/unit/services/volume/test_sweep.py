"""Mark and sweep: what nobody names goes, what anybody names or may yet name stays."""

import msgspec
import pytest

from objstore.errors import DamagedFile
from objstore.services.volume.layout import CLONE, Head, Pin, chunk_key, ref_of
from objstore.services.volume.operations import CLONE_PATIENCE_S
from objstore.services.volume.sweep import Sweeper, Swept, end_old_clones
from tests.support.volume_rig import CHUNK, VolumeHost, VolumeRig, with_volume


def sweep(host: VolumeHost, grace_s: float = 0.0) -> Swept:
    return host.run(Sweeper(host.objects, grace_s=grace_s).run)


def write(host: VolumeHost, volume: bytes, data: bytes) -> None:
    attached = host.attach(volume)

    async def work() -> None:
        await attached.device.write(0, memoryview(data))
        await attached.detach()

    host.run(work)
    host.attached = None
    rig_second(host)


def rig_second(host: VolumeHost) -> None:
    host.rig.pass_time(1.0)  # so that what was written is older than no grace at all


def test_what_was_written_over_goes_and_what_is_named_stays() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * (3 * CHUNK))
        pin = host.run(lambda: host.volumes.snapshot(volume))
        write(host, volume, b"b" * CHUNK)
        write(host, volume, b"c" * CHUNK)
        swept = sweep(host)
        assert (swept.removed, swept.volumes) == (2, 1)  # the chunk of b and its node
        assert host.stored(volume) == b"c" * CHUNK + b"a" * (2 * CHUNK) + bytes(2 * CHUNK)
        assert host.stored(volume, pin.tree)[: 3 * CHUNK] == b"a" * (3 * CHUNK)
        host.run(lambda: host.volumes.drop_snapshot(volume, pin.id))
        assert sweep(host).removed == 2
        assert sweep(host).removed == 0

    with_volume(test)


def test_chunks_of_a_deleted_volume_live_on_in_its_clone() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * (2 * CHUNK))
        clone = host.run(lambda: host.volumes.clone(volume))
        host.run(lambda: host.volumes.delete(volume))
        assert sweep(host).removed == 0
        assert host.stored(clone.volume)[: 2 * CHUNK] == b"a" * (2 * CHUNK)
        host.run(lambda: host.volumes.delete(clone.volume))
        assert sweep(host).removed == 3

    with_volume(test)


def test_what_a_commit_under_way_has_written_stays_until_that_commit_cannot_succeed() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        head = host.run(lambda: host.volumes.head(volume))
        ref = ref_of(volume, head.generation, 77, b"not committed yet")
        host.run(lambda: host.objects.put_chunk(ref, b"not committed yet"))
        rig.pass_time(5)
        assert (sweep(host).kept_open, sweep(host).removed) == (1, 0)
        host.crash()
        host.attach(volume)
        swept = sweep(host)
        assert (swept.kept_open, swept.removed) == (0, 1)

    with_volume(test)


def test_young_pieces_are_kept_for_readers() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * CHUNK)
        write(host, volume, b"b" * CHUNK)
        swept = sweep(host, 3600.0)
        assert (swept.removed, swept.kept_young) == (0, 2)

    with_volume(test)


def test_a_clone_made_while_heads_are_read_is_found() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * CHUNK)
        made: list[bytes] = []
        real = host.objects.head

        async def head(wanted: bytes):  # type: ignore[no-untyped-def]
            if not made:
                # The very moment when the only head that names the chunk is about to be read: the chunk moves to a clone.
                made.append(b"c" * 16)
                await host.volumes.clone(volume, clone=made[0])
                await host.volumes.delete(volume)
            return await real(wanted)

        host.objects.head = head  # type: ignore[method-assign]
        swept = sweep(host)
        assert swept.removed == 0
        host.objects.head = real  # type: ignore[method-assign]
        assert host.stored(made[0])[:CHUNK] == b"a" * CHUNK

    with_volume(test)


def test_nothing_is_removed_when_a_node_cannot_be_read() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.errors import NoSuchKey

        host = rig.first
        write(host, volume, b"a" * CHUNK)
        write(host, volume, b"b" * CHUNK)

        async def gone(ref):  # type: ignore[no-untyped-def]
            raise NoSuchKey("for this test")

        host.objects.get_node = gone  # type: ignore[method-assign]
        dropped: list[str] = []

        async def drop(key: str) -> None:
            dropped.append(key)

        host.objects.drop = drop  # type: ignore[method-assign]
        with pytest.raises(NoSuchKey):
            sweep(host)
        assert dropped == []

    with_volume(test)


def test_pins_of_clones_whose_maker_died_are_taken_back() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first

        async def pin() -> None:
            at = await host.objects.head(volume)
            pins = (Pin(CLONE, b"c" * 16, at.head.tree, host.objects.clock.wall_us()),)
            await host.objects.swap(msgspec.structs.replace(at.head, pins=pins), at)

        host.run(pin)
        for expected in (0, 1, 0):
            heads = host.run(host.volumes.list)
            assert host.run(lambda heads=heads: end_old_clones(host.volumes, heads)) == expected  # type: ignore[misc]
            rig.pass_time(3700)
        assert host.run(lambda: host.volumes.head(volume)).pins == ()

    with_volume(test)


def test_names_of_other_shapes_are_left_alone() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.objects.api import Attributes, Expected
        from objstore.services.volume.objects import BUCKET, SERVICE, WholeBody

        host = rig.first
        host.run(lambda: host.store.put(SERVICE, BUCKET, "chunk/other", WholeBody(b"?"), attributes=Attributes(), expected=Expected()))
        rig.pass_time(1)
        assert sweep(host).candidates == 0
        assert chunk_key(ref_of(volume, 1, 1, b"")).startswith("chunk/")

    with_volume(test)


def test_of_many_processes_one_sweeps_at_a_time_and_another_goes_on_when_it_dies() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        import asyncio

        from objstore.records.store import Leases
        from objstore.services.volume.sweep import sweep_for_ever

        hosts = [rig.first, rig.add("second")]
        rounds: list[str] = []

        def begin(host: VolumeHost) -> None:
            real = host.objects.volumes

            def volumes():  # type: ignore[no-untyped-def]
                if not rounds or rounds[-1] != f"{host.name} at {int(rig.simulation.scheduler.now_s)}":
                    rounds.append(f"{host.name} at {int(rig.simulation.scheduler.now_s)}")
                return real()

            host.objects.volumes = volumes  # type: ignore[method-assign]
            leases = Leases(host.store.cluster, host.world.clock, "volumes")

            async def start() -> None:
                asyncio.get_running_loop().create_task(
                    sweep_for_ever(host.volumes, leases, holder=host.name, interval_s=100.0, grace_s=0.0)
                )

            host.run(start)

        write(rig.first, volume, b"a" * CHUNK)
        write(rig.first, volume, b"b" * CHUNK)
        for host in hosts:
            begin(host)
        rig.pass_time(350)
        assert len(rounds) == 3, rounds  # and not six
        assert sweep(hosts[1]).removed == 0  # they did it
        sweeping = next(host for host in hosts if rounds[0].startswith(host.name))
        rounds.clear()
        sweeping.crash()
        rig.pass_time(300)
        assert rounds
        assert not any(text.startswith(sweeping.name) for text in rounds)

    with_volume(test)


def test_a_reader_whose_tree_is_gone_keeps_nobody_from_sweeping() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.services.volume.layout import Reader, Tree

        host = rig.first
        write(host, volume, b"a" * CHUNK)
        write(host, volume, b"b" * CHUNK)
        lost = Tree(CHUNK, 2, ref_of(volume, 1, 99, b"gone").pack())
        host.run(lambda: host.objects.put_reader(Reader(b"r" * 16, volume, lost, 1)))
        assert sweep(host).removed == 2

    with_volume(test)


def test_one_volume_whose_pins_cannot_be_looked_at_keeps_no_others() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        head = host.run(lambda: host.volumes.head(volume))
        pinned = msgspec.structs.replace(head, pins=(Pin(CLONE, b"c" * 16, head.tree, 1),))
        real = host.objects.head

        async def damaged(wanted: bytes):  # type: ignore[no-untyped-def]
            if wanted == b"d" * 16:
                raise DamagedFile("for this test")
            return await real(wanted)

        host.objects.head = damaged  # type: ignore[method-assign]
        bad = msgspec.structs.replace(head, pins=(Pin(CLONE, b"d" * 16, head.tree, 1),))
        assert host.run(lambda: end_old_clones(host.volumes, [bad, pinned])) == 1

    with_volume(test)


def test_a_clone_that_came_too_late_and_was_left_keeps_nobody_from_sweeping_and_goes() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * CHUNK)
        at = host.run(lambda: host.volumes.head(volume))
        write(host, volume, b"b" * CHUNK)
        sweep(host)
        late = Head(b"c" * 16, CHUNK, at.tree, b"", host.objects.clock.wall_us(), maker=b"m" * 16)
        host.run(lambda: host.objects.create(late))
        write(host, volume, b"c" * CHUNK)
        assert sweep(host).removed == 2  # of b
        for seconds, ended in ((0, 0), (CLONE_PATIENCE_S + 1, 1)):
            rig.pass_time(seconds)
            heads = host.run(host.volumes.list)
            assert host.run(lambda heads=heads: end_old_clones(host.volumes, heads)) == ended  # type: ignore[misc]
        assert [head.volume for head in host.run(host.volumes.list)] == [volume]

    with_volume(test)


def test_a_clone_that_is_completed_at_this_moment_is_not_taken_for_one_that_was_left() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        write(host, volume, b"a" * CHUNK)
        clone = host.run(lambda: host.volumes.clone(volume))
        rig.pass_time(CLONE_PATIENCE_S + 1)
        stale = msgspec.structs.replace(clone, maker=b"m" * 16)  # as it was when the heads were read
        assert host.run(lambda: end_old_clones(host.volumes, [stale])) == 0
        assert host.run(lambda: host.volumes.head(clone.volume)) == clone

    with_volume(test)
