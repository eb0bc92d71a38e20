"""The Swift front over sockets: who it serves, and what both dialects see of each other."""

import json

import pytest

from objstore.fronts.swift.app import is_swift
from tests.support.s3_raw import send
from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, RESELLER, S3_USER, Swift


def scope(path: str, *headers: tuple[bytes, bytes], method: str = "GET", query: bytes = b"") -> dict[str, object]:
    return {"type": "http", "path": path, "headers": list(headers), "method": method, "query_string": query}


@pytest.mark.parametrize(
    ("path", "headers", "query", "for_swift"),
    [
        ("/v1/AUTH_a", (), b"", True),
        ("/v1/AUTH_a/c", ((b"authorization", b"AWS4-HMAC-SHA256 Credential=x"),), b"", False),
        ("/v1/AUTH_a/c", (), b"X-Amz-Signature=1", False),
        ("/v1/AUTH_a/c", (), b"a=b&X-Amz-Signature=1", False),
        ("/v1/AUTH_a/c", (), b"prefix=X-Amz-&marker=AWSAccessKeyId=", True),
        ("/auth/v1.0", ((b"x-auth-user", b"a:b"),), b"", True),
        ("/auth/v1.0", (), b"", False),
        ("/info", (), b"", True),
        ("/info", ((b"authorization", b"AWS k:s"),), b"", False),
        ("/info", (), b"list-type=2", False),
        ("/infos", (), b"", False),
        ("/bucket/v1/x", (), b"", False),
    ],
)
def test_what_is_signed_for_s3_or_names_a_bucket_is_not_swifts(
    path: str, headers: tuple[tuple[bytes, bytes], ...], query: bytes, *, for_swift: bool
) -> None:
    assert is_swift(scope(path, *headers, query=query)) is for_swift


def test_an_object_of_one_dialect_is_there_in_the_other_at_once(running: Running, swift: Swift, box: str) -> None:
    s3 = running.client(S3_USER)
    assert swift("PUT", f"{box}/from swift", b"hello", X_Object_Meta_Colour="blau", Content_Type="text/plain").status == 201
    found = s3.get_object(Bucket=box, Key="from swift")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"hello", {"colour": "blau"}, "text/plain")
    s3.put_object(Bucket=box, Key="from/s3", Body=b"salut", Metadata={"taste": "sweet"})
    reply = swift("GET", f"{box}/from/s3")
    assert (reply.status, reply.body, reply.headers["x-object-meta-taste"]) == (200, b"salut", "sweet")
    assert reply.headers["etag"] == s3.head_object(Bucket=box, Key="from/s3")["ETag"].strip('"')
    assert swift("GET", box).lines == ["from swift", "from/s3"]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=box)["Contents"]] == ["from swift", "from/s3"]
    swift("DELETE", f"{box}/from/s3")
    assert s3.list_objects_v2(Bucket=box)["KeyCount"] == 1


def test_a_container_belongs_to_its_account_alone(running: Running, swift: Swift) -> None:
    other = Swift(running, OTHER)
    assert swift("PUT", "Same Name").status == 201
    assert other("PUT", "Same Name").status == 201
    assert swift("PUT", "Same Name/o", b"ours").status == 201
    assert other("GET", "Same Name/o").status == 404
    assert other.at("test")("GET", "Same Name/o").status == 403
    assert Swift(running, None)("GET", "Same Name/o").status == 401
    assert Swift(running, RESELLER).at("test")("GET", "Same Name/o").body == b"ours"


def test_a_member_does_what_lists_let_him(running: Running, swift: Swift, box: str) -> None:
    member, other, stranger = Swift(running, MEMBER), Swift(running, OTHER).at("test"), Swift(running, None)
    swift("PUT", f"{box}/o", b"data")
    for user in (member, other):
        assert user("GET", f"{box}/o").status == 403
        assert user("PUT", f"{box}/new", b"x").status == 403
    assert swift("POST", box, X_Container_Read="test:tester3, test2", X_Container_Write="test2:tester2").status == 204
    for user in (member, other):
        assert user("GET", f"{box}/o").body == b"data"
        assert user("GET", box).lines == ["o"]
    assert member("PUT", f"{box}/new", b"x").status == 403
    assert other("PUT", f"{box}/new", b"x").status == 201
    assert other("POST", box, X_Container_Meta_A="b").status == 403
    assert "x-container-read" not in other("HEAD", box).headers
    assert other("DELETE", f"{box}/new").status == 204
    assert stranger("GET", f"{box}/o").status == 401
    assert swift("HEAD", box).headers["x-container-read"] == "test:tester3,test2"


def test_everybody_reads_what_is_public_and_no_more(running: Running, swift: Swift, box: str) -> None:
    stranger = Swift(running, None)
    swift("PUT", f"{box}/o", b"data")
    swift("POST", box, X_Container_Read=".r:*")
    assert stranger("GET", f"{box}/o").body == b"data"
    assert stranger("GET", f"{box}/none").status == 404
    assert stranger("GET", box).status == 401
    assert stranger("PUT", f"{box}/o", b"x").status == 401
    swift("POST", box, X_Container_Read=".r:*,.rlistings")
    assert stranger("GET", box).lines == ["o"]
    swift("POST", box, X_Container_Read=".r:*,.r:-.evil.example")
    assert stranger("GET", f"{box}/o", Referer="http://a.evil.example/p").status == 401
    swift("POST", box, X_Remove_Container_Read="x")
    assert stranger("GET", f"{box}/o").status == 401


def test_tokens_that_are_not_good_are_refused(running: Running, swift: Swift, box: str) -> None:
    bad = Swift(running, None)
    bad.token = "AUTH_tknonsense"
    reply = bad("GET", box)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == 'Swift realm="AUTH_test"'
    assert bad.raw("GET", "/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "wrong"}).status == 401
    assert bad.raw("GET", "/v1/KEY_test").status == 404


@pytest.mark.parametrize(
    ("method", "target"),
    [("PATCH", "/v1/AUTH_test"), ("DELETE", "/v1/AUTH_test"), ("COPY", "/v1/AUTH_test/c"), ("LOCK", "/v1/AUTH_test/c/o")],
)
def test_other_methods_are_not_allowed(swift: Swift, method: str, target: str) -> None:
    reply = swift.raw(method, target, headers={"X-Auth-Token": swift.token})
    assert reply.status == 405
    assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/AUTH_test/%ff",
        "/v1/AUTH_test/c/%00",
        "/v1/AUTH_test//o",
        "/v1/AUTH_test/c?limit=%ff",
        "/v1/AUTH_test?limit=-1",
        "/v1/AUTH_test?limit=99999",
        "/v1/AUTH_test?limit=1e3",
    ],
)
def test_what_cannot_be_meant_is_refused(swift: Swift, target: str) -> None:
    assert swift.raw("GET", target, headers={"X-Auth-Token": swift.token}).status in (400, 412)


def test_what_needs_no_account_is_answered(swift: Swift) -> None:
    features = swift.raw("GET", "/info").json
    assert features["swift"]["max_object_name_length"] == 1024
    assert swift.raw("GET", "/healthcheck").body == b"OK"
    assert b"cross-domain-policy" in swift.raw("GET", "/crossdomain.xml").body


def test_where_the_host_names_a_bucket_all_of_the_path_is_a_key(running: Running) -> None:
    """Websites have pages called /info and objects below v1/, which nobody signs."""
    s3 = running.client(S3_USER)
    s3.create_bucket(Bucket="hosted")
    s3.delete_public_access_block(Bucket="hosted")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::hosted/*"}
    s3.put_bucket_policy(Bucket="hosted", Policy=json.dumps({"Statement": statement}))
    s3.put_bucket_website(Bucket="hosted", WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
    for key in ("info", "v1/AUTH_test/o", "healthcheck"):
        s3.put_object(Bucket="hosted", Key=key, Body=key.encode())
        for host in ("hosted.s3.test", "hosted.web.test"):
            assert send(running, "GET", f"/{key}", b"", {"Host": host}).body == key.encode(), (host, key)
    assert send(running, "GET", "/healthcheck", b"", {"Host": "s3.test"}).body == b"OK"
