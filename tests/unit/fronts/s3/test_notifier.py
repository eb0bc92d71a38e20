"""Delivery on virtual time: retries, order, giving up, a restart in between."""

import asyncio
from pathlib import Path

import pytest

from objstore.errors import TooBusy
from objstore.fronts.s3 import event_queue
from objstore.fronts.s3.event_queue import EventQueue, Pending
from objstore.fronts.s3.notifier import NotificationSettings, Notifier, Target
from objstore.runtime.disk import RealDisk
from objstore.runtime.outgoing import Message
from tests.sim.loop import run
from tests.support.memory_cluster import InlineThreads, LoopClock

SETTINGS = NotificationSettings(targets={"hook": Target("http://127.0.0.1/x", "secret")}, give_up_after_s=1000)


DEAD = "http://127.0.0.1/dead"
TWO = {"hook": Target("http://127.0.0.1/x", "secret"), "dead": Target(DEAD, "secret")}


class Servers:
    """Takes messages, or does not."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.attempts = 0
        self.up = True

    async def send(self, message: Message, *, timeout_s: float) -> None:
        assert (message.token, timeout_s) == ("secret", 10.0)
        assert message.url in ("http://127.0.0.1/x", DEAD)
        self.attempts += 1
        if not self.up or message.url == DEAD:
            raise OSError("refused")
        self.taken.append(message.body)

    async def aclose(self) -> None:
        pass


def notifier(path: Path, servers: Servers, settings: NotificationSettings = SETTINGS) -> Notifier:
    return Notifier(RealDisk(str(path)), InlineThreads(), LoopClock(), servers, settings)


def test_events_arrive_in_order_and_are_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        servers = Servers()
        first = notifier(tmp_path, servers)
        await first.start()
        servers.up = False
        for number in range(5):
            await first.record("hook", b"%d" % number)
        await first.record("unknown", b"nobody")
        await asyncio.sleep(30)
        assert 4 <= servers.attempts <= 8  # the pauses grow
        assert first.pending() == {"hook": 5}
        servers.up = True
        await asyncio.sleep(60)
        assert servers.taken == [b"0", b"1", b"2", b"3", b"4"]
        assert first.counts["hook", "sent"] == 5
        assert first.pending() == {"hook": 0}
        await first.aclose()
        again = notifier(tmp_path, servers)
        await again.start()
        await asyncio.sleep(5)
        assert len(servers.taken) == 5
        await again.aclose()

    run(test(), limit_s=1e5)


def test_a_failure_that_nobody_thought_of_does_not_end_the_delivery(tmp_path: Path) -> None:
    class Odd(Servers):
        async def send(self, message: Message, *, timeout_s: float) -> None:
            if not self.attempts:
                self.attempts = 1
                raise LookupError("a bug")
            await super().send(message, timeout_s=timeout_s)

    async def test() -> None:
        servers = Odd()
        first = notifier(tmp_path, servers)
        await first.start()
        await first.record("hook", b"event")
        await asyncio.sleep(5)
        assert servers.taken == [b"event"]
        assert (first.counts["hook", "failed"], first.counts["hook", "sent"]) == (1, 1)
        await first.aclose()

    run(test(), limit_s=1e5)


def test_a_restart_goes_on_with_what_waits(tmp_path: Path) -> None:
    async def test() -> None:
        servers = Servers()
        servers.up = False
        first = notifier(tmp_path, servers)
        await first.start()
        await first.record("hook", b"event")
        await first._tasks.aclose()  # killed: nothing is closed in order
        servers.up = True
        second = notifier(tmp_path, servers)
        await second.start()
        await asyncio.sleep(1)
        assert servers.taken == [b"event"]
        await second.aclose()

    run(test(), limit_s=1e5)


def test_events_too_old_or_for_nobody_are_dropped(tmp_path: Path) -> None:
    async def test() -> None:
        servers = Servers()
        servers.up = False
        first = notifier(tmp_path, servers)
        await first.start()
        await first.record("hook", b"old")
        await asyncio.sleep(1100)
        assert first.pending() == {"hook": 0}
        assert first.counts["hook", "given_up"] == 1
        await first.record("hook", b"waits")
        await first.aclose()
        second = notifier(tmp_path, servers, NotificationSettings())
        await second.start()
        assert second.pending() == {}
        await second.aclose()

    run(test(), limit_s=1e5)


def on_disk(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*.events"))


def test_a_target_that_is_away_holds_up_and_fills_nothing_but_its_own_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "SEGMENT_BYTES", 20_000)

    async def test() -> None:
        servers = Servers()
        first = notifier(tmp_path, servers, NotificationSettings(targets=TWO, limit_bytes=50_000))
        await first.start()
        for _ in range(48):
            await first.record("dead", b"d" * 1000)
        with pytest.raises(TooBusy):
            await first.record("dead", b"d" * 1000)
        for number in range(500):
            await first.record("hook", b"%1000d" % number)
            await asyncio.sleep(0.1)
        assert len(servers.taken) == 500
        assert first.pending() == {"hook": 0, "dead": 48}
        assert on_disk(tmp_path) < 120_000  # what waits, and a segment or two of what is delivered
        await first.aclose()

    run(test(), limit_s=1e5)


def test_what_an_earlier_release_left_in_one_queue_is_taken_over(tmp_path: Path) -> None:
    async def test() -> None:
        old = EventQueue(RealDisk(str(tmp_path)), InlineThreads(), limit_bytes=1 << 20)
        await old.open()
        for number in range(2100):
            await old.add(Pending(("hook", "dead", "gone")[number % 3], LoopClock().wall_us(), b"%d" % number))
        await old.aclose()
        servers = Servers()
        first = notifier(tmp_path, servers, NotificationSettings(targets=TWO, limit_bytes=10))
        await first.start()
        await asyncio.sleep(30)
        assert servers.taken == [b"%d" % number for number in range(0, 2100, 3)]
        assert first.pending() == {"hook": 0, "dead": 700}
        await first.aclose()
        second = notifier(tmp_path, servers)
        await second.start()
        assert second.pending() == {"hook": 0}
        await second.aclose()
        assert list(tmp_path.glob("*.events")) == []
        third = notifier(tmp_path, servers, NotificationSettings(targets=TWO))
        await third.start()
        assert third.pending() == {"hook": 0, "dead": 0}  # it was not named in between
        await third.aclose()

    run(test(), limit_s=1e5)


def test_an_address_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    for url in ("ftp://x/y", "http://", "nats://host:4222", "nowhere", "http://a b/"):
        with pytest.raises(ValueError, match=r"no subject|address"):
            notifier(tmp_path, Servers(), NotificationSettings(targets={"x": Target(url)}))
