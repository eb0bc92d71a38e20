from hypothesis import given
from hypothesis import strategies as st

from objstore.core.ranges import parse_range, resolve_range
from objstore.errors import InvalidRange

edge = st.one_of(st.none(), st.integers(0, 12))


@given(edge, edge, st.integers(0, 10))
def test_a_resolved_range_is_the_slice_that_the_header_means(first: int | None, last: int | None, size: int) -> None:
    if first is None and last is None:
        return
    if first is not None and last is not None and last < first:
        return
    data = bytes(range(size))
    begin = size - min(last or 0, size) if first is None else first
    wanted = data[begin : None if first is None or last is None else last + 1]
    try:
        offset, length = resolve_range(first, last, size)
    except InvalidRange:
        assert wanted == b""
    else:
        assert data[offset : offset + length] == wanted
        assert wanted


@given(st.one_of(st.none(), st.integers(0, 10**17)), st.one_of(st.none(), st.integers(0, 10**17)))
def test_rendered_ranges_parse_to_themselves(first: int | None, last: int | None) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    meaningless = (first is None and last is None) or (first is not None and last is not None and last < first)
    assert parse_range(header) == (None if meaningless else (first, last))


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_range(text)
    parse_range(f"bytes={text}")
