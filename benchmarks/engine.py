"""What one device's engine costs: CPU microseconds per operation, on a temporary directory.

    python -m benchmarks.engine [--rows 20000] [--directory DIR] [--json]

CPU is that of the whole process (all threads, user and system), so flushes and checkpoints are in it.  The baseline printed
first is what the same batches cost as a bare pwritev and fdatasync of the same bytes: the price of the disk alone.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time

import uvloop
import xxhash

from objstore.cli.world import system_world
from objstore.core.rows import BodyKind, Kind, Row, RowKey, encode_row
from objstore.core.timestamp import ballot_at
from objstore.node.engine.engine import Engine, EngineSettings, format_device

BUCKET = b"benchmrk"
PAYLOAD_BYTES = 4096
PARTITIONS = 1024


def cpu_us() -> float:
    return time.process_time_ns() / 1000


class Timer:
    """Microseconds of CPU and of wall time per operation."""

    def __init__(self, results: dict[str, dict[str, float]], name: str, count: int) -> None:
        self.results, self.name, self.count = results, name, count

    def __enter__(self) -> None:
        self.cpu, self.wall = cpu_us(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.results[self.name] = {
            "cpu_us": round((cpu_us() - self.cpu) / self.count, 2),
            "wall_us": round((time.perf_counter() - self.wall) * 1e6 / self.count, 2),
        }


def key(number: int) -> RowKey:
    return RowKey(BUCKET, 0, b"photos/2025/%08d.jpeg" % (number * 7919 % 1_000_003))


def encoded_row(number: int, payload: bytes) -> tuple[bytes, bytes]:
    at = ballot_at(number + 1 << 12, 1)
    digest = xxhash.xxh3_128_digest(payload)
    row = Row(
        Kind.OBJECT, os.urandom(16), at, at, 1_700_000_000_000_000, len(payload), digest.hex(), BodyKind.INLINE, digest,
        content_type="image/jpeg", metadata={"camera": "one"}, checksums={"crc64nvme": b"12345678"}, owner="account-0001",
    )  # fmt: skip
    return at, encode_row(row)


def baseline(directory: str, count: int, batch: int, results: dict[str, dict[str, float]]) -> None:
    payload = [os.urandom(PAYLOAD_BYTES + 400)] * batch
    fd = os.open(f"{directory}/baseline", os.O_RDWR | os.O_CREAT)
    with Timer(results, f"baseline: write and flush, batches of {batch}", count):
        for number in range(count // batch):
            os.pwritev(fd, payload, number * batch * (PAYLOAD_BYTES + 400))
            os.fdatasync(fd)
    os.close(fd)
    os.unlink(f"{directory}/baseline")


async def accepts(engine: Engine, start: int, count: int, batch: int) -> None:
    payload = os.urandom(PAYLOAD_BYTES)
    rows = [encoded_row(number, payload) for number in range(start, start + count)]
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            at, row = rows[number]
            answer = await engine.accept(key(start + number), partition=number % PARTITIONS, ballot=at, row=row, payload=payload)
            assert answer.verdict == "yes"

    await asyncio.gather(*(worker() for _ in range(batch)))


async def run(directory: str, count: int) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = {}
    world = system_world()
    device = f"{directory}/device"
    await format_device(world, device)
    engine = await Engine.open(world, device, EngineSettings())
    baseline(directory, count, 16, results)
    payload = os.urandom(PAYLOAD_BYTES)
    encode = [encoded_row(number, payload) for number in range(1000)]
    done = 0
    for batch in (1, 16, 64):
        share = count if batch == 16 else count // 4
        with Timer(results, f"accept {PAYLOAD_BYTES} B, {batch} at a time (with its share of checkpoints)", share):
            await accepts(engine, done, share, batch)
        done += share
    assert encode
    step = max(done // 5000, 1)
    keys = [(key(number), 0) for number in range(0, done, step)]
    with Timer(results, "query, memtable and index mixed", len(keys)):
        for where, partition in keys:
            engine.query(where, partition=partition)
    with Timer(results, "checkpoint, per row that waited", max(len(engine._device.state.active), 1)):
        await engine.maintain("checkpoint")
    with Timer(results, "query, from the index", len(keys)):
        for where, partition in keys:
            engine.query(where, partition=partition)
    absent = [RowKey(BUCKET, 0, b"absent/%08d" % number) for number in range(5000)]
    with Timer(results, "query of an absent key", len(absent)):
        for where in absent:
            engine.query(where, partition=3)
    with Timer(results, "query with payload", len(keys)):
        for where, partition in keys:
            await engine.query_inline(where, partition=partition)
    held = b"\x01" * PARTITIONS
    with Timer(results, "scan of 1000 rows, per page, from the index", 20):
        start = b""
        for _ in range(20):
            page = engine.scan(BUCKET, 0, prefix=b"", start=start, limit=1000, delimiter=b"", partitions=held, versions=False)
            start = page.scanned_to or b""
    await accepts(engine, done, 4000, 64)
    with Timer(results, "scan of 1000 rows, per page, a fifth from the memtable", 20):
        start = b""
        for _ in range(20):
            page = engine.scan(BUCKET, 0, prefix=b"", start=start, limit=1000, delimiter=b"", partitions=held, versions=False)
            start = page.scanned_to or b""
    data = os.urandom(16 * 1024 * 1024)
    pieces = [data[at : at + 262_144] for at in range(0, len(data), 262_144)]
    with Timer(results, "stage 16 MiB, per MiB", 5 * 16):
        for number in range(5):
            writer = await engine.stage(number.to_bytes(16, "big"), size=len(data))
            for piece in pieces:
                await writer.write(piece)
            await writer.finish()
    at = ballot_at(1, 9)
    where = RowKey(BUCKET, 0, b"large")
    row = encode_row(Row(Kind.OBJECT, b"o" * 16, at, at, 1, len(data), "e", BodyKind.BLOB, b"", (4).to_bytes(16, "big")))
    await engine.accept(where, partition=1, ballot=at, row=row)
    with Timer(results, "read 16 MiB, per MiB", 5 * 16):
        for _ in range(5):
            stream = await engine.read_body(where, origin=at, offset=0, length=-1)
            async for _chunk in stream.chunks:
                pass
    with Timer(results, "audit, per row", engine.stats().rows):
        cursor: bytes | None = b""
        while cursor is not None:
            cursor = (await engine.audit(cursor, budget_bytes=32 * 1024 * 1024)).cursor
    stats = engine.stats()
    results["disk bytes per row: packs, index"] = {
        "cpu_us": round(stats.pack_bytes / stats.rows), "wall_us": round(stats.index_bytes / stats.rows),
    }  # fmt: skip
    await engine.close()
    with Timer(results, "open after a clean stop", 1):
        engine = await Engine.open(world, device, EngineSettings())
    await engine.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--directory", default=None, help="where to make the temporary directory; the disk that is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(directory, options.rows))
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print(f"{'operation':<70}{'CPU us':>12}{'wall us':>12}")
    for name, figures in results.items():
        print(f"{name:<70}{figures['cpu_us']:>12}{figures['wall_us']:>12}")


if __name__ == "__main__":
    main()
