"""Building the mini image: what is missing is said before anything is fetched.  That it boots, tests/system/test_cloud_guests.py shows."""

from pathlib import Path

import pytest

from objstore.cli import mini_image
from objstore.cli.mini_image import SOURCES, CannotBuild, build_mini, module_of_interest


def test_a_machine_without_debians_programs_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mini_image, "SBIN", "")
    with pytest.raises(CannotBuild, match="apt-get, apt-cache, dpkg-deb, mke2fs is not here"):
        build_mini(tmp_path / "cache")


def programs(directory: Path, **scripts: str) -> None:
    for name in ("apt-get", "apt-cache", "dpkg-deb", "mke2fs"):
        path = directory / name
        path.write_text("#!/bin/sh\n" + scripts.get(name.replace("-", "_"), "exit 1") + "\n")
        path.chmod(0o755)


def test_lists_of_packages_that_were_never_fetched_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, apt_cache="exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match="apt-get update"):
        build_mini(tmp_path / "cache")


def test_what_a_program_complains_about_is_passed_on_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = "case $1 in download) echo \"'http://d/x.deb' x.deb 1\" ;; *) echo no route >&2; exit 100 ;; esac"
    programs(tmp_path, apt_cache="echo '  Depends: linux-image-9'", apt_get=fetch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match="cannot fetch packages: no route"):
        build_mini(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_build_that_is_there_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, apt_cache="echo '  Depends: linux-image-9'", apt_get="echo \"'http://d/x.deb' x.deb 1\"")
    monkeypatch.setenv("PATH", str(tmp_path))
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(CannotBuild, match="no vmlinuz"):
        build_mini(cache)
    there = cache / f"mini-{mini_image._key(['x'])}.raw"
    there.write_bytes(b"disk")
    assert build_mini(cache) == there


def test_the_guests_scripts_are_there() -> None:
    assert {path.name for path in SOURCES.iterdir()} == {"init", "inittab", "rc", "dhcp", "power", "cloud-lite", "syslinux.cfg"}


def test_few_modules_need_to_be_read() -> None:
    assert module_of_interest("virtio_blk.ko")
    assert not module_of_interest("nvidia.ko")
