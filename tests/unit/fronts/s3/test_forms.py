"""multipart/form-data cut into pieces of every size, and everything that is none."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from objstore.errors import EntityTooLarge, EntityTooSmall, ObjstoreError
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.forms import MAX_AFTER_FILE_BYTES, MAX_FIELDS, Form, boundary_of

BOUNDARY = b"XbX"


class Pieces:
    """A request body in given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.finished = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        async def give() -> AsyncIterator[bytes]:
            for piece in self.pieces:
                yield piece

        return give()

    async def finish(self) -> dict[str, bytes]:
        self.finished = True
        return {}


def part(name: str, value: bytes, *, filename: str | None = None) -> bytes:
    more = "" if filename is None else f'; filename="{filename}"'
    return f'--XbX\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def read(data: bytes, size: int = 1 << 20, least: int = 0, most: int | None = None) -> tuple[dict[str, str], str, bytes]:
    async def run() -> tuple[dict[str, str], str, bytes]:
        body: Any = Pieces([data[i : i + size] for i in range(0, len(data), size)])
        form = Form(body, BOUNDARY)
        await form.read_fields()
        form.limit(least, most)
        content = b"".join([bytes(piece) async for piece in form])
        await form.finish()
        assert body.finished
        assert form.size == len(content)
        return form.fields, form.filename, content

    return asyncio.run(run())


FILE = b"line\r\n--Xb\r\n--XbXx\r\n\r\n--" * 3
WHOLE = part("Key", b"a/${filename}") + part("empty", b"") + part("file", FILE, filename="C:\\dir\\x.txt") + b"--XbX--\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 1 << 20])
def test_a_form_reads_the_same_in_pieces_of_any_size(size: int) -> None:
    assert read(WHOLE, size) == ({"key": "a/${filename}", "empty": ""}, "x.txt", FILE)


def test_an_empty_file_and_fields_after_the_file() -> None:
    assert read(part("key", b"k") + part("file", b"") + part("policy", b"late") + b"--XbX--")[0::2] == ({"key": "k"}, b"")
    assert read(part("file", b"data") + b"--XbX--")[0] == {}


def test_file_names_come_without_their_path_and_in_utf_8() -> None:
    head = "--XbX\r\ncontent-disposition: FORM-DATA; name=file; filename*=utf-8''a%2Fb%C3%BC.txt; filename=\"x\"\r\nContent-Type: a/b\r\n\r\nd\r\n--XbX--"
    assert read(head.encode())[1] == "bü.txt"
    assert read(part("file", b"", filename="/tmp/ü%22.txt") + b"--XbX--")[1] == 'ü".txt'


def test_a_body_that_is_cut_off_is_refused_at_every_byte() -> None:
    for end in range(len(WHOLE) - 4):
        with pytest.raises(S3Refused) as caught:
            read(WHOLE[:end], 64)
        assert caught.value.code == "MalformedPOSTRequest", end


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "MalformedPOSTRequest"),
        (b"nonsense" * 10, "MalformedPOSTRequest"),
        (b"--XbX--\r\n", "InvalidArgument"),
        (part("key", b"k") + b"--XbX--\r\n", "InvalidArgument"),
        (b"--XbX\r\n\r\nvalue\r\n--XbX--", "MalformedPOSTRequest"),
        (b"--XbX\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--XbX--", "MalformedPOSTRequest"),
        (b'--XbX\r\nContent-Disposition: attachment; name="key"\r\n\r\nvalue\r\n--XbX--', "MalformedPOSTRequest"),
        (part("key", b"k") + part("KEY", b"k") + part("file", b"") + b"--XbX--", "MalformedPOSTRequest"),
        (part("key", b"\xff") + part("file", b"") + b"--XbX--", "MalformedPOSTRequest"),
        (part("key", b"k" * 70_000) + part("file", b"") + b"--XbX--", "MaxPostPreDataLengthExceeded"),
        (b"".join(part(f"f{i}", b"") for i in range(MAX_FIELDS + 1)) + part("file", b"") + b"--XbX--", "MaxPostPreDataLengthExceeded"),
        (b"--XbX\r\n" + b"x" * 5000 + b"\r\n\r\n", "MaxPostPreDataLengthExceeded"),
        (part("file", b"x") + b"--XbX--" + b"y" * (MAX_AFTER_FILE_BYTES + 4096), "MalformedPOSTRequest"),
    ],
)
def test_everything_else_is_refused(data: bytes, code: str) -> None:
    for size in (1000, 1 << 20):
        if data.endswith(b"y") and size == 1 << 20:
            continue  # what came together with the delimiter is dropped unread
        with pytest.raises(S3Refused) as caught:
            read(data, size)
        assert caught.value.code == code


def test_sizes_are_enforced_while_the_file_comes() -> None:
    assert read(WHOLE, least=len(FILE), most=len(FILE))[2] == FILE
    with pytest.raises(EntityTooSmall):
        read(WHOLE, least=len(FILE) + 1)
    with pytest.raises(EntityTooLarge):
        read(WHOLE[:-9], 8, most=10)  # refused before it is seen to be cut off


def test_boundaries_are_read_from_the_content_type() -> None:
    assert boundary_of("multipart/form-data; boundary=XbX") == b"XbX"
    assert boundary_of('Multipart/Form-Data; charset=x; BOUNDARY="a b:c"') == b"a b:c"
    assert boundary_of("text/plain") is None
    for bad in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 100 + '"'):
        try:
            found = boundary_of(bad)
        except ObjstoreError:
            continue
        assert found is not None
        assert len(found) <= 70
