"""Listings as text, JSON and XML."""

from xml.etree import ElementTree

import pytest

from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.listing import Wanted, rendered, version_item, wanted_of, within
from objstore.fronts.swift.request import SwiftRequest
from objstore.objects.api import ObjectInfo


def request(query: bytes = b"", accept: bytes = b"") -> SwiftRequest:
    headers = [(b"accept", accept)] if accept else []
    made = SwiftRequest({"method": "GET", "path": "/", "raw_path": b"/v1/a/c", "query_string": query, "headers": headers}, None, "tx", None)  # type: ignore[arg-type]
    made.parse()
    return made


@pytest.mark.parametrize(
    ("query", "accept", "form"),
    [
        (b"", b"", "text"), (b"format=json", b"", "json"), (b"format=XML", b"", "xml"), (b"format=odd", b"", "text"),
        (b"", b"application/json", "json"), (b"", b"text/xml;q=0.5,application/json;q=0.4", "xml"), (b"", b"*/*", "text"),
        (b"", b"image/png, */*;q=0.1", "text"), (b"format=json", b"text/plain", "json"),
    ],
)  # fmt: skip
def test_the_form_is_what_the_query_or_the_header_says(query: bytes, accept: bytes, form: str) -> None:
    assert wanted_of(request(query, accept), 100).form == form


@pytest.mark.parametrize(("query", "accept"), [(b"limit=101", b""), (b"limit=x", b""), (b"", b"image/png"), (b"", b"text/plain;q=x")])
def test_what_cannot_be_listed_is_refused(query: bytes, accept: bytes) -> None:
    with pytest.raises(SwiftRefused):
        wanted_of(request(query, accept), 100)


def test_names_are_written_so_that_they_are_read_back() -> None:
    odd = rendered(Wanted("xml", 10), [("a\r\ufffe\uffff\n", None)], root="container", name="c", element="object", headers=[])
    (subdir,) = ElementTree.fromstring(bytes(odd.body))
    assert (subdir.get("name"), subdir.findtext("name")) == ("a\r\ufffd\ufffd\n",) * 2
    items = [('<&">\x01', {"bytes": 1}), ("sub/", None)]
    xml = rendered(Wanted("xml", 10), items, root="container", name="c&d", element="object", headers=[]).body  # type: ignore[arg-type]
    assert b'<container name="c&amp;d"><object><name>&lt;&amp;"&gt;\xef\xbf\xbd</name>' in bytes(xml)
    assert b'<subdir name="sub/"><name>sub/</name></subdir>' in bytes(xml)
    json = rendered(Wanted("json", 10), items, root="container", name="c", element="object", headers=[]).body  # type: ignore[arg-type]
    assert bytes(json) == b'[{"name":"<&\\">\\u0001","bytes":1},{"subdir":"sub/"}]'


def test_markers_turn_round_with_the_listing() -> None:
    items = [(name, None) for name in "abcde"]
    assert [name for name, _ in within(items, Wanted("text", 2, marker="b"))] == ["c", "d"]
    assert [name for name, _ in within(items, Wanted("text", 2, marker="d", end_marker="a", reverse=True))] == ["c", "b"]


def test_names_behind_a_marker_inside_a_folder_make_it_one_of_them() -> None:
    items = [("a/", None), ("b", {"bytes": 1})]
    assert [name for name, _ in within(items, Wanted("text", 1, marker="a/b", delimiter="/"))] == ["a/"]
    assert [name for name, _ in within(items, Wanted("text", 1, marker="a/", delimiter="/"))] == ["b"]
    assert [name for name, _ in within([("b", {"bytes": 1})], Wanted("text", 1, marker="b/c"))] == []


def test_a_delete_marker_is_shown_as_one() -> None:
    name, facts = version_item(ObjectInfo("k", 0, "", 0, version_id="v1", is_delete_marker=True))
    assert facts is not None
    assert (name, facts["content_type"], facts["version_id"]) == ("k", "application/x-deleted;swift_versions_deleted=1", "v1")
