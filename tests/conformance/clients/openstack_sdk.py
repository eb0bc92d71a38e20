"""openstacksdk against the identity service: log in, make and list things, keys of S3 for boto3, Swift with the same token."""

import hashlib
import os

import boto3
import openstack
from botocore.config import Config
from openstack.exceptions import SDKException
from scenario import BUCKET, CA, REGION, SCRATCH, URL, Skip, noise, raises, run, scenario

NAME = f"sdk-{BUCKET}"
made = {}


def connection(user=None, password=None, project=None, **auth):
    names = {"user_domain_name": "Default", "project_domain_name": "Default"}
    given = auth or {
        "username": user or "admin", "password": password or os.environ["OS_ADMIN_PASSWORD"], "project_name": project or "admin", **names,
    }  # fmt: skip
    kind = {"auth_type": "v3applicationcredential"} if auth else {}
    return openstack.connect(auth={"auth_url": os.environ["OS_AUTH_URL"], **given}, region_name=REGION, verify=CA or True, **kind)


@scenario
def log_in():
    admin = made["admin"] = connection()
    assert admin.current_project_id == "admin"
    assert {service["type"] for service in admin.service_catalog} >= {"identity", "object-store", "s3"}
    raises(SDKException, lambda: connection(password="wrong").authorize())


@scenario
def users_projects_and_roles():
    identity = made["admin"].identity
    project = made["project"] = identity.create_project(name=NAME, tags=["a", "b"])
    user = made["user"] = identity.create_user(name=NAME, password="a long password", default_project_id=project.id, email="x@y")
    assert identity.find_project(NAME).id == project.id
    assert identity.find_user(NAME).id == user.id
    role = made["role"] = identity.find_role("member")
    identity.assign_project_role_to_user(project, user, role)
    assert identity.validate_user_has_project_role(project, user, role)
    group = identity.create_group(name=NAME)
    identity.add_user_to_group(user, group)
    assert identity.check_user_in_group(user, group)
    found = list(identity.role_assignments(user_id=user.id, effective=True, include_names=True))
    assert {assignment.role["name"] for assignment in found} == {"member", "reader"}
    domain = identity.create_domain(name=NAME)
    identity.update_domain(domain, is_enabled=False)
    identity.delete_domain(domain)
    identity.delete_group(group)


@scenario
def application_credential():
    mine = made["mine"] = connection(NAME, "a long password", NAME)
    credential = mine.identity.create_application_credential(user=made["user"].id, name="program", roles=[{"name": "reader"}])
    program = connection(application_credential_id=credential.id, application_credential_secret=credential.secret)
    assert program.current_project_id == made["project"].id
    assert program.identity.get("/auth/projects").json()["projects"][0]["name"] == NAME
    assert program.identity.post("/projects", json={"project": {"name": "x"}}).status_code == 403


@scenario
def key_of_s3():
    path = f"/users/{made['user'].id}/credentials/OS-EC2"
    key = made["mine"].identity.post(path, json={"tenant_id": made["project"].id}).json()["credential"]
    s3 = boto3.client(
        "s3", endpoint_url=URL, aws_access_key_id=key["access"], aws_secret_access_key=key["secret"], region_name=REGION, verify=CA or None,
        config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"both ways")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]


@scenario
def same_project_by_swift():
    store = made["mine"].object_store
    if not hasattr(store, "containers"):
        raise Skip("this release has no object store")
    assert BUCKET in [container.name for container in store.containers()]
    assert store.download_object("k", BUCKET) == b"both ways"
    made["mine"].object_store.upload_object(BUCKET, "by swift", data=b"x")


@scenario
def images():
    mine = made["mine"]
    data = noise("image", 9_000_000)
    path = SCRATCH / "image.raw"
    path.write_bytes(data)
    image = mine.create_image(
        NAME, filename=str(path), disk_format="raw", container_format="bare", wait=True, hw_disk_bus="virtio", tags=["a"]
    )
    assert (image.status, image.size, image.hash_value) == ("active", len(data), hashlib.sha512(data).hexdigest())
    assert mine.image.find_image(NAME).id == image.id
    assert mine.image.download_image(image).content == data
    assert [each.id for each in mine.image.images(tag="a", sort="name:asc")] == [image.id]
    assert mine.image.update_image(image, min_ram=64, os_distro="debian").min_ram == 64
    mine.image.add_member(image.id, member_id="admin")
    assert [member.status for member in mine.image.members(image.id)] == ["pending"]
    made["admin"].image.update_member("admin", image.id, status="accepted")
    assert image.id in [each.id for each in made["admin"].image.images(name=NAME)]
    mine.image.deactivate_image(image)
    raises(SDKException, lambda: mine.image.download_image(image))
    mine.image.reactivate_image(image)
    staged = mine.image.create_image(name="staged", disk_format="raw", container_format="bare")
    mine.image.stage_image(staged, data=data[:1000])
    mine.image.import_image(staged)
    assert mine.image.wait_for_status(staged, status="active", interval=0.2, wait=30).size == 1000
    for each in (image, staged):
        mine.image.delete_image(each)
    assert mine.image.find_image(NAME) is None


@scenario
def gone_is_gone():
    identity = made["admin"].identity
    identity.unassign_project_role_from_user(made["project"], made["user"], made["role"])
    raises(SDKException, lambda: connection(NAME, "a long password", NAME).authorize())
    identity.delete_user(made["user"])
    identity.delete_project(made["project"])
    assert identity.find_user(NAME) is None


run()
