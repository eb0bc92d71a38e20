"""Uploads by browser forms: boto3's, hand-made ones, and every way to make more of a signature than was signed."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from objstore.core.sigv4 import signing_key
from objstore.fronts.s3.settings import S3Settings
from tests.support.s3_raw import Answer, call, crc32_text, send
from tests.support.s3_server import ALICE, BOB, Running, s3_serving

BOUNDARY = "----objstoreForm"


def encode(fields: Mapping[str, str], data: bytes, filename: str = "file.bin") -> bytes:
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/html\r\n\r\n'.encode()
    return b"".join([*parts, head, data, f"\r\n--{BOUNDARY}--\r\n".encode()])


def post(
    server: Running, bucket: str, fields: Mapping[str, str], data: bytes = b"data", filename: str = "file.bin", **headers: str
) -> Answer:
    sent = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return send(server, "POST", f"/{bucket}", encode(fields, data, filename), sent)


def signed_v2(
    bucket: str, conditions: list[Any], *, expiration: str = "2099-01-01T00:00:00Z", secret: str = ALICE.secret_key
) -> dict[str, str]:
    policy = base64.b64encode(json.dumps({"expiration": expiration, "conditions": [{"bucket": bucket}, *conditions]}).encode()).decode()
    signature = base64.b64encode(hmac.digest(secret.encode(), policy.encode(), "sha1")).decode()
    return {"AWSAccessKeyId": ALICE.access_key, "signature": signature, "pOLICy": policy}


def made(s3: Any, bucket: str, key: str, fields: dict[str, str] | None = None, conditions: list[Any] | None = None) -> dict[str, str]:
    form = s3.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=600)
    found: dict[str, str] = form["fields"]
    return found


@pytest.fixture
def v4(server: Running) -> Any:
    """A client that signs forms with Version 4; by itself botocore signs them with Version 2."""
    return server.client(signature_version="s3v4")


def of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_boto3s_forms_upload(server: Running, bucket: str, version: str) -> None:
    client = server.client(signature_version=version)
    fields = {
        "Content-Type": "text/x",
        "x-amz-meta-a": "ü",
        "acl": "private",
        "tagging": "<Tagging><TagSet><Tag><Key>k</Key><Value>v w</Value></Tag></TagSet></Tagging>",
    }
    conditions = [{name: value} for name, value in fields.items()]
    answer = post(server, bucket, made(client, bucket, "up/${filename}", fields, conditions), b"x" * 300_000, "ü.txt")
    assert (answer.status, answer.body) == (204, b"")
    head = client.head_object(Bucket=bucket, Key="up/ü.txt")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (
        300_000,
        "text/x",
        {"a": "\xc3\xbc"},
    )  # UTF-8, as botocore shows it
    assert client.get_object_tagging(Bucket=bucket, Key="up/ü.txt")["TagSet"] == [{"Key": "k", "Value": "v w"}]
    assert answer.headers["etag"] == head["ETag"]


def test_what_the_form_wants_to_be_told(server: Running, s3: Any, bucket: str) -> None:
    def ask(name: str, value: str) -> Answer:
        return post(server, bucket, made(s3, bucket, "a b&c", {name: value}, [{name: value}]))

    answer = ask("success_action_status", "201")
    assert (answer.status, answer.value("Bucket"), answer.value("Key")) == (201, bucket, "a b&amp;c")
    assert b"<PostResponse><Location>" in answer.body
    assert answer.value("Location") == answer.headers["location"] == f"{server.url}/{bucket}/a%20b%26c"
    assert ask("success_action_status", "200").status == 200
    for status in ("404", "", "x\x7f"):
        assert ask("success_action_status", status).status == 204
    answer = ask("success_action_redirect", "http://example.com/done?x=1")
    etag = answer.headers["etag"].strip('"')
    assert answer.status == 303
    assert answer.headers["location"] == f"http://example.com/done?x=1&bucket={bucket}&key=a%20b%26c&etag=%22{etag}%22"
    for address in ("javascript:alert(1)", "//example.com", "http://a\x85b", "http://[", "nonsense"):
        assert ask("success_action_redirect", address).status == 204, address


def test_nothing_goes_beyond_the_policy(server: Running, s3: Any, v4: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=bucket + "-2")
    fields = made(v4, bucket, "k")
    assert of(post(server, bucket + "-2", fields)) == (403, "AccessDenied")
    assert of(post(server, bucket + "-2", {**fields, "bucket": bucket})) == (403, "AccessDenied")
    assert of(post(server, bucket, {**fields, "bucket": bucket + "-2"})) == (403, "AccessDenied")
    for change in (
        {"key": "other"},
        {"acl": "public-read"},
        {"x-amz-meta-a": "1"},
        {"Content-Type": "text/html"},
        {"submit": "Upload"},
        {"x-amz-acl": "private"},
    ):
        assert of(post(server, bucket, {**fields, **change})) == (403, "AccessDenied"), change
    for name in ("x-amz-date", "x-amz-credential", "x-amz-signature", "policy", "x-amz-algorithm"):
        left = {key: value for key, value in fields.items() if key != name}
        assert post(server, bucket, left).status in (400, 403), name
        assert post(server, bucket, {**fields, name: "x" + fields[name][1:]}).status in (400, 403), name
    assert of(post(server, bucket, {key: value for key, value in fields.items() if key == "key"})) == (403, "AccessDenied")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket + "-2")
    assert post(server, bucket, {**fields, "x-ignore-me": "1"}).status == 204


def test_sizes_are_held_to_the_policy(server: Running, s3: Any, bucket: str) -> None:
    fields = made(s3, bucket, "k", None, [["content-length-range", 5, 10]])
    assert of(post(server, bucket, fields, b"x" * 4)) == (400, "EntityTooSmall")
    assert of(post(server, bucket, fields, b"x" * 11)) == (400, "EntityTooLarge")
    assert of(post(server, bucket, fields, b"x" * 500_000)) == (400, "EntityTooLarge")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert post(server, bucket, fields, b"x" * 10).status == 204


def test_version_2_policies_and_their_case_rules(server: Running, v4: Any, bucket: str) -> None:
    conditions: list[Any] = [["StArTs-WiTh", "$KeY", "foo"], {"aCl": "private"}, ["starts-with", "$CoNtEnT-TyPe", "text/plain"]]
    fields = {"kEy": "foo.txt", "AcL": "private", "Content-Type": "text/plain"}
    assert post(server, bucket, {**fields, **signed_v2(bucket, conditions)}).status == 204
    assert of(post(server, bucket, {**fields, **signed_v2(bucket, conditions, secret="x")})) == (403, "SignatureDoesNotMatch")
    assert of(post(server, bucket, {**fields, **signed_v2(bucket, conditions, expiration="2020-01-01T00:00:00Z")})) == (403, "AccessDenied")
    assert of(post(server, bucket, {**fields, **signed_v2(bucket, conditions, expiration="soon")})) == (400, "InvalidPolicyDocument")
    unknown = {**signed_v2(bucket, conditions), "AWSAccessKeyId": "foo"}
    assert of(post(server, bucket, {**fields, **unknown})) == (403, "InvalidAccessKeyId")
    unsigned = {name: value for name, value in signed_v2(bucket, conditions).items() if name != "signature"}
    assert of(post(server, bucket, {**fields, **unsigned})) == (400, "InvalidArgument")
    assert of(post(server, bucket, {name: value for name, value in fields.items() if name != "kEy"})) == (400, "InvalidArgument")
    both = {**made(v4, bucket, "foo.txt"), **signed_v2(bucket, conditions)}
    both.pop("policy")
    assert of(post(server, bucket, both)) == (400, "InvalidArgument")
    with s3_serving(settings=S3Settings(sigv2=False)) as strict:
        strict.client().create_bucket(Bucket=bucket)
        assert of(post(strict, bucket, {**fields, **signed_v2(bucket, conditions)})) == (400, "InvalidRequest")


def test_a_policy_of_somebody_else_opens_nothing(server: Running, bucket: str) -> None:
    assert of(post(server, bucket, made(server.client(BOB), bucket, "k"))) == (403, "AccessDenied")
    assert of(post(server, "no-such-bucket", made(server.client(), "no-such-bucket", "k"))) == (404, "NoSuchBucket")


def test_checksums_in_fields_are_verified(server: Running, s3: Any, bucket: str) -> None:
    for data, status in ((b"data", 204), (b"datb", 400)):
        fields = {"x-amz-checksum-crc32": crc32_text(b"data")}
        answer = post(server, bucket, made(s3, bucket, "k", fields, [fields]), data)
        assert answer.status == status
        assert status == 204 or answer.code == "BadDigest"


def test_forms_carry_no_copies_and_no_headers_of_another_kind(server: Running, s3: Any, bucket: str) -> None:
    for name in ("x-amz-copy-source", "x-amz-trailer", "x-amz-content-sha256", "x-amz-decoded-content-length"):
        assert of(post(server, bucket, made(s3, bucket, "k", {name: f"/{bucket}/x"}, [{name: f"/{bucket}/x"}]))) == (400, "InvalidArgument")
    fields = {"x-amz-meta-a": "1\r\nx-amz-meta-b: 2"}
    assert of(post(server, bucket, made(s3, bucket, "k", fields, [fields]))) == (400, "InvalidArgument")


def test_a_post_that_is_no_form_is_refused(server: Running, s3: Any, bucket: str) -> None:
    answer = send(server, "POST", f"/{bucket}", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"})
    assert of(answer) == (412, "PreconditionFailed")
    assert of(send(server, "POST", f"/{bucket}", b"a=b", {"Content-Type": "multipart/form-data"})) == (400, "MalformedPOSTRequest")
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert of(call(server, "POST", f"/{bucket}", encode(made(s3, bucket, "k"), b"x"), headers)) == (400, "InvalidRequest")


def test_forms_work_over_tls(tls_server: Running) -> None:
    import urllib.request
    from ssl import create_default_context

    client = tls_server.client()
    client.create_bucket(Bucket="tls-form")
    body = encode(made(client, "tls-form", "k"), b"z" * 400_000)
    request = urllib.request.Request(
        f"{tls_server.url}/tls-form", data=body, headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, method="POST"
    )
    with urllib.request.urlopen(request, context=create_default_context(cafile=tls_server.ca)) as answer:
        assert answer.status == 204
    assert client.get_object(Bucket="tls-form", Key="k")["Body"].read() == b"z" * 400_000


def test_anonymous_forms_are_for_buckets_that_everybody_may_write(server: Running, s3: Any, bucket: str) -> None:
    fields = {"key": "k", "Content-Type": "text/plain"}
    assert of(post(server, bucket, fields)) == (403, "AccessDenied")
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    answer = post(server, bucket, {**fields, "success_action_status": "201"})
    assert (answer.status, answer.value("Key")) == (201, "k")
    assert of(post(server, bucket, {**fields, "policy": "e30="})) == (400, "InvalidArgument")
    assert of(post(server, bucket, {**fields, "bucket": "other"})) == (400, "InvalidArgument")
    assert s3.get_object(Bucket=bucket, Key="k")["ContentType"] == "text/plain"


def test_forms_and_version_2_work_where_the_host_names_the_bucket() -> None:
    with s3_serving(settings=S3Settings(domains=("localhost",))) as server:
        client = server.client(signature_version="s3")
        client.create_bucket(Bucket="hosted")
        host = f"hosted.localhost:{server.port}"
        policy = signed_v2("hosted", [["starts-with", "$key", ""], {"success_action_status": "201"}])
        body = encode({"key": "a b", "success_action_status": "201", **policy}, b"data")
        headers = {"Host": host, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = send(server, "POST", "/", body, headers)
        assert (answer.status, answer.value("Location")) == (201, f"http://{host}/a%20b")
        # The bucket that the host names stands in what is signed, and nowhere in the path.
        url = client.generate_presigned_url("get_object", Params={"Bucket": "hosted", "Key": "a b"}).removeprefix(server.url)
        assert send(server, "GET", url.removeprefix("/hosted"), headers={"Host": host}).body == b"data"
        assert of(send(server, "GET", url.removeprefix("/hosted"), headers={"Host": f"other.localhost:{server.port}"})) == (
            403,
            "SignatureDoesNotMatch",
        )


def test_names_of_fields_that_no_header_could_have_are_refused(server: Running, s3: Any, bucket: str) -> None:
    """They are kept as names of headers; an object with such a one could never be read again."""
    for name in ("x-amz-meta-a\nb", "x-amz-meta-a\rset-cookie: x", "x-amz-meta-a b", "x-amz-meta-a:b", "x-amz-meta-é"):
        answer = post(server, bucket, made(s3, bucket, "poisoned", {name: "v"}, [{name: "v"}]))
        assert (answer.status, answer.code) == (400, "InvalidArgument"), name
    assert call(server, "HEAD", f"/{bucket}/poisoned").status == 404


def signed_v4(bucket: str, *, stamp: str, region: str = "us-east-1") -> dict[str, str]:
    """A form's signature of Version 4, written straight from Amazon's description."""
    credential = f"{ALICE.access_key}/{stamp[:8]}/{region}/s3/aws4_request"
    fixed = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": credential, "x-amz-date": stamp, "key": "k"}
    conditions = [{"bucket": bucket}, *({name: value} for name, value in fixed.items())]
    policy = base64.b64encode(json.dumps({"expiration": "2099-01-01T00:00:00Z", "conditions": conditions}).encode()).decode()
    signature = hmac.digest(signing_key(ALICE.secret_key, stamp[:8], region), policy.encode(), "sha256").hex()
    return {**fixed, "policy": policy, "x-amz-signature": signature}


def test_version_4_forms_are_bound_to_their_date_and_region(bucket: str, server: Running) -> None:
    now = datetime.now(UTC)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    assert post(server, bucket, signed_v4(bucket, stamp=stamp)).status == 204
    # Old is fine as long as the policy says so; from the future it is a signature that was made with a wrong clock, or for later use.
    assert post(server, bucket, signed_v4(bucket, stamp=(now - timedelta(days=30)).strftime("%Y%m%dT%H%M%SZ"))).status == 204
    assert of(post(server, bucket, signed_v4(bucket, stamp=(now + timedelta(days=2)).strftime("%Y%m%dT%H%M%SZ")))) == (403, "AccessDenied")
    other = {**signed_v4(bucket, stamp=stamp), "x-amz-date": f"{int(stamp[:4]) - 1}{stamp[4:]}"}
    assert post(server, bucket, other).status in (400, 403)
    with s3_serving(settings=S3Settings(strict_region=True)) as strict:
        strict.client().create_bucket(Bucket="strict")
        assert post(strict, "strict", signed_v4("strict", stamp=stamp)).status == 204
        assert post(strict, "strict", signed_v4("strict", stamp=stamp, region="eu-west-1")).status == 400
