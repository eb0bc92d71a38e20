"""Objects through boto3, over HTTP and TLS: what is written comes back, conditions decide, errors have Amazon's codes."""

import datetime
import json
import os
from hashlib import md5
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from objstore.fronts.s3.settings import S3Settings
from tests.support.s3_raw import call, presign, send
from tests.support.s3_server import Running, s3_serving

BIG = os.urandom(1_500_000)


def refusal(operation: Any, **arguments: Any) -> tuple[int, str, dict[str, Any]]:
    with pytest.raises(ClientError) as caught:
        operation(**arguments)
    response: dict[str, Any] = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response


def test_objects_of_every_size_come_back(either: Running) -> None:
    s3 = either.client()
    s3.create_bucket(Bucket="sizes")
    for size in (0, 1, 4096, 131072, 131073, 1_500_000):
        data = BIG[:size]
        put = s3.put_object(Bucket="sizes", Key=f"k{size}", Body=data)
        assert put["ETag"] == f'"{md5(data).hexdigest()}"'
        got = s3.get_object(Bucket="sizes", Key=f"k{size}", ChecksumMode="ENABLED")
        assert got["Body"].read() == data
        assert (got["ContentLength"], got["ETag"], got["ChecksumType"]) == (size, put["ETag"], "FULL_OBJECT")
        head = s3.head_object(Bucket="sizes", Key=f"k{size}")
        assert (head["ContentLength"], head["ETag"], head["AcceptRanges"]) == (size, put["ETag"], "bytes")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_verified_stored_and_returned(either: Running, algorithm: str) -> None:
    s3 = either.client()
    s3.create_bucket(Bucket="sums")
    put = s3.put_object(Bucket="sums", Key=algorithm, Body=BIG, ChecksumAlgorithm=algorithm)
    value = put[f"Checksum{algorithm}"]
    got = s3.get_object(Bucket="sums", Key=algorithm, ChecksumMode="ENABLED")
    assert got["Body"].read() == BIG
    assert got[f"Checksum{algorithm}"] == value
    assert s3.head_object(Bucket="sums", Key=algorithm, ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == value
    assert f"Checksum{algorithm}" not in s3.head_object(Bucket="sums", Key=algorithm)
    part = s3.get_object(Bucket="sums", Key=algorithm, ChecksumMode="ENABLED", Range="bytes=0-9")
    assert f"Checksum{algorithm}" not in part
    attributes = s3.get_object_attributes(
        Bucket="sums", Key=algorithm, ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"]
    )
    assert attributes["Checksum"] == {f"Checksum{algorithm}": value, "ChecksumType": "FULL_OBJECT"}
    assert (attributes["ETag"], attributes["ObjectSize"], attributes["StorageClass"]) == (put["ETag"].strip('"'), len(BIG), "STANDARD")


def test_attributes_headers_and_metadata_round_trip(s3: Any, bucket: str) -> None:
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    s3.put_object(
        Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain; charset=utf-8", CacheControl="max-age=5", ContentDisposition="inline",
        ContentEncoding="gzip", ContentLanguage="de", Expires=expires, Metadata={"one": "1", "under_score": "a  b"}, Tagging="a=1&b=x%20y",
    )  # fmt: skip
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ContentType"], got["CacheControl"], got["ContentDisposition"]) == ("text/plain; charset=utf-8", "max-age=5", "inline")
    assert (got["ContentEncoding"], got["ContentLanguage"], got["ExpiresString"]) == ("gzip", "de", "Wed, 02 Jan 2030 03:04:05 GMT")
    assert (got["Metadata"], got["TagCount"]) == ({"one": "1", "under_score": "a  b"}, 2)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="plain")["ContentType"] == "binary/octet-stream"


def test_metadata_bytes_round_trip_whatever_their_encoding(server: Running, bucket: str) -> None:
    for raw in ("caf\xe9", "日本".encode().decode("latin-1"), "x\xff\xfe", "\xee\xbe\x80"):
        assert call(server, "PUT", f"/{bucket}/k", b"x", {"x-amz-meta-m": raw}).status == 200
        assert call(server, "HEAD", f"/{bucket}/k").headers["x-amz-meta-m"] == raw


def test_metadata_has_a_limit(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2047})
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2048})[:2] == (400, "MetadataTooLarge")


def test_ranges(server: Running, s3: Any, bucket: str) -> None:
    data = bytes(range(200))
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    for text, first, last in (
        ("bytes=0-9", 0, 9), ("bytes=10-", 10, 199), ("bytes=-5", 195, 199), ("bytes=190-9999", 190, 199), ("bytes=-999", 0, 199),
    ):  # fmt: skip
        got = s3.get_object(Bucket=bucket, Key="k", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == data[first : last + 1]
        assert got["ContentRange"] == f"bytes {first}-{last}/200"
        head = call(server, "HEAD", f"/{bucket}/k", headers={"Range": text})
        assert (head.status, head.headers["content-range"]) == (206, f"bytes {first}-{last}/200")
    for text in ("bytes=0-1,5-6", "bytes=9-1", "lines=1-2", "bytes=-", "bytes", "bytes=a-b"):
        answer = call(server, "GET", f"/{bucket}/k", headers={"Range": text})
        assert (answer.status, answer.body) == (200, data)
    answer = call(server, "GET", f"/{bucket}/k", headers={"Range": "bytes=200-"})
    assert (answer.status, answer.code, answer.headers["content-range"]) == (416, "InvalidRange", "bytes */200")
    assert (answer.value("ActualObjectSize"), answer.value("RangeRequested")) == ("200", "bytes=200-")
    assert call(server, "HEAD", f"/{bucket}/k", headers={"Range": "bytes=200-"}).status == 416


def test_a_range_can_be_conditional(server: Running, s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
    for condition, status in ((etag, 206), ('"other"', 200), (modified, 206), ("Thu, 01 Jan 1970 00:00:00 GMT", 200)):
        answer = call(server, "GET", f"/{bucket}/k", headers={"Range": "bytes=0-1", "If-Range": condition})
        assert (answer.status, len(answer.body)) == (status, 2 if status == 206 else 10)
        for method in ("GET", "HEAD"):
            beyond = call(server, method, f"/{bucket}/k", headers={"Range": "bytes=50-", "If-Range": condition})
            assert beyond.status == (416 if status == 206 else 200)
            assert status == 206 or beyond.headers["content-length"] == "10"


def test_reads_obey_conditions(server: Running, s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    old, new = "Thu, 01 Jan 2004 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT"
    for headers, status in (
        ({"If-Match": etag}, 200), ({"If-Match": etag.strip('"')}, 200), ({"If-Match": "*"}, 200), ({"If-Match": '"x"'}, 412),
        ({"If-Match": f'"x", {etag}'}, 200), ({"If-None-Match": etag}, 304), ({"If-None-Match": '"x"'}, 200), ({"If-None-Match": "*"}, 304),
        ({"If-Modified-Since": old}, 200), ({"If-Modified-Since": new}, 304), ({"If-Unmodified-Since": new}, 200),
        ({"If-Unmodified-Since": old}, 412), ({"If-Match": etag, "If-Unmodified-Since": old}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": new}, 200), ({"If-Modified-Since": "garbage"}, 200),
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            answer = call(server, method, f"/{bucket}/k", headers=headers)
            assert answer.status == status, headers
            if status == 304:
                assert (answer.headers["etag"], answer.body) == (etag, b"")
            if status == 412 and method == "GET":
                assert (answer.code, answer.value("Condition")) == ("PreconditionFailed", next(iter(headers)))


def test_what_is_not_modified_says_how_long_it_may_be_kept(server: Running, s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x", CacheControl="max-age=60", Expires="Thu, 01 Jan 2099 00:00:00 GMT")["ETag"]
    for method in ("GET", "HEAD"):
        answer = call(server, method, f"/{bucket}/k", headers={"If-None-Match": etag})
        assert (answer.status, answer.headers["cache-control"]) == (304, "max-age=60")
        assert answer.headers["expires"] == "Thu, 01 Jan 2099 00:00:00 GMT"
        other = call(server, method, f"/{bucket}/k?response-cache-control=no-store", headers={"If-None-Match": etag})
        assert (other.status, "cache-control" in other.headers) == (304, False)


def test_writes_obey_conditions(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
    status, code, response = refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert (status, code, response["Error"]["Condition"]) == (412, "PreconditionFailed", "If-None-Match")
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=first["ETag"])
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"4", IfMatch=first["ETag"])[:2] == (412, "PreconditionFailed")
    assert refusal(s3.put_object, Bucket=bucket, Key="new", Body=b"4", IfMatch=first["ETag"])[:2] == (404, "NoSuchKey")
    assert refusal(s3.delete_object, Bucket=bucket, Key="k", IfMatch=first["ETag"])[:2] == (412, "PreconditionFailed")
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=second["ETag"])
    assert refusal(s3.get_object, Bucket=bucket, Key="k")[:2] == (404, "NoSuchKey")


def test_missing_things_have_their_codes_and_heads_no_body(server: Running, s3: Any, bucket: str) -> None:
    status, code, response = refusal(s3.get_object, Bucket=bucket, Key="no")
    assert (status, code, response["Error"]["Key"]) == (404, "NoSuchKey", "no")
    assert refusal(s3.put_object, Bucket="no-such-bucket", Key="k", Body=b"")[:2] == (404, "NoSuchBucket")
    head = call(server, "HEAD", f"/{bucket}/no")
    assert (head.status, head.body) == (404, b"")
    assert refusal(s3.get_object, Bucket=bucket, Key="no", VersionId="null")[:2] == (404, "NoSuchVersion")
    assert refusal(s3.get_object, Bucket=bucket, Key="no", VersionId="x")[:2] == (400, "InvalidArgument")
    assert refusal(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"")[:2] == (400, "KeyTooLongError")
    s3.put_object(Bucket=bucket, Key="ü" * 512, Body=b"")
    assert call(server, "GET", f"/{bucket}/%ff").code == "InvalidURI"


def test_the_null_version_is_the_object(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
    assert refusal(s3.head_object, Bucket=bucket, Key="k", VersionId="0" * 24)[0] == 404
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert refusal(s3.head_object, Bucket=bucket, Key="k")[0] == 404
    s3.delete_object(Bucket=bucket, Key="k")


def test_answers_can_be_dressed_by_signed_parameters(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="no", ResponseContentDisposition="attachment; filename=ü"
    )
    headers = got["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["content-type"], headers["cache-control"]) == ("a/b", "no")
    url = presign(server, "GET", f"/{bucket}/k?response-content-language=fr")
    assert send(server, "GET", url).headers["content-language"] == "fr"
    for text in ("\uef80", "a\uefff\u010a\u010db", "ü\uef8a"):
        for name in ("content-type", "cache-control"):
            answer = call(server, "GET", f"/{bucket}/k?response-{name}={quote(text)}")
            assert (answer.status, answer.headers[name].encode("latin-1").decode()) == (200, text)
    for evil in ("a%0d%0aSet-Cookie:b", "a%00b", "%0a"):
        answer = call(server, "GET", f"/{bucket}/k?response-content-type={evil}")
        assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_content_md5_is_verified(server: Running, bucket: str) -> None:
    good = "XrY7u+Ae7tCTyyK7j1rNww=="  # of "hello world"
    assert call(server, "PUT", f"/{bucket}/k", b"hello world", {"Content-MD5": good}).status == 200
    assert call(server, "PUT", f"/{bucket}/k", b"hello there", {"Content-MD5": good}).code == "BadDigest"
    for odd in ("", "x", "XrY7u+Ae7tCTyyK7j1rN"):
        assert call(server, "PUT", f"/{bucket}/k", b"hello world", {"Content-MD5": odd}).code == "InvalidDigest"
    assert call(server, "GET", f"/{bucket}/k").body == b"hello world"


def test_bulk_deletes(either: Running) -> None:
    s3 = either.client()
    s3.create_bucket(Bucket="bulk")
    keys = ["a", "b/ü", "c<&>\"'", "d\x01e", "x" * 1000]
    for key in keys:
        s3.put_object(Bucket="bulk", Key=key, Body=b"")
    wanted = [{"Key": key} for key in [*keys[:3], "missing"]]
    answer = s3.delete_objects(Bucket="bulk", Delete={"Objects": wanted})
    assert [found["Key"] for found in answer["Deleted"]] == [*keys[:3], "missing"]
    assert "Errors" not in answer
    etag = s3.head_object(Bucket="bulk", Key=keys[4])["ETag"]
    answer = s3.delete_objects(
        Bucket="bulk",
        Delete={
            "Quiet": True,
            "Objects": [{"Key": keys[4], "ETag": etag}, {"Key": "k", "VersionId": "odd"}, {"Key": "gone", "ETag": etag}],
        },
    )
    assert "Deleted" not in answer
    assert [(found["Key"], found["Code"]) for found in answer["Errors"]] == [("k", "InvalidArgument"), ("gone", "NoSuchKey")]


def test_bulk_deletes_are_bounded_and_verified(server: Running, s3: Any, bucket: str) -> None:
    def delete(inner: str, headers: dict[str, str] | None = None) -> str:
        body = f"<Delete>{inner}</Delete>".encode()
        chosen = {"Content-MD5": __import__("base64").b64encode(md5(body).digest()).decode()} if headers is None else headers
        return call(server, "POST", f"/{bucket}?delete", body, chosen).code

    item = "<Object><Key>k</Key></Object>"
    assert delete(item) == ""
    assert delete(item * 1000) == ""
    assert delete(item * 1001) == "MalformedXML"
    assert delete("") == "MalformedXML"
    assert delete("<Object></Object>") == "MalformedXML"
    assert delete("<Object><Key>k</Key><Size>five</Size></Object>") == "MalformedXML"
    assert delete("<Object><Key>k</Key><LastModifiedTime>noon</LastModifiedTime></Object>") == "MalformedXML"
    assert delete(item, {}) == "InvalidRequest"
    assert delete(item, {"Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww=="}) == "BadDigest"
    assert delete(item, {"x-amz-checksum-crc32": "AAAAAA=="}) == "BadDigest"
    assert delete(item, {"x-amz-checksum-crc32": "AAAA"}) == "InvalidRequest"


def test_tags(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=2%20x")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2 x"}]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "ü/+-=._:@"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "c", "Value": "ü/+-=._:@"}]
    assert s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"] == "1"
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []

    def put(pairs: list[tuple[str, str]]) -> tuple[int, str]:
        return refusal(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in pairs]})[:2]

    assert put([(str(n), "") for n in range(11)]) == (400, "InvalidTag")
    assert put([("aws:owner", "x")]) == (400, "InvalidTag")
    s3.put_object(Bucket=bucket, Key="sorted", Body=b"x", Tagging="foo=bar&bar")
    assert s3.get_object_tagging(Bucket=bucket, Key="sorted")["TagSet"] == [{"Key": "bar", "Value": ""}, {"Key": "foo", "Value": "bar"}]
    assert put([("a", "1"), ("a", "2")]) == (400, "InvalidTag")
    assert put([("k" * 129, "")]) == (400, "InvalidTag")
    assert put([("k", "v" * 257)]) == (400, "InvalidTag")
    assert put([("k", "<script>")]) == (400, "InvalidTag")
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="a=1&a=2")[:2] == (400, "InvalidTag")
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="&".join(f"{n}=1" for n in range(11)))[:2] == (
        400,
        "InvalidTag",
    )
    assert refusal(s3.get_object_tagging, Bucket=bucket, Key="no")[:2] == (404, "NoSuchKey")
    assert call(server, "PUT", f"/{bucket}/k?tagging", b"<Tagging/>").code == "MalformedXML"


@pytest.mark.parametrize(
    ("header", "value", "status", "code"),
    [
        ("x-amz-website-redirect-location", "x", 400, "InvalidRedirectLocation"),
        ("x-amz-object-lock-mode", "GOVERNANCE", 400, "InvalidArgument"),
        ("x-amz-object-lock-legal-hold", "ON", 400, "InvalidRequest"),
        ("x-amz-object-lock-legal-hold", "MAYBE", 400, "InvalidArgument"),
        ("x-amz-acl", "public-read", 400, "AccessControlListNotSupported"),
        ("x-amz-grant-read", 'uri="http://acs.amazonaws.com/groups/global/AllUsers"', 400, "AccessControlListNotSupported"),
        ("x-amz-storage-class", "GLACIER", 400, "InvalidStorageClass"),
        ("x-amz-checksum-crc16", "AAAA", 400, "InvalidRequest"),
        ("x-amz-checksum-crc32", "AAAA", 400, "InvalidRequest"),
        ("x-amz-sdk-checksum-algorithm", "MD4", 400, "InvalidRequest"),
        ("x-amz-sdk-checksum-algorithm", "SHA256", 400, "InvalidRequest"),
        ("x-amz-expected-bucket-owner", "bob", 403, "AccessDenied"),
    ],
)
def test_what_is_not_built_is_refused_and_not_ignored(
    server: Running, bucket: str, header: str, value: str, status: int, code: str
) -> None:
    answer = call(server, "PUT", f"/{bucket}/k", b"x", {header: value})
    assert (answer.status, answer.code) == (status, code)
    assert call(server, "GET", f"/{bucket}/k").status == 404


def test_harmless_defaults_are_accepted(server: Running, bucket: str) -> None:
    headers = {
        "x-amz-acl": "private",
        "x-amz-storage-class": "STANDARD",
        "x-amz-expected-bucket-owner": "alice",
        "x-amz-request-payer": "requester",
    }
    assert call(server, "PUT", f"/{bucket}/k", b"x", headers).status == 200


def test_two_checksums_are_one_too_many(server: Running, bucket: str) -> None:
    headers = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}
    assert call(server, "PUT", f"/{bucket}/k", b"", headers).code == "InvalidRequest"


def test_attributes_are_named(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for value in ("", "Else", "ETag,Else"):
        answer = call(server, "GET", f"/{bucket}/k?attributes", headers={"x-amz-object-attributes": value})
        assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_keys_that_look_like_paths_are_just_keys(s3: Any, server: Running, bucket: str) -> None:
    for key in ("../../etc/passwd", "..", ".", "a/../b", "%2e%2e/x", "a\x00b", "/", "//", "a//"):
        assert call(server, "PUT", f"/{bucket}/{quote(key)}", key.encode()).status == 200, key
        assert call(server, "GET", f"/{bucket}/{quote(key)}").body == key.encode()
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 9


def test_storage_classes_that_the_store_was_given_are_kept_and_shown() -> None:
    with s3_serving(settings=S3Settings(storage_classes=("COLD",))) as running:
        s3 = running.client()
        s3.create_bucket(Bucket="classes")
        s3.put_object(Bucket="classes", Key="cold", Body=b"x", StorageClass="COLD")
        s3.put_object(Bucket="classes", Key="plain", Body=b"x", StorageClass="STANDARD")
        assert s3.head_object(Bucket="classes", Key="cold")["StorageClass"] == "COLD"
        assert "StorageClass" not in s3.head_object(Bucket="classes", Key="plain")
        assert [item["StorageClass"] for item in s3.list_objects_v2(Bucket="classes")["Contents"]] == ["COLD", "STANDARD"]
        assert [item["StorageClass"] for item in s3.list_object_versions(Bucket="classes")["Versions"]] == ["COLD", "STANDARD"]
        assert s3.get_object_attributes(Bucket="classes", Key="cold", ObjectAttributes=["StorageClass"])["StorageClass"] == "COLD"
        s3.copy_object(Bucket="classes", Key="plain", CopySource="classes/plain", StorageClass="COLD")
        assert s3.head_object(Bucket="classes", Key="plain")["StorageClass"] == "COLD"
        s3.copy_object(Bucket="classes", Key="copy", CopySource="classes/cold")
        assert "StorageClass" not in s3.head_object(Bucket="classes", Key="copy")
        upload = s3.create_multipart_upload(Bucket="classes", Key="parts", StorageClass="COLD")["UploadId"]
        assert s3.list_multipart_uploads(Bucket="classes")["Uploads"][0]["StorageClass"] == "COLD"
        part = s3.upload_part(Bucket="classes", Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
        assert s3.list_parts(Bucket="classes", Key="parts", UploadId=upload)["StorageClass"] == "COLD"
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket="classes", Key="parts", UploadId=upload, MultipartUpload=parts)
        assert s3.head_object(Bucket="classes", Key="parts")["StorageClass"] == "COLD"
        assert refusal(s3.put_object, Bucket="classes", Key="k", Body=b"", StorageClass="GLACIER")[:2] == (400, "InvalidStorageClass")


def test_nobody_dresses_an_answer_without_a_signature(server: Running, s3: Any, bucket: str) -> None:
    """Else a link could make a page, with scripts, of what was uploaded as a picture."""
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": statement}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"<script>", ContentType="image/png")
    for name in ("content-type", "content-disposition", "content-encoding", "cache-control", "expires", "content-language"):
        answer = send(server, "GET", f"/{bucket}/k?response-{name}=text/html")
        assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert send(server, "HEAD", f"/{bucket}/k?response-content-type=text/html").status == 400
    assert send(server, "GET", f"/{bucket}/k").headers["content-type"] == "image/png"


def test_a_thousand_keys_of_the_greatest_length_are_deleted_at_once(s3: Any, bucket: str) -> None:
    keys = [f"{number:04d}" + "k" * 1020 for number in range(1000)]
    s3.put_object(Bucket=bucket, Key=keys[7], Body=b"")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    assert "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
