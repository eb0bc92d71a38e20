"""The handshake: what clients say, and what nobody should."""

import random
import struct
from collections.abc import Sequence

from objstore.services.volume.nbd import protocol as nbd
from objstore.services.volume.nbd.handshake import Export, Handshake

DISK = Export("disk", 1 << 20, read_only=False, description="a disk")
OTHER = Export("other", 512, read_only=True)


class Two:
    def names(self) -> Sequence[str]:
        return ["disk", "other"]

    def find(self, name: str) -> Export | None:
        return {"disk": DISK, "other": OTHER}.get(name)


def option(number: int, data: bytes = b"") -> bytes:
    return nbd.OPTION.pack(nbd.OPTION_MAGIC, number, len(data)) + data


def text(value: str) -> bytes:
    return nbd.U32.pack(len(value)) + value.encode()


def replies(data: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while data:
        magic, number, kind, length = nbd.OPTION_REPLY.unpack_from(data)
        assert magic == nbd.OPTION_REPLY_MAGIC
        found.append((number, kind, data[20 : 20 + length]))
        data = data[20 + length :]
    return found


def begun() -> Handshake:
    shake = Handshake(Two())
    assert shake.receive(nbd.CLIENT_FLAGS.pack(nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES)) == b""
    return shake


def go(name: str, *wanted: int) -> bytes:
    return option(nbd.OPT_GO, text(name) + nbd.U16.pack(len(wanted)) + b"".join(nbd.U16.pack(w) for w in wanted))


def test_a_client_lists_asks_and_goes_byte_by_byte() -> None:
    shake = begun()
    said = option(nbd.OPT_LIST) + option(nbd.OPT_STRUCTURED_REPLY) + go("disk", nbd.INFO_NAME, nbd.INFO_DESCRIPTION) + b"rest"
    answer = b"".join(shake.receive(said[i : i + 1]) for i in range(len(said)))
    found = replies(answer)
    assert [kind for number, kind, _ in found if number == nbd.OPT_LIST] == [nbd.REP_SERVER, nbd.REP_SERVER, nbd.REP_ACK]
    infos = {struct.unpack(">H", data[:2])[0]: data[2:] for number, kind, data in found if kind == nbd.REP_INFO}
    size, flags = struct.unpack(">QH", infos[nbd.INFO_EXPORT])
    assert size == 1 << 20
    assert flags & nbd.CAN_MULTI_CONN
    assert flags & nbd.SEND_DF
    assert not flags & nbd.READ_ONLY
    assert struct.unpack(">III", infos[nbd.INFO_BLOCK_SIZE]) == (1, 4096, 32 << 20)
    assert infos[nbd.INFO_NAME] == b"disk"
    assert infos[nbd.INFO_DESCRIPTION] == b"a disk"
    assert found[-1][:2] == (nbd.OPT_GO, nbd.REP_ACK)
    assert shake.chosen == DISK
    assert shake.structured


def test_the_old_way_of_choosing_answers_with_and_without_zeroes() -> None:
    for flags, length in ((nbd.FIXED_NEWSTYLE, 134), (nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES, 10)):
        shake = Handshake(Two())
        answer = shake.receive(nbd.CLIENT_FLAGS.pack(flags) + option(nbd.OPT_EXPORT_NAME, b"other") + b"xyz")
        assert len(answer) == length
        assert nbd.EXPORT.unpack_from(answer)[1] & nbd.READ_ONLY
        assert shake.chosen == OTHER
        assert shake.rest == b"xyz"


def test_an_export_that_is_not_there_is_unknown() -> None:
    shake = begun()
    assert replies(shake.receive(go("nothing")))[0][1] == nbd.REP_ERR_UNKNOWN
    assert shake.chosen is None
    assert shake.receive(option(nbd.OPT_EXPORT_NAME, b"nothing")) == b""
    assert shake.closed


def test_block_status_is_agreed_on_for_the_export_that_is_then_chosen() -> None:
    query = text("disk") + nbd.U32.pack(2) + text("base:allocation") + text("qemu:dirty")
    shake = begun()
    assert replies(shake.receive(option(nbd.OPT_SET_META_CONTEXT, query)))[0][1] == nbd.REP_ERR_INVALID
    shake.receive(option(nbd.OPT_STRUCTURED_REPLY))
    answer = replies(shake.receive(option(nbd.OPT_SET_META_CONTEXT, query)))
    assert answer[0][1:] == (nbd.REP_META_CONTEXT, nbd.U32.pack(1) + b"base:allocation")
    shake.receive(go("disk"))
    assert shake.allocation
    shake = begun()
    shake.receive(option(nbd.OPT_STRUCTURED_REPLY) + option(nbd.OPT_SET_META_CONTEXT, query) + go("other"))
    assert shake.chosen == OTHER
    assert not shake.allocation


def test_contexts_are_listed() -> None:
    shake = begun()
    shake.receive(option(nbd.OPT_STRUCTURED_REPLY))
    for query in (b"", text("base:")):
        data = text("disk") + nbd.U32.pack(1 if query else 0) + query
        assert replies(shake.receive(option(nbd.OPT_LIST_META_CONTEXT, data)))[0][1] == nbd.REP_META_CONTEXT


def test_options_unknown_here_are_said_to_be_unsupported() -> None:
    shake = begun()
    for number in (nbd.OPT_STARTTLS, 4, 11, 4_000_000_000):
        assert replies(shake.receive(option(number)))[0][:2] == (number, nbd.REP_ERR_UNSUP)
    assert replies(shake.receive(option(nbd.OPT_ABORT)))[0][1] == nbd.REP_ACK
    assert shake.closed


def test_data_that_does_not_fit_an_option_is_invalid_and_the_handshake_goes_on() -> None:
    shake = begun()
    for number, data in (
        (nbd.OPT_LIST, b"x"),
        (nbd.OPT_GO, b""),
        (nbd.OPT_GO, nbd.U32.pack(0xFFFFFFFF) + b"abc"),
        (nbd.OPT_INFO, text("disk") + nbd.U16.pack(9)),
        (nbd.OPT_INFO, text("disk") + nbd.U16.pack(0) + b"more"),
    ):
        assert replies(shake.receive(option(number, data)))[0][1] == nbd.REP_ERR_INVALID
    assert not shake.closed
    shake.receive(go("disk"))
    assert shake.chosen == DISK


def test_wrong_magic_flags_and_endless_options_end_it() -> None:
    assert_closed(nbd.CLIENT_FLAGS.pack(0))
    assert_closed(nbd.CLIENT_FLAGS.pack(0xFFFF))
    good = nbd.CLIENT_FLAGS.pack(nbd.FIXED_NEWSTYLE)
    assert_closed(good + b"GET / HTTP/1.1\r\n\r\n")
    assert_closed(good + nbd.OPTION.pack(nbd.OPTION_MAGIC, nbd.OPT_GO, 1 << 31))
    assert_closed(good + option(nbd.OPT_LIST) * 300)


def assert_closed(said: bytes) -> None:
    shake = Handshake(Two())
    shake.receive(said)
    assert shake.closed


def test_any_bytes_are_survived() -> None:
    rng = random.Random(11)
    good = nbd.CLIENT_FLAGS.pack(nbd.FIXED_NEWSTYLE) + option(nbd.OPT_STRUCTURED_REPLY) + go("disk", 3) + option(nbd.OPT_LIST)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        shake = Handshake(Two())
        at = 0
        while at < len(data):
            step = rng.randrange(1, 40)
            shake.receive(bytes(data[at : at + step]))
            at += step
