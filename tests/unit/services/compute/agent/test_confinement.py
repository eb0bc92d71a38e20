"""Guests under a user of their own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from objstore.services.compute.agent.confinement import Confined, confine, wrapper

USER = 64_123


def test_without_a_user_nothing_is_done(tmp_path: Path) -> None:
    assert confine(-1, str(tmp_path), "../x") == Confined()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_directory_is_its_own_and_the_disks_are_reached_by_a_descriptor(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "disks").mkdir()
    (tmp_path / "run" / "console.log").write_text("")
    (tmp_path / "config.iso").write_text("")
    (tmp_path / "config.iso").chmod(0o600)
    (tmp_path / "run" / "link").symlink_to(tmp_path / "disks")
    confined = confine(USER, str(tmp_path), "../disks/x.nbd")
    assert confined.descriptor is not None
    assert (tmp_path / "run").stat().st_uid == (tmp_path / "run" / "console.log").stat().st_uid == USER
    assert (tmp_path / "disks").stat().st_uid == 0  # links are not followed
    assert tmp_path.stat().st_uid == 0
    drive = (tmp_path / "config.iso").stat()
    assert (drive.st_uid, drive.st_gid, drive.st_mode & 0o777) == (0, USER, 0o640)
    (tmp_path / "disks" / "x.nbd").write_text("here")
    assert Path(confined.nbd).read_text() == "here"
    os.close(confined.descriptor)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")
def test_a_process_begins_without_rights() -> None:
    said = subprocess.run([*wrapper(USER, 7), "cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    facts = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == facts["Gid"].split() == [str(USER)] * 4
    assert facts["Groups"].split() == ["7"]
    assert {facts[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert facts["NoNewPrivs"] == "1"
    assert "--clear-groups" in wrapper(USER, None)
