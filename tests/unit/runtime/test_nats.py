"""NATS against a server of our own; tests/conformance/test_event_servers.py has the real one."""

import asyncio
import contextlib

import pytest

from objstore.runtime.nats import Nats

INFO = b'INFO {"server_id":"x","max_payload":100}\r\n'


def heard(
    answer: bytes, *, url: str = "nats://127.0.0.1:{port}/events/store", token: str = "", info: bytes = INFO, body: bytes = b"{}"
) -> bytes:
    """Send one message to a server that answers `answer` to the ping; what it heard."""

    async def test() -> bytes:
        told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(info)
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                said = await reader.readuntil(b"PING\r\n")
                writer.write(answer)
                told.set_result(said)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            sender = Nats(url.format(port=server.sockets[0].getsockname()[1]), token, "")
            async with asyncio.timeout(5):
                await sender.send(body)
            return await told
        finally:
            server.close()
            await asyncio.sleep(0.01)

    return asyncio.run(test())


def test_a_message_is_taken_before_the_ping_is_answered() -> None:
    said = heard(b"PING\r\nPONG\r\n", token="t")
    assert b'"auth_token":"t"' in said
    assert said.endswith(b"PUB events.store 2\r\n{}\r\nPING\r\n")


def test_credentials_may_stand_in_the_address() -> None:
    assert b'"user":"me","pass":"p@ss"' in heard(b"PONG\r\n", url="nats://me:p%40ss@127.0.0.1:{port}/x")


@pytest.mark.parametrize("answer", [b"-ERR 'Authorization Violation'\r\n", b"", b"PON", b"x" * 100_000])
def test_any_other_answer_is_a_failure(answer: bytes) -> None:
    with pytest.raises(OSError, match=r"refused|should"):
        heard(answer)


@pytest.mark.parametrize("info", [b"SSH-2.0\r\n", b"INFO {\r\n", b"INFO []\r\n", b"", b'INFO {"max_payload":1}\r\n'])
def test_what_is_no_greeting_for_this_message_is_a_failure(info: bytes) -> None:
    with pytest.raises(OSError):
        heard(b"PONG\r\n", info=info)
