"""The aws-chunked decoder: whole, cut at every byte, and wrong in every way."""

import pytest

from objstore.core.aws_chunked import ChunkDecoder, ChunkEnd
from objstore.errors import IncompleteBody, InvalidRequest, Refused

SIGNATURE = "a" * 64
SIGNED = (
    f"5;chunk-signature={SIGNATURE}\r\nhello\r\n6;chunk-signature={SIGNATURE}\r\n world\r\n0;chunk-signature={SIGNATURE}\r\n\r\n".encode()
)
TRAILED = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


def decode(decoder: ChunkDecoder, *slices: bytes) -> bytes:
    data = b""
    for piece in slices:
        data += b"".join(bytes(item) for item in decoder.feed(piece) if not isinstance(item, ChunkEnd))
    decoder.finish()
    return data


def signed(size: int = 11) -> ChunkDecoder:
    return ChunkDecoder(size, signed=True, trailer=False)


def trailed(size: int = 11) -> ChunkDecoder:
    return ChunkDecoder(size, signed=False, trailer=True)


def test_bodies_decode_wherever_the_slices_are_cut() -> None:
    for at in range(len(SIGNED) + 1):
        assert decode(signed(), SIGNED[:at], SIGNED[at:]) == b"hello world"
    for at in range(len(TRAILED) + 1):
        decoder = trailed()
        assert decode(decoder, TRAILED[:at], TRAILED[at:]) == b"hello world"
        assert decoder.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}
        assert decoder.trailer_lines == b"x-amz-checksum-crc32:AAAAAA==\n"
    assert decode(signed(), *[bytes([byte]) for byte in SIGNED]) == b"hello world"


def test_a_body_cut_off_anywhere_is_incomplete() -> None:
    for body, make in ((SIGNED, signed), (TRAILED, trailed)):
        for at in range(len(body)):
            decoder = make()
            decoder.feed(body[:at])
            with pytest.raises(IncompleteBody):
                decoder.finish()


def test_each_chunk_ends_with_its_signature() -> None:
    ends = [item.signature for item in signed().feed(SIGNED) if isinstance(item, ChunkEnd)]
    assert ends == [SIGNATURE] * 3


def test_an_empty_body_is_one_chunk_of_nothing() -> None:
    assert decode(signed(0), f"0;chunk-signature={SIGNATURE}\r\n\r\n".encode()) == b""
    assert decode(trailed(0), b"0\r\n\r\n") == b""


@pytest.mark.parametrize("size", [10, 12, 0, 5])
def test_the_decoded_length_must_be_the_announced_one(size: int) -> None:
    with pytest.raises(IncompleteBody):
        decode(trailed(size), TRAILED)


@pytest.mark.parametrize(
    "body",
    [
        SIGNED + b"x",
        SIGNED + SIGNED,
        SIGNED.replace(b"\r\n world", b"\n world"),
        SIGNED.replace(b"hello", b"hello!"),
        SIGNED.replace(b"5;chunk", b"5 ;chunk"),
        SIGNED.replace(b"5;chunk-signature", b"5;other"),
        SIGNED.replace(b"5;", b"-5;"),
        SIGNED.replace(b"5;", b"0x5;"),
        SIGNED.replace(b"a" * 64, b"a" * 63, 1),
        SIGNED.replace(b"a" * 64, b"a" * 65, 1),
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"f" * 200,
        SIGNED[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n",
    ],
)
def test_malformed_signed_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        decode(signed(), body)


@pytest.mark.parametrize(
    "body",
    [
        TRAILED + b"x",
        TRAILED.replace(b"crc32:", b"crc32 "),
        TRAILED.replace(b"AAAAAA==", b""),
        TRAILED.replace(b"AAAAAA==", b"A A"),
        TRAILED.replace(b"x-amz-checksum", b"x-amz-\x00checksum"),
        TRAILED.replace(b"x-amz-checksum-crc32:AAAAAA==\r\n", b"x-amz-checksum-crc32:AAAAAA==\r\n" * 2),
        TRAILED.replace(b"AAAAAA==", b"A" * 5000),
        f"5;chunk-signature={SIGNATURE}\r\nhello\r\n".encode(),
    ],
)
def test_malformed_trailers_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(trailed(), body)


def test_a_line_feed_before_a_trailers_line_end_belongs_to_no_value() -> None:
    decoder = trailed()
    decode(decoder, TRAILED.replace(b"==\r\n", b"==\n\r\n"))
    assert decoder.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}


def test_large_pieces_are_handed_on_without_a_copy() -> None:
    data = bytes(100_000)
    framed = f"{len(data):x}\r\n".encode() + data
    (piece,) = trailed(len(data)).feed(framed)
    assert isinstance(piece, memoryview)
    assert piece.obj is framed
