"""What does one call between two processes cost?  `python -m benchmarks.wire [seconds per line]`

A node process that answers at once, a caller with 32 calls in flight; CPU of both processes per call, over TCP and over
a Unix socket, for a Query, an Accept with 4 KiB and with 64 KiB, a 4 KiB answer, and streamed uploads and downloads.
"""

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial

import uvloop

from objstore.core.rows import RowKey
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.net import SocketNet
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from objstore.runtime.world import World
from objstore.wire.channel import Call, Channel, dial, serve
from objstore.wire.messages import (
    Accept,
    AcceptAnswer,
    BodyBegin,
    NodeReport,
    NodeStatus,
    Query,
    ReadBody,
    RegisterAnswer,
    StageBody,
    Staged,
)

KEY = b"benchmark"
IN_FLIGHT = 32
PIECE = bytes(256 * 1024)
STREAM_BYTES = 64 * 1024 * 1024
ROW_KEY = RowKey(b"bucketid", 0, b"some/key/of/usual/length/0001.jpg")


def no_kv(directory: str) -> None:
    raise NotImplementedError(directory)


WORLD = World(SystemClock(), SystemRng(), SocketNet(), RealDisk, no_kv, ThreadPool)  # type: ignore[arg-type]


class Echo:
    def on_request(self, call: Call) -> None:
        message = call.message
        if isinstance(message, Query):
            call.answer(RegisterAnswer(has_payload=message.inline), PIECE[:4096] if message.inline else b"")
        elif isinstance(message, Accept):
            call.answer(AcceptAnswer("yes"))
        elif isinstance(message, NodeStatus):
            usage = resource.getrusage(resource.RUSAGE_SELF)
            call.answer(NodeReport("node", 1, int((usage.ru_utime + usage.ru_stime) * 1e6), []))
        elif isinstance(message, StageBody):
            call.run(self.take)
        else:
            call.run(self.give)

    async def take(self, call: Call) -> None:
        size = 0
        assert call.body is not None
        async for piece in call.body:
            size += len(piece)
        call.answer(Staged(size, b""))

    async def give(self, call: Call) -> None:
        call.answer(BodyBegin(STREAM_BYTES, STREAM_BYTES))
        assert call.sender is not None
        for _ in range(STREAM_BYTES // len(PIECE)):
            await call.sender.write(PIECE)
        call.end_body()

    def on_closed(self) -> None:
        pass


async def node(address: str) -> None:
    await serve(WORLD, address, cluster_key=KEY, name="node", handler_factory=lambda _: Echo())
    print("ready", flush=True)
    await asyncio.Event().wait()


async def calls(channel: Channel, message, payload, seconds: float) -> int:
    end = time.perf_counter() + seconds
    finished = asyncio.get_running_loop().create_future()
    count = 0
    running = IN_FLIGHT

    def done(answer, _payload, failure) -> None:
        nonlocal count, running
        assert failure is None
        count += 1
        if time.perf_counter() < end:
            channel.call_soon(message, payload, timeout_s=5, done=done)
        else:
            running -= 1
            if not running:
                finished.set_result(None)

    for _ in range(IN_FLIGHT):
        channel.call_soon(message, payload, timeout_s=5, done=done)
    await finished
    return count


async def measure(channel: Channel, name: str, work, unit: float = 1.0, unit_name: str = "call") -> None:
    node_before = (await channel.call(NodeStatus(), timeout_s=5))[0].wall_us
    own_before, wall_before = time.process_time(), time.perf_counter()
    count = await work()
    wall, own = time.perf_counter() - wall_before, time.process_time() - own_before
    other = ((await channel.call(NodeStatus(), timeout_s=5))[0].wall_us - node_before) / 1e6
    per = count * unit
    print(f"{name:42s} {per / wall:12,.0f} {unit_name}/s   caller {own / per * 1e6:7.2f} us   node {other / per * 1e6:7.2f} us", flush=True)


async def upload(channel: Channel) -> int:
    up = await channel.open_upload(StageBody(1, 1, b"i" * 8, 5000, 1, b"b" * 16, STREAM_BYTES), timeout_s=5)
    for _ in range(STREAM_BYTES // len(PIECE)):
        await up.write(PIECE)
    await up.finish()
    return STREAM_BYTES


async def download(channel: Channel) -> int:
    down = await channel.open_download(ReadBody(1, 1, b"i" * 8, 5000, ROW_KEY, b"o" * 12), timeout_s=5)
    return sum([len(piece) async for piece in down])


async def caller(address: str, seconds: float) -> None:
    channel = await dial(WORLD, address, cluster_key=KEY, name="bench", timeout_s=5)
    query = Query(1, 1, b"i" * 8, 5000, 7, ROW_KEY)
    accept = Accept(1, 1, b"i" * 8, 5000, 7, ROW_KEY, b"b" * 12, bytes(220), has_payload=True)
    inline = Query(1, 1, b"i" * 8, 5000, 7, ROW_KEY, inline=True)
    for name, message, payload in (
        ("query", query, b""),
        ("accept, 4 KiB", accept, PIECE[:4096]),
        ("accept, 64 KiB", accept, PIECE[:65536]),
        ("query, 4 KiB answer", inline, b""),
    ):
        await measure(channel, name, partial(calls, channel, message, payload, seconds))
    per_mib = 1 / 1024 / 1024
    await measure(channel, "upload, 256 KiB pieces", partial(upload, channel), per_mib, "MiB")
    await measure(channel, "download, 256 KiB pieces", partial(download, channel), per_mib, "MiB")
    channel.close()


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "node":
        uvloop.run(node(sys.argv[2]))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as directory:
        for address in ("tcp:127.0.0.1:29471", f"unix:{directory}/node"):
            print(address.partition(":")[0])
            child = subprocess.Popen([sys.executable, "-m", "benchmarks.wire", "node", address], stdout=subprocess.PIPE)
            try:
                assert child.stdout is not None
                child.stdout.readline()
                uvloop.run(caller(address, seconds))
            finally:
                child.kill()
                child.wait()


if __name__ == "__main__":
    main()
