"""Policies and lists on real processes: what one proxy was told, the other goes by within a second, also after a crash."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until

IDENTITIES = """
[[user]]
account = "bob"
name = "bob"
access_key = "AKBOB"
secret_key = "bob-secret"
"""


def client(cluster: Cluster, proxy: int, keys: tuple[str, str] | None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=cluster.info["s3"][proxy],
        aws_access_key_id=keys[0] if keys else None,
        aws_secret_access_key=keys[1] if keys else None,
        region_name="us-east-1",
        verify=cluster.info["ca_cert"],
        config=Config(signature_version=None if keys else UNSIGNED, retries={"max_attempts": 1, "mode": "standard"}),
    )


def policy(action: str, effect: str = "Allow", **more: Any) -> str:
    return json.dumps(
        {
            "Statement": {
                "Effect": effect,
                "Principal": "*",
                "Action": action,
                "Resource": ["arn:aws:s3:::shared", "arn:aws:s3:::shared/*"],
                **more,
            }
        }
    )


def denied(call: Any, **arguments: Any) -> bool:
    try:
        call(Bucket="shared", **arguments)
    except ClientError as failure:
        if failure.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return True
    return False


@pytest.mark.parametrize("tls", [False, True])
def test_what_one_proxy_was_told_the_other_goes_by_and_a_crash_forgets_nothing(tmp_path: Path, tls: bool) -> None:
    file = tmp_path / "identities.toml"
    file.write_text(IDENTITIES)
    with running_cluster(tmp_path / "c", "--identities", str(file), *(["--tls"] if tls else [])) as cluster:
        owner = cluster.s3(0)
        owner.create_bucket(Bucket="shared", ObjectOwnership="ObjectWriter")
        owner.put_object(Bucket="shared", Key="k", Body=b"data")
        nobody, bob = client(cluster, 1, None), client(cluster, 1, ("AKBOB", "bob-secret"))
        assert denied(nobody.get_object, Key="k")
        assert denied(bob.get_object, Key="k")
        with pytest.raises(ClientError, match="AccessDenied"):
            owner.put_bucket_policy(Bucket="shared", Policy=policy("s3:GetObject"))
        owner.delete_public_access_block(Bucket="shared")

        secure = {"Bool": {"aws:SecureTransport": "true" if tls else "false"}, "IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
        owner.put_bucket_policy(Bucket="shared", Policy=policy("s3:GetObject", Condition=secure))
        wait_until(lambda: not denied(nobody.get_object, Key="k"), 2, "the other proxy to let everybody in")
        # Each account's look at a bucket grows old by itself.
        wait_until(lambda: not denied(bob.get_object, Key="k"), 2, "the other proxy to let the other account in")
        assert denied(bob.put_object, Key="k", Body=b"")

        owner.put_bucket_policy(Bucket="shared", Policy=policy("s3:GetObject", "Deny"))
        wait_until(lambda: denied(nobody.get_object, Key="k"), 2, "the other proxy to let nobody in")
        assert denied(cluster.s3(1).get_object, Key="k")  # the owner neither
        owner.delete_bucket_policy(Bucket="shared")
        wait_until(lambda: not denied(cluster.s3(1).get_object, Key="k"), 2, "the other proxy to forget the policy")

        owner.put_object_acl(Bucket="shared", Key="k", ACL="public-read")
        wait_until(lambda: not denied(nobody.get_object, Key="k"), 2, "the other proxy to forget the policy for everybody")
        owner.put_object(Bucket="shared", Key="k", Body=b"private")
        assert denied(nobody.get_object, Key="k")  # a list is part of the object: no wait

        owner.put_object(Bucket="shared", Key="open", Body=b"open", ACL="public-read")
        pids = cluster.all_pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_running(pid) for pid in pids), 20, "everything to be dead")
        cluster.up()
        assert client(cluster, 1, None).get_object(Bucket="shared", Key="open")["Body"].read() == b"open"
        assert denied(client(cluster, 1, None).get_object, Key="k")
        assert cluster.s3(1).get_bucket_ownership_controls(Bucket="shared")["OwnershipControls"]["Rules"] == [
            {"ObjectOwnership": "ObjectWriter"}
        ]
