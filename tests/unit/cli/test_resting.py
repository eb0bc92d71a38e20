"""The status of a cluster that nobody runs."""

from pathlib import Path

import pytest

from objstore.cli.layout import Place, new_layout, write_cluster
from objstore.cli.resting import resting_status
from objstore.runtime.config import ConfigError


def test_everything_is_down_and_nothing_is_claimed_to_be_known(tmp_path: Path) -> None:
    layout = new_layout(nodes=2, devices=2, zones=1, proxies=1, port_base=21000, tls=False, uid_base=None)
    write_cluster(Place(tmp_path), layout, {})
    status = resting_status(tmp_path)
    assert (status["healthy"], status["writable"], status["under_replicated"], status["epoch"]) == (False, False, None, None)
    assert [(n["name"], n["up"], n["pid"], n["port"], len(n["devices"])) for n in status["nodes"]] == [
        ("node1", False, None, 21100, 2), ("node2", False, None, 21101, 2),
    ]  # fmt: skip


def test_the_services_are_named_too(tmp_path: Path) -> None:
    layout = new_layout(nodes=1, devices=1, zones=1, proxies=1, port_base=21000, tls=False, uid_base=None)
    write_cluster(Place(tmp_path), layout, {})
    assert resting_status(tmp_path)["services"] == [{"name": "services1", "up": False, "pid": None}]


def test_each_policy_has_its_nodes(tmp_path: Path) -> None:
    shape = {"nodes": 1, "devices": 1, "zones": 1, "proxies": 1, "port_base": 21000, "tls": False, "uid_base": None}
    write_cluster(Place(tmp_path), new_layout(**shape, policies=("cold=1",)), {})  # type: ignore[arg-type]
    status = resting_status(tmp_path)
    (cold,) = status["policies"]
    assert [node["name"] for node in status["nodes"]] == ["node1"]
    assert (cold["name"], cold["healthy"], [node["name"] for node in cold["nodes"]]) == ("cold", False, ["node2"])
    assert [daemon["name"] for daemon in status["daemons"]] == ["daemon1", "daemon2"]


def test_no_cluster_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        resting_status(tmp_path)


def test_hosts_of_guests_are_named_where_there_are_any(tmp_path: Path) -> None:
    layout = new_layout(nodes=1, devices=1, zones=1, proxies=1, port_base=21000, tls=False, uid_base=None, agents=1)
    write_cluster(Place(tmp_path), layout, {})
    status = resting_status(tmp_path)
    assert (status["agents"], status["disks"]) == (
        [{"name": "agent1", "up": False, "pid": None}],
        [{"name": "disks1", "up": False, "pid": None}],
    )
