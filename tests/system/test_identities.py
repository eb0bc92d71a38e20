"""Identities on real processes: what one proxy acknowledges all proxies obey, and a crash of everything forgets nothing."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until
from tests.support.policies import identity_policy, trust_policy
from tests.support.web_tokens import key_set, make_token

IDENTITIES = """
[[user]]
account = "acme"
name = "root"
access_key = "AKACME"
secret_key = "acme-secret"
email = "root@acme.example"

[[oidc_provider]]
account = "acme"
url = "https://issuer.example"
jwks_file = "{keys}"
client_ids = ["app"]
"""
ROOT = {"AccessKeyId": "AKACME", "SecretAccessKey": "acme-secret"}


def service(cluster: Cluster, name: str, keys: dict[str, Any], proxy: int = 0) -> Any:
    return boto3.client(
        name,
        endpoint_url=cluster.info["s3"][proxy],
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys.get("SessionToken"),
        region_name="us-east-1",
        verify=cluster.info["ca_cert"],
        config=Config(retries={"max_attempts": 1, "mode": "standard"}),
    )


@pytest.mark.parametrize("tls", [False, True])
def test_identities_on_two_proxies_and_over_a_crash_of_everything(tmp_path: Path, tls: bool) -> None:
    keys_file = tmp_path / "keys.json"
    keys_file.write_text(key_set())
    file = tmp_path / "identities.toml"
    file.write_text(IDENTITIES.format(keys=keys_file))
    with running_cluster(tmp_path / "c", "--identities", str(file), *(["--tls"] if tls else [])) as cluster:
        iam = service(cluster, "iam", ROOT)
        iam.create_user(UserName="joe")
        iam.attach_user_policy(UserName="joe", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
        # Last, so that who knows the key knows the policy too, which takes a second otherwise.
        keys = iam.create_access_key(UserName="joe")["AccessKey"]
        # The other proxy has never heard of the key, and takes it at once.
        service(cluster, "s3", keys, 1).create_bucket(Bucket="joes")
        service(cluster, "s3", keys, 1).put_object(Bucket="joes", Key="k", Body=b"data")
        trust = trust_policy(
            {"Federated": "arn:aws:iam::acme:oidc-provider/issuer.example"},
            action="sts:AssumeRoleWithWebIdentity",
            Condition={"StringEquals": {"issuer.example:aud": "app"}},
        )
        role = iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName="web", PolicyName="read", PolicyDocument=identity_policy("s3:GetObject"))
        token = make_token({"iss": "https://issuer.example", "sub": "me", "aud": "app", "exp": 4e9})
        web = service(cluster, "sts", ROOT, 1).assume_role_with_web_identity(RoleArn=role, RoleSessionName="me", WebIdentityToken=token)
        assert service(cluster, "s3", web["Credentials"]).get_object(Bucket="joes", Key="k")["Body"].read() == b"data"

        pids = cluster.all_pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, pids)), 5, "all processes to be gone")
        cluster.up()
        assert service(cluster, "s3", keys).get_object(Bucket="joes", Key="k")["Body"].read() == b"data"
        assert service(cluster, "s3", web["Credentials"], 1).get_object(Bucket="joes", Key="k")["Body"].read() == b"data"
        other = service(cluster, "s3", keys, 1)
        service(cluster, "iam", ROOT).update_access_key(UserName="joe", AccessKeyId=keys["AccessKeyId"], Status="Inactive")

        def refused() -> bool:
            try:
                other.list_buckets()
            except ClientError as failure:
                return bool(failure.response["Error"]["Code"] == "InvalidAccessKeyId")
            return False

        wait_until(refused, 2, "the other proxy to know that the key is switched off")
        logs = "".join(path.read_text() for path in (tmp_path / "c" / "log").glob("*.log"))
        for secret in (
            keys["SecretAccessKey"],
            web["Credentials"]["SecretAccessKey"],
            web["Credentials"]["SessionToken"],
            token,
            "acme-secret",
        ):
            assert secret not in logs
        assert json.loads(key_set())["keys"]
