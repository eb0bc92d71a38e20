"""Containers as web sites."""

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import Swift

PUBLIC = ".r:*,.rlistings"


@pytest.fixture
def site(running: Running, swift: Swift, box: str) -> Swift:
    swift("POST", box, X_Container_Read=PUBLIC)
    return Swift(running, None)


class Links(HTMLParser):
    """Attributes and elements of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.hrefs: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.hrefs += [value or "" for name, value in attrs if name == "href"]


def location(headers: object) -> str:
    return urlsplit(headers["location"]).path  # type: ignore[index] # a mapping


def test_a_container_that_says_nothing_is_as_ever(swift: Swift, site: Swift, box: str) -> None:
    swift("PUT", f"{box}/o", b"x")
    assert site("GET", box).lines == ["o"]
    assert site("GET", f"{box}/nothing").status == 404


def test_the_index_stands_for_what_ends_in_a_slash(swift: Swift, site: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Web_Index="index.html")
    swift("PUT", f"{box}/index.html", b"home", Content_Type="text/html")
    swift("PUT", f"{box}/sub dir/index.html", b"sub")
    first = site("GET", box)
    assert (first.status, location(first.headers)) == (301, f"/v1/AUTH_test/{box}/")
    assert first.headers["location"].startswith("http://127.0.0.1")
    home = site.raw("GET", f"{site.path(box)}/")
    assert (home.status, home.body, home.headers["content-type"]) == (200, b"home", "text/html")
    moved = site("GET", f"{box}/sub dir")
    assert (moved.status, location(moved.headers)) == (301, f"/v1/AUTH_test/{box}/sub%20dir/")
    assert site("GET", f"{box}/sub dir/").body == b"sub"
    assert site("HEAD", f"{box}/sub dir/").headers["content-length"] == "3"
    assert site("GET", f"{box}/nowhere/").status == 404
    assert swift("GET", box).lines == ["index.html", "sub dir/index.html"]  # who has a token sees the container
    assert swift("GET", box, X_Web_Mode="true").status == 301


def test_what_has_no_index_is_listed_where_that_is_wanted(swift: Swift, site: Swift, box: str) -> None:
    swift("PUT", f"{box}/a.txt", b"x" * 1536, Content_Type="text/plain")
    swift("PUT", f"{box}/dir/b", b"x")
    swift("POST", box, X_Container_Meta_Web_Listings="true", X_Container_Meta_Web_Listings_CSS="style.css")
    page = site.raw("GET", f"{site.path(box)}/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=UTF-8")
    assert Links(page.body).hrefs == ["style.css", "dir/", "a.txt"]
    assert b'class="item type-text type-plain"' in page.body
    assert b'<td class="colsize">2Ki</td>' in page.body
    below = site("GET", f"{box}/dir/")
    assert Links(below.body).hrefs == ["../style.css", "../", "b"]
    assert (site("GET", f"{box}/dir").status, site("GET", f"{box}/nothing/").status, site("GET", f"{box}/nothing").status) == (
        301,
        404,
        404,
    )
    head = site("HEAD", f"{box}/dir/")
    assert (head.headers["content-length"], head.body) == (str(len(below.body)), b"")
    swift("POST", box, X_Container_Meta_Web_Listings="false", X_Container_Meta_Web_Index="i")
    assert site.raw("GET", f"{site.path(box)}/").status == 404


def test_names_are_text_in_listings_and_never_markup(swift: Swift, site: Swift, box: str) -> None:
    hostile = ["<script>alert(1)</script>", "javascript:alert(1)", '"onmouseover="x', "&amp;", "//evil.example/x", "ü'", "%3cb%3e"]
    for name in hostile:
        assert swift("PUT", f"{box}/{name}", b"", Content_Type='text/"><img src=x>').status == 201
    label = '"><script>x</script>'
    swift(
        "POST",
        box,
        X_Container_Meta_Web_Listings="on",
        X_Container_Meta_Web_Listings_Label=label,
        X_Container_Meta_Web_Listings_CSS='"><b>',
    )
    page = site.raw("GET", f"{site.path(box)}/")
    links = Links(page.body)
    assert set(links.tags) == {"html", "head", "meta", "title", "link", "body", "h1", "table", "tr", "th", "td", "a"}
    assert all(not urlsplit(href).scheme and not urlsplit(href).netloc for href in links.hrefs), links.hrefs
    assert len(links.hrefs) == len(hostile) + 1


def test_error_pages_take_the_place_of_401_and_404(swift: Swift, site: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Web_Error="error.html", X_Container_Meta_Web_Index="index.html")
    assert site("GET", f"{box}/nothing").body.startswith(b"<html><h1>Not Found")
    swift("PUT", f"{box}/404error.html", b"lost", Content_Type="text/html")
    swift("PUT", f"{box}/401error.html", b"who are you")
    lost = site("GET", f"{box}/nothing", If_None_Match="*", Range="bytes=0-0")
    assert (lost.status, lost.body, lost.headers["content-type"]) == (404, b"lost", "text/html")
    swift("POST", box, X_Container_Read=".r:*")
    unlisted = site.raw("GET", f"{site.path(box)}/")
    assert (unlisted.status, unlisted.body) == (401, b"who are you")
    assert "www-authenticate" in unlisted.headers
    swift("POST", box, X_Container_Read="")
    closed = site("GET", f"{box}/nothing")
    assert (closed.status, closed.body == b"who are you") == (401, False)


def test_a_private_container_shows_nothing_whatever_it_says(running: Running, swift: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Web_Listings="true", X_Container_Meta_Web_Index="index.html")
    swift("PUT", f"{box}/index.html", b"secret")
    stranger = Swift(running, None)
    for target in (f"{stranger.path(box)}", f"{stranger.path(box)}/", f"{stranger.path(box)}/index.html", f"{stranger.path(box)}/x/"):
        reply = stranger.raw("GET", target, headers={"X-Web-Mode": "true"})
        assert (reply.status, b"secret" in reply.body, "location" in reply.headers) == (401, False, False), target


def test_an_object_that_stands_for_a_directory_is_none(swift: Swift, site: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Web_Listings="true")
    swift("PUT", f"{box}/dir", b"", Content_Type="application/directory")
    swift("PUT", f"{box}/dir/o", b"x")
    moved = site("GET", f"{box}/dir")
    assert (moved.status, location(moved.headers)) == (301, f"/v1/AUTH_test/{box}/dir/")
    swift("POST", box, X_Container_Meta_Web_Directory_Type="text/directory")
    assert site("GET", f"{box}/dir").status == 200


def test_web_mode_without_a_site_is_not_found(swift: Swift, box: str) -> None:
    assert swift("GET", box, X_Web_Mode="true").status == 404
    assert swift("GET", box, X_Web_Mode="false").status == 204
