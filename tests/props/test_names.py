from hypothesis import given
from hypothesis import strategies as st

from objstore.core import names

keys = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6).map(str.encode)
times = st.integers(0, 2**63)
tokens = st.binary(min_size=8, max_size=8)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_after_prefix_parts_the_names_with_the_prefix_from_those_above(prefix: bytes, name: bytes) -> None:
    bound = names.after_prefix(prefix)
    if name.startswith(prefix):
        assert not bound or name < bound
    elif name > prefix:
        assert bound
        assert name >= bound


@given(st.lists(st.tuples(keys, times, tokens), max_size=6))
def test_uploads_order_by_key_then_time(uploads: list[tuple[bytes, int, bytes]]) -> None:
    rows = [names.upload_name(key, names.new_upload_id(us, token)) for key, us, token in sorted(uploads)]
    assert rows == sorted(rows)
    for (key, us, _), row in zip(sorted(uploads), rows, strict=True):
        found, upload_id = names.split_upload_name(row)
        assert (found, names.upload_time_us(upload_id)) == (key, us)
        assert row < names.after_uploads_of(key)


@given(times, st.integers(1, names.PART_NUMBER_LIMIT), st.integers(1, names.PART_NUMBER_LIMIT), tokens, tokens)
def test_parts_order_by_number(us: int, low: int, high: int, one: bytes, other: bytes) -> None:
    low, high = min(low, high), max(low, high)
    upload_id = names.new_upload_id(us, one)
    first, second = names.part_name(upload_id, low, one), names.part_name(upload_id, high, other)
    assert names.split_part_name(first) == (upload_id, low)
    if low < high:
        assert first < names.after_part(upload_id, low) < second


@given(st.text(max_size=70))
def test_every_bucket_name_that_is_accepted_is_a_safe_row_name(name: str) -> None:
    try:
        names.check_bucket_name(name)
    except names.InvalidBucketName:
        return
    assert names.could_be_bucket(name)
    assert names.bucket_record_name("a", name) == f"bucket/a/{name}".encode()
