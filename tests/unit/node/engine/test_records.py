import msgspec
import pytest

from objstore.core.rows import BodyKind, Kind, Row, encode_row
from objstore.core.timestamp import ZERO, ballot_at
from objstore.errors import DamagedRow
from objstore.node.engine.records import (
    IN_FAMILY,
    TABLES,
    Entry,
    Shadow,
    Table,
    blob_of,
    decode_entries,
    decode_entry,
    decode_shadow,
    flags_of,
    head_of,
    seal,
    seal_value,
    shadow_of,
    unseal,
)
from tests.support.engine_rig import ballot, row

KEY = b"bucket-1\x00name\x00\x00"
ENTRY = Entry(5, 17, ZERO, ballot_at(1, 1), 4096, 3, 12345, 4096, 1 << 63, 2, b"", b"row")
MOVED = msgspec.structs.replace(ENTRY, record_pack=9, record_offset=777)
GOLDEN = bytes.fromhex(
    "14bf738e6d2ea6d6019c0511c40c000000000000000000000000c40c000000000000000100000001cd100003cd3039cd1000cf800000000000000002c400c403726f77"
)
GOLDEN_MOVED = bytes.fromhex(
    "869693a264be2a9f019e0511c40c000000000000000000000000c40c000000000000000100000001cd100003cd3039cd1000cf800000000000000002c400c403726f7709cd0309"
)


def test_the_tables_are_those_of_the_index() -> None:
    assert TABLES == ("rows", "partitions", "blobs", "purge", "meta")


def test_an_entry_comes_back_as_it_was() -> None:
    assert decode_entry(KEY, seal_value(Table.ROWS, KEY, ENTRY)) == ENTRY


def test_golden_entry() -> None:
    """Stored entries of format version 1, before and since they name the place of their record: readable for ever."""
    assert decode_entry(KEY, GOLDEN) == ENTRY
    assert decode_entry(KEY, GOLDEN_MOVED) == MOVED
    assert seal_value(Table.ROWS, KEY, MOVED) == GOLDEN_MOVED


def test_an_entry_that_lives_off_another_payload_has_its_own_record() -> None:
    assert ENTRY.place == (3, 12345)
    assert MOVED.place == (9, 777)
    assert (shadow_of(MOVED).pack, shadow_of(MOVED).offset) == (9, 777)


def test_a_row_with_a_version_id_or_effects_is_of_a_family() -> None:
    assert not flags_of(head_of(row(ballot(1), b"x"))) & IN_FAMILY
    assert flags_of(head_of(row(ballot(1), b"x", version="ab" * 12))) & IN_FAMILY
    assert flags_of(head_of(row(ballot(1), b"x", effects=(b"a row",)))) & IN_FAMILY


def test_many_entries_are_decoded_as_each_by_itself() -> None:
    pairs = [
        (b"key-%d" % number, seal_value(Table.ROWS, b"key-%d" % number, msgspec.structs.replace(ENTRY, offset=number)))
        for number in range(9)
    ]
    keys, entries = decode_entries(pairs)
    assert list(zip(keys, entries, strict=True)) == [(key, decode_entry(key, value)) for key, value in pairs]
    assert decode_entries([]) == ([], [])
    for at, (key, value) in enumerate(pairs):
        for damaged in (value[:-1] + bytes((value[-1] ^ 1,)), b"\0" + value[1:], value[:8] + b"\2" + value[9:], value[:5]):
            with pytest.raises(DamagedRow) as failure:
                decode_entries([*pairs[:at], (key, damaged), *pairs[at + 1 :]])
            assert failure.value.facts["key"] == key


def test_any_flipped_bit_is_damage() -> None:
    for bit in range(len(GOLDEN) * 8):
        wrong = bytearray(GOLDEN)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedRow):
            decode_entry(KEY, bytes(wrong))


def test_any_cut_or_extended_value_is_damage() -> None:
    for wrong in (*(GOLDEN[:n] for n in range(len(GOLDEN))), GOLDEN + b"\x00"):
        with pytest.raises(DamagedRow):
            decode_entry(KEY, wrong)
        with pytest.raises(DamagedRow):
            unseal(Table.ROWS, KEY, wrong)


def test_a_value_under_another_key_or_in_another_table_is_damage() -> None:
    with pytest.raises(DamagedRow):
        decode_entry(KEY + b"x", GOLDEN)
    with pytest.raises(DamagedRow):
        decode_shadow(KEY, GOLDEN)
    for table in Table:
        for other in Table:
            if table is not other:
                with pytest.raises(DamagedRow):
                    unseal(other, KEY, seal(table, KEY, b"body"))


def test_a_shadow_has_what_the_entry_has() -> None:
    shadow = shadow_of(ENTRY)
    assert shadow == Shadow(ENTRY.promised, ENTRY.accepted, ENTRY.pack, ENTRY.offset, ENTRY.long_name)
    assert decode_shadow(KEY, seal_value(Table.PARTITIONS, KEY, shadow)) == shadow


def test_the_head_of_a_row_is_its_first_fields() -> None:
    full = Row(
        Kind.OBJECT,
        b"o" * 16,
        ballot(3),
        ballot(2),
        7,
        9,
        "etag",
        BodyKind.BLOB,
        b"digest",
        b"b" * 16,
        metadata={"a": "b"},
        tags={"c": "d"},
    )
    head = head_of(encode_row(full))
    assert (head.kind, head.origin, head.base, head.size, head.body, head.digest, head.blob) == (
        full.kind, full.origin, full.base, full.size, full.body, full.digest, full.blob,
    )  # fmt: skip


def test_no_row_has_an_empty_head() -> None:
    assert head_of(b"").kind == 0
    assert flags_of(head_of(b"")) == 0


def test_flags_hold_kind_and_body() -> None:
    entry = Entry(0, flags_of(head_of(row(ballot(1), blob=b"b" * 16))), ZERO, ZERO, 0, 1, 0, 0, 0, 1, b"", row(ballot(1), blob=b"b" * 16))
    assert (entry.kind, entry.body) == (Kind.OBJECT, BodyKind.BLOB)
    assert blob_of(entry) == b"b" * 16
    assert blob_of(ENTRY) == b""
    assert blob_of(None) == b""
