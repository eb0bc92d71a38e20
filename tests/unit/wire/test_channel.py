import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import uvloop

from objstore.errors import DeadlineExceeded, InvalidArgument, NodeUnreachable, ObjstoreError, ProtocolMismatch, StaleEpoch, TooBusy
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.net import SocketNet
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from objstore.runtime.world import World
from objstore.wire import channel as channels
from objstore.wire import codec
from objstore.wire.channel import DEAD_AFTER_S, TICK_S, dial, serve
from objstore.wire.codec import pack_frame
from objstore.wire.messages import BodyBegin, Done, NodeStatus, ReadBody, RegisterAnswer, StageBody, Staged
from objstore.wire.server import Call
from tests.support.wires import ADDRESS, KEY, Handler, Site, query, run

READ = ReadBody(1, 2, b"12345678", 5000, query().key, b"o" * 12)
STAGE = StageBody(1, 2, b"12345678", 5000, 3, b"b" * 16, -1)


def echo(call: Call) -> None:
    call.answer(Done(), call.payload)


def ignore(_call: Call) -> None:
    pass


def test_an_answer_reaches_its_own_call_in_whatever_order_answers_come() -> None:
    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        tasks = [asyncio.ensure_future(channel.call(query(), str(n).encode(), timeout_s=5)) for n in range(20)]
        await asyncio.sleep(1)
        for call in reversed(handler.calls):
            echo(call)
        assert [bytes(payload) for _, payload in await asyncio.gather(*tasks)] == [str(n).encode() for n in range(20)]

    run(main)


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 300_000])
def test_payloads_of_any_size_come_back_whole(size: int) -> None:
    async def main(site: Site) -> bytes:
        await site.serve(Handler(echo))
        _, payload = await (await site.dial()).call(query(), bytes(range(256)) * (size // 256) + b"x" * (size % 256), timeout_s=5)
        return bytes(payload)

    assert len(run(main)) == size


def test_calls_made_in_one_turn_leave_in_one_write() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(echo))
        channel = await site.dial()
        assert channel._transport is not None
        writes = []
        transport_write = channel._transport.write
        channel._transport.write = lambda data: (writes.append(len(data)), transport_write(data))  # type: ignore[assignment,method-assign]
        await asyncio.gather(*(channel.call(query(), b"x" * 10_000, timeout_s=5) for _ in range(10)))
        assert len(writes) == 1

    run(main)


def test_an_error_answer_is_raised_as_what_it_is() -> None:
    def refuse(_call: Call) -> None:
        raise StaleEpoch("old", epoch=9)

    async def main(site: Site) -> None:
        await site.serve(Handler(refuse))
        with pytest.raises(StaleEpoch) as refusal:
            await (await site.dial()).call(query(), timeout_s=5)
        assert refusal.value.facts == {"epoch": 9}

    run(main)


def test_a_deadline_ends_a_call_and_tells_the_node() -> None:
    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        before = site.loop.time()
        with pytest.raises(DeadlineExceeded):
            await channel.call(query(), timeout_s=0.5)
        assert 0.5 <= site.loop.time() - before <= 0.5 + 2 * TICK_S
        await asyncio.sleep(0.1)
        assert handler.calls[0].abandoned

    run(main)


def test_an_answer_that_comes_too_late_reaches_nobody() -> None:
    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        with pytest.raises(DeadlineExceeded):
            await channel.call(query(b"first"), timeout_s=0.1)
        handler.calls[0].answer(Done(), b"late")
        handler._answer = echo
        _, payload = await channel.call(query(b"second"), b"mine", timeout_s=1)
        assert bytes(payload) == b"mine"

    run(main)


def test_a_cancelled_call_is_given_up_on_the_node_too() -> None:
    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        task = asyncio.ensure_future(channel.call(query(), timeout_s=50))
        await asyncio.sleep(0.1)
        assert not handler.calls[0].abandoned
        task.cancel()
        await asyncio.sleep(0.1)
        assert handler.calls[0].abandoned

    run(main)


def test_call_soon_tells_every_outcome_once_and_never_at_once() -> None:
    async def main(site: Site) -> None:
        handler = Handler(lambda call: echo(call) if call.payload else None)
        await site.serve(handler)
        channel = await site.dial()
        told: list[Any] = []

        def done(answer: object, payload: Any, failure: ObjstoreError | None) -> None:
            told.append((answer, bytes(payload), type(failure)))

        channel.call_soon(query(), b"x", timeout_s=1, done=done)
        channel.call_soon(query(), b"", timeout_s=1, done=done)
        assert told == []
        await asyncio.sleep(5)
        channel.close()
        channel.call_soon(query(), b"", timeout_s=1, done=done)
        assert len(told) == 2
        await asyncio.sleep(0)
        assert told == [(Done(), b"x", type(None)), (None, b"", DeadlineExceeded), (None, b"", NodeUnreachable)]

    run(main)


def test_a_lost_connection_fails_everything_that_is_open() -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(ignore))
        channel = await site.dial()
        upload = await channel.open_upload(STAGE, timeout_s=50)
        tasks = [asyncio.ensure_future(work) for work in (
            channel.call(query(), timeout_s=50), channel.open_download(READ, timeout_s=50), upload.finish()
        )]  # fmt: skip
        await asyncio.sleep(0.1)
        await listener.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [NodeUnreachable] * 3
        assert channel.closed
        with pytest.raises(NodeUnreachable):
            await channel.call(query(), timeout_s=1)
        with pytest.raises(NodeUnreachable):
            await channel.open_upload(STAGE, timeout_s=1)

    run(main)


def test_a_silent_peer_is_given_up_though_every_call_ends_by_its_own_deadline() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(ignore))
        channel = await site.dial()
        site.fabric.cut("host", "host")
        began = site.loop.time()
        while not channel.closed:
            with pytest.raises((DeadlineExceeded, NodeUnreachable)):
                await channel.call(query(), timeout_s=0.3)
            await asyncio.sleep(3)
        assert site.loop.time() - began < DEAD_AFTER_S + 5

    run(main)


def test_a_node_that_works_long_is_not_taken_for_dead() -> None:
    async def main(site: Site) -> None:
        handler = Handler(lambda call: call.run(slowly))

        async def slowly(call: Call) -> None:
            await asyncio.sleep(10 * DEAD_AFTER_S)
            echo(call)

        await site.serve(handler)
        await (await site.dial()).call(query(timeout_ms=10**6), timeout_s=1000)

    run(main)


def test_a_garbled_frame_closes_the_connection_and_yields_nothing() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(echo))
        channel = await site.dial()
        site.link.garble = 1.0
        with pytest.raises(NodeUnreachable):
            await channel.call(query(), b"payload", timeout_s=5)
        assert channel.closed
        assert site.fabric.counters.garbled == 1

    run(main)


def test_a_call_whose_answer_is_none_is_told_so_like_all_others_of_the_connection() -> None:
    def garble(call: Call) -> None:
        if len(call.payload):
            call._connection.send(pack_frame(codec._CODES[RegisterAnswer], call._request, 0, b"\xc1"))

    async def main(site: Site) -> None:
        await site.serve(Handler(garble))
        channel = await site.dial()
        other = asyncio.ensure_future(channel.call(query(), timeout_s=60))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(1):
            with pytest.raises(NodeUnreachable):
                await channel.call(query(), b"x", timeout_s=60)
            with pytest.raises(NodeUnreachable):
                await other
        assert channel.closed

    run(main)


def test_calls_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_CALLS", 3)
    monkeypatch.setattr(channels, "MAX_STREAMS", 1)

    async def main(site: Site) -> None:
        await site.serve(Handler(ignore))
        channel = await site.dial()
        calls = [asyncio.ensure_future(channel.call(query(), timeout_s=1)) for _ in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(o) for o in outcomes] == [DeadlineExceeded] * 3 + [TooBusy]
        await channel.open_upload(STAGE, timeout_s=1)
        with pytest.raises(TooBusy):
            await channel.open_upload(STAGE, timeout_s=1)

    run(main)


def test_request_ids_in_use_are_passed_over_when_the_count_wraps() -> None:
    async def main(site: Site) -> None:
        handler = Handler(lambda call: echo(call) if call.payload else None)
        await site.serve(handler)
        channel = await site.dial()
        channel._next_request = 0xFFFF_FFFE
        slow = asyncio.ensure_future(channel.call(query(), timeout_s=50))
        await asyncio.sleep(0.1)
        for _ in range(3):
            channel._next_request = 0xFFFF_FFFE
            await channel.call(query(), b"x", timeout_s=5)
        assert not slow.done()
        slow.cancel()

    run(main)


def test_an_upload_is_answered_after_its_last_piece() -> None:
    async def take(call: Call) -> None:
        assert call.body is not None
        pieces = [bytes(piece) async for piece in call.body]
        call.answer(Staged(sum(map(len, pieces)), b"".join(pieces)[:4]))

    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.run(take)))
        channel = await site.dial()
        for size in (0, 1, 100_000, 5_000_000):
            upload = await channel.open_upload(STAGE, timeout_s=5)
            await upload.write(b"head")
            await upload.write(memoryview(bytes(size)))
            answer, _ = await upload.finish()
            assert answer == Staged(size + 4, b"head")
        assert not channel._streams

    run(main)


def test_an_upload_that_is_refused_tells_its_writer_why() -> None:
    async def refuse(call: Call) -> None:
        assert call.body is not None
        await call.body.__anext__()
        raise StaleEpoch("no", epoch=3)

    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.run(refuse)))
        channel = await site.dial()
        upload = await channel.open_upload(STAGE, timeout_s=5)
        with pytest.raises(StaleEpoch):
            await upload.write(bytes(10_000_000))
        with pytest.raises(StaleEpoch):
            await upload.finish()
        upload.abort()
        await channel_still_works(channel)

    async def channel_still_works(channel: Any) -> None:
        upload = await channel.open_upload(STAGE, timeout_s=5)
        await upload.write(b"x")
        with pytest.raises(StaleEpoch):
            await upload.finish()

    run(main)


def test_an_aborted_upload_ends_the_nodes_work() -> None:
    ended = []

    async def take(call: Call) -> None:
        assert call.body is not None
        try:
            async for _ in call.body:
                pass
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.run(take)))
        channel = await site.dial()
        upload = await channel.open_upload(STAGE, timeout_s=5)
        await upload.write(b"x")
        await asyncio.sleep(0.1)
        upload.abort()
        await asyncio.sleep(0.1)
        assert ended == ["cancelled"]

    run(main)


def test_an_upload_waits_no_longer_than_its_limit_for_credit_and_for_the_answer() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(ignore))
        channel = await site.dial()
        upload = await channel.open_upload(STAGE, timeout_s=2)
        with pytest.raises(DeadlineExceeded):
            await upload.write(bytes(10_000_000))
        upload.abort()
        upload = await channel.open_upload(STAGE, timeout_s=2)
        with pytest.raises(DeadlineExceeded):
            await upload.finish()
        assert not channel._streams

    run(main)


async def give(call: Call) -> None:
    assert call.sender is not None
    call.answer(BodyBegin(3_000_000, 3_000_000))
    for number in range(30):
        await call.sender.write(bytes([number]) * 100_000)
    call.end_body()


def test_a_download_yields_every_byte_in_order() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.run(give)))
        channel = await site.dial()
        download = await channel.open_download(READ, timeout_s=5)
        assert download.begin == BodyBegin(3_000_000, 3_000_000)
        body = b"".join([bytes(piece) async for piece in download])
        assert body == b"".join(bytes([number]) * 100_000 for number in range(30))
        await download.aclose()
        assert not channel._streams

    run(main)


def test_a_download_that_breaks_off_gives_what_came_and_then_the_error() -> None:
    async def break_off(call: Call) -> None:
        assert call.sender is not None
        call.answer(BodyBegin(1000, 1000))
        await call.sender.write(b"first")
        raise StaleEpoch("broken", epoch=1)

    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.run(break_off)))
        download = await (await site.dial()).open_download(READ, timeout_s=5)
        assert bytes(await download.__anext__()) == b"first"
        with pytest.raises(StaleEpoch):
            await download.__anext__()

    run(main)


def test_a_download_can_be_refused_and_can_run_out_of_time() -> None:
    async def main(site: Site) -> None:
        handler = Handler(ignore)
        await site.serve(handler)
        channel = await site.dial()
        with pytest.raises(DeadlineExceeded):
            await channel.open_download(READ, timeout_s=1)
        await asyncio.sleep(0.1)
        assert handler.calls[0].abandoned
        handler._answer = lambda call: call.fail(StaleEpoch("x", epoch=1))
        with pytest.raises(StaleEpoch):
            await channel.open_download(READ, timeout_s=1)
        assert not channel._streams

    run(main)


def test_closing_a_download_early_stops_the_sender() -> None:
    async def main(site: Site) -> None:
        handler = Handler(lambda call: call.run(give))
        await site.serve(handler)
        channel = await site.dial()
        download = await channel.open_download(READ, timeout_s=5)
        await download.__anext__()
        await download.aclose()
        await asyncio.sleep(1)
        assert handler.calls[0].abandoned
        again = await channel.open_download(READ, timeout_s=5)
        assert sum([len(piece) async for piece in again]) == 3_000_000

    run(main)


def test_dialing_somebody_with_another_key_is_a_mismatch() -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(ignore), key=b"another")
        with pytest.raises(ProtocolMismatch, match="key"):
            await site.dial()
        await asyncio.sleep(1)
        assert len(listener) == 0

    run(main)


def test_dialing_nobody_or_somebody_silent_is_unreachable() -> None:
    class Silent(asyncio.Protocol):
        pass

    async def main(site: Site) -> None:
        with pytest.raises(NodeUnreachable):
            await site.dial()
        await site.world.net.listen(ADDRESS, Silent)
        before = site.loop.time()
        with pytest.raises(NodeUnreachable, match="handshake"):
            await site.dial(timeout_s=60)
        assert site.loop.time() - before < 6

    run(main)


def test_dialing_without_a_key_is_refused() -> None:
    async def main(site: Site) -> None:
        with pytest.raises(InvalidArgument):
            await site.dial(key=b"")
        with pytest.raises(InvalidArgument):
            await site.serve(Handler(ignore), key=b"")

    run(main)


def test_both_sides_know_each_others_names() -> None:
    async def main(site: Site) -> None:
        handler = Handler(echo)
        await site.serve(handler)
        channel = await site.dial()
        await channel.call(NodeStatus(), timeout_s=1)
        assert (channel.peer, handler.calls[0].peer) == ("node", "proxy")
        assert KEY

    run(main)


def test_a_register_answer_keeps_its_payload() -> None:
    async def main(site: Site) -> None:
        await site.serve(Handler(lambda call: call.answer(RegisterAnswer(has_payload=True), b"inline")))
        answer, payload = await (await site.dial()).call(query(inline=True), timeout_s=1)
        assert (answer, bytes(payload)) == (RegisterAnswer(has_payload=True), b"inline")

    run(main)


def real_world() -> World:
    return World(SystemClock(), SystemRng(), SocketNet(), RealDisk, lambda _directory: None, ThreadPool)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_real_sockets_carry_the_same(loop: Any, kind: str, tmp_path: Path) -> None:
    async def take(call: Call) -> None:
        assert call.body is not None
        call.answer(Staged(sum([len(piece) async for piece in call.body]), b""))

    def answer(call: Call) -> None:
        if call.body is not None:
            call.run(take)
        elif call.sender is not None:
            call.run(give)
        else:
            echo(call)

    async def main() -> None:
        world = real_world()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = f"unix:{tmp_path}/node" if kind == "unix" else f"tcp:127.0.0.1:{port}"
        listener = await serve(world, address, cluster_key=KEY, name="node", handler_factory=lambda _peer: Handler(answer))
        with pytest.raises(ProtocolMismatch):
            await dial(world, address, cluster_key=b"another", name="proxy", timeout_s=5)
        channel = await dial(world, address, cluster_key=KEY, name="proxy", timeout_s=5)
        bodies = [bytes([n]) * (n * 3000) for n in range(100)]
        answers = await asyncio.gather(*(channel.call(query(), body, timeout_s=5) for body in bodies))
        assert [bytes(payload) for _, payload in answers] == bodies
        upload = await channel.open_upload(STAGE, timeout_s=5)
        await upload.write(bytes(10_000_000))
        assert (await upload.finish())[0] == Staged(10_000_000, b"")
        download = await channel.open_download(READ, timeout_s=5)
        assert sum([len(piece) async for piece in download]) == 3_000_000
        await listener.aclose()
        await asyncio.sleep(0.05)
        assert channel.closed

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
