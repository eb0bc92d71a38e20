"""Uploads from signed forms."""

import base64
import hmac
from typing import Any

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import OTHER, Reply, Swift

KEY = "account key"
LATER = 4_000_000_000


@pytest.fixture(scope="module", autouse=True)
def account_key(running: Running) -> None:
    Swift(running)("POST", X_Account_Meta_Temp_URL_Key=KEY)


def fields(path: str, *, key: str = KEY, digest: str = "sha256", **change: Any) -> dict[str, str]:
    told = {"redirect": "", "max_file_size": "1000", "max_file_count": "2", "expires": str(LATER)}
    told.update({name: str(value) for name, value in change.items() if name in told})
    message = "\n".join([path, *told.values()]).encode()
    return {**told, "signature": hmac.new(key.encode(), message, digest).hexdigest()}


def post(swift: Swift, path: str, said: dict[str, str], *files: tuple[str, bytes], kind: str = "") -> Reply:
    parts = [f'--XbX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in said.items()]
    for number, (name, data) in enumerate(files):
        head = f'--XbX\r\nContent-Disposition: form-data; name="file{number}"; filename="{name}"\r\n{kind}\r\n'
        parts.append(head.encode() + data + b"\r\n")
    body = b"".join(parts) + b"--XbX--\r\n"
    return swift.raw("POST", path, body, {"Content-Type": "multipart/form-data; boundary=XbX"})


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_files_of_a_signed_form_become_objects(swift: Swift, box: str, digest: str) -> None:
    path = swift.path(f"{box}/pre-")
    reply = post(swift, path, fields(path, digest=digest), ("a.html", b"one"), ("d/ö", b"x" * 1000), kind="Content-Type: food/diy\r\n")
    assert (reply.status, reply.body) == (201, b"201 Created")
    assert swift("GET", box).lines == ["pre-a.html", "pre-d/ö"]
    assert swift("GET", f"{box}/pre-a.html").headers["content-type"] == "food/diy"
    assert swift("GET", f"{box}/pre-d/ö").body == b"x" * 1000


def test_a_form_may_be_for_a_whole_container_and_signed_by_its_key(swift: Swift, box: str) -> None:
    swift("POST", box, X_Container_Meta_Temp_URL_Key_2="container key")
    path = swift.path(box)
    assert post(swift, path, fields(path, key="container key"), ("a.png", b"1")).status == 201
    assert swift("HEAD", f"{box}/a.png").headers["content-type"] == "image/png"
    slashed = path + "/"
    assert post(swift, slashed, fields(slashed, key="container key"), ("b", b"1")).status == 201
    said = fields(path)
    said["signature"] = "sha256:" + base64.b64encode(bytes.fromhex(said["signature"])).decode()
    assert post(swift, path, said, ("c", b"1")).status == 201
    assert swift("GET", box).lines == ["a.png", "b", "c"]


def test_what_the_form_says_is_kept_with_the_object(swift: Swift, box: str) -> None:
    path = swift.path(box)
    said = {**fields(path), "x_delete_after": "1000", "content-type": "a/b", "Content-Encoding": "gzip"}
    assert post(swift, path, said, ("a", b"1")).status == 201
    headers = swift("HEAD", f"{box}/a").headers
    assert int(headers["x-delete-at"]) > 1_700_000_000
    assert (headers["content-type"], headers["content-encoding"]) == ("a/b", "gzip")
    for name, why in (
        ("x_delete_at", "x_delete_at not an integer: Unix timestamp required."),
        ("x_delete_after", "x_delete_after not an integer: Number of seconds required."),
    ):
        reply = post(swift, path, {**fields(path), name: "soon"}, ("b", b"1"))
        assert (reply.status, reply.body.decode()) == (400, f"FormPost: {why}")
    assert post(swift, path, {**fields(path), "x_delete_at": "12"}, ("b", b"1")).status == 400


def test_a_form_sends_the_browser_on(swift: Swift, box: str) -> None:
    path = swift.path(box)
    reply = post(swift, path, fields(path, redirect="https://a.test/?x=1"), ("a", b"1"))
    assert (reply.status, reply.headers["location"]) == (303, "https://a.test/?x=1&status=201&message=")
    reply = post(swift, path, fields(path, redirect="https://a.test/", max_file_count=1), ("a", b"1"), ("b", b"1"))
    assert reply.headers["location"] == "https://a.test/?status=400&message=max%20file%20count%20exceeded"
    assert b'<a href="https://a.test/?status=400&amp;message=' in reply.body
    gone = swift.path(f"{box}-gone")
    reply = post(swift, gone, fields(gone, redirect="https://a.test/"), ("a", b"1"))
    assert reply.headers["location"] == "https://a.test/?status=404&message="


def test_what_comes_behind_the_files_sends_nobody_anywhere(swift: Swift, box: str) -> None:
    path = swift.path(box)
    said = "".join(f'--XbX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields(path).items())
    file = '--XbX\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc\r\n'
    late = '--XbX\r\nContent-Disposition: form-data; name="redirect"\r\n\r\nhttps://evil.test/\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=XbX"}
    reply = swift.raw("POST", path, f"{said}{file}{late}--XbX--\r\n".encode(), kind)
    assert (reply.status, "location" in reply.headers) == (201, False)


def test_limits_hold(swift: Swift, box: str) -> None:
    path = swift.path(box)
    reply = post(swift, path, fields(path), ("a", b"1"), ("b", b"1"), ("c", b"1"))
    assert (reply.status, reply.body) == (400, b"400 Bad Request\r\nFormPost: Max File Count Exceeded")
    reply = post(swift, path, fields(path), ("large", b"x" * 1001))
    assert (reply.status, reply.body) == (400, b"FormPost: max_file_size exceeded")
    reply = post(swift, path, fields(path))
    assert (reply.status, reply.body) == (400, b"400 Bad Request\r\nFormPost: No Files To Process")
    for name in ("max_file_size", "max_file_count", "expires"):
        reply = post(swift, path, fields(path, **{name: "many"}), ("z", b"1"))
        assert (reply.status, reply.body.decode()) == (400, f"FormPost: {name} not an integer")
    assert swift("GET", box).lines == ["a", "b"]
    swift("POST", box, X_Container_Meta_Quota_Count="2")
    assert post(swift, path, fields(path), ("z", b"1")).status == 413


def test_only_what_was_signed_counts(running: Running, swift: Swift, box: str) -> None:
    path, other = swift.path(f"{box}/pre-"), swift.path(f"{box}/other-")
    good = fields(path)
    for said in (
        {**good, "max_file_size": "2000"},
        {**good, "redirect": "https://evil.test/"},
        {**good, "expires": str(LATER + 1)},
        {**good, "signature": good["signature"][:-1] + "x"},
        {**good, "signature": ""},
        {name: value for name, value in good.items() if name != "signature"},
        fields(path, key="another key"),
        fields(path, key=""),
    ):
        for files in ((("a", b"1"),), ()):
            reply = post(swift, path, said, *files)
            assert (reply.status, reply.body) == (401, b"FormPost: Invalid Signature"), said
            assert "location" not in reply.headers
    reply = post(swift, path, fields(path, expires=1_000_000_000), ("a", b"1"))
    assert (reply.status, reply.body) == (401, b"FormPost: Form Expired")
    assert post(swift, other, good, ("a", b"1")).status == 401
    stranger = Swift(running, OTHER)
    assert post(stranger, stranger.path(box), fields(stranger.path(box)), ("a", b"1")).status == 401
    assert post(swift, swift.path(), fields(swift.path()), ("a", b"1")).status == 401
    assert swift("GET", box).lines == []


def test_what_is_no_form_is_refused_and_stores_nothing(swift: Swift, box: str) -> None:
    path = swift.path(box)
    kind = {"Content-Type": "multipart/form-data; boundary=XbX"}
    for body in (b"", b"junk" * 100, b"--XbX\r\n" + b"a" * 5000, b"--XbX\r\nno: name\r\n\r\nx\r\n--XbX--"):
        reply = swift.raw("POST", path, body, kind)
        assert (reply.status, reply.body[:9]) == (400, b"FormPost:")
    said = b"".join(f'--XbX\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields(path).items())
    cut = said + b'--XbX\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc'
    assert swift.raw("POST", path, cut, kind).status == 400
    many = b'--XbX\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n' * 101
    assert swift.raw("POST", path, many, kind).status == 400
    assert swift.raw("POST", "/v1/KEY_x/c", cut, kind).status == 404
    assert swift("GET", box).lines == []
