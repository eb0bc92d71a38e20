import asyncio

import pytest

from objstore.errors import DeadlineExceeded, NodeUnreachable, NotImplementedHere, TooBusy, Unavailable
from objstore.wire import codec, server
from objstore.wire.handshake import HANDSHAKE_TIMEOUT_S, DialerHandshake
from objstore.wire.messages import BodyBegin, Done, NodeStatus, ReadBody, RegisterAnswer, StageBody
from objstore.wire.server import Call
from tests.support.wires import KEY, Handler, Site, query, raw, run

READ = ReadBody(1, 2, b"12345678", 5000, query().key, b"o" * 12)
STAGE = StageBody(1, 2, b"12345678", 5000, 3, b"b" * 16, -1)


def ignore(_call: Call) -> None:
    pass


def done(call: Call) -> None:
    call.answer(Done())


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x16\x03\x01" + bytes(300),
        codec.pack_message(NodeStatus(), 1),
        codec.pack_frame(codec.PROOF, 0, 0, b"\x91\xc4\x00"),
        codec.pack_frame(codec.DATA, 0, 0, b""),
        codec.pack_frame(codec.HELLO, 0, 0, b"", bytes(2000)),
    ],
)
def test_a_stranger_gets_nothing_and_no_handler_hears_of_it(said: bytes) -> None:
    async def main(site: Site) -> None:
        handler = Handler(done)
        await site.serve(handler)
        peer = await raw(site, authenticated=False)
        peer.transport.write(said)
        await asyncio.sleep(1)
        assert peer.lost
        assert peer.frames == []
        assert handler.calls == []

    run(main)


def test_a_request_sent_along_with_the_greeting_is_not_answered() -> None:
    async def main(site: Site) -> None:
        handler = Handler(done)
        await site.serve(handler)
        peer = await raw(site, authenticated=False)
        peer.transport.write(DialerHandshake(KEY, "x", b"n" * 32).first() + codec.pack_message(NodeStatus(), 1))
        await asyncio.sleep(1)
        assert peer.lost
        assert handler.calls == []

    run(main)


def test_a_stranger_who_says_nothing_is_sent_away_after_five_seconds() -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(done))
        peer = await raw(site, authenticated=False)
        await asyncio.sleep(HANDSHAKE_TIMEOUT_S - 0.1)
        assert not peer.lost
        await asyncio.sleep(0.2)
        assert peer.lost
        assert not listener._strangers

    run(main)


def test_strangers_and_connections_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STRANGERS", 2)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)

    async def main(site: Site) -> None:
        await site.serve(Handler(done))
        strangers = [await raw(site, authenticated=False) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert [peer.lost for peer in strangers] == [True, True, False, False]
        await site.dial()  # who says nothing keeps nobody out
        for _ in range(2):
            await site.dial()
        with pytest.raises(NodeUnreachable):
            await site.dial()

    run(main)


def test_requests_in_flight_have_a_limit_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_IN_FLIGHT", 2)

    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        tasks = [asyncio.ensure_future(channel.call(query(), timeout_s=5)) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(TooBusy):
            await tasks[2]
        for call in handler.calls:
            done(call)
        await asyncio.gather(*tasks[:2])

    run(main)


def test_streams_have_a_limit_that_counts_only_those_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STREAMS", 1)

    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        first = await channel.open_upload(STAGE, timeout_s=5)
        await asyncio.sleep(0.1)
        with pytest.raises(TooBusy):
            await channel.open_download(READ, timeout_s=5)
        first.abort()
        second = await channel.open_upload(STAGE, timeout_s=5)
        await asyncio.sleep(0.1)
        done(handler.calls[-1])
        await second.finish()
        await channel.open_upload(STAGE, timeout_s=5)

    run(main)


def test_a_message_type_of_a_newer_version_is_refused_and_the_connection_lives_on() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(done))
        peer = await raw(site, authenticated=True)
        peer.transport.write(codec.pack_frame(199, 5, 0, b"\x90"))
        peer.transport.write(codec.pack_message(NodeStatus(), 6))
        await asyncio.sleep(0.1)
        assert [request for request, _, _ in peer.frames] == [5, 6]
        failure = codec.decode_message(peer.frames[0][1], peer.frames[0][2])
        assert failure.error == NotImplementedHere.__name__  # type: ignore[attr-defined]

    run(main)


@pytest.mark.parametrize(
    "said",
    [
        codec.pack_message(STAGE, 1) + codec.pack_message(NodeStatus(), 1),  # one id twice
        codec.pack_message(STAGE, 1) + codec.pack_credit(1, 5),
        codec.pack_message(READ, 1) + codec.pack_frame(codec.DATA, 1, 0, b"", b"x") + b"x",
        codec.pack_message(READ, 1) + codec.pack_credit(1, 1),  # more than was used
        codec.pack_message(STAGE, 1) + 5 * (codec.pack_frame(codec.DATA, 1, 0, b"", bytes(1 << 18)) + bytes(1 << 18)),
        codec.pack_message(STAGE, 1) + 2 * codec.pack_frame(codec.DATA, 1, codec.FLAG_END, b""),
        codec.pack_frame(230, 1, 0, b""),
        codec.pack_frame(1, 1, 0, b"no query"),
    ],
)
def test_a_peer_that_breaks_the_protocol_loses_the_connection(said: bytes) -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(ignore))
        peer = await raw(site, authenticated=True)
        peer.transport.write(said)
        await asyncio.sleep(1)
        assert peer.lost

    run(main)


def test_frames_about_requests_that_have_ended_are_dropped() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(done))
        peer = await raw(site, authenticated=True)
        for frame in (
            codec.pack_credit(9, 1),
            codec.pack_frame(codec.CANCEL, 9, 0, b""),
            codec.pack_frame(codec.DATA, 9, 0, b"", b"x") + b"x",
        ):
            peer.transport.write(frame)
        peer.transport.write(codec.pack_message(NodeStatus(), 10))
        await asyncio.sleep(0.1)
        assert [request for request, _, _ in peer.frames] == [10]

    run(main)


def test_a_bug_in_a_handler_is_logged_and_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_call: Call) -> None:
        raise RuntimeError("secret path")

    async def fail_later(_call: Call) -> None:
        raise RuntimeError("secret path")

    async def main(site: Site) -> None:
        handler = Handler(fail)
        await site.serve(handler)
        channel = await site.dial()
        for answer in (fail, lambda call: call.run(fail_later)):
            handler._answer = answer
            with pytest.raises(Unavailable) as told:
                await channel.call(query(), timeout_s=5)
            assert "secret" not in str(told.value)

    run(main)
    assert caplog.text.count("RuntimeError: secret path") == 2


def test_work_in_a_task_ends_at_the_callers_deadline() -> None:
    ended = []

    async def slow(call: Call) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(call.timeout_s)

    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.run(slow, limit_s=call.timeout_s)))
        channel = await site.dial()
        with pytest.raises(DeadlineExceeded, match="Query"):
            await channel.call(query(timeout_ms=1500), timeout_s=50)
        with pytest.raises(DeadlineExceeded):
            await channel.call(NodeStatus(), timeout_s=50)
        assert ended == [1.5, server.DEFAULT_TIMEOUT_S]

    run(main)


def test_work_ends_when_the_caller_gives_up_or_is_gone() -> None:
    ended = []

    async def slow(call: Call) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(call.peer)

    async def main(site: Site) -> None:
        handler = Handler(lambda call: call.run(slow))
        listener = await site.serve(handler)
        channel = await site.dial()
        with pytest.raises(DeadlineExceeded):
            await channel.call(query(), timeout_s=1)
        await asyncio.sleep(0.1)
        assert ended == ["proxy"]
        task = asyncio.ensure_future(channel.call(query(), timeout_s=10))
        await asyncio.sleep(0.1)
        channel.close()
        await asyncio.sleep(0.1)
        assert ended == ["proxy"] * 2
        assert handler.closed == 1
        assert len(listener) == 0
        assert len(listener.tasks) == 0
        with pytest.raises(NodeUnreachable):
            await task

    run(main)


def test_a_call_is_answered_once() -> None:
    def twice(call: Call) -> None:
        call.answer(Done())
        call.answer(RegisterAnswer())
        call.fail(TooBusy("x"))

    async def main(site: Site) -> None:
        await site.serve(Handler(twice))
        peer = await raw(site, authenticated=True)
        peer.transport.write(codec.pack_message(NodeStatus(), 1))
        await asyncio.sleep(0.1)
        assert len(peer.frames) == 1

    run(main)


def test_an_answer_too_large_for_a_frame_becomes_an_error_and_not_silence() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.answer(Done(), bytes(codec.MAX_FRAME_BYTES + 1))))
        with pytest.raises(Unavailable):
            await (await site.dial()).call(query(), timeout_s=5)

    run(main)


def test_nothing_is_read_from_a_peer_that_does_not_take_its_answers() -> None:
    async def main(site: Site) -> None:
        handler = Handler(lambda call: call.answer(Done(), bytes(100_000)))
        listener = await site.serve(handler)
        peer = await raw(site, authenticated=True)
        [connection] = listener._connections
        peer.transport.pause_reading()
        for request in range(300):
            peer.transport.write(codec.pack_message(query(b"x" * 10_000), request))
            await asyncio.sleep(0.01)
        assert len(handler.calls) < 100
        assert connection._queued_bytes < server.MAX_WAITING_ANSWERS_BYTES + (1 << 20)
        peer.transport.resume_reading()
        await asyncio.sleep(10)
        assert len(peer.frames) == 300

    run(main)


def test_a_slow_reader_of_a_body_holds_up_its_sender_and_nobody_else() -> None:
    sent = []

    async def give(call: Call) -> None:
        assert call.sender is not None
        call.answer(BodyBegin(10**8, 10**8))
        for _ in range(1000):
            await call.sender.write(bytes(100_000))
            sent.append(100_000)

    def answer(call: Call) -> None:
        if isinstance(call.message, ReadBody):
            call.run(give)
        else:
            done(call)

    async def main(site: Site) -> None:
        await site.serve(Handler(answer))
        channel = await site.dial()
        download = await channel.open_download(READ, timeout_s=5)
        await asyncio.sleep(5)
        assert sum(sent) <= 1 << 20
        await channel.call(query(), timeout_s=1)
        for _ in range(10):
            await download.__anext__()
        await asyncio.sleep(1)
        assert 1 << 20 < sum(sent) <= (1 << 20) + 11 * (1 << 18)
        await download.aclose()

    run(main)


def test_a_caller_that_is_cut_off_is_forgotten_and_one_that_is_idle_is_not() -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(done))
        channel = await site.dial()
        await asyncio.sleep(20 * server.IDLE_CHECK_S)
        assert len(listener) == 1
        await channel.call(query(), timeout_s=1)
        [connection] = listener._connections
        connection._transport.peer.pause_reading()  # type: ignore[union-attr]
        await asyncio.sleep(4 * server.IDLE_CHECK_S)
        assert len(listener) == 0

    run(main)


def test_closing_a_listener_closes_its_connections_and_frees_its_address() -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(done))
        channel = await site.dial()
        await listener.aclose()
        await asyncio.sleep(0.1)
        assert channel.closed
        await site.serve(Handler(done))
        await (await site.dial()).call(query(), timeout_s=1)

    run(main)


def test_a_listener_that_closes_lets_what_is_in_flight_end_and_refuses_what_comes() -> None:
    async def slowly(call: Call) -> None:
        await asyncio.sleep(1)
        done(call)

    async def main(site: Site) -> None:
        listener = await site.serve(Handler(lambda call: call.run(slowly)))
        channel = await site.dial()
        early = asyncio.ensure_future(channel.call(query(), timeout_s=5))
        await asyncio.sleep(0.1)
        closing = asyncio.ensure_future(listener.aclose(grace_s=5))
        await asyncio.sleep(0.1)
        with pytest.raises(NodeUnreachable, match="stopping"):
            await channel.call(query(), timeout_s=5)
        with pytest.raises(NodeUnreachable):
            await site.dial()
        assert (await early)[0] == Done()
        before = site.loop.time()
        await closing
        assert site.loop.time() - before < 0.1

    run(main)


def test_a_listener_waits_no_longer_than_its_grace() -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(ignore))
        channel = await site.dial()
        stuck = asyncio.ensure_future(channel.call(query(), timeout_s=50))
        await asyncio.sleep(0.1)
        before = site.loop.time()
        await listener.aclose(grace_s=2)
        assert site.loop.time() - before == pytest.approx(2, abs=0.1)
        with pytest.raises(NodeUnreachable):
            await stuck

    run(main)
