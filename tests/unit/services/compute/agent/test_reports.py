"""What an agent tells, and what it does with the answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.cli.world import system_world
from objstore.errors import Unavailable
from objstore.services.compute.agent.reports import Networks, Reporter, Services
from objstore.services.compute.agent_api import Power, Report, Reported, Spawn
from objstore.services.network.driver.api import Carried
from objstore.services.network.wanted import WantedHost, WantedPort
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import ID, spec

WANTED = WantedHost(7, ports=(WantedPort("p1", "n", "m", "h", ID),))


class Conductor:
    """Answers reports."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.forget: tuple[str, ...] = ()
        self.status = 200
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        assert "Bearer secret" in head
        length = int(next(line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length")))
        body = await reader.readexactly(length)
        if method == "POST":
            assert target == "/compute/agents/v1/report"
            self.reports.append(json.loads(body))
            answer = msgspec.json.encode(Reported(WANTED.revision, self.forget))
        else:
            assert target == "/compute/agents/v1/network?host=h1"
            answer = msgspec.json.encode(WANTED)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (self.status, len(answer)) + answer)
        await writer.drain()
        writer.close()


def with_conductor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: Callable[[Rig, Conductor, Reporter, Networks, asyncio.Event], Awaitable[None]]
) -> None:
    async def body(rig: Rig) -> None:
        conductor = Conductor()
        server = await asyncio.start_server(conductor.serve, "127.0.0.1", 0)
        services = Services(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "secret")
        networks, changed = Networks(services, rig.networks, "h1"), asyncio.Event()

        def report() -> Report:
            return Report("h1", "http://127.0.0.1:1", network_revision=networks.revision, guests=rig.agent.power(), ports_up=networks.up)

        reporter = Reporter(services, system_world().clock, rig.agent, networks, report, changed, interval_s=0.05)
        try:
            await test(rig, conductor, reporter, networks, changed)
        finally:
            server.close()
            await asyncio.sleep(0.02)

    with_rig(tmp_path, monkeypatch, body)


def test_networks_that_changed_are_carried_out_and_told_of_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        await reporter.tell()
        assert (networks.revision, networks.up) == (7, ("p1",))
        assert changed.is_set()
        changed.clear()
        await reporter.tell()
        assert not changed.is_set()
        assert rig.networks.told == 1
        assert [report["network_revision"] for report in conductor.reports] == [-1, 7]
        assert conductor.reports[-1]["ports_up"] == ["p1"]

    with_conductor(tmp_path, monkeypatch, test)


def test_a_network_that_could_not_be_made_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        async def carry_out(wanted: WantedHost) -> Carried:
            rig.networks.told += 1
            return Carried(wanted.revision, (), {"p1": "for this test"})

        rig.networks.carry_out = carry_out  # type: ignore[method-assign]
        await reporter.tell()
        assert networks.incomplete
        changed.clear()
        await reporter.tell()
        assert rig.networks.told == 2
        assert not changed.is_set()  # or it would go round and round

    with_conductor(tmp_path, monkeypatch, test)


def test_guests_that_no_record_knows_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        await rig.agent.carry_out(Spawn(spec(nics=())))
        await reporter.tell()
        assert msgspec.convert(conductor.reports[-1], Report).guests == (Power(ID, "running"),)
        conductor.forget = (ID,)
        await reporter.tell()
        await reporter.tell()
        assert conductor.reports[-1]["guests"] == []

    with_conductor(tmp_path, monkeypatch, test)


def test_reports_go_on_when_nobody_hears_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        conductor.status = 503
        with pytest.raises(Unavailable, match="503"):
            await reporter.tell()
        task = asyncio.ensure_future(reporter.run())
        async with asyncio.timeout(10):
            while len(conductor.reports) < 4:
                await asyncio.sleep(0.01)
            conductor.status = 200
            while networks.revision < 0:
                await asyncio.sleep(0.01)
        task.cancel()

    with_conductor(tmp_path, monkeypatch, test)


def test_reports_go_on_after_a_bug_in_what_follows_from_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        async def carry_out(wanted: WantedHost) -> Carried:
            raise RuntimeError("the handler is closed")

        rig.networks.carry_out = carry_out  # type: ignore[method-assign]
        task = asyncio.ensure_future(reporter.run())
        async with asyncio.timeout(10):
            while len(conductor.reports) < 4:
                await asyncio.sleep(0.01)
        task.cancel()

    with_conductor(tmp_path, monkeypatch, test)


def test_reports_go_on_while_networks_take_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        begun: list[int] = []

        async def carry_out(wanted: WantedHost) -> Carried:
            begun.append(1)
            await asyncio.Event().wait()
            raise AssertionError("it is ended before")

        rig.networks.carry_out = carry_out  # type: ignore[method-assign]
        task = asyncio.ensure_future(reporter.run())
        async with asyncio.timeout(20):
            while len(conductor.reports) < 4:
                await asyncio.sleep(0.01)
        assert begun == [1]
        task.cancel()
        await asyncio.wait([task])

    with_conductor(tmp_path, monkeypatch, test)


def test_a_guest_that_takes_its_time_to_end_keeps_neither_networks_nor_other_guests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig, conductor: Conductor, reporter: Reporter, networks: Networks, changed: asyncio.Event) -> None:
        other = ID.replace("1", "9")
        for server in (ID, other):
            await rig.agent.carry_out(Spawn(msgspec.structs.replace(spec(disks=(), nics=()), id=server)))
        conductor.forget = (ID, other)
        async with rig.agent.find(ID).turn:  # something is done with it for ever
            task = asyncio.ensure_future(reporter.run())
            async with asyncio.timeout(10):
                while other in rig.agent.guests:
                    await asyncio.sleep(0.01)
                networks.revision = -1
                while networks.revision < 0:
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    with_conductor(tmp_path, monkeypatch, test)


def test_without_services_there_is_nothing_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        networks = Networks(None, rig.networks, "h1")
        await networks.fetch()
        assert networks.revision == -1

    with_rig(tmp_path, monkeypatch, test)
