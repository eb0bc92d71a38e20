"""Snapshots and clones copy no chunk; what is in use is not taken away."""

import pytest

from objstore.core.rows import Space
from objstore.errors import InvalidArgument, NoSuchKey, PreconditionFailed, Unavailable
from objstore.services.volume.attach import VolumeInUse, attach
from objstore.services.volume.layout import CLONE, Head, Pin
from objstore.services.volume.objects import BUCKET, SERVICE, Swapped
from objstore.services.volume.operations import CLONE_PATIENCE_S, HasSnapshots, NoSuchSnapshot
from objstore.services.volume.sweep import Sweeper
from tests.support.volume_rig import CHUNK, VolumeHost, VolumeRig, with_volume


def fill(host: VolumeHost, volume: bytes, data: bytes, offset: int = 0) -> None:
    attached = host.attach(volume)

    async def work() -> None:
        await attached.device.write(offset, memoryview(data))
        await attached.detach()

    host.run(work)
    host.attached = None


def objects_of(rig: VolumeRig) -> int:
    bucket = rig.first.run(lambda: rig.first.store.bucket(SERVICE, BUCKET)).id
    return len(rig.registers.live_names(bucket, Space.OBJECTS))


def test_snapshots_and_clones_write_a_head_and_nothing_else() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes = rig.first, rig.first.volumes
        fill(host, volume, b"a" * (5 * CHUNK))
        before = objects_of(rig)
        pin = host.run(lambda: volumes.snapshot(volume, name="monday"))
        fill(host, volume, b"b" * CHUNK)
        after = objects_of(rig)
        assert after == before + 2  # a chunk and a node of the write
        clone = host.run(lambda: volumes.clone(volume, snapshot=pin.id, size_bytes=9 * CHUNK))
        assert objects_of(rig) == after + 1
        assert host.stored(clone.volume) == b"a" * (5 * CHUNK) + bytes(4 * CHUNK)
        assert host.stored(volume) == b"b" * CHUNK + b"a" * (4 * CHUNK)
        # The clone is a volume of its own.
        fill(host, clone.volume, b"c", 8 * CHUNK)
        assert host.stored(volume, pin.tree) == b"a" * (5 * CHUNK)
        assert host.stored(clone.volume)[8 * CHUNK : 8 * CHUNK + 2] == b"c\0"
        assert host.run(lambda: volumes.head(volume)).pins == (pin,)

    with_volume(test)


def test_a_volume_with_snapshots_or_a_holder_is_not_deleted() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes = rig.first, rig.first.volumes
        pin = host.run(lambda: volumes.snapshot(volume))
        with pytest.raises(HasSnapshots):
            host.run(lambda: volumes.delete(volume))
        host.run(lambda: volumes.drop_snapshot(volume, pin.id))
        with pytest.raises(NoSuchSnapshot):
            host.run(lambda: volumes.drop_snapshot(volume, pin.id))
        attached = host.attach(volume)
        with pytest.raises(VolumeInUse):
            host.run(lambda: volumes.delete(volume))
        host.run(attached.detach)
        host.attached = None
        host.run(lambda: volumes.delete(volume))
        with pytest.raises(NoSuchKey):
            host.run(lambda: volumes.head(volume))
        assert host.run(volumes.list) == []

    with_volume(test)


def test_a_volume_grows_and_never_shrinks() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes = rig.first, rig.first.volumes
        fill(host, volume, b"start")
        host.run(lambda: volumes.resize(volume, 2000 * CHUNK))
        fill(host, volume, b"end", 2000 * CHUNK - 3)
        attached = host.attach(volume)
        assert b"".join(host.run(lambda: attached.device.read(0, 5))) == b"start"
        with pytest.raises(VolumeInUse):
            host.run(lambda: volumes.resize(volume, 3000 * CHUNK))
        host.run(attached.detach)
        host.attached = None
        with pytest.raises(InvalidArgument):
            host.run(lambda: volumes.resize(volume, CHUNK))

    with_volume(test)


def test_an_id_is_used_once() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        with pytest.raises(PreconditionFailed):
            rig.first.run(lambda: rig.first.volumes.create(CHUNK, chunk_bytes=CHUNK, volume=volume))
        with pytest.raises(PreconditionFailed):
            rig.first.run(lambda: rig.first.volumes.clone(volume, clone=volume))
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).pins == ()
        with pytest.raises(NoSuchSnapshot):
            rig.first.run(lambda: rig.first.volumes.clone(volume, snapshot=b"s" * 16))

    with_volume(test)


def test_a_clone_that_was_given_up_meanwhile_is_not_made() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes = rig.first, rig.first.volumes
        real = host.objects.create

        async def slowly(head):  # type: ignore[no-untyped-def]
            made = await real(head)
            await volumes.end_clone(volume, head.volume)
            return made

        host.objects.create = slowly  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            host.run(lambda: volumes.clone(volume, clone=b"c" * 16))
        with pytest.raises(NoSuchKey):
            host.run(lambda: volumes.head(b"c" * 16))

    with_volume(test)


def test_the_pin_of_a_clone_keeps_its_source_from_being_deleted() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        import msgspec

        host = rig.first

        async def pin() -> None:
            at = await host.objects.head(volume)
            pins = (Pin(CLONE, b"c" * 16, at.head.tree, host.objects.clock.wall_us()),)
            await host.objects.swap(msgspec.structs.replace(at.head, pins=pins), at)

        host.run(pin)
        with pytest.raises(HasSnapshots):
            host.run(lambda: host.volumes.delete(volume))

    with_volume(test)


def test_a_volume_taken_from_a_dead_host_is_not_taken_from_the_next_one_when_the_answer_was_lost() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, second = rig.first, rig.add("second")
        host.attach(volume)
        host.crash()
        swap = host.objects.swap

        async def unheard(head: Head, before: Swapped) -> Swapped:
            await swap(head, before)
            host.objects.swap = swap  # type: ignore[method-assign] # once
            second.attached = await attach(second.objects, second.world, volume, rig.settings, holder="second", directory="/second")
            raise PreconditionFailed("the same swap again found another head")

        host.objects.swap = unheard  # type: ignore[method-assign]
        assert host.run(lambda: host.volumes.free(volume)).holder == "second"
        assert second.attached is not None
        second.run(second.attached.detach)

    with_volume(test)


def cut_at(step: int, rig: VolumeRig, volume: bytes, clone: bytes) -> bool:
    """A host that makes a clone and dies before it has done so many requests of the store; whether it had still some to do."""
    host, left = rig.add(f"maker {step}"), [step]
    for name in ("put", "get", "delete"):
        real = getattr(host.store, name)

        async def request(*given, real=real, **named):  # type: ignore[no-untyped-def]
            if not left[0]:
                await host.world.clock.sleep(1e9)
            left[0] -= 1
            return await real(*given, **named)

        setattr(host.store, name, request)
    ended = host.run_until(1.0, lambda: host.volumes.clone(volume, clone=clone, name="copy"))
    host.crash()
    return not ended


def test_a_clone_that_was_cut_anywhere_is_completed_by_who_makes_it_again_and_holds_its_source_no_longer() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes = rig.first, rig.first.volumes
        fill(host, volume, b"a" * CHUNK)
        for step in range(20):
            clone = bytes([step + 1]) * 16
            cut = cut_at(step, rig, volume, clone)
            made = host.run(lambda clone=clone: volumes.clone_once(volume, clone, name="copy"))  # type: ignore[misc]
            assert (made.maker, made.name) == (b"", "copy")
            assert host.run(lambda: volumes.head(volume)).pins == (), step
            rig.pass_time(1.0)
            host.run(Sweeper(host.objects, grace_s=0.0).run)
            assert host.stored(clone)[:CHUNK] == b"a" * CHUNK
            if not cut:
                break
        else:
            raise AssertionError("it never ended")

    with_volume(test)


def test_the_source_of_a_clone_that_was_cut_is_deleted_by_and_by_and_a_clone_that_is_there_stays() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes, step = rig.first, rig.first.volumes, 0
        while True:
            source = host.run(lambda: volumes.create(5 * CHUNK, chunk_bytes=CHUNK)).volume
            fill(host, source, b"a" * CHUNK)
            clone = bytes([step + 1]) * 16
            cut = cut_at(step, rig, source, clone)
            rig.pass_time(CLONE_PATIENCE_S + 1)
            host.run(lambda source=source: volumes.delete(source))  # type: ignore[misc]
            host.run(Sweeper(host.objects, grace_s=0.0).run)
            try:
                made = host.run(lambda clone=clone: volumes.head(clone))  # type: ignore[misc]
            except NoSuchKey:
                assert cut
            else:
                assert made.maker == b""
                assert host.stored(clone)[:CHUNK] == b"a" * CHUNK
            if not cut:
                break
            step += 1
        assert step > 5

    with_volume(test)


def test_a_maker_who_comes_late_takes_nothing_away_from_who_completed_his_clone() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("second")
        fill(host, volume, b"a" * CHUNK)
        real = host.objects.create

        async def slowly(head):  # type: ignore[no-untyped-def]
            made = await real(head)
            await other.volumes.clone_once(volume, head.volume)
            return made

        host.objects.create = slowly  # type: ignore[method-assign]
        made = host.run(lambda: host.volumes.clone(volume, clone=b"c" * 16))
        assert made.maker == b""
        assert host.stored(b"c" * 16)[:CHUNK] == b"a" * CHUNK
        assert host.run(lambda: host.volumes.head(volume)).pins == ()

    with_volume(test)


def test_a_clone_whose_pin_went_before_it_was_there_is_made_anew() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, volumes = rig.first, rig.first.volumes
        fill(host, volume, b"a" * CHUNK)
        at = host.run(lambda: volumes.head(volume))

        def leave(clone: bytes) -> None:
            host.run(lambda: host.objects.create(Head(clone, CHUNK, at.tree, b"", 1, maker=b"m" * 16)))

        leave(b"c" * 16)
        assert host.run(lambda: volumes.clone_once(volume, b"c" * 16, name="new")).name == "new"
        leave(b"d" * 16)
        with pytest.raises(NoSuchKey):
            host.run(lambda: volumes.clone_once(b"?" * 16, b"d" * 16))  # and its source is gone
        with pytest.raises(NoSuchKey):
            host.run(lambda: volumes.head(b"d" * 16))

    with_volume(test)


def test_a_volume_that_others_change_without_pause_is_tried_again_later() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first

        async def lost(*_: object) -> Swapped:
            raise PreconditionFailed("another was faster")

        host.objects.swap = lost  # type: ignore[method-assign]
        for call in (lambda: host.volumes.snapshot(volume), lambda: host.volumes.clone_once(volume, b"c" * 16)):
            with pytest.raises(Unavailable):  # not Refused: a job that meets it goes on
                host.run(call)  # type: ignore[arg-type]  # two kinds of results

    with_volume(test)
