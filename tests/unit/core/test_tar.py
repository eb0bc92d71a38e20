"""Heads of tar archives, against what the standard library writes."""

import io
import random
import tarfile

import pytest

from objstore.core.tar import BLOCK_BYTES, PAX, Head, TarBroken, is_sparse, padded, parse_head, parse_pax, with_pax


def written(info: tarfile.TarInfo, form: int) -> bytes:
    return info.tobuf(form, "utf-8", "surrogateescape")


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type = size, kind
    return made


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_heads_of_every_form_are_read(form: int) -> None:
    for name, size in (("a", 0), ("d/b c", 7), ("ö", 512), ("p" * 99, 8**11 - 1)):
        assert parse_head(written(info(name, size), form)[-BLOCK_BYTES:]) is not None
    head = parse_head(written(info("d/b", 7), form)[:BLOCK_BYTES])
    assert head == (b"d/b", 7, ord("0"))
    assert head is not None
    assert head.is_file
    for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        other = parse_head(written(info("x", 0, kind), form)[:BLOCK_BYTES])
        assert other is not None
        assert not other.is_file


def test_long_names_are_joined_and_large_sizes_read() -> None:
    name = "d" * 140 + "/" + "n" * 90
    assert parse_head(written(info(name), tarfile.USTAR_FORMAT)) == (name.encode(), 0, ord("0"))
    assert parse_head(written(info("large", 2**40), tarfile.GNU_FORMAT)) == (b"large", 2**40, ord("0"))


def test_the_end_is_a_block_of_zeros() -> None:
    assert parse_head(bytes(BLOCK_BYTES)) is None


def test_a_file_of_old_archives_that_ends_in_a_slash_is_a_directory() -> None:
    assert not Head(b"d/", 0, 0).is_file
    assert Head(b"d", 0, 0).is_file


def test_what_is_no_head_is_refused() -> None:
    good = written(info("a", 5), tarfile.GNU_FORMAT)
    for at, byte in ((0, b"b"), (124, b"9"), (148, b"x"), (124, b"\xff")):
        with pytest.raises(TarBroken):
            parse_head(good[:at] + byte + good[at + 1 :])
    random_source = random.Random(5)
    for _ in range(300):
        with pytest.raises(TarBroken):
            parse_head(random_source.randbytes(BLOCK_BYTES))


def test_records_are_read_and_tell_name_and_size() -> None:
    made = info("x" * 300, 3)
    made.pax_headers = {"SCHILY.xattr.user.meta.a": "ö=1", "size": "3"}
    block = written(made, tarfile.PAX_FORMAT)
    head = parse_head(block[:BLOCK_BYTES])
    assert head is not None
    assert head.kind == PAX
    records = parse_pax(block[BLOCK_BYTES : BLOCK_BYTES + head.size])
    assert (records["path"], records["SCHILY.xattr.user.meta.a"]) == (b"x" * 300, "ö=1".encode())
    assert with_pax(Head(b"short", 9, ord("0")), records) == (b"x" * 300, 3, ord("0"))
    assert not is_sparse(head, records)
    assert is_sparse(head, {"GNU.sparse.major": b"1"})


def test_broken_records_are_refused_in_no_time() -> None:
    for data in (b"x", b"5 a=b", b"99 a=b\n", b"6 a b\n", b"6 a=bc", b" a=b\n", b"6 \xff=b\n", b"0 a=b\n", b"1" * 40, b"7 a=b\n" * 3):
        with pytest.raises(TarBroken):
            parse_pax(data)
    with pytest.raises(TarBroken):
        parse_pax(b"".join(b"9 %03d=b\n" % number for number in range(1001)).replace(b"9 ", b"8 "))
    with pytest.raises(TarBroken):
        with_pax(Head(b"a", 0, 0), {"size": b"-1"})
    assert parse_pax(b"") == {}
    random_source = random.Random(6)
    for _ in range(300):
        try:
            parse_pax(random_source.randbytes(40))
        except TarBroken:
            continue


def test_data_takes_whole_blocks() -> None:
    assert [padded(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(info("a", 513), io.BytesIO(bytes(513)))
    assert parse_head(stream.getvalue()[BLOCK_BYTES + padded(513) :][:BLOCK_BYTES]) is None
