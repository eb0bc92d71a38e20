"""The S3 backend of Terraform and OpenTofu with `use_lockfile`, request by request as its documentation and code have it.

No package of PyPI, npm or Debian carries a program new enough for it (`terraform_state.py` runs an old one), so this is an
emulation with boto3: the state lies under `env:/WORKSPACE/KEY`, the lock beside it as KEY.tflock, taken by PutObject with
If-None-Match: * and given back by DeleteObject; the state is written with a SHA-256 checksum; workspaces are found by
listing `env:/`.
"""

import json
import threading

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from scenario import BUCKET, CA, KEY, REGION, SECRET, STYLE, URL, raises, run, scenario

STATE = "env:/staging/infra/terraform.tfstate"


def client():
    return boto3.client(
        "s3", endpoint_url=URL, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION, verify=CA or None,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": STYLE}),
    )  # fmt: skip


s3 = client()


def lock(who, via=None):
    info = json.dumps({"ID": who, "Operation": "OperationTypeApply", "Who": who, "Version": "1.10.0", "Path": f"{BUCKET}/{STATE}"})
    (via or s3).put_object(
        Bucket=BUCKET,
        Key=STATE + ".tflock",
        Body=info.encode(),
        ContentType="application/json",
        IfNoneMatch="*",
        ChecksumAlgorithm="SHA256",
    )


@scenario
def state():
    s3.create_bucket(Bucket=BUCKET)
    assert raises(ClientError, lambda: s3.head_object(Bucket=BUCKET, Key=STATE)).response["Error"]["Code"] == "404"
    for serial in range(3):
        body = json.dumps({"version": 4, "serial": serial, "resources": ["x" * 1000] * serial}).encode()
        s3.put_object(Bucket=BUCKET, Key=STATE, Body=body, ContentType="application/json", ChecksumAlgorithm="SHA256")
        assert s3.get_object(Bucket=BUCKET, Key=STATE)["Body"].read() == body


@scenario
def workspaces():
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="env:/", MaxKeys=1000)
    assert [entry["Key"].split("/")[1] for entry in found["Contents"]] == ["staging"]


@scenario
def lock_is_exclusive():
    lock("one")
    refused = raises(ClientError, lambda: lock("two")).response
    assert (refused["Error"]["Code"], refused["ResponseMetadata"]["HTTPStatusCode"]) == ("PreconditionFailed", 412)
    assert json.loads(s3.get_object(Bucket=BUCKET, Key=STATE + ".tflock")["Body"].read())["ID"] == "one"
    s3.delete_object(Bucket=BUCKET, Key=STATE + ".tflock")
    lock("two")
    s3.delete_object(Bucket=BUCKET, Key=STATE + ".tflock")


@scenario
def sixteen_race_for_the_lock():
    for _ in range(5):
        winners, others, barrier = [], [], threading.Barrier(16)

        def one(number, winners=winners, others=others, barrier=barrier):
            via = client()
            barrier.wait()
            try:
                lock(str(number), via)
                winners.append(str(number))
            except ClientError as failure:
                others.append(failure.response["Error"]["Code"])

        threads = [threading.Thread(target=one, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1, (winners, others)
        assert set(others) <= {"PreconditionFailed", "ConditionalRequestConflict"}, others
        assert json.loads(s3.get_object(Bucket=BUCKET, Key=STATE + ".tflock")["Body"].read())["ID"] == winners[0]
        s3.delete_object(Bucket=BUCKET, Key=STATE + ".tflock")


run()
