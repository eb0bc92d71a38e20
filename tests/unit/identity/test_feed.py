"""Tables that several processes hold, and how they keep up."""

import asyncio

import msgspec
import pytest

from objstore.errors import ConditionalConflict, PreconditionFailed, QuorumLost
from objstore.identity.feed import JOURNAL_NAMES, POLL_S, RELOAD_S, Change, Feed
from objstore.identity.tenancy import Domain, Kept
from tests.support.memory_cluster import LoopClock, MemoryCluster, run


class Held:
    """A feed and what it told."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.told: list[Change] = []
        self.feed = Feed(cluster, LoopClock(), {"domain": Domain}, self.told.extend, prefix="t")

    def names(self) -> set[str]:
        return set(self.feed.tables["domain"].held)


def renamed(text: str) -> "object":
    def edit(found: Kept) -> Kept:
        return msgspec.structs.replace(found, description=text)

    return edit


def test_a_change_is_there_at_once_and_elsewhere_within_a_second() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = Held(cluster), Held(MemoryCluster(cluster.registers, proxy_id=2))
        await two.feed.start()
        await asyncio.sleep(1)
        await one.feed.create("domain", Domain(1, "i", "a"))
        assert one.names() == {"a"}
        assert two.names() == set()
        await asyncio.sleep(POLL_S + 0.1)
        assert two.names() == {"a"}
        with pytest.raises(PreconditionFailed):
            await two.feed.create("domain", Domain(1, "j", "a"))
        await two.feed.change("domain", "a", renamed("x"))  # type: ignore[arg-type]
        await one.feed.catch_up()
        assert one.feed.tables["domain"].held["a"].description == "x"
        assert await one.feed.delete("domain", "a")
        assert not await one.feed.delete("domain", "a")
        await two.feed.catch_up()
        assert two.names() == set()
        assert one.told[-1] == ("domain", "a", None)
        await two.feed.aclose()

    run(test())


def test_a_failure_that_nobody_thought_of_does_not_end_the_keeping_up() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one = Held(cluster)
        seen: list[str] = []

        def told(changes: list[Change]) -> None:
            seen.extend(name for _, name, _ in changes)
            if seen == ["a"]:
                raise LookupError("a bug")

        feed = Feed(MemoryCluster(cluster.registers, proxy_id=2), LoopClock(), {"domain": Domain}, told, prefix="t")
        await feed.start()
        await asyncio.sleep(1)
        await one.feed.create("domain", Domain(1, "i", "a"))
        await asyncio.sleep(2 * POLL_S)
        assert seen[0] == "a"
        await one.feed.create("domain", Domain(1, "j", "b"))
        await asyncio.sleep(2 * POLL_S)
        assert seen[-1] == "b"
        await feed.aclose()

    run(test())


def test_a_burst_of_changes_costs_few_writes_of_the_journal_and_loses_none() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = Held(cluster), Held(MemoryCluster(cluster.registers, proxy_id=2))
        await two.feed.catch_up()
        feeds = [one.feed, two.feed]
        await asyncio.gather(*(feeds[n % 2].create("domain", Domain(1, f"{n}", f"{n}")) for n in range(100)))
        entry = await one.feed._journal.get("head")
        assert entry is not None
        assert entry.value.count == 100
        await one.feed.catch_up()
        await two.feed.catch_up()
        assert len(one.names()) == len(two.names()) == 100

    run(test())


def test_many_who_catch_up_at_once_share_looks_and_each_sees_what_was_acknowledged_before() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = Held(cluster), Held(MemoryCluster(cluster.registers, proxy_id=2))
        await two.feed.catch_up()
        looks = 0
        look = two.feed._read_news

        async def counted() -> None:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0)
            if looks == 4:
                raise QuorumLost("none")
            await look()

        two.feed._read_news = counted  # type: ignore[method-assign] # counts
        first = [asyncio.create_task(two.feed.catch_up()) for _ in range(20)]
        await asyncio.sleep(0)
        await one.feed.create("domain", Domain(1, "i", "a"))
        await two.feed.catch_up()
        assert two.names() == {"a"}
        await asyncio.gather(*first)
        assert looks == 3
        failed = await asyncio.gather(*(two.feed.catch_up() for _ in range(3)), return_exceptions=True)
        assert [isinstance(found, QuorumLost) for found in failed] == [True, False, False]  # who waited looks for himself
        assert looks == 5

    run(test())


def test_who_missed_more_than_the_journal_holds_reads_everything() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = Held(cluster), Held(MemoryCluster(cluster.registers, proxy_id=2))
        await two.feed.catch_up()
        for n in range(JOURNAL_NAMES + 1):
            await one.feed.create("domain", Domain(1, f"{n}", f"{n}"))
        await two.feed.catch_up()
        assert len(two.names()) == JOURNAL_NAMES + 1

    run(test())


def test_a_record_whose_writer_died_before_the_journal_is_found_within_a_minute() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one = Held(cluster)
        await one.feed.start()
        await asyncio.sleep(1)
        await one.feed.tables["domain"].records.put("lost", Domain(1, "i", "lost"))
        await asyncio.sleep(2)
        assert one.names() == set()
        await asyncio.sleep(RELOAD_S)
        assert one.names() == {"lost"}
        await one.feed.aclose()

    run(test())


def test_what_came_or_went_without_a_clear_answer_is_told_to_all_at_once() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = Held(cluster), Held(MemoryCluster(cluster.registers, proxy_id=2))
        records = one.feed.tables["domain"].records
        put_if = records.put_if

        async def unclear_put(name: str, value: Kept, expected: bytes | None) -> bytes:
            await put_if(name, value, expected)
            raise ConditionalConflict("whether it took effect cannot be known")

        records.put_if = unclear_put  # type: ignore[method-assign] # as when the answers are lost
        await two.feed.catch_up()
        await one.feed.create("domain", Domain(1, "i", "a"))
        await two.feed.catch_up()
        assert one.names() == two.names() == {"a"}
        delete_if = records.delete_if

        async def unclear(name: str, expected: bytes) -> None:
            await delete_if(name, expected)
            raise ConditionalConflict("whether it took effect cannot be known")

        records.delete_if = unclear  # type: ignore[method-assign] # as when the answers are lost
        assert await one.feed.delete("domain", "a")
        assert one.names() == set()
        await two.feed.catch_up()
        assert two.names() == set()
        assert not await one.feed.delete("domain", "a")

    run(test())


def test_what_went_and_could_not_be_told_is_told_by_who_asks_for_it_next() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        one, two = Held(cluster), Held(MemoryCluster(cluster.registers, proxy_id=2))
        await one.feed.create("domain", Domain(1, "i", "a"))
        await two.feed.catch_up()
        records = one.feed.tables["domain"].records
        entry = await records.get("a")
        assert entry is not None
        await records.delete_if("a", entry.version)
        assert two.names() == {"a"}
        assert not await one.feed.delete("domain", "a")
        await two.feed.catch_up()
        assert one.names() == two.names() == set()

    run(test())


def test_values_below_are_hidden_by_records_and_come_back() -> None:
    async def test() -> None:
        one = Held(MemoryCluster())
        one.feed.lay_below([("domain", Domain(1, "i", "a"))])
        assert one.told[-1][2] == Domain(1, "i", "a")
        with pytest.raises(PreconditionFailed):
            await one.feed.create("domain", Domain(1, "j", "a"))
        await one.feed.change("domain", "a", renamed("x"))  # type: ignore[arg-type]
        assert one.told[-1][2] == Domain(1, "i", "a", description="x")
        await one.feed.delete("domain", "a")
        assert one.told[-1][2] == Domain(1, "i", "a")
        with pytest.raises(PreconditionFailed):
            await one.feed.change("domain", "b", renamed("x"))  # type: ignore[arg-type]

    run(test())
