"""PutBucketLogging through boto3."""

from typing import Any

import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import BOB, Running


def test_configurations_come_back_as_they_were_set(s3: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=f"{bucket}-logs")
    target = {"TargetBucket": f"{bucket}-logs", "TargetPrefix": "p/"}
    for more in (
        {},
        {"TargetObjectKeyFormat": {"SimplePrefix": {}}},
        {"TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}},
    ):
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {**target, **more}})
        assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == {**target, **more}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def status(inner: str) -> bytes:
    return f"<BucketLoggingStatus><LoggingEnabled>{inner}</LoggingEnabled></BucketLoggingStatus>".encode()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (status(""), "MalformedXML"),
        (status("<TargetBucket/>"), "MalformedXML"),
        (status("<TargetBucket>{bucket}</TargetBucket><Other/>"), "MalformedXML"),
        (status(f"<TargetBucket>{{bucket}}</TargetBucket><TargetPrefix>{'p' * 513}</TargetPrefix>"), "MalformedXML"),
        (status("<TargetBucket>{bucket}</TargetBucket><TargetObjectKeyFormat/>"), "MalformedXML"),
        (
            status("<TargetBucket>{bucket}</TargetBucket><TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>Never</PartitionDateSource>"
                   "</PartitionedPrefix></TargetObjectKeyFormat>"), "MalformedXML",
        ),
        (status("<TargetBucket>{bucket}</TargetBucket><TargetGrants><Grant/></TargetGrants>"), "NotImplemented"),
        (status("<TargetBucket>no-such-bucket</TargetBucket>"), "InvalidTargetBucketForLogging"),
        (status("<TargetBucket>bobs-own-logs</TargetBucket>"), "InvalidTargetBucketForLogging"),
        (status("<TargetBucket>logs-elsewhere</TargetBucket>"), "CrossLocationLoggingProhibited"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_are_refused(server: Running, s3: Any, bucket: str, document: bytes, code: str) -> None:
    server.client(BOB).create_bucket(Bucket="bobs-own-logs")
    if code == "CrossLocationLoggingProhibited":
        s3.create_bucket(Bucket="logs-elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert call(server, "PUT", f"/{bucket}?logging", document.replace(b"{bucket}", bucket.encode())).code == code
    assert call(server, "PUT", f"/{bucket}?logging", document, user=BOB).code == "AccessDenied"
