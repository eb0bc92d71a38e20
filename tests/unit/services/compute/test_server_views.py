"""Documents of servers by microversion."""

from dataclasses import replace

import pytest

from objstore.services.compute.server_views import Around, attachment_view, rebuilt_view, server_view, updated_view
from tests.unit.services.compute.test_records import DISK, SERVER

VOLUME = replace(DISK, destination="volume", api_volume="v1", attachment="a1", device="vdb", delete_on_termination=True)
READY = replace(
    SERVER, vm_state="active", task_state="", host="h1", disks=[VOLUME], launched_us=5, zone="z", locked_by="owner", group_id="g"
)
SINCE = {
    (2, 9): {"locked"}, (2, 19): {"description"}, (2, 26): {"tags"}, (2, 63): {"trusted_image_certificates"}, (2, 71): {"server_groups"},
    (2, 73): {"locked_reason"}, (2, 90): {"OS-EXT-SRV-ATTR:hostname"}, (2, 96): {"pinned_availability_zone"},
}  # fmt: skip
FOR_ADMINS = {
    (2, 1): {"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "OS-EXT-SRV-ATTR:instance_name"}, (2, 16): {"host_status"},
    (2, 3): {"OS-EXT-SRV-ATTR:reservation_id", "OS-EXT-SRV-ATTR:launch_index", "OS-EXT-SRV-ATTR:hostname", "OS-EXT-SRV-ATTR:kernel_id",
             "OS-EXT-SRV-ATTR:ramdisk_id", "OS-EXT-SRV-ATTR:root_device_name", "OS-EXT-SRV-ATTR:user_data"},
}  # fmt: skip
PLAIN = {
    "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor", "created", "updated", "addresses", "accessIPv4",
    "accessIPv6", "links", "OS-DCF:diskConfig", "progress", "key_name", "config_drive", "OS-EXT-AZ:availability_zone", "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at", "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state", "OS-EXT-STS:power_state", "os-extended-volumes:volumes_attached",
    "security_groups",
}  # fmt: skip


def around(version: tuple[int, int], *, is_admin: bool = False) -> Around:
    return Around("http://x", version, is_admin, groups={"s1": ["default"]}, zones={"h1": "nova"}, alive={"h1": True})


@pytest.mark.parametrize("minor", range(1, 97))
def test_each_version_shows_its_fields_and_no_others(minor: int) -> None:
    version = (2, minor)
    expected = PLAIN.union(*(names for since, names in SINCE.items() if version >= since))
    assert set(server_view(READY, around(version))) == expected
    for_admins = expected.union(*(names for since, names in FOR_ADMINS.items() if version >= since))
    assert set(server_view(READY, around(version, is_admin=True))) == for_admins
    assert set(server_view(READY, around(version), in_list=True)) == expected - {"server_groups"}
    flavor = server_view(READY, around(version))["flavor"]
    assert set(flavor) == ({"id", "links"} if minor < 47 else {"vcpus", "ram", "disk", "ephemeral", "swap", "original_name", "extra_specs"})


def test_answers_to_changes_are_shorter_until_275() -> None:
    assert "key_name" not in updated_view(READY, around((2, 74)))
    assert set(updated_view(READY, around((2, 75)))) == set(server_view(READY, around((2, 75))))
    assert {"adminPass"} == set(rebuilt_view(READY, around((2, 53)), "x")) - set(updated_view(READY, around((2, 53))))
    assert {"adminPass", "key_name", "user_data"} == set(rebuilt_view(READY, around((2, 57)), "x")) - set(
        updated_view(READY, around((2, 57)))
    )
    assert "OS-EXT-SRV-ATTR:user_data" not in rebuilt_view(READY, around((2, 75), is_admin=True), "x")


def test_hosts_of_two_projects_cannot_be_compared() -> None:
    first, second = (server_view(replace(READY, project=project), around((2, 1)))["hostId"] for project in ("a", "b"))
    assert len(first) == 56
    assert first != second
    assert server_view(replace(READY, host=""), around((2, 1)))["hostId"] == ""


def test_progress_and_faults_belong_to_some_states() -> None:
    class Fault:
        code, message, details, created_us = 500, "why", "where", 5

    failed = replace(READY, vm_state="error", fault=Fault())
    view = server_view(failed, around((2, 1)))
    assert ("progress" in view, view["fault"]["message"], "details" in view["fault"]) == (False, "why", False)
    assert server_view(failed, around((2, 1), is_admin=True))["fault"]["details"] == "where"
    assert "fault" not in server_view(replace(failed, vm_state="active"), around((2, 1)))


def test_attachments_lose_their_old_id() -> None:
    assert set(attachment_view(VOLUME, (2, 1))) == {"id", "volumeId", "serverId", "device"}
    assert attachment_view(VOLUME, (2, 79))["delete_on_termination"] is True
    shown = attachment_view(VOLUME, (2, 89))
    assert (shown["attachment_id"], shown["bdm_uuid"], "id" in shown) == ("a1", "d1", False)
    assert "id" in attachment_view(VOLUME, (2, 89), made=True)
