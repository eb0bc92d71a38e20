"""The front in this process: its own HTTP connections over a socket that is two lists, the store over a cluster in memory.

Some thousands of requests a second, so this is where most of them are played; every byte goes through the same parser,
connection, application and object model as in production.
"""

import asyncio
import gc
from random import Random
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

from uvicorn.server import ServerState

from objstore.core.rows import SYSTEM_BUCKET, Space
from objstore.fronts.http import Connection, HttpLimits, Sweeper
from objstore.fronts.s3.app import S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.logic import Credentials
from objstore.identity.model import User
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from tests.fuzz.asked import ACCESS_KEY, SECRET_KEY, Asked, render
from tests.fuzz.cases import make_case
from tests.fuzz.corpus import BIG, CONTENT, recorded
from tests.fuzz.judge import PATIENCE_S, PROBE_BODY, Finding, Malformed, Play, Tally
from tests.support.memory_cluster import MemoryCluster, memory_world

EPOCH_CASES = 250  # cases that share one store
USER = User("fuzz", "fuzz", ACCESS_KEY.decode(), SECRET_KEY)


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()
        self.closed = False
        self.protocol: Connection | None = None

    def write(self, data: Any) -> None:
        if not self.closed:
            self.out += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    ended = False

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 80)}.get(name, default)


class MemoryLine:
    """A connection; idle is when the server waits for the client."""

    def __init__(self, stage: "Stage") -> None:
        self._transport = _Transport()
        config: Any = SimpleNamespace(loaded_app=stage.app, ws_protocol_class=None)
        self._protocol = Connection(config, stage.state, {}, limits=stage.limits, sweeper=stage.sweeper)
        self._transport.protocol = self._protocol
        self._protocol.connection_made(self._transport)
        self._taken = 0

    async def send(self, data: bytes, rng: Random) -> None:
        at = 0
        whole = rng.random() < 0.5
        while at < len(data) and not self._transport.closed:
            size = len(data) if whole else rng.randrange(1, 1 + max(64, len(data) // 4))
            self._protocol.data_received(data[at : at + size])
            at += size
            if not whole:
                await asyncio.sleep(0)

    async def read(self, *, expect_more: bool) -> bytes | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        turns = 0
        while True:
            if len(self._transport.out) > self._taken and (self._idle() or turns > 3):
                data = bytes(self._transport.out[self._taken :])
                self._taken = len(self._transport.out)
                return data
            if (self._transport.closed or self._transport.ended) and len(self._transport.out) == self._taken:
                return None
            if self._idle() and turns > 3 and (not expect_more or turns > 200):
                return b""
            if loop.time() > deadline:
                return b""
            turns += 1
            await asyncio.sleep(0 if turns < 500 else 0.002)

    def _idle(self) -> bool:
        exchange = self._protocol.exchange
        return exchange is None or exchange.answered or (exchange.reader is not None and not exchange.reader.done())

    async def end(self) -> None:
        if not self._transport.closed and not self._protocol.eof_received():
            self._transport.close()

    async def close(self) -> None:
        self._transport.close()
        await asyncio.sleep(0)


class Stage:
    """One store with what the recorded requests speak of."""

    def __init__(self) -> None:
        clock: Any = SystemClock()
        self.limits = HttpLimits()
        self.sweeper = Sweeper()
        self.state = ServerState()
        self.cluster = MemoryCluster(clock=clock)
        self.store = ObjectStore(self.cluster, memory_world(clock), ObjectSettings(bucket_cache_s=0.0, min_part_bytes=1))
        self.app = S3App(self.store, Credentials([USER]), clock, S3Settings(), rng=SystemRng())
        self.corpus: list[Asked] = []

    async def prepare(self) -> None:
        """Make buckets, objects and an upload."""
        line = MemoryLine(self)
        for asked in setting():
            answer = await _ask(line, asked)
            if asked.query == [(b"uploads", None)]:
                root = ElementTree.fromstring(answer.partition(b"\r\n\r\n")[2])
                self.corpus = recorded((root.findtext("{*}UploadId") or "").encode())
        await line.close()

    async def settle(self) -> None:
        """Wait for what goes on although its client has left."""
        for turn in range(1000):
            if not self.state.tasks and not self.app._tasks:
                return
            await asyncio.sleep(0 if turn < 50 else 0.001)

    def must_be(self, before: list[Any]) -> None:
        """Raise Finding when the store holds something else.

        An upload that was begun is let pass: its request is done with the head, and a bad body after it closes the connection.
        """
        changed = [item for item in self.stored() if item not in before and item[0][1] != Space.UPLOADS]
        if changed or len(self.stored()) < len(before):
            raise Finding(f"refused, yet the store changed: {changed!r:.600}")

    def stored(self) -> list[Any]:
        """Everything in the store but the directory of buckets."""
        return [item for item in self.cluster.registers.rows.items() if item[0][0] != SYSTEM_BUCKET]

    async def aclose(self) -> None:
        """Stop."""
        await self.app.aclose()
        await self.store.aclose()


def setting() -> list[Asked]:
    """Requests that lay what the recorded ones need."""
    return [
        Asked(b"PUT", b"/bkt"), Asked(b"PUT", b"/probe"), Asked(b"PUT", b"/bkt/k", body=CONTENT), Asked(b"PUT", b"/bkt/a/b", body=CONTENT), Asked(b"PUT", b"/bkt/big", body=BIG),
        Asked(b"PUT", b"/probe/probe", body=PROBE_BODY), Asked(b"POST", b"/bkt/m", [(b"uploads", None)]),
    ]  # fmt: skip


async def _ask(line: MemoryLine, asked: Asked) -> bytes:
    out = render(asked)
    await line.send(out.head() + out.body, Random(0))
    answer = await line.read(expect_more=True)
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer


def probe() -> bytes:
    """A good request whose answer cannot be mistaken."""
    return render(Asked(path=b"/probe/probe")).head()


async def play(seed: int, first: int, count: int, tally: Tally, *, verbose: bool = False) -> None:
    """Play cases first ... first + count - 1, whole epochs at a time."""
    for start in range(first - first % EPOCH_CASES, first + count, EPOCH_CASES):
        await _epoch(seed, range(start, min(start + EPOCH_CASES, first + count)), tally, verbose=verbose)
        gc.collect()


async def _epoch(seed: int, numbers: range, tally: Tally, *, verbose: bool) -> None:
    stage = Stage()
    await stage.prepare()

    async def connect() -> MemoryLine:
        return MemoryLine(stage)

    player = Play(connect, probe, tally, here=True)
    for number in numbers:
        case = make_case(seed, number, stage.corpus)
        await stage.settle()
        before = stage.stored()
        try:
            pairs = await player.case(case)
            if verbose:
                print(number, case.story, [(reply.status, reply.body[:300]) for _, reply in pairs])
            refused = all(reply.status >= 400 or seen.method in (b"GET", b"HEAD", b"OPTIONS") for seen, reply in pairs)
            if refused:
                await stage.settle()
                stage.must_be(before)
        except (Finding, Malformed) as failure:
            tally.findings.append(f"seed {seed} case {number}: {failure}\n    {case.story}\n    {case.data[:1500]!r}")
    await player.close()
    await stage.aclose()
