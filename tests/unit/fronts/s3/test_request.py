"""Requests taken apart."""

from typing import Any

import pytest

from objstore.errors import InvalidArgument
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request, bucket_of_host, header_table, parse_query


def parsed(path: str, query: str = "", host: str = "h", domains: tuple[str, ...] = ()) -> S3Request:
    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    scope = {"method": "GET", "raw_path": path.encode("latin-1"), "query_string": query.encode(), "headers": [(b"host", host.encode())]}
    made = S3Request(scope, receive, "1")
    made.parse(scope, domains)
    return made


@pytest.mark.parametrize(
    ("path", "bucket", "key", "resource"),
    [
        ("/", "", "", "/"),
        ("/b", "b", "", "/b"),
        ("/b/", "b", "", "/b"),
        ("/b//", "b", "/", "/b//"),
        ("/b/./../k", "b", "./../k", "/b/./../k"),
        ("/b/a%2Fb%20c+d", "b", "a/b c+d", "/b/a/b c+d"),
        ("/%62/%C3%BC", "b", "ü", "/b/ü"),
        ("/b/\xc3\xbc", "b", "ü", "/b/ü"),
        ("/b/k%00", "b", "k\0", "/b/k\0"),
        ("/b/100%", "b", "100%", "/b/100%"),
    ],
)
def test_bucket_and_key_come_from_the_raw_path(path: str, bucket: str, key: str, resource: str) -> None:
    made = parsed(path)
    assert (made.bucket, made.key, made.resource) == (bucket, key, resource)


def test_names_must_be_utf8() -> None:
    for path, query in (("/b/%ff", ""), ("/%ff/k", ""), ("/b", "prefix=%ff"), ("/b", "%ff=1")):
        with pytest.raises(S3Refused, match="URI"):
            parsed(path, query)


@pytest.mark.parametrize("path", ["//", "///", "//k", "//%2F", "//?"])
def test_a_key_without_a_bucket_is_no_request(path: str) -> None:
    with pytest.raises(S3Refused, match="URI"):
        parsed(path)
    made = parsed(path, host="b.localhost", domains=("localhost",))
    assert made.bucket == "b", "where the host names the bucket the path is all key"
    assert made.key


def test_the_bucket_may_be_in_the_host() -> None:
    domains = ("s3.example.com", "localhost")
    for host, bucket in (
        ("b.s3.example.com", "b"), ("a.b.S3.Example.com:9000", "a.b"), ("s3.example.com", ""), ("b.localhost:1", "b"),
        ("example.com", ""), ("[::1]:80", ""), ("xs3.example.com", ""), ("", ""),
    ):  # fmt: skip
        assert bucket_of_host(host, domains) == bucket
    made = parsed("/b2//k", host="b1.localhost", domains=domains)
    assert (made.bucket, made.key) == ("b1", "b2//k")
    assert parsed("/", host="b1.localhost", domains=domains).key == ""


def test_queries_are_decoded_and_the_first_of_a_name_counts() -> None:
    assert parse_query("a=1&b&c=x%2By+z&a=2&=e&&d==") == {"a": "1", "b": "", "c": "x+y z", "": "e", "d": "="}


def test_headers_are_joined_unless_there_must_be_one() -> None:
    table, amz = header_table([(b"x-amz-meta-a", b"1"), (b"x-amz-meta-a", b"2"), (b"if-match", b"x"), (b"x", b"\xff")])
    assert table == {"x-amz-meta-a": "1,2", "if-match": "x", "x": "\xff"}
    assert amz == {"x-amz-meta-a": "1,2"}
    for name in (b"authorization", b"x-amz-date", b"range", b"x-amz-copy-source", b"content-md5"):
        with pytest.raises(InvalidArgument):
            header_table([(name, b"1"), (name, b"1")])
