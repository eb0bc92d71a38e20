"""Containers: making, changing, listing and removing them."""

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import RESELLER, Swift


def fill(swift: Swift, box: str, *names: str) -> None:
    for name in names:
        assert swift("PUT", f"{box}/{name}", b"x").status == 201


def test_a_container_made_again_stays_and_takes_what_is_said(swift: Swift, box: str) -> None:
    assert swift("PUT", box, X_Container_Meta_Colour="blau").status == 202
    assert swift("POST", box, X_Container_Meta_Taste="s\u00fc\u00df".encode().decode("latin-1")).status == 204
    headers = swift("HEAD", box).headers
    assert headers["x-container-meta-colour"] == "blau"
    assert headers["x-container-meta-taste"].encode("latin-1").decode() == "s\u00fc\u00df"
    swift("POST", box, X_Remove_Container_Meta_Colour="x", X_Container_Meta_Taste="")
    headers = swift("HEAD", box).headers
    assert "x-container-meta-colour" not in headers
    assert "x-container-meta-taste" not in headers


def test_only_an_empty_container_goes(swift: Swift, box: str) -> None:
    fill(swift, box, "o")
    assert swift("DELETE", box).status == 409
    swift("DELETE", f"{box}/o")
    assert swift("DELETE", box).status == 204
    assert swift("HEAD", box).status == 404
    assert swift("DELETE", box).status == 404
    assert swift("GET", box).status == 404


def test_counts_are_those_of_the_listing(swift: Swift, box: str) -> None:
    fill(swift, box, "a", "b", "b")
    headers = swift("HEAD", box).headers
    assert (headers["x-container-object-count"], headers["x-container-bytes-used"]) == ("2", "2")
    reply = swift("GET", box, query="format=json")
    assert reply.headers["x-container-object-count"] == "2"
    assert [row["name"] for row in reply.json] == ["a", "b"]


def test_an_empty_listing_is_204_as_text_and_an_empty_list_else(swift: Swift, box: str) -> None:
    assert swift("GET", box).status == 204
    assert swift("GET", box, query="format=json").json == []
    assert swift("GET", box, Accept="application/xml").body.endswith(b"></container>")
    assert swift("GET", box, Accept="image/png").status == 406


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b/1", "b/2", "b/c/3", "d", "e"]),
        ("limit=2", ["a", "b/1"]),
        ("limit=0", []),
        ("marker=b/2", ["b/c/3", "d", "e"]),
        ("marker=b/2&end_marker=e", ["b/c/3", "d"]),
        ("prefix=b/", ["b/1", "b/2", "b/c/3"]),
        ("delimiter=/", ["a", "b/", "d", "e"]),
        ("prefix=b/&delimiter=/", ["b/1", "b/2", "b/c/"]),
        ("path=b", ["b/1", "b/2"]),
        ("path=", ["a", "d", "e"]),
        ("reverse=true", ["e", "d", "b/c/3", "b/2", "b/1", "a"]),
        ("reverse=1&limit=2", ["e", "d"]),
        ("reverse=on&marker=d&limit=2", ["b/c/3", "b/2"]),
        ("reverse=true&marker=d&end_marker=b/1", ["b/c/3", "b/2"]),
        ("delimiter=b", ["a", "b", "d", "e"]),
        ("delimiter=/&marker=b/", ["d", "e"]),
        ("delimiter=/&marker=b/1", ["b/", "d", "e"]),
        ("delimiter=/&marker=b/1&limit=1", ["b/"]),
        ("delimiter=/&marker=b/c/3", ["d", "e"]),
        ("delimiter=/&reverse=1&end_marker=b/1", ["e", "d", "b/"]),
    ],
)
def test_listings_are_cut_as_asked(swift: Swift, query: str, expected: list[str]) -> None:
    swift("PUT", "listed")
    fill(swift, "listed", "a", "b/1", "b/2", "b/c/3", "d", "e")
    assert swift("GET", "listed", query=query).lines == expected
    rows = swift("GET", "listed", query=f"{query}&format=json").json
    assert [row.get("name") or row["subdir"] for row in rows] == expected


def test_objects_that_stand_for_folders_are_on_the_path(swift: Swift, box: str) -> None:
    fill(swift, box, "f/", "f/a", "f/g/", "f/g/b", "f/h/c", "g", "h/")
    for query, expected in (
        ("path=", ["f/", "g", "h/"]),
        ("path=f", ["f/a", "f/g/"]),
        ("path=f/", ["f/a", "f/g/"]),
        ("path=f&marker=f/a", ["f/g/"]),
        ("path=&limit=1", ["f/"]),
        ("path=&limit=1&marker=f/", ["g"]),
        ("path=&reverse=1", ["h/", "g", "f/"]),
    ):
        assert swift("GET", box, query=query).lines == expected, query
    assert [row["name"] for row in swift("GET", box, query="path=f&format=json").json] == ["f/a", "f/g/"]


def test_rows_tell_what_an_object_is(swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/o<&>", b"hello", Content_Type="text/x; charset=y")
    (row,) = swift("GET", box, query="format=json").json
    assert (row["bytes"], row["hash"], row["content_type"]) == (5, "5d41402abc4b2a76b9719d911017c592", "text/x; charset=y")
    assert len(row["last_modified"]) == len("2026-01-31T23:59:59.123456")
    xml = swift("GET", box, query="format=xml").body.decode()
    assert "<object><name>o&lt;&amp;&gt;</name><hash>5d41" in xml


@pytest.mark.parametrize("name", ["x" * 256, "ümläut ☃", "a.b", "UPPER lower", "%41"])
def test_containers_may_have_odd_names(swift: Swift, name: str) -> None:
    assert swift("PUT", name).status == 201
    assert name in swift("GET").lines
    assert swift("DELETE", name).status == 204


def test_a_name_that_is_too_long_is_refused(swift: Swift) -> None:
    assert swift("PUT", "x" * 257).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Container_Read": ".r:"},
        {"X_Container_Write": ".r:*"},
        {"X_Container_Meta_Quota_Bytes": "many"},
        {"X_Container_Meta_" + "a" * 129: "b"},
        {"X_Container_Meta_A": "b" * 257},
        {"X_Storage_Policy": "gold"},
        {f"X_Container_Meta_{number}": "v" for number in range(91)},
    ],
)
def test_what_a_container_cannot_be_is_refused_and_nothing_changes(swift: Swift, box: str, headers: dict[str, str]) -> None:
    assert swift("POST", box, **headers).status == 400
    assert not [name for name in swift("HEAD", box).headers if name.startswith("x-container-meta")]


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Container_Read": ".r:"},
        {"X_Container_Write": ".r:*"},
        {"X_Versions_Location": "a%0d%0aX-Evil: 1"},
        {"X_Versions_Location": "a%00"},
    ],
)
def test_what_a_container_cannot_be_makes_none(swift: Swift, box: str, headers: dict[str, str]) -> None:
    assert swift("PUT", f"{box}-new", **headers).status == 400
    assert swift("HEAD", f"{box}-new").status == 404
    assert swift("PUT", box, **headers).status == 400
    assert swift("HEAD", box).status == 204


def test_a_full_container_takes_no_more(swift: Swift, box: str) -> None:
    assert swift("POST", box, X_Container_Meta_Quota_Bytes="10", X_Container_Meta_Quota_Count="2").status == 204
    assert swift("PUT", f"{box}/a", b"12345").status == 201
    assert swift("PUT", f"{box}/b", b"123456").status == 413
    assert swift("PUT", f"{box}/b", b"12345").status == 201
    assert swift("PUT", f"{box}/c", b"").status == 413
    swift("POST", box, X_Container_Meta_Quota_Bytes="", X_Container_Meta_Quota_Count="")
    assert swift("PUT", f"{box}/c", b"123").status == 201


def test_versions_are_listed_and_read(swift: Swift, box: str) -> None:
    assert swift("POST", box, X_Versions_Enabled="true").status == 204
    first = swift("PUT", f"{box}/o", b"one").headers["x-object-version-id"]
    swift("PUT", f"{box}/o", b"two!")
    assert swift("HEAD", box).headers["x-versions-enabled"] == "True"
    assert swift("DELETE", f"{box}/o").status == 204
    assert swift("GET", f"{box}/o").status == 404
    rows = swift("GET", box, query="versions&format=json").json
    assert [(row["bytes"], row["is_latest"]) for row in rows] == [(0, True), (4, False), (3, False)]
    assert rows[2]["version_id"] == first
    assert swift("GET", f"{box}/o", query=f"version-id={first}").body == b"one"
    assert swift("DELETE", f"{box}/o", query=f"version-id={rows[0]['version_id']}").status == 204
    assert swift("GET", f"{box}/o").body == b"two!"


def test_several_ranges_of_an_older_version_are_its_own(swift: Swift, box: str) -> None:
    swift("POST", box, X_Versions_Enabled="true")
    first = swift("PUT", f"{box}/o", b"0123456789").headers["x-object-version-id"]
    swift("PUT", f"{box}/o", b"other")
    reply = swift("GET", f"{box}/o", query=f"version-id={first}", Range="bytes=0-1,8-9")
    assert (reply.status, b"\r\n\r\n01\r\n" in reply.body, b"\r\n\r\n89\r\n" in reply.body) == (206, True, True)
    assert swift("GET", f"{box}/o", query=f"version-id={first}", Range="bytes=8-9,90-").body == b"89"


def test_an_older_version_becomes_the_current_one_again(swift: Swift, box: str) -> None:
    swift("POST", box, X_Versions_Enabled="true")
    first = swift("PUT", f"{box}/o", b"one", X_Object_Meta_A="1", Content_Type="x/y").headers["x-object-version-id"]
    swift("PUT", f"{box}/o", b"two!")
    assert swift("PUT", f"{box}/o", b"three", query=f"version-id={first}").status == 400
    assert swift("POST", f"{box}/o", query=f"version-id={first}", X_Object_Meta_A="2").status == 400
    assert swift("GET", f"{box}/o").body == b"two!"
    assert swift("PUT", f"{box}/o", query=f"version-id={first}").status == 201
    reply = swift("GET", f"{box}/o")
    assert (reply.body, reply.headers["x-object-meta-a"], reply.headers["content-type"]) == (b"one", "1", "x/y")
    assert len(swift("GET", box, query="versions&format=json").json) == 3
    assert swift("PUT", f"{box}/none", query=f"version-id={first}").status == 404


def test_keys_of_signed_addresses_are_shown_to_the_owner_alone(running: Running, swift: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Temp_URL_Key="secret", X_Container_Read=".r:*,.rlistings")
    assert swift("HEAD", box).headers["x-container-meta-temp-url-key"] == "secret"
    assert Swift(running, RESELLER).at("test")("HEAD", box).headers["x-container-meta-temp-url-key"] == "secret"
    assert "x-container-meta-temp-url-key" not in Swift(running, None)("HEAD", box).headers


def test_a_name_that_is_too_long_is_told_in_swifts_words(swift: Swift) -> None:
    reply = swift("PUT", "x" * 257)
    assert (reply.status, b"Container name length of 257 longer than 256" in reply.body) == (400, True)
