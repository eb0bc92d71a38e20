"""Sockets: addresses and options; what both networks share is in tests/conformance/test_net.py."""

import asyncio
import socket
from pathlib import Path

import pytest

from objstore.errors import NodeUnreachable
from objstore.runtime.net import SocketNet, free_port, local_socket, split_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp:127.0.0.1:80", ("tcp", "127.0.0.1", 80)),
        ("tcp:::1:80", ("tcp", "::1", 80)),
        ("unix:/run/x.sock", ("unix", "/run/x.sock", 0)),
    ],
)
def test_addresses_are_split(address: str, expected: tuple[str, str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", "tcp", "tcp:", "tcp::80", "tcp:host", "tcp:host:", "tcp:host:-1", "udp:host:1", "unix:"])
def test_other_texts_are_no_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        split_address(address)


class Kept(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def test_tcp_connections_do_not_wait_to_fill_packets() -> None:
    async def main() -> None:
        address = f"tcp:127.0.0.1:{free_port('tcp')}"
        accepted: list[Kept] = []

        def accept() -> Kept:
            accepted.append(Kept())
            return accepted[-1]

        listener = await SocketNet().listen(address, accept)
        protocol = await SocketNet().connect(address, Kept, timeout_s=5)
        assert isinstance(protocol, Kept)
        assert protocol.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        protocol.transport.close()
        await protocol.lost
        await accepted[0].lost
        await listener.aclose()

    asyncio.run(main())


def test_an_unused_port_is_unreachable_and_says_which() -> None:
    address = f"tcp:127.0.0.1:{free_port('tcp')}"
    with pytest.raises(NodeUnreachable, match=address):
        asyncio.run(SocketNet().connect(address, Kept, timeout_s=5))


def test_a_socket_file_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    assert path.exists()

    async def main() -> None:
        listener = await SocketNet().listen(f"unix:{path}", Kept)
        protocol = await SocketNet().connect(f"unix:{path}", Kept, timeout_s=5)
        assert isinstance(protocol, Kept)
        protocol.transport.close()
        await protocol.lost
        await asyncio.sleep(0.01)
        await listener.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp:127.0.0.1:80", "unix:run/80.sock"),
        ("tcp:::1:80", "unix:run/80.sock"),
        ("tcp:10.0.0.1:80", ""),
        ("unix:/x.sock", ""),
    ],
)
def test_only_addresses_of_this_machine_have_a_local_socket(address: str, expected: str) -> None:
    assert local_socket("run", address) == expected
    assert local_socket("", address) == ""


def test_a_process_of_this_machine_is_spoken_to_over_its_local_socket_and_else_over_tcp(tmp_path: Path) -> None:
    async def main() -> list[socket.AddressFamily]:
        net = SocketNet(str(tmp_path))
        address = f"tcp:127.0.0.1:{free_port('tcp')}"
        listeners = [await net.listen(address, Ends)]
        families = []
        for _ in range(3):
            protocol = await net.connect(address, Ends, timeout_s=5)
            assert isinstance(protocol, Ends)
            families.append(protocol.transport.get_extra_info("socket").family)
            protocol.transport.write_eof()
            await protocol.over.wait()
            if len(listeners) == 1:
                listeners.append(await net.listen(local_socket(str(tmp_path), address), Ends))
            else:
                await listeners[1].aclose()  # leaves its file behind, as a killed process does
        for listener in listeners:
            await listener.aclose()
        return families

    assert asyncio.run(main()) == [socket.AF_INET, socket.AF_UNIX, socket.AF_INET]


class Ends(asyncio.Protocol):
    def __init__(self) -> None:
        self.over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


def test_port_that_is_free_is_given_and_one_that_is_taken_is_not() -> None:
    for protocol, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
        with socket.socket(socket.AF_INET, kind) as held:
            held.bind(("127.0.0.1", 0))
            number = held.getsockname()[1]
            assert free_port(protocol, number) != number
        assert free_port(protocol, number) == number
