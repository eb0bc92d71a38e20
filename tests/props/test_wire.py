import asyncio
import itertools
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.errors import NodeUnreachable, ObjstoreError
from objstore.wire import codec
from objstore.wire.codec import BadFrame, FrameReader
from objstore.wire.handshake import DialerHandshake, ListenerHandshake
from objstore.wire.messages import BodyBegin, Done, ReadBody, StageBody, Staged
from objstore.wire.server import Call
from tests.support.wires import Handler, Site, query, raw, run

Frame = tuple[int, int, int, bytes, bytes]

frames = st.lists(
    st.tuples(st.integers(0, 0xFFFF_FFFF), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=60), st.binary(max_size=200)),
    max_size=8,
)


def packed(items: list[Frame]) -> bytes:
    return b"".join(codec.pack_frame(code, request, flags, head, payload) + payload for request, code, flags, head, payload in items)


def read(data: bytes, cuts: list[int]) -> tuple[list[Frame], bool]:
    """Frames that came out and whether the stream was refused."""
    got: list[Frame] = []
    reader = FrameReader(
        lambda request, code, flags, head, payload: got.append((request, code, flags, bytes(head), bytes(payload))), limit_bytes=1 << 16
    )
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    try:
        for begin, end in itertools.pairwise(places):
            reader.feed(data[begin:end])
    except BadFrame:
        return got, True
    return got, False


@given(frames, st.lists(st.integers(0, 10_000), max_size=30))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(items: list[Frame], cuts: list[int]) -> None:
    assert read(packed(items), cuts) == (items, False)


@given(frames.filter(bool), st.lists(st.integers(0, 10_000), max_size=5), st.data())
def test_a_damaged_stream_yields_frames_in_order_and_never_a_wrong_byte(items: list[Frame], cuts: list[int], data: Any) -> None:
    stream = bytearray(packed(items))
    for _ in range(data.draw(st.integers(1, 3))):
        how = data.draw(st.sampled_from(["flip", "drop", "insert", "zero"]))
        at = data.draw(st.integers(0, len(stream) - 1)) if stream else 0
        if how == "flip" and stream:
            stream[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "drop":
            del stream[at : at + data.draw(st.integers(1, 40))]
        elif how == "insert":
            stream[at:at] = data.draw(st.binary(min_size=1, max_size=40))
        else:
            stream[at : at + 16] = bytes(len(stream[at : at + 16]))
    got, _ = read(bytes(stream), cuts)
    left = iter(items)  # a cut that takes whole frames leaves a sound stream, so some may be missing
    assert all(frame in left for frame in got)


@given(st.binary(max_size=400), st.lists(st.integers(0, 10_000), max_size=5))
def test_noise_is_refused_or_waited_upon_and_never_a_frame(noise: bytes, cuts: list[int]) -> None:
    assert read(noise, cuts)[0] == []


@given(st.lists(st.tuples(st.integers(195, 220), st.binary(max_size=80)), max_size=6))
def test_no_stranger_talks_itself_through_the_handshake(said: list[tuple[int, bytes]]) -> None:
    listener = ListenerHandshake(b"key", "node", b"n" * 32)
    dialer = DialerHandshake(b"key", "proxy", b"d" * 32)
    for side in (listener, dialer):
        for code, head in said:
            try:
                side.receive(code, head)
            except (BadFrame, ObjstoreError):
                break
        assert side.peer is None


async def _receive(call: Call) -> None:
    assert call.body is not None
    pieces = []
    async for piece in call.body:
        pieces.append(bytes(piece))
        if len(pieces) % 3 == 0:
            await asyncio.sleep(0.01)
    call.answer(Staged(sum(map(len, pieces)), codec._hash(b"".join(pieces)).to_bytes(8, "big")))


async def _give(call: Call) -> None:
    message = call.message
    assert isinstance(message, ReadBody)
    assert call.sender is not None
    body = random.Random(message.offset).randbytes(message.length)
    call.answer(BodyBegin(len(body), len(body)))
    for begin in range(0, len(body), 70_000):
        await call.sender.write(body[begin : begin + 70_000])
    call.end_body()


def _answer(call: Call) -> None:
    if isinstance(call.message, StageBody):
        call.run(_receive)
    elif isinstance(call.message, ReadBody):
        call.run(_give)
    else:
        call.answer(Done(), call.payload)


async def _client(site: Site, rng: random.Random, outcomes: list[str]) -> None:
    """Calls, uploads and downloads, some of them given up; whatever is answered must be right."""
    channel: Any = None
    for _ in range(15):
        await asyncio.sleep(rng.uniform(0, 0.02))
        try:
            if channel is None or channel.closed:
                channel = await site.dial(timeout_s=5)
            size = int(rng.expovariate(1 / 300_000))
            what = rng.choice(["call", "call", "upload", "download", "abort", "leave"])
            if what == "call":
                body = rng.randbytes(min(size, 50_000))
                assert bytes((await channel.call(query(), body, timeout_s=30))[1]) == body
            elif what in ("upload", "abort"):
                body = rng.randbytes(size)
                upload = await channel.open_upload(StageBody(1, 2, b"12345678", 30_000, 3, b"b" * 16, size), timeout_s=30)
                await upload.write(body[: size // 2])
                if what == "abort":
                    upload.abort()
                else:
                    await upload.write(memoryview(body)[size // 2 :])
                    answer, _ = await upload.finish()
                    assert answer == Staged(size, codec._hash(body).to_bytes(8, "big"))
            else:
                seed = rng.randrange(1000)
                request = ReadBody(1, 2, b"12345678", 30_000, query().key, b"o" * 12, seed, size)
                download = await channel.open_download(request, timeout_s=30)
                got = b""
                async for piece in download:
                    got += bytes(piece)
                    if what == "leave":
                        break
                await download.aclose()
                expected = random.Random(seed).randbytes(size)
                assert expected.startswith(got) if what == "leave" else got == expected
            outcomes.append(what)
        except ObjstoreError as failure:
            outcomes.append(type(failure).__name__)
    if channel is not None:
        channel.close()


async def _storm(site: Site, *, faults: bool) -> list[str]:
    rng = random.Random(site.fabric.rng.random())
    listener = await site.serve(Handler(_answer))
    if faults:
        site.link.garble = rng.choice([0.0, 0.002, 0.01])
        site.link.stall = rng.choice([0.0, 0.01])
    outcomes: list[str] = []

    async def reset() -> None:
        while True:
            await asyncio.sleep(rng.uniform(0.05, 1.0))
            site.fabric.reset_one(rng)

    resetting = asyncio.ensure_future(reset()) if faults and rng.random() < 0.7 else None
    await asyncio.gather(*(_client(site, random.Random(rng.random()), outcomes) for _ in range(4)))
    if resetting is not None:
        resetting.cancel()
    await asyncio.sleep(200)
    assert len(listener.tasks) == len(listener) == 0
    await listener.aclose()
    return outcomes


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_everything_arrives_when_nothing_fails(seed: int) -> None:
    async def main(site: Site) -> list[str]:
        return await _storm(site, faults=False)

    assert set(run(main, seed=seed)) <= {"call", "upload", "download", "abort", "leave"}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_under_garbled_bytes_and_resets_every_answer_is_right_and_every_other_outcome_is_an_error(seed: int) -> None:
    async def main(site: Site) -> list[str]:
        return await _storm(site, faults=True)

    outcomes = run(main, seed=seed)
    assert len(outcomes) == 60
    allowed = {"call", "upload", "download", "abort", "leave", NodeUnreachable.__name__, "DeadlineExceeded", "ProtocolMismatch"}
    assert set(outcomes) <= allowed


request_ids = st.integers(1, 4)
spoken = st.lists(
    st.one_of(
        st.builds(
            lambda request, size: (codec.pack_frame(codec.DATA, request, size % 2, b"", bytes(size)), bytes(size)),
            request_ids,
            st.integers(0, 3000),
        ),
        st.builds(lambda request, size: (codec.pack_credit(request, size), b""), request_ids, st.integers(0, 1 << 64 - 1)),
        st.builds(lambda request: (codec.pack_frame(codec.CANCEL, request, 0, b""), b""), request_ids),
        st.builds(lambda request, body: (codec.pack_message(query(), request, body), body), request_ids, st.binary(max_size=50)),
        st.builds(
            lambda request, size: (codec.pack_message(StageBody(1, 2, b"i" * 8, 99, 3, b"b" * 16, size), request), b""),
            request_ids,
            st.integers(-5, 5000),
        ),
        st.builds(
            lambda request, size: (codec.pack_message(ReadBody(1, 2, b"i" * 8, 99, query().key, b"o" * 12, 1, size), request), b""),
            request_ids,
            st.integers(0, 3000),
        ),
        st.builds(
            lambda code, request, head: (codec.pack_frame(code, request, 0, head), b""),
            st.integers(0, 255),
            request_ids,
            st.binary(max_size=20),
        ),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(spoken, st.integers(0, 1000))
def test_whatever_a_peer_says_nobody_else_is_harmed_and_nothing_is_left_behind(said: list[tuple[bytes, bytes]], seed: int) -> None:
    async def main(site: Site) -> None:
        listener = await site.serve(Handler(_answer))
        honest = await site.dial()
        peer = await raw(site, authenticated=True)
        for frame, payload in said:
            peer.transport.write(frame + payload)
            await asyncio.sleep(0.001)
        assert bytes((await honest.call(query(), b"still here", timeout_s=5))[1]) == b"still here"
        peer.transport.abort()
        honest.close()
        await asyncio.sleep(1)
        assert len(listener) == len(listener.tasks) == 0

    run(main, seed=seed)
