"""A serial line that several share, a screen that each has to himself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from objstore.errors import NodeUnreachable, Refused
from objstore.runtime.tasks import TaskOwner
from objstore.services.compute.agent import lines as lines_module
from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent.app import AgentApp
from objstore.services.compute.agent.guest import Guest
from objstore.services.compute.agent.layout import short
from objstore.services.compute.agent.lines import BEHIND_LIMIT, BEHIND_LIMIT_BYTES, Lines, Watched, bridge
from objstore.services.compute.agent_api import Spawn, Stop
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_app import SECRET
from tests.unit.services.compute.agent.test_check import ID, spec


async def booted(agent: Agent) -> Guest:
    await agent.carry_out(Spawn(spec(nics=())))
    return agent.find(ID)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data.upper())
    writer.close()


def test_all_who_watch_a_serial_line_see_the_same_and_the_last_one_frees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        guest, lines, joined = await booted(rig.agent), Lines(), []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            joined.append(1)
            await echo(reader, writer)
            joined.append(-1)

        server = await asyncio.start_unix_server(serve, short(f"{guest.directory}/run/ser.sock"))
        async with lines.watch(guest, "serial") as one:
            async with lines.watch(guest, "serial") as two:
                await two.write(b"abc")
                assert [await one.shown.get(), await two.shown.get()] == [b"ABC", b"ABC"]
            await one.write(b"d")
            assert await one.shown.get() == b"D"
        async with asyncio.timeout(5):
            while joined != [1, -1]:
                await asyncio.sleep(0.01)
        async with lines.watch(guest, "serial") as again:
            await again.write(b"x")
            assert await again.shown.get() == b"X"
        server.close()
        await lines.aclose()

    with_rig(tmp_path, monkeypatch, test)


def test_each_has_a_screen_of_his_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        guest, lines = await booted(rig.agent), Lines()
        with pytest.raises(NodeUnreachable):
            async with lines.watch(guest, "vnc"):
                pass
        server = await asyncio.start_unix_server(echo, short(f"{guest.directory}/run/vnc.sock"))
        async with lines.watch(guest, "vnc") as one, lines.watch(guest, "vnc") as two:
            await one.write(b"a")
            await two.write(b"b")
            assert [await one.shown.get(), await two.shown.get()] == [b"A", b"B"]
        server.close()
        await lines.aclose()
        await rig.agent.carry_out(Stop(ID, 1.0))
        with pytest.raises(Refused, match="is off"):
            async with lines.watch(guest, "vnc"):
                pass

    with_rig(tmp_path, monkeypatch, test)


def test_who_does_not_keep_up_is_hung_up_on() -> None:
    async def main() -> None:
        watched = Watched(None)  # type: ignore[arg-type] # nobody types here
        assert all(watched.show(b"x") for _ in range(BEHIND_LIMIT))
        assert not watched.show(b"x")
        pieces = [watched.shown.get_nowait() for _ in range(BEHIND_LIMIT + 1)]
        assert pieces[-1] is None

    asyncio.run(main())


def test_a_bridge_ends_with_either_side() -> None:
    async def main() -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def silence() -> Any:
            await asyncio.Event().wait()

        async def hang_up() -> Any:
            return {"type": "websocket.disconnect"}

        watched, tasks = Watched(None), TaskOwner("t")  # type: ignore[arg-type] # nobody types here
        watched.show(b"bytes")
        watched.shown.put_nowait(None)
        await bridge(watched, silence, send, tasks)
        assert sent == [{"type": "websocket.send", "bytes": b"bytes"}, {"type": "websocket.close", "code": 1000}]
        sent.clear()
        await bridge(watched, hang_up, send, tasks)
        assert sent == []

    asyncio.run(main())


@pytest.mark.parametrize(("path", "secret"), [
    (f"/v1/servers/{ID}/console/serial", "wrong"), (f"/v1/servers/{ID}/console/other", SECRET), ("/v1/servers/../console/vnc", SECRET),
    (f"/v1/servers/{ID}/console/serial", SECRET), ("/", SECRET),
])  # fmt: skip
def test_a_console_that_is_not_there_or_not_for_him_is_closed(
    path: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        app = AgentApp(rig.agent, SECRET)
        await app({"type": "websocket", "path": path, "headers": [(b"Authorization", f"Bearer {secret}".encode())]}, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1008}]
        await app.aclose()

    with_rig(tmp_path, monkeypatch, test)


def test_who_does_not_take_long_pieces_is_hung_up_on_before_they_fill_the_memory() -> None:
    async def main() -> None:
        watched, piece = Watched(None), bytes(BEHIND_LIMIT_BYTES // 4)  # type: ignore[arg-type] # nobody types here
        for _ in range(100):  # who takes them in time may have as many as there are
            assert watched.show(piece)
            assert await watched.take() == piece
        assert [watched.show(piece) for _ in range(5)] == [True] * 4 + [False]

    asyncio.run(main())


def test_a_line_is_free_when_all_who_watched_it_were_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        guest, lines, ended = await booted(rig.agent), Lines(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await echo(reader, writer)
            ended.set()

        server = await asyncio.start_unix_server(serve, short(f"{guest.directory}/run/ser.sock"))
        async with asyncio.timeout(10):
            async with lines.watch(guest, "serial") as one:
                one._behind_bytes = BEHIND_LIMIT_BYTES
                await one.write(b"x")
                assert await one.shown.get() is None
            await ended.wait()
        server.close()
        await lines.aclose()

    with_rig(tmp_path, monkeypatch, test)


def test_a_screen_has_room_for_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        guest, lines = await booted(rig.agent), Lines()
        server = await asyncio.start_unix_server(echo, short(f"{guest.directory}/run/vnc.sock"))
        monkeypatch.setattr(lines_module, "WATCHERS_LIMIT", 1)
        for _ in range(2):
            async with lines.watch(guest, "vnc") as one:
                await one.write(b"x")
                assert await one.shown.get() == b"X"
                with pytest.raises(Refused, match="1 watch this screen"):
                    async with lines.watch(guest, "vnc"):
                        pass
        assert not lines._screens
        server.close()
        await lines.aclose()

    with_rig(tmp_path, monkeypatch, test)


def test_a_link_in_place_of_a_line_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        guest, lines = await booted(rig.agent), Lines()
        server = await asyncio.start_unix_server(echo, short(f"{rig.directory}/secret.sock"))
        for name, kind in (("ser.sock", "serial"), ("vnc.sock", "vnc")):
            Path(guest.directory, "run", name).symlink_to(rig.directory / "secret.sock")
            with pytest.raises(NodeUnreachable, match="no socket"):
                async with lines.watch(guest, kind):
                    pass
        server.close()
        await lines.aclose()

    with_rig(tmp_path, monkeypatch, test)
