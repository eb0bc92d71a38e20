"""QEMU's command line of a guest: confined, and with nothing in it that a tenant could have meant as an option."""

import json
from typing import Any

import msgspec
import pytest

from objstore.services.compute.agent.check import DEVICES_LIMIT
from objstore.services.compute.agent.command import HostFacts, blank_node, command_line, disk_node, nbd_node
from objstore.services.compute.agent.guest import slots_for
from objstore.services.compute.agent.layout import disk_name
from objstore.services.compute.agent_api import Disk, ServerSpec
from tests.unit.services.compute.agent.test_check import DISK, NIC, spec

FACTS = HostFacts("tcg", "q35", "../../../run/disks1.nbd", "/usr/share/OVMF/OVMF_CODE_4M.fd")


def line(of: ServerSpec, **options: Any) -> list[str]:
    return command_line(of, FACTS, slots_for(of, {}), {nic.port: "tap,fd=9" for nic in of.nics}, **options)


def after(words: list[str], option: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def documents(words: list[str], option: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in after(words, option) if text.startswith("{")]


def test_a_guest_is_confined_and_reached_by_sockets_only() -> None:
    words = line(spec())
    assert after(words, "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    assert "-nodefaults" in words
    assert "-no-user-config" in words
    assert after(words, "-vnc") == ["unix:vnc.sock,share=force-shared"]
    assert "-daemonize" not in words
    assert after(words, "-name") == [f"guest=objstore-{spec().id}"]  # the tenant's name for it is not QEMU's business
    assert all(part.partition("=")[0] != "port" for text in after(words, "-chardev") for part in text.split(","))


def test_disks_are_raw_volumes_over_a_connection_that_is_waited_for() -> None:
    (node,) = documents(line(spec()), "-blockdev")
    assert (node["driver"], node["file"]["driver"], node["file"]["export"]) == ("raw", "nbd", "a" * 32)
    assert node["file"]["server"] == {"type": "unix", "path": FACTS.nbd}
    assert node["file"]["reconnect-delay"] >= 600
    assert node["file"]["cache"]["direct"]
    assert node["discard"] == node["detect-zeroes"] == "unmap"
    device = next(d for d in documents(line(spec()), "-device") if d["driver"] == "virtio-blk-pci")
    assert device == {
        "driver": "virtio-blk-pci", "id": disk_name("a" * 32), "drive": node["node-name"], "serial": DISK.serial[:20], "bootindex": 0, "bus": "port1",
    }  # fmt: skip


def test_what_is_read_only_is_so_on_every_level() -> None:
    disk = msgspec.structs.replace(DISK, read_only=True)
    node = disk_node(disk, FACTS)
    assert node["read-only"]
    assert node["file"]["read-only"]
    assert node["detect-zeroes"] == "off"
    assert disk_node(disk, FACTS, "other")["file"] == "other"


@pytest.mark.parametrize(("machine", "place"), [("q35", {"bus": "port2"}), ("pc", {"bus": "pci.0", "addr": "0x5"})])
def test_each_machine_has_places_for_what_comes_later(machine: str, place: dict[str, str]) -> None:
    words = line(spec(machine=machine))
    card = next(d for d in documents(words, "-device") if d["driver"] == "virtio-net-pci")
    assert {key: card[key] for key in ("bus", "addr") if key in card} == place
    assert card["mac"] == NIC.mac
    assert after(words, "-netdev") == [f"tap,fd=9,id=n-{NIC.port}"]
    ports = [d for d in documents(words, "-device") if d["driver"] == "pcie-root-port"]
    assert len(ports) == (DEVICES_LIMIT if machine == "q35" else 0)
    assert len({(port["bus"], port["addr"]) for port in ports}) == len(ports)


def test_other_buses_and_the_config_drive() -> None:
    disks = (Disk("a" * 32, "sda", 0, bus="scsi"), Disk("b" * 32, "hda", bus="ide"))
    words = line(spec(disks=disks, config_drive=True))
    kinds = [d["driver"] for d in documents(words, "-device")]
    assert kinds.count("virtio-scsi-pci") == kinds.count("scsi-hd") == kinds.count("ide-hd") == kinds.count("ide-cd") == 1
    drive = next(n for n in documents(words, "-blockdev") if n["node-name"] == "config")
    assert drive["read-only"]
    assert drive["file"] == {"driver": "file", "filename": "../config.iso", "read-only": True}


def test_uefi_has_code_that_is_shared_and_variables_of_its_own() -> None:
    nodes = {n["node-name"]: n for n in documents(line(spec(firmware="uefi")), "-blockdev")}
    assert nodes["fw-code"]["read-only"]
    assert nodes["fw-code"]["file"]["filename"] == FACTS.firmware
    assert nodes["fw-vars"]["file"]["filename"] == "firmware.fd"
    assert "fw-code" not in {n["node-name"] for n in documents(line(spec()), "-blockdev")}


def test_a_guest_that_is_awaited_has_blank_disks_of_the_same_size() -> None:
    words = line(spec(), blank={"a" * 32: 4096})
    (node,) = documents(words, "-blockdev")
    assert node["node-name"] == disk_name("a" * 32)
    assert node["file"] == blank_node(DISK, 4096)
    assert after(words, "-incoming") == ["defer"]
    assert "-incoming" not in line(spec())


def test_connections_to_one_volume_have_names_of_their_own() -> None:
    names = {nbd_node("a" * 32, FACTS, number=number)["node-name"] for number in range(10)}
    assert len(names) == 10
    assert all(len(name) <= 31 for name in names)


def test_kvm_shows_the_hosts_processor() -> None:
    facts = HostFacts("kvm", "q35", "x")
    words = command_line(spec(), facts, slots_for(spec(), {}), {NIC.port: "user"})
    assert after(words, "-cpu") == ["host"]
    assert "accel=kvm" in after(words, "-machine")[0]
