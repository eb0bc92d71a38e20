"""Engines for tests: on a simulated host whose power can be cut, or on real files and LMDB in a temporary directory."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import xxhash

from objstore.cli.world import system_world
from objstore.core.rows import BodyKind, Kind, Row, RowKey, encode_row
from objstore.core.timestamp import Ballot, ballot_at
from objstore.node.engine.engine import Engine, EngineSettings, format_device
from objstore.runtime.world import World
from tests.sim.host import Host, Simulation

T = TypeVar("T")

BUCKET = b"bucket-1"
DIRECTORY = "/disks/a"
SMALL = EngineSettings(
    pack_size_bytes=16 * 1024,
    checkpoint_rows=50,
    block_size_bytes=1024,
    read_bytes=4096,
    stage_bytes=4096,
    stage_waiting_bytes=16384,
    reserve_bytes=0,
    ballast_bytes=0,
)


def ballot(number: int, proxy: int = 1) -> Ballot:
    """A ballot; higher numbers are later."""
    return ballot_at(number << 12, proxy)


def key(name: str | bytes, version: bytes = b"", *, space: int = 0, bucket: bytes = BUCKET) -> RowKey:
    return RowKey(bucket, space, name.encode() if isinstance(name, str) else name, version)


def row(
    origin: Ballot, payload: bytes | None = None, *, kind: int = Kind.OBJECT, blob: bytes = b"", size: int = 0, base: Ballot | None = None, **more: Any
) -> bytes:  # fmt: skip
    """An encoded row with an inline payload, a blob, or no bytes at all."""
    body = BodyKind.INLINE if payload is not None else BodyKind.BLOB if blob else BodyKind.NONE
    digest = xxhash.xxh3_128_digest(payload) if payload is not None else b""
    length = len(payload) if payload is not None else size
    return encode_row(Row(kind, b"operation-000001", origin, base or origin, 7, length, "etag", body, digest, blob, **more))


def tombstone(origin: Ballot) -> bytes:
    return row(origin, kind=Kind.TOMBSTONE)


async def put(engine: Engine, name: str | bytes | RowKey, number: int, payload: bytes = b"", *, partition: int = 0, **more: Any) -> str:
    """Accept an object with an inline payload; the verdict."""
    where = name if isinstance(name, RowKey) else key(name)
    at = ballot(number)
    answer = await engine.accept(where, partition=partition, ballot=at, row=row(at, payload, **more), payload=payload)
    return answer.verdict


async def delete(engine: Engine, name: str | bytes, number: int, *, partition: int = 0) -> str:
    at = ballot(number)
    return (await engine.accept(key(name), partition=partition, ballot=at, row=tombstone(at))).verdict


async def put_blob(engine: Engine, name: str | bytes | RowKey, number: int, blob: bytes, data: bytes, *, partition: int = 0) -> str:
    """Stage a blob and accept its row."""
    writer = await engine.stage(blob, size=len(data))
    for start in range(0, len(data), 1500):
        await writer.write(data[start : start + 1500])
    assert (await writer.finish()).size == len(data)
    where = name if isinstance(name, RowKey) else key(name)
    at = ballot(number)
    return (await engine.accept(where, partition=partition, ballot=at, row=row(at, blob=blob, size=len(data)))).verdict


async def read(engine: Engine, name: str | bytes | RowKey, number: int, offset: int = 0, length: int = -1) -> bytes:
    """The bytes of a row whose origin is ballot(number)."""
    where = name if isinstance(name, RowKey) else key(name)
    stream = await engine.read_body(where, origin=ballot(number), offset=offset, length=length)
    data = b"".join([bytes(chunk) async for chunk in stream.chunks])
    assert len(data) == stream.length
    return data


def names(engine: Engine, **changes: Any) -> list[bytes]:
    """Names listed from the bucket in one page."""
    query: dict[str, Any] = {
        "prefix": b"", "start": b"", "limit": 10_000, "delimiter": b"", "partitions": b"\x01" * 64, "versions": False, **changes,
    }  # fmt: skip
    return [found.name for found in engine.scan(BUCKET, 0, **query).rows]


class SimRig:
    """One simulated host with one device."""

    started: ClassVar[list["SimRig"]] = []

    def __init__(self, seed: int = 1, settings: EngineSettings = SMALL) -> None:
        SimRig.started.append(self)
        self.simulation = Simulation(seed)
        self.host: Host = self.simulation.host("host")
        self.host.storage.mount(DIRECTORY)
        self.settings = settings
        self.engine: Engine
        self.incarnation = self.run(lambda: format_device(self.host.world(), DIRECTORY))
        self.open()

    def run(self, start: Callable[[], Awaitable[T]], *, limit_s: float = 36_000.0) -> T:
        """Run a coroutine on the host."""

        async def body() -> T:
            return await start()

        return self.simulation.run(self.host.call(body), limit_s=self.simulation.scheduler.now_s + limit_s)

    def open(self) -> None:
        """Open the device as it is."""

        async def body() -> Engine:
            return await Engine.open(self.host.world(), DIRECTORY, self.settings)

        self.engine = self.run(body)

    def reopen(self) -> None:
        """Close and open."""
        self.run(self.engine.close)
        self.open()

    def crash(self, *, power: bool = True) -> None:
        """Cut the power (or kill the process) and open what is left."""
        self.host.kill(power=power)
        self.host.boot()
        self.open()

    def call(self, function: Callable[[], T]) -> T:
        """Run a plain function on the host."""

        async def body() -> T:
            return function()

        return self.run(body)

    def finish(self) -> None:
        """Let go of everything."""
        self.simulation.bury()
        SimRig.started.remove(self)

    @classmethod
    def finish_all(cls) -> None:
        """Let go of every rig."""
        while cls.started:
            cls.started[0].finish()


def on_files(directory: Path | str, main: Callable[[World, str], Awaitable[T]]) -> T:
    """Run a test on real files and LMDB."""

    async def body() -> T:
        world = system_world()
        return await main(world, str(directory))

    return asyncio.run(body())


async def fresh(world: World, directory: str, settings: EngineSettings = SMALL) -> Engine:
    """Format and open."""
    await format_device(world, directory)
    return await Engine.open(world, directory, settings)
