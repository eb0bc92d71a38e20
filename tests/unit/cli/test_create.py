"""A new cluster on disk: generated secrets with tight modes, formatted devices, a ring over the zones."""

import asyncio
import os
import stat
import tomllib
from pathlib import Path

import pytest

from objstore.cli.create import Admin, create_cluster, make_node, part_power, read_admin, write_identities
from objstore.cli.layout import Layout, Place, new_layout, with_node
from objstore.cli.world import system_world
from objstore.identity.logic import Credentials, parse_identities
from objstore.node.engine.identity import read_identity
from objstore.runtime.config import ConfigError
from ring import files


def _create(root: Path, **change: object) -> tuple[Place, Layout]:
    shape = {"nodes": 3, "devices": 2, "zones": 3, "proxies": 1, "port_base": 21000, "tls": False, "uid_base": None, **change}
    layout = new_layout(**shape)  # type: ignore[arg-type]
    place = Place(root)
    asyncio.run(create_cluster(system_world(), place, layout, sections={"log": {"level": "debug"}}, identities=None))
    return place, layout


def test_secrets_are_generated_and_for_the_owner_alone(tmp_path: Path) -> None:
    one, _ = _create(tmp_path / "one")
    two, _ = _create(tmp_path / "two")
    key = one.cluster_key_file.read_text().strip()
    assert len(bytes.fromhex(key)) == 32
    assert key != two.cluster_key_file.read_text().strip()
    admin, other = read_admin(one), read_admin(two)
    assert (len(admin.access_key), len(admin.secret_key)) == (20, 40)
    assert admin.access_key.isalnum()
    assert admin.access_key.isupper()
    assert admin.secret_key != other.secret_key
    assert len(admin.password) >= 20
    for path in (*one.secrets.iterdir(), one.cluster_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (one.root, one.secrets, one.run, one.directory("node1")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_the_first_ring_names_every_formatted_device(tmp_path: Path) -> None:
    place, layout = _create(tmp_path / "c")
    ring = files.load(place.ring_file)
    assert ring.spec.replica_count == 3
    found = {(d.node, d.zone, d.address, d.path): d.incarnation for d in ring.devices.values()}
    assert len(found) == 6
    for entry in layout.node:
        for directory in place.device_directories(entry):
            incarnation = found[entry.name, f"zone{entry.zone}", f"tcp:127.0.0.1:{entry.port}", str(directory)]
            assert read_identity(system_world(), str(directory)) == incarnation
    for partition in range(ring.partition_count):
        assert len({ring.devices[d].zone for d in ring.primaries(partition)}) == 3


@pytest.mark.parametrize(("nodes", "devices", "replicas"), [(1, 1, 1), (1, 2, 2), (2, 1, 2), (1, 5, 3), (4, 1, 3)])
def test_there_are_as_many_replicas_as_devices_up_to_three(tmp_path: Path, nodes: int, devices: int, replicas: int) -> None:
    place, _ = _create(tmp_path / "c", nodes=nodes, devices=devices, zones=1)
    assert files.load(place.ring_file).spec.replica_count == replicas


def test_partitions_grow_with_the_devices() -> None:
    assert [part_power(n) for n in (1, 3, 8, 9, 16, 100)] == [8, 8, 8, 9, 9, 12]


def test_a_node_made_later_has_formatted_devices_of_its_own(tmp_path: Path) -> None:
    place, layout = _create(tmp_path / "c", devices=1)
    layout = with_node(layout, devices=2)
    incarnations = asyncio.run(make_node(system_world(), place, layout, layout.node[-1]))
    known = {d.incarnation for d in files.load(place.ring_file).devices.values()}
    assert len(set(incarnations)) == 2
    assert not known & set(incarnations)


def test_identities_are_the_administrator_and_those_of_the_file(tmp_path: Path) -> None:
    place, _ = _create(tmp_path / "c", devices=1)
    extra = tmp_path / "identities.toml"
    extra.write_text(
        '[[user]]\naccount = "tester"\nname = "t"\naccess_key = "AKTEST"\nsecret_key = "sk\\"x"\n'
        '[[swift_user]]\naccount = "test"\nuser = "tester"\nkey = "testing"\ngroups = [".admin"]\n[[kms_key]]\nid = "k1"\n'
    )
    write_identities(place, read_admin(place), extra)
    identities = parse_identities(place.identities_file.read_text())
    credentials = Credentials(identities.user)
    assert credentials.lookup("AKTEST") is not None
    found = credentials.lookup(read_admin(place).access_key)
    assert found is not None
    assert found[1].admin
    assert identities.swift_user[0].groups == (".admin",)
    assert identities.kms_key[0].id == "k1"


def test_an_identities_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    place, _ = _create(tmp_path / "c", devices=1)
    extra = tmp_path / "identities.toml"
    extra.write_text("[[person]]\nname = 'x'\n")
    with pytest.raises(ConfigError, match="person"):
        write_identities(place, read_admin(place), extra)
    with pytest.raises(ConfigError, match="cannot be used"):
        write_identities(place, read_admin(place), tmp_path / "missing.toml")


def test_settings_given_at_creation_are_in_the_cluster_file(tmp_path: Path) -> None:
    place, _ = _create(tmp_path / "c", devices=1)
    assert tomllib.loads(place.cluster_file.read_text())["log"] == {"level": "debug"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to others")
def test_nodes_under_other_users_own_their_directories_and_nothing_else(tmp_path: Path) -> None:
    place, _ = _create(tmp_path / "c", uid_base=41000)
    for path in (place.directory("node2"), *place.directory("node2").rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == (41002, 41002), path
    assert place.cluster_key_file.stat().st_uid == 0


def test_each_policy_has_a_ring_over_its_own_devices(tmp_path: Path) -> None:
    place, _ = _create(tmp_path / "c", policies=("cold=2:2",))
    default, cold = files.load(place.ring_of("")), files.load(place.ring_of("cold"))
    assert (default.spec.policy, default.spec.replica_count) == ("default", 3)
    assert (cold.spec.policy, cold.spec.replica_count) == ("cold", 2)
    assert {device.node for device in default.devices.values()} == {"node1", "node2", "node3"}
    assert {device.node for device in cold.devices.values()} == {"node4", "node5"}
    assert default.spec.hash_seed != cold.spec.hash_seed
    assert all(len({cold.devices[d].node for d in cold.primaries(p)}) == 2 for p in range(cold.partition_count))


@pytest.mark.parametrize("text", ['[[user]]\naccount = "a"\nsecret_key = "s"\n', "[[nobody]]\n", "user = 3", "\0",
    '[[user]]\naccount = "a"\nname = "n"\naccess_key = "OKADMIN"\nsecret_key = "s"\n',
])  # fmt: skip
def test_identities_that_no_proxy_could_read_leave_the_file_as_it_is(tmp_path: Path, text: str) -> None:
    place = Place(tmp_path)
    place.secrets.mkdir()
    admin = Admin("admin", "admin", "word", "OKADMIN", "s" * 40)
    write_identities(place, admin, None)
    before = place.identities_file.read_bytes()
    extra = tmp_path / "identities.toml"
    extra.write_text(text)
    with pytest.raises(ConfigError, match=r"identities\.toml cannot be used"):
        write_identities(place, admin, extra)
    assert place.identities_file.read_bytes() == before
