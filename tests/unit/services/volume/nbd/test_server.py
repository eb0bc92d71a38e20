"""Exports by name."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from objstore.runtime.net import SocketNet
from objstore.services.volume.nbd import protocol as nbd
from objstore.services.volume.nbd.server import NbdServer
from tests.support.volume_rig import VolumeRig, with_volume


def test_the_empty_name_means_the_only_export() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        device = rig.first.attach(volume).device
        server = NbdServer(rig.first.world.net)
        assert server.find("") is None
        server.add("a", device)
        found = server.find("")
        assert found is not None
        assert (found.name, found.size_bytes, found.read_only) == ("a", device.size_bytes, False)
        server.add("b", device)
        assert server.find("") is None
        assert list(server.names()) == ["a", "b"]
        server.remove("a")
        assert server.device("a") is None

    with_volume(test)


def test_it_serves_on_a_socket_and_hangs_up_at_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        server = NbdServer(SocketNet())
        await server.listen(f"unix:{tmp_path}/s")
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
        assert await reader.readexactly(18) == nbd.GREETING.pack(nbd.SERVER_MAGIC, nbd.OPTION_MAGIC, 3)
        writer.write(nbd.CLIENT_FLAGS.pack(3) + nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.OPT_LIST, 0))
        assert (await reader.readexactly(20))[8:16] == bytes((0, 0, 0, nbd.OPT_LIST, 0, 0, 0, nbd.REP_ACK))
        await server.aclose()
        assert await reader.read() == b""
        writer.close()

    asyncio.run(main())


def test_too_many_connections_are_hung_up_on(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("objstore.services.volume.nbd.server.CONNECTIONS_LIMIT", 1)

    async def main() -> None:
        server = NbdServer(SocketNet())
        await server.listen(f"unix:{tmp_path}/s")
        first = await asyncio.open_unix_connection(f"{tmp_path}/s")
        await first[0].readexactly(18)
        second = await asyncio.open_unix_connection(f"{tmp_path}/s")
        with contextlib.suppress(ConnectionResetError):
            assert await second[0].read() == b""
        for _, writer in (first, second):
            writer.close()
        await server.aclose()

    asyncio.run(main())


def test_its_end_does_not_wait_for_ever_for_a_store_that_is_away(tmp_path: Path) -> None:
    from objstore.runtime.tasks import TaskOwner

    async def main() -> None:
        server = NbdServer(SocketNet())
        owner: TaskOwner = server._tasks
        owner.spawn(asyncio.sleep(1000))
        await server.aclose(patience_s=0.05)
        assert len(owner) == 0

    asyncio.run(main())
