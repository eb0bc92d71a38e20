"""Archives read as they come, against what the standard library makes of them."""

import asyncio
import bz2
import gzip
import io
import os
import random
import tarfile
from collections.abc import AsyncIterator

import pytest

from objstore.core.tar import padded
from objstore.fronts.swift.unpack import MAX_STREAMS, STEP_BYTES, ArchiveBroken, MemberBody, Unpacked, members
from objstore.runtime.tasks import ThreadPool

PACK = {"": lambda data: data, "gz": lambda data: gzip.compress(data, 1), "bz2": bz2.compress}


def archive(files: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return stream.getvalue()


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes | memoryview]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def read(
    data: bytes, form: str = "", *, size: int = 1000, limit: int = 10**8, most: int = 100, threads: ThreadPool | None = None
) -> dict[str, bytes]:
    source = Unpacked(pieces(data, size), form, limit, threads)
    found = {}
    async for member in members(source, most):
        body = MemberBody(source, member.head.size)
        found[member.head.name.decode()] = b"".join([bytes(piece) async for piece in body])
        assert await body.finish() == {}
        await source.skip(padded(member.head.size) - member.head.size)
    await source.finish(10**6)
    return found


def head(kind: bytes, name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def record(keyword: str, value: str) -> bytes:
    text = f" {keyword}={value}\n".encode()
    size = len(text) + 1
    while len(str(size)) + len(text) != size:
        size = len(str(size)) + len(text)
    return str(size).encode() + text


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize(("heads", "each", "value"), [(2000, 1, ""), (30, 1, "v" * 10_000), (3, 400, "")])
def test_records_are_bounded_in_any_number_of_heads(kind: bytes, heads: int, each: int, value: str) -> None:
    """They were held until a member came: 5 GiB of them, and each head took time by all that were before it."""
    data = b"".join([head(kind, "x", b"".join([record(f"k{at}.{number}", value) for number in range(each)])) for at in range(heads)])
    with pytest.raises(ArchiveBroken, match="records"):
        asyncio.run(read(data + head(tarfile.REGTYPE, "a", b""), most=heads + 1))


def test_records_of_several_heads_are_one_members() -> None:
    data = b"".join([head(tarfile.XHDTYPE, "x", record(f"k{at}", "v")) for at in range(20)]) + head(
        tarfile.XHDTYPE, "x", record("path", "b")
    )
    assert asyncio.run(read(data + head(tarfile.REGTYPE, "a", b"data"))) == {"b": b"data"}


FILES = {"a": b"", "d/" + "long" * 60: b"x" * 512, "ö": os.urandom(5000), "z": bytes(700_000)}


@pytest.mark.parametrize("form", PACK)
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_is_read_in_pieces_of_every_size(form: str, kind: int) -> None:
    packed = PACK[form](archive(FILES, kind))
    for size in (777, 100_000, len(packed)):
        assert asyncio.run(read(packed, form, size=size)) == FILES


@pytest.mark.parametrize("form", PACK)
def test_an_archive_that_is_cut_off_is_told_so(form: str) -> None:
    packed = PACK[form](archive({"a": os.urandom(3000), "b": os.urandom(3000)}))
    for end in range(0, min(len(packed), 7100), 333):
        try:
            found = asyncio.run(read(packed[:end], form))
        except ArchiveBroken:
            continue
        assert (form, end % 512) == ("", 0)
        assert set(found) <= {"a"}


def test_what_was_changed_never_ends_otherwise_than_as_broken() -> None:
    source = random.Random(1)
    packed = {form: pack(archive({"a": b"x" * 600, "d/" + "n" * 200: b"y"}, tarfile.PAX_FORMAT)) for form, pack in PACK.items()}
    for _ in range(150):
        form = source.choice(list(packed))
        data = bytearray(packed[form])
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            asyncio.run(read(bytes(data), form, limit=10**6))
        except (ArchiveBroken, UnicodeDecodeError):
            continue


def test_joined_streams_are_one_and_what_follows_is_passed_over() -> None:
    whole = archive(FILES)
    parts = [whole[at : at + 100_000] for at in range(0, len(whole), 100_000)]
    for form in ("gz", "bz2"):
        packed = b"".join(PACK[form](part) for part in parts)
        assert asyncio.run(read(packed, form)) == FILES
        assert asyncio.run(read(packed + b"\0" * 5000, form)) == FILES


def test_other_data_is_told_apart() -> None:
    for form in ("gz", "bz2"):
        for data in (b"", b"plain text" * 100, b"\x1f\x8b", b"BZh9junk" * 9, b"\x1f\x8bjunk" * 9):
            with pytest.raises(ArchiveBroken):
                asyncio.run(read(data, form))


def test_a_bomb_ends_at_its_limit_and_is_never_held() -> None:
    import tracemalloc

    bomb = gzip.compress(archive({"zeros": bytes(60_000_000)}), 9)
    assert len(bomb) < 70_000

    async def run() -> None:
        source = Unpacked(pieces(bomb, 50_000), "gz", 10_000_000, None)
        async for member in members(source, 10):
            async for piece in MemberBody(source, member.head.size):
                seen.append(len(piece))

    seen: list[int] = []
    tracemalloc.start()
    with pytest.raises(ArchiveBroken, match="more than it may"):
        asyncio.run(run())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 9_000_000 < sum(seen) <= 10_000_000
    assert peak < 8 * STEP_BYTES


def test_members_streams_and_records_are_counted() -> None:
    with pytest.raises(ArchiveBroken, match="more than 5 members"):
        asyncio.run(read(archive({str(number): b"" for number in range(6)}), most=5))
    with pytest.raises(ArchiveBroken, match="compressed streams"):
        asyncio.run(read(gzip.compress(b"", 1) * (MAX_STREAMS + 2), "gz", size=100_000))
    long_name = tarfile.TarInfo("x" * 300_000).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ArchiveBroken, match="longer than"):
        asyncio.run(read(long_name))


def test_records_for_all_members_hold_until_others_follow() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "all"}) as made:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"SCHILY.xattr.user.k": "v"}
        made.addfile(info)
        made.addfile(tarfile.TarInfo("b"))

    async def run() -> list[dict[str, bytes]]:
        return [dict(member.records) async for member in members(Unpacked(pieces(stream.getvalue(), 99), "", 10**6, None), 9)]

    assert asyncio.run(run()) == [{"comment": b"all", "SCHILY.xattr.user.k": b"v"}, {"comment": b"all"}]


def test_sparse_files_are_marked_with_their_maps_behind_them() -> None:
    head = bytearray(tarfile.TarInfo("s").tobuf(tarfile.GNU_FORMAT))
    head[156], head[482] = ord("S"), 1
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32)
    more, last = bytearray(512), bytearray(512)
    more[504] = 1

    async def run() -> list[tuple[bytes, bool]]:
        data = bytes(head) + bytes(more) + bytes(last) + archive({"after": b""})
        return [(member.head.name, member.sparse) async for member in members(Unpacked(pieces(data, 99), "", 10**6, None), 9)]

    assert asyncio.run(run()) == [(b"s", True), (b"after", False)]


def test_threads_do_it_as_well() -> None:
    threads = ThreadPool("unpack", 1)
    try:
        assert asyncio.run(read(PACK["gz"](archive(FILES)), "gz", threads=threads)) == FILES
    finally:
        threads.close()


def test_what_follows_is_taken_up_to_a_limit() -> None:
    async def run() -> int:
        source = pieces(bytes(10_000), 1000)
        await Unpacked(source, "", 10**6, None).drain(3000)
        return len([piece async for piece in source])

    assert asyncio.run(run()) == 6
