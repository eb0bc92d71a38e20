"""A whole cloud with real guests in one sector (objstore/cli/tiny_guest.S), asked by openstacksdk: servers, disks, images, and what dies meanwhile."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clouds import RunningCloud, running_cloud, why_no_guests
from tests.support.cluster import OBJSTORE, wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # openstacksdk warns of its own future


TRANSLATED = ("--set", "agent.virt_type=tcg")  # nothing here is large enough to gain by KVM, and looking for it takes seconds


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    if why := why_no_guests():
        pytest.skip(why)
    with running_cloud(tmp_path_factory.mktemp("cloud") / "c", *TRANSLATED) as running:
        yield running


def stored(cloud: RunningCloud) -> list[str]:
    """Ids of the store's volumes; what is left of those that were removed goes."""
    command = [OBJSTORE, "volume", "sweep", "--grace", "0", "--dir", str(cloud.cluster.directory)]
    subprocess.run(command, check=True, capture_output=True)
    listed = json.loads(subprocess.run([*command[:2], "list", *command[-2:]], check=True, capture_output=True).stdout)
    return sorted(volume["id"] for volume in listed["volumes"])


def test_a_first_server_boots_from_its_image_and_counts(cloud: RunningCloud) -> None:
    server = cloud.boot("first")
    cloud.says(server, r"TINY boot=1 mem=64 cpus=1")
    assert [address["addr"].rpartition(".")[0] for address in server.addresses["private"]] == ["10.77.0"]
    cloud.sdk.compute.reboot_server(server.id, "HARD")
    cloud.says(server, r"TINY boot=2")
    cloud.sdk.compute.stop_server(server.id)
    cloud.active(server, "SHUTOFF")
    assert "TINY off" in cloud.console(server)
    cloud.sdk.compute.start_server(server.id)
    cloud.active(server)
    cloud.says(server, r"TINY boot=3")
    cloud.remove(server)


def test_disks_outlive_a_storage_node_that_is_wiped(cloud: RunningCloud) -> None:
    server = cloud.boot("kept")
    cloud.says(server, r"TINY boot=1 ")
    volume = cloud.volume("data")
    cloud.sdk.compute.create_volume_attachment(server.id, volume_id=volume.id)
    cloud.sdk.block_storage.wait_for_status(volume, "in-use", ["error"], interval=0.2, wait=30)
    cloud.sdk.compute.reboot_server(server.id, "HARD")
    cloud.says(server, r"TINY boot=2 vdb=1 ")
    cloud.sdk.compute.stop_server(server.id)
    cloud.active(server, "SHUTOFF")
    cluster = cloud.cluster
    cluster.ctl("stop", "node2", "--signal", "KILL")
    shutil.rmtree(cluster.directory / "node2" / "d1")
    cloud.sdk.compute.start_server(server.id)
    cloud.active(server)
    cloud.says(server, r"TINY boot=3 vdb=2 ")
    cluster.ctl("start", "node2")
    wait_until(lambda: cluster.status()["healthy"], 60, "the wiped device to be filled again")
    cluster.ctl("stop", "node1", "--signal", "KILL")
    cloud.sdk.compute.reboot_server(server.id, "HARD")
    cloud.says(server, r"TINY boot=4 vdb=3 ")
    cluster.ctl("start", "node1")
    cloud.sdk.compute.stop_server(server.id)  # this guest does not know how to let go of a disk while it runs
    cloud.active(server, "SHUTOFF")
    cloud.sdk.compute.delete_volume_attachment(volume.id, server.id)
    cloud.sdk.block_storage.wait_for_status(volume, "available", ["error"], interval=0.2, wait=30)
    cloud.remove(server)
    cloud.sdk.block_storage.delete_volume(volume.id)


def test_an_image_of_a_server_has_what_was_on_its_disk(cloud: RunningCloud) -> None:
    server = cloud.boot("model")
    cloud.says(server, r"TINY boot=1 ")
    cloud.sdk.compute.reboot_server(server.id, "HARD")
    cloud.says(server, r"TINY boot=2 ")
    image = cloud.sdk.compute.create_server_image(server.id, "copy", wait=True, timeout=60)
    assert image.status == "active"
    copy = cloud.boot("copy", image="copy")
    cloud.says(copy, r"TINY boot=3 ")
    cloud.says(server, r"TINY boot=2 ")
    cloud.remove(server, copy)
    cloud.sdk.image.delete_image(image.id)


def test_guests_do_not_notice_that_agent_and_disks_are_killed(cloud: RunningCloud) -> None:
    server = cloud.boot("steady")
    cloud.says(server, r"TINY boot=1 ")
    for name in ("agent1", "disks1"):
        cloud.cluster.ctl("stop", name, "--signal", "KILL")
        cloud.cluster.ctl("start", name)
        assert cloud.active(server).power_state == 1
        assert "boot=2" not in cloud.console(server)
    cloud.sdk.compute.reboot_server(server.id, "HARD")
    cloud.says(server, r"TINY boot=2 ")
    cloud.remove(server)


def test_a_cloud_that_went_down_comes_back_with_its_servers(cloud: RunningCloud) -> None:
    server = cloud.boot("back")
    cloud.says(server, r"TINY boot=1 ")
    cloud.down()
    assert not [
        line for line in subprocess.run(["ps", "ax"], capture_output=True, text=True, check=True).stdout.splitlines() if server.id in line
    ]
    assert cloud.up()["made"] == []
    cloud.active(server, "SHUTOFF")  # the host's report says so soon
    cloud.sdk.compute.start_server(server.id)
    cloud.active(server)
    cloud.says(server, r"TINY boot=2 ")
    cloud.remove(server)


def test_what_is_deleted_gives_its_space_back(cloud: RunningCloud) -> None:
    wait_until(lambda: len(stored(cloud)) == 1, 30, "nothing to be left but the image's own")
    before = stored(cloud)
    server, volume = cloud.boot("gone"), cloud.volume("gone")
    cloud.says(server, r"TINY boot=1 ")
    assert len(stored(cloud)) == len(before) + 2
    cloud.remove(server)
    cloud.sdk.block_storage.delete_volume(volume.id)
    wait_until(lambda: stored(cloud) == before, 30, "the volumes to be gone")


def test_the_commands_tell_how_it_is(cloud: RunningCloud) -> None:
    facts = json.loads(cloud.command("status", "--json"))
    assert [host["state"] for host in facts["hosts"]] == ["up"]
    assert {"compute", "network", "image", "block-storage", "identity"} <= set(facts["services"])
    assert "export OS_AUTH_URL=" in cloud.command("openrc")


def test_a_cloud_with_tls_and_qemus_own_network(tmp_path: Path) -> None:
    if why := why_no_guests():
        pytest.skip(why)
    with running_cloud(tmp_path / "c", "--tls", "--nodes", "1", "--set", "agent.network_driver=user", *TRANSLATED) as cloud:
        server = cloud.boot("first")
        cloud.says(server, r"TINY boot=1 ")
        cloud.remove(server)
