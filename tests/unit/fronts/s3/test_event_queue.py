"""The queue of events on a real disk: what was added is there after any end."""

import asyncio
from pathlib import Path

import pytest

from objstore.errors import TooBusy
from objstore.fronts.s3 import event_queue
from objstore.fronts.s3.event_queue import EventQueue, Pending
from objstore.runtime.disk import RealDisk
from tests.support.memory_cluster import InlineThreads


def queue(path: Path, limit_bytes: int = 1 << 20) -> EventQueue:
    return EventQueue(RealDisk(str(path)), InlineThreads(), limit_bytes=limit_bytes)


def test_what_was_added_and_not_delivered_is_there_after_a_crash(tmp_path: Path) -> None:
    async def test() -> None:
        first = queue(tmp_path)
        assert await first.open() == []
        entries = await asyncio.gather(*[first.add(Pending("t", number, b"%d" % number)) for number in range(20)])
        for entry in entries[:10]:
            first.delivered(entry)
        first.delivered(entries[10])
        await first.save()
        second = queue(tmp_path)  # the first one never closed
        found = await second.open()
        assert [entry.pending.body for entry in found] == [b"%d" % number for number in range(11, 20)]
        assert second.bytes_held == sum(entry.size for entry in found) == first.bytes_held
        for entry in found:
            second.delivered(entry)
        await second.add(Pending("t", 1, b"new"))
        await second.aclose()
        third = queue(tmp_path)
        assert [entry.pending.body for entry in await third.open()] == [b"new"]
        assert len(list(tmp_path.glob("*.events"))) == 2  # the one that the place is in stays

    asyncio.run(test())


def test_a_torn_or_damaged_entry_ends_its_segment(tmp_path: Path) -> None:
    async def test() -> None:
        first = queue(tmp_path)
        await first.open()
        for body in (b"one", b"two", b"three"):
            await first.add(Pending("t", 0, body))
        await first.aclose()
        (segment,) = tmp_path.glob("*.events")
        data = segment.read_bytes()
        for cut in (data[:-1], data[:-3] + b"xxx", data + b"\xff" * 7):
            segment.write_bytes(cut)
            bodies = [entry.pending.body for entry in await queue(tmp_path).open()]
            assert bodies == ([b"one", b"two", b"three"] if cut.startswith(data) else [b"one", b"two"])
        (tmp_path / "done").write_bytes(b"short")
        assert len(await queue(tmp_path).open()) == 3

    asyncio.run(test())


def test_there_is_a_limit_and_segments_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "SEGMENT_BYTES", 100)

    async def test() -> None:
        small = queue(tmp_path, limit_bytes=350)
        await small.open()
        entries = [await small.add(Pending("t", 0, b"x" * 90)) for _ in range(3)]
        with pytest.raises(TooBusy):
            await small.add(Pending("t", 0, b"x" * 90))
        assert len(list(tmp_path.glob("*.events"))) > 1
        small.delivered(entries[0])
        await small.add(Pending("t", 0, b"x" * 90))
        await small.aclose()
        assert len(await queue(tmp_path).open()) == 3

    asyncio.run(test())


def test_queues_in_directories_know_nothing_of_each_other(tmp_path: Path) -> None:
    async def test() -> None:
        disk = RealDisk(str(tmp_path))
        one, two = (EventQueue(disk, InlineThreads(), limit_bytes=1 << 20, directory=name) for name in ("one", "two"))
        assert await one.open() == await two.open() == []
        await one.add(Pending("t", 0, b"1"))
        await two.add(Pending("t", 0, b"2"))
        for name, body in (("one", b"1"), ("two", b"2")):
            again = EventQueue(disk, InlineThreads(), limit_bytes=1 << 20, directory=name)
            assert [entry.pending.body for entry in await again.open()] == [body]
        await again.discard()
        assert await EventQueue(disk, InlineThreads(), limit_bytes=1, directory="two").open() == []
        assert await queue(tmp_path).open() == []

    asyncio.run(test())
