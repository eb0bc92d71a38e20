"""The journal on a disk that forgets."""

import asyncio
import contextlib

import pytest

from objstore.errors import DamagedFile
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.journal import PREFIX, Journal, JournalFailed, Unkept, clear_journal, read_journal
from objstore.services.volume.journal_format import WRITE, ZEROES, Record
from tests.sim.disk import PowerLost
from tests.sim.host import Host, Simulation

ID, VOLUME = b"j" * 16, b"v" * 16


class Bench:
    def __init__(self, seed: int = 1) -> None:
        self.simulation = Simulation(seed)
        self.host: Host = self.simulation.host("host")

    def run(self, start):  # type: ignore[no-untyped-def]
        return self.simulation.run(self.host.call(start), limit_s=self.simulation.scheduler.now_s + 1000)

    async def open(self, position: int = 0) -> Journal:
        world = self.host.world()
        self.disk = world.open_disk("/journal")
        journal = Journal(self.disk, world.new_threads("j", 1), TaskOwner("t"), journal=ID, volume=VOLUME, position=position)
        Journal.start(self.disk, journal)
        return journal

    def found(self, after: int = 0) -> tuple[tuple[bytes, int] | None, list[tuple[int, int, bytes]]]:
        records: list[tuple[int, int, bytes]] = []

        def note(record: Record) -> None:
            records.append((record.number, record.offset, bytes(record.payload)))

        async def read() -> tuple[bytes, int] | None:
            return read_journal(self.host.world().open_disk("/journal"), note, volume=VOLUME, of=ID, after=after)

        return self.run(read), records


def test_what_was_flushed_survives_a_power_cut_and_comes_back_in_order() -> None:
    for seed in range(20):
        bench = Bench(seed)

        async def work(bench: Bench = bench) -> None:
            journal = await bench.open()
            for number in range(10):
                journal.append(WRITE, number * 10, 3, b"abc")
                if number == 5:
                    await journal.flush()
                    assert journal.durable == 6
            journal.append(ZEROES, 0, 1 << 20)

        bench.run(work)
        bench.host.kill(power=True)
        bench.host.boot()
        found, records = bench.found()
        assert found is not None
        assert found[1] >= 6
        assert records[:6] == [(n + 1, n * 10, b"abc") for n in range(6)]
        # Whatever was behind is cut off, so that a second look finds the same.
        assert bench.found() == (found, records)


def test_segments_that_the_store_has_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.services.volume.journal.SEGMENT_BYTES", 1000)
    bench = Bench()

    async def work() -> list[str]:
        journal = await bench.open()
        for _ in range(10):
            journal.append(WRITE, 0, 400, b"x" * 400)
            await journal.flush()
        before = journal.size_bytes
        assert len(bench.disk.list(".")) > 3
        await journal.release(7)
        assert journal.size_bytes < before
        return bench.disk.list(".")

    left = bench.run(work)
    assert left[0] <= f"{PREFIX}{8:016x}"
    found, records = bench.found(after=7)
    assert found == (ID, 10)
    assert [number for number, _, _ in records] == [8, 9, 10]


def test_a_bad_record_that_others_follow_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.services.volume.journal.SEGMENT_BYTES", 1000)
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        for _ in range(8):
            journal.append(WRITE, 0, 400, b"x" * 400)
            await journal.flush()
        file = bench.disk.open(bench.disk.list(".")[0], write=True)
        file.pwrite([b"?"], 200)

    bench.run(work)
    with pytest.raises(DamagedFile):
        bench.found()


def test_after_a_failed_flush_nothing_is_acknowledged_any_more() -> None:
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        journal.append(WRITE, 0, 1, b"x")
        bench.host.storage.volumes[0].datasync_failures = 1
        with pytest.raises(JournalFailed):
            await journal.flush()
        with pytest.raises(JournalFailed):
            await journal.flush()
        with pytest.raises(JournalFailed):
            journal.append(WRITE, 0, 1, b"x")

    bench.run(work)


def test_a_journal_is_cleared_or_set_aside() -> None:
    bench = Bench()

    async def work() -> None:
        await bench.open()
        clear_journal(bench.disk, keep_as="given-up")
        assert len(bench.disk.list("given-up")) == 1
        await bench.open()
        clear_journal(bench.disk)
        assert bench.disk.list(".") == ["given-up"]

    bench.run(work)
    assert bench.found() == (None, [])


def test_without_a_journal_changes_are_counted() -> None:
    async def work() -> None:
        unkept = Unkept()
        assert [unkept.append(WRITE, 0, 1, b"x"), unkept.append(ZEROES, 0, 1)] == [1, 2]
        await unkept.flush()
        await unkept.release(2)
        assert unkept.position == 2

    Bench().run(work)


def test_a_first_segment_that_begins_behind_what_the_store_has_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.services.volume.journal.SEGMENT_BYTES", 1000)
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        for _ in range(8):
            journal.append(WRITE, 0, 400, b"x" * 400)
            await journal.flush()
        bench.disk.unlink(bench.disk.list(".")[0])

    bench.run(work)
    assert bench.found(after=7)[0] == (ID, 8)
    with pytest.raises(DamagedFile):
        bench.found(after=0)


def test_a_bad_header_with_records_behind_it_is_damage() -> None:
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        journal.append(WRITE, 0, 3, b"abc")
        await journal.flush()
        bench.disk.open(bench.disk.list(".")[0], write=True).pwrite([b"?"], 20)

    bench.run(work)
    with pytest.raises(DamagedFile):
        bench.found()


def test_a_journal_without_records_survives_a_power_cut_while_it_is_begun_again() -> None:
    """It is all by which a host shows that the volume is its own."""
    cuts = 0
    for seed in range(60):
        bench = Bench(seed)
        bench.run(bench.open)
        bench.host.storage.fuse = seed % 12
        try:
            bench.run(bench.open)
        except PowerLost:
            cuts += 1
        bench.host.storage.fuse = None
        bench.host.kill(power=True)
        bench.host.boot()
        assert bench.found() == ((ID, 0), []), seed
    assert cuts > 20


def test_a_journal_that_is_set_aside_is_never_nowhere() -> None:
    for seed in range(60):
        bench = Bench(seed)

        async def work(bench: Bench = bench) -> None:
            journal = await bench.open()
            journal.append(WRITE, 0, 3, b"abc")
            await journal.flush()

        async def set_aside(bench: Bench = bench) -> None:
            clear_journal(bench.disk, keep_as="given-up")

        bench.run(work)
        bench.host.storage.fuse = seed % 10
        with contextlib.suppress(PowerLost):
            bench.run(set_aside)
        bench.host.storage.fuse = None
        bench.host.kill(power=True)
        bench.host.boot()
        disk = bench.host.storage.disk("/journal")
        names = [*disk.list("."), *(disk.list("given-up") if disk.exists("given-up") else [])]
        assert f"{PREFIX}{1:016x}" in names, seed


def test_after_a_write_that_broke_off_nothing_is_acknowledged_any_more() -> None:
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        journal.append(WRITE, 0, 1, b"x")
        run, journal._threads.run = journal._threads.run, broken  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            await journal.flush()
        journal._threads.run = run  # type: ignore[method-assign]
        with pytest.raises(JournalFailed):
            journal.append(WRITE, 0, 1, b"y")
        with pytest.raises(JournalFailed):
            await journal.flush()

    async def broken(*_: object) -> None:
        raise RuntimeError("the threads are closed")

    bench.run(work)


def test_records_that_a_failed_flush_left_in_memory_alone_are_written_again_before_others_rely_on_them() -> None:
    kept = 0
    for seed in range(60):
        bench = Bench(seed)

        async def fail(bench: Bench = bench) -> None:
            journal = await bench.open()
            journal.append(WRITE, 0, 3, b"abc")
            bench.host.storage.volumes[0].datasync_failures = 1
            with pytest.raises(JournalFailed):
                await journal.flush()

        async def go_on(position: int, bench: Bench = bench) -> None:
            journal = await bench.open(position)
            journal.append(WRITE, 0, 3, b"def")
            await journal.flush()

        bench.run(fail)
        bench.host.kill(power=False)
        bench.host.boot()
        found, _ = bench.found()
        assert found is not None
        position = found[1]
        kept += position
        bench.run(lambda go_on=go_on, position=position: go_on(position))
        bench.host.kill(power=True)
        bench.host.boot()
        assert bench.found() == ((ID, position + 1), [(n + 1, 0, b"abc" if n < position else b"def") for n in range(position + 1)])
    assert 0 < kept < 60


def test_what_the_store_has_may_be_bad_in_a_segment_that_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.services.volume.journal.SEGMENT_BYTES", 1000)
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        for _ in range(8):
            journal.append(WRITE, 0, 400, b"x" * 400)
            await journal.flush()
        bench.disk.open(bench.disk.list(".")[0], write=True).pwrite([b"?"], 200)

    bench.run(work)
    first = int(bench.run(lambda: asyncio.sleep(0, bench.disk.list(".")[1]))[len(PREFIX) :], 16)
    found, records = bench.found(after=first - 1)
    assert found == (ID, 8)
    assert [number for number, _, _ in records] == list(range(first, 9))
    with pytest.raises(DamagedFile):
        bench.found(after=first - 2)


def test_what_was_handed_to_the_system_survives_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.services.volume.journal.SEGMENT_BYTES", 2000)
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        assert journal.spill()
        journal.append(WRITE, 0, 3, b"abc")
        assert journal.spill()
        assert journal.durable == 0
        journal.append(WRITE, 0, 3, b"def")
        flush = asyncio.ensure_future(journal.flush())
        while not journal._syncing.locked():
            await asyncio.sleep(0)
        journal.append(WRITE, 0, 3, b"ghi")
        assert not journal.spill()  # it would wait for the flush in the system
        await journal.handed()
        assert journal.durable == 2
        await flush
        assert journal.spill()
        journal.append(WRITE, 0, 3000, b"x" * 3000)
        assert not journal.spill()  # the segment is full with it
        await journal.handed()
        assert journal.durable == 4
        journal.append(WRITE, 0, 3, b"jkl")
        assert journal.spill()
        journal.append(WRITE, 0, 3, b"not handed over")

    bench.run(work)
    bench.host.kill(power=False)
    bench.host.boot()
    found, records = bench.found()
    assert found == (ID, 5)
    assert [data[:3] for _, _, data in records] == [b"abc", b"def", b"ghi", b"xxx", b"jkl"]


def test_a_journal_that_cannot_be_written_at_once_refuses_from_then_on() -> None:
    bench = Bench()

    async def work() -> None:
        journal = await bench.open()
        bench.host.storage.volumes[0].capacity_bytes = 0
        journal.append(WRITE, 0, 3, b"abc")
        for attempt in (journal.spill, journal.spill):
            with pytest.raises(JournalFailed):
                attempt()
        with pytest.raises(JournalFailed):
            await journal.handed()

    bench.run(work)
