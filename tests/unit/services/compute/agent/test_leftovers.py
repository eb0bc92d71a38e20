"""What could not be removed is tried again, but for guests that are wanted anew."""

import asyncio
from pathlib import Path

import pytest

from objstore.runtime.disk import RealDisk
from objstore.runtime.tasks import ThreadPool
from objstore.services.compute.agent import layout
from objstore.services.compute.agent.leftovers import Leftovers
from tests.unit.services.compute.agent.test_check import ID


def test_files_that_cannot_be_removed_are_tried_again_until_the_guest_is_wanted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, place = RealDisk(str(tmp_path)), tmp_path / "servers" / ID
    real = layout.remove

    def remove(directory: str) -> None:
        raise OSError("busy, for this test")

    async def main() -> None:
        threads = ThreadPool("t", 1)
        left = Leftovers(threads, disk, str(tmp_path))
        layout.save(disk, ID, b"{}")
        monkeypatch.setattr(layout, "remove", remove)
        await left.forget(ID)
        assert place.exists()
        assert not layout.is_recorded(disk, ID)
        await left.again()
        assert place.exists()
        monkeypatch.setattr(layout, "remove", real)
        await left.again()
        assert not place.exists()
        layout.save(disk, ID, b"{}")
        await left.again()  # of another guest by that id
        assert layout.is_recorded(disk, ID)
        monkeypatch.setattr(layout, "remove", remove)
        await left.forget(ID)
        monkeypatch.setattr(layout, "remove", real)
        await left.keep(ID)
        layout.save(disk, ID, b"{}")
        await left.again()
        assert layout.is_recorded(disk, ID)
        threads.close()

    asyncio.run(main())


def test_a_record_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        threads, disk = ThreadPool("t", 1), RealDisk(str(tmp_path))
        left = Leftovers(threads, disk, str(tmp_path))
        layout.save(disk, ID, b"{}")
        real = layout.forget

        def forget(*_: object) -> None:
            raise OSError("the disk fails, for this test")

        monkeypatch.setattr(layout, "forget", forget)
        with pytest.raises(OSError, match="fails"):
            await left.forget(ID)
        monkeypatch.setattr(layout, "forget", real)
        await left.forget(ID)
        assert not (tmp_path / "servers" / ID).exists()
        threads.close()

    asyncio.run(main())
