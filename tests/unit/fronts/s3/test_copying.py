"""CopyObject through boto3 and raw."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.s3_raw import call
from tests.support.s3_server import Running


def code_of(operation: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        operation(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


@pytest.fixture
def source(s3: Any, bucket: str) -> dict[str, str]:
    s3.put_object(
        Bucket=bucket, Key="a+b %?ü", Body=b"data", ContentType="text/plain", Metadata={"m": "1"}, Tagging="t=1", CacheControl="no"
    )
    return {"Bucket": bucket, "Key": "a+b %?ü"}


def test_a_copy_keeps_everything(s3: Any, bucket: str, source: dict[str, str]) -> None:
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert got["Body"].read() == b"data"
    assert (got["ContentType"], got["Metadata"], got["CacheControl"], got["TagCount"]) == ("text/plain", {"m": "1"}, "no", 1)
    assert answer["CopyObjectResult"]["ETag"] == got["ETag"]
    assert answer["CopyObjectResult"]["LastModified"] == got["LastModified"]


def test_metadata_and_tags_can_be_replaced_apart(s3: Any, bucket: str, source: dict[str, str]) -> None:
    s3.copy_object(Bucket=bucket, Key="m", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"}, ContentType="a/b")
    got = s3.head_object(Bucket=bucket, Key="m")
    assert (got["Metadata"], got["ContentType"], "CacheControl" in got) == ({"n": "2"}, "a/b", False)
    assert s3.get_object_tagging(Bucket=bucket, Key="m")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(Bucket=bucket, Key="t", CopySource=source, TaggingDirective="REPLACE", Tagging="u=2")
    assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == [{"Key": "u", "Value": "2"}]
    assert s3.head_object(Bucket=bucket, Key="t")["Metadata"] == {"m": "1"}


def test_a_copy_onto_itself_must_change_something(s3: Any, bucket: str, source: dict[str, str]) -> None:
    assert code_of(s3.copy_object, Bucket=bucket, Key=source["Key"], CopySource=source) == (400, "InvalidRequest")
    s3.copy_object(Bucket=bucket, Key=source["Key"], CopySource=source, MetadataDirective="REPLACE", Metadata={"new": "x"})
    assert s3.head_object(Bucket=bucket, Key=source["Key"])["Metadata"] == {"new": "x"}


def test_a_copy_can_be_given_another_checksum(s3: Any, bucket: str, source: dict[str, str]) -> None:
    answer = s3.copy_object(Bucket=bucket, Key="c", CopySource=source, ChecksumAlgorithm="SHA256")
    head = s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == head["ChecksumSHA256"]


def test_conditions_on_source_and_destination(s3: Any, bucket: str, source: dict[str, str]) -> None:
    etag = s3.head_object(**source)["ETag"]
    copy = {"Bucket": bucket, "Key": "c", "CopySource": source}
    assert code_of(s3.copy_object, **copy, CopySourceIfMatch='"x"') == (412, "PreconditionFailed")
    assert code_of(s3.copy_object, **copy, CopySourceIfNoneMatch=etag) == (412, "PreconditionFailed")
    s3.copy_object(**copy, CopySourceIfMatch=etag, IfNoneMatch="*")
    assert code_of(s3.copy_object, **copy, IfNoneMatch="*") == (412, "PreconditionFailed")


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("", 400, "InvalidArgument"),
        ("/", 400, "InvalidArgument"),
        ("bucketonly", 400, "InvalidArgument"),
        ("bucket/", 400, "InvalidArgument"),
        ("%ff%fe/k", 400, "InvalidArgument"),
        ("no-such-bucket/k", 404, "NoSuchBucket"),
        ("{bucket}/no", 404, "NoSuchKey"),
        ("{bucket}/k?versionId=odd", 400, "InvalidArgument"),
        ("{bucket}/k?versionId=0123456789abcdef01234567", 404, "NoSuchVersion"),
        ("{bucket}/k?versionId=null", 200, ""),
        ("/{bucket}/k", 200, ""),
        ("%2F{bucket}%2Fk", 200, ""),
    ],
)
def test_sources_are_understood_or_refused(server: Running, s3: Any, bucket: str, value: str, status: int, code: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer = call(server, "PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": value.format(bucket=bucket)})
    assert (answer.status, answer.code) == (status, code)


def test_a_source_that_is_not_there_is_named(server: Running, bucket: str) -> None:
    def copied(source: str) -> Any:
        return call(server, "PUT", f"/{bucket}/copy", b"", {"x-amz-copy-source": source})

    assert (copied(f"{bucket}/none").code, copied(f"{bucket}/none").value("Key")) == ("NoSuchKey", "none")
    assert (copied("no-such-bucket/k").code, copied("no-such-bucket/k").value("BucketName")) == ("NoSuchBucket", "no-such-bucket")


def test_directives_are_copy_or_replace(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for header in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        answer = call(server, "PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": f"{bucket}/k", header: "MERGE"})
        assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_the_sources_owner_can_be_expected(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    for path in (f"/{bucket}/c", f"/{bucket}/c?partNumber=1&uploadId={upload}"):
        for owner, status in (("alice", 200), (s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"], 200), ("bob", 403)):
            headers = {"x-amz-copy-source": f"{bucket}/k", "x-amz-source-expected-bucket-owner": owner}
            assert call(server, "PUT", path, headers=headers).status == status
