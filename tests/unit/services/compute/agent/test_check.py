"""What cannot be a guest is refused before anything is done with it."""

import base64
from typing import Any

import msgspec
import pytest

from objstore.errors import InvalidArgument
from objstore.services.compute.agent.check import USER_DATA_LIMIT_BYTES, check_server_id, check_spec, check_user_data, check_volume_id
from objstore.services.compute.agent_api import Disk, Nic, ServerSpec

ID = "11111111-2222-3333-4444-555555555555"
DISK = Disk("a" * 32, "vda", 0, serial="11111111-2222-3333-4444-555555555555")
NIC = Nic("66666666-2222-3333-4444-555555555555", "fa:16:3e:00:00:01", "net")


def spec(**changes: Any) -> ServerSpec:
    return msgspec.structs.replace(ServerSpec(ID, "a guest, with a name", "p", 2, 512, (DISK,), (NIC,)), **changes)


def test_a_guest_as_the_conductor_makes_it_is_fine() -> None:
    check_spec(
        spec(config_drive=True, metadata={"uuid": ID}, user_data=base64.b64encode(b"#!/bin/sh").decode(), firmware="uefi", machine="pc")
    )


@pytest.mark.parametrize("changes", [
    {"id": "../../../etc"}, {"id": ID.upper().replace("1", "A")}, {"id": f"{ID}\n"}, {"id": ""},
    {"name": "a\0b"}, {"name": "x" * 256}, {"vcpus": 0}, {"vcpus": 256}, {"memory_mb": 0}, {"memory_mb": 1 << 40},
    {"machine": "q35,accel=kvm"}, {"firmware": "/etc/passwd"}, {"user_data": "@@"}, {"kernel": ID}, {"ramdisk": ID},
    {"user_data": base64.b64encode(bytes(USER_DATA_LIMIT_BYTES + 1)).decode()}, {"metadata": {"x": "y" * (1 << 20)}},
    {"disks": (DISK, DISK)}, {"disks": (DISK, Disk("b" * 32, "vda"))}, {"nics": (NIC, NIC)},
    {"disks": tuple(Disk(f"{n:032x}", f"vd{chr(97 + n)}") for n in range(24))},
    {"disks": tuple(Disk(f"{n:032x}", f"hd{chr(97 + n)}", bus="ide") for n in range(3))},
])  # fmt: skip
def test_a_guest_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        check_spec(spec(**changes))


@pytest.mark.parametrize("changes", [
    {"volume": "a" * 31}, {"volume": "A" * 32}, {"volume": "../" + "a" * 29}, {"device": "vda,x"}, {"device": ""}, {"bus": "usb"},
    {"serial": 'x"'}, {"serial": "a,b"}, {"serial": "x" * 37}, {"boot_index": -2}, {"bus": "ide", "read_only": True},
])  # fmt: skip
def test_a_disk_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        check_spec(spec(disks=(msgspec.structs.replace(DISK, **changes),)))


@pytest.mark.parametrize("changes", [
    {"port": "a,b"}, {"port": ""}, {"port": "x" * 65}, {"mac": "fa:16:3e:00:00"}, {"mac": "fa:16:3e:00:00:01,x"}, {"model": "virtio,romfile=/x"},
])  # fmt: skip
def test_a_network_card_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        check_spec(spec(nics=(msgspec.structs.replace(NIC, **changes),)))


def test_ids_and_user_data_come_back_as_they_are_meant() -> None:
    assert check_server_id(ID) == ID
    assert check_volume_id("0" * 32) == "0" * 32
    assert check_user_data("") == b""
    assert check_user_data(base64.b64encode(b"\0x").decode()) == b"\0x"
