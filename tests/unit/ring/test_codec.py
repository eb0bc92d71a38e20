import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_128_digest

import ring.codec
from ring.builder import Add, Remove, change, create, finish
from ring.codec import MAGIC, decode, encode
from ring.lookup import Ring
from ring.model import RingError
from tests.unit.ring.rings import a_device, a_spec, devices, rows_of

NOW_S = 1_700_000_000
GOLDEN = Path(__file__).parent / "golden"
PREFIX = struct.Struct("<8sHHIQQII")


def in_handover() -> Ring:
    ring = create(a_spec(part_power=4), devices(5, zones=2, weights=(1, 2)))
    ring = finish(change(ring, [Remove(1)], now_s=NOW_S))
    return change(ring, [Add(a_device(9, zone="z1")), Remove(3)], now_s=NOW_S + 3600)


def sealed(body: bytes) -> bytes:
    """A file whose length and checksum are right, whatever is in it."""
    size = struct.pack("<Q", len(body) + 16)
    body = body[:16] + size + body[24:]
    return body + xxh3_128_digest(body)


def rebuilt(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another header."""
    fields = list(PREFIX.unpack_from(data))
    header = json.loads(data[40 : 40 + fields[3]])
    edit(header)
    raw = json.dumps(header).encode()
    tables = data[40 + fields[3] : -16]
    fields[3] = len(raw)
    return sealed(PREFIX.pack(*fields) + raw + tables)


def refused(data: bytes) -> str:
    with pytest.raises(RingError) as caught:
        decode(data)
    return str(caught.value)


@pytest.mark.parametrize(
    "make", [in_handover, lambda: create(a_spec(), devices(3)), lambda: create(a_spec(replicas=1, part_power=0), devices(1))]
)
def test_a_ring_comes_back_as_it_was(make: Callable[[], Ring]) -> None:
    ring = make()
    again = decode(encode(ring))
    assert again == ring
    assert encode(again) == encode(ring)
    assert again.moving() == ring.moving()
    assert again.retired == ring.retired


def test_the_first_format_is_read_for_ever() -> None:
    ring = decode((GOLDEN / "ring-v1.ring").read_bytes())
    expected = json.loads((GOLDEN / "ring-v1.json").read_text())
    assert ring.epoch == expected["epoch"]
    assert [ring.spec.policy, ring.spec.replica_count, ring.spec.part_power, ring.spec.hash_seed] == expected["spec"][:4]
    assert [ring.spec.min_part_hours, ring.spec.overload] == expected["spec"][4:]
    assert ring.next_id == expected["next_id"]
    assert sorted(ring.retired) == expected["retired"]
    assert [
        [d.id, d.node, d.address, d.region, d.zone, d.weight, d.incarnation.hex(), d.path] for d in ring.devices.values()
    ] == expected["devices"]  # fmt: skip
    assert [list(row) for row in rows_of(ring)] == expected["current"]
    assert {str(p): list(ring.previous(p) or ()) for p in ring.moving()} == expected["previous"]
    assert list(ring.moved_table()) == expected["moved_s"]
    assert [ring.partition(bytes(8), b"key-%d" % i) for i in range(8)] == expected["partitions"]


def test_the_same_ring_gives_the_bytes_of_the_first_format() -> None:
    golden = (GOLDEN / "ring-v1.ring").read_bytes()
    assert encode(decode(golden)) == golden


def test_every_truncation_is_refused() -> None:
    data = encode(in_handover())
    for length in range(len(data)):
        refused(data[:length])
    assert "it is empty" in refused(b"")


def test_every_flipped_bit_is_refused() -> None:
    data = encode(in_handover())
    for offset in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << bit
            refused(bytes(flipped))


def test_what_is_added_is_refused() -> None:
    data = encode(in_handover())
    assert "cut off or added to" in refused(data + b"\x00")
    assert "cut off or added to" in refused(data + data)


def test_foreign_files_are_refused_and_never_executed(tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    bomb = b"cposix\nsystem\n(S'touch " + str(witness).encode() + b"'\ntR."
    for foreign in (bomb, b"R1NG" + bytes(100), b"\x80\x04" + bytes(200), b"{}", MAGIC, MAGIC + bytes(200), sealed(MAGIC + bomb * 10)):
        refused(foreign)
    header_bomb = rebuilt(encode(in_handover()), lambda header: header.update(policy=bomb.decode()))
    refused(header_bomb)
    assert not witness.exists()


def test_a_newer_format_asks_for_a_newer_program() -> None:
    data = encode(in_handover())
    assert "format version 2" in refused(sealed(data[:8] + b"\x02\x00" + data[10:-16]))
    assert "upgrade" in refused(sealed(data[:8] + b"\x02\x00" + data[10:-16]))


@pytest.mark.parametrize(
    ("offset", "raw"),
    [
        (10, b"\x01\x00"),  # flags
        (12, b"\xff\xff\xff\xff"),  # header longer than the file
        (12, b"\x00\x00\x00\x00"),
        (24, bytes(8)),  # epoch 0
        (24, b"\xff" * 8),
        (32, b"\xff\xff\xff\xff"),  # moving partitions
        (32, b"\x00\x00\x00\x00"),
        (36, b"\x01\x00\x00\x00"),  # reserved
    ],
)
def test_bad_fixed_fields_are_refused_though_the_checksum_is_right(offset: int, raw: bytes) -> None:
    data = encode(in_handover())
    refused(sealed(data[:offset] + raw + data[offset + len(raw) : -16]))


@pytest.mark.parametrize(
    "edit",
    [
        lambda h: h.update(extra=1),
        lambda h: h.pop("next_id"),
        lambda h: h.update(next_id="5"),
        lambda h: h.update(next_id=0),
        lambda h: h.update(next_id=1 << 80),
        lambda h: h.update(devices={}),
        lambda h: h["devices"].reverse(),
        lambda h: h["devices"].pop(),
        lambda h: h["devices"][0].update(id=1.5),
        lambda h: h["devices"][0].update(id=-1),
        lambda h: h["devices"][0].update(incarnation="00"),
        lambda h: h["devices"][0].update(incarnation="zz" * 8),
        lambda h: h["devices"][0].update(incarnation="0" * 15),
        lambda h: h["devices"][0].update(weight="1"),
        lambda h: h["devices"][0].update(weight=-1),
        lambda h: h["devices"][0].update(address="http://h"),
        lambda h: h["devices"][0].update(owner="me"),
        lambda h: h["devices"][1].update(h["devices"][0]),
        lambda h: h.update(retired=[3, 3]),
        lambda h: h.update(retired=[0]),
        lambda h: h["spec"].update(part_power=20),
        lambda h: h["spec"].update(part_power=21),
        lambda h: h["spec"].update(part_power=3),
        lambda h: h["spec"].update(replica_count=2),
        lambda h: h["spec"].update(replica_count=10**9),
        lambda h: h["spec"].update(overload=1e999),
        lambda h: h["spec"].update(policy=""),
        lambda h: h["spec"].update(hash_seed=-1),
    ],
)
def test_bad_headers_are_refused_though_the_checksum_is_right(edit: Callable[[dict[str, Any]], None]) -> None:
    refused(rebuilt(encode(in_handover()), edit))


def test_a_header_of_a_million_brackets_is_refused() -> None:
    fields = list(PREFIX.unpack_from(encode(in_handover())))
    raw = b'{"spec":' + b"[" * 1_000_000
    fields[3] = len(raw)
    refused(sealed(PREFIX.pack(*fields) + raw))


def table_offsets(data: bytes) -> tuple[int, int, int]:
    """(current, moving, previous) tables of `in_handover`."""
    header_bytes, moving = PREFIX.unpack_from(data)[3], PREFIX.unpack_from(data)[6]
    current = 40 + header_bytes
    moving_at = current + 4 * 16 * 3 + 4 * 16
    return current, moving_at, moving_at + 4 * moving


@pytest.mark.parametrize("value", [77, 3, 0xFFFFFFFF])
def test_an_assignment_to_a_device_that_is_not_there_is_refused(value: int) -> None:
    data = encode(in_handover())
    current, _, _ = table_offsets(data)
    assert "names device" in refused(sealed(data[:current] + struct.pack("<I", value) + data[current + 4 : -16]))


def test_two_replicas_on_one_device_are_refused() -> None:
    data = encode(in_handover())
    current, _, _ = table_offsets(data)
    assert "on one device" in refused(sealed(data[: current + 4] + data[current : current + 4] + data[current + 8 : -16]))


def test_a_list_of_moving_partitions_that_is_out_of_order_is_refused() -> None:
    data = encode(in_handover())
    _, moving, _ = table_offsets(data)
    twice = data[: moving + 4] + data[moving : moving + 4] + data[moving + 8 : -16]
    assert "not in order" in refused(sealed(twice))
    beyond = data[:moving] + b"\xff\xff\xff\xff" + data[moving + 4 : -16]
    assert "not in order" in refused(sealed(beyond))


def test_a_moving_partition_that_does_not_move_is_refused() -> None:
    data = encode(in_handover())
    current, moving, previous = table_offsets(data)
    (first,) = struct.unpack_from("<I", data, moving)
    row = data[current + 12 * first : current + 12 * first + 12]
    assert "does not" in refused(sealed(data[:previous] + row + data[previous + 12 : -16]))


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(in_handover())
    monkeypatch.setattr(ring.codec, "MAX_FILE_BYTES", len(data) - 1)
    assert "is the limit" in refused(data)
    with pytest.raises(RingError, match="too large"):
        encode(in_handover())


def test_decode_takes_any_buffer() -> None:
    data = encode(in_handover())
    assert decode(bytearray(data)) == decode(memoryview(data)) == in_handover()
