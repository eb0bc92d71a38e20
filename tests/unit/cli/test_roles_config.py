"""Each process's config.toml: written from cluster.toml, complete, and readable by the user that it runs as."""

import asyncio
import stat
import tomllib
from pathlib import Path

from objstore.cli.create import create_cluster
from objstore.cli.layout import Layout, Place, new_layout
from objstore.cli.roles_config import agents_secret, host_name, write_role_config
from objstore.cli.settings import read_cluster_key, role_settings
from objstore.cli.world import system_world


def _cluster(root: Path, **change: object) -> tuple[Place, Layout]:
    shape = {"nodes": 2, "devices": 2, "zones": 1, "proxies": 1, "port_base": 21000, "tls": False, "uid_base": None, **change}
    layout = new_layout(**shape)  # type: ignore[arg-type]
    sections = {"engine": {"io_threads": 2}, "s3": {"region": "eu"}, "log": {"level": "debug"}}
    asyncio.run(create_cluster(system_world(), Place(root), layout, sections=sections, identities=None))
    return Place(root), layout


def test_a_node_gets_its_devices_addresses_and_sections(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / "c")
    path = write_role_config(place, layout, "node2", "node")
    settings = role_settings("node", path)
    assert settings.node.addresses == ("tcp:127.0.0.1:21101",)
    assert settings.node.devices == (str(place.root / "node2" / "d1"), str(place.root / "node2" / "d2"))
    assert settings.node.bootstrap_ring == str(place.ring_file)
    assert settings.engine.io_threads == 2
    assert settings.log.level == "debug"
    assert "s3" not in tomllib.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_proxy_gets_ports_identities_and_certificates(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / "c", tls=True)
    table = tomllib.loads(write_role_config(place, layout, "proxy1", "proxy").read_text())
    assert (table["proxy"]["port"], table["proxy"]["metrics_port"]) == (21000, 21200)
    assert table["s3"] == {"region": "eu"}
    for path in (table["proxy"]["certificate_file"], table["proxy"]["key_file"], *table["proxy"]["identities"]):
        assert Path(path).is_file()


def test_an_edit_of_the_cluster_file_holds_from_the_next_start_on(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / "c")
    place.cluster_file.write_text(place.cluster_file.read_text().replace("io_threads = 2", "io_threads = 3"))
    assert role_settings("node", write_role_config(place, layout, "node1", "node")).engine.io_threads == 3


def test_the_daemons_socket_has_a_short_name_however_deep_the_directory(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / ("d" * 90) / ("e" * 90))
    table = tomllib.loads(write_role_config(place, layout, "daemon1", "daemon").read_text())
    assert table["daemon"]["control"] == "unix:run/daemon1.sock"


def test_who_needs_bodies_is_told_of_all_rings_and_each_ring_has_its_daemon(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / "c", policies=("cold=1", "dark=1"))
    place.cluster_file.write_text('objects = {storage_classes = {GLACIER_IR = "cold"}}\n' + place.cluster_file.read_text())
    rings = {"cold": str(place.ring_of("cold")), "dark": str(place.ring_of("dark"))}
    for name in ("proxy1", "daemon1"):
        role = name[:-1]
        settings = role_settings(role, write_role_config(place, layout, name, role))
        assert getattr(settings, role).policy_rings == rings
        assert settings.objects.storage_classes == {"GLACIER_IR": "cold", "DARK": "dark"}
    own = role_settings("daemon", write_role_config(place, layout, "daemon3", "daemon")).daemon
    assert (own.policy, own.ring, own.policy_rings) == ("dark", rings["dark"], {})
    assert role_settings("node", write_role_config(place, layout, "node3", "node")).node.bootstrap_ring == rings["cold"]
    assert "policy_rings" not in tomllib.loads(write_role_config(*_cluster(tmp_path / "d"), "proxy1", "proxy").read_text())["proxy"]


def test_a_host_of_guests_gets_two_processes_that_find_one_another_and_the_services(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / "c", tls=True, agents=2)
    agent = role_settings("agent", write_role_config(place, layout, "agent2", "agent")).agent
    disks = role_settings("disks", write_role_config(place, layout, "disks2", "disks")).disks
    assert (agent.port, agent.services_url, agent.ca_file) == (21501, "https://127.0.0.1:21400", str(place.tls / "ca.pem"))
    assert (agent.disks_control, agent.disks_nbd) == (disks.control, disks.nbd) == ("run/disks2.sock", "run/disks2.nbd")
    assert agent.host == disks.host == host_name("", 2)
    assert agent.host.endswith("-2")
    assert Path(agent.secret_file).read_text().strip() == agents_secret(read_cluster_key(str(place.cluster_key_file)))
    assert stat.S_IMODE(Path(agent.secret_file).stat().st_mode) == 0o600


def test_a_host_can_be_given_a_name(tmp_path: Path) -> None:
    place, layout = _cluster(tmp_path / "c", agents=2)
    place.cluster_file.write_text('agent = {host = "rack7"}\n' + place.cluster_file.read_text())
    names = [role_settings("agent", write_role_config(place, layout, f"agent{n}", "agent")).agent.host for n in (1, 2)]
    assert names == ["rack7", "rack7-2"]


def test_the_store_is_woken_at_once_where_guests_keep_the_processors_busy(tmp_path: Path) -> None:
    scheduling = []
    for agents in (0, 1):
        place, layout = _cluster(tmp_path / f"c{agents}", agents=agents)
        scheduling.append(role_settings("node", write_role_config(place, layout, "node1", "node")).host.scheduling)
    assert scheduling == ["batch", "normal"]
