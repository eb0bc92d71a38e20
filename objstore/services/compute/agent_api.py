"""What the conductor asks of the agent on a host, and what agents report: HTTP POST of JSON with a shared secret.

Every call may come twice and must be able to: the second finds the work done.  POST /v1/CALL with `Authorization: Bearer SECRET`; 200 with the
answer's JSON; 404 for a server that is not on this host; 409 {"error"} where the guest's state forbids it; 400 for what cannot be right
(do not try again); 503 {"error"} for what may go well later.

Consoles: a WebSocket at GET /v1/servers/ID/console/serial or .../vnc with the same header; binary messages are what the line carries, either way.
"""

import msgspec

ON_THIS_HOST = "is on this host"  # how the refusal of a guest ends that was received before


class Disk(msgspec.Struct, frozen=True):
    """A volume of the store that the guest sees as a disk."""

    volume: str  # 32 hex digits: the volume's id in the store
    device: str  # "vda"
    boot_index: int = -1  # 0: the first to boot from; -1: never
    bus: str = "virtio"
    serial: str = ""  # what the guest reads as the disk's serial number: the API's volume id
    read_only: bool = False


class Nic(msgspec.Struct, frozen=True):
    """A port of the network service that the guest sees as a network card."""

    port: str
    mac: str
    network: str
    model: str = "virtio"
    tag: str = ""


class ServerSpec(msgspec.Struct, frozen=True):
    """A guest as it should be."""

    id: str
    name: str
    project: str
    vcpus: int
    memory_mb: int
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    machine: str = ""  # "" for the host's choice, or "pc", "q35"
    firmware: str = "bios"
    config_drive: bool = False
    metadata: dict[str, object] = {}  # openstack/latest/meta_data.json, as the guest reads it
    user_data: str = ""  # base64
    network_data: dict[str, object] = {}  # openstack/latest/network_data.json
    kernel: str = ""  # images of kernel and ramdisk, by id: "" for none
    ramdisk: str = ""


class Spawn(msgspec.Struct, frozen=True):
    """Make a guest of a spec run (disks are attached, interfaces plugged in, QEMU started); nothing happens where it runs.  Answer: {}."""

    server: ServerSpec
    force: bool = False  # take volumes away from a host that is known to be dead


class Stop(msgspec.Struct, frozen=True):
    """Power a guest off: press its power button, after `timeout_s` pull the plug.  Its disks are let go of.  Answer: {}."""

    server: str
    timeout_s: float = 60.0


class Reboot(msgspec.Struct, frozen=True):
    """Start anew: hard resets at once, soft tries an orderly end first."""

    server: str
    hard: bool = False
    timeout_s: float = 60.0


class Pause(msgspec.Struct, frozen=True):
    """Halt (or go on with) a guest's processors."""

    server: str
    paused: bool = True


class Destroy(msgspec.Struct, frozen=True):
    """End a guest and forget it: its volumes are let go of, its files removed.  200 also where it is not here."""

    server: str


class AttachDisk(msgspec.Struct, frozen=True):
    """Plug a disk into a guest, running or not."""

    server: str
    disk: Disk


class DetachDisk(msgspec.Struct, frozen=True):
    """Unplug a disk: returned when the guest let go of it and all its writes are in the store."""

    server: str
    volume: str


class AttachNic(msgspec.Struct, frozen=True):
    """Plug in a network card."""

    server: str
    nic: Nic


class DetachNic(msgspec.Struct, frozen=True):
    """Unplug a network card."""

    server: str
    port: str


class ConsoleLog(msgspec.Struct, frozen=True):
    """The end of what the guest wrote to its serial line.  Answer: {"output": text}."""

    server: str
    lines: int | None = None


class SnapshotVolume(msgspec.Struct, frozen=True):
    """A snapshot of a volume that is attached here, with all that was written before; the guest stands still meanwhile.  Answer: {}."""

    volume: str
    snapshot: str  # 32 hex digits, chosen by who asks


class ResizeVolume(msgspec.Struct, frozen=True):
    """Make an attached volume longer; the guest sees it.  Answer: {}."""

    volume: str
    size_bytes: int


class Receive(msgspec.Struct, frozen=True):
    """Begin to receive a guest that runs elsewhere.  Answer: {"address": "tcp:HOST:PORT"}."""

    server: ServerSpec


class Migrate(msgspec.Struct, frozen=True):
    """Send a guest to where it is awaited, and let go of its volumes so that the other side has them.  Answer: {} when it runs there."""

    server: str
    address: str
    target_secret: str = ""


CALLS: dict[str, type[msgspec.Struct]] = {
    "spawn": Spawn, "stop": Stop, "reboot": Reboot, "pause": Pause, "destroy": Destroy, "attach_disk": AttachDisk, "detach_disk": DetachDisk,
    "attach_nic": AttachNic, "detach_nic": DetachNic, "console_log": ConsoleLog, "snapshot_volume": SnapshotVolume,
    "resize_volume": ResizeVolume, "receive": Receive, "migrate": Migrate,
}  # fmt: skip
"""CALL in the path -> what is sent."""


class Power(msgspec.Struct, frozen=True):
    """A guest as it is."""

    server: str
    state: str  # "running", "paused", "off", "crashed"
    why: str = ""  # for "off": "guest" (it switched itself off), "host" (it was told to), "gone" (its process died)


class Report(msgspec.Struct, frozen=True):
    """What an agent tells the conductor every few seconds and at each change: POST {services}/compute/agents/v1/report."""

    host: str
    address: str  # "http://127.0.0.1:21500": where the agent answers
    tunnel_address: str = ""  # its end of tunnels between hosts
    version: str = ""
    vcpus: int = 0
    memory_mb: int = 0
    disk_gb: int = 0
    cpu_model: str = ""
    accelerator: str = ""  # "tcg", "kvm"
    traits: tuple[str, ...] = ()
    network_driver: str = ""  # "netns", "user"
    network_revision: int = -1  # of the WantedHost that it has carried out
    boot_id: str = ""
    guests: tuple[Power, ...] = ()  # all that it knows
    ports_up: tuple[str, ...] = ()  # of the ports it was told, those that work


class Reported(msgspec.Struct, frozen=True):
    """The answer to a report."""

    network_revision: int  # newer than the reported one: ask for GET {services}/compute/agents/v1/network?host=HOST (a WantedHost)
    forget: tuple[str, ...] = ()  # guests of this host that no record knows: destroy them
