"""Room shared by several proxies: never passed, filled to the last byte, given back by who deletes, idles or dies."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from functools import lru_cache

import pytest

from objstore.core import quota
from objstore.core.quota import QuotaConfig, Usage
from objstore.core.rows import SYSTEM_BUCKET, Kind, RowKey, Space, decode_row
from objstore.errors import ConditionalConflict, ObjstoreError, QuorumLost, QuotaExceeded, TooBusy, Unavailable
from objstore.objects.budget import IDLE_S, REAP_S, SETTLE_S, WRITE_S
from objstore.objects.store import ObjectStore
from tests.support.store_rig import ALICE, Rig, with_rig


class Watched:
    """Proxies of one bucket with a network that takes its time and counters that lag; looks at what is really held at every change."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.first = rig
        self.random = random.Random(seed)
        self.proxies = [rig]
        self.limit: QuotaConfig | None = None
        self.most = Usage(0, 0)
        self.history: list[tuple[float, Usage]] = []
        self._inner_put = rig.registers.put
        rig.registers.put = self._put  # type: ignore[method-assign]
        self._tap(rig)

    def _tap(self, rig: Rig) -> None:
        usage = rig.cluster.usage

        async def lagging(bucket: bytes) -> Usage:
            now = await usage(bucket)
            seen = [held for at, held in self.history if at >= rig.clock.monotonic() - SETTLE_S * 0.9]
            return self.random.choice([*seen, now])

        async def slow(what: str, key: RowKey) -> None:
            await asyncio.sleep(self.random.expovariate(100.0))

        rig.cluster.usage = lagging  # type: ignore[method-assign]
        rig.cluster.before = slow
        rig.cluster.after = slow

    def another(self) -> Rig:
        peer = Rig(self.first.registers, proxy_id=len(self.proxies) + 1, settings=self.first.settings)
        self._tap(peer)
        self.proxies.append(peer)
        return peer

    async def set_limit(self, *, size: int | None = None, objects: int | None = None) -> None:
        self.limit = QuotaConfig(1, size, objects)
        await self.first.store.set_config(ALICE, self.first.bucket, "quota", quota.encode(self.limit))

    def really(self) -> Usage:
        found = [
            size_of(kept[1]) for where, kept in self.first.registers.rows.items()
            if where[1] in (Space.OBJECTS, Space.VERSIONS) and where[0] != SYSTEM_BUCKET
        ]  # fmt: skip
        sizes = [size for size in found if size is not None]
        return Usage(len(sizes), sum(sizes))

    def _put(self, *change: object) -> None:
        self._inner_put(*change)  # type: ignore[arg-type]
        held = self.really()
        self.history.append((self.first.clock.monotonic(), held))
        del self.history[:-200]
        if self.limit is not None:
            assert self.limit.max_bytes is None or held.bytes <= self.limit.max_bytes
            assert self.limit.max_objects is None or held.objects <= self.limit.max_objects
        self.most = Usage(max(self.most.objects, held.objects), max(self.most.bytes, held.bytes))


@lru_cache(maxsize=10_000)
def size_of(encoded: bytes) -> int | None:
    row = decode_row(encoded)
    return row.size if row.kind == Kind.OBJECT else None


async def kill(rig: Rig) -> None:
    """Its tasks end and nothing is given back."""
    store: ObjectStore = rig.store
    await store.quotas._tasks.aclose()


def watched(test: Callable[[Watched], Awaitable[None]], seed: int = 1) -> None:
    async def main(rig: Rig) -> None:
        site = Watched(rig, seed)
        await test(site)
        for peer in site.proxies[1:]:
            await peer.store.aclose()

    with_rig(main)


async def tried(write: Awaitable[object]) -> bool:
    with contextlib.suppress(QuotaExceeded):
        await write
        return True
    return False


@pytest.mark.parametrize("seed", range(4))
def test_no_mix_of_writes_through_three_proxies_passes_the_limit(seed: int) -> None:
    async def test(site: Watched) -> None:
        site.another()
        site.another()
        if seed % 2:
            await site.first.store.set_versioning(ALICE, "photos", "Suspended" if seed % 3 else "Enabled")
            await asyncio.sleep(0.3)
        await site.set_limit(size=40_000, objects=60)
        await asyncio.sleep(0.3)
        refused = 0

        async def worker() -> None:
            nonlocal refused
            for _ in range(40):
                proxy, key = site.random.choice(site.proxies), f"k{site.random.randrange(90)}"
                try:
                    if site.random.random() < 0.25:
                        await proxy.store.delete(ALICE, "photos", key)
                    else:
                        await proxy.put(key, bytes(site.random.randrange(2000)))
                except QuotaExceeded:
                    refused += 1
                except (ConditionalConflict, TooBusy):
                    pass
                await asyncio.sleep(site.random.expovariate(5.0))

        await asyncio.gather(*(worker() for _ in range(8)))
        assert refused
        assert site.most.bytes > 36_000 or site.most.objects == 60

    watched(test, seed)


@pytest.mark.parametrize("count", [2, 5])
def test_all_proxies_at_once_fill_a_bucket_exactly(count: int) -> None:
    async def test(site: Watched) -> None:
        for _ in range(count - 1):
            site.another()
        await site.set_limit(size=100_000, objects=1000)
        outcomes = await asyncio.gather(*(tried(site.proxies[n % count].put(f"k{n}", bytes(1000))) for n in range(160)))
        assert sum(outcomes) == 100
        assert site.really() == Usage(100, 100_000)

    watched(test)


def test_one_large_object_can_have_all_the_room_that_others_had_in_hand() -> None:
    async def test(site: Watched) -> None:
        peer = site.another()
        await site.set_limit(size=10_000)
        for n in range(4):
            await peer.put(f"k{n}", bytes(100))
        await site.first.put("large", bytes(9600))
        assert not await tried(peer.put("one more", b"x"))
        assert site.really().bytes == 10_000

    watched(test)


def test_what_is_deleted_through_one_proxy_is_room_for_another_within_a_second() -> None:
    async def test(site: Watched) -> None:
        peer = site.another()
        await site.set_limit(objects=3)
        for n in range(3):
            await site.first.put(f"k{n}")
        assert not await tried(peer.put("more"))
        await site.first.store.delete(ALICE, "photos", "k1")
        began = site.first.clock.monotonic()
        await asyncio.sleep(SETTLE_S)
        await peer.put("more")
        assert site.first.clock.monotonic() - began < 1.2

    watched(test)


def test_a_full_bucket_takes_what_replaces_objects_without_growth() -> None:
    async def test(site: Watched) -> None:
        peer = site.another()
        await site.set_limit(size=1000, objects=2)
        await site.first.put("a", bytes(500))
        await site.first.put("b", bytes(500))
        await asyncio.gather(*(rig.put(key, bytes(500)) for rig in (site.first, peer) for key in "aabb"))
        assert not await tried(peer.put("a", bytes(501)))
        await peer.put("a", bytes(400))
        await asyncio.sleep(1.0)
        await site.first.put("b", bytes(600))
        assert site.really() == Usage(2, 1000)

    watched(test)


def test_an_object_that_was_deleted_meanwhile_is_not_counted_upon() -> None:
    async def test(site: Watched) -> None:
        peer = site.another()
        await site.set_limit(size=1000)
        await site.first.put("a", bytes(1000))
        await asyncio.sleep(1.0)

        async def delete_and_take() -> None:
            await peer.store.delete(ALICE, "photos", "a")
            await tried(peer.put("other", bytes(1000)))

        for _ in range(10):  # whoever wins, never both
            await asyncio.gather(tried(site.first.put("a", bytes(1000))), delete_and_take(), return_exceptions=True)
            assert site.really().bytes <= 1000
            await asyncio.sleep(0.5)

    watched(test)


def test_the_portion_of_a_proxy_that_died_is_had_again() -> None:
    async def test(site: Watched) -> None:
        peer = site.another()
        await site.set_limit(size=100_000)
        await asyncio.gather(*(peer.put(f"k{n}", bytes(1000)) for n in range(10)))
        await kill(peer)
        with pytest.raises(TooBusy):  # it may be let in yet, as far as anybody knows
            await site.first.put("rest", bytes(90_000))
        await asyncio.sleep(REAP_S)
        await site.first.put("rest", bytes(90_000))
        assert site.really().bytes == 100_000

    watched(test)


def test_a_proxy_that_was_taken_for_dead_lets_nothing_in() -> None:
    async def test(site: Watched) -> None:
        sleeper = site.another()
        await site.set_limit(size=100_000)
        await sleeper.put("k", bytes(1000))
        await kill(sleeper)
        sleeper.store.quotas._budgets.clear()
        with pytest.raises(TooBusy):
            await site.first.put("rest", bytes(98_900))
        await asyncio.sleep(REAP_S)
        await site.first.put("rest", bytes(98_900))
        assert not await tried(sleeper.put("late", bytes(1000)))
        await sleeper.put("small", bytes(100))

    watched(test)


def test_a_write_that_takes_too_long_is_not_acknowledged() -> None:
    async def test(site: Watched) -> None:
        await site.set_limit(size=100_000)
        await site.first.put("a")

        async def stuck(what: str, key: RowKey) -> None:
            if key.name == b"b":
                await asyncio.sleep(WRITE_S + 1)

        site.first.cluster.before = stuck
        with pytest.raises(ObjstoreError, match="too long"):
            await site.first.put("b")

    watched(test)


def test_nothing_is_left_in_the_ledger_when_all_are_idle() -> None:
    async def test(site: Watched) -> None:
        peer = site.another()
        await site.set_limit(size=100_000)
        await site.first.put("a")
        await peer.put("b")
        ledger = [where for where in site.first.registers.rows if where[2].startswith(b"record/quota/")]
        assert len(ledger) == 1
        await asyncio.sleep(2 * IDLE_S + 1)
        assert not [name for name in site.first.registers.live_names(SYSTEM_BUCKET, Space.OBJECTS) if name.startswith(b"record/quota/")]
        assert all(budget.idle for rig in site.proxies for budget in rig.store.quotas._budgets.values())

    watched(test)


def test_a_bucket_without_a_quota_asks_for_nothing() -> None:
    async def test(site: Watched) -> None:
        await site.first.put("a")
        assert not site.first.store.quotas._budgets

    watched(test)


def test_writes_in_a_row_ask_the_ledger_seldom() -> None:
    async def test(site: Watched) -> None:
        await site.set_limit(size=10_000_000)
        before = site.first.cluster.counts.get("usage", 0)
        for n in range(1000):
            await site.first.put(f"k{n % 50}", bytes(1000))
        assert site.first.cluster.counts["usage"] - before < 40

    watched(test)


@pytest.mark.parametrize(("trouble", "told"), [(QuorumLost("nobody answers"), QuorumLost), (ValueError("a bug"), Unavailable)])
def test_counters_that_cannot_be_had_are_no_full_bucket_and_nobody_waits_for_them(trouble: Exception, told: type[Exception]) -> None:
    async def test(site: Watched) -> None:
        await site.set_limit(size=1000)
        usage, down = site.first.cluster.usage, True

        async def silent(bucket: bytes) -> Usage:
            if down:
                raise trouble
            return await usage(bucket)

        site.first.cluster.usage = silent  # type: ignore[method-assign] # a cluster that is down
        with pytest.raises(told):
            await site.first.put("a")
        down = False
        await site.first.put("a", bytes(1000))

    watched(test)
