"""Object lock against lifecycle rules with days of two seconds and against administrators: what is locked stays until its time has come."""

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, running_cluster, wait_until

BUCKET = "locked"
LOCKED_S = 14


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def administrator(cluster: Cluster) -> Any:
    """A client of an IAM user to whom everything is allowed."""
    info = cluster.info

    def client(service: str, key: str, secret: str) -> Any:
        return boto3.client(
            service, endpoint_url=info["s3"][0], aws_access_key_id=key, aws_secret_access_key=secret, region_name=info["region"],
            verify=info["ca_cert"] or None, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    iam = client("iam", info["access_key"], info["secret_key"])
    iam.create_user(UserName="boss")
    iam.attach_user_policy(UserName="boss", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    keys = iam.create_access_key(UserName="boss")["AccessKey"]
    return client("s3", keys["AccessKeyId"], keys["SecretAccessKey"])


def there(client: Any) -> set[str]:
    page = client.list_object_versions(Bucket=BUCKET)
    return {item["VersionId"] for item in page.get("Versions", [])}


def tried_by(client: Any, versions: dict[str, str]) -> None:
    """Everything that an administrator can do, with every right that there is."""
    for key, version in versions.items():
        bypass = {} if key == "gov" else {"BypassGovernanceRetention": True}
        named = {"Bucket": BUCKET, "Key": key, "VersionId": version}
        assert refusal(client.delete_object, **named, **bypass) == "AccessDenied"
        many = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key, "VersionId": version}]}, **bypass)
        assert [error["Code"] for error in many["Errors"]] == ["AccessDenied"]
        client.delete_object(Bucket=BUCKET, Key=key)  # a marker hides it and takes nothing away
    soon = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)}
    comp = {"Bucket": BUCKET, "Key": "comp", "VersionId": versions["comp"]}
    assert refusal(client.put_object_retention, **comp, Retention=soon, BypassGovernanceRetention=True) == "AccessDenied"
    weaker = {**soon, "Mode": "GOVERNANCE"}
    assert refusal(client.put_object_retention, **comp, Retention=weaker, BypassGovernanceRetention=True) == "AccessDenied"
    assert refusal(client.put_bucket_versioning, Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}) == "InvalidBucketState"
    assert refusal(client.delete_bucket, Bucket=BUCKET) == "BucketNotEmpty"
    client.put_object(Bucket=BUCKET, Key="comp", Body=b"on top")
    client.copy_object(Bucket=BUCKET, Key="comp", CopySource={"Bucket": BUCKET, "Key": "gov", "VersionId": versions["gov"]})


@pytest.mark.parametrize("how", [(), ("--tls",)], ids=["http", "tls"])
def test_nothing_locked_goes_before_its_time_and_then_it_goes(tmp_path: Path, how: tuple[str, ...]) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", "--set", "lifecycle.seconds_per_day=2", *how) as cluster:
        root = cluster.s3()
        root.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        boss = administrator(cluster)
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=LOCKED_S)
        over = time.time() + LOCKED_S
        kept = {"ObjectLockRetainUntilDate": until}
        versions = {
            "comp": root.put_object(Bucket=BUCKET, Key="comp", Body=b"c" * 200_000, ObjectLockMode="COMPLIANCE", **kept)["VersionId"],
            "gov": root.put_object(Bucket=BUCKET, Key="gov", Body=b"g", ObjectLockMode="GOVERNANCE", **kept)["VersionId"],
            "hold": root.put_object(Bucket=BUCKET, Key="hold", Body=b"h", ObjectLockLegalHoldStatus="ON")["VersionId"],
        }
        lifted = root.put_object(Bucket=BUCKET, Key="lifted", Body=b"l", ObjectLockMode="GOVERNANCE", **kept)["VersionId"]
        free = root.put_object(Bucket=BUCKET, Key="free", Body=b"f")["VersionId"]
        rule = {
            "ID": "all", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 1},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        }  # fmt: skip
        root.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
        for client in (root, boss):
            tried_by(client, versions)
        boss.delete_object(Bucket=BUCKET, Key="lifted", VersionId=lifted, BypassGovernanceRetention=True)
        wait_until(lambda: free not in there(root) or time.time() > over - 2, 20, "what is free to go")
        while time.time() < over - 2:  # rounds come every half second
            assert set(versions.values()) <= there(root)
            time.sleep(0.3)
        assert free not in there(root)
        assert lifted not in there(root)
        for key, version in versions.items():
            assert root.get_object(Bucket=BUCKET, Key=key, VersionId=version)["Body"].read()[:1] == key[:1].encode()
        wait_until(lambda: there(root) == {versions["hold"]}, 30, "retentions to end and all but what is held to go")
        root.put_object_legal_hold(Bucket=BUCKET, Key="hold", VersionId=versions["hold"], LegalHold={"Status": "OFF"})
        wait_until(lambda: not there(root) and not root.list_object_versions(Bucket=BUCKET).get("DeleteMarkers"), 30, "the rest to go")
        root.delete_bucket(Bucket=BUCKET)
