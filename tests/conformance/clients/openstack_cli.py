"""The `openstack` command line: the calls that people make first."""

import json
import os

from scenario import BUCKET, CA, command, run, scenario

NAME = f"cli-{BUCKET}"
made = {}
LOGIN = {
    "OS_AUTH_URL": os.environ["OS_AUTH_URL"], "OS_USERNAME": "admin", "OS_PASSWORD": os.environ["OS_ADMIN_PASSWORD"], "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", **({"OS_CACERT": CA} if CA else {}),
}  # fmt: skip


def cloud(*words):
    return json.loads(command("openstack", *words, "-f", "json", **LOGIN) or "null")


@scenario
def token_and_catalog():
    assert cloud("token", "issue")["project_id"] == "admin"
    assert {service["Type"] for service in cloud("catalog", "list")} >= {"identity", "object-store"}


@scenario
def project_user_role():
    made["project"] = cloud("project", "create", NAME)["id"]
    made["user"] = cloud("user", "create", "--project", NAME, "--password", "a long password", NAME)["id"]
    command("openstack", "role", "add", "--project", NAME, "--user", NAME, "member", **LOGIN)
    assert NAME in [entry["Name"] for entry in cloud("user", "list")]
    assert NAME in [entry["Name"] for entry in cloud("project", "list")]
    assert "member" in [entry["Name"] for entry in cloud("role", "list")]
    assert [entry["Role"] for entry in cloud("role", "assignment", "list", "--user", NAME, "--names")] == ["member"]


@scenario
def credentials():
    key = cloud("ec2", "credentials", "create", "--project", "admin")
    assert len(key["access"]) == 32
    assert "id" in [name.lower() for name in cloud("application", "credential", "create", NAME)]
    command("openstack", "application", "credential", "delete", NAME, **LOGIN)
    command("openstack", "ec2", "credentials", "delete", key["access"], **LOGIN)


@scenario
def delete():
    command("openstack", "user", "delete", NAME, **LOGIN)
    command("openstack", "project", "delete", NAME, **LOGIN)


run()
