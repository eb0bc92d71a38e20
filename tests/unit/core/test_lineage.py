import msgspec

from objstore.core.lineage import (
    NO_LINEAGE,
    Lineage,
    Shares,
    encode_lineage,
    encode_shares,
    lineage_of,
    owners_of,
    record_of,
    rename_token,
    shares_of,
)
from objstore.core.names import (
    is_share_name,
    is_upload_id,
    new_append_id,
    new_upload_id,
    part_name,
    share_name,
    shares_prefix,
    split_upload_name,
)
from objstore.core.rows import BodyKind, Kind, PartRef, Row, Space
from objstore.core.timestamp import ZERO

ROW = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0)
ONE, TWO = new_upload_id(1_800_000_000_000_000, bytes(8)), new_append_id(1_800_000_000_000_000, bytes(8))


def test_records_round_trip_and_other_rows_have_none() -> None:
    lineage = Lineage(owners={ONE: b"k"}, token=b"t", source=b"s")
    assert lineage_of(msgspec.structs.replace(ROW, record=encode_lineage(lineage))) == lineage
    assert lineage_of(ROW) is lineage_of(None) is NO_LINEAGE
    assert lineage_of(msgspec.structs.replace(ROW, kind=Kind.UPLOAD, record=b"else")) is NO_LINEAGE
    shared = msgspec.structs.replace(ROW, kind=Kind.RECORD, record=encode_shares(Shares(keys=(b"a",))))
    assert shares_of(shared) == (b"a",)
    assert shares_of(ROW) == shares_of(None) == ()


def test_what_an_object_was_made_of_is_kept_beside_whose_its_parts_are() -> None:
    assert record_of() == b""
    row = msgspec.structs.replace(ROW, record=record_of(owners={ONE: b"k"}, segments=b"s"))
    assert lineage_of(row) == Lineage(owners={ONE: b"k"}, segments=b"s")
    before = msgspec.structs.replace(ROW, record=msgspec.msgpack.encode([1, {ONE: b"k"}, b"", b"", ZERO]))
    assert lineage_of(before) == Lineage(owners={ONE: b"k"})


def test_parts_belong_to_the_key_unless_the_row_says_otherwise() -> None:
    parts = tuple(
        PartRef(space=Space.PARTS, name=part_name(i, 1, bytes(8)), size=1, etag="", origin=ZERO, number=n)
        for n, i in enumerate((ONE, ONE, TWO))
    )
    row = msgspec.structs.replace(ROW, body=BodyKind.MANIFEST, parts=parts)
    assert owners_of(row, b"k") == {ONE: b"k", TWO: b"k"}
    renamed = msgspec.structs.replace(row, record=encode_lineage(Lineage(owners={ONE: b"old"})))
    assert owners_of(renamed, b"k") == {ONE: b"old", TWO: b"k"}
    assert owners_of(ROW, b"k") == {}


def test_shares_have_names_that_no_upload_has() -> None:
    name, found = split_upload_name(shares_prefix(b"k\0", ONE))
    assert name == b"k\0"
    assert is_upload_id(found)
    assert len({ONE, TWO, found, split_upload_name(shares_prefix(b"k", TWO))[1]}) == 3  # ONE and TWO differ in their first digit alone
    names = {share_name(b"k", ONE, sharer) for sharer in (b"a", b"b", b"c" * 1024)}
    assert len(names) == 3
    assert all(is_share_name(name, shares_prefix(b"k", ONE)) for name in (*names, shares_prefix(b"k", ONE)))
    assert not is_share_name(share_name(shares_prefix(b"k", ONE), ONE, b"a"), shares_prefix(b"k", ONE))  # a key that looks like one


def test_a_rename_is_known_by_its_token_and_both_names() -> None:
    assert rename_token(b"t", b"a", b"b") == rename_token(b"t", b"a", b"b")
    assert len({rename_token(b"t", b"a", b"b"), rename_token(b"t", b"b", b"a"), rename_token(b"u", b"a", b"b")}) == 3
