"""Volumes by openstacksdk and by the `openstack` command line: what people do first."""

import json
import os
import time

import openstack
from openstack.exceptions import BadRequestException, HttpException, NotFoundException
from scenario import BUCKET, CA, REGION, SCRATCH, command, noise, raises, run, scenario

NAME = f"vol-{BUCKET}"
PASSWORD = "a long password"
WAIT_S = 240
made = {}
LOGIN = {
    "OS_AUTH_URL": os.environ["OS_AUTH_URL"], "OS_USERNAME": NAME, "OS_PASSWORD": PASSWORD, "OS_PROJECT_NAME": NAME, "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", **({"OS_CACERT": CA} if CA else {}),
}  # fmt: skip


def connection(user="admin", password=None, project="admin"):
    auth = {
        "auth_url": os.environ["OS_AUTH_URL"], "username": user, "password": password or os.environ["OS_ADMIN_PASSWORD"], "project_name": project,
        "user_domain_name": "Default", "project_domain_name": "Default",
    }  # fmt: skip
    return openstack.connect(auth=auth, region_name=REGION, verify=CA or True)


def told(*words, ok=(0,), **other):
    """What a command prints."""
    return command("openstack", *words, ok=ok, timeout=WAIT_S, **{**LOGIN, **other})


def cloud(*words):
    return json.loads(told(*words, "-f", "json") or "null")


def becomes(kind, name, status):
    """Wait until the command line shows a state."""
    for _ in range(WAIT_S // 3):
        shown = cloud(*kind.split(), "show", name)
        if shown["status"] == status:
            return shown
        assert not shown["status"].startswith("error"), shown
        time.sleep(2)
    raise AssertionError(f"{kind} {name} is still {shown['status']}")


@scenario
def a_project_of_its_own():
    admin = made["admin"] = connection()
    project = admin.identity.create_project(name=NAME)
    user = admin.identity.create_user(name=NAME, password=PASSWORD, default_project_id=project.id)
    admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member"))
    made["me"] = connection(NAME, PASSWORD, NAME)
    assert {"block-storage", "volumev3"} <= {service["type"] for service in made["me"].service_catalog}


@scenario
def volumes_by_the_sdk():
    block = made["me"].block_storage
    volume = made["volume"] = block.create_volume(name=NAME, size=1, description="d", metadata={"a": "b"})
    volume = block.wait_for_status(volume, "available", wait=WAIT_S)
    assert (volume.size, volume.metadata, volume.is_bootable, volume.volume_type) == (1, {"a": "b"}, False, "__DEFAULT__")
    assert block.find_volume(NAME).id == volume.id
    assert [found.id for found in block.volumes(name=NAME, status="available")] == [volume.id]
    block.set_volume_metadata(volume, c="d")
    assert block.get_volume_metadata(volume).metadata == {"a": "b", "c": "d"}
    block.extend_volume(volume, 2)
    assert block.wait_for_status(block.get_volume(volume.id), "available", wait=WAIT_S).size == 2
    raises(HttpException, lambda: block.extend_volume(volume, 1))
    raises(NotFoundException, lambda: block.get_volume("00000000-0000-4000-8000-000000000000"))
    raises(HttpException, lambda: block.create_volume(size=10**6))


@scenario
def snapshots_and_copies_by_the_sdk():
    block, volume = made["me"].block_storage, made["volume"]
    snapshot = made["snapshot"] = block.wait_for_status(block.create_snapshot(volume_id=volume.id, name=NAME), "available", wait=WAIT_S)
    raises(BadRequestException, lambda: block.delete_volume(volume, ignore_missing=False))
    for given in ({"snapshot_id": snapshot.id}, {"source_volume_id": volume.id}):
        copy = block.wait_for_status(block.create_volume(size=2, **given), "available", wait=WAIT_S)
        block.delete_volume(copy)
        block.wait_for_delete(copy, wait=WAIT_S)
    block.delete_snapshot(snapshot)
    block.wait_for_delete(snapshot, wait=WAIT_S)


@scenario
def backups_by_the_sdk():
    block, volume = made["me"].block_storage, made["volume"]
    full = block.wait_for_status(block.create_backup(volume_id=volume.id, name=NAME), "available", wait=WAIT_S)
    more = block.wait_for_status(block.create_backup(volume_id=volume.id, is_incremental=True), "available", wait=WAIT_S)
    assert block.get_backup(more.id).is_incremental
    restored = block.get_volume(block.restore_backup(more.id, name=NAME + "-restored").volume_id)
    assert block.wait_for_status(restored, "available", wait=WAIT_S).size == 2
    for thing, delete in ((more, block.delete_backup), (full, block.delete_backup), (restored, block.delete_volume)):
        delete(thing)
        block.wait_for_delete(thing, wait=WAIT_S)


@scenario
def types_quotas_and_limits_by_the_sdk():
    admin, me = made["admin"].block_storage, made["me"].block_storage
    type_ = admin.create_type(name=NAME, extra_specs={"multiattach": "<is> True"})
    assert NAME in [found.name for found in me.types()]
    shared = me.wait_for_status(me.create_volume(size=1, volume_type=NAME), "available", wait=WAIT_S)
    assert shared.is_multiattach
    me.delete_volume(shared)
    me.wait_for_delete(shared, wait=WAIT_S)
    admin.delete_type(type_)
    project = made["me"].current_project_id
    admin.update_quota_set(project, volumes=1)
    raises(HttpException, lambda: me.create_volume(size=1))
    admin.revert_quota_set(project)
    assert me.get_limits().absolute.total_volumes_used == 1
    assert [zone.name for zone in me.availability_zones()] == ["nova"]
    made["me"].block_storage.delete_volume(made["volume"])
    me.wait_for_delete(made["volume"], wait=WAIT_S)


@scenario
def volumes_by_the_command_line():
    cloud("volume", "create", "--size", "1", "--property", "a=b", NAME)
    shown = becomes("volume", NAME, "available")
    assert (shown["size"], shown["properties"]) == (1, {"a": "b"})
    assert [entry["Name"] for entry in cloud("volume", "list", "--name", NAME)] == [NAME]
    told("volume", "set", "--description", "d", "--size", "2", "--property", "c=d", NAME)
    assert becomes("volume", NAME, "available")["size"] == 2
    cloud("volume", "snapshot", "create", "--volume", NAME, NAME)
    becomes("volume snapshot", NAME, "available")
    cloud("volume", "create", "--snapshot", NAME, "--size", "2", f"{NAME}-copy")
    becomes("volume", f"{NAME}-copy", "available")
    told("volume", "show", "nothing", ok=(1,))
    told("volume", "snapshot", "delete", NAME)
    cloud("volume", "backup", "create", "--name", NAME, NAME)
    becomes("volume backup", NAME, "available")
    told("volume", "backup", "restore", NAME, f"{NAME}-restored")
    becomes("volume", f"{NAME}-restored", "available")
    told("volume", "backup", "delete", NAME)
    assert "__DEFAULT__" in [entry["Name"] for entry in cloud("volume", "type", "list")]
    request = cloud("volume", "transfer", "request", "create", "--name", NAME, f"{NAME}-copy")
    told("volume", "transfer", "request", "accept", "--auth-key", request["auth_key"], request["id"])


@scenario
def images_by_the_command_line():
    raw, qcow, back = SCRATCH / "disk.raw", SCRATCH / "disk.qcow2", SCRATCH / "back.raw"
    raw.write_bytes(noise("volume image", 3_000_000) + bytes(5_000_000 - 3_000_000 + 240_640))
    command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow))
    cloud("image", "create", "--disk-format", "qcow2", "--file", str(qcow), NAME)
    cloud("volume", "create", "--image", NAME, "--size", "1", f"{NAME}-image")
    assert becomes("volume", f"{NAME}-image", "available")["bootable"] in ("true", True)
    told("image", "create", "--volume", f"{NAME}-image", f"{NAME}-again")
    for _ in range(WAIT_S // 3):
        shown = cloud("image", "show", f"{NAME}-again")
        if shown["status"] == "active":
            break
        time.sleep(2)
    assert (shown["status"], shown["size"]) == ("active", 1 << 30)
    told("image", "save", "--file", str(back), f"{NAME}-again")
    with back.open("rb") as file:
        assert file.read(raw.stat().st_size) == raw.read_bytes()
    back.unlink()
    for name in (NAME, f"{NAME}-again"):
        told("image", "delete", name)


@scenario
def all_of_it_goes():
    names = [entry["Name"] for entry in cloud("volume", "list")]
    told("volume", "delete", *names)
    for _ in range(60):
        if not cloud("volume", "list"):
            break
        time.sleep(1)
    assert cloud("volume", "list") == []
    assert made["me"].block_storage.get_limits().absolute.total_gigabytes_used == 0


run()
