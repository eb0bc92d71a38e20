import itertools
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.s3_raw import call
from tests.support.s3_server import Running

MISSING = "0123456789abcdef01234567"


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def refusal(call_: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call_(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def test_the_state_of_versioning_is_set_and_shown(server: Running, s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status, "MFADelete": "Disabled"})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    enabled = {"Status": "Enabled", "MFADelete": "Enabled"}
    assert refusal(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=enabled) == (501, "NotImplemented")
    for document in (
        b"<VersioningConfiguration><Status>On</Status></VersioningConfiguration>",
        b"<x/>",
        b"",
    ):
        assert call(server, "PUT", f"/{bucket}?versioning", document).code == "MalformedXML"
    nothing = call(server, "PUT", f"/{bucket}?versioning", b"<VersioningConfiguration/>")
    assert (nothing.status, nothing.code) == (400, "IllegalVersioningConfigurationException")


def test_versions_are_told_in_headers(s3: Any, versioned: str) -> None:
    one = s3.put_object(Bucket=versioned, Key="k", Body=b"one")
    two = s3.put_object(Bucket=versioned, Key="k", Body=b"two!")
    assert one["VersionId"] != two["VersionId"]
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == two["VersionId"]
    old = s3.get_object(Bucket=versioned, Key="k", VersionId=one["VersionId"])
    assert (old["Body"].read(), old["VersionId"]) == (b"one", one["VersionId"])
    assert s3.head_object(Bucket=versioned, Key="k", VersionId=one["VersionId"])["ContentLength"] == 3
    attributes = s3.get_object_attributes(Bucket=versioned, Key="k", VersionId=one["VersionId"], ObjectAttributes=["ObjectSize"])
    assert (attributes["ObjectSize"], attributes["VersionId"]) == (3, one["VersionId"])
    assert refusal(s3.get_object, Bucket=versioned, Key="k", VersionId=MISSING) == (404, "NoSuchVersion")
    assert refusal(s3.get_object, Bucket=versioned, Key="k", VersionId="nonsense") == (400, "InvalidArgument")
    copied = s3.copy_object(Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": one["VersionId"]})
    assert copied["CopySourceVersionId"] == one["VersionId"]
    assert copied["VersionId"] not in (one["VersionId"], two["VersionId"])


def test_delete_markers_answer_as_amazon_does(server: Running, s3: Any, versioned: str) -> None:
    one = s3.put_object(Bucket=versioned, Key="k", Body=b"one")["VersionId"]
    gone = s3.delete_object(Bucket=versioned, Key="k")
    assert gone["DeleteMarker"] is True
    for method in ("GET", "HEAD"):
        answer = call(server, method, f"/{versioned}/k")
        assert answer.status == 404
        assert (answer.headers["x-amz-delete-marker"], answer.headers["x-amz-version-id"]) == ("true", gone["VersionId"])
        assert answer.code == ("NoSuchKey" if method == "GET" else "")
        answer = call(server, method, f"/{versioned}/k?versionId={gone['VersionId']}")
        assert answer.status == 405
        assert answer.headers["allow"] == "DELETE"
        assert (answer.headers["x-amz-delete-marker"], answer.headers["x-amz-version-id"]) == ("true", gone["VersionId"])
        assert "last-modified" in answer.headers
        assert answer.code == ("MethodNotAllowed" if method == "GET" else "")
    undone = s3.delete_object(Bucket=versioned, Key="k", VersionId=gone["VersionId"])
    assert (undone["DeleteMarker"], undone["VersionId"]) == (True, gone["VersionId"])
    plain = s3.delete_object(Bucket=versioned, Key="k", VersionId=one)
    assert "DeleteMarker" not in plain
    assert plain["VersionId"] == one
    assert call(server, "GET", f"/{versioned}/k").status == 404


def test_the_null_version_of_a_suspended_bucket(s3: Any, versioned: str) -> None:
    one = s3.put_object(Bucket=versioned, Key="k", Body=b"one")["VersionId"]
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    assert "VersionId" not in s3.put_object(Bucket=versioned, Key="k", Body=b"null")
    assert "VersionId" not in s3.copy_object(Bucket=versioned, Key="copy", CopySource=f"{versioned}/k")
    s3.delete_object(Bucket=versioned, Key="copy", VersionId="null")
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    assert s3.get_object(Bucket=versioned, Key="k", VersionId="null")["Body"].read() == b"null"
    assert s3.delete_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    listed = s3.list_object_versions(Bucket=versioned)
    assert [(v["VersionId"], v["IsLatest"]) for v in listed["Versions"]] == [(one, False)]
    assert [(v["VersionId"], v["IsLatest"]) for v in listed["DeleteMarkers"]] == [("null", True)]


def test_the_listing_keeps_one_order_over_versions_and_markers_and_pages(server: Running, s3: Any, versioned: str) -> None:
    expected = []
    for key in ("a b", "c/1", "c/2", "d"):
        ids = [s3.put_object(Bucket=versioned, Key=key, Body=b"x")["VersionId"] for _ in range(2)]
        ids.append(s3.delete_object(Bucket=versioned, Key=key)["VersionId"])
        expected += [(key, version) for version in ids[::-1]]
    document = call(server, "GET", f"/{versioned}?versions").body.decode()
    kinds = ["DeleteMarker", "Version", "Version"] * 4
    assert [kind for kind in document.replace("><", "> <").split() if kind in ("<Version>", "<DeleteMarker>")] == [f"<{k}>" for k in kinds]
    for size in (1, 4, 5):
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=versioned, PaginationConfig={"PageSize": size})
        found = [
            (v["Key"], v["VersionId"]) for page in pages for v in itertools.chain(page.get("Versions", []), page.get("DeleteMarkers", []))
        ]
        assert sorted(found) == sorted(expected)
    grouped = s3.list_object_versions(Bucket=versioned, Delimiter="/", MaxKeys=5, EncodingType="url")
    assert ([p["Prefix"] for p in grouped["CommonPrefixes"]], grouped["IsTruncated"]) == (["c/"], True)
    assert len(grouped["Versions"]) + len(grouped["DeleteMarkers"]) == 4
    assert (grouped["NextKeyMarker"], grouped["NextVersionIdMarker"]) == expected[9]
    inside = s3.list_object_versions(Bucket=versioned, Prefix="c/", KeyMarker="c/1", VersionIdMarker=expected[4][1])
    assert [v["VersionId"] for v in inside["Versions"]] == [expected[i][1] for i in (5, 7, 8)]
    assert s3.list_object_versions(Bucket=versioned, MaxKeys=0)["IsTruncated"] is False
    assert refusal(s3.list_object_versions, Bucket=versioned, VersionIdMarker=MISSING) == (400, "InvalidArgument")


def test_bulk_deletes_name_versions_and_tell_markers(s3: Any, versioned: str) -> None:
    one = s3.put_object(Bucket=versioned, Key="k", Body=b"one")["VersionId"]
    two = s3.put_object(Bucket=versioned, Key="k", Body=b"two")
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}]})["Deleted"][0]
    assert (answer["Key"], answer["DeleteMarker"], len(answer["DeleteMarkerVersionId"])) == ("k", True, 24)
    assert "VersionId" not in answer
    marker = answer["DeleteMarkerVersionId"]
    wrong = {"Key": "k", "VersionId": two["VersionId"], "ETag": '"wrong"'}
    objects = [{"Key": "k", "VersionId": marker}, {"Key": "k", "VersionId": one, "Size": 3}, wrong, {"Key": "x", "VersionId": "bad"}]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": objects})
    found = {item["VersionId"]: item for item in answer["Deleted"]}
    assert (found[marker]["DeleteMarker"], found[marker]["DeleteMarkerVersionId"]) == (True, marker)
    assert "DeleteMarker" not in found[one]
    assert {item["Code"] for item in answer["Errors"]} == {"PreconditionFailed", "InvalidArgument"}
    assert [v["VersionId"] for v in s3.list_object_versions(Bucket=versioned)["Versions"]] == [two["VersionId"]]


def test_tags_belong_to_a_version(s3: Any, versioned: str) -> None:
    one = s3.put_object(Bucket=versioned, Key="k", Body=b"one", Tagging="a=1")["VersionId"]
    two = s3.put_object(Bucket=versioned, Key="k", Body=b"two")["VersionId"]
    s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=one, Tagging={"TagSet": [{"Key": "b", "Value": "2"}]})
    answer = s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=one)
    assert (answer["TagSet"], answer["VersionId"]) == ([{"Key": "b", "Value": "2"}], one)
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == []
    assert s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=one)["VersionId"] == one
    assert [v["VersionId"] for v in s3.list_object_versions(Bucket=versioned)["Versions"]] == [two, one]


def test_deletes_go_by_etag_size_and_time(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    modified = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
    size, time = "x-amz-if-match-size", "x-amz-if-match-last-modified-time"
    for headers in ({size: "4"}, {time: "Sat, 31 Jan 2026 23:59:59 GMT"}, {size: "5", "if-match": '"x"'}):
        answer = call(server, "DELETE", f"/{bucket}/k", b"", headers)
        assert (answer.status, answer.code) == (412, "PreconditionFailed")
    for headers in ({size: "four"}, {time: "noon"}):
        assert call(server, "DELETE", f"/{bucket}/k", b"", headers).code == "InvalidArgument"
    assert call(server, "DELETE", f"/{bucket}/k", b"", {size: "5", time: modified}).status == 204
    # Size and time are those of an object that is there; an ETag must match one.
    assert call(server, "DELETE", f"/{bucket}/k", b"", {size: "5"}).status == 204
    assert call(server, "DELETE", f"/{bucket}/k", b"", {time: modified}).status == 204
    assert call(server, "DELETE", f"/{bucket}/k", b"", {size: "5", "if-match": "*"}).code == "NoSuchKey"
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "Size": 5}, {"Key": "l", "ETag": '"x"'}]})
    assert ([d["Key"] for d in gone["Deleted"]], [e["Code"] for e in gone["Errors"]]) == (["k"], ["NoSuchKey"])


def test_writes_heed_what_was_modified_since(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    old, new = {"if-unmodified-since": "Sat, 29 Oct 1994 19:43:31 GMT"}, {"if-unmodified-since": "Fri, 29 Oct 2100 19:43:31 GMT"}
    source = {"x-amz-copy-source": f"{bucket}/k"}
    s3.put_object(Bucket=bucket, Key="there", Body=b"x")
    for method, key, headers in (("PUT", "k", old), ("DELETE", "k", old), ("PUT", "there", {**old, **source})):
        refused = call(server, method, f"/{bucket}/{key}", b"", headers)
        assert (refused.status, refused.value("Condition")) == (412, "If-Unmodified-Since")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"
    assert call(server, "PUT", f"/{bucket}/k", b"two", new).status == 200
    assert call(server, "PUT", f"/{bucket}/absent", b"", old).status == 200


def test_a_versioned_multipart_object(s3: Any, versioned: str) -> None:
    upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
    etag = s3.upload_part(Bucket=versioned, Key="k", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    done = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=parts)
    again = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=parts)
    assert done["VersionId"] == again["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"later")
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=done["VersionId"])["Body"].read() == b"part"
    assert refusal(s3.delete_bucket, Bucket=versioned) == (409, "BucketNotEmpty")
