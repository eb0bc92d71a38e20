"""The routing table: everything has a route, and no route lets in whom it should not."""

from base64 import b64encode
from hashlib import md5
from typing import Any

import botocore.session
import pytest

from objstore.core.sigv2 import SIGNED_PARAMETERS
from objstore.fronts.s3 import routes
from objstore.fronts.s3.request import S3Request
from tests.support.s3_raw import call, send
from tests.support.s3_server import BOB, Running


def request(method: str, bucket: str = "", key: str = "", headers: dict[str, str] | None = None, **query: str) -> S3Request:
    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    made = S3Request({"method": method}, receive, "1")
    made.bucket, made.key, made.headers, made.query = (
        bucket,
        key,
        headers or {},
        {name.replace("_", "-"): text for name, text in query.items()},
    )
    return made


@pytest.mark.parametrize(
    ("made", "api"),
    [
        (request("GET"), "ListBuckets"),
        (request("PUT", "b"), "CreateBucket"),
        (request("GET", "b", prefix="x"), "ListObjects"),
        (request("GET", "b", list_type="2"), "ListObjectsV2"),
        (request("GET", "b", versions="", prefix="p"), "ListObjectVersions"),
        (request("POST", "b", delete=""), "DeleteObjects"),
        (request("GET", "b", "k"), "GetObject"),
        (request("GET", "b", "k", versionId="null", partNumber="1"), "GetObject"),
        (request("PUT", "b", "k", **{"x-id": "PutObject"}), "PutObject"),
        (request("PUT", "b", "k", {"x-amz-copy-source": "s"}), "CopyObject"),
        (request("PUT", "b", "k", uploadId="u", partNumber="1"), "UploadPart"),
        (request("PUT", "b", "k", {"x-amz-copy-source": "s"}, uploadId="u", partNumber="1"), "UploadPartCopy"),
        (request("PUT", "b", "k", {"x-amz-copy-source": "s"}, tagging=""), "PutObjectTagging"),
        (request("POST", "b", "k", uploads=""), "CreateMultipartUpload"),
        (request("POST", "b", "k", uploadId="u"), "CompleteMultipartUpload"),
        (request("GET", "b", "k", torrent=""), "NotImplemented"),
        (request("PUT", "b", inventory="", id="x"), "NotImplemented"),
        (request("PUT", "b", "k", something_new=""), "NotImplemented"),
        (request("PUT", "b", "k", something_new="1"), "PutObject"),
        (request("GET", "b", prefix="", delimiter="", marker=""), "ListObjects"),
        (request("PUT", "b", "k", versionId="null"), "Misplaced"),
        (request("PUT", "b", "k", {"x-amz-copy-source": "s"}, versionId="null"), "Misplaced"),
        (request("PUT", "b", "k", partNumber="1"), "Misplaced"),
        (request("POST", "b", "k", uploads="", versionId="null"), "Misplaced"),
        (request("PUT", "b", "k", tagging="", versionId="null"), "PutObjectTagging"),
        (request("POST", "b", "k"), "MethodNotAllowed"),
        (request("POST", "b", policy=""), "MethodNotAllowed"),
        (request("DELETE", "b", versioning=""), "MethodNotAllowed"),
        (request("PUT", "b", "k", attributes=""), "MethodNotAllowed"),
        (request("PUT", "b", accelerate=""), "NotImplemented"),
        (request("PUT", "b", metrics="", id="x"), "NotImplemented"),
        (request("POST", "b", "k", restore=""), "NotImplemented"),
        (request("PUT", "b", replication=""), "NotImplemented"),
        (request("OPTIONS", "b", "k"), "MethodNotAllowed"),
        (request("DELETE"), "MethodNotAllowed"),
        (request("GET", "b", acl="", location=""), "Conflicting"),
    ],
)
def test_requests_find_their_route(made: S3Request, api: str) -> None:
    assert routes.find(made).api == api


def test_nothing_is_written_for_a_version_or_for_a_part_of_no_upload(server: Running, s3: Any, bucket: str) -> None:
    for query in ("versionId=null", "partNumber=1"):
        refused = call(server, "PUT", f"/{bucket}/k?{query}", b"x")
        assert (refused.status, refused.code) == (400, "InvalidArgument")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_method_that_is_not_allowed_names_those_that_are(server: Running, bucket: str) -> None:
    for method, path, kind, allowed in (
        ("POST", f"/{bucket}/k", "OBJECT", "DELETE, GET, HEAD, PUT"),
        ("PATCH", f"/{bucket}", "BUCKET", "DELETE, GET, HEAD, POST, PUT"),
        ("POST", f"/{bucket}?policy", "POLICY", "DELETE, GET, PUT"),
        ("DELETE", f"/{bucket}?versioning", "VERSIONING", "GET, PUT"),
        ("PUT", "/", "SERVICE", "GET"),
    ):
        refused = call(server, method, path)
        assert (refused.status, refused.code) == (405, "MethodNotAllowed")
        assert (refused.value("Method"), refused.value("ResourceType"), refused.headers["allow"]) == (method, kind, allowed)


def test_every_call_that_the_sdk_knows_has_its_own_route() -> None:
    model = botocore.session.get_session().get_service_model("s3")
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        parameters = dict(item.partition("=")[::2] for item in query.split("&") if item)
        headers = {"x-amz-copy-source": "b/k"} if "Copy" in name else {}
        made = request(http["method"], "b" if "{Bucket}" in path else "", "k" if "{Key" in path else "", headers)
        made.query = {key: "x" if value else "" for key, value in parameters.items()}
        if name in ("UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"):
            made.query["uploadId"] = "u"
        api = routes.find(made).api
        subresource = any(key not in ("x-id",) and not value for key, value in made.query.items())
        plain = ("GetObject", "PutObject", "DeleteObject", "ListObjects", "CreateBucket", "DeleteBucket", "ListBuckets")
        assert api == name or not subresource or api not in plain, (name, api)


ALL = [
    *[("", method, "") for method in routes.SERVICE],
    *[("/{bucket}", method, name) for method, name in routes.BUCKET],
    *[("/{bucket}/k", method, name) for method, name in routes.OBJECT],
]
# What a caller's own account decides alone, whoever owns the bucket of that name.
OWN = {("", "GET", ""), ("/{bucket}", "PUT", "")}


def test_no_route_serves_anybody_without_a_right(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for path, method, name in ALL:
        query = f"?{name}={upload if name == 'uploadId' else ''}&partNumber=1" if name else ""
        target = (path.format(bucket=bucket) or "/") + query
        anonymous = send(server, method, target)
        assert 400 <= anonymous.status < 500, (method, target)  # some refuse the request's form before they ask who sends it
        assert b"secret" not in anonymous.body
        document = b"<Delete><Object><Key>k</Key></Object></Delete>" if name == "delete" else b""
        headers = {"x-amz-object-attributes": "ETag"} if name == "attributes" else {}
        if name == "renameObject":
            headers = {"x-amz-rename-source": "other"}
        if name == "delete":
            headers = {"Content-MD5": b64encode(md5(document).digest()).decode()}
        if name == "tagging" and method == "PUT":
            document = b"<Tagging><TagSet/></Tagging>"
        if method == "POST" and name == "uploadId":
            document = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"
        stranger = call(server, method, target, document, headers, user=BOB)
        if (path, method, name) == ("/{bucket}", "POST", ""):
            assert stranger.status == 412  # no form; see test_post.py for forms
        elif (path, method, name) in OWN:
            assert stranger.status in (200, 409)
        elif name == "delete":  # as on Amazon, each key has its own answer
            assert stranger.status == 200
            assert b"<Code>AccessDenied</Code>" in stranger.body
        else:
            assert stranger.status == 403, (method, target, stranger.body)
        assert b"secret" not in stranger.body
    assert call(server, "GET", f"/{bucket}/k").body == b"secret"
    assert s3.list_parts(Bucket=bucket, Key="k", UploadId=upload).get("Parts", []) == []


def test_version_2_signs_every_sub_resource() -> None:
    """Else whoever is given a presigned address could put one there: a PUT of an object becomes one of the bucket's quota."""
    found = (routes._BUCKET_SUBRESOURCES | routes._OBJECT_SUBRESOURCES) - SIGNED_PARAMETERS
    assert found == {"list-type"}
