"""The conductor's process dies after any step of any job; the next one brings what was begun to its end, and nothing is left over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text

from objstore.errors import Unavailable
from objstore.services.compute.conductor import KINDS, Conductor
from objstore.services.compute.tables import SERVICE
from objstore.services.tables.jobs import ATTEMPTS, JOBS, Job
from tests.support.compute_rig import ADMIN, ComputeRig, Cut, on_compute_rig

Ask = Callable[[ComputeRig, str], Awaitable[Any]]


@dataclass(frozen=True)
class Story:
    """What is asked of a server that runs, and how that ends."""

    kind: str
    ask: Ask
    status: str
    task: str | None = None


async def _volume(rig: ComputeRig, id_: str) -> Any:
    return await rig.ask("POST", f"/servers/{id_}/os-volume_attachments", {"volumeAttachment": {"volumeId": await rig.volume()}})


async def _detach(rig: ComputeRig, id_: str) -> Any:
    await _volume(rig, id_)
    await finish(rig)
    (disk,) = [disk for disk in (await rig.record(id_)).disks if disk.is_volume]
    return await rig.ask("DELETE", f"/servers/{id_}/os-volume_attachments/{disk.api_volume}")


async def _detach_nic(rig: ComputeRig, id_: str) -> Any:
    return await rig.ask("DELETE", f"/servers/{id_}/os-interface/{(await rig.record(id_)).nics[0].port}")


async def _resized(rig: ComputeRig, id_: str) -> None:
    await rig.act(id_, "resize", {"flavorRef": "2"})
    await finish(rig)


async def _confirm(rig: ComputeRig, id_: str) -> Any:
    await _resized(rig, id_)
    return await rig.act(id_, "confirmResize")


async def _revert(rig: ComputeRig, id_: str) -> Any:
    await _resized(rig, id_)
    return await rig.act(id_, "revertResize")


async def _stopped(rig: ComputeRig, id_: str) -> Any:
    await rig.act(id_, "os-stop")
    await finish(rig)
    return await rig.act(id_, "os-start")


async def _paused(rig: ComputeRig, id_: str) -> Any:
    await rig.act(id_, "pause")
    await finish(rig)
    return await rig.act(id_, "unpause")


async def _evacuate(rig: ComputeRig, id_: str) -> Any:
    home = (await rig.record(id_)).host
    await rig.dies(home)
    return await rig.act(id_, "evacuate", {}, who=ADMIN, version="2.14")


async def _rebuild(rig: ComputeRig, id_: str) -> Any:
    return await rig.act(id_, "rebuild", {"imageRef": (await rig.record(id_)).image})


LIVE = {"host": None, "block_migration": "auto"}
STORIES = [
    Story("delete", lambda rig, id_: rig.ask("DELETE", f"/servers/{id_}"), "GONE"),
    Story("stop", lambda rig, id_: rig.act(id_, "os-stop"), "SHUTOFF"),
    Story("start", _stopped, "ACTIVE"),
    Story("reboot", lambda rig, id_: rig.act(id_, "reboot", {"type": "HARD"}), "ACTIVE"),
    Story("pause", lambda rig, id_: rig.act(id_, "pause"), "PAUSED"),
    Story("unpause", _paused, "ACTIVE"),
    Story("rebuild", _rebuild, "ACTIVE"),
    Story("resize", lambda rig, id_: rig.act(id_, "resize", {"flavorRef": "2"}), "VERIFY_RESIZE"),
    Story("confirm", _confirm, "ACTIVE"),
    Story("revert", _revert, "ACTIVE"),
    Story("live-migrate", lambda rig, id_: rig.act(id_, "os-migrateLive", LIVE, who=ADMIN, version="2.25"), "ACTIVE"),
    Story("evacuate", _evacuate, "ACTIVE"),
    Story("snapshot", lambda rig, id_: rig.act(id_, "createImage", {"name": "i"}), "ACTIVE"),
    Story("attach-disk", _volume, "ACTIVE"),
    Story("detach-disk", _detach, "ACTIVE"),
    Story("detach-nic", _detach_nic, "ACTIVE"),
]


def alone(rig: ComputeRig, *, fused: bool = False) -> Conductor:
    """A conductor that does what it is given and looks for nothing."""
    context = rig.context(fused=fused)
    conductor = Conductor(context)
    context.jobs_wait = lambda: None
    return conductor


async def jobs_of(rig: ComputeRig) -> list[Job]:
    import msgspec

    query = JOBS.select().where(JOBS.c.service == SERVICE, JOBS.c.kind != "unreserve").order_by(JOBS.c.created_us)
    rows = await rig.sql.read(lambda connection: connection.execute(query).all())
    return [Job(row.id, row.kind, row.subject, msgspec.json.decode(row.details), 0) for row in rows]


async def finish(rig: ComputeRig, *, attempts: int = 0, fused: bool = False) -> None:
    """Do all jobs that there are."""
    for job in await jobs_of(rig):
        conductor = alone(rig, fused=fused)
        for attempt in range(attempts, attempts + 50):
            try:
                await conductor.run(replace(job, attempts=attempt))
                break
            except Unavailable:
                await rig.clock.sleep(1.0)
        await rig.sql.write(lambda connection, id_=job.id: connection.execute(JOBS.delete().where(JOBS.c.id == id_)).rowcount)


async def built(rig: ComputeRig, image: str) -> str:
    id_ = await rig.made_server(wait="", imageRef=image, flavorRef="5")
    await finish(rig)
    return id_


async def check_whole(rig: ComputeRig, id_: str, story: Story) -> None:
    """The server has what it should, once; after it is removed nothing is left."""
    server = None if story.status == "GONE" else await rig.until_server(id_, story.status)
    if server is not None:
        record = await rig.record(id_)
        homes = [name for name, host in rig.hosts.items() if id_ in host.guests and not host.down]
        assert homes == [record.host]
        guest = rig.hosts[record.host].guests[id_]
        if guest.state == "running":
            assert [disk.volume for disk in guest.spec.disks] == [disk.volume for disk in record.disks]
            assert [nic.port for nic in guest.spec.nics] == [nic.port for nic in record.nics]
        ports = (await rig.network_desk.ports_of([id_]))[id_]
        assert [(port.id, port.host) for port in ports] == [(nic.port, record.host) for nic in record.nics]
        assert all(disk.state == "ready" for disk in record.disks)
        assert all(nic.state == "ready" for nic in record.nics)
        await rig.ask("DELETE", f"/servers/{id_}")
        await finish(rig)
    for host in rig.hosts.values():
        if host.down:
            host.guests.pop(id_, None)
    assert await rig.leftovers(id_) == {}
    assert [name for name in await rig.own_volumes() if id_ in name] == []
    living = text("SELECT id FROM volumes WHERE status <> 'deleting'")
    for volume in await rig.sql.read(lambda connection: connection.execute(living).scalars().all()):
        assert story.kind != "build", "a volume that was made for the server outlives it"
        found = await rig.desk.find("a" * 32, volume)
        assert found.attachments == (), f"volume {volume} is {found.status} of {found.attachments}"


async def cut_everywhere(rig: ComputeRig, story: Story, begin: Callable[[], Awaitable[str]]) -> int:
    """How many places there were to cut off."""
    at = 0
    while True:
        at += 1  # cut off after this step, which is the same as before the next one
        id_ = await begin()
        rig.fuse.steps, rig.fuse.at, rig.fuse.trace = 0, at, []
        try:
            await finish(rig, fused=True)
        except Cut:
            whole = False
        else:
            whole = True
        rig.fuse.at = -1
        try:
            await finish(rig, attempts=1)
            await check_whole(rig, id_, story)
        except AssertionError as failure:
            raise AssertionError(f"{story.kind} cut after step {at}, {rig.fuse.trace[-3:]}: {failure}") from failure
        for host in rig.hosts.values():
            host.down = False
        if story.kind == "evacuate":
            for name in rig.hosts:
                await rig.report(name)
        if whole:
            return at


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.kind)
def test_a_job_that_is_cut_off_anywhere_comes_to_its_end(story: Story) -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()

        async def begin() -> str:
            id_ = await built(rig, image)
            await story.ask(rig, id_)
            return id_

        assert await cut_everywhere(rig, story, begin) > 2

    on_compute_rig(test, working=False)


def test_a_build_that_is_cut_off_anywhere_comes_to_its_end() -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()

        async def begin() -> str:
            blank = {"source_type": "blank", "destination_type": "volume", "uuid": None, "volume_size": 1, "delete_on_termination": True}
            root = {"source_type": "image", "destination_type": "local", "uuid": image, "boot_index": 0}
            return await rig.made_server(wait="", imageRef=image, flavorRef="5", block_device_mapping_v2=[root, blank])

        steps = await cut_everywhere(rig, Story("build", _stopped, "ACTIVE"), begin)
        assert steps > 15

    on_compute_rig(test, working=False)


def test_jobs_of_all_kinds_were_cut_off() -> None:
    assert {story.kind for story in STORIES} | {"build", "unreserve", "attach-nic"} == set(KINDS)


def test_what_never_answers_is_given_up() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        for host in rig.hosts.values():
            host.down = True
        assert (await rig.act(id_, "os-stop")).status == 202
        for _ in range(ATTEMPTS * 10):
            await rig.clock.sleep(60.0)
            if (await rig.shown(id_))["status"] == "ERROR":
                break
        view = await rig.shown(id_)
        assert (view["status"], view["OS-EXT-STS:task_state"]) == ("ERROR", None)
        assert "did not answer" in view["fault"]["message"]
        for host in rig.hosts.values():
            host.down = False
        assert (await rig.act(id_, "reboot", {"type": "HARD"})).status == 202
        assert "fault" not in await rig.until_server(id_, "ACTIVE")

    on_compute_rig(test)


def test_a_build_whose_host_dies_goes_on_another_one() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(wait="", flavorRef="5")
        (job,) = await jobs_of(rig)
        for host in rig.hosts.values():
            host.loses.add("spawn")
        conductor = alone(rig)
        with pytest.raises(Unavailable):
            await conductor.run(job)
        first = (await rig.record(id_)).host
        await rig.dies(first)
        await rig.sql.write(lambda connection: connection.execute(JOBS.delete()).rowcount)
        for attempt in (1, 2):
            try:
                await conductor.run(replace(job, attempts=attempt))
            except Unavailable:
                assert attempt == 1
        record = await rig.record(id_)
        assert record.vm_state == "active"
        assert record.host != first
        assert (await rig.volumes.head(bytes.fromhex(record.disks[0].volume))).holder == record.host
        rig.hosts[first].down = False
        assert await rig.report(first) == (id_,)

    on_compute_rig(test, working=False)


def test_one_server_has_one_job_at_a_time_and_others_go_on() -> None:
    async def test(rig: ComputeRig) -> None:
        import asyncio

        conductor = alone(rig)
        order: list[str] = []

        async def turn(server: str, name: str, wait_s: float) -> None:
            async with conductor._turn(server):
                order.append(f"{name} begins")
                await asyncio.sleep(wait_s)
                order.append(f"{name} ends")

        await asyncio.gather(turn("a", "first", 2.0), turn("a", "second", 0.1), turn("b", "other", 1.0))
        assert order == ["first begins", "other begins", "other ends", "first ends", "second begins", "second ends"]
        assert conductor._busy == {}

    on_compute_rig(test, working=False)
