"""Parts of forms, cut into pieces of every size, and everything that is no form."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from objstore.fronts.multipart_form import FormBroken, FormTooLong, Parts, boundary_of, parse_head

FORM = (
    b'--XbX\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
    b'--XbX\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n'
    b'--XbX\r\nContent-Disposition: form-data; name="f"; filename="x"\r\nContent-Type: a/b\r\n\r\n\r\n--XbY\r\n--XbXno\r\n\r\n--XbX\r\n'
    b'Content-Disposition: form-data; name="g"; filename="y"\r\n\r\n' + bytes(5000) + b"\r\n--XbX--\r\nafter"
)


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes | memoryview]:
    for at in range(0, len(data), size):
        yield memoryview(data)[at : at + size]


async def read(data: bytes, size: int = 1 << 20, limit: int = 1 << 20) -> list[tuple[str, bytes]]:
    parts = Parts(pieces(data, size), b"XbX")
    found = []
    while (head := await parts.next()) is not None:
        found.append((parse_head(head).name, await parts.value(limit)))
    assert await parts.drain(100)
    return found


def test_parts_are_the_same_in_pieces_of_every_size() -> None:
    expected = [("a", b"one"), ("empty", b""), ("f", b"\r\n--XbY\r\n--XbXno\r\n"), ("g", bytes(5000))]
    for size in (1, 2, 7, 100, 1 << 20):
        assert asyncio.run(read(FORM, size)) == expected


def test_what_only_looks_like_a_delimiter_takes_no_time() -> None:
    data = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"\r\n--XY" * 40_000 + b"\r\n--X--"

    async def run() -> int:
        parts, size = Parts(pieces(data, 1 << 16), b"X"), 0
        await parts.next()
        while piece := await parts.some():
            size += len(piece)
        return size

    began = time.process_time()
    assert asyncio.run(run()) == 240_000
    assert time.process_time() - began < 0.05


def test_what_is_not_read_is_passed_over() -> None:
    async def run() -> list[str]:
        parts = Parts(pieces(FORM, 50), b"XbX")
        names = []
        while (head := await parts.next()) is not None:
            names.append(parse_head(head).name)
        return names

    assert asyncio.run(run()) == ["a", "empty", "f", "g"]


def test_what_is_cut_off_is_no_form() -> None:
    for end in range(0, FORM.index(b"\r\nafter"), 17):
        with pytest.raises(FormBroken):
            asyncio.run(read(FORM[:end]))


def test_other_bytes_never_end_otherwise_than_as_broken() -> None:
    source = random.Random(4)
    for _ in range(300):
        data = bytearray(FORM[:400])
        for _ in range(3):
            data[source.randrange(400)] = source.randrange(256)
        with pytest.raises((FormBroken, FormTooLong)):
            asyncio.run(read(bytes(data), 64))


def test_heads_and_fields_have_limits() -> None:
    with pytest.raises(FormTooLong):
        asyncio.run(read(b"--XbX\r\n" + b"a: b\r\n" * 2000))
    with pytest.raises(FormTooLong):
        asyncio.run(read(FORM, limit=100))

    async def too_much() -> bool:
        return await Parts(pieces(bytes(1000), 10), b"XbX").drain(500)

    assert not asyncio.run(too_much())


def test_a_boundary_is_named_or_not() -> None:
    assert boundary_of("multipart/form-data; boundary=XbX") == b"XbX"
    assert boundary_of('Multipart/Form-Data; charset=x; BOUNDARY="a b"') == b"a b"
    assert boundary_of("text/plain") is None
    with pytest.raises(FormBroken):
        boundary_of("multipart/form-data")


def test_heads_tell_names_and_files() -> None:
    head = parse_head(b'content-disposition: form-data; name="File"; filename="a%22b.txt"\r\nContent-Type: a/b')
    assert (head.name, head.filename, head.headers["content-type"]) == ("file", 'a"b.txt', "a/b")
    assert parse_head(b"Content-Disposition: form-data; name=a; filename*=utf-8''%C3%B6").filename == "ö"
    assert parse_head(b'Content-Disposition: form-data; name="a"; filename=""').filename == ""
    assert parse_head(b'Content-Disposition: form-data; name="a"').filename is None
    for wrong in (b"", b"Content-Disposition: attachment; name=a", b"Content-Disposition: form-data", b"x: y"):
        with pytest.raises(FormBroken):
            parse_head(wrong)
