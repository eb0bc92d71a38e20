"""PutBucketLogging through boto3."""

import asyncio
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


def test_others_may_be_granted_the_logs_where_lists_count(server: Running, s3: Any, bucket: str) -> None:
    logs = f"{bucket}-logs"
    s3.create_bucket(Bucket=logs)
    bobs_id = server.client(BOB).list_buckets()["Owner"]["ID"]
    bob = {"ID": bobs_id, "Type": "CanonicalUser"}
    grants = [{"Grantee": bob, "Permission": "READ"}]
    asked = {"LoggingEnabled": {"TargetBucket": logs, "TargetPrefix": "", "TargetGrants": grants}}
    with pytest.raises(s3.exceptions.ClientError, match="AccessControlListNotSupported"):
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=asked)
    s3.put_bucket_ownership_controls(Bucket=logs, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    everybody = [{"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers", "Type": "Group"}, "Permission": "READ"}]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {**asked["LoggingEnabled"], "TargetGrants": everybody}})
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=asked)
    (shown,) = s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]["TargetGrants"]
    assert (shown["Grantee"]["ID"], shown["Permission"]) == (bobs_id, "READ")

    def written(key: str) -> str:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        asyncio.run_coroutine_threadsafe(server.app._access_log.flush(), server.loop).result(10)
        return str(max(s3.list_objects_v2(Bucket=logs)["Contents"], key=lambda entry: entry["LastModified"])["Key"])

    assert b"REST.PUT.OBJECT" in server.client(BOB).get_object(Bucket=logs, Key=written("one"))["Body"].read()
    for entry in s3.list_objects_v2(Bucket=logs)["Contents"]:
        s3.delete_object(Bucket=logs, Key=entry["Key"])
    s3.put_bucket_ownership_controls(Bucket=logs, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    key = written("two")
    assert b"two" in s3.get_object(Bucket=logs, Key=key)["Body"].read(), "the log goes on without its grants"
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        server.client(BOB).get_object(Bucket=logs, Key=key)


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
        (status("<TargetBucket>{bucket}</TargetBucket><TargetGrants><Grant/></TargetGrants>"), "MalformedXML"),
        (status("<TargetBucket>{bucket}</TargetBucket><TargetGrants><Grant><Permission>READ_ACP</Permission></Grant></TargetGrants>"), "MalformedXML"),
        (status("<TargetBucket>{bucket}</TargetBucket><TargetGrants><Grant><Permission>READ</Permission></Grant></TargetGrants>"), "MalformedACLError"),
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
