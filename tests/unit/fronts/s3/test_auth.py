"""Who gets in: every way to sign or not to sign, on every kind of request."""

import datetime
import time
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from objstore.core.sigv4 import STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER, UNSIGNED_PAYLOAD
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.model import User
from tests.support.s3_raw import Answer, call, frame_signed, presign, send, sign
from tests.support.s3_server import ALICE, BOB, EVE, Running, s3_serving

STRANGER = User(account="x", name="x", access_key="AKNOBODY", secret_key="none")
LIAR = User(account="alice", name="alice", access_key="AKALICE", secret_key="not alice's")


def of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


def test_a_signed_request_gets_in_and_its_refusals_tell_what_was_computed(server: Running, bucket: str) -> None:
    assert call(server, "GET", f"/{bucket}").status == 200
    answer = call(server, "GET", f"/{bucket}", user=LIAR)
    assert of(answer) == (403, "SignatureDoesNotMatch")
    assert answer.value("CanonicalRequest").startswith(f"GET\n/{bucket}\n\nhost:127.0.0.1:{server.port}\n")
    assert answer.value("StringToSign").startswith("AWS4-HMAC-SHA256\n")
    assert answer.value("RequestId") == answer.headers["x-amz-request-id"]
    assert answer.value("HostId") == answer.headers["x-amz-id-2"]
    assert "alice's" not in answer.body.decode()


def test_an_unknown_key_is_said_to_be_unknown(server: Running, bucket: str) -> None:
    answer = call(server, "GET", f"/{bucket}", user=STRANGER)
    assert of(answer) == (403, "InvalidAccessKeyId")
    assert answer.value("AWSAccessKeyId") == "AKNOBODY"


def test_without_credentials_nothing_is_allowed_that_nobody_granted(server: Running, bucket: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        for path in (f"/{bucket}", f"/{bucket}/k", f"/{bucket}?zzz"):
            assert of(send(server, method, path)) == (403, "AccessDenied"), (method, path)
    assert of(send(server, "GET", "/")) == (403, "AccessDenied")
    assert of(send(server, "PUT", "/no-such-bucket")) == (403, "AccessDenied")
    for mode in (STREAMING_SIGNED, STREAMING_SIGNED_TRAILER):
        assert of(send(server, "PUT", f"/{bucket}/k", b"x", {"x-amz-content-sha256": mode})) == (403, "AccessDenied")
    assert of(send(server, "GET", f"/{bucket}", headers={"x-amz-security-token": "x"})) == (403, "AccessDenied")
    assert of(send(server, "GET", f"/{bucket}", headers={"Authorization": ""})) == (403, "AccessDenied")
    head = send(server, "HEAD", f"/{bucket}/k")
    assert (head.status, head.body) == (403, b"")


def test_other_peoples_buckets_are_closed_and_other_tenants_do_not_see_them(server: Running, bucket: str) -> None:
    assert of(call(server, "GET", f"/{bucket}", user=BOB)) == (403, "AccessDenied")
    assert of(call(server, "PUT", f"/{bucket}/k", b"x", user=BOB)) == (403, "AccessDenied")
    assert of(call(server, "GET", f"/{bucket}", user=EVE)) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("AWS4-HMAC-SHA256 nonsense", "AuthorizationHeaderMalformed"),
        ("AWS AKALICE:c2lnbmF0dXJl", "InvalidArgument"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", "InvalidRequest"),
        ("Bearer token", "InvalidArgument"),
        ("Basic eDp5", "InvalidArgument"),
    ],
)
def test_other_authorization_headers_are_refused_clearly(server: Running, bucket: str, header: str, code: str) -> None:
    assert of(send(server, "GET", f"/{bucket}", headers={"Authorization": header})) == (400, code)


def test_malformed_queries_of_version_2_are_refused_clearly(server: Running, bucket: str) -> None:
    for query in (
        "AWSAccessKeyId=AKALICE&Signature=x&Expires=9999999999",
        "AWSAccessKeyId=AKALICE&Expires=9999999999",
        "Signature=x",
        "AWSAccessKeyId=AKALICE&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&Expires=-1",
    ):
        assert of(send(server, "GET", f"/{bucket}/k?{query}")) == (403, "AccessDenied"), query


def test_version_2_can_be_switched_off() -> None:
    with s3_serving(settings=S3Settings(sigv2=False)) as strict:
        client = strict.client(signature_version="s3")
        with pytest.raises(ClientError, match="Please use AWS4-HMAC-SHA256"):
            client.list_buckets()
        url = client.generate_presigned_url("list_buckets")
        assert of(send(strict, "GET", url.removeprefix(strict.url))) == (400, "InvalidRequest")


def test_a_request_signed_twice_is_refused(server: Running, bucket: str) -> None:
    path = presign(server, "GET", f"/{bucket}")
    assert of(call(server, "GET", path)) == (400, "InvalidArgument")
    headers = sign(server, "GET", f"/{bucket}", b"", {}, ALICE)
    assert of(send(server, "GET", f"/{bucket}?X-Amz-Algorithm=AWS4-HMAC-SHA256", headers=headers)) == (400, "InvalidArgument")


def test_a_header_added_after_signing_is_refused(server: Running, bucket: str) -> None:
    signed = sign(server, "PUT", f"/{bucket}/k", b"data", {}, ALICE)
    for name in ("x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-meta-a", "x-amz-server-side-encryption", "Content-MD5"):
        answer = send(server, "PUT", f"/{bucket}/k", b"data", {**signed, name: "v"})
        assert of(answer) == (403, "AccessDenied"), name
        assert name.lower() in answer.value("HeadersNotSigned")


def test_a_header_added_to_a_presigned_put_is_refused(server: Running, bucket: str) -> None:
    path = presign(server, "PUT", f"/{bucket}/k")
    for name in ("x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-meta-a", "x-amz-content-sha256", "Content-MD5"):
        assert of(send(server, "PUT", path, b"data", {name: "v"})) in ((403, "AccessDenied"), (400, "InvalidArgument")), name
    assert send(server, "PUT", path, b"data").status == 200
    assert send(server, "GET", presign(server, "GET", f"/{bucket}/k")).body == b"data"


def test_presigned_headers_must_come_as_signed(server: Running, bucket: str) -> None:
    path = presign(server, "PUT", f"/{bucket}/k", headers={"x-amz-meta-a": "1"})
    assert send(server, "PUT", path, b"data", {"x-amz-meta-a": "1"}).status == 200
    assert of(send(server, "PUT", path, b"data", {"x-amz-meta-a": "2"})) == (403, "SignatureDoesNotMatch")
    assert of(send(server, "PUT", path, b"data")) == (403, "SignatureDoesNotMatch")


def test_presigned_requests_expire(server: Running, bucket: str) -> None:
    path = presign(server, "GET", f"/{bucket}", expires=1)
    assert send(server, "GET", path).status == 200
    time.sleep(2.1)
    answer = send(server, "GET", path)
    assert of(answer) == (403, "AccessDenied")
    assert answer.value("Message") == "Request has expired"


def test_presigned_requests_live_a_week_at_most_and_are_whole(server: Running, bucket: str) -> None:
    for expires in (604801, -5):
        assert of(send(server, "GET", presign(server, "GET", f"/{bucket}", expires=expires))) == (400, "AuthorizationQueryParametersError")
    none = send(server, "GET", presign(server, "GET", f"/{bucket}", expires=0))
    assert (of(none), none.value("Message")) == ((403, "AccessDenied"), "Request has expired")
    path = presign(server, "GET", f"/{bucket}")
    for parameter in ("X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Credential"):
        kept = "&".join(item for item in path.partition("?")[2].split("&") if not item.startswith(parameter))
        assert of(send(server, "GET", f"/{bucket}?{kept}")) == (400, "AuthorizationQueryParametersError")
    assert of(send(server, "DELETE", path)) == (403, "SignatureDoesNotMatch")


def test_a_request_from_another_time_is_refused(server: Running, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "datetime.datetime":
            return datetime.datetime.now(tz) + datetime.timedelta(minutes=16)

    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: Late.now(datetime.UTC))
    answer = call(server, "GET", f"/{bucket}")
    assert of(answer) == (403, "RequestTimeTooSkewed")
    assert answer.value("MaxAllowedSkewMilliseconds") == "900000"
    assert answer.value("ServerTime")


def test_any_region_is_good_unless_the_store_is_strict(server: Running, bucket: str) -> None:
    assert call(server, "GET", f"/{bucket}", region="mars-north-7").status == 200
    with s3_serving(settings=S3Settings(region="eu-one", strict_region=True)) as strict:
        answer = call(strict, "GET", "/", region="us-east-1")
        assert of(answer) == (400, "AuthorizationHeaderMalformed")
        assert answer.value("Region") == "eu-one"
        assert call(strict, "GET", "/", region="eu-one").status == 200


def test_the_service_must_be_s3(server: Running) -> None:
    assert of(call(server, "GET", "/", service="sts")) == (400, "AuthorizationHeaderMalformed")


def test_every_signed_request_says_what_its_body_is(server: Running, bucket: str) -> None:
    headers = sign(server, "PUT", f"/{bucket}/k", b"x", {}, ALICE)
    del headers["X-Amz-Content-SHA256"]
    assert of(send(server, "PUT", f"/{bucket}/k", b"x", headers)) == (400, "InvalidRequest")
    for value in ("", "unsigned-payload", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "A" * 64):
        answer = call(server, "PUT", f"/{bucket}/k", b"x", {"x-amz-content-sha256": value})
        assert answer.status in (400, 403), value


MODES = [UNSIGNED_PAYLOAD, sha256(b"x").hexdigest(), STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER, "else"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signature", ["none", "fake header", "fake query", "both", "header of another path"])
def test_no_payload_mode_lets_anybody_in_without_a_signature(server: Running, bucket: str, mode: str, signature: str) -> None:
    routes = [
        ("PUT", f"/{bucket}/k"), ("GET", f"/{bucket}/k"), ("DELETE", f"/{bucket}/k"), ("POST", f"/{bucket}/k?uploads"),
        ("POST", f"/{bucket}?delete"), ("PUT", f"/{bucket}/k?tagging"), ("PUT", f"/{bucket}/k?partNumber=1&uploadId=x"),
        ("GET", f"/{bucket}"), ("PUT", "/new-bucket"), ("DELETE", f"/{bucket}"), ("GET", "/"),
    ]  # fmt: skip
    scope = f"AKALICE/{time.strftime('%Y%m%d', time.gmtime())}/us-east-1/s3/aws4_request"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    fake = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={'0' * 64}"
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(scope, safe='')}&X-Amz-Date={stamp}"
        f"&X-Amz-Expires=600&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&X-Amz-Signature={'0' * 64}"
    )
    for method, path in routes:
        headers = {"x-amz-content-sha256": mode, "x-amz-decoded-content-length": "1"}
        target = path
        if signature == "header of another path":
            headers = sign(server, method, "/elsewhere", b"", {"x-amz-content-sha256": mode}, ALICE)
        elif signature != "none":
            headers["x-amz-date"] = stamp
            if signature in ("fake header", "both"):
                headers["Authorization"] = fake
            if signature in ("fake query", "both"):
                target += ("&" if "?" in path else "?") + query
        answer = send(server, method, target, b"x" if method in ("PUT", "POST") else b"", headers)
        assert answer.status in (400, 403), (method, path, answer.body)


def test_a_body_with_chunk_signatures_of_another_key_is_not_stored(server: Running, bucket: str) -> None:
    headers = {"x-amz-content-sha256": STREAMING_SIGNED, "x-amz-decoded-content-length": "4", "content-encoding": "aws-chunked"}
    signed = sign(server, "PUT", f"/{bucket}/k", b"", headers, ALICE)
    forged = frame_signed(signed, LIAR, [b"evil"])
    assert of(send(server, "PUT", f"/{bucket}/k", forged, signed)) == (403, "SignatureDoesNotMatch")
    assert call(server, "GET", f"/{bucket}/k").code == "NoSuchKey"
    assert send(server, "PUT", f"/{bucket}/k", frame_signed(signed, ALICE, [b"go", b"od"]), signed).status == 200
    assert call(server, "GET", f"/{bucket}/k").body == b"good"


def test_security_tokens_are_refused_since_there_are_none(server: Running) -> None:
    assert of(call(server, "GET", "/", headers={"x-amz-security-token": "t"})) == (400, "InvalidToken")


def test_unusual_names_and_queries_are_signed_as_clients_sign_them(server: Running, s3: Any, bucket: str) -> None:
    keys = ["a b", "a+b", "a%2Fb", "//x", "./x", "../x", "ü/日本", "~-_.", "a:b@c=d&e", "?x", "#", "'\"", "a//b/", "*()!"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        prefix = key[:2]
        assert key in [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    assert sorted(keys, key=str.encode) == [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert call(server, "GET", f"/{bucket}?prefix=env%3A%2F").status == 200
    assert call(server, "GET", f"/{bucket}?prefix=a&prefix=b&prefix=").status == 200


def test_version_2_works_in_headers_and_in_queries(either: Running) -> None:
    client = either.client(signature_version="s3")
    client.create_bucket(Bucket="v2-bucket")
    key = "a b/ü+~%41"
    client.put_object(Bucket="v2-bucket", Key=key, Body=b"data", Metadata={"who": "me"}, ContentType="text/x")
    assert client.get_object(Bucket="v2-bucket", Key=key)["Body"].read() == b"data"
    assert client.get_object_tagging(Bucket="v2-bucket", Key=key)["TagSet"] == []
    assert [item["Key"] for item in client.list_objects_v2(Bucket="v2-bucket", Prefix="a b/")["Contents"]] == [key]
    upload = client.create_multipart_upload(Bucket="v2-bucket", Key="mpu")["UploadId"]
    etag = client.upload_part(Bucket="v2-bucket", Key="mpu", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    client.complete_multipart_upload(
        Bucket="v2-bucket", Key="mpu", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    client.delete_objects(Bucket="v2-bucket", Delete={"Objects": [{"Key": "mpu"}]})
    liar = either.client(LIAR, signature_version="s3")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        liar.list_buckets()


def test_a_version_2_url_does_what_was_signed_and_nothing_else(server: Running, bucket: str) -> None:
    client = server.client(signature_version="s3")
    client.put_object(Bucket=bucket, Key="k", Body=b"data")
    parameters = {
        "Bucket": bucket,
        "Key": "k",
        "ResponseContentType": "a/b; c=d+e",
        "ResponseContentDisposition": 'attachment; filename="ü x"',
    }
    url = client.generate_presigned_url("get_object", Params=parameters).removeprefix(server.url)
    answer = send(server, "GET", url)
    assert (answer.body, answer.headers["content-type"]) == (b"data", "a/b; c=d+e")
    for addition in ("&tagging", "&acl", "&versionId=null", "&uploads", "&retention", "&legal-hold", "&attributes", "&encryption"):
        assert of(send(server, "GET", url + addition)) == (403, "SignatureDoesNotMatch"), addition
    assert of(send(server, "GET", url.replace("d%2Be", "other"))) == (403, "SignatureDoesNotMatch")
    assert of(send(server, "DELETE", url)) == (403, "SignatureDoesNotMatch")
    put = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k2", "Metadata": {"a": "1"}}).removeprefix(
        server.url
    )
    for header in ("x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-meta-b", "Content-MD5"):
        assert of(send(server, "PUT", put, b"data", {header: f"/{bucket}/k"})) == (403, "SignatureDoesNotMatch"), header
    assert send(server, "PUT", put, b"data").status == 200
    assert client.head_object(Bucket=bucket, Key="k2")["Metadata"] == {"a": "1"}  # carried by the signed query
    old = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=-5).removeprefix(server.url)
    answer = send(server, "GET", old)
    assert (answer.status, answer.code, answer.value("Message")) == (403, "AccessDenied", "Request has expired")


def test_a_version_2_header_from_another_time_is_refused(server: Running, bucket: str) -> None:
    for date, code in (
        ("Sun, 01 Jan 2023 00:00:00 GMT", "RequestTimeTooSkewed"),
        ("Tue, 07 Jul 9999 21:53:04 GMT", "RequestTimeTooSkewed"),
        ("Tue, 07 Jul 1950 21:53:04 GMT", "AccessDenied"),
        ("yesterday", "AccessDenied"),
        ("", "AccessDenied"),
    ):
        headers = {"Authorization": "AWS AKALICE:" + "A" * 27 + "=", **({"Date": date} if date else {})}
        assert of(send(server, "GET", f"/{bucket}", headers=headers)) == (403, code), date


def test_signed_parameters_stand_for_their_headers(server: Running, bucket: str) -> None:
    query = "x-amz-meta-a=1&x-amz-tagging=t%3Dv"
    path = presign(server, "PUT", f"/{bucket}/k?{query}")
    assert send(server, "PUT", path, b"data").status == 200
    answer = call(server, "HEAD", f"/{bucket}/k")
    assert (answer.headers["x-amz-meta-a"], answer.headers["x-amz-tagging-count"]) == ("1", "1")
    assert of(send(server, "PUT", path + "&x-amz-acl=public-read", b"data")) == (403, "SignatureDoesNotMatch")
    path = presign(server, "PUT", f"/{bucket}/k?x-amz-checksum-crc32=AAAAAA%3D%3D")
    assert of(send(server, "PUT", path, b"data")) == (400, "BadDigest")
    path = presign(server, "PUT", f"/{bucket}/k?x-amz-meta-a=%0D%0AX: y")
    assert of(send(server, "PUT", path, b"data")) == (400, "InvalidArgument")
