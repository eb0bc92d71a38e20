"""Where servers go."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, update

from objstore.services.compute.cloud_tables import GROUPS, HOSTS
from objstore.services.compute.desks import NoValidHost, PlaceRequest
from objstore.services.compute.scheduler import taken_of
from tests.support.cloud_rig import CloudRig, on_cloud_rig

GIB = 1024


def request(server: str, memory_mb: int = GIB, **rest: Any) -> PlaceRequest:
    return PlaceRequest(server, "p", rest.pop("vcpus", 1), memory_mb, **rest)


async def place(rig: CloudRig, asked: PlaceRequest) -> str:
    return await rig.sql.write(lambda connection: rig.service.places.choose(connection, asked))


async def refused(rig: CloudRig, asked: PlaceRequest) -> str:
    with pytest.raises(NoValidHost) as caught:
        await place(rig, asked)
    return caught.value.message


def test_a_server_goes_where_most_memory_is_free() -> None:
    async def test(rig: CloudRig) -> None:
        assert "There are none" in await refused(rig, request("s0"))
        await rig.report("h1", memory_mb=8 * GIB)
        await rig.report("h2", memory_mb=10 * GIB)
        assert [await place(rig, request(f"s{number}", 2 * GIB)) for number in range(4)] == ["h2", "h1", "h2", "h1"]

    on_cloud_rig(test)


def test_no_host_gets_more_than_it_has() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report("h1", memory_mb=4 * GIB + 512, vcpus=1)
        for number in range(4):
            assert await place(rig, request(f"s{number}")) == "h1"
        assert "without enough memory" in await refused(rig, request("s4"))
        await rig.sql.write(lambda connection: rig.service.places.release(connection, "s0"))
        assert "processors" in await refused(rig, request("s4", vcpus=14))
        assert await place(rig, request("s4", vcpus=13)) == "h1"

    on_cloud_rig(test)


def test_many_who_ask_at_once_are_not_given_the_same_room() -> None:
    async def test(rig: CloudRig) -> None:
        for host in ("h1", "h2"):
            await rig.report(host, memory_mb=3 * GIB + 512)
        ends = await asyncio.gather(*(place(rig, request(f"s{number}")) for number in range(10)), return_exceptions=True)
        assert sorted(end for end in ends if isinstance(end, str)) == ["h1"] * 3 + ["h2"] * 3
        taken = await rig.sql.read(taken_of)
        assert {host: room.memory_mb for host, room in taken.items()} == {"h1": 3 * GIB, "h2": 3 * GIB}

    on_cloud_rig(test)


def test_asking_again_keeps_the_claim_and_takes_the_new_size() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report("h1", memory_mb=4 * GIB + 512)
        await rig.report("h2", memory_mb=8 * GIB + 512)
        assert await place(rig, request("s", 4 * GIB, host="h1")) == "h1"
        assert await place(rig, request("s", 4 * GIB)) == "h1"
        assert await place(rig, request("s", 2 * GIB)) == "h1"
        assert await place(rig, request("s", 6 * GIB)) == "h2"
        taken = await rig.sql.read(taken_of)
        assert (taken["h1"].memory_mb, taken["h2"].memory_mb) == (2 * GIB, 6 * GIB)
        await rig.sql.write(lambda connection: rig.service.places.release(connection, "s", "h1"))
        assert set(await rig.sql.read(taken_of)) == {"h2"}

    on_cloud_rig(test)


def test_hosts_that_are_down_disabled_elsewhere_or_skipped_are_left_out() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report("h1", traits=("HW_A",))
        assert "another availability zone" in await refused(rig, request("s", zone="moon"))
        assert "not wanted for this" in await refused(rig, request("s", skip=("h1",)))
        assert "not the one" in await refused(rig, request("s", host="h2"))
        assert "without the traits" in await refused(rig, request("s", extra_specs={"trait:HW_B": "required"}))
        assert "without the traits" in await refused(rig, request("s", properties={"trait:HW_A": "forbidden"}))
        assert await place(rig, request("s", zone="nova", properties={"trait:HW_A": "required"})) == "h1"
        await rig.sql.write(lambda connection: connection.execute(update(HOSTS).values(disabled=True)).rowcount)
        assert "disabled" in await refused(rig, request("s"))
        await asyncio.sleep(31)
        assert "down" in await refused(rig, request("s"))

    on_cloud_rig(test)


def test_hints_put_servers_together_or_apart() -> None:
    async def test(rig: CloudRig) -> None:
        for host in ("h1", "h2"):
            await rig.report(host)
        first = await place(rig, request("s1"))
        assert await place(rig, request("s2", hints={"same_host": ["s1"]})) == first
        assert await place(rig, request("s3", hints={"different_host": "s1"})) != first
        assert "must not run with" in await refused(rig, request("s4", hints={"different_host": ["s1", "s3"]}))
        assert "must run with" in await refused(rig, request("s4", hints={"same_host": ["nobody"]}))

    on_cloud_rig(test)


@pytest.mark.parametrize(("policy", "hosts"), [("affinity", 1), ("anti-affinity", 2), ("soft-affinity", 1), ("soft-anti-affinity", 2)])
def test_groups_keep_together_or_apart(policy: str, hosts: int) -> None:
    async def test(rig: CloudRig) -> None:
        for host in ("h1", "h2"):
            await rig.report(host)
        row = {
            "id": "g",
            "project": "p",
            "user_id": "u",
            "name": "n",
            "policy": policy,
            "rules": msgspec.json.encode({}).decode(),
            "created_us": 1,
        }
        await rig.sql.write(lambda connection: connection.execute(insert(GROUPS).values(**row)).rowcount)
        for number in range(3):
            await rig.add_server(f"s{number}", group_id="g")
        used = {await place(rig, request(f"s{number}", group_id="g")) for number in range(2)}
        assert len(used) == hosts
        if policy == "anti-affinity":
            assert "group is already" in await refused(rig, request("s2", group_id="g"))
        else:
            await place(rig, request("s2", hints={"group": "g"}))

    on_cloud_rig(test)


def test_zones_hosts_and_life_are_told() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report("h1")
        places = rig.service.places
        told = await rig.sql.read(
            lambda c: [places.zone_of(c, "h1"), places.zone_of(c, "h2"), places.zone_exists(c, "nova"), places.zone_exists(c, "moon"),
                       places.host_exists(c, "h1"), places.host_exists(c, "h2"), places.is_alive(c, "h1"), places.is_alive(c, "h2")]
        )  # fmt: skip
        assert told == ["nova", "", True, False, True, False, True, False]

    on_cloud_rig(test)


def test_a_claim_that_is_settled_is_the_only_one_whether_there_is_room_or_not() -> None:
    async def test(rig: CloudRig) -> None:
        places = rig.service.places
        for host in ("h1", "h2"):
            await rig.report(host, memory_mb=2 * GIB)
        for host in ("h1", "h2"):
            await place(rig, request("s1", host=host))
        await rig.sql.write(lambda connection: places.settle(connection, "s1", "h1", vcpus=2, memory_mb=9 * GIB))
        taken = await rig.sql.read(taken_of)
        assert {host: (room.vcpus, room.memory_mb) for host, room in taken.items()} == {"h1": (2, 9 * GIB)}
        await rig.sql.write(lambda connection: places.settle(connection, "s1", "", vcpus=2, memory_mb=9 * GIB))
        assert await rig.sql.read(taken_of) == {}

    on_cloud_rig(test)
