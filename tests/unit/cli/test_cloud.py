"""`objstore cloud`: what it says, and what it finds out before it starts anything.  Whole clouds: tests/system/test_cloud.py."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from objstore.cli import cloud
from objstore.cli.cloud import describe, first_commands, in_the_cloud, welcome
from objstore.cli.cloud_api import CloudApi
from objstore.cli.cloud_needs import ALWAYS, Host
from objstore.cli.layout import Place, new_layout, write_cluster
from tests.support.answers import answering
from tests.support.cloud_twin import PASSWORD, Services

FACTS: dict[str, Any] = {
    "agents": [{"name": "agent1"}], "openrc": "/d/openrc", "clouds": "/d/clouds.yaml", "key": "/d/secrets/guests.key", "made": ["image tiny"],
    "network_driver": "netns", "ready_s": 1.25, "s3": ["http://s3"],
}  # fmt: skip


def test_five_commands_lead_from_nothing_to_a_server_with_a_volume() -> None:
    commands = first_commands(FACTS)
    assert len(commands) == 5
    assert commands[0] == ". /d/openrc"
    text = welcome(FACTS, Host((), "netns"))
    assert all(command in text for command in commands)
    assert "1 host of guests" in text


def test_without_networks_of_its_own_it_says_so_and_offers_no_floating_address() -> None:
    text = welcome({**FACTS, "network_driver": "user"}, Host((), "user", "networks of their own need root"))
    assert "since networks of their own need root" in text
    assert "floating" not in text


def test_what_is_missing_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "look", lambda _: Host(ALWAYS[:1], "user"))
    done = CliRunner().invoke(cloud.cloud, ["up", "--dir", str(tmp_path / "c")], standalone_mode=False)
    assert done.return_value == 1
    assert "apt-get install --no-install-recommends qemu-system-x86" in done.output
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("given", "chosen"), [([], "netns"), (["agent.network_driver=user"], "user"), (["log.level=info"], "netns")])
def test_the_network_driver_is_what_was_chosen_now_or_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], chosen: str
) -> None:
    layout = new_layout(nodes=1, devices=1, zones=1, proxies=1, port_base=21000, tls=False, uid_base=None)
    write_cluster(Place(tmp_path), layout, {"agent": {"network_driver": "netns"}})
    asked: list[str] = []

    def looked(driver: str) -> Host:
        asked.append(driver)
        return Host(ALWAYS, "user")

    monkeypatch.setattr(cloud, "look", looked)
    words = [word for text in given for word in ("--set", text)]
    CliRunner().invoke(cloud.cloud, ["up", "--dir", str(tmp_path), *words], standalone_mode=False)
    assert asked == [chosen]


@pytest.mark.parametrize("words", [["status"], ["openrc"], ["down"], ["image", "build-mini"]])
def test_a_cloud_that_is_not_there_is_an_error_that_says_how_to_make_one(tmp_path: Path, words: list[str]) -> None:
    done = CliRunner().invoke(cloud.cloud, [*words, "--dir", str(tmp_path)], standalone_mode=False)
    assert done.return_value == 1
    assert " up --dir" in done.output


def test_the_state_counts_servers_and_volumes_by_what_they_are() -> None:
    services = Services()
    services.things["servers"] = [{"id": "1", "status": "ACTIVE"}, {"id": "2", "status": "ACTIVE"}, {"id": "3", "status": "ERROR"}]
    with answering(services) as url:
        services.url = url
        found = in_the_cloud(CloudApi(f"{url}/identity/v3", user="admin", project="admin", password=PASSWORD))
    assert found["servers"] == {"ACTIVE": 2, "ERROR": 1}
    assert found["hosts"] == [{"name": "h", "state": "up", "status": "enabled"}]
    cluster = {"nodes": [], "healthy": True, "under_replicated": 0, "misplaced": 0, "agents": [{"name": "agent1", "up": False}]}
    text = describe({"cluster": cluster, **found})
    assert "agent1: DOWN" in text
    assert "servers: 2 active, 1 error" in text
    assert "volumes: none" in text
