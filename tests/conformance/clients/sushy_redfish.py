"""Redfish for servers: sushy-tools' emulator, which knows a cloud by openstacksdk, and sushy, which speaks Redfish to it, as Ironic does."""

import os
import socket
import subprocess
import time

import openstack
import sushy
from scenario import BUCKET, SCRATCH, run, scenario

NAME = f"redfish-{BUCKET}"
made = {}


def until(holds, what, timeout=90):
    end = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.5)


def system():
    return made["redfish"].get_system(f"/redfish/v1/Systems/{made['server'].id}")


@scenario
def a_server_to_begin_with():
    cloud = made["cloud"] = openstack.connect(cloud="objstore")
    made["server"] = cloud.create_server(NAME, image="tiny", flavor="m1.nano", network="private", wait=True, timeout=120)
    assert made["server"].status == "ACTIVE"


@scenario
def the_emulator_finds_the_cloud():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(SCRATCH / "emulator.log", "wb") as log:
        command = ["sushy-emulator", "--interface", "127.0.0.1", "--port", str(port), "--os-cloud", "objstore"]
        made["emulator"] = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)

    def connected():
        try:
            made["redfish"] = sushy.Sushy(f"http://127.0.0.1:{port}/redfish/v1")
        except sushy.exceptions.SushyError:
            return False
        return True

    until(connected, "the emulator")


@scenario
def servers_are_systems():
    paths = made["redfish"].get_system_collection().members_identities
    assert any(path.endswith(made["server"].id) for path in paths)
    found = system()
    assert found.uuid.lower() == made["server"].id
    assert found.name == NAME
    assert found.power_state == sushy.POWER_STATE_ON


@scenario
def power_off_and_on():
    system().reset_system(sushy.RESET_FORCE_OFF)
    until(lambda: system().power_state == sushy.POWER_STATE_OFF, "the server to be off")
    assert made["cloud"].get_server(made["server"].id).status == "SHUTOFF"
    system().reset_system(sushy.RESET_ON)
    until(lambda: system().power_state == sushy.POWER_STATE_ON, "the server to be on")
    assert made["cloud"].get_server(made["server"].id).status == "ACTIVE"


@scenario
def restart():
    system().reset_system(sushy.RESET_FORCE_RESTART)
    until(lambda: made["cloud"].get_server(made["server"].id).status == "ACTIVE", "the server to be on again")
    until(lambda: "boot=3" in made["cloud"].get_server_console(made["server"].id), "the third boot")


@scenario
def boot_device():
    system().set_system_boot_options(target=sushy.BOOT_SOURCE_TARGET_PXE, enabled=sushy.BOOT_SOURCE_ENABLED_CONTINUOUS)
    # The emulator looks for its own note one level too high in what the SDK gives it, and never finds it again.
    assert made["cloud"].compute.get_server(made["server"].id).metadata["libvirt:pxe-first"] == "1"


@scenario
def it_ends():
    made["emulator"].terminate()
    made["emulator"].wait(30)
    made["cloud"].delete_server(made["server"].id, wait=True, timeout=120)


run()
