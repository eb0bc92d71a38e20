"""A host's volumes stay attached while their process comes and goes."""

import pytest

from objstore.errors import QuorumLost
from objstore.services.volume.lasting import LastingHost
from objstore.services.volume.layout import Head
from objstore.services.volume.objects import Swapped
from tests.support.volume_rig import VolumeHost as Seat
from tests.support.volume_rig import VolumeRig, with_volume
from tests.unit.services.volume.test_host import Locks, host_on


def lasting(seat: Seat) -> LastingHost:
    plain = host_on(seat, Locks())
    notes, threads = seat.world.open_disk("/state"), seat.world.new_threads("disks", 1)
    return LastingHost(seat.volumes, seat.world, seat.rig.settings, plain._place, notes=notes, threads=threads)


def test_a_killed_process_takes_up_what_it_had_and_what_was_written() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = lasting(rig.first)

        async def work() -> None:
            assert await host.take_up() == []
            await host.attach(volume)
            device = host.served()[volume.hex()]
            await device.write(0, memoryview(b"kept"))
            await device.flush()

        rig.first.run(work)
        rig.first.crash()
        again = lasting(rig.first)
        assert rig.first.run(again.take_up) == []
        assert list(again.served()) == [volume.hex()]

        async def end() -> None:
            assert b"".join(await again.served()[volume.hex()].read(0, 4)) == b"kept"
            await again.detach(volume.hex())

        rig.first.run(end)
        assert rig.first.run(lasting(rig.first).take_up) == []
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == ""

    with_volume(test)


def test_who_leaves_in_order_stays_attached_with_everything_in_the_store() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = lasting(rig.first)

        async def work() -> None:
            await host.attach(volume)
            await host.served()[volume.hex()].write(0, memoryview(b"all"))
            await host.leave(patience_s=10.0)

        rig.first.run(work)
        assert host.served() == {}
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == "first"
        assert rig.first.stored(volume)[:3] == b"all"
        again = lasting(rig.first)
        rig.first.run(again.take_up)
        assert list(again.served()) == [volume.hex()]
        rig.first.run(lambda: again.detach(volume.hex()))

    with_volume(test)


def test_a_volume_that_is_anothers_by_now_is_given_up_and_forgotten() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        second = rig.add("second")
        host, other = lasting(rig.first), host_on(second, Locks())
        rig.first.run(lambda: host.attach(volume))
        rig.first.run(lambda: host.leave(patience_s=10.0))
        second.run(lambda: other.attach(volume, force=True))
        again = lasting(rig.first)
        assert rig.first.run(again.take_up) == []
        assert again.served() == {}
        second.run(lambda: other.detach(volume.hex()))
        third = lasting(rig.first)
        assert rig.first.run(third.take_up) == []
        assert third.served() == {}

    with_volume(test)


def test_what_the_store_cannot_give_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = lasting(rig.first)
        rig.first.run(lambda: host.attach(volume))
        rig.first.run(lambda: host.leave(patience_s=10.0))
        again = lasting(rig.first)
        real, calls = rig.first.volumes.objects.head, []

        async def head(asked: bytes) -> object:
            calls.append(asked)
            if len(calls) < 3:
                raise QuorumLost("for this test")
            return await real(asked)

        monkeypatch.setattr(rig.first.volumes.objects, "head", head)

        async def work() -> None:
            missing = await again.take_up()
            assert missing == [volume.hex()]
            await again.keep_taking_up(missing)
            assert list(again.served()) == missing
            await again.detach(volume.hex())

        rig.first.run(work)

    with_volume(test)


def test_a_volume_that_was_taken_from_a_dead_host_is_not_taken_back_when_it_returns() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        second = rig.add("second")
        host = lasting(rig.first)
        rig.first.run(lambda: host.attach(volume))
        rig.first.crash()
        second.run(lambda: second.volumes.free(volume))
        again = lasting(rig.first)
        assert rig.first.run(again.take_up) == []
        assert again.served() == {}
        other = host_on(second, Locks())
        second.run(lambda: other.attach(volume))
        second.run(lambda: other.detach(volume.hex()))

    with_volume(test)


def test_a_snapshot_made_at_that_moment_does_not_make_a_host_forget_its_volume() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = lasting(rig.first)
        rig.first.run(lambda: host.attach(volume))
        rig.first.crash()
        again, real, made = lasting(rig.first), rig.first.objects.swap, []

        async def after_another(head: Head, before: Swapped) -> Swapped:
            if not made:
                made.append(head)
                await rig.first.volumes.snapshot(volume)
            return await real(head, before)

        rig.first.objects.swap = after_another  # type: ignore[method-assign]
        assert rig.first.run(again.take_up) == []
        assert list(again.served()) == [volume.hex()]
        rig.first.run(lambda: again.detach(volume.hex()))
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == ""

    with_volume(test)


def test_what_was_not_taken_up_yet_is_let_go_of_with_what_its_journal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = lasting(rig.first)

        async def write() -> None:
            await host.attach(volume)
            await host.served()[volume.hex()].write(0, memoryview(b"kept"))
            await host.served()[volume.hex()].flush()

        rig.first.run(write)
        rig.first.crash()
        again, real, down = lasting(rig.first), rig.first.objects.head, [True]

        async def head(asked: bytes) -> Swapped:
            if down:
                raise QuorumLost("for this test")
            return await real(asked)

        monkeypatch.setattr(rig.first.objects, "head", head)

        async def work() -> None:
            missing = await again.take_up()
            assert missing == [volume.hex()]
            with pytest.raises(QuorumLost):
                await again.detach(volume.hex())
            assert await lasting(rig.first).take_up() == missing  # it is noted still
            down.clear()
            await again.detach(volume.hex())
            await again.keep_taking_up(missing)
            assert again.served() == {}

        rig.first.run(work)
        assert rig.first.run(lambda: rig.first.volumes.head(volume)).holder == ""
        assert rig.first.stored(volume)[:4] == b"kept"
        assert rig.first.run(lasting(rig.first).take_up) == []

    with_volume(test)
