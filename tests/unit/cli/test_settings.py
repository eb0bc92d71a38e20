"""The schema of all settings: every section, the names in the control contract, each process's own share, the reference page."""

import json
import tomllib
from pathlib import Path

import pytest

from objstore.cli.settings import (
    OWN,
    ROLE_SECTIONS,
    SHARED_SECTIONS,
    all_settings,
    check_cluster,
    component,
    load_settings,
    read_cluster_key,
    role_settings,
    typed_overrides,
)
from objstore.daemons.service import DaemonSettings
from objstore.node.engine.settings import EngineSettings
from objstore.runtime.config import ConfigError, Setting

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "config.md"


def documented() -> dict[str, str]:
    """The default that the reference gives, by "section.key"."""
    rows = (line.split("|") for line in REFERENCE.read_text().splitlines() if line.startswith("| `"))
    return {cells[1].strip(" `"): cells[2].strip() for cells in rows if "." in cells[1] and " " not in cells[1].strip()}


def test_the_reference_names_every_setting_and_no_other() -> None:
    known = {f"{s.section}.{s.key}" for s in all_settings()}
    assert known - set(documented()) == set(), f"{REFERENCE.name} does not name them"
    assert set(documented()) - known == set(), f"{REFERENCE.name} names what is not there"


@pytest.mark.parametrize("setting", all_settings(), ids=lambda s: f"{s.section}.{s.key}")
def test_the_reference_gives_the_default_that_holds(setting: Setting) -> None:
    text = documented()[f"{setting.section}.{setting.key}"]
    said = tomllib.loads(f"value = {text}")["value"]
    default = json.loads(json.dumps(setting.default))  # a tuple is written as a list
    assert (said, type(said)) == (default, type(default)), "65536 is not 131072, and 10 is not 10.0"


@pytest.mark.parametrize("role", ["node", "proxy", "daemon"])
def test_the_reference_names_every_key_of_a_processes_own_section(role: str) -> None:
    (row,) = (line for line in REFERENCE.read_text().splitlines() if line.startswith(f"| {role} |"))
    named = {word for word in row.split("`")[1::2] if "." not in word}
    assert named == set(OWN[role].__struct_fields__)


def test_the_settings_named_in_the_control_contract_can_be_set() -> None:
    texts = ["lifecycle.seconds_per_day=10", "cluster.reclaim_age_s=60", "engine.pack_size_bytes=1048576", "s3.allow_sse_c_over_http=true"]
    assert typed_overrides(texts) == [
        ("lifecycle", "seconds_per_day", 10.0), ("cluster", "reclaim_age_s", 60.0), ("engine", "pack_size_bytes", 1048576),
        ("s3", "allow_sse_c_over_http", True),
    ]  # fmt: skip


def test_the_reclaim_age_is_said_once_and_reaches_the_daemons() -> None:
    settings = load_settings(
        ROLE_SECTIONS["daemon"], environment={}, overrides=["cluster.reclaim_age_s=5", "daemons.audit_pause_s=0.5"]
    ).settings
    daemons = component(settings, "daemons")
    assert isinstance(daemons, DaemonSettings)
    assert (daemons.reclaim_age_s, daemons.audit_pause_s) == (5.0, 0.5)
    with pytest.raises(ConfigError, match="reclaim_age_s"):
        check_cluster(None, ["daemons.reclaim_age_s=5"])


def test_defaults_are_those_of_the_components() -> None:
    settings = load_settings(ROLE_SECTIONS["node"], environment={}).settings
    assert component(settings, "engine") == EngineSettings()


def test_variables_of_other_processes_are_left_alone_and_wrong_ones_are_not() -> None:
    environment = {"OBJSTORE_S3__REGION": "x", "OBJSTORE_ENGINE__IO_THREADS": "2", "OBJSTORE_READY_FD": "5"}
    assert load_settings(ROLE_SECTIONS["node"], environment=environment).settings.engine.io_threads == 2
    with pytest.raises(ConfigError, match="OBJSTORE_ENGINE__IO_THREAD"):
        load_settings(ROLE_SECTIONS["node"], environment={"OBJSTORE_ENGINE__IO_THREAD": "2"})
    with pytest.raises(ConfigError, match="no section 'engin'"):
        load_settings(ROLE_SECTIONS["node"], environment={"OBJSTORE_ENGIN__IO_THREADS": "2"})


def test_a_cluster_file_may_hold_a_layout_and_shared_sections_only(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('[layout]\nversion = 1\n[s3]\nregion = "eu"\n')
    assert check_cluster(path, []).settings.s3.region == "eu"
    path.write_text('[proxy]\nname = "x"\n')
    with pytest.raises(ConfigError, match="no section 'proxy'"):
        check_cluster(path, [])


def test_a_role_needs_its_own_section(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[node]\nname = "node1"\n')
    with pytest.raises(ConfigError, match="'ring'"):
        role_settings("node", path)
    path.write_text('[node]\nname = "node1"\nring = "r"\ncluster_key_file = "k"\naddresses = ["tcp:127.0.0.1:1"]\n')
    assert role_settings("node", path).node.addresses == ("tcp:127.0.0.1:1",)


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31, "ab" * 33])
def test_a_cluster_key_that_is_not_32_bytes_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match="cluster key"):
        read_cluster_key(str(path))
    path.write_text("ab" * 32 + "\n")
    assert read_cluster_key(str(path)) == b"\xab" * 32
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cluster_key(str(tmp_path / "none"))


def test_every_shared_section_belongs_to_some_process() -> None:
    assert set(SHARED_SECTIONS) == {s for sections in ROLE_SECTIONS.values() for s in sections} - {
        "node",
        "proxy",
        "daemon",
        "services",
        "disks",
    }
