"""Attaching: who may, who may not, what the journal brings back, what is given up."""

from collections.abc import Awaitable, Callable

import pytest

from objstore.errors import ConditionalConflict, DamagedFile, PreconditionFailed, QuorumLost
from objstore.services.volume.attach import VolumeInUse, attach
from objstore.services.volume.device import Fenced
from objstore.services.volume.layout import Head
from objstore.services.volume.objects import Swapped
from tests.support.volume_rig import VolumeHost, VolumeRig, with_volume


def write(host: VolumeHost, offset: int, data: bytes, *, flush: bool = True) -> None:
    assert host.attached is not None
    device = host.attached.device

    async def work() -> None:
        await device.write(offset, memoryview(data))
        if flush:
            await device.flush()

    host.run(work)


@pytest.mark.parametrize("power", [True, False])
def test_flushed_writes_come_back_from_the_journal(power: bool) -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 10, b"flushed")
        host.crash(power=power)
        assert host.stored(volume)[10:17] == bytes(7)
        host.attach(volume)
        assert host.content()[10:17] == b"flushed"
        host.crash(power=power)  # before anything of it was committed
        host.attach(volume)
        assert host.content()[10:17] == b"flushed"
        host.run(host.attached.detach)  # type: ignore[union-attr]
        assert host.stored(volume)[10:17] == b"flushed"

    with_volume(test)


def test_a_volume_that_was_not_let_go_of_is_attached_elsewhere_by_force_only() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)
        write(first, 0, b"lost")
        first.crash()
        with pytest.raises(VolumeInUse):
            second.attach(volume)
        with pytest.raises(VolumeInUse):
            second.attach(volume, durability="store")
        second.attach(volume, force=True)
        assert second.content()[:4] == bytes(4)
        write(second, 0, b"NEW!")
        second.run(second.attached.detach)  # type: ignore[union-attr]
        # The first one's journal is set aside: nothing of it comes back.
        first.attach(volume)
        assert first.content()[:4] == b"NEW!"
        assert first.host.storage.disk(f"/volumes/{volume.hex()}").exists("given-up-2")

    with_volume(test)


def test_after_letting_go_anyone_may_attach_and_the_journal_is_gone() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)
        write(first, 0, b"mine")
        first.run(first.attached.detach)  # type: ignore[union-attr]
        assert first.host.storage.disk(f"/volumes/{volume.hex()}").list(".") == []
        second.attach(volume)
        assert second.content()[:4] == b"mine"

    with_volume(test)


def test_an_orderly_stop_stays_attached_and_goes_on_from_the_journal() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume)
        write(host, 3, b"abc", flush=False)
        host.run(host.attached.aclose)  # type: ignore[union-attr]
        host.attach(volume)
        assert host.content()[3:6] == b"abc"

    with_volume(test)


def test_letting_go_of_a_volume_that_was_taken_away_says_so() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        attached = first.attach(volume)
        second.attach(volume, force=True)
        with pytest.raises(Fenced):
            first.run(attached.detach)

    with_volume(test)


def test_a_snapshot_made_meanwhile_does_not_disturb_the_holder() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("other")
        host.attach(volume)
        write(host, 0, b"one")
        host.run(host.attached.device.commit)  # type: ignore[union-attr]
        pin = other.run(lambda: other.volumes.snapshot(volume, name="s"))
        write(host, 0, b"two")
        host.run(host.attached.device.commit)  # type: ignore[union-attr]
        assert other.stored(volume)[:3] == b"two"
        assert other.stored(volume, pin.tree)[:3] == b"one"
        other.run(lambda: other.volumes.snapshot(volume, name="t"))
        host.run(host.attached.detach)  # type: ignore[union-attr]
        assert len(other.run(lambda: other.volumes.head(volume)).pins) == 2

    with_volume(test)


def test_a_read_only_volume_is_not_attached() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        import msgspec

        async def close() -> None:
            at = await rig.first.objects.head(volume)
            await rig.first.objects.swap(msgspec.structs.replace(at.head, read_only=True), at)

        rig.first.run(close)
        with pytest.raises(PreconditionFailed):
            rig.first.attach(volume)

    with_volume(test)


def test_a_full_journal_that_the_store_has_all_of_does_not_stop_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: object, __: int) -> None:
        return

    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume, journal_bytes=1000)
        monkeypatch.setattr("objstore.services.volume.journal.Journal.release", never)  # the crash comes before it
        write(host, 0, b"x" * 5000)
        host.run(host.attached.device.commit)  # type: ignore[union-attr]
        host.crash()
        host.attach(volume, journal_bytes=1000)
        write(host, 1, b"y")
        write(host, 2, b"z")
        assert host.content()[:4] == b"xyzx"
        monkeypatch.undo()
        host.crash()
        host.attach(volume)
        assert host.content()[:4] == b"xyzx"

    with_volume(test)


def before_swaps(host: VolumeHost, happens: list[Callable[[], Awaitable[object]]]) -> None:
    """Have something happen before each of the next swaps of the head, after it was read."""
    swap = host.objects.swap

    async def later(head: Head, before: Swapped) -> Swapped:
        if happens:
            await happens.pop(0)()
        return await swap(head, before)

    host.objects.swap = later  # type: ignore[method-assign]


def test_a_snapshot_that_comes_between_does_not_stop_an_attach() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("other")
        host.attach(volume)
        write(host, 0, b"flushed")
        host.crash()
        before_swaps(host, [lambda: other.volumes.snapshot(volume)] * 2)
        host.attach(volume)
        assert host.content()[:7] == b"flushed"
        host.run(host.attached.detach)  # type: ignore[union-attr]
        assert len(host.run(lambda: host.volumes.head(volume)).pins) == 2

    with_volume(test)


def test_a_commit_of_the_life_before_that_comes_between_is_taken_in() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        before = host.attach(volume, commit_interval_s=1000.0, watch_interval_s=1000.0)
        write(host, 0, b"one two")
        before_swaps(host, [before.device.commit])
        after = host.attach(volume)
        assert host.content()[:7] == b"one two"
        with pytest.raises(Fenced):
            host.run(before.detach)
        assert host.run(lambda: host.volumes.head(volume)).position == 1
        assert after.device.failure is None

    with_volume(test)


@pytest.mark.parametrize("durability", ["journal", "store"])
def test_an_attach_whose_swap_takes_effect_late_is_no_strangers(durability: str) -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        real, late = host.objects.swap, []

        async def unheard(head: Head, before: Swapped) -> Swapped:
            host.objects.swap = real  # type: ignore[method-assign] # once
            late.append(lambda: real(head, before))
            raise QuorumLost("for this test")

        host.objects.swap = unheard  # type: ignore[method-assign]
        with pytest.raises(QuorumLost):
            host.attach(volume, durability=durability)
        before_swaps(host, late)
        host.attach(volume, durability=durability)
        assert not late
        write(host, 0, b"here")
        host.crash()
        host.attach(volume, durability=durability)
        assert host.content()[:4] == b"here"

    with_volume(test)


def test_of_two_who_attach_by_force_at_the_same_moment_the_later_is_told() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)
        first.crash()

        async def by_first() -> None:
            settings = rig.settings
            attached = await attach(first.objects, first.world, volume, settings, holder="third", directory="/third", force=True)
            await attached.aclose()

        before_swaps(second, [by_first])
        with pytest.raises(PreconditionFailed):
            second.attach(volume, force=True)
        assert second.run(lambda: second.volumes.head(volume)).holder == "third"

    with_volume(test)


def test_a_volume_that_changes_without_pause_is_not_attached_now() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host, other = rig.first, rig.add("other")
        before_swaps(host, [lambda: other.volumes.snapshot(volume)] * 100)
        with pytest.raises(ConditionalConflict) as caught:
            host.attach(volume)
        assert not isinstance(caught.value, VolumeInUse)

    with_volume(test)


def test_a_damaged_journal_stops_whom_it_belongs_to_and_nobody_else() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        first.attach(volume)
        write(first, 0, b"lost")
        first.crash()
        disk = first.host.storage.disk(f"/volumes/{volume.hex()}")
        disk.open(disk.list(".")[0], write=True).pwrite([b"?"], 20)
        with pytest.raises(DamagedFile):
            first.attach(volume)
        second.attach(volume, force=True)
        with pytest.raises(VolumeInUse):
            first.attach(volume)
        second.run(second.attached.detach)  # type: ignore[union-attr]
        first.attach(volume)
        assert first.content()[:4] == bytes(4)
        assert disk.list("given-up-2") == ["journal-0000000000000001"]
        write(first, 0, b"new!")
        first.crash()
        first.attach(volume)
        assert first.content()[:4] == b"new!"

    with_volume(test)


def test_a_volume_without_a_journal_may_be_given_one() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        host.attach(volume, durability="store")
        write(host, 0, b"kept")
        host.crash()
        host.attach(volume)
        assert host.content()[:4] == b"kept"
        with pytest.raises(VolumeInUse):
            rig.add("second").attach(volume)

    with_volume(test)


def test_what_was_let_go_of_or_taken_away_is_not_attached_again() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first

        async def again() -> None:
            place = {"holder": host.name, "directory": f"/volumes/{volume.hex()}"}
            host.attached = await attach(host.objects, host.world, volume, rig.settings, again=True, **place)  # type: ignore[arg-type]

        with pytest.raises(PreconditionFailed):
            host.run(again)
        host.attach(volume)
        host.crash()
        host.run(again)
        host.crash()
        host.run(lambda: host.volumes.free(volume))
        with pytest.raises(PreconditionFailed):
            host.run(again)
        assert host.run(lambda: host.volumes.head(volume)).holder == ""

    with_volume(test)


def test_a_journal_that_cannot_be_removed_does_not_keep_a_volume() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        first, second = rig.first, rig.add("second")
        attached = first.attach(volume)
        write(first, 0, b"mine")

        def broken(_: str) -> None:
            raise OSError("for this test")

        attached._place.disk.unlink = broken  # type: ignore[union-attr,method-assign]
        first.run(attached.detach)
        second.attach(volume)
        assert second.content()[:4] == b"mine"
        write(second, 0, b"ours")
        second.run(second.attached.detach)  # type: ignore[union-attr]
        first.attach(volume)
        assert first.content()[:4] == b"ours"

    with_volume(test)
