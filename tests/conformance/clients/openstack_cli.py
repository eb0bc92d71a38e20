"""The `openstack` command line: the calls that people make first."""

import json
import os
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from scenario import BUCKET, CA, REGION, SCRATCH, URL, command, noise, raises, run, scenario

NAME = f"cli-{BUCKET}"
made = {}
LOGIN = {
    "OS_AUTH_URL": os.environ["OS_AUTH_URL"], "OS_USERNAME": "admin", "OS_PASSWORD": os.environ["OS_ADMIN_PASSWORD"], "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", **({"OS_CACERT": CA} if CA else {}),
}  # fmt: skip


OWN = {"OS_USERNAME": NAME, "OS_PASSWORD": "a long password", "OS_PROJECT_NAME": NAME}  # the user that project_user_role makes


def told(*words, ok=(0,), **other):
    """What a command prints, as admin or as another; an empty value leaves a variable out."""
    login = {name: value for name, value in {**LOGIN, **other}.items() if value}
    return command("openstack", *words, ok=ok, **login)


def cloud(*words, **other):
    return json.loads(told(*words, "-f", "json", **other) or "null")


@scenario
def token_and_catalog():
    assert cloud("token", "issue")["project_id"] == "admin"
    assert {service["Type"] for service in cloud("catalog", "list")} >= {"identity", "object-store"}


@scenario
def project_user_role():
    made["project"] = cloud("project", "create", NAME)["id"]
    made["user"] = cloud("user", "create", "--project", NAME, "--password", "a long password", NAME)["id"]
    told("role", "add", "--project", NAME, "--user", NAME, "member")
    assert NAME in [entry["Name"] for entry in cloud("user", "list")]
    assert NAME in [entry["Name"] for entry in cloud("project", "list")]
    assert "member" in [entry["Name"] for entry in cloud("role", "list")]
    assert [entry["Role"] for entry in cloud("role", "assignment", "list", "--user", NAME, "--names")] == ["member"]


@scenario
def credentials():
    key = cloud("ec2", "credentials", "create", "--project", "admin")
    assert len(key["access"]) == 32
    assert key["access"] in [entry["Access"] for entry in cloud("ec2", "credentials", "list")]
    told("ec2", "credentials", "delete", key["access"])
    assert key["access"] not in [entry["Access"] for entry in cloud("ec2", "credentials", "list")]


@scenario
def application_credential():
    shown = cloud("application", "credential", "create", "--role", "reader", NAME, **OWN)
    program = {name.lower(): value for name, value in shown.items()}
    assert NAME in [entry["Name"] for entry in cloud("application", "credential", "list", **OWN)]
    login = {
        "OS_AUTH_TYPE": "v3applicationcredential", "OS_APPLICATION_CREDENTIAL_ID": program["id"], "OS_APPLICATION_CREDENTIAL_SECRET": program["secret"],
        **dict.fromkeys(("OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME"), ""),
    }  # fmt: skip
    assert cloud("token", "issue", **login)["project_id"] == made["project"]
    told("container", "create", "refused", ok=(1,), **login)
    told("application", "credential", "delete", NAME, **OWN)
    told("token", "issue", ok=(1,), **login)


@scenario
def containers_and_objects():
    assert [row["container"] for row in cloud("container", "create", BUCKET, **OWN)] == [BUCKET]
    assert BUCKET in [row["Name"] for row in cloud("container", "list", **OWN)]
    (SCRATCH / "up.txt").write_text("by the command line")
    assert [row["object"] for row in cloud("object", "create", BUCKET, "up.txt", **OWN)] == ["up.txt"]
    assert [row["Name"] for row in cloud("object", "list", BUCKET, **OWN)] == ["up.txt"]
    assert cloud("object", "show", BUCKET, "up.txt", **OWN)["content-length"] in (19, "19")
    told("object", "save", "--file", "down.txt", BUCKET, "up.txt", **OWN)
    assert (SCRATCH / "down.txt").read_text() == "by the command line"
    told("container", "set", "--property", "color=red", BUCKET, **OWN)
    shown = cloud("container", "show", BUCKET, **OWN)
    assert str(shown["object_count"]) == "1"
    assert "red" in str(shown)
    assert str(cloud("object", "store", "account", "show", **OWN)["Containers"]) == "1"


@scenario
def key_for_boto3():
    key = cloud("ec2", "credentials", "create", **OWN)
    s3 = boto3.client(
        "s3", endpoint_url=URL, aws_access_key_id=key["access"], aws_secret_access_key=key["secret"], region_name=REGION, verify=CA or None,
        config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    assert s3.get_object(Bucket=BUCKET, Key="up.txt")["Body"].read() == b"by the command line"
    s3.put_object(Bucket=BUCKET, Key="by boto3", Body=b"both ways")
    assert "by boto3" in [row["Name"] for row in cloud("object", "list", BUCKET, **OWN)]
    s3.delete_object(Bucket=BUCKET, Key="by boto3")
    told("ec2", "credentials", "delete", key["access"], **OWN)
    time.sleep(2)  # the proxy sees it within a second
    assert raises(ClientError, s3.list_buckets).response["Error"]["Code"] == "InvalidAccessKeyId"


@scenario
def trust():
    role = next(entry["ID"] for entry in cloud("role", "list") if entry["Name"] == "member")
    admin = next(entry["ID"] for entry in cloud("user", "list") if entry["Name"] == "admin")
    # By id: who is no administrator cannot look names up.
    lent = cloud("trust", "create", "--project", made["project"], "--role", role, "--impersonate", made["user"], admin, **OWN)
    assert lent["id"] in [entry["ID"] for entry in cloud("trust", "list")]
    by_trust = {"OS_TRUST_ID": lent["id"], "OS_PROJECT_NAME": "", "OS_PROJECT_DOMAIN_NAME": ""}
    assert cloud("token", "issue", **by_trust)["project_id"] == made["project"]
    told("trust", "delete", lent["id"], **OWN)


@scenario
def images():
    data, back = SCRATCH / "up.raw", SCRATCH / "down.raw"
    data.write_bytes(noise("cli image", 3_000_000))
    made["image"] = cloud("image", "create", "--disk-format", "raw", "--file", str(data), "--property", "os_distro=debian", NAME)["id"]
    assert NAME in [entry["Name"] for entry in cloud("image", "list", "--name", NAME)]
    command("openstack", "image", "set", "--min-ram", "64", "--tag", "a", NAME, **LOGIN)
    command("openstack", "image", "add", "project", NAME, NAME, **LOGIN)
    shown = cloud("image", "show", NAME)
    assert (shown["status"], shown["min_ram"], shown["tags"], shown["size"]) == ("active", 64, ["a"], 3_000_000)
    command("openstack", "image", "save", "--file", str(back), NAME, **LOGIN)
    assert back.read_bytes() == data.read_bytes()
    command("openstack", "image", "delete", NAME, **LOGIN)
    assert cloud("image", "list", "--name", NAME) == []


@scenario
def delete():
    told("object", "delete", BUCKET, "up.txt", **OWN)
    told("container", "delete", BUCKET, **OWN)
    told("user", "delete", NAME)
    told("project", "delete", NAME)
    assert NAME not in [entry["Name"] for entry in cloud("user", "list")]
    assert NAME not in [entry["Name"] for entry in cloud("project", "list")]


run()
