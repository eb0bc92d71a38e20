"""Guests on a real host: QEMU, disks over NBD in a real cluster, and each of the processes killed under a running guest.

The guest has one sector of code: it boots in a quarter of a second and counts its boots on its disks (objstore/cli/tiny_guest.S).
"""

import asyncio
import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from objstore.runtime.websocket import websocket
from objstore.services.compute import agent_api as api
from tests.support.agent_rig import Cloud, Refused, running_cloud
from tests.support.cluster import is_running, wait_until

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("agent") / "c") as cloud:
        yield cloud


@pytest.fixture
def guest(cloud: Cloud) -> Iterator[api.ServerSpec]:
    """A tiny guest that has booted once."""
    spec = cloud.spec(cloud.tiny_volume(" hello"))
    cloud.call(api.Spawn(spec))
    cloud.wait_for(spec.id, "boot=1 hello")
    yield spec
    cloud.call(api.Destroy(spec.id))


def test_a_guest_boots_from_a_volume_and_its_disk_keeps_what_it_writes(cloud: Cloud, guest: api.ServerSpec) -> None:
    volume = guest.disks[0].volume
    cloud.call(api.Spawn(guest))  # it runs: nothing happens
    assert cloud.console(guest.id).count("boot=") == 1
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=2 hello")
    process = cloud.qemu(guest.id)
    cloud.call(api.Reboot(guest.id, timeout_s=30))
    cloud.wait_for(guest.id, "TINY off")  # by its power button
    cloud.wait_for(guest.id, "boot=3 hello")
    assert cloud.qemu(guest.id) == process
    cloud.call(api.Stop(guest.id, 30))
    assert cloud.qemu(guest.id) == 0
    assert cloud.console(guest.id).count("TINY off") == 2
    assert cloud.holder(volume) == ""
    cloud.call(api.Spawn(guest))
    cloud.wait_for(guest.id, "boot=4 hello")
    assert cloud.holder(volume) != ""
    assert len(cloud.console(guest.id, lines=1).splitlines()) == 1


def test_a_snapshot_of_a_running_guest_becomes_another_that_counts_on(cloud: Cloud, guest: api.ServerSpec) -> None:
    volume, snapshot = guest.disks[0].volume, uuid.uuid4().hex
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=2")
    for _ in range(2):
        cloud.call(api.SnapshotVolume(volume, snapshot))
    copy = cloud.volumes("clone", volume, "--snapshot", snapshot)["id"]
    other = cloud.spec(copy)
    cloud.call(api.Spawn(other))
    cloud.wait_for(other.id, "boot=3 hello")
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=3 hello")  # each on its own disk
    cloud.call(api.Destroy(other.id))
    assert cloud.qemu(other.id) == 0
    assert not (cloud.cluster.directory / "agent1" / "servers" / other.id).exists()
    assert cloud.holder(copy) == ""


def test_disks_come_and_go_under_a_running_guest_and_grow(cloud: Cloud, guest: api.ServerSpec) -> None:
    more = cloud.tiny_volume()
    disk = api.Disk(more, "vdb", serial="second")
    for _ in range(2):
        cloud.call(api.AttachDisk(guest.id, disk))
    assert cloud.holder(more) != ""
    for _ in range(2):
        cloud.call(api.DetachDisk(guest.id, more))
    assert cloud.holder(more) == ""
    cloud.call(api.AttachDisk(guest.id, disk))
    cloud.call(api.ResizeVolume(more, 4 * MEBIBYTE))
    assert cloud.volumes("show", more)["size"] == 4 * MEBIBYTE
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=2 hello vdb=1")
    cloud.call(api.DetachDisk(guest.id, more))  # the guest has it in use, is asked, and lets go
    assert cloud.holder(more) == ""
    cloud.call(api.AttachDisk(guest.id, disk))
    cloud.call(api.Stop(guest.id, 30))
    cloud.call(api.DetachDisk(guest.id, more))
    cloud.call(api.Spawn(guest))
    cloud.wait_for(guest.id, "boot=3 hello mem=64")


def test_a_guest_that_knows_nothing_of_plugs_keeps_its_disk_until_it_is_off(cloud: Cloud) -> None:
    more = cloud.tiny_volume()
    spec = cloud.spec(cloud.tiny_volume(), more, machine="pc")
    cloud.call(api.Spawn(spec))
    cloud.wait_for(spec.id, "boot=1 vdb=1")
    with pytest.raises(Refused, match="does not let go") as refused:
        cloud.call(api.DetachDisk(spec.id, more))
    assert refused.value.status == 409
    cloud.call(api.Stop(spec.id, 30))
    cloud.call(api.DetachDisk(spec.id, more))
    cloud.call(api.Destroy(spec.id))


def test_a_guest_that_is_paused_does_nothing_until_it_goes_on(cloud: Cloud, guest: api.ServerSpec) -> None:
    cloud.call(api.Pause(guest.id))
    before = cpu_ticks(cloud.qemu(guest.id))
    time.sleep(0.5)
    assert cpu_ticks(cloud.qemu(guest.id)) - before < 20
    cloud.call(api.Pause(guest.id, paused=False))
    cloud.call(api.Stop(guest.id, 30))
    cloud.wait_for(guest.id, "TINY off")


def test_consoles_are_websockets_for_who_knows_the_secret(cloud: Cloud, guest: api.ServerSpec) -> None:
    base = f"ws://127.0.0.1:{cloud.cluster.port_base + 500}/v1/servers/{guest.id}/console"
    headers = {"Authorization": f"Bearer {cloud.secret}"}

    async def main() -> None:
        async with asyncio.timeout(60), websocket(f"{base}/serial", headers=headers, timeout_s=10) as one:
            async with websocket(f"{base}/serial", headers=headers, timeout_s=10) as two:
                await two.send(b"abc")
                for wire in (one, two):  # what one types, both see: the guest shows it
                    seen = b""
                    while b"abc" not in seen:
                        seen += await wire.receive() or b""
            async with websocket(f"{base}/vnc", headers=headers, timeout_s=10) as screen:
                assert (await screen.receive() or b"").startswith(b"RFB 003.")
            await one.send(b"\x04")  # Ctrl-D ends it
            while await one.receive() is not None:
                pass
        await asyncio.to_thread(wait_until, lambda: cloud.qemu(guest.id) == 0, 30, "the guest's process to end")
        for wrong in ("serial", "vnc", "other"):
            with pytest.raises(OSError, match="does not open"):  # off, or no such thing
                async with websocket(f"{base}/{wrong}", headers=headers, timeout_s=10):
                    pass
        with pytest.raises(OSError, match="does not open"):
            async with websocket(f"{base}/serial", headers={"Authorization": "Bearer x"}, timeout_s=10):
                pass

    asyncio.run(main())
    wait_until(lambda: cloud.qemu(guest.id) == 0, 30, "the guest to switch itself off")
    wait_until(lambda: cloud.holder(guest.disks[0].volume) == "", 60, "its disk to be free")


def test_a_killed_agent_finds_its_guests_again(cloud: Cloud, guest: api.ServerSpec) -> None:
    process = cloud.qemu(guest.id)
    restart(cloud, "agent1", signal.SIGKILL)
    assert cloud.qemu(guest.id) == process
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=2 hello")
    assert cloud.qemu(guest.id) == process
    restart(cloud, "agent1", signal.SIGTERM)
    cloud.call(api.Stop(guest.id, 30))
    assert cloud.qemu(guest.id) == 0
    assert cloud.console(guest.id).count("TINY off") == 1


def test_a_guest_goes_on_whose_agent_is_killed_while_it_stands_still_for_a_snapshot(cloud: Cloud, guest: api.ServerSpec) -> None:
    record = cloud.cluster.directory / "agent1" / "servers" / guest.id / "record.json"
    cloud.cluster.ctl("stop", "disks1", "--signal", "KILL")

    def ask() -> None:
        with contextlib.suppress(Refused, OSError, http.client.HTTPException):
            cloud.call(api.SnapshotVolume(guest.disks[0].volume, uuid.uuid4().hex))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: b'"halted":true' in record.read_bytes(), 15, "the guest to be halted")
    time.sleep(0.2)
    cloud.cluster.ctl("stop", "agent1", "--signal", "KILL")
    asking.join()
    for name in ("disks1", "agent1"):
        cloud.cluster.ctl("start", name)
    cloud.call(api.Stop(guest.id, 30))
    assert "TINY off" in cloud.console(guest.id)  # which it could say because it ran


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_guest_goes_on_when_the_process_of_its_disks_ends(cloud: Cloud, guest: api.ServerSpec, how: signal.Signals) -> None:
    process = cloud.qemu(guest.id)
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=2 hello")
    cloud.cluster.ctl("stop", "disks1", "--signal", how.name.removeprefix("SIG"))
    cloud.call(api.Reboot(guest.id, hard=True))  # it stands at the first read of its disk
    time.sleep(1.0)
    assert cloud.console(guest.id).count("boot=") == 2
    cloud.cluster.ctl("start", "disks1")
    cloud.wait_for(guest.id, "boot=3 hello")  # with what it wrote right before
    assert cloud.qemu(guest.id) == process
    cloud.call(api.Stop(guest.id, 30))
    assert cloud.holder(guest.disks[0].volume) == ""


def test_a_killed_qemu_is_seen_and_its_disk_is_free_for_others(cloud: Cloud, guest: api.ServerSpec) -> None:
    os.kill(cloud.qemu(guest.id), signal.SIGKILL)
    wait_until(lambda: cloud.holder(guest.disks[0].volume) == "", 60, "its disk to be let go of")
    cloud.call(api.Spawn(guest))
    cloud.wait_for(guest.id, "boot=2 hello")


def test_a_guest_whose_agent_and_qemu_died_is_off(cloud: Cloud, guest: api.ServerSpec) -> None:
    cloud.cluster.ctl("stop", "agent1", "--signal", "KILL")
    os.kill(cloud.qemu(guest.id), signal.SIGKILL)
    cloud.cluster.ctl("start", "agent1")
    wait_until(lambda: cloud.holder(guest.disks[0].volume) == "", 60, "its disk to be let go of")
    cloud.call(api.Spawn(guest))
    cloud.wait_for(guest.id, "boot=2 hello")


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_other_machines_buses_and_a_config_drive(cloud: Cloud, machine: str) -> None:
    first, second = cloud.tiny_volume(" one"), cloud.tiny_volume(" two")
    disks = (api.Disk(first, "sda", 0, bus="scsi"), api.Disk(second, "vdb", bus="virtio", read_only=True))
    spec = cloud.spec(
        machine=machine,
        disks=disks,
        vcpus=2,
        memory_mb=96,
        config_drive=True,
        metadata={"uuid": "u"},
        user_data=base64.b64encode(b"x").decode(),
    )
    cloud.call(api.Spawn(spec))
    cloud.wait_for(spec.id, "boot=1 one")
    cloud.wait_for(spec.id, "mem=96 cpus=2")
    drive = cloud.cluster.directory / "agent1" / "servers" / spec.id / "config.iso"
    listed = subprocess.run(
        ["isoinfo", "-R", "-x", "/openstack/latest/meta_data.json", "-i", drive], capture_output=True, check=True
    ).stdout
    assert json.loads(listed) == {"uuid": "u"}
    cloud.call(api.Destroy(spec.id))


def test_what_cannot_be_is_refused_and_leaves_nothing(cloud: Cloud) -> None:
    good = cloud.spec(cloud.tiny_volume())
    for changes in (
        {"id": "../../etc"}, {"vcpus": 0}, {"memory_mb": 1 << 40}, {"machine": "none,accel=x"},
        {"disks": (api.Disk("x" * 32, "vda"),)}, {"nics": (api.Nic("p,script=/x", "fa:16:3e:00:00:01", "n"),)}, {"kernel": "x"},
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            cloud.call(api.Spawn(msgspec.structs.replace(good, **changes)))
        assert refused.value.status == 400
    for body in (b"", b"[]", b"\xff", b"[" * 100_000, b'{"server": {}}'):
        with pytest.raises(Refused) as refused:
            cloud.post("spawn", body)
        assert refused.value.status == 400
    with pytest.raises(Refused) as refused:
        cloud.call(api.Spawn(good), secret="x" * 64)
    assert refused.value.status == 401
    with pytest.raises(Refused) as refused:  # no such volume
        cloud.call(api.Spawn(msgspec.structs.replace(good, disks=(api.Disk("0" * 32, "vda", 0),))))
    assert refused.value.status == 409
    with pytest.raises(Refused) as refused:
        cloud.call(api.Stop(str(uuid.uuid4())))
    assert refused.value.status == 404
    cloud.call(api.Destroy(good.id))
    assert [entry.name for entry in (cloud.cluster.directory / "agent1" / "servers").iterdir()] == []


def test_guests_end_with_the_cluster(tmp_path: Path) -> None:
    with running_cloud(tmp_path / "c") as cloud:
        spec = cloud.spec(cloud.tiny_volume())
        cloud.call(api.Spawn(spec))
        cloud.wait_for(spec.id, "boot=1")
        process = cloud.qemu(spec.id)
        console = cloud.cluster.directory / "agent1" / "servers" / spec.id / "run" / "console.log"
        cloud.cluster.down()
        assert not is_running(process)
        assert "TINY off" in console.read_text()
        cloud.cluster.up()
        cloud.cluster.ctl("stop", "services1")
        assert cloud.holder(spec.disks[0].volume) == ""
        cloud.call(api.Spawn(spec))
        cloud.wait_for(spec.id, "boot=2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give guests a user of their own")
def test_guests_under_a_user_of_their_own_live_and_move_as_others(tmp_path: Path) -> None:
    with running_cloud(tmp_path / "c", "--set", "agent.user=64123", agents=2) as cloud:
        spec, more = cloud.spec(cloud.tiny_volume(" hello"), config_drive=True, metadata={"uuid": "u"}), cloud.tiny_volume()
        cloud.call(api.Spawn(spec))
        cloud.wait_for(spec.id, "boot=1 hello")
        status = Path(f"/proc/{cloud.qemu(spec.id)}/status").read_text()
        assert "Uid:\t64123\t64123\t64123\t64123" in status
        assert "CapEff:\t0000000000000000" in status
        cloud.cluster.ctl("stop", "disks1", "--signal", "KILL")
        cloud.call(api.Reboot(spec.id, hard=True))
        cloud.cluster.ctl("start", "disks1")
        cloud.wait_for(spec.id, "boot=2 hello")  # the new socket is let in by its group
        restart(cloud, "agent1", signal.SIGKILL)
        cloud.call(api.AttachDisk(spec.id, api.Disk(more, "vdb")))
        cloud.call(api.Reboot(spec.id, hard=True))
        cloud.wait_for(spec.id, "boot=3 hello vdb=1")
        there = msgspec.structs.replace(spec, disks=(*spec.disks, api.Disk(more, "vdb")))
        cloud.call(api.Migrate(spec.id, cloud.call(api.Receive(there), agent=2)["address"]))
        cloud.call(api.Reboot(spec.id, hard=True), agent=2)
        cloud.wait_for(spec.id, "boot=4 hello vdb=2", agent=2)
        cloud.call(api.Stop(spec.id, 30), agent=2)
        assert "TINY off" in cloud.console(spec.id, agent=2)


def restart(cloud: Cloud, name: str, how: signal.Signals) -> None:
    cloud.cluster.ctl("stop", name, "--signal", how.name.removeprefix("SIG"))
    cloud.cluster.ctl("start", name)


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
