"""Listings through boto3 and raw: order, pages, prefixes, encodings, limits."""

from typing import Any
from xml.etree import ElementTree

import pytest

from objstore.fronts.s3.listing import continuation_token, parse_continuation_token
from tests.support.s3_raw import call
from tests.support.s3_server import Running

KEYS = ["a", "a/b", "a/c/d", "b<&>\"'", "b c", "b+c", "b/1", "c\x01d", "ü", "日本/x", "\U0001f600"]


@pytest.fixture(scope="module")
def full(s3: Any) -> str:
    s3.create_bucket(Bucket="listed")
    for key in KEYS:
        s3.put_object(Bucket="listed", Key=key, Body=key.encode())
    return "listed"


def keys(page: dict[str, Any]) -> list[str]:
    return [found["Key"] for found in page.get("Contents", [])]


def prefixes(page: dict[str, Any]) -> list[str]:
    return [found["Prefix"] for found in page.get("CommonPrefixes", [])]


def test_keys_come_in_byte_order_however_they_are_encoded(server: Running, s3: Any, full: str) -> None:
    assert keys(s3.list_objects_v2(Bucket=full)) == sorted(KEYS, key=str.encode)
    plain = [key for key in sorted(KEYS, key=str.encode) if "\x01" not in key]
    answer = call(server, "GET", f"/{full}")
    assert b"<Key>c&#x1;d</Key>" in answer.body
    root = ElementTree.fromstring(answer.body.replace(b"&#x1;", b"?"))
    found = [node.text for node in root.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")]
    assert [key for key in found if key != "c?d"] == plain
    assert b"<Key>b%3C%26%3E%22%27</Key><" in call(server, "GET", f"/{full}?encoding-type=url").body


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("call_name", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_pages_add_up(s3: Any, full: str, size: int, call_name: str, delimiter: str) -> None:
    arguments = {"Bucket": full, **({"Delimiter": delimiter} if delimiter else {})}
    pages = list(s3.get_paginator(call_name).paginate(**arguments, PaginationConfig={"PageSize": size}))
    found = [key for page in pages for key in keys(page)]
    common = [prefix for page in pages for prefix in prefixes(page)]
    assert all(len(keys(page)) + len(prefixes(page)) <= size for page in pages)
    assert [page["IsTruncated"] for page in pages] == [True] * (len(pages) - 1) + [False]
    if delimiter:
        assert common == ["a/", "b/", "日本/"]
        assert found == [key for key in sorted(KEYS, key=str.encode) if "/" not in key]
    else:
        assert found == sorted(KEYS, key=str.encode)


def test_version_2_echoes_what_was_asked(s3: Any, full: str) -> None:
    page = s3.list_objects_v2(Bucket=full, Prefix="a", Delimiter="/", StartAfter="a", MaxKeys=5, FetchOwner=True)
    assert (keys(page), prefixes(page), page["KeyCount"]) == ([], ["a/"], 1)
    assert (page["Prefix"], page["Delimiter"], page["StartAfter"], page["MaxKeys"]) == ("a", "/", "a", 5)
    first = s3.list_objects_v2(Bucket=full, MaxKeys=1, FetchOwner=True)
    assert first["Contents"][0]["Owner"]["DisplayName"] == "alice"
    token = first["NextContinuationToken"]
    second = s3.list_objects_v2(Bucket=full, MaxKeys=1, ContinuationToken=token)
    assert (second["ContinuationToken"], keys(second)) == (token, ["a/b"])
    assert "Owner" not in second["Contents"][0]
    empty = s3.list_objects_v2(Bucket=full, ContinuationToken="")
    assert (empty["ContinuationToken"], len(empty["Contents"])) == ("", len(KEYS))


def test_version_1_gives_a_next_marker_only_with_a_delimiter(s3: Any, full: str) -> None:
    plain = s3.list_objects(Bucket=full, MaxKeys=2)
    assert (plain["Marker"], plain["IsTruncated"], "NextMarker" in plain) == ("", True, False)
    assert plain["Contents"][0]["Owner"]["DisplayName"] == "alice"
    grouped = s3.list_objects(Bucket=full, MaxKeys=2, Delimiter="/")
    assert (keys(grouped), prefixes(grouped), grouped["NextMarker"]) == (["a"], ["a/"], "a/")
    rest = s3.list_objects(Bucket=full, Delimiter="/", Marker="a/")
    assert (rest["Marker"], prefixes(rest)) == ("a/", ["b/", "日本/"])


def test_limits(server: Running, full: str) -> None:
    for query in ("", "&list-type=2"):
        zero = call(server, "GET", f"/{full}?max-keys=0{query}")
        assert (zero.status, zero.value("IsTruncated"), b"<Contents>" in zero.body) == (200, "false", False)
        assert call(server, "GET", f"/{full}?max-keys=5000{query}").value("MaxKeys") == "1000"
        assert call(server, "GET", f"/{full}?max-keys={query}").value("MaxKeys") == "1000"
        for odd in ("x", "-1", "1.5", "%0A", "9" * 40, "%D9%A3"):
            assert call(server, "GET", f"/{full}?max-keys={odd}{query}").code == "InvalidArgument", odd
        assert call(server, "GET", f"/{full}?encoding-type=base64{query}").code == "InvalidArgument"
        assert call(server, "GET", f"/no-such-bucket?max-keys=0{query}").code == "NoSuchBucket"
    for token in ("x", "%C3%BC", "AAAA", continuation_token("k")[:-3] + "%25"):
        assert call(server, "GET", f"/{full}?list-type=2&continuation-token={token}").code == "InvalidArgument"


def test_odd_prefixes_and_delimiters(server: Running, s3: Any, full: str) -> None:
    assert keys(s3.list_objects_v2(Bucket=full, Prefix="b ")) == ["b c"]
    assert prefixes(s3.list_objects_v2(Bucket=full, Delimiter="c\x01")) == ["c\x01"]
    assert keys(s3.list_objects_v2(Bucket=full, Prefix="zzz")) == []
    assert "<Delimiter>" not in call(server, "GET", f"/{full}?delimiter=").body.decode()
    assert call(server, "GET", f"/{full}?prefix=%3C&encoding-type=url").value("Prefix") == "%3C"


def test_versions_of_a_bucket_without_versioning_are_null(s3: Any, full: str) -> None:
    page = s3.list_object_versions(Bucket=full)
    assert [(found["Key"], found["VersionId"], found["IsLatest"]) for found in page["Versions"]] == [
        (key, "null", True) for key in sorted(KEYS, key=str.encode)
    ]
    assert page["Versions"][0]["Owner"]["DisplayName"] == "alice"
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=full, Delimiter="/", PaginationConfig={"PageSize": 2})
    found = [item for page in pages for item in [*[v["Key"] for v in page.get("Versions", [])], *prefixes(page)]]
    assert sorted(found, key=str.encode) == sorted(["a/", "b/", "日本/", *(key for key in KEYS if "/" not in key)], key=str.encode)
    assert "Versions" not in s3.list_object_versions(Bucket=full, MaxKeys=0)


def test_a_version_marker_needs_a_key_marker(server: Running, full: str) -> None:
    assert call(server, "GET", f"/{full}?versions&version-id-marker=null").code == "InvalidArgument"
    assert call(server, "GET", f"/{full}?versions&key-marker=a&version-id-marker=odd").code == "InvalidArgument"


def test_continuation_tokens_round_trip() -> None:
    for key in ("", "a", "日本/\x00", "x" * 1024):
        assert parse_continuation_token(continuation_token(key)) == key
