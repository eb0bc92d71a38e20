"""Headers to values and back."""

import pytest

from objstore.errors import ObjstoreError
from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.headers import attributes_of, changes_of, conditions_of, etag_header, expiry_of, metadata_of, object_headers
from objstore.objects.api import NO_CONDITIONS, ObjectInfo

NOW_US = 1_700_000_000_000_000


def test_metadata_is_found_by_its_prefix() -> None:
    assert metadata_of({"x-object-meta-a": "1", "other": "2"}, "x-object-meta-") == {"a": "1"}
    with pytest.raises(SwiftRefused):
        metadata_of({"x-object-meta-": "1"}, "x-object-meta-")


def test_too_much_metadata_is_refused() -> None:
    with pytest.raises(ObjstoreError):
        metadata_of({f"x-object-meta-{number:03d}": "v" * 200 for number in range(30)}, "x-object-meta-")


def test_removals_are_changes_to_nothing() -> None:
    headers = {
        "x-container-meta-a": "1",
        "x-remove-container-meta-b": "x",
        "x-remove-container-meta-a": "x",
        "x-remove-container-meta-": "x",
    }
    assert changes_of(headers, "container") == {"a": "1", "b": ""}


def test_an_expiry_is_a_time_to_come() -> None:
    assert expiry_of({}, NOW_US) is None
    assert expiry_of({"x-delete-after": "10"}, NOW_US) == 1_700_000_010
    assert expiry_of({"x-delete-at": "1700000001", "x-delete-after": ""}, NOW_US) == 1_700_000_001
    assert expiry_of({"x-delete-at": "9" * 11}, NOW_US) == 9_999_999_999
    assert expiry_of({"x-delete-at": "1700000001", "x-remove-delete-at": "1"}, NOW_US) is None
    for headers, words in (
        ({"x-delete-at": "1700000000"}, "X-Delete-At in past"),
        ({"x-delete-after": "0"}, "X-Delete-After in past"),
        ({"x-delete-after": "-7"}, "X-Delete-After in past"),
        ({"x-delete-at": "9" * 16}, "Non-integer X-Delete-At"),
        ({"x-delete-at": "1.5"}, "Non-integer X-Delete-At"),
        ({"x-delete-after": "soon"}, "Non-integer X-Delete-After"),
    ):
        with pytest.raises(SwiftRefused) as refusal:
            expiry_of(headers, NOW_US)
        assert (refusal.value.status, refusal.value.message) == (400, words)


def test_what_a_writer_says_is_kept_and_shown() -> None:
    attributes = attributes_of(
        {"content-encoding": "gzip", "x-object-meta-a": "1", "x-object-meta-b": "", "x-other": "y"}, NOW_US, content_type="a/b"
    )
    assert (attributes.content_type, attributes.headers, attributes.metadata) == ("a/b", {"content-encoding": "gzip"}, {"a": "1", "b": ""})
    info = ObjectInfo("k", 3, "e" * 32, NOW_US + 1, headers=attributes.headers, metadata=attributes.metadata, content_type="a/b")
    shown = dict(object_headers(info))
    assert (shown[b"x-object-meta-a"], shown[b"content-encoding"], shown[b"etag"]) == (b"1", b"gzip", b"e" * 32)
    assert shown[b"last-modified"] == b"Tue, 14 Nov 2023 22:13:21 GMT", "rounded up"


def test_the_etag_of_what_was_made_of_parts_is_quoted() -> None:
    assert etag_header(ObjectInfo("k", 3, "abc-2", 0, part_count=2)) == b'"abc"', "without S3's count"


def test_no_conditional_header_is_no_condition() -> None:
    assert conditions_of({"etag": "x"}) is NO_CONDITIONS
    assert conditions_of({"if-none-match": "*"}).if_none_match == ("*",)
