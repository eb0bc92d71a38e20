"""Attaching: who may, who may not, what the journal brings back, what is given up."""

import pytest

from objstore.errors import PreconditionFailed
from objstore.services.volume.attach import VolumeInUse
from objstore.services.volume.device import Fenced
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
