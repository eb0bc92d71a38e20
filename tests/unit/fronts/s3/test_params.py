"""Headers and parameters, parsed: good ones, odd ones, hostile ones."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.errors import InvalidArgument, MetadataTooLarge, Refused
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.params import (
    attributes_of,
    check_tags,
    conditions_of,
    header_bytes,
    header_text,
    parse_copy_range,
    parse_copy_source,
    parse_number,
    parse_part_number,
    parse_tagging_header,
    parse_version,
    range_of,
    refuse_unbuilt,
    stored_encoding,
)
from objstore.fronts.s3.times import parse_http_date
from objstore.objects.api import NO_CONDITIONS


@given(st.binary(max_size=60))
def test_header_values_come_back_byte_for_byte(raw: bytes) -> None:
    text = header_text(raw.decode("latin-1"))
    assert header_bytes(text) == raw
    text.encode()  # and what is stored is text


@pytest.mark.parametrize("text", ["\uef80\u010a", "\uefff\u010d\u010aSet-Cookie: x", "ü\uef8d"])
def test_no_text_becomes_a_header_with_line_ends(text: str) -> None:
    assert header_bytes(text) == text.encode()
    assert header_bytes(header_text(text.encode().decode("latin-1"))) == text.encode()


def test_utf8_header_values_are_text() -> None:
    assert header_text("ü".encode().decode("latin-1")) == "ü"


def test_conditions_are_none_or_parsed() -> None:
    assert conditions_of({"range": "x"}) is NO_CONDITIONS
    got = conditions_of({"if-match": '"a", W/"b"', "if-none-match": "*", "if-modified-since": "x"})
    assert (got.if_match, got.if_none_match, got.if_modified_since_us) == (("a", "b"), ("*",), None)
    assert conditions_of({"x-amz-copy-source-if-match": "a"}, "x-amz-copy-source-").if_match == ("a",)


def test_ranges() -> None:
    found = range_of({"range": "bytes=1-2"})
    assert found is not None
    assert (found.first, found.last) == (1, 2)
    assert range_of({}) is None
    assert range_of({"range": "bytes=1-2,5-9"}) is None
    assert parse_copy_range(None) == (None, None)
    assert parse_copy_range("bytes=0-0") == (0, 0)


def test_versions_are_null_or_well_formed() -> None:
    assert (parse_version(None), parse_version("null"), parse_version("0" * 24)) == ("", "null", "0" * 24)
    for odd in ("", "x", "0" * 23, "G" * 24):
        with pytest.raises(InvalidArgument):
            parse_version(odd)


def test_numbers() -> None:
    assert parse_number(None, "n", default=7) == 7
    assert parse_number("", "n", default=7) == 7
    assert parse_number("5", "n", default=7, most=3) == 3
    for odd in ("-1", "+1", "1 ", "x", "٣", "2147483648", "9" * 5000, "0"):
        with pytest.raises(InvalidArgument):
            parse_number(odd, "n", default=7, least=1)
    assert (parse_part_number("1"), parse_part_number("10000")) == (1, 10_000)


def test_the_transfers_coding_is_not_stored() -> None:
    for text, stored in (("aws-chunked", ""), ("gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("AWS-CHUNKED , br", "br"), ("", "")):
        assert stored_encoding(text) == stored
    assert attributes_of({"content-encoding": "aws-chunked"}, {}).headers == {}


def test_tags_are_checked() -> None:
    assert parse_tagging_header("a=1&b=&c&d=x%20y+z") == {"a": "1", "b": "", "c": "", "d": "x y z"}
    assert check_tags([("k" * 128, "v" * 256)]) == {"k" * 128: "v" * 256}
    for odd in ("=1", "a=%00", "a=1&a=1", "&".join(f"k{n}" for n in range(11))):
        with pytest.raises(S3Refused):
            parse_tagging_header(odd)
    with pytest.raises(InvalidArgument):
        parse_tagging_header("a=%ff")


def test_copy_sources() -> None:
    source = parse_copy_source({"x-amz-copy-source": "/b/a%2Fb%3FversionId%3Dx?versionId=null", "x-amz-copy-source-if-match": '"e"'})
    assert (source.bucket, source.key, source.version_id, source.conditions.if_match) == ("b", "a/b?versionId=x", "null", ("e",))
    assert parse_copy_source({"x-amz-copy-source": "b/k?versionId="}).version_id == ""


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_parsers_are_total(text: str) -> None:
    calls: list[Any] = [
        lambda: parse_copy_source({"x-amz-copy-source": text}), lambda: parse_copy_range(text), lambda: parse_tagging_header(text),
        lambda: parse_version(text), lambda: parse_number(text, "n", default=1), lambda: parse_part_number(text), lambda: parse_http_date(text),
        lambda: conditions_of({"if-match": text, "if-modified-since": text}), lambda: range_of({"range": text}),
        lambda: attributes_of({"content-encoding": text, "x-amz-meta-a": text}, {"x-amz-meta-a": text}), lambda: refuse_unbuilt({"x-amz-acl": text}),
    ]  # fmt: skip
    for call in calls:
        try:
            call()
        except Refused:
            continue


@pytest.mark.parametrize("filler", ["0-1,", "a", " ", '"', ",", "=", "%", "&", "(", "1"])
def test_long_values_cost_no_time(filler: str) -> None:
    text = (filler * 65536)[:65536]
    started = time.process_time()
    for call in (
        lambda: range_of({"range": "bytes=" + text}), lambda: conditions_of({"if-match": text}), lambda: parse_http_date(text),
        lambda: parse_tagging_header(text), lambda: parse_copy_source({"x-amz-copy-source": text}), lambda: parse_version(text),
        lambda: stored_encoding(text), lambda: parse_copy_range("bytes=" + text), lambda: header_text(text),
    ):  # fmt: skip
        before = time.process_time()
        with contextlib.suppress(Refused):
            call()
        assert time.process_time() - before < 0.25
    assert time.process_time() - started < 1


def test_headers_that_are_kept_have_a_limit_together() -> None:
    half = {"content-disposition": "x" * 4096, "content-type": "y" * 4096}
    assert attributes_of(half, {}).content_type == "y" * 4096
    for name in ("cache-control", "expires", "content-language"):
        with pytest.raises(MetadataTooLarge):
            attributes_of({**half, name: "z"}, {})
