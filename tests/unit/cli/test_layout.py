"""A cluster's directory: names, ports, zones, and the file that holds them."""

import os
import stat
from pathlib import Path

import pytest

from objstore.cli.layout import (
    Place,
    check_classes,
    leaving,
    metrics_port,
    new_layout,
    node_address,
    ports_of,
    proxy_port,
    read_cluster,
    taken_back,
    with_agents,
    with_node,
    without,
    write_cluster,
    write_file,
)
from objstore.runtime.config import ConfigError

SMALL = {"nodes": 4, "devices": 2, "zones": 3, "proxies": 2, "port_base": 21000, "tls": False, "uid_base": None}


def test_nodes_go_round_the_zones_and_ports_are_where_the_contract_says() -> None:
    layout = new_layout(**SMALL)
    assert [(e.name, e.zone, e.port) for e in layout.node] == [
        ("node1", 1, 21100), ("node2", 2, 21101), ("node3", 3, 21102), ("node4", 1, 21103),
    ]  # fmt: skip
    assert (proxy_port(layout, 1), proxy_port(layout, 2)) == (21000, 21001)
    assert metrics_port(layout, 2) == 21201
    assert [ports_of(layout, name) for name in ("node3", "proxy2", "daemon1")] == [[21102], [21001, 21201], [21300]]
    assert node_address(layout.node[0]) == "tcp:127.0.0.1:21100"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"nodes": 0}, "--nodes"),
        ({"nodes": 101}, "--nodes"),
        ({"proxies": 0}, "--proxies"),
        ({"devices": 101}, "--devices"),
        ({"zones": 0}, "--zones"),
        ({"port_base": 80}, "--port-base"),
        ({"port_base": 65000}, "--port-base"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_by_name(change: dict, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        new_layout(**{**SMALL, **change})


def test_node_numbers_are_never_used_again() -> None:
    layout = without(new_layout(**SMALL), ["node4"])
    layout = with_node(layout, devices=1)
    assert layout.node[-1].name == "node5"
    assert layout.node[-1].port == 21104
    assert with_node(layout, devices=1, zone=9).node[-1].zone == 9


def test_a_leaving_node_is_marked_and_unknown_names_are_refused() -> None:
    layout = leaving(new_layout(**SMALL), "node2")
    assert [e.leaving for e in layout.node] == [False, True, False, False]
    assert leaving(layout, "node2", leaves=False) == new_layout(**SMALL)
    with pytest.raises(ConfigError, match="node1, node2, node3, node4"):
        leaving(layout, "node9")


def test_every_node_has_its_own_user_and_nothing_else_has() -> None:
    layout = new_layout(**{**SMALL, "uid_base": 5000})
    assert [layout.user(n) for n in ("node1", "node4", "proxy1", "daemon1")] == [5001, 5004, None, None]
    assert new_layout(**SMALL).user("node1") is None


def test_the_cluster_file_reads_back_with_its_other_sections(tmp_path: Path) -> None:
    place = Place(tmp_path)
    layout = new_layout(**SMALL)
    write_cluster(place, layout, {"engine": {"pack_size_bytes": 4096}, "s3": {"domains": ["a", "b"]}})
    assert place.exists()
    assert read_cluster(place) == (layout, {"engine": {"pack_size_bytes": 4096}, "s3": {"domains": ["a", "b"]}})
    assert stat.S_IMODE(place.cluster_file.stat().st_mode) == 0o600


def test_a_missing_damaged_or_foreign_cluster_file_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(ConfigError, match="ctl up"):
        read_cluster(place)
    place.cluster_file.write_text("[layout\n")
    with pytest.raises(ConfigError, match=r"cluster\.toml"):
        read_cluster(place)
    place.cluster_file.write_text("[layout]\nversion = 1\nsurprise = 2\n")
    with pytest.raises(ConfigError, match="surprise"):
        read_cluster(place)


def test_a_written_file_has_its_mode_and_no_leftover_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    umask = os.umask(0)
    try:
        write_file(path, b"one", mode=0o600)
        write_file(path, b"two", mode=0o600, durable=False)
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path = tmp_path / "secret"
    path.symlink_to(victim)
    path.with_name(f".secret.{os.getpid()}").symlink_to(victim)
    write_file(path, b"mine", mode=0o600)
    assert victim.read_text() == "untouched"
    assert not path.is_symlink()


def test_a_policy_has_nodes_and_a_daemon_of_its_own() -> None:
    layout = new_layout(**SMALL, policies=("cold=2", "dark=1:2"))
    assert [(e.name, e.policy, e.devices) for e in layout.node[4:]] == [("node5", "cold", 2), ("node6", "cold", 2), ("node7", "dark", 2)]
    assert [(p.name, p.replicas, p.daemon_name) for p in layout.policy] == [("cold", 3, "daemon2"), ("dark", 2, "daemon3")]
    assert layout.daemon_numbers() == [1, 2, 3]
    assert [e.name for e in layout.of_policy("cold").node] == ["node5", "node6"]
    assert [e.name for e in layout.of_policy("").node] == ["node1", "node2", "node3", "node4"]
    assert with_node(layout, devices=1, policy="dark").node[-1] == layout.node[-1].__class__("node8", 2, 21107, 1, policy="dark")
    assert layout.find_policy("") is None
    with pytest.raises(ConfigError, match="cold, dark"):
        layout.find_policy("warm")
    with pytest.raises(ConfigError, match="warm"):
        with_node(layout, devices=1, policy="warm")


@pytest.mark.parametrize(
    "text", ["cold", "cold=", "=2", "cold=0", "cold=1:3", "cold=2:0", "Cold=2", "default=2", "cold=2:2:2", "cold=x", "cold=101", "a b=1"]
)
def test_a_policy_that_cannot_be_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--policy '{text}'"):
        new_layout(**SMALL, policies=(text,))


def test_classes_are_given_to_policies_that_are_there() -> None:
    layout = new_layout(**SMALL, policies=("cold=1",))
    check_classes(layout, {})
    check_classes(layout, {"objects": {"storage_classes": {"STANDARD_IA": "cold"}}})
    for policy in ("dark", ""):
        with pytest.raises(ConfigError, match=f"STANDARD_IA is given to policy '{policy}'.*there is cold"):
            check_classes(layout, {"objects": {"storage_classes": {"STANDARD_IA": policy}}})


def test_a_policy_is_named_once() -> None:
    with pytest.raises(ConfigError, match="already"):
        new_layout(**SMALL, policies=("cold=1", "cold=2"))


def test_the_file_of_a_cluster_with_one_ring_says_nothing_of_policies(tmp_path: Path) -> None:
    place = Place(tmp_path)
    layout = new_layout(**SMALL)
    write_cluster(place, layout, {})
    assert "policy" not in place.cluster_file.read_text()  # so that versions of before there were any still read it
    assert place.ring_of("") == place.ring_file
    layout = new_layout(**SMALL, policies=("cold=1",))
    write_cluster(place, layout, {})
    assert read_cluster(place) == (layout, {})
    assert place.ring_of("cold") == tmp_path / "ring" / "cold.ring"


def test_hosts_of_guests_can_be_added_and_never_taken_away() -> None:
    layout = with_agents(new_layout(**SMALL), 2)
    assert [ports_of(layout, name) for name in ("agent1", "agent2", "disks1", "disks2")] == [[21500], [21501], [], []]
    assert with_agents(layout, 3).agents == 3
    with pytest.raises(ConfigError, match="keep guests"):
        with_agents(layout, 1)
    with pytest.raises(ConfigError, match="0 to 20"):
        with_agents(layout, 21)


def test_a_layout_from_before_there_were_guests_has_no_hosts_of_them(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_cluster(place, new_layout(**SMALL), {})
    assert "agents" not in place.cluster_file.read_text()
    assert read_cluster(place)[0].agents == 0


def test_a_node_that_is_taken_back_gives_its_number_back_where_it_was_the_last() -> None:
    layout = new_layout(nodes=3, devices=1, zones=3, proxies=1, port_base=21000, tls=False, uid_base=None)
    assert taken_back(with_node(layout, devices=1), "node4") == layout
    later = taken_back(with_node(with_node(layout, devices=1), devices=1), "node4")
    assert [entry.name for entry in later.node] == ["node1", "node2", "node3", "node5"]
    assert later.next_node == 6
