"""A bucket with everything switched on, for the rows that say what that costs: versions, a policy of five statements with conditions,
a quota, and as its requester a user with a policy of his own.
"""

import json
import urllib.request
from typing import Any

BUCKET = "guarded"
QUOTA = b"<QuotaConfiguration><MaxBytes>1000000000000</MaxBytes><MaxObjects>100000000</MaxObjects></QuotaConfiguration>"
THERE = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]


def bucket_policy() -> str:
    """Five statements, all of which are looked at for every request."""

    def statement(sid: str, effect: str, action: list[str], condition: dict[str, Any]) -> dict[str, Any]:
        return {"Sid": sid, "Effect": effect, "Principal": "*", "Action": action, "Resource": THERE, "Condition": condition}

    writes = ["s3:PutObject", "s3:DeleteObject"]
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                statement("Afar", "Deny", ["s3:*"], {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}}),
                statement("Old", "Deny", ["s3:*"], {"NumericGreaterThan": {"s3:signatureAge": "900000"}}),
                statement("Public", "Deny", ["s3:PutObject"], {"StringEquals": {"s3:x-amz-acl": ["public-read", "public-read-write"]}}),
                statement("Secret", "Deny", writes, {"StringLike": {"aws:UserAgent": "*forbidden*"}}),
                statement("Read", "Allow", ["s3:GetObject", "s3:ListBucket"], {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/reader"}}),
            ],
        }
    )  # fmt: skip


def user_policy() -> str:
    """What the requester may do, with a condition that is looked at for every request."""
    near = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    statements = [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": THERE[1], "Condition": near},
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:CreateBucket"], "Resource": THERE[0]},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def make(cluster: dict[str, Any]) -> tuple[str, str]:
    """Make the bucket and its requester; (access key, secret key) of the latter."""
    import boto3
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = {"aws_access_key_id": cluster["access_key"], "aws_secret_access_key": cluster["secret_key"]}
    where = {"endpoint_url": cluster["s3"][0], "region_name": cluster["region"]}
    client = boto3.client("s3", **where, **keys)
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    client.delete_public_access_block(Bucket=BUCKET)
    client.put_bucket_policy(Bucket=BUCKET, Policy=bucket_policy())
    request = AWSRequest("PUT", f"{cluster['s3'][0]}/{BUCKET}?x-objstore-quota=", data=QUOTA)
    S3SigV4Auth(Credentials(cluster["access_key"], cluster["secret_key"]), "s3", cluster["region"]).add_auth(request)
    signed = urllib.request.Request(request.url, data=QUOTA, headers=dict(request.headers.items()), method="PUT")
    assert urllib.request.urlopen(signed, timeout=10).status == 200
    iam = boto3.client("iam", **where, **keys)
    iam.create_user(UserName="bench")
    made = iam.create_policy(PolicyName="bench", PolicyDocument=user_policy())["Policy"]["Arn"]
    iam.attach_user_policy(UserName="bench", PolicyArn=made)
    found = iam.create_access_key(UserName="bench")["AccessKey"]
    return found["AccessKeyId"], found["SecretAccessKey"]
