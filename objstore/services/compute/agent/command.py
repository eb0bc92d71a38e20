"""A guest's command line: QEMU's arguments for what the guest should be, on this host.  Pure.

Nothing of a tenant's is ever parsed by QEMU's option language: what he chose is a number, one of a few words, or stands in JSON.  No image
format is ever guessed: disks are volumes over NBD, and a volume is raw.  QEMU may not start processes or gain rights.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objstore.services.compute.agent.check import DEVICES_LIMIT, NIC_MODELS
from objstore.services.compute.agent.layout import CONFIG_DRIVE, CONSOLE, FIRMWARE, QMP, SERIAL, VNC, disk_name, nic_name
from objstore.services.compute.agent_api import Disk, Nic, ServerSpec

RECONNECT_S = 3600  # for so long a guest's reads and writes wait for the process that serves its disks
NAME_PREFIX = "guest=objstore-"  # what a guest's process is found by


@dataclass(frozen=True)
class HostFacts:
    """What a command line depends on besides the guest."""

    accelerator: str  # "kvm", "tcg"
    machine: str  # of guests that name none
    nbd: str  # the socket of the process that serves disks, as it is reached from the guest's directory
    firmware: str = ""  # the code of UEFI, "" where it is not installed


def machine_of(spec: ServerSpec, facts: HostFacts) -> str:
    """The kind of machine."""
    return spec.machine or facts.machine


def command_line(
    spec: ServerSpec, facts: HostFacts, slots: Mapping[str, int], netdevs: Mapping[str, str], blank: Mapping[str, int] | None = None
) -> list[str]:
    """QEMU's arguments, without the program; `netdevs` is what stands behind each port's card (the argument of -netdev without the id).

    With `blank`, volume -> size in bytes, the guest is not started but awaited, and its disks are blank until then.
    """
    machine = machine_of(spec, facts)
    return [
        "-name", f"{NAME_PREFIX}{spec.id}",
        "-uuid", spec.id,
        "-machine", f"{machine},accel={facts.accelerator},usb=off,vmport=off",
        "-cpu", "host" if facts.accelerator == "kvm" else "max",
        "-smp", f"{spec.vcpus},sockets={spec.vcpus},cores=1,threads=1",
        "-m", f"size={spec.memory_mb}M",
        "-nodefaults", "-no-user-config", "-display", "none",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-rtc", "base=utc,driftfix=slew",
        "-chardev", f"socket,id=qmp,path={QMP},server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
        "-chardev", f"socket,id=ser0,path={SERIAL},server=on,wait=off,logfile={CONSOLE},logappend=on",
        "-serial", "chardev:ser0",
        "-vga", "std",
        "-vnc", f"unix:{VNC},share=force-shared",
        *_machine_devices(spec, machine),
        *_firmware(spec, facts),
        *(words for disk in spec.disks for words in _disk(disk, facts, machine, slots, blank)),
        *_config_drive(spec, machine),
        *(words for nic in spec.nics for words in _nic(nic, machine, slots, netdevs)),
        *(["-incoming", "defer"] if blank is not None else []),
    ]  # fmt: skip


def _machine_devices(spec: ServerSpec, machine: str) -> list[str]:
    devices: list[dict[str, Any]] = []
    words: list[str] = []
    if machine == "q35":
        # Native hot-plug: a guest without any notion of it (nobody listens) loses its disk at once instead of never.
        words += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
        for number in range(1, DEVICES_LIMIT + 1):
            place = {"bus": "pcie.0", "addr": f"{4 + (number - 1) // 8:x}.{(number - 1) % 8:x}"}
            devices.append(
                {
                    "driver": "pcie-root-port",
                    "id": f"port{number}",
                    "chassis": number,
                    "port": number,
                    "io-reserve": 0,
                    **place,
                    "multifunction": True,
                }
            )
    if any(disk.bus == "scsi" for disk in spec.disks):
        devices.append({"driver": "virtio-scsi-pci", "id": "scsi0", **_host_place(machine, "2")})
    devices.append({"driver": "virtio-rng-pci", "rng": "rng0", **_host_place(machine, "3")})
    words += ["-object", "rng-random,id=rng0,filename=/dev/urandom"]
    return [*words, *_devices(devices)]


def _host_place(machine: str, slot: str) -> dict[str, Any]:
    return {"bus": "pcie.0" if machine == "q35" else "pci.0", "addr": "0x1e" if slot == "2" else "0x1d"}


def _firmware(spec: ServerSpec, facts: HostFacts) -> list[str]:
    if spec.firmware != "uefi":
        return []
    code = {
        "driver": "raw",
        "node-name": "fw-code",
        "read-only": True,
        "file": {"driver": "file", "filename": facts.firmware, "read-only": True},
    }
    variables = {"driver": "raw", "node-name": "fw-vars", "file": {"driver": "file", "filename": FIRMWARE}}
    return [
        "-blockdev", json.dumps(code), "-blockdev", json.dumps(variables), "-machine", "pflash0=fw-code,pflash1=fw-vars",
    ]  # fmt: skip


def nbd_node(volume: str, facts: HostFacts, *, number: int = 0, read_only: bool = False) -> dict[str, Any]:
    """The block node of a connection to a volume; `number` tells a second one from the first."""
    return {
        "driver": "nbd",
        "node-name": f"c{number}-{volume[:26]}",
        "server": {"type": "unix", "path": facts.nbd},
        "export": volume,
        "reconnect-delay": RECONNECT_S,
        "read-only": read_only,
        "cache": {"direct": True, "no-flush": False},
        "discard": "unmap",
        "detect-zeroes": "unmap" if not read_only else "off",
    }


def disk_node(disk: Disk, facts: HostFacts, file: dict[str, Any] | str | None = None) -> dict[str, Any]:
    """The block node that the guest's disk is: raw, over a connection that can be changed under it."""
    return {
        "driver": "raw",
        "node-name": disk_name(disk.volume),
        "read-only": disk.read_only,
        "file": nbd_node(disk.volume, facts, read_only=disk.read_only) if file is None else file,
        "cache": {"direct": True, "no-flush": False},
        "discard": "unmap",
        "detect-zeroes": "unmap" if not disk.read_only else "off",
    }


def blank_node(disk: Disk, size_bytes: int) -> dict[str, Any]:
    """What stands for a disk's connection while a guest is awaited: the volume is still another host's."""
    return {"driver": "null-co", "node-name": f"b-{disk.volume[:26]}", "size": size_bytes, "read-zeroes": True, "read-only": disk.read_only}


def disk_device(disk: Disk, machine: str, slots: Mapping[str, int]) -> dict[str, Any]:
    """The device of a disk."""
    name = disk_name(disk.volume)
    device: dict[str, Any] = {"id": name, "drive": name}
    if disk.serial:
        device["serial"] = disk.serial[:20] if disk.bus != "scsi" else disk.serial
    if disk.boot_index >= 0:
        device["bootindex"] = disk.boot_index
    if disk.bus == "scsi":
        return {"driver": "scsi-hd", "bus": "scsi0.0", "lun": slots[name], **device}
    if disk.bus == "ide":
        return {"driver": "ide-hd", **device}
    return {"driver": "virtio-blk-pci", **device, **_slot(machine, slots[name])}


def nic_device(nic: Nic, machine: str, slots: Mapping[str, int]) -> dict[str, Any]:
    """The device of a network card."""
    name = nic_name(nic.port)
    return {"driver": NIC_MODELS[nic.model], "id": name, "netdev": name, "mac": nic.mac, "romfile": "", **_slot(machine, slots[name])}


def _slot(machine: str, number: int) -> dict[str, Any]:
    # On the older machine all devices share one bus, whose first four places are the machine's own.
    return {"bus": f"port{number}"} if machine == "q35" else {"bus": "pci.0", "addr": f"{number + 3:#x}"}


def _disk(disk: Disk, facts: HostFacts, machine: str, slots: Mapping[str, int], blank: Mapping[str, int] | None) -> list[str]:
    file = None if blank is None else blank_node(disk, blank[disk.volume])
    return ["-blockdev", json.dumps(disk_node(disk, facts, file)), "-device", json.dumps(disk_device(disk, machine, slots))]


def _nic(nic: Nic, machine: str, slots: Mapping[str, int], netdevs: Mapping[str, str]) -> list[str]:
    return ["-netdev", f"{netdevs[nic.port]},id={nic_name(nic.port)}", "-device", json.dumps(nic_device(nic, machine, slots))]


def _config_drive(spec: ServerSpec, machine: str) -> list[str]:
    if not spec.config_drive:
        return []
    node = {
        "driver": "raw",
        "node-name": "config",
        "read-only": True,
        "file": {"driver": "file", "filename": f"../{CONFIG_DRIVE}", "read-only": True},
    }
    bus = "ide.2" if machine == "q35" else "ide.1"
    return ["-blockdev", json.dumps(node), "-device", json.dumps({"driver": "ide-cd", "id": "config", "drive": "config", "bus": bus})]


def _devices(devices: Sequence[dict[str, Any]]) -> list[str]:
    return [word for device in devices for word in ("-device", json.dumps(device))]
