"""The portion of one quota that this process holds: let in from memory, asked for in the background, given back when idle (ADR 10).

Everything that touches the ledger is done by one task for each budget, which lives from the first write that finds no room in
hand until the portion is given back.  Safe at every step: what may be let in without asking is in the ledger before it is used.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from objstore.cluster.api import ClusterApi
from objstore.core import escrow, names
from objstore.core.escrow import EMPTY, NOTHING, Ledger, Portion, Standing, growth, limit_of, never_fits
from objstore.core.quota import QuotaConfig, Usage
from objstore.core.rows import SYSTEM_BUCKET, Kind, Row, RowKey, Space, is_live
from objstore.core.timestamp import ZERO
from objstore.errors import ConditionalConflict, ObjstoreError, PreconditionFailed, TooBusy, Unavailable
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng
from objstore.runtime.tasks import TaskOwner

SETTLE_S = 0.3  # after this long an acknowledged write is in the counters of all devices that are well
UNKNOWN_S = 10.0  # so long a write of unknown outcome may yet show
USE_S = 4.0  # a portion that was not renewed for so long is not used
WRITE_S = 12.0  # a write that took longer since it was let in is not acknowledged
REAP_S = USE_S + WRITE_S + 4.0  # a portion that was seen unchanged for so long belongs to nobody
POLL_S = 0.5  # how often a holder looks whether others want room
TIGHT_S = 0.1  # the same while somebody does
IDLE_S = 2.0  # a portion that was not used for so long is given back
WAIT_S = 6.0  # a write waits for the portions of others so long at most
CLASHES = 8  # rivals' changes of the ledger that one round follows


class Full(Exception):
    """The counters alone leave no room."""


@dataclass(eq=False)
class Grant:
    """Room that one write was given."""

    need: Usage
    until: float  # a write that ends later is not acknowledged


@dataclass(eq=False)
class _Waiter:
    need: Usage
    since: float
    done: "asyncio.Future[Grant]"


class Budget:
    """One quota: of a bucket, or of whatever else `measure` tells the holdings of."""

    def __init__(
        self, scope: str, measure: Callable[[], Awaitable[Usage]], cluster: ClusterApi, clock: Clock, rng: Rng, tasks: TaskOwner, holder: str
    ) -> None:  # fmt: skip
        self._key = RowKey(SYSTEM_BUCKET, Space.OBJECTS, names.record_prefix("quota") + scope.encode())
        self._measure, self._cluster, self._clock, self._rng, self._tasks = measure, cluster, clock, rng, tasks
        self._holder = holder
        self.config: QuotaConfig | None = None
        self._limit = NOTHING
        self._objects = self._bytes = 0  # unspent
        self._low = NOTHING  # less unspent than this: ask for more
        self._valid_until = float("-inf")
        self._pending = NOTHING  # let in and perhaps not in the counters: in flight, and what is in `_ended`
        self._flying = 0
        self._ended: deque[tuple[float, Usage]] = deque()  # when it is in the counters, how much
        self._late: list[tuple[float, Usage]] = []  # the same of unknown outcomes
        self._spent = NOTHING  # since the last round
        self._used_at = self._round_at = float("-inf")
        self._waiters: list[_Waiter] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ledger: Ledger | None = None  # as of the version below; None: to be read
        self._version: bytes | None = None
        self._read_at = float("-inf")
        self._beat = int.from_bytes(rng.token(4), "big")  # never one that others have seen
        self._seen: dict[str, tuple[int, float]] = {}  # holder -> beat, since when

    @property
    def idle(self) -> bool:
        """Whether nothing is held and nothing under way."""
        return self._task is None and not self._flying

    def take(self, config: QuotaConfig, objects: int, size: int) -> Grant | None:
        """Room for a write from what is in hand, at once; else None."""
        if config is not self.config:
            self._configure(config)
        need = growth(config, objects, size)
        now = self._clock.monotonic()
        if now >= self._valid_until or self._waiters or need.objects > self._objects or need.bytes > self._bytes:
            return None
        return self._let_in(need, now)

    async def obtain(self, config: QuotaConfig, objects: int, size: int) -> Grant:
        """The same, waiting for room that others hold.  Raises Full, TooBusy, QuorumLost."""
        grant = self.take(config, objects, size)
        if grant is not None:
            return grant
        need = growth(config, objects, size)
        now = self._clock.monotonic()
        if need == NOTHING:
            return self._let_in(need, now)
        waiter = _Waiter(need, now, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._begin()
        try:
            return await asyncio.shield(waiter.done)
        except asyncio.CancelledError:
            if waiter.done.done() and waiter.done.exception() is None:
                self._give_back(need)  # it was let in at the very moment its caller went away
            waiter.done.cancel()
            raise

    async def could_fit(self, config: QuotaConfig, objects: int, size: int) -> bool:
        """Whether a write is not yet certain to be refused; nothing is reserved.  Raises QuorumLost."""
        if config is not self.config:
            self._configure(config)
        need = growth(config, objects, size)
        now = self._clock.monotonic()
        if now < self._valid_until and self._objects >= need.objects and self._bytes >= need.bytes:
            return True
        return not never_fits(self._limit, await self._measure(), need)

    def end(self, grant: Grant, *, written: bool | None) -> bool:
        """The write ended; None: its outcome is not known.  False: it took too long to be acknowledged."""
        if written is False:
            self._give_back(grant.need)
            return True
        now = self._clock.monotonic()
        self._flying -= 1
        if written is None:
            self._late.append((now + UNKNOWN_S, grant.need))
            return True
        at = now + SETTLE_S
        if self._ended and at - self._ended[-1][0] < SETTLE_S / 10:
            at, before = self._ended.pop()  # together: their common time is the later one's
            self._ended.append((now + SETTLE_S, before.plus(grant.need)))
        else:
            self._ended.append((at, grant.need))
        return now < grant.until

    async def aclose(self) -> None:
        """Give the portion back, if the cluster answers."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._objects = self._bytes = 0
        try:
            async with asyncio.timeout(1.0):
                if self._ledger is None:
                    await self._read()
                await self._write(self._pending, wants=False, keep=self._pending != NOTHING)
        except (ObjstoreError, TimeoutError):
            pass  # others take it for gone after REAP_S

    # -- bookkeeping --------------------------------------------------------------------------------------------------

    def _configure(self, config: QuotaConfig) -> None:
        self.config, self._limit = config, limit_of(config)
        self._objects = self._bytes = 0  # it was room under another limit

    def _let_in(self, need: Usage, now: float) -> Grant:
        self._objects -= need.objects
        self._bytes -= need.bytes
        self._pending = self._pending.plus(need)
        self._spent = self._spent.plus(need)
        self._flying += 1
        self._used_at = now
        if (self._objects < self._low.objects or self._bytes < self._low.bytes) and now >= self._round_at + TIGHT_S:
            self._wake.set()
        return Grant(need, now + WRITE_S)

    def _give_back(self, need: Usage) -> None:
        self._flying -= 1
        self._pending = self._pending.minus(need)
        self._objects += need.objects
        self._bytes += need.bytes

    def _settled(self, now: float) -> tuple[int, Usage]:
        """How many of the ended are in counters that are asked for now, and how much that is; late ones become ended."""
        for entry in [entry for entry in self._late if entry[0] <= now]:
            self._late.remove(entry)
            self._ended.appendleft((now, entry[1]))
        count, total = 0, NOTHING
        for at, need in self._ended:
            if at > now:
                break
            count, total = count + 1, total.plus(need)
        return count, total

    # -- the task -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._wake.set()
        if self._task is None:
            self._task = self._tasks.spawn(self._tend(), name="quota")

    async def _tend(self) -> None:
        try:
            await self._go_on()
        finally:
            self._task = None
            self._fail(Unavailable("what the bucket's quota leaves cannot be told; try again"))  # nobody, unless this was a bug

    async def _go_on(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self._step()
                failures = 0
                self._serve()
            except ObjstoreError as failure:
                self._ledger = None
                self._objects = self._bytes = 0  # the ledger may hold less than this process believed
                failures += 1
                if failures > 1 or isinstance(failure, TooBusy):
                    self._fail(failure)
            if not self._waiters and self._ledger is not None and self._holder not in self._ledger.portions:
                return
            await self._pause()

    async def _pause(self) -> None:
        wanted = self._ledger is not None and self._others(self._clock.monotonic())[2]
        at_most_s = self._rng.uniform(TIGHT_S / 5, TIGHT_S) if self._waiters else TIGHT_S if wanted else POLL_S
        try:
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _serve(self) -> None:
        now = self._clock.monotonic()
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            if waiter.done.done():
                continue
            need = waiter.need
            if now < self._valid_until and need.objects <= self._objects and need.bytes <= self._bytes:
                waiter.done.set_result(self._let_in(need, now))
            elif now >= waiter.since + WAIT_S:
                waiter.done.set_exception(TooBusy("the bucket's last room is held by writes through other proxies; try again"))
            else:
                self._waiters.append(waiter)

    def _fail(self, failure: ObjstoreError) -> None:
        for waiter in self._waiters:
            if not waiter.done.done():
                waiter.done.set_exception(failure)
        self._waiters = []

    async def _step(self) -> None:
        for _ in range(CLASHES):
            now = self._clock.monotonic()
            if self._ledger is None or now >= self._read_at + (TIGHT_S if self._waiters else POLL_S) * 0.9:
                await self._read()
            if not self._is_due(now):
                return
            try:
                await self._round()
            except PreconditionFailed:
                self._ledger = None
                await self._clock.sleep(self._rng.uniform(0.0, TIGHT_S / 5))
                continue
            except ConditionalConflict as unknown:
                raise Unavailable("whether a portion was changed is not known") from unknown
            return

    def _is_due(self, now: float) -> bool:
        if self._waiters or self._objects < self._low.objects or self._bytes < self._low.bytes:
            return True
        if now >= self._valid_until - USE_S / 2 or now >= self._used_at + IDLE_S:
            return True
        return self._others(now)[2] and bool(self._objects or self._bytes or self._settled(now)[0])

    async def _round(self) -> None:
        """Settle what the counters show, and hold what is needed.  Raises PreconditionFailed: the ledger changed meanwhile."""
        assert self.config is not None
        assert self._ledger is not None
        asked = self._clock.monotonic()
        config, limit = self.config, self._limit
        held = await self._measure()
        if config is not self.config:
            raise PreconditionFailed("the quota was changed meanwhile", condition="version")
        self._refuse(held, asked)
        if not self._waiters and self._pending == NOTHING and self._holder not in self._ledger.portions:
            return
        count, shown = self._settled(asked)
        others, holders, wanted = self._others(asked)
        pending = self._pending.minus(shown)
        unspent = Usage(self._objects, self._bytes)
        rate = Usage(*(int(spent / max(0.2, asked - self._round_at)) for spent in self._spent))
        if asked >= self._used_at + IDLE_S and not self._waiters:
            wished = escrow.Plan(NOTHING, short=False)
        else:
            standing = Standing(limit, held, others, holders, pending, unspent, wanted)
            wished = escrow.plan(standing, [waiter.need for waiter in self._waiters], rate)
        kept = Usage(*map(min, unspent, wished.unspent))
        self._objects, self._bytes = kept
        portion = pending.plus(wished.unspent)
        sent = self._clock.monotonic()
        mine = self._ledger.portions.get(self._holder)
        if mine is None or sent >= self._valid_until - USE_S / 2 or (mine.size, mine.wants) != (portion, wished.short):
            await self._write(portion, wants=wished.short, keep=portion != NOTHING or bool(self._waiters))
            self._valid_until = sent + USE_S
        for _ in range(count):
            self._ended.popleft()
        self._pending = self._pending.minus(shown)
        if config is self.config:
            self._objects += wished.unspent.objects - kept.objects
            self._bytes += wished.unspent.bytes - kept.bytes
        self._low = Usage(wished.unspent.objects // 4, wished.unspent.bytes // 4)
        self._spent, self._round_at = NOTHING, asked

    def _refuse(self, held: Usage, asked: float) -> None:
        """Tell those for whom there is no room, whatever becomes of the portions; who came later may know of a deletion."""
        for waiter in self._waiters:
            if waiter.since <= asked and not waiter.done.done() and never_fits(self._limit, held, waiter.need):
                waiter.done.set_exception(Full())
        self._waiters = [waiter for waiter in self._waiters if not waiter.done.done()]

    # -- the ledger ---------------------------------------------------------------------------------------------------

    def _others(self, now: float) -> tuple[Usage, int, bool]:
        """The sum of other holders' portions, how many holders there are with oneself, whether one of them wants room."""
        assert self._ledger is not None
        total, holders, wanted = NOTHING, 1, False
        for holder, portion in self._ledger.portions.items():
            if holder != self._holder and not self._is_gone(holder, now):
                total, holders, wanted = total.plus(portion.size), holders + 1, wanted or portion.wants
        return total, holders, wanted

    def _is_gone(self, holder: str, now: float) -> bool:
        return now - self._seen[holder][1] > REAP_S

    async def _read(self) -> None:
        row = (await self._cluster.read(self._key)).row
        there = row is not None and is_live(row)
        self._ledger = escrow.decode(row.record) if row is not None and there else EMPTY
        self._version = row.origin if row is not None and there else None
        now = self._read_at = self._clock.monotonic()
        seen: dict[str, tuple[int, float]] = {}
        for holder, portion in self._ledger.portions.items():
            known = self._seen.get(holder)
            seen[holder] = known if known is not None and known[0] == portion.beat else (portion.beat, now)
        self._seen = seen
        mine = self._ledger.portions.get(self._holder)
        if mine is None or mine.beat != self._beat:
            self._objects = self._bytes = 0  # taken for gone while it slept, or changed by a write whose outcome was not known

    async def _write(self, portion: Usage, *, wants: bool, keep: bool) -> None:
        """Put one's portion into the ledger as it was read.  Raises PreconditionFailed, ConditionalConflict."""
        assert self._ledger is not None
        now, expected, beat = self._clock.monotonic(), self._version, self._beat
        portions = {h: p for h, p in self._ledger.portions.items() if h != self._holder and not self._is_gone(h, now)}
        if keep:
            self._beat += 1
            portions[self._holder] = Portion(portion.objects, portion.bytes, self._beat, wants)
        ledger = Ledger(escrow.RECORD_VERSION, portions)
        draft = Row(
            kind=Kind.RECORD if portions else Kind.TOMBSTONE, operation=b"", origin=ZERO, base=ZERO, modified_us=0,
            record=escrow.encode(ledger) if portions else b"",
        )  # fmt: skip
        if not portions and expected is None:
            self._ledger = EMPTY
            return

        def judge(current: Row | None) -> Row:
            found = current.origin if current is not None and is_live(current) else None
            if found != expected:
                raise PreconditionFailed("the ledger of a quota was changed by another holder", condition="version")
            return draft

        try:
            row = (await self._cluster.conditional(self._key, judge)).row
        except PreconditionFailed:
            self._beat = beat  # as it was: what is unspent stays good
            raise
        self._ledger, self._version = ledger, row.origin if portions else None
