import pytest

from objstore import errors
from objstore.core.rows import RowKey
from objstore.wire import codec
from objstore.wire.codec import FLAG_END, HEADER, HEADER_BYTES, BadFrame, FrameReader
from objstore.wire.messages import TYPES, AcceptAnswer, Failure, Message, Query
from tests.support.wires import query

Frame = tuple[int, int, int, bytes, bytes]


def read(data: bytes, step: int | None = None, limit_bytes: int = 1 << 20) -> list[Frame]:
    frames: list[Frame] = []
    reader = FrameReader(
        lambda request, code, flags, head, payload: frames.append((request, code, flags, bytes(head), bytes(payload))),
        limit_bytes=limit_bytes,
    )
    for offset in range(0, len(data), step or len(data)):
        reader.feed(data[offset : offset + (step or len(data))])
    return frames


def frame(request: int = 7, payload: bytes = b"", head: bytes = b"head", code: int = codec.DATA, flags: int = 0) -> bytes:
    return codec.pack_frame(code, request, flags, head, payload) + payload


def test_a_frame_comes_out_as_it_went_in() -> None:
    assert read(frame(0xFFFF_FFFF, b"payload", flags=FLAG_END)) == [(0xFFFF_FFFF, codec.DATA, FLAG_END, b"head", b"payload")]


@pytest.mark.parametrize("step", [1, 2, 3, 23, 24, 25, 31, 100])
def test_frames_are_the_same_however_the_stream_is_cut(step: int) -> None:
    whole = frame(1) + frame(2, b"p" * 90) + frame(3, head=b"") + frame(4, b"", head=b"h" * 50)
    assert read(whole, step) == read(whole)
    assert [f[0] for f in read(whole)] == [1, 2, 3, 4]


def test_every_single_flipped_bit_is_noticed_or_leaves_the_frame_incomplete_for_no_more_than_its_own_length() -> None:
    whole = frame(5, b"some payload")
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadFrame):
            read(bytes(damaged))


def test_a_frame_over_the_limit_is_refused_from_its_header_alone() -> None:
    with pytest.raises(BadFrame):
        read(frame(1, b"x" * 200)[:HEADER_BYTES], limit_bytes=100)
    with pytest.raises(BadFrame):
        read(frame(1, b"x" * 200)[:HEADER_BYTES], step=5, limit_bytes=100)


def test_a_head_longer_than_its_frame_is_refused() -> None:
    checksum, body, _, tag = HEADER.unpack(frame(1)[:HEADER_BYTES])
    guard = codec.MAGIC ^ (body ^ (body + 1))
    with pytest.raises(BadFrame, match="length"):
        read(HEADER.pack(checksum, body, body + 1, tag & 0xFFFF_FFFF_FFFF | guard << 48))


def test_nothing_is_sent_that_no_reader_would_take() -> None:
    with pytest.raises(ValueError, match="limit"):
        codec.pack_frame(codec.DATA, 1, 0, b"", bytes(codec.MAX_FRAME_BYTES + 1))


def test_a_stopped_reader_delivers_nothing_more() -> None:
    frames = []
    reader = FrameReader(lambda request, *_rest: (frames.append(request), setattr(reader, "stopped", True)), limit_bytes=100)
    reader.feed(frame(1) + frame(2))
    assert frames == [1]


def test_a_payload_that_came_in_one_piece_is_not_copied() -> None:
    data = frame(1, b"x" * 500)
    payloads: list[memoryview] = []
    FrameReader(lambda _r, _c, _f, _h, payload: payloads.append(payload), limit_bytes=1000).feed(data)
    assert payloads[0].obj is data


def test_every_message_type_survives_the_wire() -> None:
    for code, kind in TYPES.items():
        assert codec._CODES[kind] == code
    message = query(b"n" * 300)
    [(request, code, _, head, _)] = read(codec.pack_message(message, 9))
    assert (request, codec.decode_message(code, head)) == (9, message)


def test_a_message_with_fields_of_a_newer_version_still_decodes() -> None:
    class NewerAnswer(AcceptAnswer, frozen=True, array_like=True):
        more: int = 5

    head = codec._encode(NewerAnswer("yes"))
    assert codec.decode_message(codec._CODES[AcceptAnswer], head) == AcceptAnswer("yes")


def test_an_unknown_code_is_a_refusal_and_a_bad_head_breaks_the_protocol() -> None:
    with pytest.raises(errors.NotImplementedHere):
        codec.decode_message(199, b"")
    with pytest.raises(BadFrame):
        codec.decode_message(codec._CODES[Query], b"\xc1")
    with pytest.raises(BadFrame):
        codec.decode_message(codec._CODES[Query], codec._encode(AcceptAnswer("yes")))


def test_errors_travel_with_class_message_and_facts() -> None:
    back = codec.error_of(codec.failure_of(errors.StaleEpoch("too old", epoch=7)))
    assert type(back) is errors.StaleEpoch
    assert back.message == "too old"
    assert back.facts == {"epoch": 7}
    assert back.epoch == 7  # type: ignore[attr-defined]


def test_an_error_class_not_known_here_is_unavailable() -> None:
    back = codec.error_of(Failure("SomethingNewer", "why"))
    assert type(back) is errors.Unavailable
    assert "SomethingNewer" in back.message


def test_facts_of_a_peer_cannot_replace_an_errors_own_attributes() -> None:
    back = codec.error_of(Failure("QuorumLost", "why", {"args": "x", "facts": "y", "with_traceback": "z", "not a name": 1, "fine": 2}))
    assert back.facts == {"fine": 2}
    assert back.args == ("why",)


def test_facts_that_are_not_plain_stay_behind() -> None:
    assert codec.failure_of(errors.QuorumLost("x", devices=[1, 2], count=3)).facts == {"count": 3}


def test_credit_has_one_length() -> None:
    [(_, code, _, head, _)] = read(codec.pack_credit(3, 1 << 40))
    assert (code, codec.unpack_credit(head)) == (codec.CREDIT, 1 << 40)
    with pytest.raises(BadFrame):
        codec.unpack_credit(b"1234567")


def test_row_keys_are_values() -> None:
    assert query(b"a").key == RowKey(b"bucketid", 0, b"a")
    assert isinstance(query(), Message)
