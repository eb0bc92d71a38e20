"""The device: what is read is what was written, whatever is cached, committed, fetched or lost in between."""

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest

from objstore.errors import ConditionalConflict, NoSuchKey, QuorumLost
from objstore.services.volume.attach import Attached, VolumeInUse
from objstore.services.volume.device import Device, Fenced, ReadOnly
from objstore.services.volume.layout import Head, Ref
from objstore.services.volume.objects import Swapped
from tests.support.volume_rig import CHUNK, VolumeHost, VolumeRig, with_volume


def write(host: VolumeHost, offset: int, data: bytes) -> None:
    device = the(host)
    host.run(lambda: device.write(offset, memoryview(data)))


def the(host: VolumeHost) -> Device:
    assert isinstance(host.attached, Attached)
    return host.attached.device


def test_a_new_volume_reads_as_zeros_and_takes_no_room() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        assert host.content() == bytes(5 * CHUNK)
        assert host.run(lambda: the(host).spans(0, 5 * CHUNK)) == [(5 * CHUNK, True)]
        assert the(host).fetches == 0

    with_volume(test)


def test_what_was_written_is_read_before_and_after_it_is_in_the_store() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, CHUNK - 10, b"x" * 20)
        assert host.content()[CHUNK - 10 : CHUNK + 10] == b"x" * 20
        assert host.stored(volume) == bytes(5 * CHUNK)
        host.run(the(host).commit)
        assert host.stored(volume) == host.content()
        assert host.run(lambda: the(host).spans(0, 5 * CHUNK)) == [(2 * CHUNK, False), (3 * CHUNK, True)]

    with_volume(test)


def test_changes_reach_the_store_by_themselves() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"hello")
        rig.pass_time(rig.settings.commit_interval_s + 2)
        assert host.stored(volume)[:5] == b"hello"

    with_volume(test)


def test_a_write_into_a_chunk_that_is_not_in_memory_keeps_the_rest_of_it() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        base = random.Random(1).randbytes(5 * CHUNK)
        write(host, 0, base)
        host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        write(host, 100, b"new")
        assert the(host).fetches == 0
        expected = base[:100] + b"new" + base[103:]
        host.run(the(host).commit)
        assert host.stored(volume) == expected == host.content()

    with_volume(test)


def test_zeros_take_the_room_of_a_chunk_away() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"x" * (3 * CHUNK))
        host.run(the(host).commit)
        host.run(lambda: the(host).zero(CHUNK // 2, 2 * CHUNK))
        expected = b"x" * (CHUNK // 2) + bytes(2 * CHUNK) + b"x" * (CHUNK // 2) + bytes(2 * CHUNK)
        assert host.content() == expected
        host.run(the(host).commit)
        assert host.stored(volume) == expected
        assert host.run(lambda: the(host).spans(0, 3 * CHUNK)) == [(CHUNK, False), (CHUNK, True), (CHUNK, False)]

    with_volume(test)


def test_writers_wait_for_room_and_lose_nothing() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        model = bytearray(40 * CHUNK)
        for number in range(40):
            data = bytes([number + 1]) * 100
            model[number * CHUNK : number * CHUNK + 100] = data
            write(host, number * CHUNK, data)
        assert the(host).commits >= 3
        assert host.content() == model

    with_volume(test, chunks=40)


def test_a_write_during_a_commit_is_not_part_of_it() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        device = the(host)
        write(host, 0, b"a" * CHUNK)

        async def both() -> None:
            commit = asyncio.ensure_future(device.commit())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await device.write(0, memoryview(b"b" * CHUNK))
            await commit

        host.run(both)
        assert host.stored(volume)[:CHUNK] == b"a" * CHUNK
        assert host.content()[:CHUNK] == b"b" * CHUNK

    with_volume(test)


def test_reading_on_in_order_fetches_ahead() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"z" * 5 * CHUNK)
        host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        device = the(host)

        async def read_on() -> None:
            for at in range(0, CHUNK, CHUNK // 4):
                device.read_now(at, CHUNK // 4) or await device.read(at, CHUNK // 4)

        host.run(read_on)
        rig.pass_time(1)
        assert device.fetches == 3

        async def at_once() -> bool:
            return device.read_now(CHUNK, CHUNK) is not None

        assert host.run(at_once)

    with_volume(test)


def test_with_durability_in_the_store_a_flush_waits_for_it() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume, durability="store")
        write(host, 7, b"kept")
        host.run(the(host).flush)
        assert host.stored(volume)[7:11] == b"kept"
        host.crash()
        host.attach(volume, durability="store")
        assert host.content()[7:11] == b"kept"

    with_volume(test)


def test_a_volume_is_made_longer_while_it_is_in_use() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"first")
        size = 1100 * CHUNK  # more than one node of the map holds
        host.run(lambda: the(host).resize(size))
        write(host, size - 4, b"last")
        host.run(the(host).commit)
        host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        assert the(host).size_bytes == size
        assert b"".join(host.run(lambda: the(host).read(size - 4, 4))) == b"last"
        assert b"".join(host.run(lambda: the(host).read(0, 5))) == b"first"

    with_volume(test)


def test_a_flush_outlives_a_resize_whose_answer_was_lost() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"flushed")
        host.run(the(host).flush)
        objects = the(host)._objects
        swap, look, lost = objects.swap, objects.head, []

        async def swap_unheard(head: Head, before: Swapped) -> Swapped:
            await swap(head, before)
            objects.swap = swap  # type: ignore[method-assign] # once
            lost.append(head)
            raise QuorumLost("the answer never came")

        async def look_fails(volume: bytes) -> Swapped:
            objects.head = look  # type: ignore[method-assign] # once
            raise QuorumLost("nor this one")

        objects.swap, objects.head = swap_unheard, look_fails  # type: ignore[method-assign] # as a store that is cut off
        host.run(lambda: the(host).resize(8 * CHUNK))
        assert lost
        host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        assert the(host).size_bytes == 8 * CHUNK
        assert host.content()[:7] == b"flushed"

    with_volume(test)


def test_whoever_attaches_by_force_fences_the_one_before() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)
        write(first, 0, b"of the first")
        second.attach(volume, force=True)
        write(second, 0, b"THE SECOND")
        second.run(the(second).commit)
        with pytest.raises(Fenced):
            first.run(the(first).commit)
        with pytest.raises(Fenced):
            the(first).read_now(0, 10)
        assert second.stored(volume)[:10] == b"THE SECOND"

    with_volume(test)


def test_a_fenced_server_that_has_nothing_to_write_finds_out() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)
        second.attach(volume, force=True)
        rig.pass_time(rig.settings.watch_interval_s + 1)
        assert isinstance(the(first).failure, Fenced)

    with_volume(test)


def test_a_view_cannot_be_written_to() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        from objstore.services.volume.attach import view

        host = rig.first
        at = host.run(lambda: host.objects.head(volume))
        device = view(host.objects, host.world, at, rig.settings)
        with pytest.raises(ReadOnly):
            device.write_now(0, memoryview(b"x"))
        host.run(device.aclose)

    with_volume(test)


def test_bytes_that_were_replaced_while_they_were_fetched_are_not_kept() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"old" * 10)
        host.run(the(host).commit)
        host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        device, real = the(host), host.objects.get_chunk

        async def work() -> bytes:
            fetched, go_on = asyncio.Event(), asyncio.Event()

            async def slow(ref):  # type: ignore[no-untyped-def]
                data = await real(ref)
                if not fetched.is_set():
                    fetched.set()
                    await go_on.wait()
                return data

            host.objects.get_chunk = slow  # type: ignore[method-assign]
            reading = asyncio.ensure_future(device.read(0, 6))
            await fetched.wait()
            await device.write(0, memoryview(b"NEW"))
            await device.commit()
            # Other chunks push the new bytes out of memory before the old ones arrive.
            for index in range(1, 5):
                await device.write(index * CHUNK, memoryview(b"x" * CHUNK))
            await device.commit()
            for index in range(1, 5):
                await device.read(index * CHUNK, 1)
            go_on.set()
            await reading
            return b"".join(await device.read(0, 6))

        assert host.run(work) == b"NEWold"

    with_volume(test)


def lose(host: VolumeHost, wanted: Callable[[Head], bool], *, times: int = 1) -> list[Head]:
    """The answers to the first such swaps of the head are lost; the heads that were written so."""
    swap, lost = host.objects.swap, []

    async def unheard(head: Head, before: Swapped) -> Swapped:
        done = await swap(head, before)
        if wanted(head) and len(lost) < times:
            lost.append(head)
            raise QuorumLost("the answer never came")
        return done

    host.objects.swap = unheard  # type: ignore[method-assign] # as a store that is cut off
    return lost


def slowly(device: Device) -> None:
    """Have it commit when it is asked to, and not before."""
    device._hurry.set = lambda: None  # type: ignore[method-assign]


def is_free(head: Head) -> bool:
    return not head.holder


def test_a_commit_whose_answer_was_lost_is_known_again() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        lost = lose(host, lambda head: head.position > 0)
        write(host, 0, b"x" * (2 * CHUNK))
        host.run(the(host).commit)
        assert lost
        assert the(host).failure is None
        write(host, 1, b"y")
        host.run(the(host).commit)
        assert host.stored(volume)[:3] == b"xyx"

    with_volume(test)


def test_a_commit_goes_on_after_whatever_the_store_refused() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"x" * CHUNK)
        host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        real, refused = host.objects.get_chunk, []

        async def missing(ref: Ref) -> bytearray:
            if not refused:
                refused.append(ref)
                raise NoSuchKey("for this test")
            return await real(ref)

        host.objects.get_chunk = missing  # type: ignore[method-assign]
        write(host, 1, b"y")
        host.run(the(host).commit)
        assert refused
        write(host, 2, b"z")
        host.run(the(host).commit)
        assert host.stored(volume)[:4] == b"xyzx"

    with_volume(test)


@pytest.mark.parametrize("durability", ["journal", "store"])
def test_no_flush_is_answered_while_the_head_may_say_that_nobody_holds_the_volume(durability: str) -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        attached = first.attach(volume, durability=durability, commit_interval_s=1000.0, watch_interval_s=1000.0)
        slowly(attached.device)
        write(first, 0, b"one")
        lose(first, is_free)
        with pytest.raises(QuorumLost):
            first.run(attached.detach)
        assert second.run(lambda: second.objects.head(volume)).head.holder == ""
        write(first, 0, b"two")
        first.run(the(first).flush)
        # Now it is held again, so that nobody else gets it; a crash loses nothing.
        with pytest.raises(VolumeInUse):
            second.attach(volume)
        first.crash()
        first.attach(volume, durability=durability)
        assert first.content()[:3] == b"two"
        first.run(first.attached.detach)  # type: ignore[union-attr]
        second.attach(volume)
        assert second.content()[:3] == b"two"

    with_volume(test)


def test_whoever_attaches_what_was_let_go_of_unheard_fences_the_one_before() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        attached = first.attach(volume, commit_interval_s=1000.0)
        write(first, 0, b"one")
        first.run(the(first).commit)
        lose(first, is_free)
        swap = first.objects.swap

        async def cut_off(head: Head, before: Swapped) -> Swapped:
            if head.holder:
                raise QuorumLost("for this test")
            return await swap(head, before)

        first.objects.swap = cut_off  # type: ignore[method-assign]
        with pytest.raises(QuorumLost):
            first.run(attached.detach)
        write(first, 0, b"two")
        assert not first.run_until(3.0, the(first).flush)
        second.attach(volume)
        assert second.content()[:3] == b"one"
        first.objects.swap = swap  # type: ignore[method-assign]
        with pytest.raises(Fenced):
            first.run(the(first).flush)
        assert second.content()[:3] == b"one"

    with_volume(test)


def test_a_volume_is_held_again_where_the_head_says_that_nobody_has_it() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)

        async def free() -> None:
            at = await second.objects.head(volume)
            await second.objects.swap(msgspec.structs.replace(at.head, holder=""), at)

        second.run(free)
        rig.pass_time(rig.settings.watch_interval_s + 3)
        assert the(first).failure is None
        with pytest.raises(VolumeInUse):
            second.attach(volume)

    with_volume(test)


def test_a_volume_that_was_made_longer_while_nobody_held_it_is_not_made_short_again() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        attached = first.attach(volume, commit_interval_s=1000.0, watch_interval_s=1000.0)
        slowly(attached.device)
        lose(first, is_free)
        with pytest.raises(QuorumLost):
            first.run(attached.detach)
        second.run(lambda: second.volumes.resize(volume, 9 * CHUNK))
        write(first, 0, b"x")
        with pytest.raises(Fenced):
            first.run(the(first).commit)
        assert second.run(lambda: second.volumes.head(volume)).size_bytes == 9 * CHUNK

    with_volume(test)


def test_letting_go_of_a_volume_that_changes_without_pause_fails_and_it_is_held_on() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("other")
        attached = host.attach(volume)
        write(host, 0, b"kept")
        swap = host.objects.swap

        async def after_others(head: Head, before: Swapped) -> Swapped:
            if is_free(head):
                await other.volumes.snapshot(volume)
            return await swap(head, before)

        host.objects.swap = after_others  # type: ignore[method-assign]
        with pytest.raises(ConditionalConflict):
            host.run(attached.detach)
        assert host.run(lambda: host.volumes.head(volume)).holder == "first"
        write(host, 0, b"more")
        host.run(the(host).flush)
        host.objects.swap = swap  # type: ignore[method-assign]
        host.run(attached.detach)
        assert host.stored(volume)[:4] == b"more"
        assert host.run(lambda: host.volumes.head(volume)).holder == ""

    with_volume(test)


def test_who_waits_for_room_hears_that_the_device_was_closed() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        attached = host.attach(volume, changed_bytes=CHUNK, commit_interval_s=1000.0)

        async def down(*_: object) -> None:
            raise QuorumLost("for this test")

        host.objects.put_chunk = down  # type: ignore[method-assign,assignment]

        async def work() -> None:
            async def fill() -> None:
                for index in range(4):
                    await attached.device.write(index * CHUNK, memoryview(b"x"))

            filling = asyncio.ensure_future(fill())
            await asyncio.sleep(1.0)
            await attached.aclose()
            with pytest.raises(Fenced):
                await asyncio.wait_for(filling, 5.0)

        host.run(work)

    with_volume(test)


def test_a_client_waits_while_the_map_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 0, b"x" * CHUNK)
        host.run(host.attached.detach)  # type: ignore[union-attr]
        real, down = host.objects.get_node, [0]

        async def node(ref: Ref) -> bytes:
            down[0] -= 1
            if down[0] >= 0:
                raise QuorumLost("for this test")
            return await real(ref)

        monkeypatch.setattr(host.objects, "get_node", node)
        for use in (lambda: the(host).read(0, 3), lambda: the(host).write(1, memoryview(b"y")), lambda: the(host).spans(0, 3)):
            host.attach(volume)
            down[0] = 3
            host.run(use)
            host.run(host.attached.detach)  # type: ignore[union-attr]
        host.attach(volume)
        down[0] = 1000
        with pytest.raises(QuorumLost):
            host.run(lambda: the(host).read(0, 3))
        down[0] = 0

    with_volume(test)


def test_a_volume_that_was_made_anew_under_its_id_is_another_one() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume, watch_interval_s=1000.0)
        write(first, 0, b"old")
        rig.pass_time(0.001)

        async def anew() -> None:
            await second.volumes.delete(volume, force=True)
            await second.volumes.create(5 * CHUNK, chunk_bytes=CHUNK, volume=volume)

        second.run(anew)
        second.attach(volume)
        with pytest.raises(Fenced):
            first.run(the(first).commit)
        assert second.stored(volume)[:3] == bytes(3)

    with_volume(test)
