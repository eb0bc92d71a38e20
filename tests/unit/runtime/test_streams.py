"""Streams between sockets."""

import asyncio
from pathlib import Path

import pytest

from objstore.errors import NodeUnreachable
from objstore.runtime.streams import Stream, copy, join, listening, open_stream


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in capitals what was sent until its end."""
    writer.write((await reader.read()).upper())
    writer.close()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_bytes_and_their_end_are_carried_through_a_bridge_both_ways(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        def place(name: str) -> str:
            return f"unix:{tmp_path}/{name}" if kind == "unix" else "tcp:127.0.0.1:0"

        async with listening(place("far"), shout) as far:
            ended = asyncio.Event()

            async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                other: Stream = await open_stream(far, timeout_s=5.0)
                await join((reader, writer), other)
                ended.set()

            async with listening(place("near"), bridge) as near:
                reader, writer = await open_stream(near, timeout_s=5.0)
                writer.write(b"x" * 1_000_000)
                writer.write_eof()
                assert await reader.read() == b"X" * 1_000_000
                writer.close()
                await ended.wait()
        await asyncio.sleep(0.02)

    asyncio.run(main())


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable):
        asyncio.run(open_stream(f"unix:{tmp_path}/none", timeout_s=1.0))
    with pytest.raises(ValueError):
        asyncio.run(open_stream("http://x", timeout_s=1.0))


def test_a_copy_ends_with_its_source(tmp_path: Path) -> None:
    async def main() -> None:
        async with listening(f"unix:{tmp_path}/s", shout) as there:
            source = asyncio.StreamReader()
            source.feed_data(b"abc")
            source.feed_eof()
            reader, writer = await open_stream(there, timeout_s=5.0)
            await copy(source, writer)
            assert await reader.read() == b"ABC"
            writer.close()
        await asyncio.sleep(0.02)

    asyncio.run(main())
