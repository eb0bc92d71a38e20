"""What agents may say, and who is believed to be one."""

import asyncio

import pytest

from objstore.services.compute import agent_calls
from tests.support.cloud_rig import SECRET, CloudRig, on_cloud_rig


def test_without_the_secret_nothing_is_read_or_told() -> None:
    async def test(rig: CloudRig) -> None:
        for value in ("", SECRET, f"Bearer {SECRET[:-1]}", f"bearer {SECRET}", "Bearer é", f"Bearer {SECRET} "):
            for method, path in (("POST", "/agents/v1/report"), ("GET", "/agents/v1/network?host=h1")):
                reply = await rig.ask(method, path, b"{", who="alice", headers={"authorization": value}, prefix="/compute")
                assert reply.status == 401
        assert await rig.service.hosts.all() == []

    on_cloud_rig(test)


def test_what_is_no_report_is_refused() -> None:
    async def test(rig: CloudRig) -> None:
        for body in (b"", b"{", b"[]", b"null", b'{"host": "a"}', b'{"host": 1, "address": 2}', b"[" * 100_000, b"\xff" * 10):
            assert (await rig.tell(body)).status == 400
        assert await rig.service.hosts.all() == []

    on_cloud_rig(test)


def test_a_report_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_calls, "MAX_REPORT_BYTES", 100)

    async def test(rig: CloudRig) -> None:
        assert (await rig.tell(b" " * 101)).status == 413

    on_cloud_rig(test)


def test_too_many_reports_at_once_are_asked_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_calls, "MAX_AT_ONCE", 0)

    async def test(rig: CloudRig) -> None:
        reply = await rig.report()
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"

    on_cloud_rig(test)


def test_ports_that_work_are_told_on_and_what_must_be_is_told_back() -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.report(ports_up=("p1", "p2"))).body["network_revision"] == 7
        assert rig.networks.up == {"h1": ("p1", "p2")}
        await rig.report(tunnel_address="10.0.0.1", network_driver="netns")
        assert rig.networks.seen == {"h1": ("10.0.0.1", "netns", True)}
        headers = {"authorization": f"Bearer {SECRET}"}
        told = await rig.ask("GET", "/agents/v1/network?host=h1", who="", headers=headers, prefix="/compute")
        assert told.body["revision"] == 7
        assert told.body["peers"] == [["h1", "here"]]
        assert (await rig.ask("GET", "/agents/v1/network", who="", headers=headers, prefix="/compute")).status == 400

    on_cloud_rig(test)


def test_networks_are_told_of_hosts_that_are_dead() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report(ports_up=("p1",))
        await asyncio.sleep(45)
        assert rig.networks.seen["h1"][2] is False
        assert rig.networks.up == {"h1": ()}

    on_cloud_rig(test)
