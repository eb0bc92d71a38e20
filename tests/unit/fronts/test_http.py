"""The server over real sockets: framing, back-pressure, early answers, deadlines, and the parts of uvicorn it relies on."""

import asyncio
import contextlib
import inspect
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from objstore.fronts.http import Connection, HttpLimits, Server, uvicorn_config
from tests.support.s3_server import Running, make_certificate, serving

LIMITS = HttpLimits(header_s=1.2, idle_s=1.2, linger_s=1.0, drain_bytes=1000, buffer_bytes=100_000, body_bytes_per_s=1000)


class Probe:
    """An application whose behaviour the path chooses; remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.largest_backlog = 0
        self.release = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        note: dict[str, Any] = {
            key: scope[key] for key in ("method", "path", "raw_path", "query_string", "http_version", "scheme", "headers")
        }
        self.seen.append(note)
        path = scope["path"]
        if path == "/early":
            await self.answer(send, 403, b"no")
            return
        if path == "/boom":
            raise RuntimeError("boom")
        if path == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("boom")
        if path == "/split":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nset-cookie: b")]})
        if path == "/stream":
            await self.stream(send)
            return
        if path == "/slow":
            while not self.release.is_set():
                await asyncio.sleep(0.01)
        note["body"] = await self.read(receive, note)
        if note["body"] is None:
            return
        await self.answer(send, 200, str(len(note["body"])).encode())
        if path == "/wait":
            note["after"] = (await receive())["type"]

    async def read(self, receive: Any, note: dict[str, Any]) -> bytes | None:
        pieces = []
        note["messages"] = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                note["disconnected"] = True
                return None
            note["messages"] += 1
            pieces.append(message["body"])
            more = message["more_body"]
        return b"".join(pieces)

    async def answer(self, send: Any, status: int, body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    async def stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for index in range(3):
            await send({"type": "http.response.body", "body": b"%d" % index * 3, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving(Probe, limits=LIMITS) as running:
        yield running


class Client:
    """A socket that reads whole answers."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=8)
        self.data = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def more(self) -> bool:
        try:
            got = self.sock.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.data += got
        return bool(got)

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        while b"\r\n\r\n" not in self.data:
            assert self.more(), f"closed after {self.data!r}"
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        length = int(headers.get(b"content-length", b"0"))
        while len(self.data) < length:
            assert self.more()
        body, self.data = self.data[:length], self.data[length:]
        return int(first.split(b" ")[1]), headers, body

    def closed(self) -> bool:
        """Whether nothing but the end comes."""
        while self.more():
            continue
        return not self.data


def put(path: str, body: bytes, *lines: str) -> bytes:
    return "\r\n".join([f"PUT {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *lines, "", ""]).encode() + body


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


def last(server: Running) -> dict[str, Any]:
    probe: Probe = server.app
    return probe.seen[-1]


def eventually(check: Any) -> None:
    deadline = time.monotonic() + 5
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_uvicorn_still_has_the_parts_that_are_relied_on() -> None:
    assert uvicorn.__version__.startswith("0.54."), "read uvicorn's changes, then move this pin and the one in pyproject.toml"
    state = ServerState()
    for name in ("connections", "tasks", "total_requests", "default_headers"):
        assert hasattr(state, name)
    source = inspect.getsource(uvicorn.Server)
    assert "config=config" in source
    assert "server_state=self.server_state" in source
    assert "app_state=self.lifespan.state" in source
    assert "_loop=_loop" in source
    assert "connection.shutdown()" in source
    config = uvicorn_config(Probe())
    config.load()
    assert config.loaded_app is not None
    assert set(inspect.signature(Connection).parameters) == {"config", "server_state", "app_state", "_loop", "limits", "sweeper"}


def test_requests_follow_each_other_on_one_connection(server: Running) -> None:
    with Client(server.port) as client:
        for size in (0, 5, 100_000):
            assert client.send(put("//a/./%41?x=%2F&y", b"z" * size)).answer()[::2] == (
                200,
                str(size).encode(),
            )
    note = last(server)
    assert (note["raw_path"], note["path"], note["query_string"]) == (b"//a/./%41", "//a/./A", b"x=%2F&y")


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/a", b"12345") + put("/b", b"123") + get("/c"))
        assert [client.answer()[2] for _ in range(3)] == [b"5", b"3", b"0"]


def test_who_does_not_read_his_answers_gets_no_more_of_them_and_all_once_he_reads() -> None:
    body = bytes(64 * 1024)
    begun = 0

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    with serving(lambda: app) as running, Client(running.port) as client:
        client.send(get("/x") * 600)  # 24 KiB asked, 38 MiB answered
        eventually(lambda: running.connections and next(iter(running.connections)).write_waiter is not None)
        time.sleep(0.3)
        (connection,) = running.connections
        assert connection.transport.get_write_buffer_size() < 1024 * 1024
        assert begun < 400, "the rest waits until the answers before have left"
        for _ in range(600):
            assert client.answer()[2] == body
        assert begun == 600
        assert client.send(get("/x")).answer()[0] == 200


def test_a_request_may_arrive_byte_by_byte(server: Running) -> None:
    with Client(server.port) as client:
        for byte in b"\r\n" + put("/x", b"abc"):
            client.send(bytes([byte]))
        assert client.answer()[2] == b"3"


def test_chunked_bodies_arrive_unframed(server: Running) -> None:
    with Client(server.port) as client:
        client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" + get("/next"))
        assert client.answer()[2] == b"6"
        assert client.answer()[2] == b"0"


def test_a_large_body_arrives_whole_and_in_few_pieces(server: Running) -> None:
    body = bytes(range(256)) * 40_000
    with Client(server.port) as client:
        assert client.send(put("/big", body)).answer()[2] == str(len(body)).encode()
    note = last(server)
    assert note["body"] == body
    assert note["messages"] < len(body) / 10_000


def test_reading_stops_while_the_application_is_behind(server: Running) -> None:
    probe: Probe = server.app
    probe.release.clear()
    with Client(server.port) as client:
        client.sock.settimeout(0.5)
        sent = 0
        client.send(b"PUT /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
        with contextlib.suppress(TimeoutError):
            while sent < 100_000_000:
                sent += client.sock.send(bytes(1 << 20))
        assert sent < 20_000_000  # the kernel's buffers and ours, not the body
        probe.release.set()
        client.sock.settimeout(8)
        client.send(bytes(100_000_000 - sent))
        assert client.answer()[2] == b"100000000"


def test_continue_is_said_when_the_application_asks_for_the_body(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/x", b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 3"))
        while not client.data:
            client.more()
        assert client.data == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.data = b""
        assert client.send(b"abc").answer()[2] == b"3"
        assert client.send(get("/y")).answer()[0] == 200


def test_the_sender_of_an_empty_body_that_waits_is_told_to_continue_before_its_answer(server: Running) -> None:
    # botocore waits also then, and takes a final answer that comes at once for that of the connection's next request.
    with Client(server.port) as client:
        client.send(put("/x", b"", "Expect: 100-continue"))
        while b"\r\n\r\n" not in client.data:
            client.more()
        interim, _, client.data = client.data.partition(b"\r\n\r\n")
        assert interim == b"HTTP/1.1 100 Continue"
        assert client.answer()[0] == 200
        assert client.send(get("/y")).answer()[0] == 200


def test_a_refusal_costs_no_body_and_closes_since_what_follows_is_unknown(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/early", b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 3000"))
        status, headers, _ = client.answer()
        assert (status, headers[b"connection"]) == (403, b"close")
        assert client.closed()


def test_after_an_early_answer_a_small_rest_is_dropped_and_the_connection_kept(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/early", b"x" * 900)[:-500])
        assert client.answer()[0] == 403
        assert client.send(b"x" * 500 + get("/next")).answer()[0] == 200


def test_after_an_early_answer_a_large_rest_costs_the_connection_but_the_answer_arrives(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/early", b"x" * 3_000_000)[:1_000_000])
        status, headers, body = client.answer()
        assert (status, body, headers[b"connection"]) == (403, b"no", b"close")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(b"x" * 2_000_000)
        assert client.closed()


@pytest.mark.parametrize(
    "attack",
    [
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\n;\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_ambiguous_requests_get_one_refusal_and_the_connection_closes(server: Running, attack: bytes) -> None:
    with Client(server.port) as client:
        client.send(attack)
        if b"\n\n" in attack:
            client.send(b"\r\n\r\n")
        status, headers, body = client.answer()
        assert status in (400, 501)
        assert headers[b"connection"] == b"close"
        assert b"<Code>" in body
        assert b"<RequestId>" + headers[b"x-amz-request-id"] + b"</RequestId>" in body
        assert client.closed()
    assert not any(note["path"] == "/smuggled" for note in server.app.seen)


def test_too_long_heads_are_refused_before_they_end(server: Running) -> None:
    with Client(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 60_000)
        assert client.answer()[0] == 431


def test_a_failing_application_is_answered_500_and_a_half_answer_breaks_off(server: Running) -> None:
    for path in ("/boom", "/split"):
        with Client(server.port) as client:
            status, headers, body = client.send(get(path)).answer()
            assert (status, headers[b"connection"]) == (500, b"close")
            assert b"boom" not in body
            assert b"set-cookie" not in b"".join(headers)
    with Client(server.port) as client:
        client.send(get("/half"))
        while client.more():
            continue
        assert client.data.endswith(b"half")


def test_answers_without_a_length_are_chunked_or_end_with_the_connection(server: Running) -> None:
    with Client(server.port) as client:
        status, headers, _ = client.send(get("/stream")).answer()
        assert (status, headers[b"transfer-encoding"]) == (200, b"chunked")
        while not client.data.endswith(b"0\r\n\r\n"):
            client.more()
        assert client.data == b"3\r\n000\r\n3\r\n111\r\n3\r\n222\r\n0\r\n\r\n"
    with Client(server.port) as client:
        status, headers, _ = client.send(b"GET /stream HTTP/1.0\r\n\r\n").answer()
        while client.more():
            continue
        assert client.data == b"000111222"
        assert b"transfer-encoding" not in headers


def test_head_answers_have_no_body_and_the_connection_goes_on(server: Running) -> None:
    with Client(server.port) as client:
        client.send(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n" + get("/y"))
        while client.data.count(b"HTTP/1.1 200") < 2 or not client.data.endswith(b"\r\n\r\n0"):
            assert client.more()
        assert client.data.count(b"\r\n\r\n") == 2


def test_an_upload_that_stops_is_told_to_the_application(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/cut", b"x" * 1000)[:-1])
    eventually(lambda: last(server).get("disconnected"))


def test_the_application_hears_of_the_end_of_the_connection(server: Running) -> None:
    with Client(server.port) as client:
        assert client.send(get("/wait")).answer()[0] == 200
    eventually(lambda: last(server).get("after") == "http.disconnect")


def test_a_half_closed_client_still_gets_its_answer(server: Running) -> None:
    with Client(server.port) as client:
        client.send(put("/x", b"abc"))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.answer()[2] == b"3"
        assert client.closed()


def test_headers_that_trickle_meet_an_absolute_deadline(server: Running) -> None:
    started = time.monotonic()
    with Client(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        client.sock.settimeout(0.1)
        while time.monotonic() - started < 6 and not client.data:
            with contextlib.suppress(TimeoutError):
                client.send(b"a").more()
        assert client.data.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 4


def test_silent_and_idle_connections_are_closed(server: Running) -> None:
    with Client(server.port) as silent, Client(server.port) as idle:
        assert idle.send(get("/x")).answer()[0] == 200
        started = time.monotonic()
        assert silent.closed()
        assert idle.closed()
        assert time.monotonic() - started < 5


def test_slow_uploads_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.fronts.http.RATE_WINDOW_S", 1.0)
    with serving(Probe, limits=LIMITS) as server, Client(server.port) as client:
        client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        client.sock.settimeout(0.2)
        deadline = time.monotonic() + 6
        while not client.data:
            assert time.monotonic() < deadline
            with contextlib.suppress(TimeoutError):
                client.send(b"x").more()
        assert client.data.startswith(b"HTTP/1.1 408 ")
        eventually(lambda: last(server).get("disconnected"))


def test_a_sender_who_waited_long_to_be_told_to_continue_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.fronts.http.RATE_WINDOW_S", 1.0)

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1.6)  # before it wants the body
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    with serving(lambda: app, limits=LIMITS) as running, Client(running.port) as client:
        client.send(put("/x", b"abc", "Expect: 100-continue")[:-3])
        assert client.answer()[0] == 100
        time.sleep(0.7)
        assert client.send(b"abc").answer()[2] == b"abc"


def test_connections_beyond_the_limit_are_turned_away() -> None:
    limits = HttpLimits(connections=3, connections_per_address=2)
    with serving(Probe, limits=limits) as server:
        with Client(server.port) as first, Client(server.port) as second:
            assert first.send(get("/x")).answer()[0] == 200
            assert second.send(get("/x")).answer()[0] == 200
            with Client(server.port) as third:
                assert third.answer()[0] == 503
        eventually(lambda: _served(server.port))


def _served(port: int) -> bool:
    with Client(port) as client:
        return client.send(get("/x")).answer()[0] == 200


def test_many_slow_connections_do_not_hold_up_a_healthy_one(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(Client(server.port)).send(b"GET / HTTP/1.1\r\nX")
        started = time.monotonic()
        with Client(server.port) as healthy:
            assert healthy.send(get("/x")).answer()[0] == 200
        assert time.monotonic() - started < 1


def test_a_stopping_server_finishes_the_request_at_hand() -> None:
    with serving(Probe, limits=LIMITS) as server:
        server.app.release.clear()
        client = Client(server.port)
        client.send(get("/slow"))
        eventually(lambda: server.app.seen)
        threading.Timer(0.3, server.app.release.set).start()
    with client:
        status, headers, _ = client.answer()
        assert (status, headers[b"connection"]) == (200, b"close")


def test_the_server_speaks_tls(tmp_path: Any) -> None:
    files = make_certificate(tmp_path)
    body = bytes(3_000_000)
    with serving(Probe, limits=LIMITS, tls=files) as server:
        context = ssl.create_default_context(cafile=files[0])
        with socket.create_connection(("127.0.0.1", server.port), timeout=8) as plain:
            client = Client.__new__(Client)
            client.data = b""
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as client.sock:
                assert client.send(put("/x", body)).answer()[2] == b"3000000"
                assert client.send(put("/early", b"x" * 500_000)[:1000]).answer()[0] == 403
        assert server.app.seen[0]["scheme"] == "https"


def test_who_does_not_begin_with_tls_has_no_longer_than_for_a_head(tmp_path: Any) -> None:
    certificate, key = make_certificate(tmp_path)
    limits = HttpLimits(header_s=0.5)

    async def main() -> None:
        server = Server(uvicorn_config(Probe(), certificate_file=certificate, key_file=key, limits=limits))
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            serving_it = asyncio.ensure_future(server._serve([listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.read() == b""
                writer.close()
                context = ssl.create_default_context(cafile=certificate)
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                writer.write(get("/x", "Connection: close"))
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                writer.close()
            server.should_exit = True
            await serving_it

    uvloop.run(main())


def test_a_stopping_server_does_not_wait_for_idle_clients_over_tls(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=files[0])
    with Client.__new__(Client) as client:
        with serving(Probe, limits=LIMITS, tls=files) as server:
            client.data = b""
            plain = socket.create_connection(("127.0.0.1", server.port), timeout=8)
            client.sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
            assert client.send(put("/x", b"abc")).answer()[2] == b"3"
        # The client has not looked at its socket since, so it cannot have answered the end of TLS.
        assert not [record for record in caplog.records if "graceful shutdown exceeded" in record.message]
        assert client.closed(), "it finds a proper end of TLS"


def test_a_client_that_does_not_answer_the_end_of_tls_is_let_go(tmp_path: Any) -> None:
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=files[0])
    with serving(Probe, limits=LIMITS, tls=files) as server, socket.create_connection(("127.0.0.1", server.port), timeout=8) as plain:
        client = Client.__new__(Client)
        client.data = b""
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as client.sock:
            assert client.send(get("/x", "Connection: close")).answer()[0] == 200
            eventually(lambda: not server.connections)


def test_what_was_done_is_not_answered_as_refused_because_of_a_bad_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)  # it acts without reading, while the bad body arrives
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with serving(lambda: app) as running, Client(running.port) as client:
        client.send(
            b"DELETE /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        status, headers, _ = client.answer()
        assert (status, headers[b"connection"]) == (204, b"close")
        assert client.closed()


def test_a_body_in_one_byte_chunks_is_held_in_bounds() -> None:
    """A slice takes fifty times its one byte: what waits for the application is limited by their number too."""
    held: list[Any] = []
    release = threading.Event()

    async def app(_: Any, receive: Any, send: Any) -> None:
        held.append(receive.__self__)
        while not release.is_set():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with serving(lambda: app) as running, Client(running.port) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sock.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 4 << 20:
                sent += client.sock.send(b"1\r\nx\r\n" * 1000)
        assert len(held[0].slices) < 100_000  # what one read from the socket brings
        release.set()


class Echo:
    """Sends back what comes over a WebSocket; anything else is told apart."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/no":
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "bytes": scope["query_string"] + message["bytes"]})
        await send({"type": "websocket.close", "code": 1000})


@pytest.mark.parametrize("tls", [False, True])
def test_websockets_are_given_to_the_application_where_they_are_wanted(tls: bool, tmp_path: Any) -> None:
    files = make_certificate(tmp_path) if tls else None
    with serving(Echo, tls=files, websockets=True) as server:
        trust = ssl.create_default_context(cafile=files[0]) if files else None
        url = f"ws{'s' if tls else ''}://127.0.0.1:{server.port}"
        with connect(f"{url}/there?q=1", ssl=trust, compression=None) as wire:
            wire.send(b"-hello")
            assert wire.recv() == b"q=1-hello"
            with pytest.raises(ConnectionClosed):
                wire.recv()
        with pytest.raises(InvalidStatus), connect(url + "/no", ssl=trust):
            pass
        if not tls:
            with Client(server.port) as client:
                client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
                assert client.answer()[0] == 404


def test_websockets_are_ordinary_requests_where_they_are_not_wanted() -> None:
    with serving(Echo) as server, pytest.raises(InvalidStatus, match="404"), connect(f"ws://127.0.0.1:{server.port}/there"):
        pass
