"""Guests that move between two hosts while they run, with their disks: each host has a process of its own for those."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from objstore.runtime.websocket import websocket
from objstore.services.compute import agent_api as api
from tests.support.agent_rig import Cloud, Refused, running_cloud
from tests.support.cluster import wait_until


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("moves") / "c", agents=2) as cloud:
        yield cloud


@pytest.fixture
def guest(cloud: Cloud) -> Iterator[api.ServerSpec]:
    """A tiny guest with two disks, on the first host."""
    spec = cloud.spec(cloud.tiny_volume(" hello"), cloud.tiny_volume())
    cloud.call(api.Spawn(spec))
    cloud.wait_for(spec.id, "boot=1 hello vdb=1")
    yield spec
    for agent in (1, 2):
        cloud.call(api.Destroy(spec.id), agent=agent)


def holders(cloud: Cloud, spec: api.ServerSpec) -> set[str]:
    return {cloud.holder(disk.volume) for disk in spec.disks}


def type_into(cloud: Cloud, spec: api.ServerSpec, text: bytes, *, agent: int) -> bytes:
    """What the guest shows after that."""
    url = f"ws://127.0.0.1:{cloud.cluster.port_base + 499 + agent}/v1/servers/{spec.id}/console/serial"

    async def main() -> bytes:
        async with asyncio.timeout(60), websocket(url, headers={"Authorization": f"Bearer {cloud.secret}"}, timeout_s=10) as wire:
            await wire.send(text)
            seen = b""
            while text not in seen:
                seen += await wire.receive() or b""
            return seen

    return asyncio.run(main())


def move(cloud: Cloud, spec: api.ServerSpec, source: int, target: int) -> dict[str, Any]:
    address = cloud.call(api.Receive(spec), agent=target)["address"]
    assert cloud.call(api.Receive(spec), agent=target)["address"] == address
    cloud.call(api.Migrate(spec.id, address), agent=source)
    return cloud.call(api.Migrate(spec.id, address), agent=source)  # it is done


def test_a_guest_runs_on_at_the_other_host_and_its_disks_with_it(cloud: Cloud, guest: api.ServerSpec) -> None:
    before = cloud.qemu(guest.id)
    (first,) = holders(cloud, guest)
    assert move(cloud, guest, 1, 2) == {}
    (second,) = holders(cloud, guest)
    assert second not in ("", first)
    assert cloud.qemu(guest.id) not in (0, before)
    with pytest.raises(Refused) as refused:
        cloud.console(guest.id)
    assert refused.value.status == 404
    assert "boot=1 hello" in cloud.console(guest.id, agent=2)  # what it wrote before came along
    type_into(cloud, guest, b"still here", agent=2)
    assert "boot=2" not in cloud.console(guest.id, agent=2)
    cloud.call(api.Reboot(guest.id, hard=True), agent=2)
    cloud.wait_for(guest.id, "boot=2 hello vdb=2", agent=2)
    move(cloud, guest, 2, 1)  # and back
    type_into(cloud, guest, b"again", agent=1)
    cloud.call(api.Stop(guest.id, 30))
    assert holders(cloud, guest) == {""}
    assert cloud.console(guest.id).count("TINY off") == 1


def test_a_guest_that_stands_still_does_so_at_the_other_host(cloud: Cloud, guest: api.ServerSpec) -> None:
    cloud.call(api.Pause(guest.id))
    move(cloud, guest, 1, 2)
    cloud.call(api.Pause(guest.id, paused=False), agent=2)
    cloud.call(api.Stop(guest.id, 30), agent=2)
    assert "TINY off" in cloud.console(guest.id, agent=2)


def test_a_moved_guest_is_found_again_and_its_end_is_seen(cloud: Cloud, guest: api.ServerSpec) -> None:
    move(cloud, guest, 1, 2)
    cloud.cluster.ctl("stop", "agent2", "--signal", "KILL")
    cloud.cluster.ctl("start", "agent2")
    type_into(cloud, guest, b"found", agent=2)
    os.kill(cloud.qemu(guest.id), signal.SIGKILL)
    wait_until(lambda: holders(cloud, guest) == {""}, 60, "its disks to be let go of")


def test_who_cannot_be_received_stays(cloud: Cloud, guest: api.ServerSpec) -> None:
    for address, secret in (("tcp:127.0.0.1:1", ""), (cloud.call(api.Receive(guest), agent=2)["address"], "x" * 64)):
        with pytest.raises(Refused) as refused:
            cloud.call(api.Migrate(guest.id, address, secret))
        assert refused.value.status == 503
        type_into(cloud, guest, b"here", agent=1)
    cloud.call(api.Reboot(guest.id, hard=True))
    cloud.wait_for(guest.id, "boot=2 hello vdb=2")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["agent2", "disks2"])
def test_a_guest_goes_on_when_the_other_host_dies_while_it_comes(cloud: Cloud, guest: api.ServerSpec, name: str) -> None:
    address = cloud.call(api.Receive(guest), agent=2)["address"]
    if name == "disks2":
        cloud.cluster.ctl("stop", name, "--signal", "KILL")
    answers: list[object] = []

    def migrate() -> None:
        try:
            answers.append(cloud.call(api.Migrate(guest.id, address)))
        except Refused as refused:
            answers.append(refused.status)

    thread = threading.Thread(target=migrate)
    thread.start()
    if name == "agent2":
        wait_until(lambda: len(qemus(guest)) == 2 or answers, 30, "the guest's second process")
        cloud.cluster.ctl("stop", name, "--signal", "KILL")
    thread.join()
    cloud.cluster.ctl("start", name)
    where = 2 if answers == [{}] else 1  # the agent may have been too late to be killed
    assert name == "agent2" or where == 1
    type_into(cloud, guest, b"goes on", agent=where)
    cloud.call(api.Reboot(guest.id, hard=True), agent=where)
    cloud.wait_for(guest.id, "boot=2 hello vdb=2", agent=where)
    wait_until(lambda: len(qemus(guest)) == 1, 60, "one of the guest's processes to end")
    assert len(holders(cloud, guest)) == 1


def qemus(spec: api.ServerSpec) -> list[int]:
    from objstore.runtime import commands

    return [process.pid for process in commands.processes_with(f"guest=objstore-{spec.id}")]


def test_a_guest_is_not_awaited_where_it_is_nor_without_being_right(cloud: Cloud, guest: api.ServerSpec) -> None:
    with pytest.raises(Refused) as refused:
        cloud.call(api.Receive(guest), agent=1)
    assert refused.value.status == 409
    with pytest.raises(Refused) as refused:
        cloud.call(api.Receive(msgspec.structs.replace(guest, vcpus=0)), agent=2)
    assert refused.value.status == 400
