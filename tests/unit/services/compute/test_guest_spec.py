"""Servers as agents are told of them."""

from dataclasses import replace

from objstore.services.compute.desks import Flavor, Key
from objstore.services.compute.guest_spec import spec_of
from objstore.services.compute.records import json_text
from tests.unit.services.compute.test_records import DISK, NIC, SERVER


def test_a_guest_has_the_disks_and_cards_that_are_there() -> None:
    disks = [replace(DISK, state="ready"), replace(DISK, id="d2", device="vdb", state="wanted"), replace(DISK, id="d3", device="vdc", state="detaching"),
             replace(DISK, id="d4", device="vdd", state="attaching", api_volume="v4", tag="t")]  # fmt: skip
    nics = [replace(NIC, state="ready", port="p1", mac="m1"), replace(NIC, id="n2")]
    server = replace(SERVER, disks=disks, nics=nics, key_document=json_text(Key("k", "ssh", "data")), hostname="host")
    spec = spec_of(server, zone="z", network_data={"links": []}, password="secret")
    assert [(disk.device, disk.serial) for disk in spec.disks] == [("vda", "d1"), ("vdd", "v4")]
    assert [(nic.port, nic.model) for nic in spec.nics] == [("p1", "virtio")]
    assert (spec.vcpus, spec.memory_mb, spec.machine, spec.firmware) == (1, 64, "", "bios")
    assert spec.metadata["public_keys"] == {"k": "data"}
    assert spec.metadata["admin_pass"] == "secret"
    assert spec.metadata["devices"] == [{"type": "disk", "bus": "virtio", "serial": "v4", "tags": ["t"]}]
    assert "admin_pass" not in spec_of(server, zone="z", network_data={}).metadata


def test_an_image_says_what_machine_it_needs_and_nonsense_is_left_out() -> None:
    wanted = {
        "hw_machine_type": "q35",
        "hw_firmware_type": "uefi",
        "hw_vif_model": "e1000",
        "img_config_drive": "mandatory",
        "kernel_id": "k",
    }
    nic = replace(NIC, state="ready", port="p1", mac="m1")
    spec = spec_of(
        replace(SERVER, image_document=json_text(wanted), nics=[nic]), zone="", network_data={}, flavor=Flavor("2", "b", 4, 256, 1)
    )
    assert (spec.machine, spec.firmware, spec.nics[0].model, spec.config_drive, spec.kernel) == ("q35", "uefi", "e1000", True, "k")
    assert (spec.vcpus, spec.memory_mb) == (4, 256)
    strange = {"hw_machine_type": "x,accel=kvm", "hw_vif_model": "e1000,netdev=x"}
    spec = spec_of(replace(SERVER, image_document=json_text(strange), nics=[nic]), zone="", network_data={})
    assert (spec.machine, spec.nics[0].model) == ("", "virtio")
