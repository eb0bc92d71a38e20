"""The agent's process: what it must be told, whom it lets in."""

import asyncio
from pathlib import Path

import pytest

from objstore.cli.agent_role import _check, _report, nbd_path, read_secret, run_agent
from objstore.cli.settings import ROLE_SECTIONS, load_settings
from objstore.runtime.config import ConfigError

GOOD = ("agent.data_directory=d", "agent.disks_control=c", "agent.disks_nbd=n", "agent.port=1", "agent.name=agent1")


def section(*overrides: str):  # type: ignore[no-untyped-def] # a section made at run time
    return load_settings(ROLE_SECTIONS["agent"], environment={}, overrides=[*GOOD, *overrides]).settings


@pytest.mark.parametrize(("override", "why"), [
    ("agent.data_directory=", "data_directory"), ("agent.port=0", "port"), ("agent.virt_type=xen", "one of auto, kvm, tcg"),
    ("agent.network_driver=ovs", "one of auto, netns, user"), ("agent.machine=microvm", "q35"), ("agent.listen=0.0.0.0", "without TLS"),
])  # fmt: skip
def test_it_says_what_is_wrong_with_its_settings(override: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        asyncio.run(run_agent(section(override)))
    _check(section().agent)


def test_a_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for text in ("", "short", "\u00e4" * 40):
        path.write_text(text)
        with pytest.raises(ConfigError, match="32 printable"):
            read_secret(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(str(tmp_path / "none"))
    path.write_text("x" * 64 + "\n")
    assert read_secret(str(path)) == "x" * 64


def test_guests_reach_the_disks_by_a_name_that_is_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    assert nbd_path("run/disks1.nbd", str(deep / "agent1")) == "../../../../run/disks1.nbd"
    with pytest.raises(ConfigError, match="107 bytes"):
        nbd_path(f"{'e' * 120}/x", str(deep / "agent1"))


def test_a_report_says_where_the_agent_answers() -> None:
    report = _report(section("agent.memory_mb=5").agent, "h", "tcg", "user", "b")
    assert (report.address, report.memory_mb, report.accelerator) == ("http://127.0.0.1:1", 5, "tcg")
    assert report.vcpus > 0
    assert _report(section("agent.address=https://h:2").agent, "h", "tcg", "user", "b").address == "https://h:2"
