"""Documents that ask for servers."""

from typing import Any

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.compute.server_entry import WantedDisk, WantedNic, parse_new

IMAGE = "0f0f0f0f-1111-4222-8333-444444444444"
OTHER = "1f0f0f0f-1111-4222-8333-444444444444"
LAST = (2, 96)


def parsed(version: tuple[int, int] = (2, 1), *, admin: bool = False, hints: Any = None, **fields: Any) -> Any:
    document = {"server": {"name": "n", "flavorRef": "1", **fields}, **({"os:scheduler_hints": hints} if hints is not None else {})}
    return parse_new(document, version, is_admin=admin)


def refused(version: tuple[int, int] = (2, 1), *, hints: Any = None, admin: bool = False, **fields: Any) -> tuple[int, str]:
    with pytest.raises(CallRefused) as found:
        parsed(version, hints=hints, admin=admin, **fields)
    return found.value.status, found.value.message


def test_a_plain_server_boots_from_its_image() -> None:
    found = parsed(imageRef=f"http://x/images/{IMAGE}", flavorRef="http://x/flavors/2")
    assert (found.flavor, found.image, found.nics, found.least, found.most) == ("2", IMAGE, None, 1, 1)
    assert found.disks == [WantedDisk("image", "local", IMAGE, boot_index=0, delete_on_termination=True)]


def test_networks_are_named_or_none_or_found() -> None:
    nics = parsed(imageRef=IMAGE, networks=[{"uuid": IMAGE, "fixed_ip": "10.0.0.5"}, {"port": OTHER}]).nics
    assert nics == [WantedNic(IMAGE, fixed_ip="10.0.0.5"), WantedNic(port=OTHER)]
    assert parsed((2, 37), imageRef=IMAGE, networks="none").no_network
    assert parsed((2, 37), imageRef=IMAGE, networks="auto").auto_network
    assert parsed(imageRef=IMAGE, networks=[]).nics is None
    assert refused((2, 37), imageRef=IMAGE)[0] == 400
    assert refused((2, 36), imageRef=IMAGE, networks="none")[0] == 400


@pytest.mark.parametrize(
    "networks",
    [[{}], [{"uuid": "x"}], [{"port": OTHER, "fixed_ip": "10.0.0.1"}], [{"port": OTHER}, {"port": OTHER}], [{"uuid": IMAGE, "tag": "t"}], "x", [5],
     [{"uuid": IMAGE}] * 17, [{"uuid": IMAGE, "fixed_ip": "1.2"}]],
)  # fmt: skip
def test_networks_that_cannot_be_are_refused(networks: Any) -> None:
    assert refused(imageRef=IMAGE, networks=networks)[0] == 400


def test_disks_are_asked_for_in_two_languages() -> None:
    new = [
        {"source_type": "volume", "destination_type": "volume", "uuid": OTHER, "boot_index": "0", "delete_on_termination": True},
        {"source_type": "blank", "destination_type": "volume", "volume_size": 3, "boot_index": -1, "device_name": "/dev/vdd"},
        {"source_type": "blank", "guest_format": "swap", "destination_type": "local", "boot_index": None},
    ]
    assert parsed(block_device_mapping_v2=new).disks == [
        WantedDisk("volume", "volume", OTHER, boot_index=0, delete_on_termination=True),
        WantedDisk("blank", "volume", size_gb=3, device="vdd"),
        WantedDisk("blank", "local", delete_on_termination=True, swap=True),
    ]
    old = [{"volume_id": OTHER, "device_name": "vda", "delete_on_termination": "1"}]
    assert parsed(block_device_mapping=old).disks == [WantedDisk("volume", "volume", OTHER, 0, 0, "vda", delete_on_termination=True)]
    root = {"source_type": "image", "destination_type": "local", "uuid": IMAGE, "boot_index": 0, "delete_on_termination": True}
    assert len(parsed(imageRef=IMAGE, block_device_mapping_v2=[root]).disks) == 1


@pytest.mark.parametrize(
    "disks",
    [
        [{"source_type": "volume", "destination_type": "volume", "uuid": OTHER}], [{"source_type": "tape"}], [{"uuid": OTHER, "boot_index": 0}],
        [{"source_type": "blank", "boot_index": 0, "destination_type": "local"}], [{"source_type": "volume", "boot_index": 0}],
        [{"source_type": "volume", "destination_type": "local", "uuid": OTHER, "boot_index": 0}],
        [{"source_type": "image", "destination_type": "volume", "uuid": IMAGE, "boot_index": 0}],
        [{"source_type": "volume", "uuid": OTHER, "boot_index": 0}, {"source_type": "volume", "uuid": OTHER, "boot_index": 1}],
        [{"source_type": "volume", "uuid": OTHER, "boot_index": 0}, {"source_type": "volume", "uuid": IMAGE, "boot_index": 0}],
        [{"source_type": "volume", "uuid": OTHER, "boot_index": 1}], [{"source_type": "volume", "uuid": OTHER, "boot_index": 0, "device_name": "/etc"}],
        [{"source_type": "volume", "uuid": OTHER, "boot_index": 0, "device_type": "cdrom"}], "x", [5],
        [{"source_type": "volume", "uuid": OTHER, "boot_index": 0, "volume_size": 0}], [{"source_type": "volume", "uuid": OTHER, "boot_index": 0}] * 27,
    ],
)  # fmt: skip
def test_disks_that_cannot_be_are_refused(disks: Any) -> None:
    assert refused(block_device_mapping_v2=disks)[0] == 400


def test_a_server_boots_from_something() -> None:
    assert refused()[0] == 400
    assert refused(imageRef="")[0] == 400
    assert refused(imageRef="x")[0] == 400
    assert refused(imageRef=IMAGE, block_device_mapping_v2=[{"source_type": "volume", "uuid": OTHER, "boot_index": 0}], block_device_mapping=[
        {"volume_id": OTHER}])[0] == 400  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("personality", [{"path": "/etc/x", "contents": ""}], 400), ("min_count", 0, 400), ("user_data", "A" * 65_536, 400), ("user_data", "$$", 400),
        ("metadata", {"a": 1}, 400), ("name", "", 400), ("flavorRef", True, 400), ("flavorRef", "", 400), ("strange", 1, 400),
        ("availability_zone", "nova:h1", 403), ("description", "d", 400), ("tags", ["a"], 400), ("accessIPv4", "x", 400), ("adminPass", 5, 400),
        ("security_groups", "default", 400), ("config_drive", "perhaps", 400), ("OS-DCF:diskConfig", "x", 400), ("max_count", 101, 403),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_are_refused(field: str, value: Any, status: int) -> None:
    assert refused(imageRef=IMAGE, **{field: value})[0] == status


def test_counts_belong_together() -> None:
    assert refused(imageRef=IMAGE, min_count=3, max_count=2) == (400, "min_count must be <= max_count")
    found = parsed(imageRef=IMAGE, min_count=2)
    assert (found.least, found.most) == (2, 2)
    assert refused(imageRef=IMAGE, max_count=2, networks=[{"port": OTHER}])[0] == 400
    assert refused(max_count=2, block_device_mapping_v2=[{"source_type": "volume", "uuid": OTHER, "boot_index": 0}])[0] == 400


def test_administrators_choose_hosts_by_zone_or_by_name() -> None:
    found = parsed(admin=True, imageRef=IMAGE, availability_zone="nova:h1")
    assert (found.zone, found.host) == ("nova", "h1")
    assert parsed((2, 74), admin=True, imageRef=IMAGE, networks="none", host="h2").host == "h2"
    assert refused((2, 74), imageRef=IMAGE, networks="none", host="h2")[0] == 403
    assert refused((2, 74), admin=True, imageRef=IMAGE, networks="none", host="h2", availability_zone="nova:h1")[0] == 400


def test_hints_are_checked_where_they_are_honoured() -> None:
    assert parsed(imageRef=IMAGE, hints={"different_host": IMAGE, "group": OTHER, "query": "[x]"}).hints == {
        "different_host": [IMAGE], "group": OTHER, "query": "[x]",
    }  # fmt: skip
    assert refused(imageRef=IMAGE, hints={"group": "x"})[0] == 400
    assert refused(imageRef=IMAGE, hints={"same_host": ["x"]})[0] == 400
    assert refused(imageRef=IMAGE, hints=[])[0] == 400


def test_later_fields_come_with_their_versions() -> None:
    found = parsed(LAST, imageRef=IMAGE, networks="none", description="d", tags=["t"], hostname="h", trusted_image_certificates=None)
    assert (found.description, found.tags, found.hostname) == ("d", ["t"], "h")
    assert refused(LAST, imageRef=IMAGE, networks="none", trusted_image_certificates=["x"])[0] == 400
    assert refused(LAST, imageRef=IMAGE, networks="none", personality=[])[0] == 400


def test_hints_are_few_and_short() -> None:
    assert parsed(imageRef=IMAGE, hints={"a": "b" * 1000}).hints == {"a": "b" * 1000}
    assert refused(imageRef=IMAGE, hints={"a": "b" * 20_000})[0] == 400
    assert refused(imageRef=IMAGE, hints={str(number): "" for number in range(40)})[0] == 400
