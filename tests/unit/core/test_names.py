import pytest

from objstore.core import names
from objstore.errors import InvalidArgument, InvalidBucketName, InvalidKey, KeyTooLong, MetadataTooLarge


@pytest.mark.parametrize("name", ["abc", "a-b.c", "1a2", "a" * 63, "192.168.5.4a"])
def test_bucket_names_that_s3_allows_are_allowed(name: str) -> None:
    names.check_bucket_name(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 64, "Abc", "a_b", "a..b", "a.-b", "a-.b", "-abc", "abc-", ".abc", "abc.", "192.168.5.4", "a/b", "abc\n", "äbc"]
)
def test_bucket_names_that_s3_refuses_are_refused(name: str) -> None:
    with pytest.raises(InvalidBucketName):
        names.check_bucket_name(name)


def test_a_key_has_1_to_1024_bytes_of_utf8() -> None:
    assert names.object_name("ä" * 512) == ("ä" * 512).encode()
    with pytest.raises(KeyTooLong):
        names.object_name("ä" * 512 + "a")
    with pytest.raises(InvalidKey):
        names.object_name("")
    with pytest.raises(InvalidKey):
        names.object_name("\ud800")


def test_a_marker_may_be_empty_or_long_but_must_be_text() -> None:
    assert names.listing_bytes("") == b""
    assert len(names.listing_bytes("x" * 5000)) == 5000
    with pytest.raises(InvalidArgument):
        names.listing_bytes("\udfff")


def test_metadata_is_counted_in_bytes_of_names_and_values() -> None:
    names.check_metadata({"a": "x" * 2047})
    names.check_metadata({"a": "ä" * 1023, "b": ""})
    with pytest.raises(MetadataTooLarge):
        names.check_metadata({"a": "ä" * 1024})


@pytest.mark.parametrize(
    ("prefix", "after"), [(b"a", b"b"), (b"a/", b"a0"), (b"a\xff", b"b"), (b"a\xff\xff", b"b"), (b"\xff", b""), (b"", b"")]
)
def test_after_prefix_is_the_next_name_outside_the_prefix(prefix: bytes, after: bytes) -> None:
    assert names.after_prefix(prefix) == after


def test_uploads_list_by_key_then_by_the_time_they_were_begun() -> None:
    older = names.new_upload_id(1_000_000, b"\xff" * 8)
    newer = names.new_upload_id(1_000_001, b"\x00" * 8)
    assert names.is_upload_id(older)
    assert names.upload_time_us(newer) == 1_000_001
    listed = [names.upload_name(b"a", older), names.upload_name(b"a", newer), names.after_uploads_of(b"a"), names.upload_name(b"a!", older)]
    assert listed == sorted(listed)
    assert names.split_upload_name(listed[0]) == (b"a", older)


@pytest.mark.parametrize("text", ["", "x" * 32, "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n"])
def test_other_text_is_no_upload_id(text: str) -> None:
    assert not names.is_upload_id(text)


def test_parts_order_by_number_and_attempts_lie_between_the_bounds_of_their_part() -> None:
    upload_id = names.new_upload_id(1, b"\x01" * 8)
    first = names.part_name(upload_id, 1, b"\xff" * 8)
    second = names.part_name(upload_id, 2, b"\x00" * 8)
    last = names.part_name(upload_id, 10_000, b"\x00" * 8)
    assert first < names.after_part(upload_id, 1) < second < names.after_part(upload_id, 2) < last
    assert first.startswith(names.parts_prefix(upload_id))
    assert names.split_part_name(last) == (upload_id, 10_000)


@pytest.mark.parametrize("number", [0, -1, 10_001])
def test_part_numbers_outside_1_to_10000_are_refused(number: int) -> None:
    names.check_part_number(1)
    names.check_part_number(10_000)
    with pytest.raises(InvalidArgument):
        names.check_part_number(number)


def test_what_cannot_be_a_bucket_is_told_from_what_could() -> None:
    assert names.could_be_bucket("Container With Spaces")
    for name in ("", "a/b", "x" * 257, "\ud800"):
        assert not names.could_be_bucket(name)


def test_names_in_the_system_bucket_never_meet() -> None:
    account, bucket = "acct", "buck"
    made = {
        names.bucket_record_name(account, bucket),
        names.claim_name(account, bucket),
        names.gone_name(b"12345678"),
        names.record_prefix("user") + b"x",
    }
    assert len(made) == 4
    assert names.bucket_record_name(account, bucket).startswith(names.buckets_prefix(account))
    assert names.buckets_prefix(account).startswith(names.ALL_BUCKETS_PREFIX)


def test_a_part_that_shares_a_body_says_in_its_name_where_it_lies() -> None:
    upload_id = names.new_copy_id(1, b"\x01" * 8)
    plain = names.part_name(upload_id, 7, b"\x02" * 8)
    for anchor in (0, 1, 2**64 - 1, 0x0123456789ABCDEF):
        name = names.part_name(upload_id, 7, b"\x02" * 8, anchor)
        assert names.anchor_of(name) == anchor
        assert names.split_part_name(name) == names.split_part_name(plain) == (upload_id, 7)
        assert names.after_part(upload_id, 6) < name < names.after_part(upload_id, 7)
    for name in (plain, b"", b"@", plain + b"@" + b"x" * 16, b"1" * 16):
        assert names.anchor_of(name) is None


def test_ids_of_copies_are_none_of_uploads_or_appends() -> None:
    made = {make(1, b"\x01" * 8) for make in (names.new_copy_id, names.new_append_id, names.new_upload_id)}
    assert len({upload_id[0] for upload_id in made}) == 3
    assert not names.is_append_piece(names.part_name(names.new_copy_id(1, bytes(8)), 1, bytes(8)))


def test_the_name_of_a_body_says_in_the_ring_of_which_policy_it_lies() -> None:
    upload_id, attempt = "0" * 32, b"\xff" * 8
    plain = names.part_name(upload_id, 7, attempt)
    apart = names.part_name(upload_id, 7, attempt, policy="cold-2")
    shared = names.part_name(upload_id, 7, attempt, 2**63 + 5, policy="cold-2")
    assert [names.policy_of(name) for name in (plain, apart, shared)] == ["", "cold-2", "cold-2"]
    assert [names.anchor_of(name) for name in (plain, apart, shared)] == [None, None, 2**63 + 5]
    assert names.policy_of(names.part_name(upload_id, 7, attempt, 5)) == ""
    assert names.policy_of(b"") == ""
    assert {names.split_part_name(name) for name in (plain, apart, shared)} == {(upload_id, 7)}
    assert all(name.startswith(names.parts_prefix(upload_id)) for name in (plain, apart, shared))


def test_names_of_policies_are_short_and_plain() -> None:
    assert all(names.could_be_policy(name) for name in ("cold", "c", "cold-2", "a" * 32))
    assert not any(names.could_be_policy(name) for name in ("", "Cold", "2", "a_b", "a@b", "a~", "a" * 33, "\u00e4", "a\n"))
