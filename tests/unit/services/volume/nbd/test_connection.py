"""A connection's transmission phase, over a transport that keeps what is written; the device behind it is a real one."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.device import Device, Fenced
from objstore.services.volume.nbd import protocol as nbd
from objstore.services.volume.nbd.connection import BUFFER_BYTES, Connection
from objstore.services.volume.nbd.server import NbdServer
from tests.support.volume_rig import CHUNK, VolumeRig, with_volume


class Wire:
    """asyncio.Transport as far as a connection uses it."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = self.aborted = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, pieces: list[Any]) -> None:
        for piece in pieces:
            self.sent += piece

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Client:
    def __init__(self, server: NbdServer, *, structured: bool = False) -> None:
        self.wire = Wire()
        self.tasks = TaskOwner("client")
        self.connection = Connection(server, self.tasks, set())
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]
        said = nbd.CLIENT_FLAGS.pack(nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES)
        if structured:
            query = nbd.U32.pack(3) + b"vol" + nbd.U32.pack(1) + nbd.U32.pack(15) + b"base:allocation"
            said += nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.OPT_STRUCTURED_REPLY, 0)
            said += nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.OPT_SET_META_CONTEXT, len(query)) + query
        self.send(said + nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.OPT_EXPORT_NAME, 3) + b"vol")
        self.wire.sent.clear()

    def send(self, data: bytes, step: int = 1 << 30) -> None:
        while data and not self.wire.aborted:
            room = self.connection.get_buffer(-1)
            assert len(room)
            size = min(len(room), len(data), step)
            room[:size] = data[:size]
            data = data[size:]
            self.connection.buffer_updated(size)

    async def ask(
        self, command: int, offset: int = 0, length: int = 0, payload: bytes = b"", flags: int = 0, *, step: int = 1 << 30
    ) -> bytes:
        self.wire.sent.clear()
        self.send(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, flags, command, 42, offset, length or len(payload)) + payload, step)
        await self.tasks.drain()
        return bytes(self.wire.sent)

    async def simple(self, *request: Any, **named: Any) -> tuple[int, bytes]:
        answer = await self.ask(*request, **named)
        magic, error, cookie = nbd.SIMPLE_REPLY.unpack_from(answer)
        assert (magic, cookie) == (nbd.SIMPLE_REPLY_MAGIC, 42)
        return error, answer[16:]


def served(test: Callable[[NbdServer, Device], Awaitable[None]], *, chunks: float = 5) -> None:
    def with_rig(rig: VolumeRig, volume: bytes) -> None:
        device = rig.first.attach(volume).device
        server = NbdServer(rig.first.world.net)
        server.add("vol", device)
        rig.first.run(lambda: test(server, device))

    with_volume(with_rig, chunks=chunks)


def test_what_is_written_is_read_with_simple_replies() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        data = random.Random(1).randbytes(3 * CHUNK + 5)
        assert await client.simple(nbd.CMD_WRITE, 100, payload=data) == (0, b"")
        assert await client.simple(nbd.CMD_READ, 99, len(data) + 2) == (0, b"\0" + data + b"\0")
        assert await client.simple(nbd.CMD_FLUSH) == (0, b"")
        assert await client.simple(nbd.CMD_TRIM, 100, CHUNK) == (0, b"")
        assert await client.simple(nbd.CMD_WRITE_ZEROES, 100 + CHUNK, CHUNK, flags=nbd.FLAG_FUA | nbd.FLAG_NO_HOLE) == (0, b"")
        assert await client.simple(nbd.CMD_CACHE, 0, 5 * CHUNK) == (0, b"")
        assert await client.simple(nbd.CMD_READ, 100, len(data)) == (0, bytes(2 * CHUNK) + data[2 * CHUNK :])
        assert device.journal is not None
        assert device.journal.durable == device.journal.position

    served(test)


@pytest.mark.parametrize("step", [1, 7, 1000, BUFFER_BYTES - 1])
def test_requests_come_in_pieces_of_any_size(step: int) -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        data = random.Random(2).randbytes(3000 if step == 1 else BUFFER_BYTES + 5000)
        said = b"".join(
            nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_WRITE, n, at, len(piece)) + piece
            for n, (at, piece) in enumerate([(0, data[:1000]), (1000, data[1000:]), (len(data), b"end")])
        )
        client.send(said, step)
        await client.tasks.drain()
        assert len(client.wire.sent) == 3 * 16
        assert (await client.simple(nbd.CMD_READ, 0, len(data) + 3))[1] == data + b"end"

    served(test, chunks=8)


def test_structured_replies_tell_holes_from_data() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server, structured=True)
        await client.ask(nbd.CMD_WRITE, CHUNK, payload=b"x" * CHUNK)
        answer = await client.ask(nbd.CMD_READ, 0, 3 * CHUNK)
        hole = nbd.OFFSET_HOLE.pack(nbd.STRUCTURED_REPLY_MAGIC, 0, nbd.REPLY_OFFSET_HOLE, 42, 12, 0, CHUNK)
        data = nbd.OFFSET_DATA.pack(nbd.STRUCTURED_REPLY_MAGIC, 0, nbd.REPLY_OFFSET_DATA, 42, CHUNK + 8, CHUNK) + b"x" * CHUNK
        last = nbd.OFFSET_HOLE.pack(nbd.STRUCTURED_REPLY_MAGIC, nbd.REPLY_DONE, nbd.REPLY_OFFSET_HOLE, 42, 12, 2 * CHUNK, CHUNK)
        assert answer == hole + data + last
        whole = await client.ask(nbd.CMD_READ, 0, 3 * CHUNK, flags=nbd.FLAG_DF)
        assert whole[:20] == nbd.STRUCTURED_REPLY.pack(nbd.STRUCTURED_REPLY_MAGIC, 1, nbd.REPLY_OFFSET_DATA, 42, 3 * CHUNK + 8)
        assert whole[28:] == bytes(CHUNK) + b"x" * CHUNK + bytes(CHUNK)
        status = await client.ask(nbd.CMD_BLOCK_STATUS, 0, 5 * CHUNK)
        assert status[20:24] == nbd.U32.pack(nbd.ALLOCATION_ID)
        assert list(nbd.EXTENT.iter_unpack(status[24:])) == [(CHUNK, 3), (CHUNK, 0), (3 * CHUNK, 3)]
        one = await client.ask(nbd.CMD_BLOCK_STATUS, 0, 5 * CHUNK, flags=nbd.FLAG_REQ_ONE)
        assert list(nbd.EXTENT.iter_unpack(one[24:])) == [(CHUNK, 3)]
        refused = await client.ask(nbd.CMD_READ, 5 * CHUNK, 1)
        assert refused[20:24] == nbd.U32.pack(nbd.EINVAL)

    served(test)


def test_what_cannot_be_is_refused_and_the_connection_goes_on() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        size = device.size_bytes
        for request, error in (
            ((nbd.CMD_READ, size, 1), nbd.EINVAL),
            ((nbd.CMD_READ, (1 << 64) - 1, 1), nbd.EINVAL),
            ((nbd.CMD_READ, 0, nbd.TRANSFER_LIMIT_BYTES + 1), nbd.EINVAL),
            ((nbd.CMD_READ, 0, 0), nbd.EINVAL),
            ((nbd.CMD_TRIM, size - 1, 2), nbd.ENOSPC),
            ((99, 0, 1), nbd.EINVAL),
            ((nbd.CMD_BLOCK_STATUS, 0, 1), nbd.EINVAL),
            ((nbd.CMD_READ, 0, 1, b"", 0x8000), nbd.EINVAL),
        ):
            assert await client.simple(*request) == (error, b"")
        assert await client.simple(nbd.CMD_WRITE, size - 1, payload=b"ab") == (nbd.ENOSPC, b"")
        assert await client.simple(nbd.CMD_READ, size - 1, 1) == (0, b"\0")

    served(test)


def test_nonsense_is_hung_up_on() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        for said in (b"\0" * 28, nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_WRITE, 1, 0, nbd.TRANSFER_LIMIT_BYTES + 1)):
            client = Client(server)
            client.send(said)
            assert client.wire.aborted

    served(test)


def test_any_bytes_are_survived_and_the_volume_still_serves_others() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        rng = random.Random(4)
        for _ in range(150):
            client = Client(server, structured=rng.random() < 0.5)
            for _ in range(rng.randrange(1, 5)):
                command = rng.choice([*range(9), rng.randrange(1 << 16)])
                length = rng.choice([0, 1, 512, 4096, rng.randrange(1 << 32)])
                offset = rng.choice([0, 4096, device.size_bytes - 1, rng.randrange(1 << 64)])
                data = bytearray(
                    nbd.REQUEST.pack(nbd.REQUEST_MAGIC, rng.choice([0, 0, 1, 8, rng.randrange(1 << 16)]), command, 1, offset, length)
                )
                if rng.random() < 0.2:
                    data[rng.randrange(28)] ^= 1 << rng.randrange(8)
                client.send(bytes(data) + rng.randbytes(rng.choice([0, min(length, 5000), 20])), rng.randrange(1, 3000))
            client.connection.connection_lost(None)
            await client.tasks.drain()
        assert (await Client(server).simple(nbd.CMD_READ, 0, 1))[0] == 0

    served(test)


def test_a_client_that_leaves_gets_the_answers_that_are_due_first() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        await client.ask(nbd.CMD_WRITE, 0, payload=b"x")
        client.wire.sent.clear()
        client.send(
            nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_FLUSH, 7, 0, 0) + nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_DISC, 8, 0, 0)
        )
        assert not client.wire.closed
        await client.tasks.drain()
        assert len(client.wire.sent) == 16
        assert client.wire.closed

    served(test)


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        client.connection.pause_writing()
        assert not client.wire.reading
        client.connection.resume_writing()
        assert client.wire.reading

    served(test)


def test_requests_wait_in_the_buffer_while_too_many_are_worked_on() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        client.send(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_FLUSH, 1, 0, 0) * 1000)
        assert not client.wire.reading
        for _ in range(100):
            await client.tasks.drain()
            await asyncio.sleep(0)
        assert client.wire.reading
        assert len(client.wire.sent) == 16 * 1000

    served(test)


def test_a_fenced_volume_answers_that_it_shuts_down() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        device.failure = Fenced("taken")
        for command in (nbd.CMD_READ, nbd.CMD_FLUSH, nbd.CMD_TRIM):
            assert (await client.simple(command, 0, 1))[0] == nbd.ESHUTDOWN
        device.failure = None

    served(test)


def test_a_client_that_says_nothing_is_hung_up_on() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        wire = Wire()
        Connection(server, TaskOwner("t"), set()).connection_made(wire)  # type: ignore[arg-type]
        assert wire.sent == nbd.GREETING.pack(nbd.SERVER_MAGIC, nbd.OPTION_MAGIC, 3)
        await asyncio.sleep(31)
        assert wire.aborted

    served(test)


def test_an_answered_write_survives_the_end_of_the_process() -> None:
    """Its writer lives on, and flushes it through the next process."""

    def with_rig(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        expected = bytearray(5 * CHUNK)
        requests = [
            (nbd.CMD_WRITE, 10, b"small"),
            (nbd.CMD_WRITE, CHUNK, b"long" * (BUFFER_BYTES // 8)),
            (nbd.CMD_WRITE, 7, b"x" * (4 * CHUNK)),
            (nbd.CMD_WRITE_ZEROES, 8, bytes(100)),
            (nbd.CMD_TRIM, 3 * CHUNK, bytes(CHUNK)),
        ]
        for command, offset, data in requests:
            server = NbdServer(host.world.net)
            server.add("vol", host.attach(volume).device)

            async def ask(server: NbdServer = server, command: int = command, offset: int = offset, data: bytes = data) -> None:
                payload = data if command == nbd.CMD_WRITE else b""
                assert await Client(server).simple(command, offset, len(data), payload) == (0, b"")

            host.run(ask)
            expected[offset : offset + len(data)] = data
            host.crash(power=False)
        host.attach(volume)
        assert host.content() == expected

    with_volume(with_rig)


def test_a_write_during_a_flush_is_answered_when_it_survives_as_well() -> None:
    def with_rig(rig: VolumeRig, volume: bytes) -> None:
        host = rig.first
        server = NbdServer(host.world.net)
        server.add("vol", host.attach(volume).device)

        async def ask() -> None:
            client = Client(server)
            for number in range(8):
                client.send(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_WRITE, number, number, 1) + b"x")
                client.send(nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_FLUSH, 100 + number, 0, 0))
                await asyncio.sleep(0.00003)
            assert len(client.wire.sent) < 16 * 16
            await client.tasks.drain()
            answers = list(nbd.SIMPLE_REPLY.iter_unpack(client.wire.sent))
            assert sorted(answers) == [(nbd.SIMPLE_REPLY_MAGIC, 0, n) for n in (*range(8), *range(100, 108))]

        host.run(ask)
        host.crash(power=True)
        host.attach(volume)
        assert host.content()[:9] == b"x" * 8 + b"\0"

    with_volume(with_rig)


def test_writes_that_the_journal_does_not_take_are_refused() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        assert device.journal is not None

        def full(_: object) -> None:
            raise OSError("for this test")

        device.journal._write = full  # type: ignore[union-attr,method-assign,assignment]
        request = nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_WRITE, 1, 0, 1) + b"x"
        client.send(request * 2)
        await client.tasks.drain()
        assert {error for _, error, _ in nbd.SIMPLE_REPLY.iter_unpack(client.wire.sent)} == {nbd.EIO}
        assert len(client.wire.sent) == 2 * 16

    served(test)


def test_a_client_that_leaves_in_the_same_breath_hears_of_its_writes() -> None:
    async def test(server: NbdServer, device: Device) -> None:
        client = Client(server)
        write = nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_WRITE, 1, 0, 1) + b"x"
        client.send(write + nbd.REQUEST.pack(nbd.REQUEST_MAGIC, 0, nbd.CMD_DISC, 2, 0, 0))
        await client.tasks.drain()
        assert bytes(client.wire.sent) == nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, 0, 1)
        assert client.wire.closed

    served(test)
