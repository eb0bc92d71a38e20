"""QEMU's monitor: answers by their ids, events between them, ends that nobody waits for."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.errors import NodeUnreachable
from objstore.runtime.net import SocketNet, send_descriptor
from objstore.services.compute.agent.qmp import LINE_LIMIT_BYTES, WHY_LIMIT, Qmp, QmpClosed, QmpRefused, connect

GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def with_monitor(tmp_path: Path, script: Script, test: Callable[[Qmp, list[Any]], Awaitable[None]], *, greeting: bytes = GREETING) -> None:
    async def main() -> None:
        events: list[Any] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            try:
                await script(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_unix_server(serve, tmp_path / "q")
        try:
            monitor = await connect(SocketNet(), str(tmp_path / "q"), lambda name, data: events.append((name, data)), timeout_s=2.0)
            await test(monitor, events)
            monitor.close()
        finally:
            server.close()
            await asyncio.sleep(0.02)  # both ends see the other's end

    asyncio.run(main())


async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what it is asked: twice an event, an error for "bad", nothing for "mute", the end for "die"."""
    while line := await reader.readline():
        asked = json.loads(line)
        command = asked["execute"]
        if command == "die":
            return
        if command == "bad":
            writer.write(json.dumps({"id": asked["id"], "error": {"class": "DeviceNotFound", "desc": "no such thing"}}).encode() + b"\n")
        elif command != "mute":
            writer.write(b'{"event": "STOP", "timestamp": {}}\n{"event": "JOB", "data": {"id": "x"}}\n')
            writer.write(json.dumps({"return": [command, asked["arguments"]], "id": asked["id"]}).encode() + b"\n")


def test_commands_are_answered_and_events_are_told(tmp_path: Path) -> None:
    async def test(monitor: Qmp, events: list[Any]) -> None:
        both = await asyncio.gather(monitor.execute("one", node_name="n"), monitor.ask("two", {"a_b": 1}))
        assert both == [["one", {"node-name": "n"}], ["two", {"a_b": 1}]]
        assert events[-2:] == [("STOP", {}), ("JOB", {"id": "x"})]

    with_monitor(tmp_path, obey, test)


def test_a_refusal_says_why_and_of_which_kind(tmp_path: Path) -> None:
    async def test(monitor: Qmp, events: list[Any]) -> None:
        with pytest.raises(QmpRefused, match="no such thing") as refused:
            await monitor.execute("bad")
        assert refused.value.facts == {"kind": "DeviceNotFound"}
        assert await monitor.execute("after") == ["after", {}]

    with_monitor(tmp_path, obey, test)


def test_who_waits_when_qemu_ends_is_told_so_and_so_are_those_who_come_after(tmp_path: Path) -> None:
    async def test(monitor: Qmp, events: list[Any]) -> None:
        waiting = [asyncio.ensure_future(monitor.execute("mute")), asyncio.ensure_future(monitor.execute("die"))]
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in done] == [QmpClosed, QmpClosed]
        assert monitor.closed.is_set()
        with pytest.raises(QmpClosed):
            await monitor.execute("late")

    with_monitor(tmp_path, obey, test)


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def test(monitor: Qmp, events: list[Any]) -> None:
        with pytest.raises(QmpClosed, match=r"within 0\.05 s"):
            await monitor.execute("mute", timeout_s=0.05)
        assert await monitor.execute("after") == ["after", {}]

    with_monitor(tmp_path, obey, test)


@pytest.mark.parametrize("said", [b"[1]\n", b"nonsense\n", b"x" * (LINE_LIMIT_BYTES + 2)])
def test_what_is_no_monitor_is_hung_up_on(tmp_path: Path, said: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await obey_one(reader, writer)
        writer.write(said)
        await reader.read()

    async def obey_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        writer.write(json.dumps({"return": {}, "id": asked["id"]}).encode() + b"\n")

    async def test(monitor: Qmp, events: list[Any]) -> None:
        async with asyncio.timeout(30):
            await monitor.closed.wait()

    with_monitor(tmp_path, script, test)


def test_answers_that_nobody_asked_for_are_passed_over_and_long_refusals_cut() -> None:
    async def main() -> None:
        monitor = Qmp(lambda *_: None)
        answer = monitor._waiting[7] = asyncio.get_running_loop().create_future()
        for id_ in ([7], {"a": 7}, "7", None, 8, 7.5):
            monitor.data_received(json.dumps({"id": id_, "return": 1}).encode() + b"\n")
        assert not answer.done()
        monitor.data_received(json.dumps({"id": 7, "error": {"desc": "x" * 100_000, "class": "y" * 100_000}}).encode() + b"\n")
        with pytest.raises(QmpRefused) as refused:
            await answer
        assert len(refused.value.message) + len(str(refused.value.facts)) < 3 * WHY_LIMIT

    asyncio.run(main())


def test_a_monitor_that_is_not_there_or_says_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable):
        asyncio.run(connect(SocketNet(), str(tmp_path / "none"), lambda *_: None, timeout_s=1.0))

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(mute, tmp_path / "m")
        with pytest.raises(QmpClosed, match="said nothing"):
            await connect(SocketNet(), str(tmp_path / "m"), lambda *_: None, timeout_s=0.1)
        server.close()
        await asyncio.sleep(0.02)

    asyncio.run(main())


def test_a_descriptor_goes_over_a_unix_socket_with_its_line() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs, open(os.devnull, "rb") as file:
            _reader, writer = await asyncio.open_unix_connection(sock=ours)
            send_descriptor(writer.transport, b"line\n", file.fileno())
            data, descriptors, _, _ = socket.recv_fds(theirs, 100, 1)
            assert data == b"line\n"
            assert os.fstat(descriptors[0]).st_rdev == os.fstat(file.fileno()).st_rdev
            os.close(descriptors[0])
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())
