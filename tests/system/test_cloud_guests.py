"""Linux guests (the image "mini") in a cloud with two hosts: addresses, metadata, SSH, security groups, floating addresses, plugging, moving, dying hosts.

Slow: such a guest needs a quarter of a minute to boot where the processor does not help.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clouds import RunningCloud, running_cloud, why_no_guests
from tests.support.cluster import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
BOOT_S = 240  # twenty times what it takes on a machine with nothing else to do would be 300
SSH = (
    "ssh",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
)
USER_DATA = "#!/bin/sh\necho MINI user data on $(hostname)\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    if why := why_no_guests() or ("" if shutil.which("ssh") else "ssh (openssh-client) is not here"):
        pytest.skip(why)
    with running_cloud(tmp_path_factory.mktemp("guests") / "c", "--agents", "2", "--set", "agent.network_driver=netns") as running:
        running.command("image", "build-mini", timeout_s=600)
        yield running


class Guest:
    """A server that runs mini, with a floating address."""

    def __init__(self, cloud: RunningCloud, name: str, **fields: Any) -> None:
        self.cloud = cloud
        self.server = cloud.boot(name, image="mini", flavor="m1.micro", key_name="objstore", **fields)
        cloud.says(self.server, r"MINI ready host=\S+ source=\w+ addresses=10\.77", BOOT_S)
        self.address = self._floating()

    def _floating(self) -> str:
        network = self.cloud.sdk.network
        port = next(iter(network.ports(device_id=self.server.id)))
        address = network.create_ip(floating_network_id=network.find_network("public").id, port_id=port.id)
        return str(address.floating_ip_address)

    def run(self, command: str, timeout_s: float = 60.0) -> str:
        """What a command in the guest prints; tried again while the guest cannot be reached."""
        deadline = time.monotonic() + timeout_s
        while True:
            words = [*SSH, "-i", self.cloud.facts["key"], f"root@{self.address}", command]
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                return done.stdout.strip()
            assert done.returncode == 255, f"{command}: {done.stdout}{done.stderr}"
            assert time.monotonic() < deadline, f"{command}: {done.stderr}\n{self.cloud.console(self.server)}"
            time.sleep(0.5)

    def page(self, timeout_s: float = 3.0) -> str:
        """Its web page; "" when it cannot be had."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/", timeout=timeout_s) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def remove(self) -> None:
        network = self.cloud.sdk.network
        for address in network.ips(floating_ip_address=self.address):
            network.delete_ip(address)
        self.cloud.remove(self.server)


@pytest.fixture(scope="module")
def guest(cloud: RunningCloud) -> Iterator[Guest]:
    made = Guest(cloud, "web", user_data=base64.b64encode(USER_DATA.encode()).decode())
    yield made
    made.remove()


def test_a_guest_learns_its_address_its_name_its_key_and_its_work(cloud: RunningCloud, guest: Guest) -> None:
    said = cloud.console(guest.server)
    fixed = next(one["addr"] for one in guest.server.addresses["private"] if one["OS-EXT-IPS:type"] == "fixed")
    assert f"source=http addresses={fixed}" in said
    assert "MINI user data on web" in said
    assert guest.run("hostname").startswith("web")
    assert fixed in guest.run("ip -4 addr show eth0")
    assert "169.254.169.254" in guest.run("ip route")


def test_security_groups_keep_out_what_they_do_not_let_in(cloud: RunningCloud, guest: Guest) -> None:
    assert guest.run("true") == ""  # logging in is let in from the start
    assert guest.page() == ""
    network = cloud.sdk.network
    group = next(iter(network.security_groups(name="default", project_id=cloud.sdk.current_project_id)))
    rule = network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol="tcp", port_range_min=80, port_range_max=80
    )
    wait_until(lambda: "objstore mini: web" in guest.page(), 20, "the rule to let it in")
    network.delete_security_group_rule(rule)
    wait_until(lambda: guest.page(1.0) == "", 20, "the rule's end")


def test_a_volume_is_plugged_into_a_running_guest_and_carried_to_another(cloud: RunningCloud, guest: Guest) -> None:
    volume = cloud.volume("carried")
    cloud.sdk.compute.create_volume_attachment(guest.server.id, volume_id=volume.id)
    cloud.sdk.block_storage.wait_for_status(volume, "in-use", ["error"], interval=0.2, wait=30)
    guest.run("i=0; while [ ! -b /dev/vdb ] && [ $i -lt 100 ]; do usleep 100000; i=$((i+1)); done; mke2fs -F /dev/vdb > /dev/null 2>&1")
    guest.run("mount -t ext4 /dev/vdb /mnt && echo carried > /mnt/what && umount /mnt")
    cloud.sdk.compute.delete_volume_attachment(volume.id, guest.server.id)
    cloud.sdk.block_storage.wait_for_status(volume, "available", ["error"], interval=0.2, wait=60)
    assert guest.run("ls /dev/vdb 2>/dev/null || echo gone") == "gone"
    other = Guest(cloud, "other")
    try:
        cloud.sdk.compute.create_volume_attachment(other.server.id, volume_id=volume.id)
        cloud.sdk.block_storage.wait_for_status(volume, "in-use", ["error"], interval=0.2, wait=30)
        wait_until(
            lambda: other.run("mount -t ext4 /dev/vdb /mnt 2>/dev/null; cat /mnt/what 2>/dev/null || true") == "carried", 30, "the file"
        )
        assert "bytes from" in other.run(f"ping -c 1 -W 5 {fixed_of(guest)}")
    finally:
        other.remove()
    cloud.sdk.block_storage.delete_volume(volume.id)


def fixed_of(guest: Guest) -> str:
    return str(next(one["addr"] for one in guest.server.addresses["private"] if one["OS-EXT-IPS:type"] == "fixed"))


def test_a_running_guest_moves_to_the_other_host_and_goes_on(cloud: RunningCloud, guest: Guest) -> None:
    compute = cloud.sdk.compute
    guest.run("(while true; do cat /proc/uptime > /var/tick; sleep 1; done) > /dev/null 2>&1 &")
    uptime = float(guest.run("cut -d ' ' -f 1 /proc/uptime"))
    before = compute.get_server(guest.server.id).compute_host
    compute.live_migrate_server(guest.server.id, host=None, block_migration="auto")
    moved = cloud.active(guest.server, timeout_s=120)
    wait_until(lambda: compute.get_server(guest.server.id).compute_host != before, 60, "the guest to be elsewhere")
    assert moved.status == "ACTIVE"
    assert float(guest.run("cut -d ' ' -f 1 /proc/uptime")) > uptime
    tick = guest.run("cat /var/tick")
    wait_until(lambda: guest.run("cat /var/tick") != tick, 30, "what ran in it to run on")


def test_a_server_starts_from_a_volume_that_outlives_it(cloud: RunningCloud) -> None:
    image = cloud.sdk.image.find_image("mini")
    volume = cloud.volume("root", image_id=image.id)
    root = [{"boot_index": 0, "uuid": volume.id, "source_type": "volume", "destination_type": "volume", "delete_on_termination": False}]
    first = Guest(cloud, "from-volume", block_device_mapping_v2=root)
    first.run("echo kept > /var/kept; sync")
    first.remove()
    cloud.sdk.block_storage.wait_for_status(volume, "available", ["error"], interval=0.2, wait=60)
    second = Guest(cloud, "again", block_device_mapping_v2=root)
    try:
        assert second.run("cat /var/kept") == "kept"
        cloud.says(second.server, r"MINI boot=2")
    finally:
        second.remove()


def test_a_migration_is_taken_back_to_its_disabled_host_and_then_confirmed(cloud: RunningCloud) -> None:
    compute = cloud.sdk.compute
    server = cloud.boot("nomad")
    cloud.says(server, r"TINY boot=1")
    home = compute.get_server(server.id).compute_host
    (service,) = [found for found in compute.services(binary="nova-compute") if found.host == home]
    compute.migrate_server(server.id)
    assert cloud.active(server, "VERIFY_RESIZE").compute_host != home
    compute.disable_service(service)
    try:
        compute.revert_server_resize(server.id)
        assert cloud.active(server).compute_host == home
    finally:
        compute.enable_service(service)
    cloud.says(server, r"TINY boot=3")
    compute.migrate_server(server.id)
    cloud.active(server, "VERIFY_RESIZE")
    compute.confirm_server_resize(server.id)
    assert cloud.active(server).compute_host != home
    cloud.says(server, r"TINY boot=4")
    compute.live_migrate_server(server.id, host=None, block_migration="auto")
    assert cloud.active(server).compute_host == home
    cloud.remove(server)


def test_servers_of_a_host_that_died_start_on_the_other(cloud: RunningCloud) -> None:
    compute = cloud.sdk.compute
    group = compute.create_server_group(name="apart", policies=["anti-affinity"])
    servers = [cloud.boot(f"apart-{number}", scheduler_hints={"group": group.id}) for number in (1, 2)]
    hosts = {server.compute_host: server for server in servers}
    assert len(hosts) == 2
    for server in servers:
        cloud.says(server, r"TINY boot=1 ")
    dead, server = next((host, server) for host, server in hosts.items() if host.endswith("-2"))
    kill_host(cloud, 2, server)
    wait_until(lambda: {s.host: s.state for s in compute.services(binary="nova-compute")}[dead] == "down", 60, "the host to be missed")
    compute.delete_server_group(group)
    compute.evacuate_server(server.id)
    wait_until(lambda: compute.get_server(server.id).compute_host != dead, 60, "the server to be taken over")
    cloud.active(server)
    cloud.says(server, r"TINY boot=2 ")
    for name in ("disks2", "agent2"):
        cloud.cluster.ctl("start", name)
    wait_until(lambda: {s.host: s.state for s in compute.services(binary="nova-compute")}[dead] == "up", 60, "the host to be back")
    assert cloud.active(server).compute_host != dead
    cloud.remove(*servers)


def kill_host(cloud: RunningCloud, number: int, server: Any) -> None:
    """Both processes of a host and its guest die at once, as when its power fails."""
    record = cloud.cluster.directory / f"agent{number}" / "servers" / server.id / "record.json"
    pid = json.loads(record.read_text())["pid"]
    for name in (f"agent{number}", f"disks{number}"):
        cloud.cluster.ctl("stop", name, "--signal", "KILL")
    os.kill(pid, signal.SIGKILL)
