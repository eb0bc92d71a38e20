"""Hosts: known by their reports, dead when they are silent."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import update

from objstore.services.calls.problems import CallRefused
from objstore.services.compute.agent_api import Power, Report
from objstore.services.compute.cloud_tables import HOSTS
from objstore.services.compute.hosts import Hosts, check_report
from tests.support.cloud_rig import CloudRig, on_cloud_rig


class Conductor:
    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.dead: list[str] = []
        self.broken = False

    async def reported(self, report: Report, *, rebooted: bool) -> Sequence[str]:
        if self.broken:
            raise OSError("no")
        self.told.append((report.host, rebooted))
        return [guest.server for guest in report.guests if guest.server.startswith("stray")]

    async def died(self, host: str) -> None:
        if self.broken:
            raise OSError("no")
        self.dead.append(host)


def test_a_host_that_reports_is_alive_until_it_is_silent_for_too_long() -> None:
    async def test(rig: CloudRig) -> None:
        hosts = rig.service.hosts
        assert not await hosts.is_alive("h1")
        assert await hosts.address("h1") == ""
        assert (await rig.report()).status == 200
        assert await hosts.is_alive("h1")
        assert await hosts.address("h1") == "http://127.0.0.1:21502"
        await asyncio.sleep(29)
        assert await hosts.is_alive("h1")
        await asyncio.sleep(2)
        assert not await hosts.is_alive("h1")
        await rig.report()
        assert await hosts.is_alive("h1")

    on_cloud_rig(test)


def test_a_death_is_told_once_and_again_after_the_next_life() -> None:
    async def test(rig: CloudRig) -> None:
        conductor = Conductor()
        rig.service.hosts.watch(conductor)
        await rig.report()
        await rig.report("h2")
        await asyncio.sleep(45)
        assert conductor.dead == ["h1", "h2"]
        await asyncio.sleep(45)
        assert conductor.dead == ["h1", "h2"]
        await rig.report()
        await asyncio.sleep(45)
        assert conductor.dead == ["h1", "h2", "h1"]

    on_cloud_rig(test)


def test_a_death_that_could_not_be_acted_upon_is_told_again() -> None:
    async def test(rig: CloudRig) -> None:
        conductor = Conductor()
        rig.service.hosts.watch(conductor)
        await rig.report()
        conductor.broken = True
        await asyncio.sleep(45)
        conductor.broken = False
        await asyncio.sleep(5)
        assert conductor.dead == ["h1"]

    on_cloud_rig(test)


def test_a_host_that_is_said_to_be_dead_is_dead_although_it_reports() -> None:
    async def test(rig: CloudRig) -> None:
        conductor = Conductor()
        rig.service.hosts.watch(conductor)
        await rig.report()
        await rig.sql.write(lambda connection: connection.execute(update(HOSTS).values(forced_down=True)).rowcount)
        await rig.report()
        assert not await rig.service.hosts.is_alive("h1")
        assert await rig.service.hosts.look() == ["h1"]
        await rig.report()
        assert await rig.service.hosts.look() == []
        assert conductor.dead == ["h1"]

    on_cloud_rig(test)


def test_a_failure_that_nobody_thought_of_does_not_end_the_watch() -> None:
    class Odd(Conductor):
        async def died(self, host: str) -> None:
            await super().died(host)
            if len(self.dead) == 1:
                raise LookupError("a bug")

    async def test(rig: CloudRig) -> None:
        conductor = Odd()
        rig.service.hosts.watch(conductor)
        await rig.report()
        await asyncio.sleep(120)
        assert conductor.dead == ["h1", "h1"]

    on_cloud_rig(test)


def test_guests_that_no_record_knows_are_named_and_a_new_boot_is_told() -> None:
    async def test(rig: CloudRig) -> None:
        conductor = Conductor()
        rig.service.hosts.watch(conductor)
        await rig.add_server("s1", host="h1")
        reply = await rig.report(guests=(Power("stray1", "running"), Power("s1", "off", "guest")))
        assert reply.body == {"network_revision": 7, "forget": ["stray1"]}
        await rig.report(boot_id="b2")
        await rig.report(boot_id="b2")
        assert conductor.told == [("h1", False), ("h1", True), ("h1", False)]
        conductor.broken = True
        assert (await rig.report()).status == 200

    on_cloud_rig(test)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "http://h:1"), ("a b", "http://h:1"), ("-a", "http://h:1"), ("a" * 129, "http://h:1"), ("a", ""), ("a", "ftp://h:1"),
        ("a", "http://u:p@h:1"), ("a", "http://h:1/path"), ("a", "http://h:1?q"), ("a", "http://h:1\r\nx"), ("a", "http://h:99999"),
    ],
)  # fmt: skip
def test_reports_of_what_cannot_be_are_refused(host: str, address: str) -> None:
    with pytest.raises(CallRefused):
        check_report(Report(host, address))


def test_a_host_has_no_less_than_nothing() -> None:
    with pytest.raises(CallRefused):
        check_report(Report("a", "http://h:1", vcpus=-1))


def test_an_agent_that_moved_is_found_by_a_process_that_it_did_not_tell() -> None:
    async def test(rig: CloudRig) -> None:
        other = Hosts(rig.sql, rig.world, rig.service.settings)
        await rig.service.hosts.reported(Report("h1", "http://127.0.0.1:1"))
        assert await other.address("h1") == "http://127.0.0.1:1"
        await rig.service.hosts.reported(Report("h1", "http://127.0.0.1:2"))
        assert await other.address("h1") == "http://127.0.0.1:2"

    on_cloud_rig(test)
