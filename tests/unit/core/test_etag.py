import hashlib

import pytest

from objstore.core.etag import bare_etag, is_md5_etag, md5_etag, multipart_etag, parse_etags, segments_etag


def test_the_etag_of_bytes_is_their_md5() -> None:
    assert md5_etag(b"hello") == "5d41402abc4b2a76b9719d911017c592"
    assert md5_etag(memoryview(b"")) == "d41d8cd98f00b204e9800998ecf8427e"


def test_a_multipart_etag_is_the_md5_of_the_parts_md5s_and_their_number() -> None:
    parts = [hashlib.md5(p).digest() for p in (b"a", b"b")]
    assert multipart_etag(p.hex() for p in parts) == hashlib.md5(b"".join(parts)).hexdigest() + "-2"


@pytest.mark.parametrize("text", ["abc", '"abc"', '"abc', 'abc"', ' "abc" '])
def test_quotes_around_an_etag_do_not_matter(text: str) -> None:
    assert bare_etag(text) == "abc"
    assert parse_etags(text) == ("abc",)


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ("*", ("*",)),
        ('"a","b"', ("a", "b")),
        ('"a" , W/"b",c', ("a", "b", "c")),
        ('"with,comma"', ("with,comma",)),
        ('W/"a"', ("a",)),
        ("abc-2", ("abc-2",)),
    ],
)
def test_lists_of_etags_are_taken_apart(header: str, tags: tuple[str, ...]) -> None:
    assert parse_etags(header) == tags


def test_multipart_etags_are_not_plain_md5s() -> None:
    assert is_md5_etag("5d41402abc4b2a76b9719d911017c592")
    assert not is_md5_etag("5d41402abc4b2a76b9719d911017c592-2")
    assert not is_md5_etag("5D41402ABC4B2A76B9719D911017C592")


def test_the_etag_of_segments_is_that_of_their_etags_with_their_number() -> None:
    assert segments_etag(["aa", "bb"]) == hashlib.md5(b"aabb").hexdigest() + "-2"
